"""Two methods compared on the same seeds and test examples: differences, classical tests, and Holm's correction."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from w2s_jax.metrics.intervals import TOO_FEW, percentile, ratio, together, two_sided
from w2s_jax.metrics.performance_gap import pgr, undefined
from w2s_jax.metrics.resampling import Bootstrap, Statistic
from w2s_jax.metrics.triples import ROLES, Triple, resampled_pair
from w2s_jax.runtime.errors import UserError

_SAME = 12  # decimals: two scores that differ by less are equal, and the difference is rounding


class PairedTests(NamedTuple):
    """Two-sided p-values of "no difference" over pairs; None where the test is undefined."""

    t: float | None
    wilcoxon: float | None
    sign: float | None


@dataclass(frozen=True)
class PairedDifference:
    """How much better method a does than method b on the same seeds and examples.

    Attributes:
      value, low, high: difference (a - b) of the students' statistic, mean over seeds, or of PGR, with its bootstrap
        interval, infinite where it has no bound; None where it is undefined.
      p: two-sided bootstrap p-value of "no difference", over seeds and examples.
      tests: the classical tests over seeds alone; None for PGR, whose seeds have gaps of their own.
      reason: why it is undefined; None where it is defined.
      least_p: the least that so many resamples can make `p`, however sure the difference.
    """

    value: float | None
    low: float | None
    high: float | None
    p: float | None
    tests: PairedTests | None
    reason: str | None = None
    least_p: float | None = None


def paired_difference(
    a: Sequence[Triple],
    b: Sequence[Triple],
    statistic: Statistic = "accuracy",
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    bootstrap: Bootstrap | None = None,
) -> PairedDifference:
    """The students of two methods compared on the same seeds and test examples; resampled as in `pgr`.

    The bootstrap p-value is never below 2 / (resamples + 1): draw as many as the correction for many tests needs.

    Raises:
      UserError: the two are not of the same seeds and examples.
    """
    draws = resampled_pair(a, b, level, resamples, seed, bootstrap)
    reason = undefined(a, statistic)
    if reason:
        return PairedDifference(None, None, None, None, None, reason)
    ours, theirs = ([triple.student for triple in triples] for triples in (a, b))
    estimates, drawn = together([draws.mean(model, statistic) for model in (ours, theirs)])
    if drawn is None:
        return PairedDifference(None, None, None, None, None, TOO_FEW)
    difference = np.round(drawn[0] - drawn[1], _SAME)
    p, least_p = two_sided(difference)
    each = [draws.by_seed(model, statistic) for model in (ours, theirs)]
    value = round(estimates[0] - estimates[1], _SAME)
    tests_of_seeds = paired_tests(each[0] - each[1])
    return PairedDifference(*percentile(value, difference, level), p, tests_of_seeds, least_p=least_p)


def paired_pgr(
    a: Sequence[Triple],
    b: Sequence[Triple],
    statistic: Statistic = "accuracy",
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    min_gap: float = 0.03,
    bootstrap: Bootstrap | None = None,
) -> PairedDifference:
    """The PGR of two students compared, each between its own supervisor and ceiling, in the same resamples.

    Undefined where one of the two is (see `pgr`, whose arguments these are).

    Raises:
      UserError: the two are not of the same seeds and examples.
    """
    draws = resampled_pair(a, b, level, resamples, seed, bootstrap)
    both = [pgr(triples, statistic, level=level, min_gap=min_gap, bootstrap=draws) for triples in (a, b)]
    values = [each.value for each in both]
    if values[0] is None or values[1] is None:
        reason = next(each.reason for each in both if each.value is None)
        return PairedDifference(None, None, None, None, None, reason)
    models = [[getattr(triple, role) for triple in triples] for triples in (a, b) for role in ROLES]
    _, drawn = together([draws.mean(model, statistic) for model in models])
    if drawn is None:
        return PairedDifference(None, None, None, None, None, TOO_FEW)
    ratios = [ratio(drawn[i + 1] - drawn[i], drawn[i + 2] - drawn[i]) for i in (0, 3)]
    with np.errstate(invalid="ignore"):
        difference = ratios[0] - ratios[1]  # NaN where both are infinite alike, in the few resamples without a gap
    difference = np.round(difference[~np.isnan(difference)], _SAME)
    p, least_p = two_sided(difference)
    return PairedDifference(*percentile(values[0] - values[1], difference, level), p, None, least_p=least_p)


def paired_tests(differences: Float[np.ndarray, " n"]) -> PairedTests:
    """Paired t, Wilcoxon signed-rank and sign test of differences over pairs (seeds, or tasks), all two-sided.

    Differences are taken to 12 decimals: what is beyond is rounding. Pairs without a difference leave the Wilcoxon and
    the sign test. t needs two pairs that are not the same. With n pairs neither Wilcoxon's nor the sign test's p can be
    below 2 / 2^n: five seeds alone cannot reach .05.
    """
    from scipy import stats

    differences = np.round(differences, _SAME)
    differing = differences[differences != 0]
    if differing.size == 0:
        return PairedTests(None, None, None)
    spread = differences.size > 1 and np.ptp(differences) > 0
    t = float(stats.ttest_1samp(differences, 0.0).pvalue) if spread else None
    sign = float(stats.binomtest(int(np.sum(differing > 0)), differing.size).pvalue)
    return PairedTests(t, float(stats.wilcoxon(differing).pvalue), sign)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p-values adjusted for many tests by Holm's step-down method (1979), in the order given. None is no test."""
    p = np.array([value for value in p_values if value is not None], np.float64)
    if p.size and not ((p >= 0) & (p <= 1)).all():
        raise UserError("p-values must be from 0 to 1")
    order = np.argsort(p, kind="stable")
    steps = np.minimum(1.0, p[order] * np.arange(p.size, 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(steps) if p.size else steps
    found = iter(adjusted.tolist())
    return [None if value is None else next(found) for value in p_values]
