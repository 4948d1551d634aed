"""What sources of files share: all of their records, or a fair part of them that is the same every time."""

import abc
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from w2s_jax.data import formats
from w2s_jax.data.records import Record, Row
from w2s_jax.data.sources.base import Opened, Source
from w2s_jax.runtime.origin import Origin


class Found(NamedTuple):
    """The files of a source.

    Attributes:
      paths: of each file, by its name in the source, in the order in which they are read.
      origin: what they are.
      is_whole: whether the source has no others.
    """

    paths: Mapping[str, Path]
    origin: Origin
    is_whole: bool = True


class FileSource(Source):
    """A source of one or several files. A subclass says which."""

    columns: tuple[str, ...] = ()

    @abc.abstractmethod
    def find(self, at_most: int | None) -> Found:
        """The files, fetched if need be. Arguments and errors are those of `open`."""

    def records(self) -> Iterator[Record]:
        found = self.find(None)
        return _all(found.paths, self.columns)

    def open(self, at_most: int | None = None) -> Opened:
        found = self.find(at_most)
        if at_most is None:
            return Opened(_all(found.paths, self.columns), found.origin)
        counts = {name: formats.count(path, self.columns) for name, path in found.paths.items()}
        available = sum(counts.values())
        if available <= at_most:
            return Opened(_all(found.paths, self.columns), found.origin, available, found.is_whole)
        records = _sample(found.paths, self.columns, counts, at_most / available)
        return Opened(records, found.origin, available, False)


def _all(paths: Mapping[str, Path], columns: Sequence[str]) -> Iterator[Record]:
    for name, path in paths.items():
        yield from _placed(formats.read(path, columns), name, len(paths))


def _sample(
    paths: Mapping[str, Path], columns: Sequence[str], counts: Mapping[str, int], share: float
) -> Iterator[Record]:
    for name, path in paths.items():
        yield from _placed(formats.read(path, columns, chosen(name, counts[name], share)), name, len(paths))


def _placed(records: Iterator[Record], name: str, files: int) -> Iterator[Record]:
    """Of several files' records, each says which one it is from."""
    if files == 1:
        yield from records
    else:
        for number, record in enumerate(records, start=1):
            yield Row(record, f"{name}, {getattr(record, 'where', f'record {number}')}")


def chosen(name: str, count: int, share: float) -> Bool[np.ndarray, " n"]:
    """Which of a file's rows a sample takes: each with this probability, decided by the file's name and its place.

    >>> chosen("train.parquet", 10_000, 0.1).sum()
    np.int64(998)
    """
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])
    return np.random.default_rng(seed).random(count) < share
