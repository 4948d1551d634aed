"""What a step of label work is, and how it is found and bound."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from w2s_jax.runtime import errors
from w2s_jax.runtime.errors import UserError

# What a step may ask to see of the training rows, by naming it among its keywords.
CONTEXT = ("features", "members", "student", "views", "seed")
_ROWS_AXIS = {"features": 0, "members": 1, "student": 0, "views": 1}


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


def farthest(weak: Float[np.ndarray, "n c"], other: Float[np.ndarray, "n c"], share: float) -> Int[np.ndarray, " m"]:
    """The share of rows where two labels are farthest apart, in total variation; of equal ones the first."""
    check_range("share", share, 0, 1 - 1e-9)
    distance = np.abs(weak - other).sum(axis=1)
    return np.argsort(-distance, kind="stable")[: round(share * len(weak))]


def drop_farthest(weak: Float[np.ndarray, "n c"], other: Float[np.ndarray, "n c"], drop: float) -> Labels:
    """Without the share of rows where two labels are farthest apart."""
    check_range("drop", drop, 0, 1 - 1e-9)
    keep = np.ones(len(weak), bool)
    keep[farthest(weak, other, drop)] = False
    return kept(weak, keep)


def most_of(score: Float[np.ndarray, " n"], share: float, classes: Int[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Where the share of each class with the largest score is, at least one row of a class; of equal ones the first."""
    keep = np.zeros(len(score), bool)
    for label in np.unique(classes):
        rows = np.flatnonzero(classes == label)
        keep[rows[np.argsort(-score[rows], kind="stable")[: max(1, round(share * len(rows)))]]] = True
    return keep


def context_of(step: Step) -> tuple[str, ...]:
    """What the step asks to see."""
    return tuple(name for name in CONTEXT if name in inspect.signature(step).parameters)


def bind(step: Step, **options: Any) -> Step:
    """The step with its hyperparameters: `(weak [n, c], **context) -> Labels`, which gets of the context what it names.

    Raises:
      UserError: an option that it does not have, or that it needs and is not given; when called: context that is
        missing, is not finite or has other rows than `weak`, or a result that is not `Labels` of probabilities.
    """
    name = getattr(step, "__name__", type(step).__name__)
    needed = context_of(step)
    _check_options(name, step, options)

    @functools.wraps(step)
    def bound(weak: Float[np.ndarray, "n c"], **context: Any) -> Labels:
        given = {key: context[key] for key in needed if key in context}
        _check_context(name, step, given, len(weak))
        return _checked(name, step(weak, **options, **given), weak)

    return bound


def _check_options(name: str, step: Step, options: Mapping[str, Any]) -> None:
    parameters = list(inspect.signature(step).parameters.values())
    if not parameters or parameters[0].kind in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD):
        raise UserError(f"label work {name!r} must take weak labels first, and its hyperparameters as keywords")
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    known = {parameter.name: parameter for parameter in parameters[1:] if parameter.name not in CONTEXT}
    for option in options:
        if option not in known:
            raise errors.unknown(f"option of label work {name!r}:", option, known)
    missing = [key for key, parameter in known.items() if parameter.default is parameter.empty and key not in options]
    if missing:
        raise UserError(f"label work {name!r} needs a value for {', '.join(missing)}")


def _check_context(name: str, step: Step, given: Mapping[str, Any], n: int) -> None:
    for key in context_of(step):
        if key not in given:
            if inspect.signature(step).parameters[key].default is inspect.Parameter.empty:
                raise UserError(f"label work {name!r} asks for {key}, which are not there")
        elif key in _ROWS_AXIS:
            rows = np.shape(given[key])[_ROWS_AXIS[key]]
            if rows != n:
                raise UserError(f"label work {name!r} was given {key} of {rows} rows; there are {n} weak labels")
            if not np.isfinite(given[key]).all():
                raise UserError(f"label work {name!r} was given {key} that hold NaN or infinity")


def _checked(name: str, labels: Any, weak: np.ndarray) -> Labels:
    try:
        rows, targets = (np.asarray(part) for part in labels)
    except (TypeError, ValueError) as error:
        raise UserError(f"label work {name!r} must give (rows, targets), not {type(labels).__name__}") from error
    if rows.ndim != 1 or targets.shape != (len(rows), weak.shape[1]):
        raise UserError(
            f"label work {name!r} gave rows {rows.shape} and targets {targets.shape}; they must be "
            f"[m] and [m, {weak.shape[1]}]"
        )
    if len(rows) and not np.issubdtype(rows.dtype, np.integer):
        raise UserError(f"label work {name!r} gave rows of {rows.dtype}; they must be row numbers (np.flatnonzero)")
    if len(rows) and not 0 <= rows.min() <= rows.max() < len(weak):
        raise UserError(f"label work {name!r} gave rows outside 0..{len(weak) - 1}")
    if not (targets >= 0).all() or not np.allclose(targets.sum(axis=1), 1, atol=1e-4):
        raise UserError(f"label work {name!r} gave targets that are not probabilities")
    return Labels(rows.astype(np.int32), targets.astype(np.float32))


def check_range(name: str, value: Any, low: float, high: float) -> None:
    """Refuses a hyperparameter outside [low, high]."""
    if not isinstance(value, int | float) or not low <= value <= high:
        raise UserError(f"{name} must be a number from {low:g} to {high:g}, not {value!r}")


def check_count(name: str, value: Any, least: int = 1) -> None:
    """Refuses a hyperparameter that is not a whole number, `least` or more."""
    if not isinstance(value, int) or value < least:
        raise UserError(f"{name} must be a whole number, {least} or more, not {value!r}")
