"""Settings that most families' config.json names alike: read from Hugging Face's words, and written in them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from w2s_jax.models.config import ModelConfig, Rope
from w2s_jax.runtime.errors import UserError

HfConfig = Mapping[str, Any]  # the contents of a config.json

ACTIVATIONS = {
    "silu": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}


def activation(name: str) -> str:
    """Our name of an activation.

    Raises:
      UserError: it is not implemented.
    """
    if name not in ACTIVATIONS:
        raise UserError(f"activation {name!r} is not implemented; supported: {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]


def hf_activation(name: str) -> str:
    """Hugging Face's name of one of our activations."""
    return {ours: theirs for theirs, ours in ACTIVATIONS.items()}[name]


def refuse(config: HfConfig, **supported: object) -> None:
    """Refuses settings whose value is not the one that is implemented; an absent one is the implemented one.

    Raises:
      UserError: naming the first that is refused.
    """
    for name, value in supported.items():
        if config.get(name, value) != value:
            raise UserError(f"{name}={config[name]!r} is not implemented for {config['model_type']}, only {value!r}")


def rope(config: HfConfig, theta: float = 10000.0, fraction: float = 1.0) -> Rope:
    """Rotary positions, in the words of transformers 4 or 5.

    Args:
      theta, fraction: the family's defaults.

    Raises:
      KeyError: a setting of the scaling is missing.
      UserError: a scaling that is not implemented, or whose factors are not one a frequency.
    """
    given: dict[str, Any] = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    defaults: dict[str, float] = {
        "rope_theta": config.get("rope_theta") or config.get("rotary_emb_base") or theta,
        "partial_rotary_factor": config.get("rotary_pct") or config.get("partial_rotary_factor") or fraction,
    }
    given = {**defaults, **given}
    plain = Rope(given["rope_theta"], given["partial_rotary_factor"])
    match given.get("rope_type", given.get("type", "default")):
        case "default":
            return plain
        case "linear":
            return replace(plain, scaling="linear", factor=given["factor"])
        case "llama3":
            return replace(
                plain,
                scaling="llama3",
                factor=given["factor"],
                low_freq_factor=given["low_freq_factor"],
                high_freq_factor=given["high_freq_factor"],
                original_max_positions=_first_trained_on(config, given),
            )
        case "yarn":
            return _yarn(plain, config, given)
        case "longrope" | "su":
            return _longrope(plain, config, given)
        case "dynamic":
            raise UserError(
                "rope scaling 'dynamic' is not implemented: its frequencies follow the longest text of a batch, so a "
                f"text's result would depend on its neighbours; supported: {_SCALINGS}"
            )
        case other:
            raise UserError(f"rope scaling {other!r} is not implemented; supported: {_SCALINGS}")


_SLIDING, _FULL = "sliding_attention", "full_attention"
_SCALINGS = "default, linear, llama3, yarn, longrope"


def _first_trained_on(config: HfConfig, given: HfConfig) -> int:
    """The length before it was stretched; a setting beside those of the scaling goes before one among them."""
    name = "original_max_position_embeddings"
    return config.get(name) or given.get(name) or config["max_position_embeddings"]


def _yarn(plain: Rope, config: HfConfig, given: HfConfig) -> Rope:
    original = _first_trained_on(config, given)
    factor = given["factor"] or config["max_position_embeddings"] / original

    def scale(weight: float) -> float:
        return 1.0 if factor <= 1 else 0.1 * weight * math.log(factor) + 1.0

    attention, above, below = (given.get(name) for name in ("attention_factor", "mscale", "mscale_all_dim"))
    if attention is None:
        attention = scale(above) / scale(below) if above and below else scale(1.0)
    return replace(
        plain,
        scaling="yarn",
        factor=factor,
        original_max_positions=original,
        beta_fast=given.get("beta_fast") or 32.0,
        beta_slow=given.get("beta_slow") or 1.0,
        truncate=given.get("truncate", True),
        attention_factor=attention,
    )


def _longrope(plain: Rope, config: HfConfig, given: HfConfig) -> Rope:
    original, attention = _first_trained_on(config, given), given.get("attention_factor")
    factor = given.get("factor") or config["max_position_embeddings"] / original
    if attention is None:
        attention = 1.0 if factor <= 1 else math.sqrt(1 + math.log(factor) / math.log(original))
    head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    count = int(head_dim * plain.fraction) // 2
    for name in ("short_factor", "long_factor"):
        if len(given[name]) != count:
            raise UserError(f"rope scaling 'longrope' has {len(given[name])} numbers in {name}, not {count}")
    return replace(
        plain,
        scaling="longrope",
        original_max_positions=original,
        attention_factor=attention,
        short_factors=tuple(map(float, given["short_factor"])),
        long_factors=tuple(map(float, given["long_factor"])),
    )


def windowed(config: HfConfig, period: int) -> tuple[bool, ...]:
    """For each layer, whether it has the window: as `layer_types` says, or all but every `period`-th.

    Raises:
      UserError: a type of layers that is not implemented.
    """
    layers = range(1, config["num_hidden_layers"] + 1)
    kinds = config.get("layer_types") or [_SLIDING if i % period else _FULL for i in layers]
    for kind in kinds:
        if kind not in (_SLIDING, _FULL):
            raise UserError(f"layers of type {kind!r} are not implemented for {config['model_type']}")
    return tuple(kind == _SLIDING for kind in kinds)


def hf_layer_types(windowed: Sequence[bool]) -> list[str]:
    """The `layer_types` that `windowed` reads as this."""
    return [_SLIDING if each else _FULL for each in windowed]


def hf_rope(rope: Rope) -> HfConfig:
    """The `rope_parameters` that `rope` reads as this."""
    parameters: dict[str, Any] = {"rope_theta": rope.theta, "partial_rotary_factor": rope.fraction}
    if rope.scaling not in ("none", "linear"):
        parameters["original_max_position_embeddings"] = rope.original_max_positions
    match rope.scaling:
        case "none":
            return {"rope_type": "default", **parameters}
        case "linear":
            return {"rope_type": "linear", "factor": rope.factor, **parameters}
        case "llama3":
            return {
                "rope_type": "llama3",
                "factor": rope.factor,
                "low_freq_factor": rope.low_freq_factor,
                "high_freq_factor": rope.high_freq_factor,
                **parameters,
            }
        case "yarn":
            return {
                "rope_type": "yarn",
                "factor": rope.factor,
                "beta_fast": rope.beta_fast,
                "beta_slow": rope.beta_slow,
                "truncate": rope.truncate,
                "attention_factor": rope.attention_factor,
                **parameters,
            }
        case "longrope":
            return {
                "rope_type": "longrope",
                "short_factor": list(rope.short_factors),
                "long_factor": list(rope.long_factors),
                "attention_factor": rope.attention_factor,
                **parameters,
            }


def sizes(config: HfConfig) -> dict[str, Any]:
    """The `ModelConfig` fields that all families but GPT-2 name alike."""
    heads, width = config["num_attention_heads"], config["hidden_size"]
    return {
        "family": config["model_type"],
        "vocab_size": config["vocab_size"],
        "hidden_size": width,
        "n_layers": config["num_hidden_layers"],
        "n_heads": heads,
        "n_kv_heads": config.get("num_key_value_heads") or heads,
        "head_dim": config.get("head_dim") or width // heads,
        "mlp_size": config["intermediate_size"],
        "max_positions": config["max_position_embeddings"],
        "activation": activation(config.get("hidden_activation") or config["hidden_act"]),
    }


def hf_sizes(config: ModelConfig) -> HfConfig:
    """The settings that `sizes` reads, except the number of key-value heads and the size of a head."""
    return {
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "intermediate_size": config.mlp_size,
        "max_position_embeddings": config.max_positions,
        "hidden_act": hf_activation(config.activation),
    }
