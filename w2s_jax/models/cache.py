"""What a decoder keeps of the tokens it has read: their keys and values, so that what follows them need not read them.

A past is a tuple of caches: each key knows its position, and attention looks at that alone. So rows of different
lengths lie side by side, and what all rows begin with is read and kept once. The first one was read first
(`first_read`); the others are in any order.
"""

from collections.abc import Sequence

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class Cache(flax.struct.PyTreeNode):
    """Of L layers and B rows of S places.

    Attributes:
      keys, values: of G key heads of K dimensions, keys rotated. B is 1 where all rows share them.
      positions: of each place's token in its row; -1 where there is none.
    """

    keys: Float[Array, "l b s g k"]
    values: Float[Array, "l b s g k"]
    positions: Int[Array, "b s"]

    def room(self, count: int) -> "Cache":
        """Of the same rows: so many places, without tokens yet."""
        shape = (*self.keys.shape[:2], count, *self.keys.shape[3:])
        empty = jnp.zeros(shape, self.keys.dtype)
        return Cache(empty, empty, jnp.full((shape[1], count), -1, self.positions.dtype))

    def write(self, other: "Cache", place: Int[Array, ""] | int) -> "Cache":
        """With the tokens of `other` from `place` on."""
        keys, values = (
            jax.lax.dynamic_update_slice_in_dim(mine, new, place, axis=2)
            for mine, new in ((self.keys, other.keys), (self.values, other.values))
        )
        return Cache(keys, values, jax.lax.dynamic_update_slice_in_dim(self.positions, other.positions, place, axis=1))


Past = Sequence[Cache]


def positions_after(past: Past, lengths: Int[Array, " b"], length: int) -> Int[Array, "b t"]:
    """The positions of so many more tokens of each row, of which the first `lengths` are real; -1 of the others."""
    before = sum((jnp.sum(cache.positions >= 0, axis=1) for cache in past), jnp.zeros(1, jnp.int32))
    place = jnp.arange(length)
    return jnp.where(place < lengths[:, None], before[:, None] + place, -1)


def first_read(past: Past, lengths: Int[Array, " b"]) -> Int[Array, " b"]:
    """How many tokens of each row were read first: those of the past's first cache, or these if it has none.

    Where rotary positions depend on a text's length, this decides them, and what follows keeps them: keys and values of
    the past could not be changed any more.
    """
    if not past:
        return lengths
    before = jnp.sum(past[0].positions >= 0, axis=1)
    return jnp.where(before == 0, lengths, before)


def joined(past: Sequence[Array], new: Array) -> Array:
    """Rows [B or 1, S, ...] of the past, and after them the new ones [B, T, ...]."""
    return jnp.concatenate([*(jnp.broadcast_to(old, (len(new), *old.shape[1:])) for old in past), new], axis=1)
