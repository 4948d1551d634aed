"""Weak labels beside what a linear probe, trained on other rows, makes of the student's hidden states."""

import numpy as np
from jaxtyping import Float

from w2s_jax import losses
from w2s_jax.errors import UserError
from w2s_jax.labelwork.neighbours import drop_farthest
from w2s_jax.labelwork.steps import Labels, relabelled

STEPS = 200
_CROSS_ENTROPY = losses.bind(losses.cross_entropy)


def logistic_relabel(
    weak: Float[np.ndarray, "n c"],
    *,
    features: Float[np.ndarray, "n d"],
    seed: int,
    l2: float = 1e-2,
    folds: int = 5,
) -> Labels:
    """What logistic regression on the weak labels of the other folds says of every row (EleutherAI 2024, l2 = 1e-2).

    Args:
      l2: of weights on standardised features, >= 0; see `fit_probes`.
      folds: 2 or more. In-sample, as EleutherAI/w2s has it, a probe of many features repeats the labels it was given.
    """
    return relabelled(_out_of_fold(weak, features, seed, l2, folds))


def logistic_filter(
    weak: Float[np.ndarray, "n c"],
    *,
    features: Float[np.ndarray, "n d"],
    seed: int,
    l2: float = 1e-2,
    folds: int = 5,
    drop: float = 0.1,
) -> Labels:
    """Drops the share of rows whose weak label is farthest from what `logistic_relabel` says (EleutherAI 2024).

    Args:
      l2, folds: as in `logistic_relabel`.
      drop: in [0, 1), the share that is dropped.
    """
    return drop_farthest(weak, _out_of_fold(weak, features, seed, l2, folds), drop)


def _out_of_fold(
    weak: Float[np.ndarray, "n c"], features: Float[np.ndarray, "n d"], seed: int, l2: float, folds: int
) -> Float[np.ndarray, "n c"]:
    from w2s_jax.train.probe import fit_probes, predict_probes

    n = len(weak)
    if not 2 <= folds <= n:
        raise UserError(f"folds must be from 2 to the {n} rows, not {folds}")
    fold = np.random.default_rng(seed).permutation(n) % folds
    others = [np.flatnonzero(fold != index) for index in range(folds)]
    rows = np.full((folds, max(map(len, others))), -1, np.int32)
    for index, taken in enumerate(others):
        rows[index, : len(taken)] = taken
    targets = np.broadcast_to(np.asarray(weak, np.float32), (folds, *weak.shape))
    fitted = fit_probes(
        features, targets, _CROSS_ENTROPY, steps=STEPS, batch_size=None, learning_rate=3e-2, weight_decay=l2, rows=rows
    )
    logits = np.asarray(predict_probes(features, fitted.weights, fitted.biases))[fold, np.arange(n)]
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)
