"""Two methods compared on the same seeds and test examples: differences, classical tests, and Holm's correction."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from w2s_jax.metrics.estimates import SAME, Estimates, Linear, Over, by_seed, estimate
from w2s_jax.metrics.influence import Statistic
from w2s_jax.metrics.intervals import interval, inverted, p_value
from w2s_jax.metrics.performance_gap import GAIN, GAP, not_apart, undefined
from w2s_jax.metrics.triples import ROLES, Triple, check_pair, tested_on
from w2s_jax.runtime.errors import UserError


class PairedTests(NamedTuple):
    """Two-sided p-values of "no difference" over pairs; None where the test is undefined."""

    t: float | None
    wilcoxon: float | None
    sign: float | None


@dataclass(frozen=True)
class PairedDifference:
    """How much better method a does than method b on the same seeds and examples.

    Attributes:
      value, low, high: difference (a - b) of the students' statistic, mean over seeds, or of PGR, with its interval,
        infinite where it has no bound; None where it is undefined.
      p: two-sided p-value of "no difference", over seeds and examples; None for one seed, which says nothing of others.
      tests: the classical tests over seeds alone; None for one seed, and for PGR, whose seeds have gaps of their own.
      reason: why it is undefined; None where it is defined.
      over: what the interval is over: with one seed, `examples` alone.
    """

    value: float | None
    low: float | None
    high: float | None
    p: float | None
    tests: PairedTests | None
    reason: str | None = None
    over: Over = "seeds and examples"


def paired_difference(
    a: Sequence[Triple], b: Sequence[Triple], statistic: Statistic = "accuracy", *, level: float = 0.95
) -> PairedDifference:
    """The students of two methods compared on the same seeds and test examples, by Student's t.

    The variance is that of `estimates`, over seeds and groups of test examples. The interval holds 0 just where p is
    above 1 - level.

    Raises:
      UserError: the two are not of the same seeds and examples, the level is not in (0, 1), or there is no such
        statistic.
    """
    check_pair(a, b, level)
    reason = undefined(a, statistic)
    if reason:
        return PairedDifference(None, None, None, None, None, reason)
    students = [[triple.student for triple in triples] for triples in (a, b)]
    found = estimate(students, tested_on(a), statistic)
    weights = np.array([1.0, -1.0])
    ends = interval(found, weights, level)
    if len(a) == 1:
        return PairedDifference(*ends, None, None, over=found.over)
    p = p_value(found.linear(weights[None]), found.units)
    ours, theirs = (by_seed(model, tested_on(a), statistic) for model in students)
    return PairedDifference(*ends, p, paired_tests(ours - theirs), over=found.over)


def paired_pgr(
    a: Sequence[Triple],
    b: Sequence[Triple],
    statistic: Statistic = "accuracy",
    *,
    level: float = 0.95,
    min_gap: float = 0.03,
) -> PairedDifference:
    """The PGR of two students compared, each between its own supervisor and ceiling, on the same seeds and examples.

    As in `pgr` the interval is all differences that a t-test does not refuse. Of a hypothetical difference d the test
    is of `gain_a / gap_a - gain_b / gap_b - d`, in whose variance the two PGRs are as near to their estimates as d
    allows. Where both have one gap this is Fieller's test of `student_a - student_b - d gap`. Undefined where one of
    the two PGRs is (see `pgr`, whose arguments these are).

    Raises:
      UserError: as `paired_difference`.
    """
    check_pair(a, b, level)
    reason = undefined(a, statistic)
    if reason:
        return PairedDifference(None, None, None, None, None, reason)
    models = [[getattr(triple, role) for triple in triples] for triples in (a, b) for role in ROLES]
    found = estimate(models, tested_on(a), statistic)
    nothing = np.zeros(3)
    gaps = [np.concatenate(parts) for parts in ((GAP, nothing), (nothing, GAP))]
    for gap in gaps:
        reason = not_apart(interval(found, gap, level), level, min_gap)
        if reason:
            return PairedDifference(None, None, None, None, None, reason, over=found.over)
    gains = [np.concatenate(parts) for parts in ((GAIN, nothing), (nothing, GAIN))]
    test = functools.partial(_Ratios.of(found, gains, gaps).differ_by, found)
    ends = inverted(test, round(-float(test(np.zeros(1)).value[0]), SAME), level)
    p = None if len(a) == 1 else p_value(test(np.zeros(1)), found.units)
    return PairedDifference(*ends, p, None, over=found.over)


class _Ratios(NamedTuple):
    """Two ratios of combinations of means.

    Attributes:
      gains, gaps: their weights [2, M].
      sizes: of the gaps [2].
      values: of the ratios [2].
      yielding: how far the second gives way to a hypothesis, of 1; the first gives way by the rest.
    """

    gains: Float[np.ndarray, "2 m"]
    gaps: Float[np.ndarray, "2 m"]
    sizes: Float[np.ndarray, " 2"]
    values: Float[np.ndarray, " 2"]
    yielding: float

    @classmethod
    def of(cls, found: Estimates, gains: Sequence[np.ndarray], gaps: Sequence[np.ndarray]) -> "_Ratios":
        """The less sure of the two gives way more."""
        gain, gap = np.stack(gains), np.stack(gaps)
        sizes = gap @ found.values
        values = gain @ found.values / sizes
        errors = found.linear((gain - values[:, None] * gap) / sizes[:, None]).variance
        return cls(gain, gap, sizes, values, float(errors[1] / errors.sum()) if errors.any() else 0.5)

    def differ_by(self, found: Estimates, at: Float[np.ndarray, " k"]) -> Linear:
        """What is 0 but for chance, if the first less the second is `at`; its sign is the hypothesis' less ours."""
        beyond = (self.values[0] - self.values[1] - at)[:, None]
        first, second = self.values[0] - (1 - self.yielding) * beyond, self.values[1] + self.yielding * beyond
        parts = [
            (gain - value * gap) / size
            for gain, gap, size, value in zip(self.gains, self.gaps, self.sizes, (first, second), strict=True)
        ]
        return found.linear(parts[0] - parts[1])._replace(value=-beyond[:, 0])


def paired_tests(differences: Float[np.ndarray, " n"]) -> PairedTests:
    """Paired t, Wilcoxon signed-rank and sign test of differences over pairs (seeds, or tasks), all two-sided.

    Differences are taken to 12 decimals: what is beyond is rounding. Pairs without a difference leave the Wilcoxon and
    the sign test. t needs two pairs that are not the same. With n pairs neither Wilcoxon's nor the sign test's p can be
    below 2 / 2^n: five seeds alone cannot reach .05.
    """
    from scipy import stats

    differences = np.round(differences, SAME)
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
