"""Models in Flax, and checkpoints in and out.

`pretrained` reads and hashes published models, which `sources` finds; `build` puts them under a head or makes language
models of them. `classifier`, `language_model` and `preference` are those modules, of `decoder`, `encoder`, `layers`,
`attention`; `families` has one file for each family of models (its config and the names of its tensors), `config` what
they have in common, and `catalogue` the models that have a name. `params` groups and merges parameters.

How a model is found and read: `sources` says what a name stands for, `folders`, `hub_files` and `sentences` which files
of a folder or a repository are the model; `reading` opens its tensors under plain names (`tensor_names`), whatever they
are kept in (`weights`, `onnx_weights`, `float8`), with `adapters` merged; `assembly` lays them out by a `tensor_table`.
`heads` reads what a published classifier was trained with. `export` and `adapter_export` write folders, `tokenizer`
reads texts.
"""

from w2s_jax.models.build import (
    build_classifier,
    build_language_model,
    build_preference_model,
    check_preference,
    with_pretrained,
    with_pretrained_each,
)
from w2s_jax.models.catalogue import MODELS
from w2s_jax.models.chat import fingerprint as chat_fingerprint
from w2s_jax.models.folders import Files
from w2s_jax.models.heads import check as check_head
from w2s_jax.models.heads import classes
from w2s_jax.models.heads import form as head_form
from w2s_jax.models.pretrained import (
    Pretrained,
    cut,
    describe,
    fingerprint,
    forget,
    has_unembedding,
    load,
    load_sharded,
    origin,
    outline,
    plain,
    rounded,
    size,
    unembedding,
)
from w2s_jax.models.shapes import Model, boxed_shapes, placed_shapes, shardings
from w2s_jax.models.sources import locate

__all__ = [
    "MODELS",
    "Files",
    "Model",
    "Pretrained",
    "boxed_shapes",
    "build_classifier",
    "build_language_model",
    "build_preference_model",
    "chat_fingerprint",
    "check_head",
    "check_preference",
    "classes",
    "cut",
    "describe",
    "fingerprint",
    "forget",
    "has_unembedding",
    "head_form",
    "load",
    "load_sharded",
    "locate",
    "origin",
    "outline",
    "placed_shapes",
    "plain",
    "rounded",
    "shardings",
    "size",
    "unembedding",
    "with_pretrained",
    "with_pretrained_each",
]
