"""The interface of simulated participants: what one sees of a question, what it asks, and what it answers."""

import abc
from collections.abc import Sequence
from typing import NamedTuple

from w2s_jax.runtime.errors import UserError


class Said(NamedTuple):
    """One message of the dialogue on a question: who wrote it, as the page names them, and whether that is oneself."""

    name: str
    mine: bool
    text: str


class Seen(NamedTuple):
    """A question as a participant's page shows it, and the dialogue so far.

    Attributes:
      condition: its name.
      passage: empty where there is none, or the participant may not see it.
      speakers: who talks besides the participant; empty alone.
    """

    condition: str
    passage: str
    question: str
    choices: tuple[str, ...]
    speakers: tuple[str, ...]
    messages: tuple[Said, ...]


LONGEST = 90  # characters of a model's name that are kept beside what it answers
NOTHING = "N/A"  # in place of what a question and others say


def check_asks(asks: Sequence[str]) -> None:
    """Raises a UserError unless every message has some text."""
    if not all(isinstance(each, str) and each.strip() for each in asks):
        raise UserError(f"asks are messages with some text each; they are {asks!r}")


def saying_nothing(seen: Seen) -> Seen:
    """The same form, with the participant's own messages, and nothing to go by."""
    said = tuple(each if each.mine else each._replace(text=NOTHING) for each in seen.messages)
    return seen._replace(passage="", question=NOTHING, messages=said)


class Answered(NamedTuple):
    """A choice, from 0, and the probability that it is right, from 1 / number of choices to 1."""

    choice: int
    confidence: float


class Participant(abc.ABC):
    """What plays participants. A kind is a frozen dataclass, checked when made."""

    @abc.abstractmethod
    def describe(self) -> str:
        """What is written beside all that it answers, in up to 100 characters. It is never empty: that is people."""

    @abc.abstractmethod
    def open(self) -> "Mind":
        """Loads it.

        Raises:
          UserError: it cannot be had.
        """


class Mind(abc.ABC):
    """A participant that is ready. One plays all of a study's; several may think at the same time."""

    @abc.abstractmethod
    async def message(self, seen: Seen) -> str:
        """What it writes next; empty where it has nothing more to ask."""

    @abc.abstractmethod
    async def answer(self, seen: Seen) -> Answered:
        """What it answers, after what was said so far."""

    @abc.abstractmethod
    async def close(self) -> None:
        """Frees what `open` took."""
