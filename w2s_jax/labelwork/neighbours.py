"""Weak labels beside those of the nearest rows in the student's hidden states."""

import numpy as np
from jaxtyping import Float, Int

from w2s_jax.errors import UserError
from w2s_jax.labelwork.steps import Labels, check_range, kept, relabelled


def knn_relabel(weak: Float[np.ndarray, "n c"], *, features: Float[np.ndarray, "n d"], k: int = 50) -> Labels:
    """The mean of the weak labels of the k nearest other rows (EleutherAI 2024; Euclidean distance).

    A row is not its own neighbour: EleutherAI/w2s counts it, which pulls every label towards itself.

    Args:
      k: neighbours, 1 or more; fewer where there are not so many rows.
    """
    return relabelled(weak[_neighbours(features, k)].mean(axis=1))


def knn_filter(
    weak: Float[np.ndarray, "n c"], *, features: Float[np.ndarray, "n d"], k: int = 50, drop: float = 0.1
) -> Labels:
    """Drops the share of rows whose weak label is farthest from the mean of their neighbours' (EleutherAI 2024).

    Args:
      k: neighbours, as in `knn_relabel`.
      drop: in [0, 1), the share that is dropped.
    """
    return drop_farthest(weak, weak[_neighbours(features, k)].mean(axis=1), drop)


def drop_farthest(weak: Float[np.ndarray, "n c"], other: Float[np.ndarray, "n c"], drop: float) -> Labels:
    """Without the share of rows where two labels are farthest apart, in total variation."""
    check_range("drop", drop, 0, 1 - 1e-9)
    distance = np.abs(weak - other).sum(axis=1)
    keep = np.ones(len(weak), bool)
    keep[np.argsort(-distance, kind="stable")[: round(drop * len(weak))]] = False
    return kept(weak, keep)


def topo_filter(
    weak: Float[np.ndarray, "n c"], *, features: Float[np.ndarray, "n d"], k: int = 50, zeta: float = 0.5
) -> Labels:
    """Keeps each class's largest strongly connected component of its graph of nearest neighbours, then its core.

    A row's edges lead to its k nearest rows of the same weak class. Of the rows in the largest components, those stay
    of whose k nearest (among these rows) at least a share zeta has the same class (TopoFilter, Wu et al. 2020, as
    EleutherAI 2024 uses it).

    Args:
      k: neighbours, 1 or more.
      zeta: in [0, 1]; 0 keeps the components whole.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    check_range("zeta", zeta, 0, 1)
    classes = weak.argmax(axis=1)
    keep = np.zeros(len(weak), bool)
    for label in np.unique(classes):
        rows = np.flatnonzero(classes == label)
        if len(rows) < 2:
            keep[rows] = True
            continue
        near = _neighbours(features[rows], k)
        starts = np.repeat(np.arange(len(rows)), near.shape[1])
        graph = csr_array((np.ones(near.size), (starts, near.ravel())), shape=(len(rows), len(rows)))
        _, component = connected_components(graph, directed=True, connection="strong")
        keep[rows[component == np.bincount(component).argmax()]] = True
    core = np.flatnonzero(keep)
    if zeta > 0 and len(core) > 1:
        near = _neighbours(features[core], k)
        agree = (classes[core][near] == classes[core][:, None]).mean(axis=1)
        keep[core[agree < zeta]] = False
    return kept(weak, keep)


def _neighbours(features: Float[np.ndarray, "n d"], k: int) -> Int[np.ndarray, "n k"]:
    """The k nearest other rows of every row."""
    from sklearn.neighbors import NearestNeighbors

    if k < 1:
        raise UserError(f"k must be 1 or more, not {k}")
    if len(features) < 2:
        raise UserError("neighbours need at least two rows")
    k = min(k, len(features) - 1)
    return NearestNeighbors(n_neighbors=k).fit(features).kneighbors(return_distance=False)
