"""One vector from a row's hidden states."""

from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

Pooling = Literal["last", "mean", "cls"]


def pool(hidden: Float[Array, "b t d"], lengths: Int[Array, " b"], pooling: Pooling) -> Float[Array, "b d"]:
    """The last real token's state, the first one's (`cls`), or the mean of all real ones (in float32).

    A row of length 0 gives the first token's state, or 0 for the mean.
    """
    if pooling == "cls":
        return hidden[:, 0]
    if pooling == "last":
        index = jnp.maximum(lengths - 1, 0)
        return jnp.take_along_axis(hidden, index[:, None, None], axis=1)[:, 0]
    real = jnp.arange(hidden.shape[1])[None, :, None] < lengths[:, None, None]
    total = jnp.sum(jnp.where(real, hidden.astype(jnp.float32), 0.0), axis=1)
    return (total / jnp.maximum(lengths, 1)[:, None]).astype(hidden.dtype)
