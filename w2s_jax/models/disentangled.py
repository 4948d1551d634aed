"""Disentangled attention (DeBERTa, He et al. 2020, arXiv 2006.03654): scores of what tokens say and of how far apart.

Besides `Q_i K_j` a score has `Q_i K(i - j)`, a query and its distance to the key (content to position), and
`K_j Q(i - j)`, a key and that distance (position to content). `Q(d)` and `K(d)` are a distance's learned vector under
the maps of tokens. Distances lie in buckets, the far ones in wide ones.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from w2s_jax.models.config import Relative


def distance_rows(relative: Relative, length: int) -> Int[np.ndarray, " r"]:
    """For each distance from `1 - length` to `length - 1` its row in the table of `2 buckets` vectors.

    Up to half the buckets, each distance has its own; the others are even on a logarithmic scale up to `furthest`. In
    float32, as transformers computes them: where a bucket begins may hang on the last bit.
    """
    distances, half = np.arange(1 - length, length), relative.buckets // 2
    sizes = np.maximum(np.abs(distances), 1).astype(np.float32)
    whole = np.log(np.float32((relative.furthest - 1) / half))
    far = np.ceil(np.log(sizes / np.float32(half)) / whole * np.float32(half - 1)) + half
    buckets = np.where(np.abs(distances) <= half, distances, np.sign(distances) * far).astype(np.int32)
    return np.clip(buckets + relative.buckets, 0, 2 * relative.buckets - 1)


def position_scores(
    query: Float[Array, "b t h k"],
    key: Float[Array, "b t h k"],
    distance_query: Float[Array, "r h k"],
    distance_key: Float[Array, "r h k"],
) -> Float[Array, "b h t t"]:
    """Both scores of distances, float32; queries are rows.

    Every token meets every distance in one matrix product, of which each row is then moved to its own place: no gather,
    whose backward pass would add numbers up one by one, in an order of the device's choice.

    Args:
      distance_query, distance_key: R = 2 T - 1 distances, the most negative first.
    """
    to_position = jnp.einsum("bthk,rhk->bhtr", query, distance_key[::-1])
    to_content = jnp.einsum("bthk,rhk->bhtr", key, distance_query)
    return (_moved(to_position) + jnp.swapaxes(_moved(to_content), -1, -2)).astype(jnp.float32)


def _moved(x: Float[Array, "b h t r"]) -> Float[Array, "b h t t"]:
    """`y[i, j] = x[i, j - i + T - 1]`: with one more column, each row begins one place earlier than the one before."""
    length = x.shape[-2]
    flat = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, 1))).reshape(*x.shape[:-2], -1)
    rows = flat[..., length - 1 : length - 1 + length * (2 * length - 1)]
    return rows.reshape(*x.shape[:-1], 2 * length - 1)[..., :length]
