"""What a format is, and which one a file has."""

import abc
import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import ClassVar

import numpy as np
from jaxtyping import Bool

from w2s_jax.data.records import Record, Row
from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.registry import Registry

NUMBERED = ("#",)  # instead of a table's column names: it has no header, and its columns are #1, #2, ...
COMPRESSED = (".gz", ".bz2", ".xz", ".zst")

# What people have, and this package does not read -> what to do about it.
_HINTS = {
    ".txt": "give every text a line of a .csv or .jsonl file, with its label",
    ".xlsx": "save the sheet as CSV (UTF-8)",
    ".xls": "save the sheet as CSV (UTF-8)",
    ".ods": "save the sheet as CSV (UTF-8)",
    ".zip": "unpack it",
    ".tar": "unpack it",
    ".tgz": "unpack it",
    ".pkl": "reading a pickle can run anything, so it is refused; save the table as .parquet",
    ".pickle": "reading a pickle can run anything, so it is refused; save the table as .parquet",
    ".npy": "put the arrays into one .npz file, `labels` among them",
    ".xml": "save it as .jsonl",
    ".yaml": "save it as .jsonl",
    ".db": "export the table as .csv",
    ".sqlite": "export the table as .csv",
}

# What a file may be, whatever its name says: how it begins, the suffixes that say so, and what to do about it.
_CONTENTS = (
    (b"version https://git-lfs", (), "a pointer of Git LFS; fetch the file itself: git lfs pull"),
    (b"PK\x03\x04", (), "a zip archive, as .xlsx files are; unpack it, or save the sheet as CSV (UTF-8)"),
    (b"\xd0\xcf\x11\xe0", (), "a sheet of an old Excel; save it as CSV (UTF-8)"),
    (b"\x1f\x8b", (".gz",), "compressed by gzip; end its name with .gz"),
    (b"BZh91AY&SY", (".bz2",), "compressed by bzip2; end its name with .bz2"),
    (b"\xfd7zXZ", (".xz",), "compressed by xz; end its name with .xz"),
    (b"\x28\xb5\x2f\xfd", (".zst",), "compressed by zstd; end its name with .zst"),
    (b"PAR1\x15", (".parquet",), "Parquet; end its name with .parquet"),
    (b"ARROW1\0\0", (".arrow", ".feather", ".ipc"), "Arrow; end its name with .arrow"),
    (b"<!DOCTYPE html", (), "a page of the web, and no table"),
    (b"<!doctype html", (), "a page of the web, and no table"),
    (b"<html", (), "a page of the web, and no table"),
)


class Format(abc.ABC):
    """Reads files of one kind. A subclass with `@FORMATS.register` is one, known by its suffixes.

    Attributes:
      name: what it is called in messages.
      suffixes: of its files, in lower case, without that of a compression.
      compresses: whether a file may also be compressed as a whole.
    """

    name: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]
    compresses: ClassVar[bool] = True

    @abc.abstractmethod
    def rows(self, path: Path, columns: Sequence[str]) -> Iterator[Row]:
        """The file's records, each with the place where it stands.

        Args:
          columns: names for a table without a header; see `read`.

        Raises:
          ValueError, OSError: the file is not of this format; one line that says where.
        """

    def count(self, path: Path, columns: Sequence[str]) -> int:
        """How many records there are. Formats that know without reading them override it."""
        return sum(1 for _ in self.rows(path, columns))

    def some(self, path: Path, columns: Sequence[str], chosen: Bool[np.ndarray, " n"]) -> Iterator[Row]:
        """The records whose place is chosen. Formats that need not read the others override it."""
        return (row for row, taken in zip(self.rows(path, columns), chosen, strict=True) if taken)


FORMATS: Registry[type[Format]] = Registry("format")


def suffixes() -> tuple[str, ...]:
    """Of every file that can be read, without that of a compression."""
    return tuple(suffix for format in FORMATS.values() for suffix in format.suffixes)


def suffix_of(path: PurePath) -> str:
    """The suffix that tells a file's format: `.csv` of `a.csv.gz`."""
    name = path.name.lower()
    for compression in COMPRESSED:
        name = name.removesuffix(compression)
    return PurePath(name).suffix


def of(path: Path) -> Format:
    """The format of a file, by its suffix.

    Raises:
      UserError: a suffix that is not known; it says what to do.
    """
    suffix = suffix_of(path)
    for format in FORMATS.values():
        if suffix in format.suffixes:
            if not format.compresses and path.suffix.lower() in COMPRESSED:
                raise UserError(f"{path} cannot be read: {format.name} is not compressed as a whole; unpack it")
            return format()
    hint = _HINTS.get(suffix) or f"a table ends with one of {', '.join(suffixes())}"
    raise UserError(f"{path} cannot be read{f' as {suffix}' if suffix else ', for its name has no suffix'}: {hint}")


def read(path: Path, columns: Sequence[str] = (), chosen: Bool[np.ndarray, " n"] | None = None) -> Iterator[Record]:
    """The records of one file, by its suffix, one after another.

    Args:
      columns: names for a .csv or .tsv file without a header; a file whose first line has the first of them has one.
        `NUMBERED`: it has none, and its columns are called `#1`, `#2`, ...
      chosen: which records are wanted; None is all.

    Raises:
      UserError: a suffix that is not known, or a file that cannot be read as what its suffix says.
    """
    format = of(path)
    with _one_line(path, format):
        _check_content(path)
        yield from format.rows(path, columns) if chosen is None else format.some(path, columns, chosen)


def count(path: Path, columns: Sequence[str] = ()) -> int:
    """How many records a file has. Arguments and errors are those of `read`."""
    format = of(path)
    with _one_line(path, format):
        _check_content(path)
        return format.count(path, columns)


def _check_content(path: Path) -> None:
    """Refuses a file that begins as something else than its name says."""
    with path.open("rb") as handle:
        start = handle.read(32)
    for begins, suffixes, what in _CONTENTS:
        if start.startswith(begins) and path.suffix.lower() not in suffixes:
            raise ValueError(f"it is {what}")


@contextlib.contextmanager
def _one_line(path: Path, format: Format) -> Iterator[None]:
    """Whatever a library raises at a broken file, as one line. An error of whoever uses the records passes."""
    try:
        yield
    except (UserError, GeneratorExit):
        raise
    except RecursionError as error:
        raise UserError(f"{path} cannot be read as {format.name}: its values are nested too deeply") from error
    except (ValueError, OSError, EOFError, OverflowError) as error:
        raise UserError(f"{path} cannot be read as {format.name}: {_reason(error)}") from error
    except Exception as error:  # csv, zlib, lzma and Arrow have errors of their own
        if type(error).__module__.partition(".")[0] not in ("_csv", "zlib", "_lzma", "lzma", "pyarrow"):
            raise
        raise UserError(f"{path} cannot be read as {format.name}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
