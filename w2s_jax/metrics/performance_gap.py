"""Performance gap recovered (PGR), with an interval, or the reason why it is undefined."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from w2s_jax.metrics.intervals import TOO_FEW, Interval, percentile, ratio, together
from w2s_jax.metrics.resampling import STATISTICS, Bootstrap, Statistic
from w2s_jax.metrics.triples import ROLES, Triple, resampled
from w2s_jax.runtime import errors


@dataclass(frozen=True)
class PGR:
    """Performance gap recovered: `(student - supervisor) / (ceiling - supervisor)`, each a mean over seeds.

    0 is the supervisor, 1 the ceiling; it can be below 0 or above 1 (Burns et al. 2023, section 3).

    Attributes:
      value, low, high: the estimate and its interval; None where undefined.
      reason: why it is undefined; None where it is defined.
      gap: ceiling - supervisor; None where the statistic itself is undefined.
      supervisor, student, ceiling: the statistic's mean over seeds, with its interval; None likewise.
    """

    value: float | None
    low: float | None
    high: float | None
    reason: str | None
    gap: Interval | None = None
    supervisor: Interval | None = None
    student: Interval | None = None
    ceiling: Interval | None = None


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
    triples: Sequence[Triple],
    statistic: Statistic = "accuracy",
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    min_gap: float = 0.03,
    bootstrap: Bootstrap | None = None,
) -> PGR:
    """PGR over seeds, with a percentile interval by a paired bootstrap over seeds and groups of test examples.

    Each resample draws seeds, and groups of examples, with replacement; the same draw serves all three models, and a
    group that several seeds were tested on is drawn alike for all of them (the product bootstrap of Owen 2007). With
    one seed the interval is over examples alone. Where seeds have test sets of their own it errs towards wide: in
    simulation 95% intervals over five seeds held the truth in 92% (seeds that vary much) to 99% (hardly) of cases.

    PGR is undefined where ceiling and supervisor are not apart: where the interval of their gap reaches 0, or the
    gap is below `min_gap`.

    Args:
      triples: one for each seed.
      level: of all intervals, in (0, 1).
      resamples: how many; at least 100.
      seed: of the resampling.
      min_gap: in the units of the statistic.
      bootstrap: resamples of these very test examples, drawn before; `resamples` and `seed` then do not matter.
    """
    draws = resampled(triples, level, resamples, seed, bootstrap)
    reason = undefined(triples, statistic)
    if reason:
        return PGR(None, None, None, reason)
    models = [[getattr(triple, role) for triple in triples] for role in ROLES]
    estimates, drawn = together([draws.mean(model, statistic) for model in models])
    if drawn is None:
        return PGR(None, None, None, TOO_FEW)
    means = [percentile(estimates[i], drawn[i], level) for i in range(3)]
    gap = percentile(estimates[2] - estimates[0], drawn[2] - drawn[0], level)
    if gap.low <= 0 or gap.value < min_gap:
        return PGR(None, None, None, _not_apart(gap, level, min_gap), gap, *means)
    recovered = percentile(
        (estimates[1] - estimates[0]) / gap.value, ratio(drawn[1] - drawn[0], drawn[2] - drawn[0]), level
    )
    return PGR(*recovered, None, gap, *means)


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
    return None


def _not_apart(gap: Interval, level: float, min_gap: float) -> str:
    least = "" if gap.value >= min_gap else f" (below {min_gap:g})"
    interval = f"{level:.0%} interval [{gap.low:.3f}, {gap.high:.3f}]"
    return f"ceiling and supervisor are not apart: gap {gap.value:.3f}{least}, {interval}"
