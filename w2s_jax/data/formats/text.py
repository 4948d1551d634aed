"""Text files, compressed or not, of the encodings that people have."""

import bz2
import codecs
import gzip
import io
import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def open_text(path: Path) -> io.TextIOWrapper:
    """The file as text: UTF-8, or UTF-16 where it begins as such, decompressed as its suffix says."""
    with open_bytes(path) as handle:
        start = handle.read(4)
    return io.TextIOWrapper(open_bytes(path), encoding=_encoding(start), newline="")


def _encoding(start: bytes) -> str:
    for mark, name in _MARKS:
        if start.startswith(mark):
            return name
    match [byte == 0 for byte in start[:2]]:
        case [False, True]:
            return "utf-16-le"
        case [True, False]:
            return "utf-16-be"
    return "utf-8"


def lines(handle: io.TextIOWrapper) -> Iterator[str]:
    """The lines of a file.

    Raises:
      ValueError: one holds a NUL character, which no text has.
    """
    for number, line in enumerate(handle, start=1):
        if "\0" in line:
            raise ValueError(f"line {number} holds a NUL character; the file is broken, or no text")
        yield line


def open_bytes(path: Path) -> Any:
    """The file's content, decompressed as its suffix says."""
    match path.suffix.lower():
        case ".gz":
            return gzip.open(path, "rb")
        case ".bz2":
            return bz2.open(path, "rb")
        case ".xz":
            return lzma.open(path, "rb")
        case ".zst":
            import pyarrow

            return io.BufferedReader(pyarrow.input_stream(str(path), compression="zstd"))
    return path.open("rb")


def undecodable(path: Path, error: UnicodeDecodeError) -> ValueError:
    """The error with the line that is not text, and what to do about it."""
    if not error.encoding.lower().startswith("utf-8"):
        return ValueError(f"it is not whole {error.encoding.upper()}, though it begins as such")
    with open_bytes(path) as handle:
        for number, line in enumerate(handle, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as found:
                byte = line[found.start]
                name, code = ("Windows-1252", "cp1252") if 0x80 <= byte <= 0x9F else ("Latin-1", "latin1")
                return ValueError(
                    f"line {number} is not UTF-8 (byte 0x{byte:02x}); if the file is {name}: "
                    f"iconv -f {code} -t utf-8 OLD > NEW"
                )
    return ValueError("it is not UTF-8")
