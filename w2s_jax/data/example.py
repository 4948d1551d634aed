"""One example of a classification task, and what became of the records that examples are read from."""

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

from w2s_jax.data.tokens import Text


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
    """

    id: str
    text: Text
    label: int
    group: str
    difficulty: float = 0.0
    shares: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Reading:
    """What became of a source's records.

    Attributes:
      records: that were read.
      unlabelled: of them, those that give no example.
      labelled: examples that the others give.
      merged: of these, those that became one with another example of the same content.
      contradictory: of these, those left out because their content's labels have no majority.
      outside_pool: examples left out because the task is larger than its pool.
      examples: those that are left, from which splits are drawn.
    """

    records: int
    unlabelled: int
    labelled: int
    merged: int
    contradictory: int
    outside_pool: int
    examples: int

    def describe(self) -> str:
        """`4,080 records: 2,314 examples (1,500 merged with others of the same content, ...)`."""
        gone = (
            (self.unlabelled, "records without a labelled example"),
            (self.merged, "merged with others of the same content"),
            (self.contradictory, "left out, as their content's labels have no majority"),
            (self.outside_pool, "left out of the pool"),
        )
        words = ", ".join(f"{count:,} {what}" for count, what in gone if count)
        return f"{self.records:,} records: {self.examples:,} examples" + (f" ({words})" if words else "")

    @property
    def is_whole(self) -> bool:
        """Whether every record and example is there, but for those outside the pool."""
        return not (self.unlabelled or self.merged or self.contradictory)


def digest(*parts: str) -> str:
    """A short id from the content: 16 hex digits of SHA-256."""
    return hashlib.sha256("\x1f".join(parts).encode("utf-8")).hexdigest()[:16]


def coin(*parts: str) -> int:
    """0 or 1, decided by content: the same on every machine and in every order."""
    return int(digest("coin", *parts), 16) & 1


def pick(count: int, *parts: str) -> int:
    """A number in 0 .. count - 1, decided by content."""
    return int(digest("pick", *parts), 16) % count
