"""What a supervisor of a special kind measures of itself, beyond what every cell is measured by."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from w2s_jax.metrics.performance_gap import PGR


@dataclass(frozen=True)
class Finding:
    """One measurement of a supervisor, as the supervisor itself defines it.

    Attributes:
      kind: what was measured: `sandwich`.
      task, supervisor, student: whose, by the names of the cells.
      method: likewise; None where it does not depend on the method.
      seeds: those measured.
      values: numbers by name; None where one is undefined.
      pgr: a ratio of gaps, with its interval; None where there is none.
      sentence: what the report shows below the table of this task, supervisor and student; nothing where it is empty.
    """

    kind: str
    task: str
    supervisor: str
    student: str
    method: str | None
    seeds: tuple[int, ...]
    values: Mapping[str, float | None] = field(default_factory=dict)
    pgr: PGR | None = None
    sentence: str = ""
