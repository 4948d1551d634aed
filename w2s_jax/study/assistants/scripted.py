"""An assistant whose replies are given: for tests, and for demonstrations without a model."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from w2s_jax.runtime.checks import check_range
from w2s_jax.runtime.errors import UserError
from w2s_jax.study.assistants.base import Assistant, AssistantGone, Message, Voice

LONGEST = 3600.0  # seconds


@dataclass(frozen=True)
class Scripted(Assistant):
    """Replies that are given. Which one comes depends on the turn alone, so that dialogues do not affect one another.

    >>> Scripted(("I think it is B.", "Yes, B.")).describe()
    '2 given replies'

    Attributes:
      replies: to a participant's first message, the second, ...; after the last they begin again. `{message}` stands
        for what the participant wrote.
      delay: seconds before each word.
      fails: the turns, counted from 0, in which it is gone, after the reply's first word.

    Raises:
      UserError: there is no reply, or a number is out of range.
    """

    replies: tuple[str, ...]
    delay: float = 0.0
    fails: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.replies or not all(isinstance(reply, str) and reply.strip() for reply in self.replies):
            raise UserError(f"Scripted needs replies, each with some text; it has {self.replies!r}")
        check_range("delay", self.delay, 0, LONGEST)
        if not all(isinstance(turn, int) and turn >= 0 for turn in self.fails):
            raise UserError(f"fails must be turns, counted from 0; it is {self.fails!r}")

    def describe(self) -> str:
        return f"{len(self.replies)} given replies"

    def identity(self) -> dict[str, Any]:
        return {"kind": "scripted", "replies": list(self.replies), "fails": list(self.fails)}

    def open(self) -> Voice:
        return _Reading(self)


class _Reading(Voice):
    def __init__(self, script: Scripted) -> None:
        self._script = script

    async def reply(self, messages: Sequence[Message], *, tokens: int, seed: int) -> AsyncIterator[str]:
        asked = [message.content for message in messages if message.role == "user"]
        turn = max(len(asked) - 1, 0)
        reply = self._script.replies[turn % len(self._script.replies)].replace("{message}", asked[-1] if asked else "")
        words = re.findall(r"\s*\S+\s*$|\s*\S+", reply)
        for place, word in enumerate(words[:tokens]):
            await asyncio.sleep(self._script.delay)
            if place == 1 and turn in self._script.fails:
                break
            yield word
        if turn in self._script.fails:
            raise AssistantGone("the scripted assistant is gone in this turn, as its script says")

    async def close(self) -> None:
        pass
