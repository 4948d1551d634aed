"""Intervals and p-values from resamples of a statistic."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float

from w2s_jax.metrics.resampling import Resampled

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    WithEnds = TypeVar("WithEnds", bound=DataclassInstance)
else:
    WithEnds = TypeVar("WithEnds")

TOO_FEW = "too few test examples: in most resamples a seed has none, or none of a class"


class Interval(NamedTuple):
    """An estimate and the ends of its interval."""

    value: float
    low: float
    high: float


def percentile(value: float, drawn: Float[np.ndarray, " r"], level: float) -> Interval:
    """The percentile interval. Its ends are resamples, so that infinite ones beyond them do no harm."""
    tail = (1 - level) / 2
    low, high = np.quantile(drawn, tail, method="lower"), np.quantile(drawn, 1 - tail, method="higher")
    return Interval(float(value), float(low), float(high))


def two_sided(drawn: Float[np.ndarray, " r"]) -> tuple[float, float]:
    """A bootstrap's p-value of "no difference", and the least that it can be."""
    least_p = 2 / (len(drawn) + 1)
    tail = min(np.sum(drawn <= 0), np.sum(drawn >= 0))
    return min(1.0, (int(tail) + 1) * least_p), least_p


def together(models: Sequence[Resampled]) -> tuple[list[float], np.ndarray | None]:
    """The models' statistics, and the resamples [M, R] where all are defined; None where those are under half."""
    drawn = np.stack([model.resampled for model in models])
    defined = np.isfinite(drawn).all(axis=0)
    return [model.value for model in models], drawn[:, defined] if defined.mean() >= 0.5 else None


def ratio(part: Float[np.ndarray, " r"], whole: Float[np.ndarray, " r"]) -> Float[np.ndarray, " r"]:
    """`part / whole`; a whole of 0 or less is the limit from above, which puts the resample into its tail."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(whole > 0, part / whole, np.where(part == 0, 0.0, np.copysign(np.inf, part)))


def bounded(found: WithEnds) -> WithEnds:
    """A PGR or difference with None for an infinite `low` or `high`: JSON has no infinities."""
    ends: dict[str, Any] = {name: getattr(found, name) for name in ("low", "high")}
    finite = {name: end if end is not None and math.isfinite(end) else None for name, end in ends.items()}
    return replace(found, **finite)
