"""What a label transform is, and how one is registered and given its hyperparameters; helpers that several share."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from w2s_jax.runtime.checks import check_range
from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.options import check_options
from w2s_jax.runtime.registry import Registry

# What a label transform may ask to see of the training examples, by naming it among its keywords.
CONTEXT = ("features", "members", "student", "views", "seed")
_EXAMPLES_AXIS = {"features": 0, "members": 1, "student": 0, "views": 1}


class TransformedLabels(NamedTuple):
    """What a label transform leaves to learn from.

    Attributes:
      rows: which of the n training examples, in order; an example may be left out or taken several times.
      targets: float32 class probabilities of those examples.
    """

    rows: Int[np.ndarray, " m"]
    targets: Float[np.ndarray, "m c"]


@runtime_checkable
class LabelTransform(Protocol):
    """A pure function `(weak [n, c], *, hyperparameters, context) -> TransformedLabels`. It never sees ground truth."""

    def __call__(self, weak: Float[np.ndarray, "n c"], /, *args: Any, **keywords: Any) -> TransformedLabels: ...


LABEL_TRANSFORMS: Registry[LabelTransform] = Registry("label transform")


def context_of(transform: Callable[..., Any]) -> tuple[str, ...]:
    """What a label transform asks to see, of `CONTEXT`."""
    return tuple(name for name in CONTEXT if name in inspect.signature(transform).parameters)


def bind(transform: LabelTransform, **options: Any) -> Callable[..., TransformedLabels]:
    """A label transform with its hyperparameters, as `(weak [n, c], **context) -> TransformedLabels`.

    It gets of the context what it names; more may be passed.

    >>> from w2s_jax import label_transforms
    >>> confident = label_transforms.bind(label_transforms.confidence_filter, threshold=0.75)
    >>> rows, targets = confident(np.array([[0.1, 0.9], [0.4, 0.6]], np.float32))
    >>> rows.tolist()
    [0]

    Args:
      transform: one of `LABEL_TRANSFORMS`, or your own.
      **options: its hyperparameters; those left out keep their defaults.

    Raises:
      UserError: an option that it does not have, or a missing one that it needs; when called, context that is missing,
        is not finite or is not of as many examples as `weak`, or a result that is no `TransformedLabels` of
        probabilities.
    """
    name = getattr(transform, "__name__", type(transform).__name__)
    needed = context_of(transform)
    _check_options(name, transform, options)

    @functools.wraps(transform)
    def bound(weak: Float[np.ndarray, "n c"], **context: Any) -> TransformedLabels:
        given = {key: context[key] for key in needed if key in context}
        _check_context(name, transform, given, len(weak))
        return _checked(name, transform(weak, **options, **given), weak)

    return bound


def kept(weak: Float[np.ndarray, "n c"], keep: Bool[np.ndarray, " n"]) -> TransformedLabels:
    """The examples where `keep` is true, with the labels they had."""
    rows = np.flatnonzero(keep).astype(np.int32)
    return TransformedLabels(rows, np.asarray(weak[rows], np.float32))


def relabelled(targets: Float[np.ndarray, "n c"]) -> TransformedLabels:
    """Every example, with new labels."""
    return TransformedLabels(np.arange(len(targets), dtype=np.int32), np.asarray(targets, np.float32))


def farthest(weak: Float[np.ndarray, "n c"], other: Float[np.ndarray, "n c"], share: float) -> Int[np.ndarray, " m"]:
    """The share of examples where two labels are farthest apart, in total variation; of equal ones the first."""
    check_range("share", share, 0, 1 - 1e-9)
    distance = np.abs(weak - other).sum(axis=1)
    return np.argsort(-distance, kind="stable")[: round(share * len(weak))]


def drop_farthest(weak: Float[np.ndarray, "n c"], other: Float[np.ndarray, "n c"], drop: float) -> TransformedLabels:
    """Without the share of examples where two labels are farthest apart."""
    check_range("drop", drop, 0, 1 - 1e-9)
    keep = np.ones(len(weak), bool)
    keep[farthest(weak, other, drop)] = False
    return kept(weak, keep)


def most_of(score: Float[np.ndarray, " n"], share: float, classes: Int[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Where each class's share with the largest score is: at least one example of a class, of equal ones the first."""
    keep = np.zeros(len(score), bool)
    for label in np.unique(classes):
        rows = np.flatnonzero(classes == label)
        keep[rows[np.argsort(-score[rows], kind="stable")[: max(1, round(share * len(rows)))]]] = True
    return keep


def _check_options(name: str, transform: LabelTransform, options: Mapping[str, Any]) -> None:
    parameters = list(inspect.signature(transform).parameters.values())
    if not parameters or parameters[0].kind in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD):
        raise UserError(f"label transform {name!r} must take weak labels first, and its hyperparameters as keywords")
    check_options(f"label transform {name!r}", transform, options, given=1, context=CONTEXT)


def _check_context(name: str, transform: LabelTransform, given: Mapping[str, Any], n: int) -> None:
    for key in context_of(transform):
        if key not in given:
            if inspect.signature(transform).parameters[key].default is inspect.Parameter.empty:
                raise UserError(f"label transform {name!r} asks for {key}, and there is none")
        elif key in _EXAMPLES_AXIS:
            examples = np.shape(given[key])[_EXAMPLES_AXIS[key]]
            if examples != n:
                raise UserError(
                    f"label transform {name!r} was given {key} of {examples} examples; there are {n} weak labels"
                )
            if not np.isfinite(given[key]).all():
                raise UserError(f"label transform {name!r} was given {key} that contain NaN or infinity")


def _checked(name: str, labels: Any, weak: np.ndarray) -> TransformedLabels:
    try:
        rows, targets = (np.asarray(part) for part in labels)
    except (TypeError, ValueError) as error:
        raise UserError(f"label transform {name!r} must return (rows, targets), not {type(labels).__name__}") from error
    if rows.ndim != 1 or targets.shape != (len(rows), weak.shape[1]):
        raise UserError(
            f"label transform {name!r} returned rows {rows.shape} and targets {targets.shape}; they must be "
            f"[m] and [m, {weak.shape[1]}]"
        )
    if len(rows) and not np.issubdtype(rows.dtype, np.integer):
        raise UserError(
            f"label transform {name!r} returned rows of {rows.dtype}; they must be row numbers (np.flatnonzero)"
        )
    if len(rows) and not 0 <= rows.min() <= rows.max() < len(weak):
        raise UserError(f"label transform {name!r} returned rows outside 0..{len(weak) - 1}")
    if not (targets >= 0).all() or not np.allclose(targets.sum(axis=1), 1, atol=1e-4):
        raise UserError(f"label transform {name!r} returned targets that are not probabilities")
    return TransformedLabels(rows.astype(np.int32), targets.astype(np.float32))
