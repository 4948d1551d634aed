"""What a kind of supervisor measures of its own, as data that results hold and reports show."""

from collections.abc import Mapping
from dataclasses import dataclass

from w2s_jax.metrics import PGR


@dataclass(frozen=True)
class Finding:
    """A measurement of one supervisor and student on one task, over seeds.

    Attributes:
      kind: what was measured: `sandwich`.
      method: None where it is of no method.
      values: by name; None where one is undefined.
      pgr: a performance gap recovered, with its interval, where the measurement has one.
      sentence: the same in words, as reports show it.
    """

    kind: str
    task: str
    supervisor: str
    student: str
    method: str | None
    seeds: tuple[int, ...]
    values: Mapping[str, float | None]
    pgr: PGR | None = None
    sentence: str = ""


def in_words(pgr: PGR) -> str:
    """`0.58 [0.51, 0.66]`, or `undefined`."""
    if pgr.value is None:
        return "undefined"
    low = "-∞" if pgr.low is None else f"{pgr.low:.2f}"
    high = "∞" if pgr.high is None else f"{pgr.high:.2f}"
    return f"{pgr.value:.2f} [{low}, {high}]"
