"""A decoder of this package, asked alone."""

import contextlib
import functools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import softmax

from w2s_jax import models
from w2s_jax.data.questions import LETTERS
from w2s_jax.study.questions import Question, written
from w2s_jax.study.unaided.base import Alone, Asking, Letters, Shots, Tell
from w2s_jax.train import prompting, streaming
from w2s_jax.train.learner import Learner
from w2s_jax.train.writing import Writer

THINKING, ANSWER = "\nThinking:", "\nAnswer:"


@dataclass(frozen=True)
class Unaided(Alone):
    """A decoder, and how it is asked.

    Attributes:
      model: a name from `w2s models`, a folder or .gguf file, or a Hub id.
      shots, samples, temperature, seed: as in `Alone`.
      tokens: of a chain, at most; a newline ends it.
      chat: a question is a user's message in the model's chat template.
      calibrate: letters are made equally probable over the questions (`prompting.Asking.logits`): small models prefer
        some letters, whatever is asked.
      max_tokens: the longest prompt, with examples and a chain.

    Raises:
      UserError: a number is out of range.
    """

    model: str = "smollm2-135m"
    chat: bool = False
    calibrate: bool = False
    max_tokens: int = 2048
    dtype: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.learner  # noqa: B018 (checks max_tokens)

    @property
    def learner(self) -> Learner:
        return Learner(self.model, chat=self.chat, max_tokens=self.max_tokens, dtype=self.dtype)

    @contextlib.contextmanager
    def open(self, tell: Tell) -> Iterator[Asking]:
        streaming.check(self.learner)
        yield _Asking(self)


class _Asking(Asking):
    """Its parameters are in memory once: those that write chains are let go when letters are asked for."""

    def __init__(self, kind: Unaided) -> None:
        self._kind = kind

    @functools.cached_property
    def _writer(self) -> Writer:
        return Writer(self._kind.learner)

    @functools.cached_property
    def _reader(self) -> prompting.Asking:
        vars(self).pop("_writer", None)
        return prompting.Asking(self._kind.learner, models.load_sharded(self._kind.model, None))

    def chains(self, asked: Sequence[Question], sample: int) -> list[str]:
        kind, thinking = self._kind, [written(each) + THINKING for each in asked]
        return self._writer(thinking, tokens=kind.tokens, temperature=kind.temperature, seed=kind.seed + sample)

    def letters(
        self, asked: Sequence[Question], *, shots: Shots | None = None, chains: Sequence[str] | None = None
    ) -> list[Letters]:
        """Those of questions with equally many choices at a time."""
        found: list[Letters] = [np.empty(0)] * len(asked)
        by_count: dict[int, list[int]] = defaultdict(list)
        for place, question in enumerate(asked):
            by_count[len(question.choices)].append(place)
        for count, places in by_count.items():
            texts = [written(asked[i]) + ("" if chains is None else f"{THINKING} {chains[i]}") for i in places]
            examples = [(written(each.question), each.label) for each in (shots or {}).get(count, [])]
            logits = self._reader.logits(
                texts,
                examples,
                [f" {letter}" for letter in LETTERS[:count]],
                template=f"{{text}}{ANSWER}",
                calibrate=self._kind.calibrate,
            )
            for place, probs in zip(places, softmax(logits.astype(np.float64), axis=1), strict=True):
                found[place] = probs
        return found
