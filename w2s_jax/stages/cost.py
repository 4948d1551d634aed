"""How much arithmetic a stage is, roughly: for an estimate of time before anything runs."""

import functools
import statistics
from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

from w2s_jax import models
from w2s_jax.data import arrays
from w2s_jax.data.tokens import Text, flatten
from w2s_jax.runtime import facts, provenance
from w2s_jax.train.learner import Learner
from w2s_jax.train.reading import tokenizer_of

SAMPLE = 200  # texts, whose mean length stands for all
# Passes over the parameters: two a token forward, two back to activations, two to the parameters that train.
PASSES = {"full": 6, "lora": 4, "head": 2}


class Work(NamedTuple):
    """A part of a stage's work.

    Attributes:
      flops: floating-point operations.
      shared: parts of one name are computed once for all stages; None is this stage's own.
    """

    flops: float
    shared: Hashable | None = None


def reading(learner: Learner, texts: Sequence[Text], count: float, extra: float = 0.0) -> float:
    """FLOPs of reading `count` texts like these once.

    Args:
      extra: tokens that follow each text.
    """
    length = mean_length(learner.model, learner.chat, tuple(texts[:SAMPLE]), learner.max_tokens) + extra
    return 2 * count * length * parameters(learner)


def finetuning(
    learner: Learner, texts: Sequence[Text], train: int, validation: int, labelled: int, extra: float = 0.0
) -> Iterator[Work]:
    """The work of training on so many texts, evaluating on and labelling others; of a probe none, see `features`.

    Args:
      extra: tokens that follow each text.
    """
    if learner.parameters == "probe" or arrays.is_array(learner.model):
        return
    reference = 2 if learner.preference is not None and learner.preference.score == "dpo" else 0
    passes = (2 + reference) * (labelled + learner.loop.evaluations * validation)
    passes += (PASSES[learner.parameters] + reference) * learner.epochs * train
    candidates = 1 if not texts or isinstance(texts[0], str) else len(texts[0])
    yield Work(passes / 2 * candidates * reading(learner, texts, 1, extra))


def features(
    learner: Learner, texts: Sequence[Text], shared: Hashable, extra: float = 0.0, times: int = 1
) -> Iterator[Work]:
    """The work of computing a probe's features of these texts, for all stages that read the same.

    Args:
      extra: tokens that follow each text.
      times: how often each text is read, with something else after it.
    """
    if learner.parameters == "probe" and not arrays.is_array(learner.model):
        key = "features", learner.model, learner.read_layer, shared
        yield Work(reading(learner, texts, times * len(flatten(texts)), extra), key)


@functools.lru_cache(maxsize=64)
def mean_length(model: str, chat: bool, texts: tuple[Text, ...], longest: int) -> float:
    """Tokens of a text, mean; longer ones count as `longest`."""

    def count() -> float:
        rows = tokenizer_of(model, chat).encode(flatten(texts))
        return statistics.mean(min(len(row), longest) for row in rows)

    asked = models.chat_fingerprint(model) if chat else None
    return facts.known("length", [provenance.code(), models.fingerprint(model), asked, texts, longest], count)


def parameters(learner: Learner) -> int:
    """Those that multiply every token; the embeddings do where they, or a table like them, give probabilities."""
    settings = learner.read_layer, learner.preference is not None

    def count() -> int:
        return models.size(learner.model, read_layer=settings[0], embeddings=settings[1])

    return facts.known("size", [provenance.code(), models.fingerprint(learner.model), *settings], count)
