"""A weak model that plays a participant by reading: it takes the option whose words follow best."""

import asyncio
import threading
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import softmax

from w2s_jax import models
from w2s_jax.data.questions import LETTERS
from w2s_jax.runtime.checks import check_count
from w2s_jax.runtime.errors import UserError
from w2s_jax.study.participants.base import LONGEST, Answered, Mind, Participant, Seen, check_asks, saying_nothing
from w2s_jax.train import prompting
from w2s_jax.train.learner import Learner

QUESTION = "{question}"


@dataclass(frozen=True)
class Reader(Participant):
    """A decoder as the non-expert that names no letter: a small model, which takes any letter, knows more in words.

    An option's probability is proportional to P(option | question, dialogue) / P(option | nothing), the product over
    its tokens, where `nothing` is the same text with N/A in place of the question and of all that others say: pointwise
    mutual information with the domain (Holtzman et al. 2021, arXiv 2104.08315). It reads no list of options, and
    an option's words where others name it by its letter, as (B).

    Attributes:
      model: a name from `w2s models`, a folder or .gguf file, or a Hub id.
      asks: its messages, one after the other; `{question}` is the question itself. Where it writes first it sends them
        all, unless the study allows fewer.
      max_tokens: the longest text, with the passage and the dialogue.

    Raises:
      UserError: a number is out of range, or a message has no text.
    """

    model: str = "smollm2-135m"
    asks: tuple[str, ...] = (QUESTION,)
    max_tokens: int = 2048
    dtype: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        check_count("max_tokens", self.max_tokens, 2)
        check_asks(self.asks)
        self._learner()

    def describe(self) -> str:
        return f"reader: {self.model[-LONGEST:]}"

    def open(self) -> Mind:
        learner = self._learner()
        prompting.check(learner, [])
        return _Reading(self, prompting.Asking(learner, models.load_sharded(self.model, None)))

    def _learner(self) -> Learner:
        return Learner(self.model, max_tokens=self.max_tokens, dtype=self.dtype)


class _Reading(Mind):
    def __init__(self, kind: Reader, asking: prompting.Asking) -> None:
        self._kind, self._asking = kind, asking
        self._free = threading.Lock()  # one at a time computes

    async def message(self, seen: Seen) -> str:
        place = sum(each.mine for each in seen.messages)
        asks = self._kind.asks
        return asks[place].replace(QUESTION, seen.question) if place < len(asks) else ""

    async def answer(self, seen: Seen) -> Answered:
        probs = await asyncio.to_thread(self._probabilities, seen)
        choice = int(probs.argmax())
        return Answered(choice, float(probs[choice]))

    async def close(self) -> None:
        del self._asking

    def _probabilities(self, seen: Seen) -> np.ndarray:
        """Of each option; options of the same words share theirs."""
        options = [f" {choice}" for choice in seen.choices]
        texts = [text(seen), text(saying_nothing(seen))]
        with self._free:
            try:
                given, before = self._asking.logits(texts, [], options, template="{text}")
            except UserError as error:
                raise UserError(f"{self._kind.model} cannot play a participant: {error}") from error
        return softmax(given.astype(np.float64) - before)


def text(seen: Seen) -> str:
    """What the model reads before an option: passage, question, dialogue."""
    passage = f"{seen.passage}\n\n" if seen.passage else ""
    said = "".join(
        f"\n{'Question' if each.mine else each.name}: {_in_words(each.text, seen.choices)}" for each in seen.messages
    )
    return f"{passage}Question: {seen.question}{said}\nAnswer:"


def _in_words(said: str, choices: tuple[str, ...]) -> str:
    """With options in place of their letters in brackets."""
    for letter, choice in zip(LETTERS, choices, strict=False):
        said = said.replace(f"({letter})", choice)
    return said
