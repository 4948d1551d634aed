"""Class probabilities as tables hold them: a list, a list written as JSON, or that of class 1 alone."""

from typing import Any

import numpy as np
from jaxtyping import Float

from w2s_jax.data.formats.json import from_cell
from w2s_jax.data.records import Record, as_number, brief, is_absent
from w2s_jax.runtime.errors import UserError

CLOSE = 1e-3  # how far the sum may be from 1


def probabilities(record: Record, probs: str = "probs", p: str = "p") -> Float[np.ndarray, " c"] | None:
    """A record's class probabilities, float64, with sum 1; None if it gives none.

    Args:
      probs: the column of a list, one number for each class, which in a .csv is written as JSON: `[0.2, 0.8]`.
      p: the column of the probability of class 1, where there are two.

    Raises:
      UserError: they are no probabilities, or both columns are there and differ.
    """
    listed, single = (record.get(name) for name in (probs, p))
    found = None if _nothing(listed) else _listed(listed, probs)
    if _nothing(single):
        return found
    one = as_number(single)
    if one is None or not 0 <= one <= 1:
        raise UserError(f"{p} must be the probability of class 1, from 0 to 1, not {brief(single)}")
    pair = np.array([1 - one, one])
    if found is not None and (found.shape != pair.shape or not np.allclose(found, pair, atol=CLOSE)):
        raise UserError(f"{probs} {brief(listed)} and {p} {brief(single)} contradict each other; give one of them")
    return pair


def _listed(given: Any, name: str) -> Float[np.ndarray, " c"]:
    try:
        found = np.asarray(from_cell(given) if isinstance(given, str) else given, np.float64)
    except (ValueError, TypeError, OverflowError):
        found = np.empty(0)
    if found.ndim != 1 or len(found) < 2 or not (found >= 0).all() or not abs(found.sum() - 1) <= CLOSE:
        raise UserError(f"{name} must be two or more numbers, not negative, with sum 1, not {brief(given)}")
    return found / found.sum()


def _nothing(value: Any) -> bool:
    return not isinstance(value, list | tuple | np.ndarray) and is_absent(value)
