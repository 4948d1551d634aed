"""The file format that TensorFlow writes: length, checksum of the length, data, checksum of the data; and again."""

import struct
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from jaxtyping import Bool

from w2s_jax.runtime.errors import UserError

_HEADER = struct.Struct("<QI")  # the length and its checksum
_FOOTER = struct.Struct("<I")


def read(file: BinaryIO, name: str, chosen: Bool[np.ndarray, " n"]) -> Iterator[bytes]:
    """The chosen ones of a file's records. Of the others before the last of them, the data are passed over unread.

    Args:
      chosen: of every record that the file should hold.

    Raises:
      UserError: the file is damaged, or holds fewer records or more; one line that names it.
    """
    end = int(np.flatnonzero(chosen).max(initial=-1)) + 1
    for number, wanted in enumerate(chosen[:end].tolist(), start=1):
        header = file.read(_HEADER.size)
        if len(header) < _HEADER.size:
            raise UserError(f"{name} is cut off: it ends after {number - 1} of {len(chosen)} records")
        length, checksum = _HEADER.unpack(header)
        if checksum != masked_crc32c(header[:8]):
            raise UserError(f"{name} is damaged: the length of record {number} does not fit its checksum")
        if not wanted:
            file.seek(length + _FOOTER.size, 1)
            continue
        data, footer = file.read(length), file.read(_FOOTER.size)
        if len(footer) < _FOOTER.size:
            raise UserError(f"{name} is cut off: it ends within record {number} of {len(chosen)}")
        if _FOOTER.unpack(footer)[0] != masked_crc32c(data):
            raise UserError(f"{name} is damaged: record {number} does not fit its checksum")
        yield data
    if end == len(chosen) and file.read(1):
        raise UserError(f"{name} holds more than its {len(chosen)} records")


def masked_crc32c(data: bytes) -> int:
    """The checksum of these bytes: CRC-32C, rotated and shifted."""
    try:
        import google_crc32c
    except ImportError as error:
        raise UserError("a tfrecord file needs google-crc32c: `pip install 'w2s-jax[tfds]'`") from error
    checksum = google_crc32c.value(data)
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF
