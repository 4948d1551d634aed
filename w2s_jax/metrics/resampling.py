"""Statistics under resampling: seeds and groups of test examples are drawn, the same ones for every model.

Weights say how often each example was drawn: [N, R] for N examples in R resamples.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int, Integer

from w2s_jax.metrics.base import Groups, Labels, Probs
from w2s_jax.runtime.errors import UserError

Statistic = Literal["accuracy", "auroc"]

_CHUNK = 4_000_000  # numbers in one array: bounds memory
_FEW = 32  # positives, up to which each is compared with every example: cheaper than sorting

# A statistic as a function of the examples' weights: [N, R] -> [R], NaN where it is undefined.
Measure = Callable[[np.ndarray], np.ndarray]


def accuracy_under(probs: Probs, labels: Labels) -> Measure:
    """Fraction of predictions that are right."""
    right = (np.argmax(probs, axis=-1) == labels).astype(np.float32)
    once = np.ones_like(right)

    def measure(weights: np.ndarray) -> np.ndarray:
        return _divided(*(np.einsum("n,nr->r", each, weights) for each in (right, once)))

    return measure


def auroc_under(probs: Probs, labels: Labels) -> Measure:
    """Area under the ROC curve; of more than two classes the mean over those that have weight."""
    if probs.shape[1] == 2:
        return _area_under(probs[:, 1], labels == 1)
    curves = [_area_under(probs[:, k], labels == k) for k in np.unique(labels)]

    def measure(weights: np.ndarray) -> np.ndarray:
        areas = np.stack([area(weights) for area in curves])
        there = np.isfinite(areas)
        return _divided(np.where(there, areas, 0.0).sum(axis=0), there.sum(axis=0))

    return measure


def _area_under(scores: np.ndarray, positive: np.ndarray) -> Measure:
    ours = np.flatnonzero(positive)
    beaten = _compared(scores, positive) if len(ours) <= _FEW else _sorted(scores, positive)

    def measure(weights: np.ndarray) -> np.ndarray:
        below, negatives = beaten(weights)
        drawn = weights[ours]
        return _divided(np.einsum("pr,pr->r", drawn, below), drawn.sum(axis=0) * negatives)

    return measure


# For each positive [P, R] how much weight of negatives its score is above, ties counting half; and all of theirs [R].
Beaten = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def _compared(scores: np.ndarray, positive: np.ndarray) -> Beaten:
    own = scores[positive][:, None]
    above = np.where(positive, 0.0, (own > scores) + 0.5 * (own == scores))
    rows = np.concatenate([above, ~positive[None]]).astype(np.float32)

    def beaten(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        product = rows @ weights
        return product[:-1], product[-1]

    return beaten


def _sorted(scores: np.ndarray, positive: np.ndarray) -> Beaten:
    negative = np.flatnonzero(~positive)
    ascending = negative[np.argsort(scores[negative], kind="stable")]
    ends = [np.searchsorted(scores[ascending], scores[positive], side) for side in ("left", "right")]
    tied = bool((ends[0] != ends[1]).any())

    def beaten(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        drawn = weights[ascending]
        total = np.zeros((len(ascending) + 1, weights.shape[1]), weights.dtype)
        for i in range(len(ascending)):  # row by row, ten times as fast as np.cumsum along the first axis
            np.add(total[i], drawn[i], out=total[i + 1])
        below = total[ends[0]]
        return ((below + total[ends[1]]) / 2 if tied else below), total[-1]

    return beaten


def _divided(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return part.astype(np.float64) / whole.astype(np.float64)


STATISTICS: dict[str, Callable[[np.ndarray, np.ndarray], Measure]] = {
    "accuracy": accuracy_under,
    "auroc": auroc_under,
}


class Resampled(NamedTuple):
    """A model's statistic, mean over seeds: as it is, and in every resample [R], NaN where it is undefined."""

    value: float
    resampled: Float[np.ndarray, " r"]


class Bootstrap:
    """Resamples of seeds and of groups of test examples, the same for every model that is asked about.

    What several comparisons share (the draws, a supervisor, a ceiling) is computed once.

    Args:
      tests: labels and groups of each seed's test examples. A group is drawn as a whole, and alike in all seeds.
      resamples: how many; at least 100.
      seed: of the resampling.
    """

    def __init__(self, tests: Sequence[tuple[Labels, Groups]], resamples: int = 2000, seed: int = 0) -> None:
        if resamples < 100:
            raise UserError(f"resamples must be at least 100, not {resamples}")
        self._tests = list(tests)
        self._members, n_groups = _members([groups for _, groups in tests])
        rng = np.random.default_rng(seed)
        self._seeds = _multinomial(rng, resamples, len(tests))
        self._counts = np.empty((n_groups, resamples), np.uint8)  # one draws a group 255 times in no lifetime
        rows = max(1, _CHUNK // n_groups)
        for start in range(0, resamples, rows):
            part = self._counts[:, start : start + rows]
            part[:] = _multinomial(rng, part.shape[1], n_groups)
        self._known: dict[tuple[str, int, bytes], Resampled] = {}

    def fits(self, tests: Sequence[tuple[Labels, Groups]]) -> bool:
        """Whether these are the test examples that were resampled, seed by seed."""
        return len(tests) == len(self._tests) and all(
            np.array_equal(theirs, ours)
            for pair in zip(tests, self._tests, strict=True)
            for theirs, ours in zip(*pair, strict=True)
        )

    def mean(self, models: Sequence[np.ndarray], statistic: Statistic) -> Resampled:
        """The mean over seeds of one model for each seed, whose probabilities are [N, C]."""
        each = [self._of_seed(index, probs, statistic) for index, probs in enumerate(models)]
        values = np.stack([drawn.resampled for drawn in each])
        return Resampled(float(np.mean([drawn.value for drawn in each])), weighted_mean(values, self._seeds))

    def by_seed(self, models: Sequence[np.ndarray], statistic: Statistic) -> Float[np.ndarray, " s"]:
        """The statistic of one model for each seed, as it is."""
        return np.array([self._of_seed(index, probs, statistic).value for index, probs in enumerate(models)])

    def _of_seed(self, index: int, probs: Probs, statistic: Statistic) -> Resampled:
        key = (statistic, index, hashlib.blake2b(probs.tobytes()).digest())
        if key not in self._known:
            measure = STATISTICS[statistic](probs, self._tests[index][0])
            member, resamples = self._members[index], self._counts.shape[1]
            columns = max(1, _CHUNK // len(member))
            parts = [
                measure(self._counts[member, start : start + columns].astype(np.float32))
                for start in range(0, resamples, columns)
            ]
            as_it_is = measure(np.ones((len(member), 1)))
            self._known[key] = Resampled(float(as_it_is[0]), np.concatenate(parts))
        return self._known[key]


def weighted_mean(values: Float[np.ndarray, "s r"], counts: Integer[np.ndarray, "s r"]) -> Float[np.ndarray, " r"]:
    """Over seeds, as often as each was drawn; a seed that was not drawn does not matter, even if undefined."""
    return np.where(counts > 0, values * counts, 0.0).sum(axis=0) / len(values)


def _multinomial(rng: np.random.Generator, rows: int, n: int) -> Int[np.ndarray, "n rows"]:
    """n draws from n with replacement, counted, in each of the columns."""
    drawn = rng.integers(0, n, (rows, n)) + n * np.arange(rows)[:, None]
    return np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).T


def _members(groups: Sequence[np.ndarray]) -> tuple[list[np.ndarray], int]:
    """The number of every example's group, for each seed, and how many groups there are in all seeds together."""
    names, index = np.unique(np.concatenate(groups), return_inverse=True)
    return np.split(index, np.cumsum([len(each) for each in groups])[:-1]), len(names)
