"""Texts and prompts as tokens, within what a learner and its model can read."""

from collections.abc import Sequence

from w2s_jax import models
from w2s_jax.data.tokens import Text, Tokens, encode, flatten
from w2s_jax.runtime.errors import UserError
from w2s_jax.train.learner import Learner


def longest(learner: Learner) -> int:
    """Tokens that a text, or a prompt and what follows it, may have."""
    return min(learner.max_tokens, models.outline(learner.model)[0].max_positions)


def tokenize(learner: Learner, texts: Sequence[Text]) -> Tokens:
    """Texts as token ids.

    Raises:
      UserError: one is longer than `longest`, and the learner does not truncate.
    """
    _, tokenizer = models.outline(learner.model)
    return encode(tokenizer, texts, max_tokens=longest(learner), too_long=learner.too_long)


def longer(learner: Learner, texts: Sequence[Text]) -> int:
    """How many texts have more tokens than the learner reads."""
    _, tokenizer = models.outline(learner.model)
    return sum(len(row) > longest(learner) for row in tokenizer.encode(flatten(texts)))


def encode_prompts(learner: Learner, prompts: Sequence[str], room: int) -> Tokens:
    """Prompts as token ids, short enough that `room` more fit after each.

    Raises:
      UserError: one is longer and the learner does not truncate. (Where it does, the beginning goes.)
    """
    _, tokenizer = models.outline(learner.model)
    left = longest(learner) - room
    if left < 1:
        raise UserError(f"{room} tokens to write leave no room for a prompt; raise max_tokens")
    return encode(tokenizer, prompts, max_tokens=left, too_long=learner.too_long, keep="last")
