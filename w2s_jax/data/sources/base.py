"""What a source is, and a source from one word."""

import abc
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, NamedTuple

from w2s_jax.data.records import Record
from w2s_jax.runtime.origin import Origin
from w2s_jax.runtime.registry import Registry


class Opened(NamedTuple):
    """A source's records, ready to be read.

    Attributes:
      records: each read when it is asked for.
      origin: what they are read from.
      available: records that the files which were opened hold; None where that is not known before they are read.
      is_whole: whether `records` are all that the source has.
    """

    records: Iterator[Record]
    origin: Origin
    available: int | None = None
    is_whole: bool = True


class Source(abc.ABC):
    """Something that yields records, and can say in a few words where they come from.

    Attributes:
      kind: what a config calls it, where a task has several.
    """

    kind: ClassVar[str] = "own"

    @abc.abstractmethod
    def records(self) -> Iterator[Record]:
        """All records, one after another.

        Raises:
          UserError: they cannot be read.
        """

    @abc.abstractmethod
    def describe(self) -> str:
        """Where they come from, in a few words."""

    def open(self, at_most: int | None = None) -> Opened:
        """The records, and what they are read from.

        Args:
          at_most: about how many records are wanted of a source that has many more: a fair sample of them, the same
            every time. A source may give all of them, as this one does. None is all.

        Raises:
          UserError: they cannot be read.
        """
        return Opened(self.records(), Origin(self.describe()))


# What a reference begins with, before its first colon -> the source of what follows.
SOURCES: Registry[Callable[[str], Source]] = Registry("source")


def parse(reference: str, columns: Sequence[str] = ()) -> Source:
    """A source from one word: `tfds:glue/cola:train`, `hf:org/name@revision:data/*.parquet`, or a local path.

    >>> parse("hf:allenai/sciq").describe()
    'Hub allenai/sciq'

    Args:
      columns: names of those of a local file without a header.
    """
    from w2s_jax.data.sources.local import Local

    prefix, colon, rest = reference.partition(":")
    return SOURCES[prefix](rest) if colon and prefix in SOURCES else Local(reference, tuple(columns))
