"""A model's tensors under the plain names of its family, whichever kind of file holds them."""

import contextlib
from collections.abc import Iterator

import numpy as np

from w2s_jax.models import adapters, families, float8, gguf_files, hub_files, onnx_weights, tensor_names, weights
from w2s_jax.models.config import ModelConfig
from w2s_jax.models.families import Family, quantization
from w2s_jax.models.folders import Files
from w2s_jax.models.weights import Tensors
from w2s_jax.runtime.errors import UserError

ROWS = 1 << 12  # of a table that are compared at once


@contextlib.contextmanager
def opened(source: str, found: Files, config: ModelConfig) -> Iterator[tuple[Tensors, bool]]:
    """The checkpoint's tensors, adapters merged, and whether they have the names of GGUF.

    Args:
      source: what the model is called, for messages.
      config: of all its layers.

    Raises:
      UserError: a file is not whole, or holds what cannot be read.
    """
    family = families.of(config)
    if found.config is None:
        yield weights.checked(gguf_files.read(*found.weights).tensors), True
    elif isinstance(found.config, ModelConfig):
        tensors = onnx_weights.read(found.weights[0], family)
        yield weights.checked(adapters.merged(tensors, found.adapter, config)), False
    else:
        with weights.safetensors(found.weights) as stored:
            hub_files.check_index(found.weights[0].with_name(hub_files.INDEX), stored.shapes)
            tensors = _plain(stored, family, config)
            _say_other_heads(source, tensors, family)
            tensors = float8.dequantized(tensors, quantization.scales(hub_files.settings(found.config)), source)
            yield weights.checked(adapters.merged(tensors, found.adapter, config)), False


def check_tied(tensors: Tensors, config: ModelConfig) -> None:
    """That a head which the config ties to the embeddings is them, where the checkpoint stores it as well.

    Raises:
      UserError: it is another; `transformers` would not tie it then.
    """
    family = families.of(config)
    head, table = family.unembedding, _table(family, config)
    if config.is_encoder or not config.tied_embeddings or not {head, table} <= tensors.shapes.keys():
        return
    count = tensors.shapes[table][0]
    pieces = [slice(start, min(start + ROWS, count)) for start in range(0, count, ROWS)]
    same = tensors.shapes[head] == tensors.shapes[table] and all(
        np.array_equal(tensors.read(head, piece), tensors.read(table, piece)) for piece in pieces
    )
    if not same:
        raise UserError(
            f"{head} differs from {table}, though config.json ties them: set tie_word_embeddings to false there if the "
            "head was trained by itself, or remove it"
        )


def _plain(stored: Tensors, family: Family, config: ModelConfig) -> Tensors:
    """The tensors by plain name. A tied table that is stored as the head alone is the embeddings."""
    rows = family.tensors(config)
    needed = {row.at(place) for row in rows for place in row.places(config)}
    tied, table = config.tied_embeddings and not config.is_encoder, _table(family, config)
    plain = tensor_names.plain_names(stored.shapes.keys(), family, needed - {table} if tied else needed)
    by_plain = {name: original for original, name in plain.items()}
    if tied and table not in by_plain and family.unembedding in by_plain:
        by_plain[table] = by_plain.pop(family.unembedding)

    def read(name: str, *index: slice) -> np.ndarray:
        return stored.read(by_plain[name], *index)

    shapes = {name: stored.shapes[original] for name, original in by_plain.items()}
    return Tensors(shapes, read, {name: stored.kinds[original] for name, original in by_plain.items()})


def _table(family: Family, config: ModelConfig) -> str:
    """The tensor of the embeddings."""
    return next(row.name for row in family.tensors(config) if row.paths == ("embed/embedding",))


def _say_other_heads(source: str, tensors: Tensors, family: Family) -> None:
    names = [name for name in tensors.shapes if family.is_other_head(name)]
    if names:
        hub_files.say(f"{source}: {' and '.join(names)} are left out: nothing here computes with them")
