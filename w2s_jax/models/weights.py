"""Reads pretrained tensors from safetensors."""

import contextlib
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
from w2s_jax.models.params import path_of
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


def shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """The path and shape of every parameter of the backbone."""
    backbone = (Encoder if config.is_encoder else Decoder)(config)
    tokens, lengths = jnp.zeros((1, 2), jnp.int32), jnp.full(1, 2, jnp.int32)
    tree = jax.eval_shape(lambda key: backbone.init(key, tokens, lengths), jax.random.key(0))["params"]
    return {path_of(keys): leaf.shape for keys, leaf in jax.tree_util.tree_leaves_with_path(nn.unbox(tree))}
