"""Reads models from GGUF files: what they say of themselves, and tensors that are dequantized when they are read."""

import math
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from w2s_jax.models.families import gguf_rope
from w2s_jax.models.families.gguf import Header
from w2s_jax.models.weights import Tensors
from w2s_jax.runtime import files
from w2s_jax.runtime.errors import UserError

PART = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf")


class Gguf(NamedTuple):
    header: Header
    tensors: Tensors


def parts(path: Path) -> tuple[Path, ...]:
    """All files of the model that this file holds, alone or as the first of several.

    Raises:
      UserError: it is not there, is not the first, or another one is missing.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist")
    named = PART.fullmatch(path.name)
    if named is None:
        return (path,)
    stem, number, count = named.groups()
    wanted = [path.with_name(f"{stem}-{part:05d}-of-{count}.gguf") for part in range(1, int(count) + 1)]
    if int(number) != 1:
        raise UserError(f"{path} is part {int(number)} of {int(count)}: name the first, {wanted[0].name}")
    missing = [part.name for part in wanted if not part.is_file()]
    if missing:
        raise UserError(f"{path} is one of {int(count)} parts, and beside it there is no {', '.join(missing)}")
    return tuple(wanted)


@files.cached(maxsize=2)  # of the two models of a pair
def read(*paths: Path) -> Gguf:
    """The model of one GGUF file, or of all parts of one.

    Raises:
      UserError: a file is not whole, or not the part that its name says; or a tensor has numbers that the gguf package
        cannot decode.
    """
    found: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    for place, path in enumerate(paths):
        reader = _open(path)
        said = {key: field.contents() for key, field in reader.fields.items()}
        number, count = said.get("split.no", 0), said.get("split.count", 0) or 1
        if (number, count) != (place, len(paths)):
            raise UserError(
                f"{path} says that it is part {number + 1} of {count}, not part {place + 1} of {len(paths)}: parts are "
                "found by their names, NAME-00001-of-00003.gguf"
            )
        metadata = said | metadata  # the first part has the settings
        found |= {tensor.name: tensor for tensor in reader.tensors}
    total = metadata.get("split.tensors.count", len(found))
    if total != len(found):
        raise UserError(f"{paths[0]} has {len(found)} tensors in all its parts, not {total} as it says")
    tensors = _tensors(found)
    factors = {name: tuple(map(float, tensors.read(name))) for name in gguf_rope.TENSORS if name in found}
    return Gguf(Header(metadata, tensors.shapes, factors), tensors)


def _tensors(by_name: Mapping[str, Any]) -> Tensors:
    import gguf as library

    shapes = {name: tuple(int(size) for size in reversed(tensor.shape)) for name, tensor in by_name.items()}

    def read(name: str, *index: slice) -> np.ndarray:
        tensor, (size, *rest) = by_name[name], shapes[name]
        if not rest:
            return library.dequantize(tensor.data, tensor.tensor_type)[index].astype(np.float32, copy=False)
        rows, columns = (*index, *[slice(None)] * (2 - len(index)))
        start, stop, _ = columns.indices(math.prod(rest))
        together, width = library.GGML_QUANT_SIZES[tensor.tensor_type]  # a row is whole blocks of quantized numbers
        data = tensor.data.reshape(size, -1)
        first, width = start // together, width // data.itemsize
        data = data[rows, first * width : -(-stop // together) * width]
        values = library.dequantize(data, tensor.tensor_type).astype(np.float32, copy=False)
        return values.reshape(len(data), -1)[:, start - first * together : stop - first * together]

    return Tensors(shapes, read)


def _open(path: Path) -> Any:
    """A `GGUFReader`, all of whose tensors can be decoded."""
    import gguf as library

    known = {int(kind) for kind in library.GGMLQuantizationType}

    class Reader(library.GGUFReader):
        def _get_field_parts(self, orig_offs: int, raw_type: Any) -> tuple[int, list[Any], list[int], list[Any]]:
            """As the package's, which reads the tokens of a vocabulary in seconds, as arrays of their own."""
            data: Any = self.data
            if raw_type == library.GGUFValueType.ARRAY and self.byte_order == "I":
                kind, count = struct.unpack_from("<IQ", data, orig_offs)
                start, types = orig_offs + 12, [library.GGUFValueType.ARRAY, library.GGUFValueType(kind)]
                if kind == library.GGUFValueType.STRING:
                    parts, end = _strings(memoryview(data), start, count)
                    return end - orig_offs, parts, list(range(count)), types
                if kind in self.gguf_scalar_to_np:
                    values = self._get(start, self.gguf_scalar_to_np[types[1]], count)
                    if len(values) < count:
                        raise ValueError("it ends within an array")
                    return 12 + values.nbytes, [values], [0], types
            found: tuple[int, list[Any], list[int], list[Any]] = super()._get_field_parts(orig_offs, raw_type)
            return found

        def _build_tensors(self, start_offs: int, fields: Any) -> None:
            for field in fields:  # of name, dimensions, kind and place
                _, name, _, _, kind, _ = field.parts
                if int(kind[0]) not in known:
                    raise _unknown(path, bytes(name).decode(), f"kind {kind[0]}")
            super()._build_tensors(start_offs, fields)

    try:
        reader = Reader(path)
    except UserError:
        raise
    except (ValueError, OSError, IndexError, KeyError, OverflowError, struct.error) as error:
        raise UserError(f"{path} is not a whole GGUF file: {error}") from error
    if reader.endianess != library.GGUFEndian.LITTLE:
        raise UserError(f"{path} is a big-endian GGUF file; convert it with the gguf package's gguf-convert-endian")
    for kind, name in {tensor.tensor_type: tensor.name for tensor in reversed(reader.tensors)}.items():
        try:
            library.dequantize(np.zeros(library.GGML_QUANT_SIZES[kind][1], np.uint8), kind)
        except NotImplementedError:
            raise _unknown(path, name, kind.name) from None
    return reader


def _strings(data: memoryview, start: int, count: int) -> tuple[list[memoryview], int]:
    """An array of strings, each after its length, and where it ends."""
    found, length = [], struct.Struct("<Q")
    for _ in range(count):
        (size,) = length.unpack_from(data, start)
        start += 8 + size
        found.append(data[start - size : start])
    return found, start


def _unknown(path: Path, tensor: str, kind: str) -> UserError:
    return UserError(
        f"{path}: {tensor} is quantized as {kind}, which the gguf package cannot decode; quantize the model otherwise"
    )
