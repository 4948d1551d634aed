"""Reads pretrained tensors from safetensors."""

import contextlib
import functools
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from flax import linen as nn

from w2s_jax.models.config import ModelConfig
from w2s_jax.models.decoder import Decoder
from w2s_jax.models.encoder import Encoder
from w2s_jax.models.params import path_of
from w2s_jax.runtime.errors import UserError

FLOAT8 = {
    "F8_E4M3": ml_dtypes.float8_e4m3fn,
    "F8_E5M2": ml_dtypes.float8_e5m2,
    "F8_E8M0": ml_dtypes.float8_e8m0fnu,
}


class Tensors(NamedTuple):
    """Tensors of a checkpoint by name, each read when it is asked for.

    Attributes:
      shapes: of all of them; nothing is read for that.
      read: a tensor, or a slice along its first axes, float32.
      kinds: of each, as safetensors calls it, where the file says: `BF16`, `F8_E4M3`, `I64`.
    """

    shapes: Mapping[str, tuple[int, ...]]
    read: Callable[..., np.ndarray]
    kinds: Mapping[str, str] = MappingProxyType({})


@contextlib.contextmanager
def safetensors(paths: Sequence[Path]) -> Iterator[Tensors]:
    """The tensors of one or several safetensors files, under the names that are stored.

    Raises:
      UserError: one of the files is not whole, or two hold a tensor of one name; when read, a tensor of whole numbers.
    """
    from safetensors import SafetensorError, safe_open

    with contextlib.ExitStack() as stack:
        found: dict[str, tuple[Path, Any, Any]] = {}
        for path in paths:
            try:
                handle: Any = stack.enter_context(safe_open(path, "numpy"))
            except (SafetensorError, OSError) as error:
                raise UserError(f"{path} is not a whole safetensors file: {error}") from error
            for name in handle.keys():  # noqa: SIM118
                if name in found:
                    raise UserError(f"{name} is in two files, {found[name][0].name} and {path}; remove one")
                found[name] = path, handle, handle.get_slice(name)
        shapes = {name: tuple(stored.get_shape()) for name, (*_, stored) in found.items()}
        kinds = {name: str(stored.get_dtype()) for name, (*_, stored) in found.items()}

        def read(name: str, *index: slice) -> np.ndarray:
            path, handle, stored = found[name]
            if kinds[name] in FLOAT8:
                return np.asarray(_float8(path, name, kinds[name])[index], np.float32)
            if not kinds[name].startswith(("F", "BF")):
                raise UserError(f"{name} holds {kinds[name]}, whole numbers, where others belong: is it quantized?")
            return np.asarray(stored[index or slice(None)] if shapes[name] else handle.get_tensor(name), np.float32)

        yield Tensors(shapes, read, kinds)


def _float8(path: Path, name: str, kind: str) -> np.ndarray:
    """A tensor of one byte a number, which safetensors' own reader does not give to numpy."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        about = json.loads(file.read(length))[name]
    shape, start = tuple(about["shape"]), 8 + length + about["data_offsets"][0]
    return np.memmap(path, FLOAT8[kind], "r", start, shape) if math.prod(shape) else np.zeros(shape, FLOAT8[kind])


def checked(tensors: Tensors) -> Tensors:
    """The same tensors, each looked at when it is read.

    Raises:
      UserError: when read, one holds NaN or infinity.
    """

    def read(name: str, *index: slice) -> np.ndarray:
        values = tensors.read(name, *index)
        if not np.isfinite(values).all():
            raise UserError(
                f"{name} holds NaN or infinity, so no result could be right: the file was damaged, or training "
                "diverged or overflowed before it was saved"
            )
        return values

    return tensors._replace(read=read)


@functools.lru_cache(maxsize=64)  # tracing a module takes longer than reading a small model
def shapes(config: ModelConfig) -> Mapping[str, tuple[int, ...]]:
    """The path and shape of every parameter of the backbone."""
    backbone = (Encoder if config.is_encoder else Decoder)(config)

    def init() -> Any:  # traced as a whole: nothing is computed, and no device is asked for
        return backbone.init(jax.random.key(0), jnp.zeros((1, 2), jnp.int32), jnp.full(1, 2, jnp.int32))["params"]

    tree = jax.eval_shape(init)
    leaves = jax.tree_util.tree_leaves_with_path(nn.unbox(tree))
    return MappingProxyType({path_of(keys): leaf.shape for keys, leaf in leaves})
