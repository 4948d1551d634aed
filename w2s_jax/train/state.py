"""What training changes, as one frozen pytree."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jax.sharding import NamedSharding, PartitionSpec

from w2s_jax.models.params import Params


class TrainState(flax.struct.PyTreeNode):
    """All that a step reads and replaces.

    Attributes:
      step: int32 scalar, steps taken.
      params: the parameters that train, and only those.
      opt_state: of the optax transformation.
      rng: typed key; step t uses `fold_in(rng, t)`, so that it stays the same.
    """

    step: Any
    params: Params
    opt_state: Any
    rng: Any


def create(params: Any, tx: optax.GradientTransformation, rng: jax.Array, *, donate: bool = False) -> TrainState:
    """The state before the first step. Optimizer state is placed as its parameter is; the rest is on every device of
    the parameters' mesh.

    Args:
      params, rng: stay the caller's: steps donate the state, so it has copies.
      donate: the state takes `params` instead, so that no device ever holds them twice.
    """
    params = jax.tree.map(jnp.asarray, params)
    make = jax.jit(
        lambda params, rng: TrainState(jnp.int32(0), jax.tree.map(jnp.copy, params), tx.init(params), jnp.copy(rng)),
        donate_argnums=(0,) if donate else (),
        out_shardings=_shardings(params, tx),
    )
    return make(params, rng)


def abstract(params: Params, tx: optax.GradientTransformation) -> TrainState:
    """What `create` gives, as shapes with shardings; `params` are such shapes too."""
    make = jax.eval_shape(lambda params: TrainState(jnp.int32(0), params, tx.init(params), jax.random.key(0)), params)
    return jax.tree.map(
        lambda leaf, where: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where), make, _shardings(params, tx)
    )


def state_shardings(state: TrainState) -> TrainState:
    """The same tree with each array's sharding in its place."""
    return jax.tree.map(lambda leaf: leaf.sharding, state)


def _shardings(params: Any, tx: optax.GradientTransformation) -> TrainState:
    """Where each part of the state is placed. Factored moments, smaller than their parameter, are replicated."""
    elsewhere: Any = jax.tree.leaves(params)[0].sharding
    if isinstance(elsewhere, NamedSharding):
        elsewhere = NamedSharding(elsewhere.mesh, PartitionSpec())

    def beside(moment: Any, param: Any) -> jax.sharding.Sharding:
        return param.sharding if moment.shape == param.shape else elsewhere

    opt_state = optax.tree.map_params(
        tx, beside, jax.eval_shape(tx.init, params), params, transform_non_params=lambda _: elsewhere
    )
    return TrainState(elsewhere, jax.tree.map(lambda leaf: leaf.sharding, params), opt_state, elsewhere)
