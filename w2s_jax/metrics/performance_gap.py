"""Performance gap recovered (PGR), with an interval, or the reason why it is undefined."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from w2s_jax.metrics.estimates import Estimates, Linear, Over, estimate
from w2s_jax.metrics.influence import STATISTICS, Statistic
from w2s_jax.metrics.intervals import Interval, interval, inverted
from w2s_jax.metrics.triples import ROLES, Triple, check, groups_of, tested_on
from w2s_jax.runtime import errors

# Of the means of supervisor, student and ceiling.
GAIN = np.array([-1.0, 1.0, 0.0])
GAP = np.array([-1.0, 0.0, 1.0])


@dataclass(frozen=True)
class PGR:
    """Performance gap recovered: `(student - supervisor) / (ceiling - supervisor)`, each a mean over seeds.

    0 is the supervisor, 1 the ceiling; it can be below 0 or above 1 (Burns et al. 2023, section 3).

    Attributes:
      value, low, high: the estimate and its interval; None where undefined.
      reason: why it is undefined; None where it is defined.
      gap: ceiling - supervisor; None where the statistic itself is undefined.
      supervisor, student, ceiling: the statistic's mean over seeds, with its interval; None likewise.
      over: what the intervals are over: with one seed, `examples` alone.
    """

    value: float | None
    low: float | None
    high: float | None
    reason: str | None
    gap: Interval | None = None
    supervisor: Interval | None = None
    student: Interval | None = None
    ceiling: Interval | None = None
    over: Over = "seeds and examples"


def in_words(found: PGR) -> str:
    """`0.58 [0.51, 0.66]`, or `undefined`."""
    if found.value is None:
        return "undefined"
    low = "-∞" if found.low is None else f"{found.low:.2f}"
    high = "∞" if found.high is None else f"{found.high:.2f}"
    return f"{found.value:.2f} [{low}, {high}]"


def pgr_of(supervisor: float, student: float, ceiling: float) -> float | None:
    """`(student - supervisor) / (ceiling - supervisor)`; None where ceiling and supervisor are equal."""
    return None if ceiling == supervisor else (student - supervisor) / (ceiling - supervisor)


def pgr(
    triples: Sequence[Triple], statistic: Statistic = "accuracy", *, level: float = 0.95, min_gap: float = 0.03
) -> PGR:
    """PGR over seeds, with an interval over seeds and groups of test examples.

    The interval is Fieller's (1954): all values r that a t-test of "student - supervisor - r (ceiling - supervisor) is
    0" does not refuse. Its variance is that of `estimates`: seeds may share test examples, have their own, or overlap.
    With one seed the interval is over examples alone. In simulations 95% intervals hold the truth in 93 to 97% of
    cases, from three seeds up (docs/results/coverage.md).

    PGR is undefined where ceiling and supervisor are not apart: where the interval of their gap reaches 0, or the
    gap is below `min_gap`.

    Args:
      triples: one for each seed.
      level: of all intervals, in (0, 1).
      min_gap: in the units of the statistic.

    Raises:
      UserError: there are no triples, the level is not in (0, 1), or there is no such statistic.
    """
    check(triples, level)
    reason = undefined(triples, statistic)
    if reason:
        return PGR(None, None, None, reason)
    models = [[getattr(triple, role) for triple in triples] for role in ROLES]
    return pgr_from(estimate(models, tested_on(triples), statistic), level, min_gap)


def pgr_from(
    found: Estimates, level: float = 0.95, min_gap: float = 0.03, between: str = "ceiling and supervisor"
) -> PGR:
    """PGR from the means of supervisor, student and ceiling, in this order, and their errors.

    Args:
      between: what ceiling and supervisor are called in a reason.
    """
    weak, student, ceiling = (interval(found, weights, level) for weights in np.eye(3))
    gap = interval(found, GAP, level)
    reason = not_apart(gap, level, min_gap, between)
    if reason:
        return PGR(None, None, None, reason, gap, weak, student, ceiling, found.over)
    value = float((found.values @ GAIN) / (found.values @ GAP))
    recovered = inverted(functools.partial(_nothing_left, found), value, level)
    return PGR(*recovered, None, gap, weak, student, ceiling, found.over)


def _nothing_left(found: Estimates, at: Float[np.ndarray, " k"]) -> Linear:
    """Fieller's test: if `at` is the PGR, gain - at * gap is 0."""
    return found.linear(GAIN - at[:, None] * GAP)


def not_apart(gap: Interval, level: float, min_gap: float, between: str = "ceiling and supervisor") -> str | None:
    """Why there is no gap to recover; None where there is one."""
    if gap.low > 0 and gap.value >= min_gap:
        return None
    least = "" if gap.value >= min_gap else f" (below {min_gap:g})"
    ends = f"{level:.0%} interval [{gap.low:.3f}, {gap.high:.3f}]"
    return f"{between} are not apart: gap {gap.value:.3f}{least}, {ends}"


def undefined(triples: Sequence[Triple], statistic: str) -> str | None:
    """Why a statistic is undefined for one of the seeds; None where it is defined for all.

    Raises:
      UserError: there is no statistic of this name.
    """
    if statistic not in STATISTICS:
        raise errors.unknown("statistic", statistic, STATISTICS)
    if statistic == "auroc":
        for number, triple in enumerate(triples):
            if len(np.unique(triple.labels)) < 2:
                return f"AUROC is undefined: all labels of seed number {number} are of one class"
    if len(triples) == 1 and len(np.unique(groups_of(triples[0]))) < 2:
        return "one seed and one group of test examples: nothing says how far another would differ"
    return None
