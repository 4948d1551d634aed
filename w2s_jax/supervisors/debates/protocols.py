"""Who speaks in a debate, in which order, and for which class."""

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from w2s_jax.data.example import coin
from w2s_jax.data.tokens import Text
from w2s_jax.runtime.errors import UserError
from w2s_jax.supervisors.debates.debaters import Debater, Speaker
from w2s_jax.supervisors.debates.registry import PARTS
from w2s_jax.supervisors.transcripts import consulted

Role = Literal["first", "second", "judge", "critic"]  # `first` and `second` are debaters, in the order of their listing


class Cue(NamedTuple):
    """Somebody's turn.

    Attributes:
      answer: the class that is argued for; -1 for none.
      heading: what is said follows it; `{answer}` stands for the class's name.
    """

    role: Role
    answer: int
    heading: str


class Protocol(abc.ABC):
    """An order of turns, as a frozen dataclass. That of every text has equally many."""

    @abc.abstractmethod
    def cues(self, text: Text, *, swapped: bool) -> tuple[Cue, ...]:
        """The turns for a text; whoever would begin comes second where they are swapped. No truth decides them."""

    def cast(self) -> Mapping[Role, Debater]:
        """Who speaks besides the debaters."""
        return {}

    @property
    def critic(self) -> Speaker | None:
        """A critic, who is to be believed only if it knows more than the judge."""
        return None

    @abc.abstractmethod
    def identity(self) -> dict[str, Any]:
        """What decides the turns and what is said besides the debaters, as JSON values."""

    @abc.abstractmethod
    def describe(self) -> str:
        """`debate of 2 turns`."""


def check_heading(heading: str, *, names: bool = True) -> None:
    """Refuses a heading that cannot open a turn.

    Raises:
      UserError: it is empty, or lacks the class's name.
    """
    if not heading.strip() or (names and "{answer}" not in heading):
        raise UserError(f"a heading must say something{', and hold {answer}' if names else ''}; it is {heading!r}")


def _turns(turns: int) -> None:
    if turns < 1:
        raise UserError(f"a debate has 1 turn or more, not {turns}")


@PARTS.register
@dataclass(frozen=True)
class TwoSided(Protocol):
    """Both classes are argued for, in `turns` turns. A hash of the text decides who argues for which, and who begins.

    Attributes:
      heading: see `Cue`; it should leave a sentence open, or small models end their line at once.
    """

    turns: int = 1
    heading: str = "\nThe answer is {answer} because"

    def __post_init__(self) -> None:
        _turns(self.turns)
        check_heading(self.heading)

    def cues(self, text: Text, *, swapped: bool) -> tuple[Cue, ...]:
        return _both(text, self.heading, swapped) * self.turns

    def identity(self) -> dict[str, Any]:
        return {"two-sided": [self.turns, self.heading]}

    def describe(self) -> str:
        return f"debate of {self.turns} turn{'s' * (self.turns > 1)}"


@PARTS.register
@dataclass(frozen=True)
class Questioned(Protocol):
    """A debate in which a judge asks between turns, having read what was said (as in Khan et al. 2402.06782).

    Attributes:
      judge: writes the questions.
      turns: 2 or more: so many, with a question before each but the first.
      question: what a question follows.
    """

    judge: Speaker
    turns: int = 2
    heading: str = "\nThe answer is {answer} because"
    question: str = "\nThe judge asks: Why"

    def __post_init__(self) -> None:
        if self.turns < 2:
            raise UserError(f"a judge asks between turns: want 2 or more, not {self.turns}")
        check_heading(self.heading)
        check_heading(self.question, names=False)

    def cues(self, text: Text, *, swapped: bool) -> tuple[Cue, ...]:
        both = _both(text, self.heading, swapped)
        return both + (Cue("judge", -1, self.question), *both) * (self.turns - 1)

    def cast(self) -> Mapping[Role, Debater]:
        return {"judge": self.judge}

    def identity(self) -> dict[str, Any]:
        return {"questioned": [self.judge.identity(), self.turns, self.heading, self.question]}

    def describe(self) -> str:
        return f"debate of {self.turns} turns with questions by {self.judge.learner.model}"


@PARTS.register
@dataclass(frozen=True)
class Proposed(Protocol):
    """A consultancy: one class is proposed and argued for, which a hash of the text draws: right half of the time."""

    turns: int = 1
    heading: str = "\nThe answer is {answer} because"

    def __post_init__(self) -> None:
        _turns(self.turns)
        check_heading(self.heading)

    def cues(self, text: Text, *, swapped: bool) -> tuple[Cue, ...]:
        return (Cue("first", consulted(text), self.heading),) * self.turns

    def identity(self) -> dict[str, Any]:
        return {"proposed": [self.turns, self.heading]}

    def describe(self) -> str:
        return "consultancy"


@PARTS.register
@dataclass(frozen=True)
class Criticized(Protocol):
    """A proposal and a critic's word on it (arXiv 2605.27483): there it helped the judge over a consultancy where the
    critic classifies better than the judge. So here, too, it is believed only then: `Debated` compares them.

    Attributes:
      by: the critic.
      criticism: what its word follows; `{answer}` is the class that was proposed.
    """

    by: Speaker
    heading: str = "\nThe answer is {answer} because"
    criticism: str = "\nA critic checks whether it is {answer}: the argument is"

    def __post_init__(self) -> None:
        check_heading(self.heading)
        check_heading(self.criticism)

    def cues(self, text: Text, *, swapped: bool) -> tuple[Cue, ...]:
        proposed = consulted(text)
        return Cue("first", proposed, self.heading), Cue("critic", proposed, self.criticism)

    def cast(self) -> Mapping[Role, Debater]:
        return {"critic": self.by}

    @property
    def critic(self) -> Speaker:
        return self.by

    def identity(self) -> dict[str, Any]:
        return {"criticized": [self.by.identity(), self.heading, self.criticism]}

    def describe(self) -> str:
        return f"proposal with {self.by.learner.model} as critic"


def _both(text: Text, heading: str, swapped: bool) -> tuple[Cue, ...]:
    """Each side once. Which debater has which class, and who begins, are two coins."""
    one = coin("sides", str(text))
    sides = Cue("first", one, heading), Cue("second", 1 - one, heading)
    return sides[::-1] if coin("begins", str(text)) != swapped else sides
