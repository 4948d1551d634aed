"""Refuses hyperparameters that are out of range, in one line that names them."""

from typing import Any

from w2s_jax.runtime.errors import UserError


def check_range(name: str, value: Any, low: float, high: float) -> None:
    """Checks that a value is a number in [low, high].

    >>> check_range("alpha", 1.5, 0, 1)
    Traceback (most recent call last):
    w2s_jax.runtime.errors.UserError: alpha must be a number from 0 to 1, not 1.5

    Raises:
      UserError: it is not.
    """
    if not isinstance(value, int | float) or not low <= value <= high:
        raise UserError(f"{name} must be a number from {low:g} to {high:g}, not {value!r}")


def check_count(name: str, value: Any, least: int = 1) -> None:
    """Checks that a value is a whole number, `least` or more.

    Raises:
      UserError: it is not.
    """
    if not isinstance(value, int) or value < least:
        raise UserError(f"{name} must be a whole number, {least} or more, not {value!r}")
