"""GGUF files as llama.cpp's converter writes them, of models of transformers: its names, its settings, its layouts."""

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch

Writer = Any
ARCHITECTURES = {  # where they are not `model_type`
    "mistral": "llama",
    "gpt_neox": "gptneox",
    "gemma3_text": "gemma3",
    "olmo3": "olmo2",
}
PAIRED = ("llama", "mistral", "smollm3")  # the rotary pairs of a head lie side by side


def written(
    path: Path,
    twin: Any,
    tokenizer: Callable[[Writer], None] | None = None,
    changes: Mapping[str, Any] | None = None,
    **options: Any,
) -> Path:
    """The whole file of a causal language model or an encoder.

    Args:
      tokenizer: adds its settings.
      changes: settings of another value, by name without the architecture; None leaves one out.
      options: of the writer, such as `split_max_tensors`.
    """
    config, architecture = twin.config, ARCHITECTURES.get(twin.config.model_type, twin.config.model_type)
    writer = gguf.GGUFWriter(path, architecture, **options)
    for name, value in (settings(config) | dict(changes or {})).items():
        key = f"{architecture}.{name}"
        if isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, float):
            writer.add_float32(key, value)
        elif isinstance(value, str):
            writer.add_string(key, value)
        elif value is not None:
            writer.add_array(key, value)
    if tokenizer is not None:
        tokenizer(writer)
    for name, array in tensors(twin, architecture):
        writer.add_tensor(name, np.ascontiguousarray(array, np.float32))
    finish(writer)
    return path


def finish(writer: Writer) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def settings(config: Any) -> dict[str, Any]:
    """By name without the architecture."""
    if config.model_type == "gpt2":
        return {
            "block_count": config.n_layer,
            "context_length": config.n_positions,
            "embedding_length": config.n_embd,
            "feed_forward_length": 4 * config.n_embd,
            "attention.head_count": config.n_head,
            "attention.layer_norm_epsilon": config.layer_norm_epsilon,
        }
    found = {
        "block_count": config.num_hidden_layers,
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
    }
    if config.model_type == "bert":
        return found | {"attention.layer_norm_epsilon": config.layer_norm_eps, "attention.causal": False}
    if config.model_type == "gpt_neox":
        share = config.rope_parameters["partial_rotary_factor"]
        return found | {
            "rope.dimension_count": int(share * (config.hidden_size // config.num_attention_heads)),
            "use_parallel_residual": config.use_parallel_residual,
            "attention.layer_norm_epsilon": config.layer_norm_eps,
        }
    found |= {
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.layer_norm_rms_epsilon": config.rms_norm_eps,
    }
    head_dim = getattr(config, "head_dim", None)
    if head_dim is not None:
        found |= {"attention.key_length": head_dim, "attention.value_length": head_dim}
    if config.model_type in PAIRED:
        head = head_dim or config.hidden_size // config.num_attention_heads
        found |= {"vocab_size": config.vocab_size, "rope.dimension_count": head}
    if config.model_type == "phi3":
        head = config.hidden_size // config.num_attention_heads
        found["rope.dimension_count"] = int(config.rope_parameters["partial_rotary_factor"] * head)
        found["rope.scaling.original_context_length"] = config.original_max_position_embeddings
        found["attention.sliding_window"] = config.sliding_window or 0
    if config.model_type in ("gemma2", "gemma3_text"):
        found["attention.sliding_window"] = config.sliding_window
    if config.model_type == "olmo3":
        found["attention.sliding_window"] = config.sliding_window
        found["attention.sliding_window_pattern"] = [kind == "sliding_attention" for kind in config.layer_types]
    if config.model_type == "gemma2":
        found["attn_logit_softcapping"] = config.attn_logit_softcapping
        return found | {"final_logit_softcapping": config.final_logit_softcapping}
    return found | rotary(config)


def rotary(config: Any) -> dict[str, Any]:
    ropes = config.rope_parameters
    given = ropes.get("full_attention", ropes)
    found = {"rope.freq_base": float(given["rope_theta"])}
    if "sliding_attention" in ropes and config.model_type != "olmo3":
        found["rope.freq_base_swa"] = float(ropes["sliding_attention"]["rope_theta"])
    match given["rope_type"]:
        case "linear":
            found |= {"rope.scaling.type": "linear", "rope.scaling.factor": float(given["factor"])}
        case "yarn":
            found |= {
                "rope.scaling.type": "yarn",
                "rope.scaling.factor": float(given["factor"]),
                "rope.scaling.original_context_length": given["original_max_position_embeddings"],
            }
            for name in ("attention_factor", "beta_fast", "beta_slow"):
                if given.get(name) is not None:
                    found[f"rope.scaling.yarn_{name.replace('attention', 'attn')}"] = float(given[name])
        case "longrope":  # with the settings of Phi-3's converter, the only one that writes its factors
            original = given["original_max_position_embeddings"]
            scale = config.max_position_embeddings / original
            found |= {
                "rope.scaling.type": "longrope",
                "rope.scaling.original_context_length": original,
                "rope.scaling.attn_factor": math.sqrt(1 + math.log(scale) / math.log(original)),
            }
    return found


def tensors(twin: Any, architecture: str) -> Iterator[tuple[str, np.ndarray]]:
    config = twin.config
    if architecture in ("llama", "qwen2", "qwen3") and config.rope_parameters["rope_type"] == "llama3":
        yield "rope_freqs.weight", llama3_factors(config)
    for kind in ("long", "short"):
        if config.model_type != "bert" and f"{kind}_factor" in (getattr(config, "rope_parameters", None) or {}):
            yield f"rope_factors_{kind}.weight", np.array(config.rope_parameters[f"{kind}_factor"], np.float32)
    arch = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    known = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
    for name, tensor in twin.state_dict().items():
        tied = config.tie_word_embeddings and name in ("lm_head.weight", "embed_out.weight")
        if tied or name.startswith("pooler."):
            continue
        yield known.get_name(name, try_suffixes=(".weight", ".bias")), laid_out(name, tensor.numpy(), config)


def llama3_factors(config: Any) -> np.ndarray:
    given, dim = config.rope_parameters, config.head_dim
    freqs = 1.0 / (given["rope_theta"] ** (torch.arange(0, dim, 2, dtype=torch.float32) / dim))
    low, high, factor, old = given["low_freq_factor"], given["high_freq_factor"], given["factor"], 8192
    found = []
    for freq in freqs:
        wavelength = 2 * math.pi / freq
        if wavelength < old / high:
            found.append(1.0)
        elif wavelength > old / low:
            found.append(factor)
        else:
            smooth = (old / wavelength - low) / (high - low)
            found.append(1 / ((1 - smooth) / factor + smooth))
    return torch.tensor(found, dtype=torch.float32).numpy()


def laid_out(name: str, array: np.ndarray, config: Any) -> np.ndarray:
    """What the converter does to a tensor."""
    kind = config.model_type
    if kind.startswith("gemma") and name.endswith("norm.weight"):
        return array + 1
    if kind in PAIRED and ("q_proj." in name or "k_proj." in name):
        heads = config.num_attention_heads if "q_proj." in name else config.num_key_value_heads
        return array.reshape(heads, 2, -1, *array.shape[1:]).swapaxes(1, 2).reshape(array.shape)
    if kind == "gpt_neox" and "query_key_value." in name:
        by_head = array.reshape(config.num_attention_heads, 3, -1, *array.shape[1:])
        return by_head.swapaxes(0, 1).reshape(array.shape)
    if kind == "gpt2" and name.endswith((".c_attn.weight", ".c_proj.weight", ".c_fc.weight")):
        return array.T
    return array
