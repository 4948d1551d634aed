"""Models in Flax, and checkpoints in and out.

`pretrained` finds, reads and hashes published models; `build` puts them under a head or makes language models of them.
`classifier`, `language_model` and `preference` are those modules, of `decoder`, `encoder`, `layers`, `attention`;
`families` has one file for each family of models (its config and the names of its tensors), `config` what they have in
common, and `catalogue` the models that have a name. `params` groups and merges parameters; `weights`, `assembly`,
`tensor_table` and `export` read and write tensors, `tokenizer` texts.
"""

from w2s_jax.models.build import (
    build_classifier,
    build_language_model,
    build_preference_model,
    check_preference,
    with_pretrained,
)
from w2s_jax.models.catalogue import MODELS
from w2s_jax.models.pretrained import (
    Files,
    Pretrained,
    cut,
    describe,
    fingerprint,
    forget,
    load,
    load_sharded,
    locate,
    origin,
    outline,
    size,
    unembedding,
)
from w2s_jax.models.shapes import Model, boxed_shapes, placed_shapes, shardings

__all__ = [
    "MODELS",
    "Files",
    "Model",
    "Pretrained",
    "boxed_shapes",
    "build_classifier",
    "build_language_model",
    "build_preference_model",
    "check_preference",
    "cut",
    "describe",
    "fingerprint",
    "forget",
    "load",
    "load_sharded",
    "locate",
    "origin",
    "outline",
    "placed_shapes",
    "shardings",
    "size",
    "unembedding",
    "with_pretrained",
]
