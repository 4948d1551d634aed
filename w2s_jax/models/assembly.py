"""Lays a checkpoint's tensors out as our parameters: on the host, or straight onto devices."""

import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Sharding

from w2s_jax.models import families, tensor_names, tensor_table, weights
from w2s_jax.models.config import ModelConfig
from w2s_jax.models.tensor_table import SAME, TensorRow
from w2s_jax.models.weights import Tensors
from w2s_jax.runtime.errors import UserError

CHUNK = 1 << 20  # numbers that are read at once
SHOWN = 5  # problems in a message

Shape = tuple[int, ...]
Index = tuple[slice, ...]


def on_host(tensors: Tensors, config: ModelConfig, full: ModelConfig, gguf: bool = False) -> dict[str, Any]:
    """Our nested parameters, float32 numpy.

    Args:
      config: what is wanted, perhaps `cut` to its first layers.
      full: what the checkpoint holds.
      gguf: its tensors have the names of GGUF.

    Raises:
      UserError: naming the first tensors that are missing, of another shape, or that this family does not have, and
        counting the others.
    """

    def whole(path: str, shape: Shape, piece: Callable[[Index], np.ndarray]) -> Mapping[str, np.ndarray]:
        return {_last(path): piece((slice(None),) * len(shape))}

    return _assembled(tensors, config, full, gguf, whole)


def on_devices(
    tensors: Tensors,
    config: ModelConfig,
    full: ModelConfig,
    shardings: Mapping[str, Sharding],
    gguf: bool = False,
    keep: Callable[[str, Mapping[str, jax.Array]], Mapping[str, jax.Array]] = lambda path, placed: placed,
) -> dict[str, Any]:
    """Our nested parameters as arrays of which each device holds its piece.

    Pieces are made one after the other, so that besides what is placed the host holds one piece and a few megabytes.

    Args:
      shardings: of each path.
      keep: given a path and the array that was placed there, by the last part of its path, gives what is kept of it.
      Others, and errors: those of `on_host`.
    """

    def placed(path: str, shape: Shape, piece: Callable[[Index], np.ndarray]) -> Mapping[str, jax.Array]:
        return keep(path, {_last(path): _placed(shape, shardings[path], piece)})

    return _assembled(tensors, config, full, gguf, placed)


def table_on_devices(tensors: Tensors, name: str, config: ModelConfig, sharding: Sharding) -> jax.Array:
    """One table of a checkpoint, [rows, dimensions], as `on_devices` places parameters."""
    shape, row = tensors.shapes[name], TensorRow(("table/embedding",), name, SAME)
    return _placed(shape, sharding, lambda index: _piece(tensors, row, 0, shape, config, index))


def _placed(shape: Shape, sharding: Sharding, piece: Callable[[Index], np.ndarray]) -> jax.Array:
    owners: dict[str, tuple[Index, list[jax.Device]]] = {}
    for device, index in sharding.devices_indices_map(shape).items():
        if device in sharding.addressable_devices:
            owners.setdefault(str(index), (index, []))[1].append(device)
    arrays = []
    for index, devices in owners.values():
        value = piece(index)
        arrays += [jax.block_until_ready(jax.device_put(value, device)) for device in devices]
        del value  # before the next is made
    return jax.make_array_from_single_device_arrays(shape, sharding, arrays)


def _assembled(
    tensors: Tensors,
    config: ModelConfig,
    full: ModelConfig,
    gguf: bool,
    make: Callable[[str, Shape, Callable[[Index], np.ndarray]], Mapping[str, object]],
) -> dict[str, Any]:
    family, wanted = families.of(full), weights.shapes(config)
    table = family.gguf_tensors(full) if gguf else family.tensors(full)
    _check(tensors, config, full, table, wanted)
    params: dict[str, Any] = {}
    for row in table:
        for part, path in enumerate(row.paths):
            if path in wanted:

                def piece(index: Index, row: TensorRow = row, part: int = part, path: str = path) -> np.ndarray:
                    return _piece(tensors, row, part, wanted[path], config, index)

                _branch(params, path).update(make(path, wanted[path], piece))
    return params


def _piece(tensors: Tensors, row: TensorRow, part: int, shape: Shape, config: ModelConfig, index: Index) -> np.ndarray:
    """`parameter[index]`. Of their tensors no more than a chunk is in memory at once."""
    spans = [range(size)[span] for size, span in zip(shape, index, strict=True)]
    made = np.empty([len(span) for span in spans], np.float32)
    path = row.paths[part]
    flat = tensor_table.flat_spans(path, spans[row.stacked :], shape[row.stacked :])
    for here in np.ndindex(made.shape[: row.stacked]):
        place = tuple(span[index] for span, index in zip(spans, here, strict=False))
        if place and place[0] < row.first:
            made[here] = 1.0
        else:
            _fill(made[here], tensors, row, part, flat, config, row.at(place))
    return made


def _fill(
    made: np.ndarray, tensors: Tensors, row: TensorRow, part: int, spans: list[range], config: ModelConfig, name: str
) -> None:
    """Writes `ours[spans]` of one of their tensors, our side being flat. No more of the tensor is read."""
    layout, made = row.layout, made.reshape([len(span) for span in spans])  # a view
    made = made.T if layout.transposed else made
    along, *across = tensor_table.their_spans(row, part, spans, config)
    block = layout.block(config)
    step = max(1, CHUNK // (made[0].size * block)) * block
    along = [span[start : start + step] for span in along for start in range(0, len(span), step)]
    for piece in itertools.product(*map(_slices, (along, *across))):
        here, there = zip(*piece, strict=True)
        made[here] = layout.ours(tensors.read(name, *there), config)


def _slices(spans: list[range]) -> list[tuple[slice, slice]]:
    """Where each lies if they follow one another, and where it lies by itself."""
    ends = itertools.accumulate(len(span) for span in spans)
    return [(slice(end - len(span), end), slice(span.start, span.stop)) for span, end in zip(spans, ends, strict=True)]


# What the names of tensors beside quantized weights hold, where config.json does not say that they are.
_QUANTIZED = {
    ".quant_state.": "bitsandbytes",
    ".absmax": "bitsandbytes",
    ".SCB": "bitsandbytes",
    ".qweight": "GPTQ or AWQ",
    "_blocks": "MXFP4",
    ".scales": "MLX",
}


def _check(
    tensors: Tensors, config: ModelConfig, full: ModelConfig, table: list[TensorRow], wanted: Mapping[str, Shape]
) -> None:
    """Compares names and shapes, before anything is read."""
    family = families.of(full)
    known = {row.at(place) for row in table for place in row.places(full)}
    extra = [f"extra {name}" for name in tensors.shapes if name not in known and not family.ignores(name)]
    missing, shaped = [], []
    for row in table:
        if any(path in wanted for path in row.paths):
            expected = _their_shape(row, wanted, config)
            for name in map(row.at, row.places(config)):
                if name not in tensors.shapes:
                    missing.append(f"missing {name}")
                elif tensors.shapes[name] != expected:
                    shaped.append(f"{name} of shape {tensors.shapes[name]}, which should be {expected}")
    covered = {path for row in table for path in row.paths}
    missing += [f"no tensor for {path}" for path in wanted if path not in covered]
    if missing or shaped or extra:
        said = _some([shaped, missing, extra]) if known & tensors.shapes.keys() else _unknown(tensors.shapes.keys())
        method = next((name for mark, name in _QUANTIZED.items() if any(mark in each for each in extra)), None)
        hint = "" if method is None else f"; it is quantized ({method}): use the model that it was made from"
        raise UserError(f"the checkpoint is not a whole {config.family}: {said}{hint}")


def _some(kinds: Sequence[Sequence[str]]) -> str:
    """The first few problems, of every kind some, and how many more there are."""
    turns = itertools.chain.from_iterable(itertools.zip_longest(*kinds))
    problems = [problem for problem in turns if problem is not None]
    more = len(problems) - SHOWN
    return "; ".join(problems[:SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _unknown(names: Collection[str]) -> str:
    prefix, first = tensor_names.shared_prefix(names), min(names, default="")
    begin = f"; all names begin with {prefix!r}" if prefix else ""
    return f"none of its {len(names)} tensors is known{begin}, as {first}"


def _their_shape(row: TensorRow, wanted: Mapping[str, Shape], config: ModelConfig) -> Shape:
    shapes = [wanted[path][row.stacked :] for path in row.paths]
    flat = [tensor_table.flat_shape(path, shape) for path, shape in zip(row.paths, shapes, strict=True)]
    return row.layout.theirs([np.broadcast_to(np.int8(0), shape) for shape in flat], config).shape


def _branch(params: dict[str, Any], path: str) -> dict[str, Any]:
    """The branch that a leaf is on; it is made where it is missing."""
    for part in path.split("/")[:-1]:
        params = params.setdefault(part, {})
    return params


def _last(path: str) -> str:
    return path.rpartition("/")[2]
