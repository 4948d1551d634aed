"""Weights: how much each example counts, `(probs [B, C], targets [B, C], *, context) -> [B]`."""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from w2s_jax.losses.algebra import Weight
from w2s_jax.losses.base import Where


def inside_window(radius: float) -> Weight:
    """1 where the student's largest probability is below 1/2 + radius, else 0.

    >>> inside_window(0.15)(jnp.array([[0.4, 0.6], [0.1, 0.9]]), jnp.array([[0.5, 0.5], [0.5, 0.5]]))
    Array([1., 0.], dtype=float32)

    Args:
      radius: in [0, 0.5].
    """
    return lambda probs, targets: (jnp.max(probs, axis=-1) < 0.5 + radius).astype(jnp.float32)


def inside_midweak_window(
    probs: Float[Array, "b c"], targets: Float[Array, "b c"], *, where: Where
) -> Float[Array, " b"]:
    """1 where the student's largest probability is below the valid examples' median of the weak labels' largest."""
    confidence = jnp.max(targets, axis=-1)
    median = jnp.nanmedian(jnp.where(where, confidence, jnp.nan))
    return (jnp.max(probs, axis=-1) < median).astype(jnp.float32)
