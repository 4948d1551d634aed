"""What follows from a participant's events: where they are, what they chose, what was said, how much time is left."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from w2s_jax.study.assignment import Item, Session
from w2s_jax.study.config import Study
from w2s_jax.study.events import Event
from w2s_jax.study.protocols import PARTICIPANT, Line, Protocol

PRACTICE = -1  # as a position
Stage = Literal["consent", "declined", "instructions", "ready", "paused", "question", "revealed", "end"]


@dataclass
class Asked:
    """What has happened on one question since it was shown.

    Attributes:
      shown: when, in seconds since 1970.
      held: seconds for which the study has been stopped since then.
      choice, confidence: the latest; the answer once it is `ended`, and then None is none.
      changes: how often another choice was made after the first one.
      notice: why the assistant does not answer; empty if it does.
      ended: when it was answered or expired.
      left: after how many `seconds` the page was hidden, while it is.
      away: seconds for which it was hidden before.
      read: after how many seconds the participant first chose, wrote or answered.
    """

    shown: float
    held: float = 0.0
    choice: int | None = None
    confidence: float | None = None
    changes: int = 0
    lines: list[Line] = field(default_factory=list)
    notice: str = ""
    ended: float | None = None
    expired: bool = False
    left: float | None = None
    away: float = 0.0
    read: float | None = None

    @property
    def turns(self) -> int:
        """Messages of the participant."""
        return sum(line.speaker == PARTICIPANT for line in self.lines)

    def seconds(self, now: float) -> float:
        """Since it was shown, without what it was held."""
        return (now if self.ended is None else self.ended) - self.shown - self.held

    def choose(self, choice: int | None, confidence: float | None) -> None:
        if choice is not None and choice != self.choice:
            self.changes += self.choice is not None
            self.choice = choice
        self.confidence = confidence


class Progress:
    """A participant's state: the fold of their events and of the study's own, in the order of their numbers.

    Attributes:
      version: number of the last event that changed it.
      stage: as the events have it; while the study is stopped, `halted` says since when.
      position: of the question that is next or open; -1 is practice.
      asked: of the questions that were shown, by position.
      last: time of the last event.
    """

    def __init__(self, study: Study, session: Session) -> None:
        self.study, self.session = study, session
        self.version = 0
        self.stage: Stage = "consent"
        self.position = 0 if session.practice is None else PRACTICE
        self.asked: dict[int, Asked] = {}
        self.simulated = ""
        self.halted: float | None = None
        self.last: float | None = None

    def item(self, position: int) -> Item:
        """The question at a position."""
        if position != PRACTICE:
            return self.session.items[position]
        assert self.session.practice is not None
        return self.session.practice

    def protocol(self, position: int) -> Protocol:
        """How the question at a position is talked about."""
        return self.study.conditions[self.item(position).condition]

    def speakers(self, position: int) -> tuple[str, ...]:
        """Names of who talks on the question at a position."""
        return self.protocol(position).speakers(len(self.item(position).question.choices))

    @property
    def open(self) -> Asked | None:
        """The question that is open; None if none is."""
        return self.asked[self.position] if self.stage == "question" else None

    def deadline(self) -> float | None:
        """When the open question expires; None if none is open or the study is stopped."""
        asked = self.open
        return None if asked is None or self.halted is not None else asked.shown + asked.held + self.study.seconds

    def seconds_left(self, now: float) -> float:
        """Of the open question; never below 0."""
        asked = self.open
        assert asked is not None
        return max(self.study.seconds - self._seconds(asked, now), 0.0)

    def _seconds(self, asked: Asked, now: float) -> float:
        """Since it was shown, without those for which the study was, or is, stopped."""
        return asked.seconds(now if self.halted is None else self.halted)

    def due(self) -> int | None:
        """The speaker that is to speak on the open question; None if none is, or if it is gone."""
        asked = self.open
        if asked is None or asked.notice:
            return None
        return self.protocol(self.position).due(asked.lines, len(self.item(self.position).question.choices))

    def may_write(self) -> bool:
        """Whether the participant may write on the open question."""
        asked = self.open
        if asked is None:
            return False
        choices = len(self.item(self.position).question.choices)
        return self.protocol(self.position).may_write(asked.lines, choices, self.study.turns)

    def apply(self, event: Event) -> None:
        """Takes the next event in."""
        self.version = max(self.version, event.number)
        if not event.participant:
            _OF_THE_STUDY.get(event.kind, _nothing)(self, event)
            return
        self.last = event.at
        position = event.body.get("position", self.position)
        asked = self.asked.get(position)
        if asked is not None and asked.read is None and event.kind in ("chose", "said", "answered"):
            asked.read = self._seconds(asked, event.at)
        _OF_A_PARTICIPANT[event.kind](self, event)

    # ---- What each kind of event does

    def _consented(self, event: Event) -> None:
        self.simulated = event.body["simulated"]
        self.stage = "instructions" if event.body["agree"] else "declined"

    def _begun(self, event: Event) -> None:
        self.stage = "ready"

    def _shown(self, event: Event) -> None:
        self.asked[event.body["position"]] = Asked(event.at)
        self.stage = "question"

    def _chose(self, event: Event) -> None:
        self.asked[event.body["position"]].choose(event.body["choice"], event.body["confidence"])

    def _said(self, event: Event) -> None:
        self.asked[event.body["position"]].lines.append(Line(PARTICIPANT, event.body["text"]))

    def _replied(self, event: Event) -> None:
        asked = self.asked[event.body["position"]]
        asked.lines.append(Line(event.body["speaker"], event.body["text"]))
        asked.notice = ""

    def _gone(self, event: Event) -> None:
        self.asked[event.body["position"]].notice = event.body["why"]

    def _retried(self, event: Event) -> None:
        self.asked[event.body["position"]].notice = ""

    def _answered(self, event: Event) -> None:
        position = event.body["position"]
        asked = self.asked[position]
        asked.choose(event.body["choice"], event.body["confidence"])
        self._end(event, asked)

    def _expired(self, event: Event) -> None:
        asked = self.asked[event.body["position"]]
        asked.expired = True
        if event.body["choice"] < 0:
            asked.choice = asked.confidence = None
        self._end(event, asked)

    def _end(self, event: Event, asked: Asked) -> None:
        asked.ended = event.at
        self._came_back(event, asked)
        if self.study.reveal and event.body["position"] != PRACTICE:
            self.stage = "revealed"
        else:
            self._went_on(event)

    def _went_on(self, event: Event) -> None:
        self.position = event.body["position"] + 1
        self.stage = "ready" if self.position < len(self.session.items) else "end"

    def _paused(self, event: Event) -> None:
        self.stage = "paused"

    def _resumed(self, event: Event) -> None:
        self.stage = "ready"

    def _away(self, event: Event) -> None:
        asked = self.asked[event.body["position"]]
        asked.left = self._seconds(asked, event.at) if asked.left is None else asked.left

    def _back(self, event: Event) -> None:
        self._came_back(event, self.asked[event.body["position"]])

    def _came_back(self, event: Event, asked: Asked) -> None:
        if asked.left is not None:
            asked.away, asked.left = asked.away + self._seconds(asked, event.at) - asked.left, None

    def _halted(self, event: Event) -> None:
        self.halted = event.at if self.halted is None else self.halted

    def _released(self, event: Event) -> None:
        if self.halted is not None and self.open is not None:
            self.open.held += event.at - max(self.halted, self.open.shown)
        self.halted = None


_Known = TypeVar("_Known")


def concerned(known: Mapping[str, _Known], event: Event) -> Iterable[_Known]:
    """Of what is known by participant that of those whom an event concerns: one, if known; of the study's own all."""
    if not event.participant:
        return known.values()
    return [known[event.participant]] if event.participant in known else []


def folded(study: Study, sessions: Sequence[Session], events: Iterable[Event]) -> dict[str, Progress]:
    """The state of each participant after all these events, by name."""
    found = {each.participant: Progress(study, each) for each in sessions}
    for event in events:
        for progress in concerned(found, event):
            progress.apply(event)
    return found


_Applied = Callable[[Progress, Event], None]


def _nothing(progress: Progress, event: Event) -> None:
    """The server started."""


_OF_THE_STUDY: Mapping[str, _Applied] = {"stopped": Progress._halted, "resumed": Progress._released}
_OF_A_PARTICIPANT: Mapping[str, _Applied] = {
    "consented": Progress._consented,
    "begun": Progress._begun,
    "shown": Progress._shown,
    "chose": Progress._chose,
    "said": Progress._said,
    "replied": Progress._replied,
    "gone": Progress._gone,
    "retried": Progress._retried,
    "answered": Progress._answered,
    "expired": Progress._expired,
    "went_on": Progress._went_on,
    "paused": Progress._paused,
    "resumed": Progress._resumed,
    "away": Progress._away,
    "back": Progress._back,
}
