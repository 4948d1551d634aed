"""Text files, compressed or not, of the encodings that people have."""

import bz2
import codecs
import gzip
import io
import lzma
from pathlib import Path
from typing import Any

_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def open_text(path: Path) -> io.TextIOWrapper:
    """The file as text: UTF-8, or UTF-16 where it begins with its mark, decompressed as its suffix says."""
    with open_bytes(path) as handle:
        start = handle.read(4)
    encoding = next((name for mark, name in _MARKS if start.startswith(mark)), "utf-8")
    return io.TextIOWrapper(open_bytes(path), encoding=encoding, newline="")


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
        return ValueError(f"it is not {error.encoding}, though it begins as such")
    with open_bytes(path) as handle:
        for number, line in enumerate(handle, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as found:
                byte = f"byte 0x{line[found.start]:02x}"
                return ValueError(
                    f"line {number} is not UTF-8 ({byte}); if the file is Latin-1: iconv -f latin1 -t utf-8 OLD > NEW"
                )
    return ValueError("it is not UTF-8")
