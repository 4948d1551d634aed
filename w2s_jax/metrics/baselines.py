"""PGR between fixed baselines: means of supervisor and ceiling over seeds of their own, as in published tables."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from w2s_jax.metrics.estimates import SAME, of_seeds
from w2s_jax.metrics.intervals import bounded
from w2s_jax.metrics.paired import PairedDifference, paired_tests
from w2s_jax.metrics.performance_gap import PGR, pgr_from, pgr_of
from w2s_jax.metrics.triples import ROLES
from w2s_jax.runtime.errors import UserError


@dataclass(frozen=True)
class FixedPGR:
    """PGR of every seed's student between fixed baselines, as Anthropic's automated researcher reports it (2026).

    Attributes:
      value, deviation: mean and standard deviation over the student's seeds; the latter None for one seed.
      low, high: the interval of the mean, over seeds, those of the baselines included; None where it has no bound.
      reason: why PGR is undefined, all four above then being None; None where it is defined.
      supervisor, ceiling: the baselines: means over their seeds.
      supervisor_seeds, student_seeds, ceiling_seeds: how many each mean is over.
    """

    value: float | None
    deviation: float | None
    low: float | None
    high: float | None
    reason: str | None
    supervisor: float
    ceiling: float
    supervisor_seeds: int
    student_seeds: int
    ceiling_seeds: int


def fixed_pgr(
    supervisor: ArrayLike,
    student: ArrayLike,
    ceiling: ArrayLike,
    *,
    level: float = 0.95,
    min_gap: float = 0.03,
) -> FixedPGR:
    """PGR from the accuracies (or AUROCs) of seeds alone: each seed's student between the means of the baselines.

    The three may have different numbers of seeds, which count as drawn independently. The interval is Fieller's, as in
    `pgr`, over seeds alone: it does not count that another test set would give other figures, which only predictions
    can tell (`pgr`). A baseline of one seed is taken as an exact number. One student says nothing of others: its PGR
    has no bounds.

    >>> found = fixed_pgr([0.52, 0.54], [0.56, 0.58, 0.60], [0.72, 0.74])
    >>> f"{found.value:.2f} ± {found.deviation:.2f} [{found.low:.2f}, {found.high:.2f}]"
    '0.25 ± 0.10 [-0.34, 0.57]'

    Args:
      supervisor, student, ceiling: one value for each seed [S].
      level: of the interval, in (0, 1).
      min_gap: below which, in the units of the values, PGR is undefined.

    Raises:
      UserError: one of the three is empty or holds what is not a finite number.
    """
    models = _checked(supervisor, student, ceiling)
    weak, strong = float(models[0].mean()), float(models[2].mean())
    found, counts = pgr_of_seeds(*models, level=level, min_gap=min_gap), [len(values) for values in models]
    if found.value is None:
        return FixedPGR(None, None, None, None, found.reason, weak, strong, *counts)
    values = np.array([pgr_of(weak, float(each), strong) for each in models[1]], np.float64)
    deviation = float(values.std(ddof=1)) if len(values) > 1 else None
    ends = bounded(found)
    return FixedPGR(float(values.mean()), deviation, ends.low, ends.high, None, weak, strong, *counts)


def pgr_of_seeds(
    supervisor: ArrayLike, student: ArrayLike, ceiling: ArrayLike, *, level: float = 0.95, min_gap: float = 0.03
) -> PGR:
    """PGR from a value for each seed, with intervals over seeds alone; see `fixed_pgr`, whose arguments these are.

    Raises:
      UserError: one of the three is empty or holds what is not a finite number, or the level is not in (0, 1).
    """
    if not 0 < level < 1:
        raise UserError(f"level must be between 0 and 1, not {level:g}")
    models = _checked(supervisor, student, ceiling)
    found = pgr_from(of_seeds(models), level, min_gap)
    if len(models[1]) > 1 or found.value is None:
        return found
    return replace(found, low=-np.inf, high=np.inf)


def paired_seeds(a: ArrayLike, b: ArrayLike, *, level: float = 0.95) -> PairedDifference:
    """a - b, paired by seed, by Student's t over seeds alone: from accuracies where predictions are not to be had.

    Args:
      a, b: a value for each seed [S], the same seeds in both.
      level: of the interval, in (0, 1).

    Raises:
      UserError: the two are not equally many.
    """
    from scipy import stats

    each = np.round(np.asarray(a, np.float64) - np.asarray(b, np.float64), SAME)
    if not len(each):
        return PairedDifference(None, None, None, None, None, "the two have no seed in common", "seeds")
    value = float(each.mean())
    if len(each) == 1:
        return PairedDifference(value, -np.inf, np.inf, None, None, over="seeds")
    half = float(stats.t.ppf((1 + level) / 2, len(each) - 1) * stats.sem(each))
    tests = paired_tests(each)
    p = tests.t if tests.t is not None else min(1.0, 2.0 ** (1 - len(each)) if value else 1.0)
    return PairedDifference(value, value - half, value + half, p, tests, over="seeds")


def _checked(*models: ArrayLike) -> list[np.ndarray]:
    found = [np.asarray(values, np.float64) for values in models]
    for name, values in zip(ROLES, found, strict=True):
        if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
            raise UserError(f"{name}: want a finite number for each seed, got {values.tolist()}")
    return found
