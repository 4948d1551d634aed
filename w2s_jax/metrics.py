"""What is measured: accuracy, AUROC, calibration, agreement and PGR, each with an honest interval.

Probabilities are [N, C] and sum to 1 over classes, labels are [N] class numbers, targets are soft labels [N, C].
A prediction is the class of the largest probability; of equal ones the lowest class. What is undefined is None.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int, Integer, Shaped

from w2s_jax import errors
from w2s_jax.errors import UserError

Probs = Float[np.ndarray, "n c"]
Labels = Integer[np.ndarray, " n"]
Statistic = Literal["accuracy", "auroc"]

_FLOAT32_EPS = float(np.finfo(np.float32).eps)
_CHUNK = 4_000_000  # numbers in one bootstrap array: bounds memory
_TOO_FEW = "too few test examples: in most resamples a seed has none, or none of a class"


# ---- One model


def accuracy(probs: Probs, labels: Labels) -> float:
    """Share of predictions that are right, in [0, 1]."""
    _check(probs, labels)
    return float(np.mean(np.argmax(probs, axis=-1) == labels))


def soft_accuracy(probs: Probs, targets: Probs) -> float:
    """Share of predictions that are the soft labels' argmax, in [0, 1]."""
    return accuracy(probs, np.argmax(targets, axis=-1))


def log_loss(probs: Probs, labels: Labels) -> float:
    """Mean of `-log p[label]`, in nats; a probability counts as at least 1.2e-7, float32's epsilon."""
    _check(probs, labels)
    picked = probs[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.mean(np.log(np.maximum(picked, _FLOAT32_EPS))))


def soft_log_loss(probs: Probs, targets: Probs) -> float:
    """Mean of `-sum_k targets_k log p_k`, in nats; a probability counts as at least 1.2e-7, float32's epsilon."""
    _check(probs, np.argmax(targets, axis=-1))
    logs = np.log(np.maximum(probs.astype(np.float64), _FLOAT32_EPS))
    return float(-np.mean(np.sum(targets * logs, axis=-1)))


def brier(probs: Probs, labels: Labels) -> float:
    """Mean of `sum_k (p_k - [k = label])^2`, in [0, 2]: Brier's own definition (1950), twice the binary one."""
    _check(probs, labels)
    return float(np.mean(np.sum((probs - np.eye(probs.shape[1])[labels]) ** 2, axis=-1)))


def auroc(probs: Probs, labels: Labels, weights: Float[np.ndarray, " n"] | None = None) -> float | None:
    """Area under the ROC curve, in [0, 1]: the chance that a positive scores above a negative, ties counting half.

    Two classes: class 1 by its probability. More: one-vs-rest, the plain mean over classes that have examples.
    None where the labels are all of one class.

    Args:
      weights: >= 0, how much (how many times) each example counts; None is once.
    """
    _check(probs, labels)
    counts = np.ones(len(labels)) if weights is None else weights
    area = float(_auroc_under(probs, labels)(counts[None])[0])
    return None if np.isnan(area) else area


class Reliability(NamedTuple):
    """A reliability diagram: bin i holds top-label confidences in (edges[i], edges[i + 1]].

    Attributes:
      edges: [bins + 1], from 0 to 1.
      counts: examples in each bin.
      confidence, accuracy: means in each bin, NaN where it is empty.
    """

    edges: Float[np.ndarray, "bins+1"]
    counts: Int[np.ndarray, " bins"]
    confidence: Float[np.ndarray, " bins"]
    accuracy: Float[np.ndarray, " bins"]


def reliability(probs: Probs, labels: Labels, bins: int = 10) -> Reliability:
    """Confidence against accuracy in bins of equal width, by the top label (Guo et al. 2017, section 2)."""
    _check(probs, labels)
    if bins < 1:
        raise UserError(f"bins must be at least 1, not {bins}")
    edges = np.linspace(0.0, 1.0, bins + 1)
    confidence = probs.max(axis=-1).astype(np.float64)
    right = np.argmax(probs, axis=-1) == labels
    index = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    counts = np.bincount(index, minlength=bins)
    with np.errstate(invalid="ignore"):
        means = [np.bincount(index, values, minlength=bins) / counts for values in (confidence, right)]
    return Reliability(edges, counts, *means)


def calibration_error(probs: Probs, labels: Labels, bins: int = 10) -> float:
    """ECE, in [0, 1]: mean over examples of `|accuracy - confidence|` of their bin (Guo et al. 2017, equation 3)."""
    diagram = reliability(probs, labels, bins)
    gaps = np.nan_to_num(np.abs(diagram.accuracy - diagram.confidence))
    return float(np.sum(diagram.counts * gaps) / len(labels))


# ---- One model beside another


def confident_disagreement(probs: Probs, targets: Probs, threshold: float = 0.95) -> float | None:
    """CDR: of the predictions above `threshold`, the share where targets are above it for another class.

    None where no prediction is above it. (EleutherAI/weak-to-strong; targets are weak labels, or one-hot truth.)
    """
    _check(probs, np.argmax(targets, axis=-1))
    sure = probs.max(axis=-1) > threshold
    against = (targets.max(axis=-1) > threshold) & (np.argmax(probs, axis=-1) != np.argmax(targets, axis=-1))
    return float(np.mean(against[sure])) if sure.any() else None


class Agreement(NamedTuple):
    """Share of examples where student and supervisor predict the same class, in [0, 1].

    Attributes:
      overall: over all examples.
      where_right, where_wrong: over those where the supervisor is right, or wrong; None where there are none.
    """

    overall: float
    where_right: float | None
    where_wrong: float | None


def agreement(student: Probs, supervisor: Probs, labels: Labels) -> Agreement:
    """How far the student follows its supervisor, errors included (Burns et al. 2023, section 5.1.3, figure 8)."""
    _check(student, labels)
    _check(supervisor, labels)
    weak = np.argmax(supervisor, axis=-1)
    same, right = np.argmax(student, axis=-1) == weak, weak == labels
    parts = (float(np.mean(same[part])) if part.any() else None for part in (right, ~right))
    return Agreement(float(np.mean(same)), *parts)


# ---- Performance gap recovered


@dataclass(frozen=True, eq=False)
class Cell:
    """What three models predict for the same test examples, for one seed.

    Attributes:
      supervisor, student, ceiling: probabilities.
      labels: ground truth.
      groups: which examples belong together (one question's rows) and are resampled together. The same group in two
        seeds is the same question. None: every example is its own group, example i the same one in all seeds.
    """

    supervisor: Probs
    student: Probs
    ceiling: Probs
    labels: Labels
    groups: Shaped[np.ndarray, " n"] | None = None

    def __post_init__(self) -> None:
        for probs in (self.supervisor, self.student, self.ceiling):
            _check(probs, self.labels)
        if self.groups is not None and len(self.groups) != len(self.labels):
            raise UserError(f"{len(self.groups)} groups for {len(self.labels)} labels; there must be one for each")


class Interval(NamedTuple):
    """An estimate and the ends of its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class PGR:
    """Performance gap recovered: `(student - supervisor) / (ceiling - supervisor)`, each a mean over seeds.

    0 is the supervisor, 1 the ceiling; it can be below 0 or above 1 (Burns et al. 2023, section 3).

    Attributes:
      value, low, high: the estimate and its interval; None where undefined.
      reason: why it is undefined; None where it is defined.
      gap: ceiling - supervisor; None where the statistic itself is undefined.
      supervisor, student, ceiling: the statistic's mean over seeds, with its interval; None likewise.
    """

    value: float | None
    low: float | None
    high: float | None
    reason: str | None
    gap: Interval | None = None
    supervisor: Interval | None = None
    student: Interval | None = None
    ceiling: Interval | None = None


def pgr_of(supervisor: float, student: float, ceiling: float) -> float | None:
    """`(student - supervisor) / (ceiling - supervisor)`; None where ceiling and supervisor are equal."""
    return None if ceiling == supervisor else (student - supervisor) / (ceiling - supervisor)


def pgr(
    cells: Sequence[Cell],
    statistic: Statistic = "accuracy",
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    min_gap: float = 0.03,
) -> PGR:
    """PGR over seeds, with a percentile interval by a paired bootstrap over seeds and groups of test examples.

    Each resample draws seeds, and groups of examples, with replacement; the same draw serves all three models, and a
    group that several seeds were tested on is drawn alike for all of them (the product bootstrap of Owen 2007). With
    one seed the interval is over examples alone. Where seeds have test sets of their own it errs towards wide: in
    simulation 95% intervals over five seeds held the truth in 92% (seeds that vary much) to 99% (hardly) of cases.

    PGR is undefined where ceiling and supervisor are not apart: where the interval of their gap reaches 0, or the
    gap is below `min_gap`.

    Args:
      cells: one for each seed.
      level: of all intervals, in (0, 1).
      resamples: how many; at least 100.
      seed: of the resampling.
      min_gap: in the units of the statistic.
    """
    _check_bootstrap(cells, level, resamples)
    undefined = _undefined(cells, statistic)
    if undefined:
        return PGR(None, None, None, undefined)
    models = [(cell.supervisor, cell.student, cell.ceiling) for cell in cells]
    estimates, drawn = _bootstrap(cells, models, statistic, resamples, seed)
    if len(drawn) < resamples / 2:
        return PGR(None, None, None, _TOO_FEW)
    means = [_interval(estimates[i], drawn[:, i], level) for i in range(3)]
    gap = _interval(estimates[2] - estimates[0], drawn[:, 2] - drawn[:, 0], level)
    if gap.low <= 0 or gap.value < min_gap:
        return PGR(None, None, None, _not_apart(gap, level, min_gap), gap, *means)
    ratio = _interval(
        (estimates[1] - estimates[0]) / gap.value, _ratio(drawn[:, 1] - drawn[:, 0], drawn[:, 2] - drawn[:, 0]), level
    )
    return PGR(*ratio, None, gap, *means)


def _not_apart(gap: Interval, level: float, min_gap: float) -> str:
    least = "" if gap.value >= min_gap else f" (below {min_gap:g})"
    interval = f"{level:.0%} interval [{gap.low:.3f}, {gap.high:.3f}]"
    return f"ceiling and supervisor are not apart: gap {gap.value:.3f}{least}, {interval}"


def _ratio(part: Float[np.ndarray, " r"], whole: Float[np.ndarray, " r"]) -> Float[np.ndarray, " r"]:
    """A whole of 0 or less is the limit from above: it puts the resample into the tail where it belongs."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(whole > 0, part / whole, np.where(part == 0, 0.0, np.copysign(np.inf, part)))


# ---- Two methods


class PairedTests(NamedTuple):
    """Two-sided p-values of "no difference" over pairs; None where the test is undefined."""

    t: float | None
    wilcoxon: float | None
    sign: float | None


@dataclass(frozen=True)
class PairedDifference:
    """How much better method a does than method b on the same seeds and examples.

    Attributes:
      value, low, high: mean difference of the students' statistic (a - b), with its bootstrap interval; None where
        the statistic is undefined.
      p: two-sided bootstrap p-value of "no difference", over seeds and examples.
      tests: the classical tests over seeds alone.
      reason: why it is undefined; None where it is defined.
    """

    value: float | None
    low: float | None
    high: float | None
    p: float | None
    tests: PairedTests | None
    reason: str | None = None


def paired_difference(
    cells_a: Sequence[Cell],
    cells_b: Sequence[Cell],
    statistic: Statistic = "accuracy",
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> PairedDifference:
    """The students of two methods compared on the same seeds and test examples; resampled as in `pgr`.

    Raises:
      UserError: the cells are not of the same seeds and examples.
    """
    _check_bootstrap(cells_a, level, resamples)
    if len(cells_a) != len(cells_b):
        raise UserError(f"{len(cells_a)} seeds beside {len(cells_b)}; a paired comparison needs the same seeds")
    for a, b in zip(cells_a, cells_b, strict=True):
        if not (np.array_equal(a.labels, b.labels) and np.array_equal(_groups(a), _groups(b))):
            raise UserError("the two methods were tested on different examples; a paired comparison needs the same")
    undefined = _undefined(cells_a, statistic)
    if undefined:
        return PairedDifference(None, None, None, None, None, undefined)
    models = [(a.student, b.student) for a, b in zip(cells_a, cells_b, strict=True)]
    estimates, drawn = _bootstrap(cells_a, models, statistic, resamples, seed)
    if len(drawn) < resamples / 2:
        return PairedDifference(None, None, None, None, None, _TOO_FEW)
    difference = drawn[:, 0] - drawn[:, 1]
    tail = min(np.sum(difference <= 0), np.sum(difference >= 0))
    p = min(1.0, 2 * (int(tail) + 1) / (len(difference) + 1))
    by_seed = [_statistics(cell, pair, statistic) for cell, pair in zip(cells_a, models, strict=True)]
    each = np.array([a - b for a, b in by_seed])
    return PairedDifference(*_interval(estimates[0] - estimates[1], difference, level), p, paired_tests(each))


def paired_tests(differences: Float[np.ndarray, " n"]) -> PairedTests:
    """Paired t, Wilcoxon signed-rank and sign test of differences over pairs (seeds, or tasks), all two-sided.

    Pairs without a difference leave the Wilcoxon and the sign test. t needs two pairs that are not the same.
    """
    from scipy import stats

    differing = differences[differences != 0]
    if differing.size == 0:
        return PairedTests(None, None, None)
    spread = differences.size > 1 and np.ptp(differences) > 0
    t = float(stats.ttest_1samp(differences, 0.0).pvalue) if spread else None
    sign = float(stats.binomtest(int(np.sum(differing > 0)), differing.size).pvalue)
    return PairedTests(t, float(stats.wilcoxon(differing).pvalue), sign)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for many tests by Holm's step-down method (1979), in the order given."""
    p = np.asarray(p_values, np.float64)
    if p.size and not ((p >= 0) & (p <= 1)).all():
        raise UserError("p-values must be from 0 to 1")
    order = np.argsort(p, kind="stable")
    steps = np.minimum(1.0, p[order] * np.arange(p.size, 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(steps) if p.size else steps
    return adjusted.tolist()


# ---- The bootstrap


Measure = Callable[[np.ndarray], np.ndarray]


def _accuracy_under(probs: Probs, labels: Labels) -> Measure:
    """Accuracy as a function of the examples' weights: [R, N] -> [R], NaN where there is no weight."""
    right = (np.argmax(probs, axis=-1) == labels).astype(np.float64)

    def measure(weights: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return weights @ right / weights.sum(axis=1)

    return measure


def _auroc_under(probs: Probs, labels: Labels) -> Measure:
    """AUROC as a function of the examples' weights: [R, N] -> [R], NaN where a class has no weight."""
    classes = [1] if probs.shape[1] == 2 else np.unique(labels)
    curves = [_area_under(probs[:, k], labels == k) for k in classes]
    return lambda weights: np.mean([area(weights) for area in curves], axis=0)


def _area_under(scores: np.ndarray, positive: np.ndarray) -> Measure:
    order = np.argsort(scores, kind="stable")
    ties = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))  # where each run of equal scores starts
    is_positive = positive[order].astype(np.float64)

    def measure(weights: np.ndarray) -> np.ndarray:
        ascending = weights[:, order]
        positives = np.add.reduceat(ascending * is_positive, ties, axis=1)
        negatives = np.add.reduceat(ascending * (1 - is_positive), ties, axis=1)
        below = np.cumsum(negatives, axis=1) - negatives / 2
        with np.errstate(invalid="ignore"):
            return (positives * below).sum(axis=1) / (positives.sum(axis=1) * negatives.sum(axis=1))

    return measure


_STATISTICS: dict[str, Callable[[np.ndarray, np.ndarray], Measure]] = {
    "accuracy": _accuracy_under,
    "auroc": _auroc_under,
}
Models = Sequence[tuple[np.ndarray, ...]]


def _bootstrap(
    cells: Sequence[Cell], models: Models, statistic: Statistic, resamples: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Each model's mean over seeds: as it is [M], and in every resample [R, M] where it is defined."""
    make = _STATISTICS[statistic]
    of_cell = [[make(probs, cell.labels) for probs in group] for cell, group in zip(cells, models, strict=True)]
    members, n_groups = _members(cells)
    estimates = np.mean(
        [_statistics(cell, group, statistic) for cell, group in zip(cells, models, strict=True)], axis=0
    )
    parts = []
    for seed_counts, group_counts in _draws(len(cells), n_groups, resamples, seed):
        values = np.stack(
            [
                np.stack([measure(group_counts[:, member]) for measure in measures], axis=-1)
                for measures, member in zip(of_cell, members, strict=True)
            ]
        )
        parts.append(_weighted_mean(values, seed_counts))
    drawn = np.concatenate(parts)
    return estimates, drawn[np.isfinite(drawn).all(axis=1)]


def _weighted_mean(values: Float[np.ndarray, "s r m"], counts: Float[np.ndarray, "r s"]) -> Float[np.ndarray, "r m"]:
    """Over seeds, as often as each was drawn; a seed that was not drawn does not matter, even if undefined."""
    weighted = np.where(counts.T[:, :, None] > 0, values * counts.T[:, :, None], 0.0)
    return weighted.sum(axis=0) / len(values)


def _draws(seeds: int, groups: int, resamples: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """How often each seed [R, S] and each group [R, G] was drawn, some resamples at a time."""
    rng = np.random.default_rng(seed)
    seed_counts = _multinomial(rng, resamples, seeds)
    rows = max(1, _CHUNK // groups)
    for start in range(0, resamples, rows):
        part = seed_counts[start : start + rows]
        yield part, _multinomial(rng, len(part), groups)


def _multinomial(rng: np.random.Generator, rows: int, n: int) -> Float[np.ndarray, "rows n"]:
    """n draws from n with replacement, counted, in each row."""
    drawn = rng.integers(0, n, (rows, n)) + n * np.arange(rows)[:, None]
    return np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)


def _groups(cell: Cell) -> np.ndarray:
    return np.arange(len(cell.labels)) if cell.groups is None else cell.groups


def _members(cells: Sequence[Cell]) -> tuple[list[np.ndarray], int]:
    """The number of every example's group, for each cell, and how many groups there are in all cells together."""
    names, index = np.unique(np.concatenate([_groups(cell) for cell in cells]), return_inverse=True)
    return np.split(index, np.cumsum([len(cell.labels) for cell in cells])[:-1]), len(names)


def _statistics(cell: Cell, models: tuple[np.ndarray, ...], statistic: Statistic) -> list[float]:
    once = np.ones((1, len(cell.labels)))
    return [float(_STATISTICS[statistic](probs, cell.labels)(once)[0]) for probs in models]


def _interval(value: float, drawn: Float[np.ndarray, " r"], level: float) -> Interval:
    """The percentile interval. Its ends are resamples, so that infinite ones beyond them do no harm."""
    tail = (1 - level) / 2
    low, high = np.quantile(drawn, tail, method="lower"), np.quantile(drawn, 1 - tail, method="higher")
    return Interval(float(value), float(low), float(high))


# ---- Checks


def _check(probs: np.ndarray, labels: np.ndarray) -> None:
    if probs.ndim != 2 or labels.shape != probs.shape[:1]:
        raise UserError(f"probabilities {probs.shape} and labels {labels.shape} do not fit; want [N, C] and [N]")
    if not len(labels):
        raise UserError("there are no examples to measure on")
    if not ((probs >= 0) & (probs <= 1.001)).all():
        raise UserError("probabilities must be numbers from 0 to 1; some are not")
    if labels.min() < 0 or labels.max() >= probs.shape[1]:
        raise UserError(f"labels go from {labels.min()} to {labels.max()}; with {probs.shape[1]} classes want 0 and up")


def _check_bootstrap(cells: Sequence[Cell], level: float, resamples: int) -> None:
    if not cells:
        raise UserError("there are no cells: want one for each seed")
    if not 0 < level < 1:
        raise UserError(f"level must be between 0 and 1, not {level:g}")
    if resamples < 100:
        raise UserError(f"resamples must be at least 100, not {resamples}")


def _undefined(cells: Sequence[Cell], statistic: str) -> str | None:
    if statistic not in _STATISTICS:
        raise errors.unknown("statistic", statistic, _STATISTICS)
    if statistic == "auroc":
        for number, cell in enumerate(cells):
            if len(np.unique(cell.labels)) < 2:
                return f"AUROC is undefined: all labels of seed number {number} are of one class"
    return None
