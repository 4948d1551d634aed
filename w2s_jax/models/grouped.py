"""Products of rows with the matrix of their group, and the gradient of the matrices."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

BLOCK = 512  # rows of one product in the gradient of matrices


@jax.custom_vjp
def product(rows: Float[Array, "m i"], matrices: Float[Array, "g i o"], sizes: Int[Array, " g"]) -> Float[Array, "m o"]:
    """The first `sizes[0]` rows times the first matrix, the next `sizes[1]` times the second, and so on.

    Rows after those of the last group may come out as anything.
    """
    return _ragged(rows, matrices, sizes)


@jax.custom_batching.sequential_vmap
def _ragged(rows: Array, matrices: Array, sizes: Array) -> Array:
    """JAX does not batch it: jobs that train together come one after another here."""
    return jax.lax.ragged_dot(rows, matrices, sizes)


def _forward(rows: Array, matrices: Array, sizes: Array) -> tuple[Array, Any]:
    return product(rows, matrices, sizes), (rows, matrices, sizes)


def _backward(saved: Any, gradient: Array) -> tuple[Array, Array, None]:
    rows, matrices, sizes = saved
    of_rows = _ragged(gradient, matrices.swapaxes(1, 2), sizes)
    return of_rows, outer(rows, gradient, jnp.zeros_like(matrices, jnp.float32), sizes).astype(matrices.dtype), None


product.defvjp(_forward, _backward)


def outer(
    left: Float[Array, "m i"], right: Float[Array, "m o"], start: Float[Array, "g i o"], sizes: Int[Array, " g"]
) -> Float[Array, "g i o"]:
    """Adds `left.T @ right` of each group's rows to its matrix of `start`.

    Of `ragged_dot` XLA makes a product of every group with all rows here, G times the work, on TPUs too. This is a loop
    over blocks of rows, in which a block with rows of several groups comes once for each, at most `m / BLOCK + G` turns
    in all. Those that are left multiply nothing.
    """
    groups, count = len(sizes), -(-len(left) // BLOCK)
    left, right = (jnp.pad(each, ((0, count * BLOCK - len(each)), (0, 0))) for each in (left, right))
    ends = jnp.cumsum(sizes)
    starts = ends - sizes
    blocks = jnp.where(sizes > 0, -(-ends // BLOCK) - starts // BLOCK, 0)  # that have rows of a group
    turns = jnp.cumsum(blocks)

    def turn(sums: Array, index: Array) -> tuple[Array, None]:
        group = jnp.minimum(jnp.sum(turns <= index), groups - 1)
        first = (starts[group] // BLOCK + index - (turns[group] - blocks[group])) * BLOCK
        row = first + jnp.arange(BLOCK)[:, None]
        mine = (row >= starts[group]) & (row < ends[group])
        here, there = (jax.lax.dynamic_slice_in_dim(each, first, BLOCK) for each in (left, right))
        here, there = (jnp.where(mine, each, 0) for each in (here, there))  # a row of no group may hold anything
        before = sums[group]

        def added() -> Array:
            return before + jnp.einsum("bi,bo->io", here, there, preferred_element_type=jnp.float32)

        after = jax.lax.cond(index < turns[-1], added, lambda: before)
        return jax.lax.dynamic_update_index_in_dim(sums, after, group, 0), None

    return jax.lax.scan(turn, start, jnp.arange(count + groups))[0]
