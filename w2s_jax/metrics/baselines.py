"""PGR between fixed baselines: means of supervisor and ceiling over seeds of their own, as in published tables."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from w2s_jax.metrics.estimates import of_seeds
from w2s_jax.metrics.performance_gap import pgr_from, pgr_of
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
    models = [np.asarray(values, np.float64) for values in (supervisor, student, ceiling)]
    for name, values in zip(("supervisor", "student", "ceiling"), models, strict=True):
        if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
            raise UserError(f"{name}: want a finite number for each seed, got {values.tolist()}")
    if not 0 < level < 1:
        raise UserError(f"level must be between 0 and 1, not {level:g}")
    weak, strong = float(models[0].mean()), float(models[2].mean())
    found, counts = pgr_from(of_seeds(models), level, min_gap), [len(values) for values in models]
    if found.value is None:
        return FixedPGR(None, None, None, None, found.reason, weak, strong, *counts)
    values = np.array([pgr_of(weak, float(each), strong) for each in models[1]], np.float64)
    several = len(values) > 1
    deviation = float(values.std(ddof=1)) if several else None
    low, high = (end if several and end is not None and np.isfinite(end) else None for end in (found.low, found.high))
    return FixedPGR(float(values.mean()), deviation, low, high, None, weak, strong, *counts)
