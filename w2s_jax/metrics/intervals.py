"""Intervals and p-values from estimates: by Student's t for differences, and by inverting the test for ratios."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float

from w2s_jax.metrics.estimates import SAME, Estimates, Linear

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    WithEnds = TypeVar("WithEnds", bound=DataclassInstance)
else:
    WithEnds = TypeVar("WithEnds")

_FARTHEST = 1e4  # standard errors from the estimate; an interval that reaches so far has no bound on that side
_STEPS = 200  # at which a test is tried on either side
_ZOOMS = 4  # into the step where it turns, each of them by so many steps

Floats = Float[np.ndarray, " k"]


class Interval(NamedTuple):
    """An estimate and the ends of its interval."""

    value: float
    low: float
    high: float


def interval(found: Estimates, weights: Floats, level: float) -> Interval:
    """`value ± t sqrt(V)` of a combination of means, with Student's t for the degrees of freedom of V."""
    value, variance, freedom = (float(part[0]) for part in found.linear(np.atleast_2d(weights)))
    half = float(_quantile(np.array([freedom]), level)[0]) * math.sqrt(variance)
    value = round(value, SAME)
    return Interval(value, value - half, value + half)


def certain(value: int, units: int, level: float) -> Interval:
    """Of a share that is 0 or 1 in a sample, whose variance says nothing: the exact binomial one of so many units."""
    reach = 1 - ((1 - level) / 2) ** (1 / units)
    return Interval(float(value), 0.0 if value == 0 else 1 - reach, reach if value == 0 else 1.0)


def p_value(at_zero: Linear, units: int) -> float:
    """Two-sided, of "this combination is 0", by Student's t.

    Where nothing varies, so that t has no scale, it is the sign test's: `2 / 2^units`, which all go one way.
    """
    from scipy import stats

    value, variance, freedom = (float(part[0]) for part in at_zero)
    if abs(value) < 0.5 * 10**-SAME:
        return 1.0
    if math.sqrt(variance) < 10**-SAME:
        return min(1.0, 2.0 ** (1 - min(units, 1000)))
    return float(2 * stats.t.sf(abs(value) / math.sqrt(variance), freedom))


def inverted(test: Callable[[Floats], Linear], value: float, level: float) -> Interval:
    """The values that a test of "the true value is this" does not refuse, outermost ones included.

    Args:
      test: of hypotheses [K] what is then 0 but for chance, with its variance; at `value` it is 0.
      value: the estimate.

    Returns:
      The interval; an end that is not bounded is infinite.
    """
    nearby = test(np.array([value, value + 1.0]))
    slope = abs(float(nearby.value[1] - nearby.value[0]))
    error = math.sqrt(float(nearby.variance[0])) / slope
    if error < 10**-SAME:
        return Interval(value, value, value)
    steps = error * np.tan(np.linspace(0, math.atan(_FARTHEST), _STEPS))
    ends = []
    for side in (-1, 1):
        at = value + side * steps
        last = _last_accepted(test(at), level)
        if last == _STEPS - 1:
            ends.append(side * math.inf)
            continue
        for _ in range(_ZOOMS):
            at = np.linspace(at[last], at[last + 1], _STEPS)
            last = _last_accepted(test(at), level)
        ends.append(float(at[last]))
    return Interval(value, *ends)


def _last_accepted(found: Linear, level: float) -> int:
    """The farthest of the hypotheses, which begin at the estimate or an accepted one, that is not refused."""
    refused = np.abs(found.value) > _quantile(found.freedom, level) * np.sqrt(found.variance)
    return int(np.flatnonzero(~refused)[-1]) if not refused.all() else 0


def median_interval(values: Floats, level: float = 0.95) -> Interval:
    """The median, with an interval between order statistics (Hettmansperger & Sheather 1986).

    From the k-th least to the k-th greatest of n values is an interval whose chance to hold the median is binomial; two
    neighbouring ones are interpolated. The widest, from the least to the greatest, has 93.75% for five values.
    """
    from scipy import stats

    ascending, n, value = np.sort(values), len(values), float(np.median(values))
    chances = [1 - 2 * float(stats.binom.cdf(k, n, 0.5)) for k in range(n // 2)] or [0.0]
    outer = max((k for k, chance in enumerate(chances) if chance >= level), default=0)
    inner = min(outer + 1, len(chances) - 1)
    share = 0.0
    if inner > outer and chances[outer] > level:
        part = (chances[outer] - level) / (chances[outer] - chances[inner])
        share = (n - inner) * part / (inner + (n - 2 * inner) * part)
    low, high = (float((1 - share) * ends[outer] + share * ends[inner]) for ends in (ascending, ascending[::-1]))
    return Interval(value, low, high)


def _quantile(freedom: Floats, level: float) -> Floats:
    from scipy import special

    return np.asarray(special.stdtrit(np.minimum(freedom, 1e9), (1 + level) / 2))


def bounded(found: WithEnds) -> WithEnds:
    """A PGR or difference with None for an infinite `low` or `high`: JSON has no infinities."""
    ends: dict[str, Any] = {name: getattr(found, name) for name in ("low", "high")}
    finite = {name: end if end is not None and math.isfinite(end) else None for name, end in ends.items()}
    return replace(found, **finite)
