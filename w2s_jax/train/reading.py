"""Texts and prompts as tokens, within what a learner and its model can read."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from w2s_jax import models
from w2s_jax.data.tokens import Text, Tokens, encode, flatten
from w2s_jax.models import chat
from w2s_jax.models.tokenizer import TextTokenizer
from w2s_jax.runtime.errors import UserError
from w2s_jax.train.learner import Learner


def longest(learner: Learner) -> int:
    """Tokens that a text, or a prompt and what follows it, may have."""
    return min(learner.max_tokens, models.outline(learner.model)[0].max_positions)


def tokenizer_of(model: str, as_chat: bool) -> TextTokenizer:
    """What makes a learner's texts tokens: its model's tokenizer, with the chat template if that is asked for.

    Raises:
      UserError: it has none.
    """
    _, tokenizer = models.outline(model)
    return chat.tokenizer(model, tokenizer) if as_chat else tokenizer


def tokenize(learner: Learner, texts: Sequence[Text]) -> Tokens:
    """Texts as token ids.

    Raises:
      UserError: one is longer than `longest`, and the learner does not truncate; or the model has no such token.
    """
    tokenizer = tokenizer_of(learner.model, learner.chat)
    return _known(learner, encode(tokenizer, texts, max_tokens=longest(learner), too_long=learner.too_long))


def longer(learner: Learner, texts: Sequence[Text]) -> int:
    """How many texts have more tokens than the learner reads."""
    return sum(len(row) > longest(learner) for row in tokenizer_of(learner.model, learner.chat).encode(flatten(texts)))


def encode_prompts(learner: Learner, prompts: Sequence[str], room: int) -> Tokens:
    """Prompts as token ids, short enough that `room` more fit after each.

    Raises:
      UserError: one is longer and the learner does not truncate. (Where it does, the beginning goes.)
    """
    tokenizer = tokenizer_of(learner.model, learner.chat)
    left = longest(learner) - room
    if left < 1:
        raise UserError(f"{room} tokens to write leave no room for a prompt; raise max_tokens")
    return _known(learner, encode(tokenizer, prompts, max_tokens=left, too_long=learner.too_long, keep="last"))


def _known(learner: Learner, tokens: Tokens) -> Tokens:
    check_known(learner.model, tokens.ids)
    return tokens


def check_known(model: str, ids: Int[np.ndarray, " n"]) -> None:
    """That a model has embeddings of all these tokens.

    Raises:
      UserError: it has not.
    """
    config, tokenizer = models.outline(model)
    beyond = ids[ids >= config.vocab_size]
    if len(beyond):
        raise UserError(
            f"{model}: token {tokenizer.spell([int(beyond[0])])!r} has the number {beyond[0]}, and the model "
            f"has embeddings of {config.vocab_size} tokens: the tokenizer is another model's, or tokens were added"
        )
