"""Overlap density: examples with features that the supervisor knows and features that only the student can learn."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from w2s_jax.label_transforms.base import LABEL_TRANSFORMS, TransformedLabels, kept, most_of
from w2s_jax.label_transforms.neighbours import neighbours
from w2s_jax.label_transforms.probes import out_of_fold
from w2s_jax.runtime.checks import check_range
from w2s_jax.runtime.errors import UserError

CHUNK = 1024


class Overlap(NamedTuple):
    """The kind of each example. Those that are neither are easy: known to the supervisor, and unlike any hard one.

    Attributes:
      hard: the supervisor is unsure of it.
      both: it is not hard, and similar to a hard one.
      score: of an example that is not hard, the largest |cosine| with a hard one; 0 of hard ones.
    """

    hard: Bool[np.ndarray, " n"]
    both: Bool[np.ndarray, " n"]
    score: Float[np.ndarray, " n"]

    @property
    def density(self) -> float:
        """The share of examples that have both."""
        return float(self.both.mean())


def overlap(weak: Float[np.ndarray, "n c"], features: Float[np.ndarray, "n d"]) -> Overlap:
    """Sorts examples into hard, easy and both.

    An example is hard below the change point of the sorted confidences `(C max p - 1) / (C - 1)`; for two classes that
    is `2 |p - 1/2|`. Of the others, those above the change point of the sorted scores have both.

    Raises:
      UserError: fewer than four examples, or weak labels that are all equally confident, as hard labels are.

    References:
      Shin et al. 2024, Weak-to-Strong Generalization Through the Data-Centric Lens, arXiv 2412.03881.
    """
    if len(weak) < 4:
        raise UserError(f"overlap density needs four examples or more, not {len(weak)}")
    classes = weak.shape[1]
    confidence = (classes * weak.max(axis=1) - 1) / (classes - 1)
    hard = confidence < change_point(confidence)
    if not hard.any():
        raise UserError("overlap density needs soft weak labels; these are all equally confident")
    score = np.zeros(len(weak), np.float32)
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    rest = np.flatnonzero(~hard)
    for start in range(0, len(rest), CHUNK):
        rows = rest[start : start + CHUNK]
        score[rows] = np.abs(unit[rows] @ unit[hard].T).max(axis=1)
    both = ~hard & (score >= (change_point(score[rest]) if len(rest) > 1 else 0.0))
    return Overlap(hard, both, score)


@LABEL_TRANSFORMS.register
def overlap_filter(
    weak: Float[np.ndarray, "n c"], *, features: Float[np.ndarray, "n d"], share: float | None = None
) -> TransformedLabels:
    """Keeps the examples with both easy and hard features, or the share with the largest overlap score.

    Args:
      share: in (0, 1], of all examples; None keeps what lies above the change point.

    Raises:
      UserError: as `overlap`, or a share out of range.

    References:
      Shin et al. 2024, Weak-to-Strong Generalization Through the Data-Centric Lens, arXiv 2412.03881.
    """
    found = overlap(weak, features)
    if share is None:
        return kept(weak, found.both)
    check_range("share", share, 1e-9, 1)
    ranked = np.argsort(-np.where(found.hard, -1.0, found.score), kind="stable")
    keep = np.zeros(len(weak), bool)
    keep[ranked[: max(1, round(share * len(weak)))]] = True
    return kept(weak, keep & ~found.hard)


@LABEL_TRANSFORMS.register
def overlap_score_filter(
    weak: Float[np.ndarray, "n c"],
    *,
    features: Float[np.ndarray, "n d"],
    seed: int,
    share: float = 0.5,
    k: int = 50,
    l2: float = 1e-2,
    folds: int = 5,
) -> TransformedLabels:
    """Keeps the share of each weak class with the largest sum of four standardised scores.

    The scores are what the out-of-fold probe gives the weak class; what the mean label of the k nearest other examples
    gives it; density, the negative mean distance to these; and how near the entropy of the weak label is to half of
    the largest possible.

    Args:
      share: in (0, 1].
      k: neighbours, as in `knn_relabel`.
      l2, folds: of the probe, as in `logistic_relabel`.

    Raises:
      UserError: a hyperparameter is out of range, or there are too few examples.

    References:
      Anthropic's automated weak-to-strong researcher, 2026, "overlap density". How the scores are measured is not given
      there and is ours.
    """
    from scipy.stats import entropy

    check_range("share", share, 1e-9, 1)
    classes, every = weak.argmax(axis=1), np.arange(len(weak))
    distances, near = neighbours(features, k)
    probe = out_of_fold(weak, features, seed, l2, folds)[every, classes]
    agreement = weak[near].mean(axis=1)[every, classes]
    middle = -np.abs(entropy(weak, axis=1) / np.log(weak.shape[1]) - 0.5)
    scores = [_standardised(part) for part in (probe, agreement, -distances.mean(axis=1), middle)]
    return kept(weak, most_of(np.sum(scores, axis=0), share, classes))


def _standardised(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    return (values - values.mean()) / max(values.std(), 1e-6)


def change_point(values: Float[np.ndarray, " n"]) -> float:
    """Where the sorted values are best split in two: the first value of the upper part.

    The best split has the least sum of squares about the two means: binary segmentation, one break, squared loss.

    >>> change_point(np.array([0.9, 0.1, 0.2, 1.0]))
    0.9
    """
    ordered = np.sort(np.asarray(values, np.float64))
    n = len(ordered)
    sums = np.cumsum(ordered)[:-1]
    left = np.arange(1, n)
    explained = sums**2 / left + (ordered.sum() - sums) ** 2 / (n - left)
    return float(ordered[explained.argmax() + 1])
