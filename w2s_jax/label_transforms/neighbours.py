"""Weak labels compared with those of the nearest examples in the student's hidden states."""

import numpy as np
from jaxtyping import Float, Int

from w2s_jax.label_transforms.base import LABEL_TRANSFORMS, TransformedLabels, drop_farthest, kept, relabelled
from w2s_jax.runtime.checks import check_count, check_range
from w2s_jax.runtime.errors import UserError


@LABEL_TRANSFORMS.register
def knn_relabel(
    weak: Float[np.ndarray, "n c"], *, features: Float[np.ndarray, "n d"], k: int = 50
) -> TransformedLabels:
    """Relabels every example with the mean of the weak labels of its k nearest other examples (Euclidean distance).

    An example is not its own neighbour: EleutherAI/w2s counts it, which pulls every label towards itself.

    Args:
      k: neighbours, 1 or more; all other examples where there are fewer.

    Raises:
      UserError: k is out of range, or there are fewer than two examples.

    References:
      EleutherAI 2024, https://github.com/EleutherAI/w2s.
    """
    return relabelled(weak[neighbours(features, k)[1]].mean(axis=1))


@LABEL_TRANSFORMS.register
def knn_filter(
    weak: Float[np.ndarray, "n c"], *, features: Float[np.ndarray, "n d"], k: int = 50, drop: float = 0.1
) -> TransformedLabels:
    """Drops the share of examples whose weak label is farthest from the mean of their neighbours'.

    Args:
      k: neighbours, as in `knn_relabel`.
      drop: in [0, 1), the share that is dropped.

    Raises:
      UserError: a hyperparameter is out of range, or there are fewer than two examples.

    References:
      EleutherAI 2024, https://github.com/EleutherAI/w2s.
    """
    return drop_farthest(weak, weak[neighbours(features, k)[1]].mean(axis=1), drop)


@LABEL_TRANSFORMS.register
def topo_filter(
    weak: Float[np.ndarray, "n c"], *, features: Float[np.ndarray, "n d"], k: int = 50, zeta: float = 0.5
) -> TransformedLabels:
    """TopoFilter: keeps the largest connected component of each weak class, without the examples at its border.

    Every example has edges to its k nearest other examples; a class keeps the edges between its own examples. Of those
    in the largest strongly connected component of each class, an example stays if at least the share zeta of its k
    nearest (among them) has its class. EleutherAI/w2s has the same components, which alone often drop more than it
    allows; where they do not, it fills up to 10% of all examples with those farthest from their neighbours' labels.

    Args:
      k: neighbours, 1 or more.
      zeta: in [0, 1]; 0 keeps the components whole.

    Raises:
      UserError: a hyperparameter is out of range, or there are fewer than two examples.

    References:
      Wu et al. 2020, A Topological Filter for Learning with Label Noise, arXiv 2012.04835.
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
    """Distances to the k nearest other examples of every example, and which they are.

    Raises:
      UserError: k is out of range, or there are fewer than two examples.
    """
    from sklearn.neighbors import NearestNeighbors

    check_count("k", k)
    if len(features) < 2:
        raise UserError("neighbours need at least two examples")
    return NearestNeighbors(n_neighbors=min(k, len(features) - 1)).fit(features).kneighbors()
