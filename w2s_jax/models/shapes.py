"""A module's parameters before they exist: their shapes, and where each is placed on a mesh."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.sharding import AbstractMesh, Mesh

from w2s_jax.models.classifier import Classifier
from w2s_jax.models.language_model import LanguageModel
from w2s_jax.models.params import Params
from w2s_jax.models.preference import PreferenceModel
from w2s_jax.runtime import sharding

Model = Classifier | LanguageModel
Boxed = Any  # nested dicts of arrays, or of their shapes, in the Flax boxes that name their logical axes


def initial(module: Model, key: jax.Array) -> Boxed:
    """All of the module's parameters, fresh."""
    rows = module.candidates if isinstance(module, PreferenceModel) else 1
    return module.init(key, jnp.zeros((rows, 2), jnp.int32), jnp.full(rows, 2, jnp.int32))["params"]


@functools.lru_cache(maxsize=64)  # tracing a module takes longer than reading a small model
def boxed_shapes(module: Model) -> Boxed:
    """The module's parameters as shapes, in their boxes."""
    return jax.eval_shape(lambda: initial(module, jax.random.key(0)))


def shardings(module: Model, mesh: Mesh | AbstractMesh | None) -> Any:
    """Where each of the module's parameters is placed: nested dict of shardings."""
    return sharding.param_shardings(boxed_shapes(module), mesh)


def placed_shapes(module: Model, mesh: Mesh | AbstractMesh | None) -> Params:
    """The module's parameters as `jax.ShapeDtypeStruct`, each with its sharding."""
    boxed = boxed_shapes(module)
    return jax.tree.map(
        lambda leaf, where: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where),
        nn.unbox(boxed),
        sharding.param_shardings(boxed, mesh),
    )
