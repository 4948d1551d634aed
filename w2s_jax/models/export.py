"""Writes a model as a Hugging Face folder that `transformers` loads and scores alike."""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from w2s_jax import models
from w2s_jax.models import Pretrained, families, gguf_files, heads, sentences, tensor_table
from w2s_jax.models.config import ModelConfig
from w2s_jax.models.families.heads import HeadForm
from w2s_jax.models.params import path_of
from w2s_jax.models.pooling import Pooling
from w2s_jax.runtime import files
from w2s_jax.runtime.errors import UserError

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
)


def write(
    pretrained: Pretrained,
    folder: Path,
    *,
    head: Float[Array | np.ndarray, "d c"] | Mapping[str, Any] | None = None,
    pooling: Pooling | None = None,
) -> bool:
    """Writes config.json, model.safetensors (float32) and the tokenizer's files.

    A decoder keeps its language-model head, if it has one. With a classification head that transformers computes too,
    `AutoModelForSequenceClassification` gives the same logits; a decoder's folder still loads as a language model.
    Reading the folder gives the same parameters, bit for bit; only a Gemma's norm scales below one half, which its
    format keeps minus one, may change by 3e-8.

    Args:
      pretrained: its parameters, and its unembedding, may have been trained since; adapters must be merged
        (`params.merge_lora`).
      head: the kernel of a classifier's head, or the parameters of a pretrained one (`heads.read`).
      pooling: the hidden state that the head reads; None is the model's own, as in `Classifier`. Where it is not the
        family's, the folder is one of sentence-transformers, too.

    Returns:
      Whether transformers scores `head` alike. Where it does not (new heads of encoders, which it gives one more layer,
      and heads on a mean or on the first token) the head is written as `head.npy`, [dimensions, classes].

    Raises:
      UserError: the model was cut to its first layers, or the folder is not empty.
    """
    folder, config = Path(folder), pretrained.config
    family = families.of(config)
    described = {**_special_ids(pretrained.name), **families.to_hf(config), "dtype": "float32"}
    require_new(folder)
    default = config.default_pooling
    stated = pooling or config.pooling
    form = form_of(pretrained, head, stated or default)
    described["architectures"] = [family.model_class if form is None else form.model_class or family.classifier_class]
    prefix = family.prefix if form is None or form.prefix is None else form.prefix
    tensors = {prefix + name: array for name, array in _backbone(pretrained.params, config)}
    if not config.is_encoder and not config.tied_embeddings:
        table = pretrained.unembedding
        if table is None and (form is None or models.has_unembedding(pretrained.name)):
            table = models.unembedding(pretrained.name)
        if table is not None:  # a classifier of texts may have been published without one
            tensors[family.unembedding] = np.asarray(table)
    if head is not None and form is not None:
        tensors |= head_tensors(form, head)
        count = len(tensors[form.tensors["kernel"]])
        described |= dict(form.settings)
        described["id2label"] = {str(label): f"LABEL_{label}" for label in range(count)}
    write_tensors(folder / "model.safetensors", tensors)
    if stated is not None and (stated != default or config.pooling is not None) and not (form and form.dense):
        sentences.write(folder, stated, config.hidden_size)
    if head is not None and form is None:
        write_head(folder, head)
    write_tokenizer(pretrained, folder, described)
    files.write_json(folder / "config.json", described)
    return form is not None


def head_tensors(form: HeadForm, head: Any) -> dict[str, np.ndarray]:
    """A head's tensors by name: of a kernel, or of all parameters of a pretrained head."""
    params = head if isinstance(head, Mapping) else {"kernel": head}
    leaves = {path_of(keys): leaf for keys, leaf in jax.tree_util.tree_leaves_with_path(dict(params))}
    return {form.tensors[path]: np.ascontiguousarray(np.asarray(leaf, np.float32).T) for path, leaf in leaves.items()}


def write_head(folder: Path, head: Any) -> None:
    """Writes the kernel of a head that transformers would compute otherwise, [dimensions, classes]."""
    kernel = np.asarray(head["kernel"] if isinstance(head, Mapping) else head, np.float32)
    with files.atomic(folder / "head.npy") as temporary, temporary.open("wb") as handle:
        np.save(handle, kernel, allow_pickle=False)


def form_of(pretrained: Pretrained, head: Any, pooling: Pooling) -> HeadForm | None:
    """The form in which transformers scores a head alike, if there is one."""
    if head is None:
        return None
    whole = isinstance(head, Mapping) and "dense" in head
    form = (
        heads.known_form(pretrained.name, pretrained.config) if whole else families.of(pretrained.config).head_form({})
    )
    if form is None:
        return None
    return form if whole or (form.dense is None and pooling == form.pooling) else None


def _backbone(params: Mapping[str, Any], config: ModelConfig) -> Iterator[tuple[str, np.ndarray]]:
    """Every tensor of the backbone by plain name."""
    leaves = {path_of(keys): leaf for keys, leaf in jax.tree_util.tree_leaves_with_path(params)}
    for row in families.of(config).tensors(config):
        for place in row.places(config):
            parts = []
            for path in row.paths:
                ours = np.asarray(leaves[path][place], np.float32)
                parts.append(ours.reshape(tensor_table.flat_shape(path, ours.shape)))
            yield row.at(place), row.layout.theirs(parts, config)


def _special_ids(source: str) -> dict[str, Any]:
    """The ids that config.json states besides the architecture. Batches need one that pads: if there is none, the last
    token of a text does."""
    found = models.locate(source)
    if found.config is None:
        given = gguf_files.read(*found.weights).header.metadata
        theirs = {"bos": "bos", "eos": "eos", "pad": "padding"}
        ids = {f"{ours}_token_id": given.get(f"tokenizer.ggml.{name}_token_id") for ours, name in theirs.items()}
    else:
        given = files.read_json(found.config) if isinstance(found.config, Path) else {}
        ids = {name: given.get(name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    if ids["pad_token_id"] is None:
        last = ids["eos_token_id"]
        ids["pad_token_id"] = last[0] if isinstance(last, list) else last
    if found.config is None:  # what it does not state is not transformers' default, which may be beyond the vocabulary
        return ids
    return {name: value for name, value in ids.items() if value is not None}


def require_new(folder: Path) -> None:
    """That nothing would be overwritten.

    Raises:
      UserError: the folder is not empty.
    """
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty; give a new folder")


def write_tensors(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    from safetensors.numpy import save_file

    whole = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    with files.atomic(path) as temporary:
        save_file(whole, temporary, metadata={"format": "pt"})


def write_tokenizer(pretrained: Pretrained, folder: Path, described: Mapping[str, Any]) -> None:
    """The source's own files; of what it lacks, what our tokenizer knows."""
    source = models.locate(pretrained.name).folder
    for name in TOKENIZER_FILES:
        if (source / name).exists():
            shutil.copyfile(source / name, folder / name)
    inner = pretrained.tokenizer.inner
    if not (folder / "tokenizer.json").exists():
        files.write_text(folder / "tokenizer.json", inner.to_str())
    if not (folder / "tokenizer_config.json").exists():
        ids = {name: described.get(f"{name}_id") for name in ("bos_token", "eos_token", "pad_token")}
        known = {name: inner.id_to_token(index) for name, index in ids.items() if isinstance(index, int)}
        about = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": pretrained.config.max_positions}
        files.write_json(folder / "tokenizer_config.json", {**about, **known})
