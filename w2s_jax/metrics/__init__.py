"""What is measured: accuracy, AUROC, calibration, agreement and PGR, each with an honest interval.

Probabilities are [N, C] and sum to 1 over classes, labels are [N] class numbers, targets are soft labels [N, C].
A prediction is the class of the largest probability; of equal ones the lowest class. What is undefined is None.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float, Int

from w2s_jax.metrics.resampling import STATISTICS, Bootstrap, Drawn, Groups, Labels, Probs, Statistic, auroc_under
from w2s_jax.runtime import errors
from w2s_jax.runtime.errors import UserError

_FLOAT32_EPS = float(np.finfo(np.float32).eps)
_ROLES = ("supervisor", "student", "ceiling")
_SAME = 12  # decimals: two scores that differ by less are equal, and the difference is rounding
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

    Two classes: class 1 by its probability. More: one-vs-rest, the plain mean over classes that have examples (in a
    resample: that it drew). None where the labels are all of one class.

    Args:
      weights: >= 0, how much (how many times) each example counts; None is once.
    """
    _check(probs, labels)
    counts = np.ones(len(labels)) if weights is None else weights
    area = float(auroc_under(probs, labels)(counts[:, None])[0])
    return None if np.isnan(area) else area


class Reliability(NamedTuple):
    """A reliability diagram: bin i holds top-label confidences in (edges[i], edges[i + 1]].

    Attributes:
      edges: [bins + 1], from 0 to 1.
      counts: examples in each bin.
      confidence, accuracy: means in each bin, NaN where it is empty.
    """

    edges: Float[np.ndarray, " bins+1"]
    counts: Int[np.ndarray, " bins"]
    confidence: Float[np.ndarray, " bins"]
    accuracy: Float[np.ndarray, " bins"]


def reliability(probs: Probs, labels: Labels | Probs, bins: int = 10) -> Reliability:
    """Confidence against accuracy in bins of equal width, by the top label (Guo et al. 2017, section 2).

    Of soft labels, accuracy is the mean probability that they give to what is predicted.
    """
    right = _backing(probs, labels)
    if bins < 1:
        raise UserError(f"bins must be at least 1, not {bins}")
    edges = np.linspace(0.0, 1.0, bins + 1)
    confidence = probs.max(axis=-1).astype(np.float64)
    index = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    counts = np.bincount(index, minlength=bins)
    with np.errstate(invalid="ignore"):
        means = [np.bincount(index, values, minlength=bins) / counts for values in (confidence, right)]
    return Reliability(edges, counts, *means)


def calibration_error(probs: Probs, labels: Labels | Probs, bins: int = 10) -> float:
    """ECE, in [0, 1]: mean over examples of `|accuracy - confidence|` of their bin (Guo et al. 2017, equation 3)."""
    diagram = reliability(probs, labels, bins)
    gaps = np.nan_to_num(np.abs(diagram.accuracy - diagram.confidence))
    return float(np.sum(diagram.counts * gaps) / len(labels))


def sweep_calibration_error(probs: Probs, labels: Labels | Probs) -> float:
    """ECE by a monotone sweep, in [0, 1]: of equally full bins, as many as keep accuracy from falling with confidence.

    Less biased than bins of equal width (Roelofs et al. 2022, algorithm 1, with p = 1).
    """
    right, confidence = _backing(probs, labels), probs.max(axis=-1).astype(np.float64)
    order = np.argsort(confidence, kind="stable")
    sums = [np.append(0.0, np.cumsum(values[order])) for values in (right, confidence)]
    error = 0.0
    for bins in range(1, len(labels) + 1):
        ends = np.arange(bins + 1) * len(labels) // bins
        accuracy, sure = (np.diff(each[ends]) / np.diff(ends) for each in sums)
        if np.any(np.diff(accuracy) < -1e-9):  # of sums that are rounded
            break
        error = float(np.diff(ends) @ np.abs(accuracy - sure)) / len(labels)
    return error


def over_confidence(probs: Probs, labels: Labels | Probs) -> float:
    """EOE, in [-1, 1]: mean confidence less accuracy; above 0 the model is surer than it is right, below less sure.

    Signed, so it needs no bins, and errors of both signs cancel. Of soft labels, accuracy is the mean probability that
    they give to what is predicted (EleutherAI/weak-to-strong).
    """
    return float(np.mean(probs.max(axis=-1) - _backing(probs, labels)))


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


def similarity(a: Probs, b: Probs, labels: Labels) -> float | None:
    """CAPA, at most 1: how alike two models answer, beyond what their accuracies make them agree (Goel et al. 2025).

    `(observed - expected) / (1 - expected)`: observed is the mean chance that draws from a and b are the same class;
    expected is that of independent models with their mean probabilities of the right class, whose wrong answers are
    spread evenly. 0 is chance, and below it they differ where they need not. None where expected is 1.
    """
    _check(a, labels)
    _check(b, labels)
    right_a, right_b = (float(np.mean(probs[np.arange(len(labels)), labels])) for probs in (a, b))
    observed = float(np.mean(np.sum(a.astype(np.float64) * b, axis=-1)))
    expected = right_a * right_b + (1 - right_a) * (1 - right_b) / max(a.shape[1] - 1, 1)
    return None if expected >= 1 else (observed - expected) / (1 - expected)


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
    groups: Groups | None = None

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


Found = TypeVar("Found", "PGR", "PairedDifference")


def bounded(found: Found) -> Found:
    """Without the ends of its interval that are infinite: JSON has no infinities."""
    low, high = (end if end is not None and math.isfinite(end) else None for end in (found.low, found.high))
    return replace(found, low=low, high=high)


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
    bootstrap: Bootstrap | None = None,
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
      bootstrap: resamples of these very test examples, drawn before; `resamples` and `seed` then do not matter.
    """
    resampled = _resampled(cells, level, resamples, seed, bootstrap)
    undefined = _undefined(cells, statistic)
    if undefined:
        return PGR(None, None, None, undefined)
    models = [[getattr(cell, role) for cell in cells] for role in _ROLES]
    estimates, drawn = _together([resampled.mean(model, statistic) for model in models])
    if drawn is None:
        return PGR(None, None, None, _TOO_FEW)
    means = [_interval(estimates[i], drawn[i], level) for i in range(3)]
    gap = _interval(estimates[2] - estimates[0], drawn[2] - drawn[0], level)
    if gap.low <= 0 or gap.value < min_gap:
        return PGR(None, None, None, _not_apart(gap, level, min_gap), gap, *means)
    ratio = _interval(
        (estimates[1] - estimates[0]) / gap.value, _ratio(drawn[1] - drawn[0], drawn[2] - drawn[0]), level
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
      value, low, high: difference (a - b) of the students' statistic, mean over seeds, or of PGR, with its bootstrap
        interval, infinite where it has no bound; None where it is undefined.
      p: two-sided bootstrap p-value of "no difference", over seeds and examples.
      tests: the classical tests over seeds alone; None for PGR, whose seeds have gaps of their own.
      reason: why it is undefined; None where it is defined.
      least_p: the least that so many resamples can make `p`, however sure the difference.
    """

    value: float | None
    low: float | None
    high: float | None
    p: float | None
    tests: PairedTests | None
    reason: str | None = None
    least_p: float | None = None


def paired_difference(
    cells_a: Sequence[Cell],
    cells_b: Sequence[Cell],
    statistic: Statistic = "accuracy",
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    bootstrap: Bootstrap | None = None,
) -> PairedDifference:
    """The students of two methods compared on the same seeds and test examples; resampled as in `pgr`.

    The bootstrap p-value is never below 2 / (resamples + 1): draw as many as the correction for many tests needs.

    Raises:
      UserError: the cells are not of the same seeds and examples.
    """
    resampled = _resampled_pair(cells_a, cells_b, level, resamples, seed, bootstrap)
    undefined = _undefined(cells_a, statistic)
    if undefined:
        return PairedDifference(None, None, None, None, None, undefined)
    ours, theirs = ([cell.student for cell in cells] for cells in (cells_a, cells_b))
    estimates, drawn = _together([resampled.mean(model, statistic) for model in (ours, theirs)])
    if drawn is None:
        return PairedDifference(None, None, None, None, None, _TOO_FEW)
    difference = np.round(drawn[0] - drawn[1], _SAME)
    p, least_p = _two_sided(difference)
    each = [resampled.by_seed(model, statistic) for model in (ours, theirs)]
    value = round(estimates[0] - estimates[1], _SAME)
    tests_of_seeds = paired_tests(each[0] - each[1])
    return PairedDifference(*_interval(value, difference, level), p, tests_of_seeds, least_p=least_p)


def _resampled_pair(
    cells_a: Sequence[Cell],
    cells_b: Sequence[Cell],
    level: float,
    resamples: int,
    seed: int,
    bootstrap: Bootstrap | None,
) -> Bootstrap:
    """Resamples that serve both, which must be of the same seeds and examples."""
    resampled = _resampled(cells_a, level, resamples, seed, bootstrap)
    if len(cells_a) != len(cells_b):
        raise UserError(f"{len(cells_a)} seeds beside {len(cells_b)}; a paired comparison needs the same seeds")
    for a, b in zip(cells_a, cells_b, strict=True):
        if not (np.array_equal(a.labels, b.labels) and np.array_equal(_groups(a), _groups(b))):
            raise UserError("the two methods were tested on different examples; a paired comparison needs the same")
    return resampled


def _two_sided(drawn: Float[np.ndarray, " r"]) -> tuple[float, float]:
    """A bootstrap's p-value of "no difference", and the least that it can be."""
    least_p = 2 / (len(drawn) + 1)
    tail = min(np.sum(drawn <= 0), np.sum(drawn >= 0))
    return min(1.0, (int(tail) + 1) * least_p), least_p


def paired_pgr(
    cells_a: Sequence[Cell],
    cells_b: Sequence[Cell],
    statistic: Statistic = "accuracy",
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    min_gap: float = 0.03,
    bootstrap: Bootstrap | None = None,
) -> PairedDifference:
    """The PGR of two students compared, each between its own supervisor and ceiling, in the same resamples.

    Undefined where one of the two is (see `pgr`, whose arguments these are).

    Raises:
      UserError: the cells are not of the same seeds and examples.
    """
    resampled = _resampled_pair(cells_a, cells_b, level, resamples, seed, bootstrap)
    both = [pgr(cells, statistic, level=level, min_gap=min_gap, bootstrap=resampled) for cells in (cells_a, cells_b)]
    values = [found.value for found in both]
    if values[0] is None or values[1] is None:
        reason = next(found.reason for found in both if found.value is None)
        return PairedDifference(None, None, None, None, None, reason)
    models = [[getattr(cell, role) for cell in cells] for cells in (cells_a, cells_b) for role in _ROLES]
    _, drawn = _together([resampled.mean(model, statistic) for model in models])
    if drawn is None:
        return PairedDifference(None, None, None, None, None, _TOO_FEW)
    ratios = [_ratio(drawn[i + 1] - drawn[i], drawn[i + 2] - drawn[i]) for i in (0, 3)]
    with np.errstate(invalid="ignore"):
        difference = ratios[0] - ratios[1]  # NaN where both are infinite alike, in the few resamples without a gap
    difference = np.round(difference[~np.isnan(difference)], _SAME)
    p, least_p = _two_sided(difference)
    return PairedDifference(*_interval(values[0] - values[1], difference, level), p, None, least_p=least_p)


def paired_tests(differences: Float[np.ndarray, " n"]) -> PairedTests:
    """Paired t, Wilcoxon signed-rank and sign test of differences over pairs (seeds, or tasks), all two-sided.

    Differences are taken to 12 decimals: what is beyond is rounding. Pairs without a difference leave the Wilcoxon and
    the sign test. t needs two pairs that are not the same. With n pairs neither Wilcoxon's nor the sign test's p can be
    below 2 / 2^n: five seeds alone cannot reach .05.
    """
    from scipy import stats

    differences = np.round(differences, _SAME)
    differing = differences[differences != 0]
    if differing.size == 0:
        return PairedTests(None, None, None)
    spread = differences.size > 1 and np.ptp(differences) > 0
    t = float(stats.ttest_1samp(differences, 0.0).pvalue) if spread else None
    sign = float(stats.binomtest(int(np.sum(differing > 0)), differing.size).pvalue)
    return PairedTests(t, float(stats.wilcoxon(differing).pvalue), sign)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p-values adjusted for many tests by Holm's step-down method (1979), in the order given. None is no test."""
    p = np.array([value for value in p_values if value is not None], np.float64)
    if p.size and not ((p >= 0) & (p <= 1)).all():
        raise UserError("p-values must be from 0 to 1")
    order = np.argsort(p, kind="stable")
    steps = np.minimum(1.0, p[order] * np.arange(p.size, 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(steps) if p.size else steps
    found = iter(adjusted.tolist())
    return [None if value is None else next(found) for value in p_values]


# ---- Helpers


def tests(cells: Sequence[Cell]) -> list[tuple[Labels, Groups]]:
    """What the cells were measured on, as `Bootstrap` wants it."""
    return [(cell.labels, _groups(cell)) for cell in cells]


def _groups(cell: Cell) -> Groups:
    return np.arange(len(cell.labels)) if cell.groups is None else cell.groups


def _interval(value: float, drawn: Float[np.ndarray, " r"], level: float) -> Interval:
    """The percentile interval. Its ends are resamples, so that infinite ones beyond them do no harm."""
    tail = (1 - level) / 2
    low, high = np.quantile(drawn, tail, method="lower"), np.quantile(drawn, 1 - tail, method="higher")
    return Interval(float(value), float(low), float(high))


# ---- Checks


def _backing(probs: Probs, labels: Labels | Probs) -> Float[np.ndarray, " n"]:
    """How far labels back each prediction: 1 or 0, or the probability that soft labels give it."""
    _check(probs, labels if labels.ndim == 1 else np.argmax(labels, axis=-1))
    predicted = np.argmax(probs, axis=-1)
    if labels.ndim == 1:
        return (predicted == labels).astype(np.float64)
    return np.take_along_axis(labels, predicted[:, None], axis=-1)[:, 0].astype(np.float64)


def _check(probs: np.ndarray, labels: np.ndarray) -> None:
    if probs.ndim != 2 or labels.shape != probs.shape[:1]:
        raise UserError(f"probabilities {probs.shape} and labels {labels.shape} do not fit; want [N, C] and [N]")
    if not len(labels):
        raise UserError("there are no examples to measure on")
    if not ((probs >= 0) & (probs <= 1.001)).all():
        raise UserError("probabilities must be numbers from 0 to 1; some are not")
    if labels.min() < 0 or labels.max() >= probs.shape[1]:
        raise UserError(f"labels go from {labels.min()} to {labels.max()}; with {probs.shape[1]} classes want 0 and up")


def _resampled(
    cells: Sequence[Cell], level: float, resamples: int, seed: int, bootstrap: Bootstrap | None
) -> Bootstrap:
    if not cells:
        raise UserError("there are no cells: want one for each seed")
    if not 0 < level < 1:
        raise UserError(f"level must be between 0 and 1, not {level:g}")
    if bootstrap is None:
        return Bootstrap(tests(cells), resamples, seed)
    if not bootstrap.fits(tests(cells)):
        raise UserError("the resamples were drawn for other test examples")
    return bootstrap


def _together(models: Sequence[Drawn]) -> tuple[list[float], np.ndarray | None]:
    """The models' statistics, and the resamples [M, R] where all are defined; None where those are under half."""
    drawn = np.stack([model.resampled for model in models])
    defined = np.isfinite(drawn).all(axis=0)
    return [model.value for model in models], drawn[:, defined] if defined.mean() >= 0.5 else None


def _undefined(cells: Sequence[Cell], statistic: str) -> str | None:
    if statistic not in STATISTICS:
        raise errors.unknown("statistic", statistic, STATISTICS)
    if statistic == "auroc":
        for number, cell in enumerate(cells):
            if len(np.unique(cell.labels)) < 2:
                return f"AUROC is undefined: all labels of seed number {number} are of one class"
    return None
