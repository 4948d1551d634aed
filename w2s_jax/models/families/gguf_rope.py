"""How rotary positions are stretched, as GGUF files say it: in settings, or in tensors of one factor a frequency."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from w2s_jax.models import rotary
from w2s_jax.models.config import Rope
from w2s_jax.models.families.settings import HfConfig, hf_rope
from w2s_jax.runtime.errors import UserError

FIXED, SHORT, LONG = TENSORS = ("rope_freqs.weight", "rope_factors_short.weight", "rope_factors_long.weight")


def scaling(
    setting: Callable[..., Any], factors: Mapping[str, tuple[float, ...]], rotated: int
) -> dict[str, Any] | None:
    """Hugging Face's `rope_scaling`.

    Args:
      setting: a setting of the file, or else the default given.
      factors: those of its tensors that are among `TENSORS`.
      rotated: how many dimensions of a head are.

    Raises:
      UserError: a scaling that is not implemented, or tensors that do not fit.
    """
    for name, values in factors.items():
        if len(values) != rotated // 2:
            raise UserError(f"{name} has {len(values)} numbers, not one for each of {rotated // 2} frequencies")
    kind = setting("rope.scaling.type")
    factor = setting("rope.scaling.factor") or setting("rope.scale_linear") or 1.0
    attention = setting("rope.scaling.attn_factor") or 1.0
    length = setting("context_length")
    original = setting("rope.scaling.original_context_length") or length
    if kind in (None, "none") and SHORT in factors:
        kind = "longrope"
    if kind is None:  # as llama.cpp takes it
        kind = "linear"
    if FIXED in factors and (kind not in ("none", "linear") or factor != 1):
        raise UserError(f"rope scaling {kind!r} together with {FIXED} is not implemented for GGUF files")
    match kind:
        case "none" | "linear" if attention != 1:
            raise UserError(f"rope scaling {kind!r} with an attention factor is not implemented for GGUF files")
        case "none" | "linear" if FIXED in factors:
            return _fixed(factors[FIXED], setting("rope.freq_base") or 10000.0, rotated, length)
        case "linear" if factor != 1:
            return {"rope_type": "linear", "factor": factor}
        case "none" | "linear":
            return None
        case "yarn":
            return _yarn(setting, factor, attention, original)
        case "longrope" if {SHORT, LONG} <= factors.keys():
            return _longrope(factors[SHORT], factors[LONG], attention, original)
        case "longrope":
            raise UserError(f"rope scaling 'longrope' without {SHORT} and {LONG}")
        case other:
            raise UserError(f"rope scaling {other!r} is not implemented for GGUF files")


def _fixed(factors: tuple[float, ...], theta: float, rotated: int, length: int) -> dict[str, Any]:
    """In the words of Llama 3.1 if the factors follow from those, as llama.cpp computes them; else one by one."""
    known = Rope(theta, scaling="llama3", factor=factors[-1], original_max_positions=8192)
    if np.allclose(factors, rotary.divisors(known, rotated), rtol=1e-5, atol=0):
        return _without_base(hf_rope(known))
    return _longrope(factors, factors, 1.0, length)


def _yarn(setting: Callable[..., Any], factor: float, attention: float, original: int) -> dict[str, Any]:
    for name, implemented in (("yarn_ext_factor", (None, 1.0, -1.0)), ("yarn_log_multiplier", (None, 0.0))):
        if setting(f"rope.scaling.{name}") not in implemented:
            raise UserError(f"rope.scaling.{name} is not implemented for GGUF files")
    whole = None if attention == 1 else attention * (1 + 0.1 * math.log(factor))
    return {
        "rope_type": "yarn",
        "factor": factor,
        "original_max_position_embeddings": original,
        "beta_fast": setting("rope.scaling.yarn_beta_fast"),
        "beta_slow": setting("rope.scaling.yarn_beta_slow"),
        "attention_factor": setting("rope.scaling.yarn_attn_factor", whole),
    }


def _longrope(short: tuple[float, ...], long: tuple[float, ...], attention: float, original: int) -> dict[str, Any]:
    return {
        "rope_type": "longrope",
        "short_factor": list(short),
        "long_factor": list(long),
        "attention_factor": attention,
        "original_max_position_embeddings": original,
    }


def _without_base(parameters: HfConfig) -> dict[str, Any]:
    own = ("rope_theta", "partial_rotary_factor")
    return {name: value for name, value in parameters.items() if name not in own}
