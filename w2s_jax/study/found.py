"""What a study's answers say, as data: the table of Bowman et al. 2022 and what belongs to it."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from w2s_jax.metrics import PGR, Interval, Over
from w2s_jax.study import bowman
from w2s_jax.study.design import Design

Kind = Literal["unassisted", "assisted", "model", "expert"]
Told = Literal["yes", "no", "not told apart", "not known"]


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
      name: of the condition, or of the way a model is asked.
      played: what plays the participants; empty for people, models and experts.
      vote: it is the weighted vote of all who answered a question.
      accuracy, calibration: with intervals; calibration error is over five bins, None where nobody says how sure.
      confidence: mean over answers, or questions.
      participants, questions, answers: how many there are.
      timeouts: of the answers, those without a choice: wrong, silent in votes, and not in calibration.
      ties: of a vote.
      over: what the intervals are over.
      theirs: the row of Bowman et al.'s table that it is like.
    """

    name: str
    kind: Kind
    played: str
    vote: bool
    accuracy: Interval
    calibration: Interval | None
    confidence: float | None
    participants: int
    questions: int
    answers: int
    timeouts: int
    ties: int
    over: Over | Literal["nothing"]
    theirs: str

    @property
    def title(self) -> str:
        """As the report calls it."""
        return titled(self.name, self.played, vote=self.vote)


@dataclass(frozen=True)
class OfCondition:
    """What is said of one condition, as some participants had it.

    Attributes:
      played: what plays the participants; empty for people.
    """

    condition: str
    played: str

    @property
    def title(self) -> str:
        """As the report calls it."""
        return titled(self.condition, self.played)


@dataclass(frozen=True)
class Recovered(OfCondition):
    """`(assisted - unassisted) / (expert - unassisted)`, for one condition."""

    share: PGR
    gain: Interval


@dataclass(frozen=True)
class Sandwich:
    """Whether unassisted < model < expert.

    Attributes:
      model: the way it is asked.
      below: model - unassisted.
      above: expert - model; None where no expert is known.
      told: `yes` where both intervals are above 0, `no` where one is below.
    """

    model: str
    played: str
    below: Interval
    above: Interval | None
    told: Told


@dataclass(frozen=True)
class Reliance(OfCondition):
    """What participants make of an assistant that is right, and of one that is wrong.

    Attributes:
      known, unknown: answers where it is known what the assistant last argued for or named, and the others.
      suggestions: how often that is right.
      where_right, where_wrong: the participants' accuracy there; None where there are no such answers. What
        `where_right` lacks of 1 is under-reliance.
      followed_wrong: how often they take a wrong suggestion: over-reliance.
      appropriate: how often they take a right suggestion or refuse a wrong one.
    """

    known: int
    unknown: int
    suggestions: Interval
    where_right: Interval | None
    where_wrong: Interval | None
    followed_wrong: Interval | None
    appropriate: Interval


@dataclass(frozen=True)
class Pace(OfCondition):
    """Time, turns and changes of mind, of each answer.

    Attributes:
      learning: by how much accuracy changes over ten questions of the session; None where positions do not differ.
      quarters: of the session: first and last position, accuracy and number of answers.
    """

    seconds: Interval
    median_seconds: float
    turns: Interval
    changes: float
    learning: Interval | None
    quarters: tuple[tuple[int, int, float, int], ...]


@dataclass(frozen=True)
class Findings:
    """All of it.

    Attributes:
      their_task: Bowman et al.'s task that has such questions; None where neither has.
      draws: resamples of each bootstrap.
      shared: the questions that were answered in time under every condition.
      versions: SHA-256 of the tables that were read, by name.
    """

    design: Design
    their_task: str | None
    rows: tuple[Row, ...]
    recovered: tuple[Recovered, ...]
    sandwiches: tuple[Sandwich, ...]
    reliance: tuple[Reliance, ...]
    pace: tuple[Pace, ...]
    draws: int
    shared: tuple[str, ...]
    versions: Mapping[str, str]

    @property
    def played(self) -> tuple[str, ...]:
        """What plays the participants, in the order of the rows; empty for people."""
        return tuple(dict.fromkeys(row.played for row in self.rows if row.kind in ("unassisted", "assisted")))

    def as_json(self) -> dict[str, Any]:
        """JSON values, with the published figures beside each row."""
        found: dict[str, Any] = _plain(self)
        for each, row in zip(found["rows"], self.rows, strict=True):
            pair = bowman.published(self.their_task, row.theirs)
            each["published"] = {name: _plain(getattr(pair, name)) for name in pair._fields}
        return found


def titled(name: str, played: str, *, vote: bool = False) -> str:
    """A condition's name, and that its participants were simulated, if they were."""
    return f"{name}{', weighted vote' if vote else ''}{f' (simulated: {played})' if played else ''}"


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Interval):
        return {"value": value.value, "low": value.low, "high": value.high}
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
