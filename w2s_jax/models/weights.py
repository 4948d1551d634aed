"""Reads pretrained tensors from safetensors or GGUF, and lays them out as our parameters."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from w2s_jax import files
from w2s_jax.errors import UserError
from w2s_jax.models import names
from w2s_jax.models.config import ModelConfig
from w2s_jax.models.decoder import Decoder
from w2s_jax.models.encoder import Encoder

PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")


class Tensors(NamedTuple):
    """Tensors of a checkpoint by plain name, each read when it is asked for."""

    names: Sequence[str]
    read: Callable[[str], np.ndarray]


@contextlib.contextmanager
def safetensors(paths: Sequence[Path]) -> Iterator[Tensors]:
    """The tensors of one or several safetensors files."""
    from safetensors import SafetensorError, safe_open

    with contextlib.ExitStack() as stack:
        owner = {}
        for path in paths:
            try:
                handle = stack.enter_context(safe_open(path, "numpy"))
            except (SafetensorError, OSError) as error:
                raise UserError(f"{path} is not a whole safetensors file: {error}") from error
            owner.update({names.plain_name(name): (handle, name) for name in handle.keys()})  # noqa: SIM118

        def read(name: str) -> np.ndarray:
            handle, stored = owner[name]
            return np.asarray(handle.get_tensor(stored), np.float32)

        yield Tensors(tuple(owner), read)


class Gguf(NamedTuple):
    metadata: dict[str, Any]
    tensors: Tensors


@functools.lru_cache(maxsize=1)  # the index of a large vocabulary takes seconds to read
def gguf(path: Path) -> Gguf:
    """A GGUF file: metadata, and tensors that are dequantized to float32 when read."""
    import gguf as library

    try:
        reader = library.GGUFReader(path)
    except (ValueError, OSError, IndexError) as error:
        raise UserError(f"{path} is not a whole GGUF file: {error}") from error
    by_name = {tensor.name: tensor for tensor in reader.tensors}

    def read(name: str) -> np.ndarray:
        tensor = by_name[name]
        shape = [int(size) for size in reversed(tensor.shape)]
        return library.dequantize(tensor.data, tensor.tensor_type).astype(np.float32).reshape(shape)

    metadata = {key: field.contents() for key, field in reader.fields.items()}
    return Gguf(metadata, Tensors(tuple(by_name), read))


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a Hugging Face folder, whole or in shards.

    Raises:
      UserError: there is none; a folder with only pickled weights is told why those are not read.
    """
    index = folder / "model.safetensors.index.json"
    if index.exists():
        return [folder / name for name in sorted(set(files.read_json(index)["weight_map"].values()))]
    found = sorted(folder.glob("*.safetensors"))
    if not found:
        pickled = [path.name for path in folder.iterdir() if path.suffix in PICKLES]
        if pickled:
            raise UserError(
                f"{folder} has only {', '.join(sorted(pickled))}: reading a pickle can run anything, so it is refused; "
                "save the model as safetensors"
            )
        raise UserError(f"{folder} has no *.safetensors file")
    return found


def shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """The path and shape of every parameter of the backbone."""
    backbone = (Encoder if config.is_encoder else Decoder)(config)
    tokens, lengths = jnp.zeros((1, 2), jnp.int32), jnp.full(1, 2, jnp.int32)
    tree = jax.eval_shape(lambda key: backbone.init(key, tokens, lengths), jax.random.key(0))["params"]
    leaves = jax.tree_util.tree_leaves_with_path(jax.tree.map(lambda leaf: leaf, _unboxed(tree)))
    return {"/".join(str(key.key) for key in keys): leaf.shape for keys, leaf in leaves}


def convert(tensors: Tensors, config: ModelConfig, full: ModelConfig, gguf: bool = False) -> dict[str, Any]:
    """Our nested parameters, float32 numpy.

    Args:
      config: what is wanted, perhaps `cut` to its first layers.
      full: what the checkpoint holds.

    Raises:
      UserError: listing every tensor that is missing, of another shape, or that this family does not have.
    """
    wanted, table = shapes(config), names.rows(full, gguf)
    known = {row.name.format(i=i) for row in table for i in range(full.n_layers)}
    problems = [f"extra {name}" for name in tensors.names if name not in known and not names.ignored(name)]
    params: dict[str, Any] = {}
    for row in table:
        if row.path not in wanted:
            continue
        stacked = "{i}" in row.name
        shape = wanted[row.path][1:] if stacked else wanted[row.path]
        parts = []
        for i in range(config.n_layers if stacked else 1):
            name = row.name.format(i=i)
            if name not in tensors.names:
                problems.append(f"missing {name}")
                continue
            try:
                parts.append(row.convert(tensors.read(name), config).reshape(shape))
            except ValueError:
                problems.append(f"{name} of shape {tensors.read(name).shape}, which does not make {row.path} {shape}")
        if not problems:
            _put(params, row.path, np.stack(parts) if stacked else np.ascontiguousarray(parts[0]))
    problems += [f"no tensor for {path}" for path in wanted.keys() - {row.path for row in table}]
    if problems:
        raise UserError(f"the checkpoint is not a whole {config.family}: {'; '.join(problems)}")
    return params


def _put(tree: dict[str, Any], path: str, value: np.ndarray) -> None:
    *branches, leaf = path.split("/")
    for branch in branches:
        tree = tree.setdefault(branch, {})
    tree[leaf] = value


def _unboxed(tree: Mapping[str, Any]) -> Any:
    from flax import linen as nn

    return nn.unbox(tree)
