"""Products of activations with weights, in the type of the computation and summed in float32."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from w2s_jax.models import attention


def times(x: Float[Array, "... i"], kernel: Float[Array, "i o"]) -> Float[Array, "... o"]:
    """`x W`, in the type of x.

    Accelerators sum 16-bit products in float32 by themselves. A CPU rounds each, or widens its inputs first, and takes
    twice the time of a product that is asked for as float32.
    """
    if x.dtype == jnp.bfloat16 and attention.target().platform == "cpu":
        return _summed_wide(x, kernel)
    return x @ kernel.astype(x.dtype)


@jax.custom_vjp
def _summed_wide(x: Float[Array, "... i"], kernel: Float[Array, "i o"]) -> Float[Array, "... o"]:
    return _wide(x, kernel.astype(x.dtype), x.ndim - 1, 0).astype(x.dtype)


def _forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return _summed_wide(x, kernel), (x, kernel)


def _backward(kept: tuple[Array, Array], slope: Array) -> tuple[Array, Array]:
    x, kernel = kept
    flat, slopes = x.reshape(-1, x.shape[-1]), slope.reshape(-1, slope.shape[-1])
    to_x = _wide(slope, kernel.astype(x.dtype), slope.ndim - 1, 1).astype(x.dtype)
    return to_x, _wide(flat, slopes, 0, 0).astype(kernel.dtype)


_summed_wide.defvjp(_forward, _backward)


def _wide(a: Array, b: Array, axis: int, other: int) -> Array:
    """The product along an axis of each, as float32."""
    return jax.lax.dot_general(a, b, (((axis,), (other,)), ((), ())), preferred_element_type=jnp.float32)
