"""A model behind an OpenAI-compatible server, asked alone: the assistant of a study, say, without the participant."""

import asyncio
import contextlib
import dataclasses
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from w2s_jax.data.questions import LETTERS
from w2s_jax.runtime.checks import check_count
from w2s_jax.runtime.errors import UserError
from w2s_jax.study.assistants import AssistantGone, Endpoint, Message, NoneOfThem, Weighing
from w2s_jax.study.questions import Question, written
from w2s_jax.study.unaided.base import Alone, Asking, Letters, Shots, Tell

T = TypeVar("T")
THINK = "Think step by step, briefly. Do not answer yet."
ANSWER = "Answer with the letter of the right choice, and nothing else."


@dataclass(frozen=True)
class UnaidedEndpoint(Alone):
    """A served model, and how it is asked: examples are earlier turns of the dialogue, and so is a chain of thought.

    A letter's probability is the server's `top_logprobs` of the first token, normalized over the question's letters;
    one that is not among the 20 most probable counts as 0. Where none is, the answer counts as a guess, 1 / K each,
    and how often that happened is told.

    Attributes:
      endpoint: what is asked, and where; its temperature is not used.
      shots, samples, tokens, temperature, seed: as in `Alone`.
      at_once: questions that are asked at the same time.

    Raises:
      UserError: a number is out of range.

    Example:
      >>> unaided = UnaidedEndpoint(Endpoint("my-model"), shots=5, samples=20)
    """

    endpoint: Endpoint
    at_once: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("at_once", self.at_once)

    @contextlib.contextmanager
    def open(self, tell: Tell) -> Iterator[Asking]:
        sampling = dataclasses.replace(self.endpoint, temperature=self.temperature)
        with asyncio.Runner() as runner:
            voice = sampling.open()
            asking = _Asking(self, voice, runner)
            try:
                yield asking
            except AssistantGone as error:
                raise UserError(f"{self.endpoint.model} cannot be asked: {error}") from None
            finally:
                runner.run(voice.close())
        if asking.guesses:
            tell(f"{asking.guesses} of {asking.answers} answers began with none of the letters: they count as guesses")


class _Asking(Asking):
    """Attributes:
    answers, guesses: how many letters were asked for, and how often none of them was probable.
    """

    def __init__(self, kind: UnaidedEndpoint, voice: Weighing, runner: asyncio.Runner) -> None:
        self._kind, self._voice, self._runner = kind, voice, runner
        self.answers = self.guesses = 0

    def chains(self, asked: Sequence[Question], sample: int) -> list[str]:
        seed = self._kind.seed + sample
        return self._each(asked, lambda place: self._chain(asked[place], seed))

    def letters(
        self, asked: Sequence[Question], *, shots: Shots | None = None, chains: Sequence[str] | None = None
    ) -> list[Letters]:
        def ask(place: int) -> Awaitable[Letters]:
            question = asked[place]
            before = [
                message
                for example, label in (shots or {}).get(len(question.choices), [])
                for message in (_asks(example, ANSWER), Message("assistant", LETTERS[label]))
            ]
            if chains is not None:
                thought = [_asks(question, THINK), Message("assistant", chains[place]), Message("user", ANSWER)]
                return self._letters(question, [*before, *thought])
            return self._letters(question, [*before, _asks(question, ANSWER)])

        return self._each(asked, ask)

    def _each(self, asked: Sequence[Question], ask: Callable[[int], Awaitable[T]]) -> list[T]:
        """All questions, so many at once; if one fails, the others end."""

        async def everything() -> list[T]:
            free = asyncio.Semaphore(self._kind.at_once)

            async def one(place: int) -> T:
                async with free:
                    return await ask(place)

            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(one(place)) for place in range(len(asked))]
            except ExceptionGroup as errors:
                raise errors.exceptions[0] from None
            return [task.result() for task in tasks]

        return self._runner.run(everything())

    async def _chain(self, question: Question, seed: int) -> str:
        reply = self._voice.reply([_asks(question, THINK)], tokens=self._kind.tokens, seed=seed)
        return "".join([piece async for piece in reply]).strip()

    async def _letters(self, question: Question, messages: Sequence[Message]) -> Letters:
        count = len(question.choices)
        self.answers += 1
        try:
            return np.array(await self._voice.probabilities(messages, LETTERS[:count]))
        except NoneOfThem:
            self.guesses += 1
            return np.full(count, 1 / count)


def _asks(question: Question, how: str) -> Message:
    return Message("user", f"{written(question)}\n\n{how}")
