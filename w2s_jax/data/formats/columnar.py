"""Parquet and Arrow: only the rows that are wanted become Python values, one batch after another."""

import abc
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from w2s_jax.data.formats.base import FORMATS, Format
from w2s_jax.data.records import ClassNumber, Row

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
                for number, values in enumerate(_records(batch.slice(low, AT_ONCE)), start=start + low + 1):
                    yield Row(values, f"row {number}")
            start += batch.num_rows

    def some(self, path: Path, columns: Sequence[str], chosen: Bool[np.ndarray, " n"]) -> Iterator[Row]:
        start = 0
        for batch in self.batches(path):
            _check(batch)
            places = np.flatnonzero(chosen[start : start + batch.num_rows])
            for place, each in zip(places, _taken(batch, places), strict=True):
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


def _taken(batch: Any, places: Int[np.ndarray, " m"]) -> list[dict[str, Any]]:
    import pyarrow

    try:
        return _records(batch.take(pyarrow.array(places)))
    except pyarrow.ArrowNotImplementedError:  # of types that Arrow cannot take from, such as string views
        return [record for place in places for record in _records(batch.slice(place, 1))]


def _records(batch: Any) -> list[dict[str, Any]]:
    names, said = batch.schema.names, class_names(batch.schema)
    columns = [_values(column, said.get(name, ())) for name, column in zip(names, batch.columns, strict=True)]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _values(column: Any, classes: Sequence[str]) -> list[Any]:
    """A column's values. Times and dates become text, for Python's own cannot hold all of them."""
    import pyarrow

    if pyarrow.types.is_timestamp(column.type) and column.type.tz is not None:
        column = column.cast(pyarrow.timestamp(column.type.unit))  # in UTC, whether or not its zone is known
    if pyarrow.types.is_temporal(column.type) and not pyarrow.types.is_interval(column.type):
        column = column.cast(pyarrow.string())
    values: list[Any] = column.to_pylist()
    if not (classes and pyarrow.types.is_integer(column.type)):
        return values
    known = {number: ClassNumber(number, name) for number, name in enumerate(classes)}
    return [known.get(value, value) for value in values]


def class_names(schema: Any) -> dict[str, list[str]]:
    """By column, the names of the classes whose numbers it holds, as `datasets` writes them into a file's metadata."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        found = {column: feature["names"] for column, feature in features.items() if "names" in feature}
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError):  # none, or not of this form
        return {}
    return {column: names for column, names in found.items() if _are_names(names)}


def _are_names(names: Any) -> bool:
    return (
        isinstance(names, list) and len(set(map(str, names))) == len(names) and all(isinstance(n, str) for n in names)
    )
