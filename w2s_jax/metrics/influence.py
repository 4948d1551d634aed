"""Accuracy and AUROC with how far each test example moves them, from which their errors follow.

Of a statistic t on N examples, example i has the influence `u_i`, with `sum_i u_i = 0`, such that t minus its value
over all possible examples is about the sum of the influences. Their products, summed over what is drawn independently
(groups of examples), estimate variances and covariances. Source: Hampel 1974; for AUROC DeLong et al. 1988.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from w2s_jax.metrics.base import Labels, Probs

Statistic = Literal["accuracy", "auroc"]


class Measured(NamedTuple):
    """A statistic of one model on one test set, NaN where it is undefined, and each example's influence on it."""

    value: float
    influence: Float[np.ndarray, " n"]


def accuracy_of(probs: Probs, labels: Labels) -> Measured:
    """Fraction of predictions that are right; an example's influence is `([right] - accuracy) / N`."""
    right = (np.argmax(probs, axis=-1) == labels).astype(np.float64)
    value = right.mean()
    return Measured(float(value), (right - value) / len(right))


def auroc_of(probs: Probs, labels: Labels) -> Measured:
    """Area under the ROC curve; of more than two classes the mean over those with examples, one against the rest.

    A positive's influence is (the fraction of negatives below it - area) / positives; a negative's likewise.
    """
    classes = [1] if probs.shape[1] == 2 else np.unique(labels).tolist()
    curves = [_area(in_order(probs, k), labels == k) for k in classes]
    value = float(np.mean([curve.value for curve in curves]))
    return Measured(value, np.mean([curve.influence for curve in curves], axis=0))


def in_order(probs: Probs, k: int) -> Float[np.ndarray, " n"]:
    """Scores that order examples by p_k: p_k itself and, close to 1, where it rounds, `-log(sum of the others)`."""
    own, others = probs[:, k].astype(np.float64), np.delete(probs, k, axis=1).sum(axis=1, dtype=np.float64)
    with np.errstate(divide="ignore"):
        return np.where(own < 0.999, own, -np.log(np.minimum(others, 0.0011)))


def _area(scores: Float[np.ndarray, " n"], positive: Bool[np.ndarray, " n"]) -> Measured:
    ours, theirs = scores[positive], scores[~positive]
    if not len(ours) or not len(theirs):
        return Measured(float("nan"), np.zeros(len(scores)))
    below = _share_below(ours, theirs)
    value = float(below.mean())
    influence = np.empty(len(scores))
    influence[positive] = (below - value) / len(ours)
    influence[~positive] = (1 - _share_below(theirs, ours) - value) / len(theirs)
    return Measured(value, influence)


def _share_below(scores: Float[np.ndarray, " n"], others: Float[np.ndarray, " m"]) -> Float[np.ndarray, " n"]:
    """For each score the fraction of the others below it, ties counting half."""
    ascending = np.sort(others)
    below, not_above = (np.searchsorted(ascending, scores, side) for side in ("left", "right"))
    return (below + not_above) / (2 * len(others))


STATISTICS: dict[str, Callable[[Probs, Labels], Measured]] = {"accuracy": accuracy_of, "auroc": auroc_of}
