"""What a learner's model gives for an example: class scores of a new head, its own scores of candidates, a written
answer, or next tokens.

An output says how texts become tokens, which module reads them, what that is asked for, and how a loss sees it.
`choose` picks a learner's; training and planning then treat all of them alike.
"""

import abc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import jax.numpy as jnp
import numpy as np
from einops import rearrange
from jaxtyping import Array, Float

from w2s_jax import models
from w2s_jax.data.tokens import Text, Tokens, flatten
from w2s_jax.losses.base import BoundLoss
from w2s_jax.models.classifier import Classifier
from w2s_jax.models.config import ModelConfig
from w2s_jax.models.language_model import LanguageModel
from w2s_jax.models.layers import Lora
from w2s_jax.models.packing import Packing
from w2s_jax.models.params import TRAINABLE, Params, Rules
from w2s_jax.models.preference import Preference, PreferenceModel
from w2s_jax.models.quantized import Base
from w2s_jax.models.shapes import Model
from w2s_jax.train import answering
from w2s_jax.train.answering import Answers
from w2s_jax.train.learner import Learner
from w2s_jax.train.reading import tokenize

Probs = Float[np.ndarray, "n c"]
Targets = Float[np.ndarray, "n k"]


class Output(abc.ABC):
    """The methods to override; those of this class score every text by a module that gives one vector for each."""

    @abc.abstractmethod
    def module(self, learner: Learner, config: ModelConfig, n_classes: int, candidates: int) -> Model:
        """The module that is trained, without parameters.

        Args:
          config: of the backbone, as far as it is run.
          n_classes, candidates: of the task.

        Raises:
          UserError: the model, or the task, has no such output.
        """

    def rules(self, learner: Learner) -> Rules:
        """Which parameters train, as `models.params.partition` takes it."""
        return TRAINABLE[learner.parameters]

    def tokens(self, learner: Learner, texts: Sequence[Text]) -> Tokens:
        """What the model reads.

        Raises:
          UserError: a text is too long, or of a kind that has no such output.
        """
        return tokenize(learner, texts)

    def lessons(self, tokens: Tokens, probs: Probs) -> tuple[Tokens, Targets]:
        """What the model reads to learn class probabilities, and what `loss` is given for them."""
        return tokens, probs

    def width(self, n_classes: int) -> int:
        """How many numbers `loss` is given for an example."""
        return n_classes

    def logits(
        self,
        module: Model,
        params: Params,
        tokens: Array,
        lengths: Array,
        rng: Array | None,
        packing: Packing | None = None,
    ) -> Float[Array, " b *k"]:
        """What `loss` is computed of, for tokens [B, T] or [B, K, T]; without an `rng` there is no dropout."""
        flat = rearrange(tokens, "b ... t -> (b ...) t"), lengths.reshape(-1)
        rngs = None if rng is None else {"dropout": rng}
        logits: Any = module.apply({"params": params}, *flat, deterministic=rng is None, rngs=rngs, packing=packing)
        return logits.reshape(len(tokens), -1)

    def label(self, module: Model, params: Params, tokens: Array, lengths: Array) -> Float[Array, "b c"]:
        """Logits over classes, for tokens that were not made into lessons."""
        return self.logits(module, params, tokens, lengths, None)

    def loss(self, loss: BoundLoss) -> BoundLoss:
        """The loss of what `logits` gives, from a loss of class scores."""
        return loss

    def places(self, length: int) -> int:
        """For how many tokens of a text of this length a language-model head is computed."""
        return 0

    def more_passes(self) -> int:
        """Forward passes through a reference model, for each batch."""
        return 0


@dataclass(frozen=True)
class HeadOutput(Output):
    """A head, new or a published classifier's: over classes, or, where an example is candidates, one scalar that scores
    each of them."""

    def module(self, learner: Learner, config: ModelConfig, n_classes: int, candidates: int) -> Model:
        outputs = n_classes if candidates == 1 else 1
        form = models.head_form(learner.model, config) if learner.head == "pretrained" else None
        return Classifier(config, outputs, learner.pooling, **_settings(learner), form=form)


@dataclass(frozen=True)
class PreferenceOutput(Output):
    """The language model's own scores of the candidates."""

    preference: Preference

    def module(self, learner: Learner, config: ModelConfig, n_classes: int, candidates: int) -> Model:
        models.check_preference(learner.model, config, candidates)
        return PreferenceModel(config, **_settings(learner), preference=self.preference, candidates=candidates)

    def places(self, length: int) -> int:
        return length

    def more_passes(self) -> int:
        return int(self.preference.score == "dpo")


@dataclass(frozen=True)
class TextOutput(Output):
    """An answer in words, written by the language model after a prompt."""

    answers: Answers

    def module(self, learner: Learner, config: ModelConfig, n_classes: int, candidates: int) -> Model:
        return LanguageModel(config, **_settings(learner))

    def tokens(self, learner: Learner, texts: Sequence[Text]) -> Tokens:
        return answering.prompts(learner, self.answers, texts)

    def lessons(self, tokens: Tokens, probs: Probs) -> tuple[Tokens, Targets]:
        return answering.lessons(tokens, self.answers, probs)

    def width(self, n_classes: int) -> int:
        return n_classes if self.answers.longest == 1 else self.answers.longest

    def logits(
        self,
        module: Model,
        params: Params,
        tokens: Array,
        lengths: Array,
        rng: Array | None,
        packing: Packing | None = None,
    ) -> Float[Array, " b *k"]:
        return answering.train_logits(module, self.answers, params, tokens, lengths, rng, packing)

    def label(self, module: Model, params: Params, tokens: Array, lengths: Array) -> Float[Array, "b c"]:
        return answering.label_logits(module, self.answers, params, tokens, lengths)

    def loss(self, loss: BoundLoss) -> BoundLoss:
        return answering.by_token(loss, self.answers)

    def places(self, length: int) -> int:
        return self.answers.longest


@dataclass(frozen=True)
class NextTokenOutput(Output):
    """The log-probabilities of a text's own tokens, every candidate being a text: for generative finetuning.

    Attributes:
      trains_unembedding: whether the language-model head trains too, where it is not tied and parameters is `full`.
    """

    trains_unembedding: bool = True

    def module(self, learner: Learner, config: ModelConfig, n_classes: int, candidates: int) -> Model:
        return LanguageModel(config, **_settings(learner))

    def rules(self, learner: Learner) -> Rules:
        rules = TRAINABLE[learner.parameters]
        return rules if self.trains_unembedding else [(r"^unembed/", "frozen"), *rules]

    def tokens(self, learner: Learner, texts: Sequence[Text]) -> Tokens:
        return tokenize(learner, flatten(texts))

    def width(self, n_classes: int) -> int:
        return 2

    def logits(
        self,
        module: Model,
        params: Params,
        tokens: Array,
        lengths: Array,
        rng: Array | None,
        packing: Packing | None = None,
    ) -> Float[Array, " b *k"]:
        """Sums of log-probabilities, and how many tokens they are of."""
        rngs = None if rng is None else {"dropout": rng}
        start = jnp.zeros_like(lengths)
        scores: Any = module.apply(
            {"params": params},
            tokens,
            lengths,
            start,
            deterministic=rng is None,
            rngs=rngs,
            packing=packing,
            method="score",
        )
        return scores

    def places(self, length: int) -> int:
        return length


def choose(learner: Learner, spell: Callable[[], Answers]) -> Output:
    """What the learner's model gives for an example.

    Args:
      spell: gives the classes' answers as tokens; called for `output="text"` alone.
    """
    if learner.output == "text":
        return TextOutput(spell())
    return HeadOutput() if learner.preference is None else PreferenceOutput(learner.preference)


def adapters(learner: Learner) -> Lora | None:
    """The adapters that the learner trains, if it trains any."""
    return Lora(learner.lora_rank) if learner.parameters == "lora" else None


class _Settings(TypedDict):
    dropout: float
    remat: str
    dtype: str
    lora: Lora | None
    base: Base


def _settings(learner: Learner) -> _Settings:
    return {
        "dropout": learner.dropout,
        "remat": learner.remat,
        "dtype": learner.dtype,
        "lora": adapters(learner),
        "base": learner.lora_base,
    }
