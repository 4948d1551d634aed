"""The shape of a model without its weights: from a published config of these, or from a folder's config.json."""

from pathlib import Path
from typing import Any

from w2s_jax import models
from w2s_jax.models import families
from w2s_jax.models.config import ModelConfig
from w2s_jax.runtime import errors, files
from w2s_jax.runtime.errors import UserError


def _gpt2(layers: int, width: int, heads: int) -> dict[str, Any]:
    return {
        "model_type": "gpt2",
        "vocab_size": 50257,
        "n_embd": width,
        "n_head": heads,
        "n_layer": layers,
        "n_positions": 1024,
        "layer_norm_epsilon": 1e-5,
        "activation_function": "gelu_new",
    }


def _llama(layers: int, width: int, heads: int, mlp: int, tied: bool = False) -> dict[str, Any]:
    return {
        "model_type": "llama",
        "vocab_size": 128256,
        "hidden_size": width,
        "intermediate_size": mlp,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": 8,
        "max_position_embeddings": 8192,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0,
        "tie_word_embeddings": tied,
    }


_QWEN3_30B = {
    "model_type": "qwen3_moe",
    "vocab_size": 151936,
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "moe_intermediate_size": 768,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "norm_topk_prob": True,
    "num_hidden_layers": 48,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "max_position_embeddings": 40960,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-6,
    "rope_theta": 1000000.0,
    "tie_word_embeddings": False,
}
_MIXTRAL_8X7B = {
    "model_type": "mixtral",
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 32768,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "rope_theta": 1000000.0,
    "tie_word_embeddings": False,
}


ARCHITECTURES: dict[str, dict[str, Any]] = {
    "gpt2": _gpt2(12, 768, 12),
    "gpt2-medium": _gpt2(24, 1024, 16),
    "gpt2-large": _gpt2(36, 1280, 20),
    "gpt2-xl": _gpt2(48, 1600, 25),
    "llama-3.2-1b": _llama(16, 2048, 32, 8192, tied=True),
    "llama-3.2-3b": _llama(28, 3072, 24, 8192, tied=True),
    "llama-3-8b": _llama(32, 4096, 32, 14336),
    "llama-3-70b": _llama(80, 8192, 64, 28672),
    "qwen3-30b-a3b": _QWEN3_30B,
    "mixtral-8x7b-v0.1": _MIXTRAL_8X7B,
}


def architecture(source: str) -> ModelConfig:
    """The config of a model: one of `ARCHITECTURES`, by name or as a Hub id's last part (`openai-community/gpt2-xl`,
    `meta-llama/Meta-Llama-3-8B`), a folder with config.json, or whatever `models.load` reads.

    Raises:
      UserError: none of these.
    """
    name = source.partition("@")[0].rpartition("/")[2].lower().removeprefix("meta-")
    if name in ARCHITECTURES:
        return families.from_hf(ARCHITECTURES[name])
    if (config := Path(source) / "config.json").exists():
        return families.from_hf(files.read_json(config))
    if source in models.MODELS or source.endswith(".gguf"):
        return models.outline(source)[0]
    if "/" in source:
        raise UserError(f"{source!r}: give a folder that holds its config.json (weights are not needed)")
    raise errors.unknown("model", source, [*ARCHITECTURES, *models.MODELS])
