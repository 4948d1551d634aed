"""The interface of all assistants: described by frozen data, opened once, and asked by many participants at a time."""

import abc
from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal, NamedTuple


class Message(NamedTuple):
    """One turn of a dialogue. What the assistant knows beforehand, such as a passage, is a first one of the system."""

    role: Literal["system", "user", "assistant"]
    content: str


def joined(messages: Sequence[Message]) -> list[Message]:
    """The same with neighbours of one role as one message, as chat templates and servers want it."""
    found: list[Message] = []
    for each in messages:
        if found and found[-1].role == each.role:
            found[-1] = Message(each.role, f"{found[-1].content}\n\n{each.content}")
        else:
            found.append(each)
    return found


class AssistantGone(Exception):
    """It does not answer any more, after its own retries. The message is one line, and names no key or address."""


class NoneOfThem(AssistantGone):
    """None of the answers that were asked about is among those that it finds probable. It can be asked other things."""


class Assistant(abc.ABC):
    """What a participant may talk with. A kind is a frozen dataclass, checked when made."""

    @abc.abstractmethod
    def describe(self) -> str:
        """One line for people: what it is."""

    @abc.abstractmethod
    def identity(self) -> dict[str, Any]:
        """What decides its replies, as JSON values; no key or address."""

    @abc.abstractmethod
    def open(self) -> "Voice":
        """Loads it, or checks that it can be reached.

        Raises:
          UserError: it cannot be had.
        """


class Voice(abc.ABC):
    """An assistant that is ready. One serves all participants; those who ask at the same time are batched inside."""

    @abc.abstractmethod
    def reply(self, messages: Sequence[Message], *, tokens: int, seed: int) -> AsyncIterator[str]:
        """Pieces of the reply's text, as they are written.

        Args:
          messages: the dialogue so far; the last one is the user's.
          tokens: the most that is written.
          seed: of sampling.

        Raises:
          AssistantGone: while iterated; pieces given before it are part of no reply.
        """

    @abc.abstractmethod
    async def close(self) -> None:
        """Frees what `open` took. A reply that is being written ends with `AssistantGone`."""


class Weighing(Voice):
    """A voice that also says how probable answers are."""

    @abc.abstractmethod
    async def probabilities(self, messages: Sequence[Message], answers: Sequence[str]) -> list[float]:
        """How probable each answer is as the beginning of its reply, among these: they sum to 1.

        Args:
          answers: of one token each, such as letters.

        Raises:
          AssistantGone: as of `reply`; or an answer is several tokens; `NoneOfThem`, none is among the most probable.
        """
