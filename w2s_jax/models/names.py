"""How each family's checkpoint names and shapes its tensors, beside ours: one table a family.

A row is (our path, their name, conversion). `{i}` in a name is the layer; our layers lie stacked along a first axis.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from w2s_jax.models.config import ModelConfig

Convert = Callable[[np.ndarray, ModelConfig], np.ndarray]


class Row(NamedTuple):
    """One parameter. After `convert`, their tensor has our number of elements in our order."""

    path: str
    name: str
    convert: Convert


def rows(config: ModelConfig, gguf: bool = False) -> list[Row]:
    """The table of a model's family, for the parameters that this config has."""
    if gguf:
        return _gguf(config)
    return _TABLES[config.family](config)


def plain_name(name: str) -> str:
    """A tensor's name without the prefix that depends on which head the checkpoint was saved with."""
    return re.sub(r"^(model\.0\.auto_model|model|transformer|gpt_neox|bert)\.", "", name)


def ignored(name: str) -> bool:
    """Tensors of a checkpoint that are no backbone parameters: heads, poolers and constants."""
    return re.search(_IGNORED, name) is not None


_IGNORED = "|".join(
    (
        r"^lm_head\.",
        r"^embed_out\.",
        r"^cls\.",
        r"^pooler\.",
        r"^classifier\.",
        r"position_ids$",
        r"rotary_emb\.inv_freq$",
        r"attn\.(masked_)?bias$",  # GPT-2's constant causal mask
        r"attention\.(masked_)?bias$",
        r"^output\.weight$",
        r"^rope_freqs\.weight$",
    )
)


def _same(array: np.ndarray, _: ModelConfig) -> np.ndarray:
    return array


def _transposed(array: np.ndarray, _: ModelConfig) -> np.ndarray:
    """A torch linear layer keeps [outputs, inputs]."""
    return array.T


def _plus_one(array: np.ndarray, _: ModelConfig) -> np.ndarray:
    """Gemma keeps a norm's scale less one."""
    return array + 1


def _third(part: int) -> Convert:
    """GPT-2 keeps query, key and value side by side along the last axis."""
    return lambda array, _: np.split(array, 3, axis=-1)[part]


def _interleaved(part: int) -> Convert:
    """GPT-NeoX keeps query, key and value of one head after the other."""

    def convert(array: np.ndarray, config: ModelConfig) -> np.ndarray:
        heads = array.reshape(config.n_heads, 3, config.head_dim, *array.shape[1:])[:, part]
        return heads.reshape(-1, *array.shape[1:]).T

    return convert


def _unpermuted(heads: str) -> Convert:
    """Llama's GGUF keeps the rotary pairs of a head side by side; ours are half a head apart, as in Hugging Face's."""

    def convert(array: np.ndarray, config: ModelConfig) -> np.ndarray:
        count, half = getattr(config, heads), config.head_dim // 2
        return array.reshape(count, half, 2, -1).swapaxes(1, 2).reshape(array.shape).T

    return convert


def _linear(path: str, name: str, bias: bool) -> list[Row]:
    found = [Row(f"{path}/kernel", f"{name}.weight", _transposed)]
    return found + ([Row(f"{path}/bias", f"{name}.bias", _same)] if bias else [])


def _norm(path: str, name: str, kind: str, convert: Convert = _same) -> list[Row]:
    found = [Row(f"{path}/scale", f"{name}.weight", convert)]
    return found + ([Row(f"{path}/bias", f"{name}.bias", _same)] if kind == "layer" else [])


def _llama(config: ModelConfig) -> list[Row]:
    layer, ours = "layers.{i}.", "layers/"
    table = [Row("embed/embedding", "embed_tokens.weight", _same)]
    for part, short in (("query", "q"), ("key", "k"), ("value", "v")):
        table += _linear(f"{ours}attention/{part}", f"{layer}self_attn.{short}_proj", config.qkv_bias)
    table += _linear(f"{ours}attention/output", f"{layer}self_attn.o_proj", config.output_bias)
    for part in ("gate", "up", "down"):
        table += _linear(f"{ours}mlp/{part}", f"{layer}mlp.{part}_proj", config.mlp_bias)
    norms = {"attention_norm": "input_layernorm", "mlp_norm": "post_attention_layernorm"}
    if config.post_norms:
        norms |= {
            "attention_post_norm": "post_attention_layernorm",
            "mlp_norm": "pre_feedforward_layernorm",
            "mlp_post_norm": "post_feedforward_layernorm",
        }
    if config.qk_norm:
        norms |= {"attention/query_norm": "self_attn.q_norm", "attention/key_norm": "self_attn.k_norm"}
    convert = _plus_one if config.family.startswith("gemma") else _same
    for part, name in norms.items():
        table += _norm(f"{ours}{part}", f"{layer}{name}", "rms", convert)
    return table + _norm("final_norm", "norm", "rms", convert)


def _gguf(config: ModelConfig) -> list[Row]:
    layer, ours = "blk.{i}.", "layers/"
    table = [Row("embed/embedding", "token_embd.weight", _same)]
    for part, short, heads in (("query", "q", "n_heads"), ("key", "k", "n_kv_heads")):
        convert = _unpermuted(heads) if config.family == "llama" else _transposed
        table.append(Row(f"{ours}attention/{part}/kernel", f"{layer}attn_{short}.weight", convert))
    table += _linear(f"{ours}attention/value", f"{layer}attn_v", False)
    table += _linear(f"{ours}attention/output", f"{layer}attn_output", False)
    for part in ("gate", "up", "down"):
        table += _linear(f"{ours}mlp/{part}", f"{layer}ffn_{part}", False)
    norms = {"attention_norm": "attn_norm", "mlp_norm": "ffn_norm"}
    if config.post_norms:
        norms |= {"attention_post_norm": "post_attention_norm", "mlp_post_norm": "post_ffw_norm"}
    if config.qk_norm:
        norms |= {"attention/query_norm": "attn_q_norm", "attention/key_norm": "attn_k_norm"}
    for part, name in norms.items():
        table += _norm(f"{ours}{part}", f"{layer}{name}", "rms")
    return table + _norm("final_norm", "output_norm", "rms")


def _gpt2(config: ModelConfig) -> list[Row]:
    layer, ours = "h.{i}.", "layers/"
    table = [Row("embed/embedding", "wte.weight", _same), Row("positions/embedding", "wpe.weight", _same)]
    for index, part in enumerate(("query", "key", "value")):
        table.append(Row(f"{ours}attention/{part}/kernel", f"{layer}attn.c_attn.weight", _third(index)))
        table.append(Row(f"{ours}attention/{part}/bias", f"{layer}attn.c_attn.bias", _third(index)))
    for path, name in (("attention/output", "attn.c_proj"), ("mlp/up", "mlp.c_fc"), ("mlp/down", "mlp.c_proj")):
        table.append(Row(f"{ours}{path}/kernel", f"{layer}{name}.weight", _same))
        table.append(Row(f"{ours}{path}/bias", f"{layer}{name}.bias", _same))
    table += _norm(f"{ours}attention_norm", f"{layer}ln_1", "layer") + _norm(f"{ours}mlp_norm", f"{layer}ln_2", "layer")
    return table + _norm("final_norm", "ln_f", "layer")


def _gpt_neox(config: ModelConfig) -> list[Row]:
    layer, ours = "layers.{i}.", "layers/"
    table = [Row("embed/embedding", "embed_in.weight", _same)]
    for index, part in enumerate(("query", "key", "value")):
        fused = f"{layer}attention.query_key_value"
        table.append(Row(f"{ours}attention/{part}/kernel", f"{fused}.weight", _interleaved(index)))
        if config.qkv_bias:
            table.append(Row(f"{ours}attention/{part}/bias", f"{fused}.bias", _interleaved(index)))
    table += _linear(f"{ours}attention/output", f"{layer}attention.dense", config.output_bias)
    table += _linear(f"{ours}mlp/up", f"{layer}mlp.dense_h_to_4h", True)
    table += _linear(f"{ours}mlp/down", f"{layer}mlp.dense_4h_to_h", True)
    table += _norm(f"{ours}attention_norm", f"{layer}input_layernorm", "layer")
    table += _norm(f"{ours}mlp_norm", f"{layer}post_attention_layernorm", "layer")
    return table + _norm("final_norm", "final_layer_norm", "layer")


def _bert(config: ModelConfig) -> list[Row]:
    layer, ours = "encoder.layer.{i}.", "layers/"
    table = [
        Row("embed/embedding", "embeddings.word_embeddings.weight", _same),
        Row("positions/embedding", "embeddings.position_embeddings.weight", _same),
        Row("token_types/embedding", "embeddings.token_type_embeddings.weight", _same),
        *_norm("embed_norm", "embeddings.LayerNorm", "layer"),
    ]
    for part in ("query", "key", "value"):
        table += _linear(f"{ours}attention/{part}", f"{layer}attention.self.{part}", True)
    table += _linear(f"{ours}attention/output", f"{layer}attention.output.dense", True)
    table += _norm(f"{ours}attention_norm", f"{layer}attention.output.LayerNorm", "layer")
    table += _linear(f"{ours}mlp/up", f"{layer}intermediate.dense", True)
    table += _linear(f"{ours}mlp/down", f"{layer}output.dense", True)
    return table + _norm(f"{ours}mlp_norm", f"{layer}output.LayerNorm", "layer")


_TABLES: dict[str, Callable[[ModelConfig], list[Row]]] = {
    "bert": _bert,
    "gemma2": _llama,
    "gemma3_text": _llama,
    "gpt2": _gpt2,
    "gpt_neox": _gpt_neox,
    "llama": _llama,
    "mistral": _llama,
    "qwen2": _llama,
    "qwen3": _llama,
}
