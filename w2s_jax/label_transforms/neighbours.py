"""Weak labels beside those of the nearest rows in the student's hidden states."""

import numpy as np
from jaxtyping import Float, Int

from w2s_jax.label_transforms.steps import Labels, check_count, check_range, drop_farthest, kept, relabelled
from w2s_jax.runtime.errors import UserError


def knn_relabel(weak: Float[np.ndarray, "n c"], *, features: Float[np.ndarray, "n d"], k: int = 50) -> Labels:
    """The mean of the weak labels of the k nearest other rows (EleutherAI 2024; Euclidean distance).

    A row is not its own neighbour: EleutherAI/w2s counts it, which pulls every label towards itself.

    Args:
      k: neighbours, 1 or more; all other rows where there are not so many.
    """
    return relabelled(weak[neighbours(features, k)[1]].mean(axis=1))


def knn_filter(
    weak: Float[np.ndarray, "n c"], *, features: Float[np.ndarray, "n d"], k: int = 50, drop: float = 0.1
) -> Labels:
    """Drops the share of rows whose weak label is farthest from the mean of their neighbours' (EleutherAI 2024).

    Args:
      k: neighbours, as in `knn_relabel`.
      drop: in [0, 1), the share that is dropped.
    """
    return drop_farthest(weak, weak[neighbours(features, k)[1]].mean(axis=1), drop)


def topo_filter(
    weak: Float[np.ndarray, "n c"], *, features: Float[np.ndarray, "n d"], k: int = 50, zeta: float = 0.5
) -> Labels:
    """Keeps the largest strongly connected component of each weak class, and of these rows those among their like.

    Every row has edges to its k nearest other rows; a class keeps the edges between its own rows. Of the rows in the
    largest components, those stay of whose k nearest (among these rows) at least the share zeta has the same class
    (TopoFilter, Wu et al. 2020). EleutherAI/w2s has the same components, which alone often drop more than it allows;
    where they do not, it fills up to 10% of all rows with those farthest from their neighbours' labels.

    Args:
      k: neighbours, 1 or more.
      zeta: in [0, 1]; 0 keeps the components whole.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    check_range("zeta", zeta, 0, 1)
    n, classes = len(weak), weak.argmax(axis=1)
    near = neighbours(features, k)[1]
    starts, ends = np.repeat(np.arange(n), near.shape[1]), near.ravel()
    inside = classes[starts] == classes[ends]
    graph = csr_array((np.ones(inside.sum()), (starts[inside], ends[inside])), shape=(n, n))
    component = connected_components(graph, directed=True, connection="strong")[1]
    keep = np.zeros(n, bool)
    for label in np.unique(classes):
        own = classes == label
        keep |= own & (component == np.bincount(component[own]).argmax())
    core = np.flatnonzero(keep)
    if zeta > 0 and len(core) > 1:
        around = classes[core][neighbours(features[core], k)[1]]
        keep[core] = (around == classes[core][:, None]).mean(axis=1) >= zeta
    return kept(weak, keep)


def neighbours(features: Float[np.ndarray, "n d"], k: int) -> tuple[Float[np.ndarray, "n k"], Int[np.ndarray, "n k"]]:
    """Distances to the k nearest other rows of every row, and which they are."""
    from sklearn.neighbors import NearestNeighbors

    check_count("k", k)
    if len(features) < 2:
        raise UserError("neighbours need at least two rows")
    return NearestNeighbors(n_neighbors=min(k, len(features) - 1)).fit(features).kneighbors()
