"""Settings that most families' config.json names alike: read from Hugging Face's words, and written in them."""

from collections.abc import Mapping
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
      UserError: a scaling that is not implemented.
    """
    given: dict[str, Any] = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    defaults: dict[str, float] = {
        "rope_theta": config.get("rope_theta") or config.get("rotary_emb_base") or theta,
        "partial_rotary_factor": config.get("rotary_pct") or config.get("partial_rotary_factor") or fraction,
    }
    given = {**defaults, **given}
    theta, fraction = given["rope_theta"], given["partial_rotary_factor"]
    match given.get("rope_type", given.get("type", "default")):
        case "default":
            return Rope(theta, fraction)
        case "linear":
            return Rope(theta, fraction, "linear", given["factor"])
        case "llama3":
            return Rope(
                theta,
                fraction,
                "llama3",
                given["factor"],
                given["low_freq_factor"],
                given["high_freq_factor"],
                given["original_max_position_embeddings"],
            )
        case other:
            raise UserError(f"rope scaling {other!r} is not implemented; supported: default, linear, llama3")


def hf_rope(rope: Rope) -> HfConfig:
    """The `rope_parameters` that `rope` reads as this."""
    parameters: dict[str, Any] = {"rope_theta": rope.theta, "partial_rotary_factor": rope.fraction}
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
                "original_max_position_embeddings": rope.original_max_positions,
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
