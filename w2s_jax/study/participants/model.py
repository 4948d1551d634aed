"""A weak model that plays a participant: it asks in its own words, and its confidence is its letters' probability."""

from dataclasses import dataclass
from typing import Any, Literal

from w2s_jax.data.questions import LETTERS
from w2s_jax.runtime.checks import check_count
from w2s_jax.runtime.errors import UserError
from w2s_jax.study.assistants.base import AssistantGone, Message
from w2s_jax.study.assistants.local import Local, Speaking
from w2s_jax.study.participants.base import (
    LONGEST,
    NOTHING,
    Answered,
    Mind,
    Participant,
    Seen,
    check_asks,
    saying_nothing,
)
from w2s_jax.study.questions import Question, written

ASKS = (
    "You have to answer the multiple-choice question below, and you do not know the answer. You can ask {speakers}, "
    "who may know more than you. Ask in one short sentence."
)
ANSWERS = "Answer the multiple-choice question below with the letter of the right option."
ASK, ANSWER = "What do you want to ask?", "Which option is right? Answer with its letter alone."


@dataclass(frozen=True)
class Model(Participant):
    """A decoder as the non-expert. It reads the question and the dialogue, within `max_tokens`.

    Attributes:
      model: a name from `w2s models`, a folder or .gguf file, or a Hub id.
      messages: that it writes on a question, at most.
      asks: what it writes; empty is that it writes its questions itself.
      tokens: of a message that it writes.
      calibrate: a letter's probability is divided by what it has where question, options and replies say nothing
        (contextual calibration, Zhao et al. 2021, arXiv 2102.09690): small models name one letter whatever is asked.
      max_tokens, temperature, rows, dtype: as of `assistants.Local`.

    Raises:
      UserError: a number is out of range.
    """

    model: str = "smollm2-135m"
    messages: int = 2
    asks: tuple[str, ...] = ()
    tokens: int = 40
    calibrate: bool = True
    max_tokens: int = 1024
    temperature: float = 0.7
    rows: int = 8
    dtype: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        check_count("messages", self.messages, 0)
        check_count("tokens", self.tokens)
        check_asks(self.asks)
        self._local()

    def describe(self) -> str:
        return f"model: {self.model[-LONGEST:]}"

    def open(self) -> Mind:
        return _Thinking(self, self._local().open())

    def _local(self) -> Local:
        names = ("model", "max_tokens", "temperature", "rows", "dtype")
        options: dict[str, Any] = {name: getattr(self, name) for name in names}
        return Local(**options)


class _Thinking(Mind):
    def __init__(self, kind: Model, voice: Speaking) -> None:
        self._kind, self._voice = kind, voice
        self._without: dict[Seen, list[float]] = {}

    async def message(self, seen: Seen) -> str:
        place = sum(each.mine for each in seen.messages)
        if place >= self._kind.messages:
            return ""
        if self._kind.asks:
            return self._kind.asks[place] if place < len(self._kind.asks) else ""
        brief = ASKS.replace("{speakers}", " and ".join(seen.speakers))
        try:
            pieces = self._voice.reply(_dialogue(seen, brief, ASK), tokens=self._kind.tokens, seed=place)
            return "".join([piece async for piece in pieces])
        except AssistantGone as error:
            raise self._cannot(error) from error

    async def answer(self, seen: Seen) -> Answered:
        probs = await self._letters(seen)
        if self._kind.calibrate:
            nothing = saying_nothing(seen)._replace(choices=(NOTHING,) * len(seen.choices))
            if nothing not in self._without:
                self._without[nothing] = await self._letters(nothing)
            ratios = [given / max(before, 1e-9) for given, before in zip(probs, self._without[nothing], strict=True)]
            probs = [each / sum(ratios) for each in ratios]
        choice = probs.index(max(probs))
        return Answered(choice, probs[choice])

    async def close(self) -> None:
        await self._voice.close()

    async def _letters(self, seen: Seen) -> list[float]:
        try:
            return await self._voice.probabilities(_dialogue(seen, ANSWERS, ANSWER), LETTERS[: len(seen.choices)])
        except AssistantGone as error:
            raise self._cannot(error) from error

    def _cannot(self, error: AssistantGone) -> UserError:
        return UserError(f"{self._kind.model} cannot play a participant: {error}".replace("the assistant", "it"))


def _dialogue(seen: Seen, brief: str, asked: str) -> list[Message]:
    """The dialogue as the participant has it: its own messages are the model's, and those of others the user's."""
    question = Question("", seen.passage, seen.question, seen.choices)
    found = [Message("system", f"{brief}\n\n{written(question)}")]
    for name, mine, text in seen.messages:
        found.append(Message("assistant", text) if mine else Message("user", f"{name}: {text}"))
    return [*found, Message("user", asked)]
