"""Parquet and Arrow: only the rows that are wanted become Python values, one batch after another."""

import abc
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from w2s_jax.data.formats.base import FORMATS, Format
from w2s_jax.data.records import Row

_MAGIC = b"ARROW1"  # what Arrow's file format begins with
AT_ONCE = 4096  # rows that are Python values at the same time


class _Columnar(Format):
    compresses = False

    @abc.abstractmethod
    def batches(self, path: Path) -> Iterator[Any]:
        """The file's Arrow record batches."""

    def rows(self, path: Path, columns: Sequence[str]) -> Iterator[Row]:
        start = 0
        for batch in self.batches(path):
            _check(batch)
            for low in range(0, batch.num_rows, AT_ONCE):
                for number, values in enumerate(batch.slice(low, AT_ONCE).to_pylist(), start=start + low + 1):
                    yield Row(values, f"row {number}")
            start += batch.num_rows

    def some(self, path: Path, columns: Sequence[str], chosen: Bool[np.ndarray, " n"]) -> Iterator[Row]:
        import pyarrow

        start = 0
        for batch in self.batches(path):
            _check(batch)
            places = np.flatnonzero(chosen[start : start + batch.num_rows])
            values = batch.take(pyarrow.array(places)).to_pylist()
            for place, each in zip(places, values, strict=True):
                yield Row(each, f"row {start + place + 1}")
            start += batch.num_rows


@FORMATS.register
class Parquet(_Columnar):
    name = "Parquet"
    suffixes = (".parquet",)

    def count(self, path: Path, columns: Sequence[str]) -> int:
        import pyarrow.parquet

        with pyarrow.parquet.ParquetFile(path) as table:
            return int(table.metadata.num_rows)

    def batches(self, path: Path) -> Iterator[Any]:
        import pyarrow.parquet

        with pyarrow.parquet.ParquetFile(path) as table:
            yield from table.iter_batches()


@FORMATS.register
class Arrow(_Columnar):
    """Arrow's file format, or its stream, which `datasets` saves with the same suffix."""

    name = "Arrow"
    suffixes = (".arrow", ".feather", ".ipc")

    def count(self, path: Path, columns: Sequence[str]) -> int:
        return sum(batch.num_rows for batch in self.batches(path))

    def batches(self, path: Path) -> Iterator[Any]:
        import pyarrow

        with pyarrow.memory_map(str(path)) as mapped:
            if mapped.read(len(_MAGIC)) == _MAGIC:
                file = pyarrow.ipc.open_file(mapped)
                yield from (file.get_batch(number) for number in range(file.num_record_batches))
            else:
                mapped.seek(0)
                yield from pyarrow.ipc.open_stream(mapped)


def _check(batch: Any) -> None:
    """Refuses a batch whose values lie outside its buffers, or whose columns share a name."""
    batch.validate(full=True)
    repeated = [name for name, count in Counter(batch.schema.names).items() if count > 1]
    if repeated:
        raise ValueError(f"two columns are called {repeated[0]!r}")
