"""Rows of tokens without their padding, one after another: what works on each token alone then works on no other.

Only attention needs rows. It spreads its heads over padded rows and packs what comes out, so tokens of two examples
never meet, whichever kernel computes it (as ModernBERT's unpadding does, Warner et al. 2024, arXiv 2412.13663).
"""

from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Shaped


class Packing(NamedTuple):
    """How much room a batch's tokens take.

    Attributes:
      groups: pieces that the rows are cut into, in order, each packed by itself; one for each device.
      size: N, the tokens that a group has room for; no group may have more.
    """

    groups: int
    size: int


class Layout(flax.struct.PyTreeNode):
    """Where each token of G groups of R rows lies.

    Attributes:
      places: of each position of the padded rows, among its group's tokens; N where it holds none.
      sources: of each token, among its group's R * T padded positions; R * T where there is no token.
      positions: of each token in its own row.
    """

    places: Int[Array, "g r t"]
    sources: Int[Array, "g n"]
    positions: Int[Array, "g n"]


def layout(lengths: Int[Array | np.ndarray, " b"], length: int, packing: Packing) -> Layout:
    """The layout of rows padded to `length`, of which the first `lengths` tokens are real."""
    counts = jnp.asarray(lengths).reshape(packing.groups, -1)
    ends = jnp.cumsum(counts, axis=1)
    starts, place, token = ends - counts, jnp.arange(length), jnp.arange(packing.size)
    places = jnp.where(place < counts[..., None], starts[..., None] + place, packing.size)
    row = jnp.sum(token[:, None] >= ends[:, None, :], axis=-1)
    last = counts.shape[1] - 1
    positions = jnp.clip(token - jnp.take_along_axis(starts, jnp.minimum(row, last), axis=1), 0, length - 1)
    sources = jnp.where(row <= last, row * length + positions, counts.shape[1] * length)
    return Layout(places, sources, positions)


def pack(rows: Shaped[Array, "b t *f"], where: Layout) -> Shaped[Array, "g n *f"]:
    """The rows' tokens, one after another; room that is left is 0."""
    groups, features = len(where.places), rows.shape[2:]
    flat = rows.reshape(groups, -1, int(np.prod(features)))
    moved = move(flat, where.sources, where.places.reshape(groups, -1))
    return moved.reshape(*moved.shape[:2], *features)


def spread(tokens: Shaped[Array, "g n *f"], where: Layout) -> Shaped[Array, "b t *f"]:
    """The padded rows again; padding is 0."""
    groups, rows, length = where.places.shape
    features = tokens.shape[2:]
    flat = tokens.reshape(*tokens.shape[:2], int(np.prod(features)))
    moved = move(flat, where.places.reshape(groups, -1), where.sources)
    return moved.reshape(groups * rows, length, *features)


@jax.custom_vjp
def move(x: Array, there: Array, back: Array) -> Array:
    """`x[g, there[g]]`, 0 where that is out of range. Its inverse is known, so the backward pass gathers too."""
    return jax.vmap(lambda x, there: jnp.take(x, there, axis=0, mode="fill", fill_value=0))(x, there)


def _move_forward(x: Array, there: Array, back: Array) -> tuple[Array, Any]:
    return move(x, there, back), (there, back)


def _move_backward(indices: Any, gradient: Array) -> tuple[Array, None, None]:
    there, back = indices
    return move(gradient, back, there), None, None


move.defvjp(_move_forward, _move_backward)
