"""How an argument is written."""

import abc
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from w2s_jax.data.task_data import TaskData
from w2s_jax.runtime.errors import UserError
from w2s_jax.stages.base import Stage
from w2s_jax.supervisors.debates.registry import PARTS
from w2s_jax.supervisors.transcripts import reader_identity
from w2s_jax.train.learner import Learner

if TYPE_CHECKING:
    from w2s_jax.supervisors.debates.desk import Desk
    from w2s_jax.supervisors.debates.protocols import Protocol


class Opening(NamedTuple):
    """What an argument is to follow.

    Attributes:
      prompt: the text, all that was said, and the heading.
      answer: the class that is argued for.
    """

    prompt: str
    answer: int


class Debater(abc.ABC):
    """A way to write arguments, as a frozen dataclass.

    Attributes:
      writes: how many arguments it writes for each that it gives, for an estimate.
      trains_itself: whether `trains` gives a stage.
    """

    trains_itself: ClassVar[bool] = False

    @property
    @abc.abstractmethod
    def plain(self) -> "Speaker":
        """What it writes with."""

    @property
    def writes(self) -> int:
        return 1

    @property
    def scaffold(self) -> str:
        """What its own prompts say beyond what it is to continue."""
        return ""

    @property
    def drafts(self) -> int:
        """How many of its texts its own prompts hold."""
        return 0

    def trains(self, task: TaskData, seed: int, protocol: "Protocol") -> Stage | None:
        """The stage that trains it; None where it is as it was published."""
        return None

    @abc.abstractmethod
    def say(self, openings: Sequence[Opening], desk: "Desk") -> list[str]:
        """An argument for each opening, which no other one plays a part in."""

    @abc.abstractmethod
    def identity(self) -> dict[str, Any]:
        """What decides its arguments, as JSON values."""

    @abc.abstractmethod
    def describe(self) -> str:
        """`smollm2-135m, best of 4`."""


@PARTS.register
@dataclass(frozen=True)
class Speaker(Debater):
    """A decoder that writes once.

    Attributes:
      learner: of it the model, `max_tokens`, `too_long` and `dtype` count.
      tokens: the most that an argument may have; it also ends with its line.
      temperature: of sampling; 0 takes the most probable token.

    Raises:
      UserError: no token, or a seed or temperature below 0.
    """

    learner: Learner
    tokens: int = 48
    temperature: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.tokens < 1 or self.seed < 0 or not self.temperature >= 0:
            raise UserError(f"a debater needs 1 token or more, and a seed and a temperature of 0 or more, not {self}")

    @property
    def plain(self) -> "Speaker":
        return self

    def say(self, openings: Sequence[Opening], desk: "Desk") -> list[str]:
        return desk.write(self, [each.prompt for each in openings])

    def identity(self) -> dict[str, Any]:
        return {"plain": reader_identity(self.learner), "writing": [self.tokens, self.temperature, self.seed]}

    def describe(self) -> str:
        return self.learner.model


@PARTS.register
@dataclass(frozen=True)
class BestOf(Debater):
    """Of several samples the one after which a judge finds the argued class most probable (Khan et al. 2402.06782).

    Attributes:
      debater: sampled; sample i is what it says at `seed + i`.
      judge: whose preference picks: a decoder, asked.
      count: samples.

    Raises:
      UserError: fewer than 2 samples, or a temperature of 0, at which all are one.
    """

    debater: Speaker
    judge: Learner
    count: int = 4

    def __post_init__(self) -> None:
        if self.count < 2 or not self.debater.temperature > 0:
            raise UserError("the best of several samples needs 2 or more, and a debater of a temperature above 0")

    @property
    def plain(self) -> Speaker:
        return self.debater

    @property
    def writes(self) -> int:
        return self.count

    def samples(self, openings: Sequence[Opening], desk: "Desk") -> list[list[str]]:
        """Every sample of each opening, by number."""
        each = (replace(self.debater, seed=self.debater.seed + place) for place in range(self.count))
        return [debater.say(openings, desk) for debater in each]

    def say(self, openings: Sequence[Opening], desk: "Desk") -> list[str]:
        return preferred(openings, self.samples(openings, desk), self.judge, desk)

    def identity(self) -> dict[str, Any]:
        return {"best of": [self.debater.identity(), reader_identity(self.judge), self.count]}

    def describe(self) -> str:
        return f"{self.debater.describe()}, best of {self.count}"


@PARTS.register
@dataclass(frozen=True)
class Refined(Debater):
    """Critique and refinement: after an argument its own weakness is written, and the argument anew; the judge's
    preference picks the old one or the new one (Khan et al. 2402.06782).

    Attributes:
      judge: whose preference picks: a decoder, asked.
      critique: what the weakness follows.
      again: what the new argument follows; `{heading}` is the last line of what the old one followed.

    Raises:
      UserError: an empty `critique`, or no `{heading}` in `again`.
    """

    debater: Speaker
    judge: Learner
    critique: str = "\nThis argument could be more convincing, because"
    again: str = "\nA better argument: {heading}"

    def __post_init__(self) -> None:
        if not self.critique.strip() or "{heading}" not in self.again:
            raise UserError("a refined argument needs a `critique` that says something, and {heading} in `again`")

    @property
    def plain(self) -> Speaker:
        return self.debater

    @property
    def writes(self) -> int:
        return 3

    @property
    def scaffold(self) -> str:
        return self.critique + self.again

    @property
    def drafts(self) -> int:
        return 2

    def say(self, openings: Sequence[Opening], desk: "Desk") -> list[str]:
        first = self.debater.say(openings, desk)
        asked = [each._replace(prompt=f"{each.prompt} {old}{self.critique}") for each, old in _pairs(openings, first)]
        weakness = self.debater.say(asked, desk)
        again = [
            each._replace(prompt=f"{each.prompt} {said}{self._again(opening)}")
            for (each, said), opening in zip(_pairs(asked, weakness), openings, strict=True)
        ]
        return preferred(openings, [first, self.debater.say(again, desk)], self.judge, desk)

    def _again(self, opening: Opening) -> str:
        return self.again.replace("{heading}", opening.prompt.rpartition("\n")[2])

    def identity(self) -> dict[str, Any]:
        return {"refined": [self.debater.identity(), reader_identity(self.judge), self.critique, self.again]}

    def describe(self) -> str:
        return f"{self.debater.describe()}, refined"


def preferred(openings: Sequence[Opening], written: Sequence[Sequence[str]], judge: Learner, desk: "Desk") -> list[str]:
    """Of each opening's arguments the one that a judge prefers; of equal ones the first."""
    rated = np.stack([desk.prefer(judge, openings, each) for each in written])
    return [written[best][row] for row, best in enumerate(rated.argmax(axis=0).tolist())]


def _pairs(openings: Sequence[Opening], said: Sequence[str]) -> list[tuple[Opening, str]]:
    return list(zip(openings, said, strict=True))
