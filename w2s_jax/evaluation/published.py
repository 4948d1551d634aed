"""What was published for an experiment, beside what its results hold; never among them."""

import statistics
from collections.abc import Iterator
from typing import NamedTuple

from w2s_jax import serialize
from w2s_jax.config import Published
from w2s_jax.evaluation.results import Results, Summary
from w2s_jax.metrics import Interval
from w2s_jax.runtime.errors import UserError

PGRS = {"pgr": "accuracy", "pgr_auroc": "auroc"}


class Beside(NamedTuple):
    """A published figure and ours.

    Attributes:
      measured: the figure of the summary that it names; of several their median; None where there is none.
      low, high: the 95% interval of a single summary's; None where there is none, or an end is not bounded.
      over: how many summaries the median is of.
    """

    published: Published
    measured: float | None
    low: float | None
    high: float | None
    over: int

    @property
    def difference(self) -> float | None:
        """Measured minus published."""
        return None if self.measured is None else self.measured - self.published.value

    def in_words(self) -> str:
        """`+0.020 [-0.010, +0.050]`, or `not measured`."""
        if self.difference is None:
            return "not measured"
        if self.low is None and self.high is None:
            return f"{self.difference:+.3f}"
        low = "-∞" if self.low is None else f"{self.low - self.published.value:+.3f}"
        high = "∞" if self.high is None else f"{self.high - self.published.value:+.3f}"
        return f"{self.difference:+.3f} [{low}, {high}]"


def beside(found: Results) -> list[Beside]:
    """Every figure that the experiment's config holds, beside the results'.

    Raises:
      UserError: the config's figures are of another version.
    """
    told = serialize.from_json(found.config.get("published", []))
    if not all(isinstance(each, Published) for each in told):
        raise UserError("`published` of these results' config holds something that is no Published")
    return [_beside(each, found) for each in told]


def _beside(published: Published, found: Results) -> Beside:
    named = {_whose(published, each): each for each in found.summaries if _is_of(published, each)}
    values = [value for summary in named.values() for value in _values(published, summary)]
    if len(values) == 1:
        return Beside(published, *values[0], 1)
    measured = statistics.median(value for value, *_ in values) if values else None
    return Beside(published, measured, None, None, len(values))


def _whose(published: Published, summary: Summary) -> tuple[str, ...]:
    """What a figure is of: methods share a supervisor and a ceiling."""
    if published.metric not in PGRS and published.role != "student":
        model = summary.supervisor if published.role == "supervisor" else summary.student
        return summary.task, model
    return summary.task, summary.supervisor, summary.student, summary.method


def _is_of(published: Published, summary: Summary) -> bool:
    names = ("task", "supervisor", "student", "method")
    return all(getattr(published, name) in (None, getattr(summary, name)) for name in names)


def _values(published: Published, summary: Summary) -> Iterator[tuple[float, float | None, float | None]]:
    """A summary's figure and its interval; nothing where it is undefined."""
    if published.metric in PGRS:
        pgr = summary.pgr[PGRS[published.metric]]
        if pgr.value is not None:
            yield pgr.value, pgr.low, pgr.high
        return
    score = summary.scores.get(published.metric, {}).get(published.role)
    if score is not None:
        pgr = summary.pgr.get(published.metric) or summary.pgr["accuracy"]
        interval = getattr(pgr, published.role) if published.metric in summary.pgr else None
        low, high = (interval.low, interval.high) if isinstance(interval, Interval) else (None, None)
        yield score.value, low, high
