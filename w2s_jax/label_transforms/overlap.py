"""Overlap density: rows that hold both what the supervisor knows and what only the student can learn."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from w2s_jax.label_transforms.neighbours import neighbours
from w2s_jax.label_transforms.probes import out_of_fold
from w2s_jax.label_transforms.steps import Labels, check_range, kept, most_of
from w2s_jax.runtime.errors import UserError

CHUNK = 1024


class Overlap(NamedTuple):
    """What each row is. The rest is easy: known to the supervisor, and unlike anything hard.

    Attributes:
      hard: the supervisor is unsure of it.
      both: it is not hard, and like something hard.
      score: of a row that is not hard, the largest |cosine| with a hard row; 0 of hard ones.
    """

    hard: Bool[np.ndarray, " n"]
    both: Bool[np.ndarray, " n"]
    score: Float[np.ndarray, " n"]

    @property
    def density(self) -> float:
        """The share of rows that hold both (Shin et al. 2024)."""
        return float(self.both.mean())


def overlap(weak: Float[np.ndarray, "n c"], features: Float[np.ndarray, "n d"]) -> Overlap:
    """Sorts rows into hard, easy and both (Shin et al. 2024, arXiv 2412.03881).

    A row is hard below the change point of the sorted confidences `(C max p - 1) / (C - 1)`; for two classes that is
    `2 |p - 1/2|`. Of the others, those above the change point of the sorted scores hold both.

    Raises:
      UserError: fewer than four rows, or weak labels that are all equally confident, as hard labels are.
    """
    if len(weak) < 4:
        raise UserError(f"overlap density needs four rows or more, not {len(weak)}")
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


def overlap_filter(
    weak: Float[np.ndarray, "n c"], *, features: Float[np.ndarray, "n d"], share: float | None = None
) -> Labels:
    """Keeps the rows that hold both, or the share of all rows that are not hard with the largest score.

    Args:
      share: in (0, 1]; None keeps what lies above the change point.
    """
    found = overlap(weak, features)
    if share is None:
        return kept(weak, found.both)
    check_range("share", share, 1e-9, 1)
    ranked = np.argsort(-np.where(found.hard, -1.0, found.score), kind="stable")
    keep = np.zeros(len(weak), bool)
    keep[ranked[: max(1, round(share * len(weak)))]] = True
    return kept(weak, keep & ~found.hard)


def overlap_score_filter(
    weak: Float[np.ndarray, "n c"],
    *,
    features: Float[np.ndarray, "n d"],
    seed: int,
    share: float = 0.5,
    k: int = 50,
    l2: float = 1e-2,
    folds: int = 5,
) -> Labels:
    """Keeps the share of each weak class with the largest sum of four scores, each less its mean over its deviation.

    What the out-of-fold probe gives the weak class; what the k nearest other rows' mean label gives it; density, the
    negative mean distance to these rows; and how near the entropy of the weak label is to half of the largest possible.

    Source: Anthropic's automated weak-to-strong researcher (2026), "overlap density"; how the scores are measured is
    not given there and is ours.

    Args:
      share: in (0, 1].
      k: neighbours, as in `knn_relabel`.
      l2, folds: of the probe, as in `logistic_relabel`.
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
    """The value where the sorted values are best cut in two: the least sum of squares about the two means.

    The first value of the upper part; binary segmentation with one break and squared loss.
    """
    ordered = np.sort(np.asarray(values, np.float64))
    n = len(ordered)
    sums = np.cumsum(ordered)[:-1]
    left = np.arange(1, n)
    explained = sums**2 / left + (ordered.sum() - sums) ** 2 / (n - left)
    return float(ordered[explained.argmax() + 1])
