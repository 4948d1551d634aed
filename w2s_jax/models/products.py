"""Products of activations with weights, in the type of the computation and summed in float32."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from w2s_jax.models.stack import kept, restored
from w2s_jax.models.target import target


def times(x: Float[Array, "... i"], kernel: Float[Array, "i o"]) -> Float[Array, "... o"]:
    """`x W`, in the type of x.

    Accelerators sum 16-bit products in float32 by themselves. A CPU rounds each, or widens its inputs first, and takes
    several times as long as for a product that is asked for as float32. Its gradients are written out: derived ones
    transpose the larger array and then their result.
    """
    if x.dtype in (jnp.float32, jnp.bfloat16) and target().platform == "cpu":
        return _summed_wide(x, kernel)
    return x @ kernel.astype(x.dtype)


@jax.custom_vjp
def _summed_wide(x: Float[Array, "... i"], kernel: Float[Array, "i o"]) -> Float[Array, "... o"]:
    return _wide(x, kernel.astype(x.dtype), x.ndim - 1, 0).astype(x.dtype)


def _forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return _summed_wide(x, kernel), kept((x, kernel))


def _backward(inputs: tuple[Array, Array], slope: Array) -> tuple[Array, Array]:
    x, kernel = restored(inputs)
    flat, slopes = x.reshape(-1, x.shape[-1]), slope.reshape(-1, slope.shape[-1])
    to_x = _wide(slope, kernel.astype(x.dtype), slope.ndim - 1, 1).astype(x.dtype)
    return to_x, _of_transposed(flat, slopes).astype(kernel.dtype)


_summed_wide.defvjp(_forward, _backward)


def _of_transposed(x: Float[Array, "n i"], slopes: Float[Array, "n o"]) -> Float[Array, "i o"]:
    """`x^T slopes`. XLA has no fast 16-bit product that reads x by columns, and folds a plain transpose into one that
    does; one of three axes it leaves alone."""
    if x.dtype == jnp.float32 or x.shape[1] % 2:
        return _wide(x, slopes, 0, 0)
    turned = jax.lax.optimization_barrier(x.reshape(len(x), 2, -1).transpose(1, 2, 0))
    return _wide(turned, slopes, 2, 0).reshape(x.shape[1], -1)


def _wide(a: Array, b: Array, axis: int, other: int) -> Array:
    """The product along an axis of each, as float32."""
    return jax.lax.dot_general(a, b, (((axis,), (other,)), ((), ())), preferred_element_type=jnp.float32)
