"""One example of a classification task, and the question behind it."""

import hashlib
from typing import NamedTuple

from w2s_jax.data.tokens import Text


class Question(NamedTuple):
    """What an example asks, as people are shown it: in parts, not as the text that a model reads.

    Attributes:
      passage: what is to be read before; empty where there is nothing.
      question: what is asked.
      choices: the possible answers by class: the label of the example is the place of the right one.
    """

    passage: str
    question: str
    choices: tuple[str, ...]


class Example(NamedTuple):
    """A text with its label.

    Attributes:
      id: stable, from the source's own key or the content, never from the position in the file alone.
      text: what the model reads; or, for a comparison, the candidates that one scalar head scores, of which the label
        is the better one.
      label: the class, 0 .. n_classes - 1.
      group: examples with the same question, premise or subject share it, and stay in one split.
      difficulty: as the source rates it, such as a puzzle's Elo; 0 where it does not.
      shares: of each class among several annotations that do not agree, of which `label` is the majority's; None where
        all are of `label`.
      question: its parts, where the text was made of them; `data.questions.question_of` gives every example's.
    """

    id: str
    text: Text
    label: int
    group: str
    difficulty: float = 0.0
    shares: tuple[float, ...] | None = None
    question: Question | None = None


def digest(*parts: str) -> str:
    """A short id from the content: 16 hex digits of SHA-256."""
    return hashlib.sha256("\x1f".join(parts).encode("utf-8")).hexdigest()[:16]


def coin(*parts: str) -> int:
    """0 or 1, decided by content: the same on every machine and in every order."""
    return int(digest("coin", *parts), 16) & 1


def pick(count: int, *parts: str) -> int:
    """A number in 0 .. count - 1, decided by content."""
    return int(digest("pick", *parts), 16) % count
