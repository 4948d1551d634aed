"""Reads pretrained tensors from safetensors or GGUF."""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from w2s_jax.models.config import ModelConfig
from w2s_jax.models.decoder import Decoder
from w2s_jax.models.encoder import Encoder
from w2s_jax.models.families import Family
from w2s_jax.models.families.gguf import Metadata
from w2s_jax.models.params import path_of
from w2s_jax.runtime import files
from w2s_jax.runtime.errors import UserError


class Tensors(NamedTuple):
    """Tensors of a checkpoint by plain name, each read when it is asked for.

    Attributes:
      shapes: of all of them; nothing is read for that.
      read: a tensor, or a slice along its first axes, float32.
    """

    shapes: Mapping[str, tuple[int, ...]]
    read: Callable[..., np.ndarray]


@contextlib.contextmanager
def safetensors(paths: Sequence[Path], family: Family) -> Iterator[Tensors]:
    """The tensors of one or several safetensors files.

    Raises:
      UserError: one of them is not whole.
    """
    from safetensors import SafetensorError, safe_open

    with contextlib.ExitStack() as stack:
        found: dict[str, Any] = {}
        for path in paths:
            try:
                handle = stack.enter_context(safe_open(path, "numpy"))
            except (SafetensorError, OSError) as error:
                raise UserError(f"{path} is not a whole safetensors file: {error}") from error
            stored = {name: handle.get_slice(name) for name in handle.keys()}  # noqa: SIM118
            found.update({family.plain_name(name): tensor for name, tensor in stored.items()})

        def read(name: str, *index: slice) -> np.ndarray:
            return np.asarray(found[name][index or slice(None)], np.float32)

        yield Tensors({name: tuple(tensor.get_shape()) for name, tensor in found.items()}, read)


class Gguf(NamedTuple):
    metadata: Metadata
    tensors: Tensors


@files.cached(maxsize=1)  # the index of a large vocabulary takes seconds to read
def gguf(path: Path) -> Gguf:
    """A GGUF file: metadata, and tensors that are dequantized to float32 when read."""
    import gguf as library

    try:
        reader = library.GGUFReader(path)
    except (ValueError, OSError, IndexError) as error:
        raise UserError(f"{path} is not a whole GGUF file: {error}") from error
    by_name = {tensor.name: tensor for tensor in reader.tensors}
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

    metadata = {key: field.contents() for key, field in reader.fields.items()}
    return Gguf(metadata, Tensors(shapes, read))


def shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """The path and shape of every parameter of the backbone."""
    backbone = (Encoder if config.is_encoder else Decoder)(config)
    tokens, lengths = jnp.zeros((1, 2), jnp.int32), jnp.full(1, 2, jnp.int32)
    tree = jax.eval_shape(lambda key: backbone.init(key, tokens, lengths), jax.random.key(0))["params"]
    return {path_of(keys): leaf.shape for keys, leaf in jax.tree_util.tree_leaves_with_path(nn.unbox(tree))}
