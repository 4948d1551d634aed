"""The frequencies of rotary positions that are stretched, one factor a frequency: on the host, in double precision."""

import math

import numpy as np
from jaxtyping import Float

from w2s_jax.models.config import Rope


def frequencies(rope: Rope, rotated: int, *, long: bool = False) -> Float[np.ndarray, " r"]:
    """Of the rotated dimensions' pairs, float32.

    Args:
      long: those of texts longer than `rope.original_max_positions`.
    """
    return (_plain(rope, rotated) / divisors(rope, rotated, long=long)).astype(np.float32)


def divisors(rope: Rope, rotated: int, *, long: bool = False) -> Float[np.ndarray, " r"]:
    """What each frequency `theta ** (-2 i / d)` is divided by."""
    match rope.scaling:
        case "none":
            return np.ones(rotated // 2)
        case "linear":
            return np.full(rotated // 2, rope.factor)
        case "llama3":
            turns = rope.original_max_positions * _plain(rope, rotated) / (2 * math.pi)
            keep = (turns - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor)
            return _blended(keep, rope.factor)
        case "yarn":
            first, last = _yarn_range(rope, rotated)
            return _blended(1 - (np.arange(rotated // 2) - first) / (last - first), rope.factor)
        case "longrope":
            return np.array(rope.long_factors if long else rope.short_factors)


def _plain(rope: Rope, rotated: int) -> Float[np.ndarray, " r"]:
    return rope.theta ** -(np.arange(0, rotated, 2) / rotated)


def _blended(keep: Float[np.ndarray, " r"], factor: float) -> Float[np.ndarray, " r"]:
    """1 where a frequency is kept whole, `factor` where not at all."""
    keep = np.clip(keep, 0.0, 1.0)
    return 1 / (keep + (1 - keep) / factor)


def _yarn_range(rope: Rope, rotated: int) -> tuple[float, float]:
    """The first frequency that is not kept whole, and the last that is kept in part."""

    def place(turns: float) -> float:
        """Which frequency turns so often in the length first trained on."""
        length = rope.original_max_positions / (2 * math.pi * turns)
        return rotated * math.log(length) / (2 * math.log(rope.theta))

    first, last = place(rope.beta_fast), place(rope.beta_slow)
    if rope.truncate:
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, rotated - 1)
    return first, last + 0.001 if first == last else last
