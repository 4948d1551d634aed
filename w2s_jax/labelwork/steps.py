"""What a step of label work is, and how it is found and bound."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from w2s_jax import errors
from w2s_jax.errors import UserError

# What a step may ask to see of the training rows, by naming it among its keywords.
CONTEXT = ("features", "members", "student", "views", "seed")


class Labels(NamedTuple):
    """What a step leaves to learn from.

    Attributes:
      rows: which of the n training rows, in order; a row may be left out or taken several times.
      targets: float32 class probabilities of those rows.
    """

    rows: Int[np.ndarray, " m"]
    targets: Float[np.ndarray, "m c"]


Step = Callable[..., Labels]


def kept(weak: Float[np.ndarray, "n c"], keep: np.ndarray) -> Labels:
    """The rows where `keep` is true, with the labels they had."""
    rows = np.flatnonzero(keep).astype(np.int32)
    return Labels(rows, np.asarray(weak[rows], np.float32))


def relabelled(targets: Float[np.ndarray, "n c"]) -> Labels:
    """Every row, with new labels."""
    return Labels(np.arange(len(targets), dtype=np.int32), np.asarray(targets, np.float32))


def context_of(step: Step) -> tuple[str, ...]:
    """What the step asks to see."""
    return tuple(name for name in CONTEXT if name in inspect.signature(step).parameters)


def bind(step: Step, **options: Any) -> Step:
    """The step with its hyperparameters: `(weak [n, c], **context) -> Labels`.

    Raises:
      UserError: an option that it does not have, or that it needs and is not given; when called: a result that is not
        `Labels` of probabilities.
    """
    name = getattr(step, "__name__", type(step).__name__)
    parameters = list(inspect.signature(step).parameters.values())[1:]
    known = {parameter.name: parameter for parameter in parameters if parameter.name not in CONTEXT}
    _check_options(name, known, options)

    @functools.wraps(step)
    def bound(weak: Float[np.ndarray, "n c"], **context: Any) -> Labels:
        labels = step(weak, **options, **context)
        _check_labels(name, labels, weak)
        return labels

    return bound


def _check_options(name: str, known: Mapping[str, inspect.Parameter], options: Mapping[str, Any]) -> None:
    for option in options:
        if option not in known:
            raise errors.unknown(f"option of label work {name!r}:", option, known)
    needed = [key for key, parameter in known.items() if parameter.default is parameter.empty and key not in options]
    if needed:
        raise UserError(f"label work {name!r} needs a value for {', '.join(needed)}")


def _check_labels(name: str, labels: Any, weak: np.ndarray) -> None:
    try:
        rows, targets = (np.asarray(part) for part in labels)
    except (TypeError, ValueError) as error:
        raise UserError(f"label work {name!r} must give (rows, targets), not {type(labels).__name__}") from error
    if rows.ndim != 1 or targets.shape != (len(rows), weak.shape[1]):
        raise UserError(
            f"label work {name!r} gave rows {rows.shape} and targets {targets.shape}; they must be "
            f"[m] and [m, {weak.shape[1]}]"
        )
    if len(rows) and not 0 <= rows.min() <= rows.max() < len(weak):
        raise UserError(f"label work {name!r} gave rows outside 0..{len(weak) - 1}")
    if (targets < 0).any() or not np.allclose(targets.sum(axis=1), 1, atol=1e-4):
        raise UserError(f"label work {name!r} gave targets that are not probabilities")


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Refuses a hyperparameter outside [low, high]."""
    if isinstance(value, str) or not low <= value <= high:
        raise UserError(f"{name} must be a number from {low:g} to {high:g}, not {value!r}")
