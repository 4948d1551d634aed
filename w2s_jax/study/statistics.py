"""Statistics of answers as functions of weights, for `metrics.crossed` to resample."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import softmax

from w2s_jax.data.annotators import log_probs
from w2s_jax.data.answers import NO_CHOICE, Answer, ModelAnswer
from w2s_jax.metrics.calibration import bin_of
from w2s_jax.metrics.crossed import NOBODY, Sample, Weights

BINS = 5  # of confidence, as Bowman et al.
SAME = 1e-9  # logarithms of two classes' products that differ by less are tied


class Columns(NamedTuple):
    """Answers as columns [N]; participants, questions and groups are numbered.

    Attributes:
      confidence: NaN where time ran out.
      right: 1 or 0; 0 where time ran out.
    """

    participant: Int[np.ndarray, " n"]
    question: Int[np.ndarray, " n"]
    group: Int[np.ndarray, " n"]
    position: Int[np.ndarray, " n"]
    n_choices: Int[np.ndarray, " n"]
    choice: Int[np.ndarray, " n"]
    confidence: Float[np.ndarray, " n"]
    seconds: Float[np.ndarray, " n"]
    turns: Float[np.ndarray, " n"]
    changes: Float[np.ndarray, " n"]
    suggested: Int[np.ndarray, " n"]
    label: Int[np.ndarray, " n"]
    right: Float[np.ndarray, " n"]

    def take(self, rows: Int[np.ndarray, " m"] | Bool[np.ndarray, " n"]) -> "Columns":
        """Some of the answers."""
        return Columns(*(column[rows] for column in self))

    @property
    def given(self) -> "Columns":
        """The answers that came in time."""
        return self.take(self.choice != NO_CHOICE)


class Numbers(NamedTuple):
    """The numbers of participants, questions, and questions' groups."""

    participants: Mapping[str, int]
    questions: Mapping[str, int]
    groups: Mapping[str, int]


def columns(answers: Sequence[Answer], key: Mapping[str, int], numbers: Numbers) -> Columns:
    """Answers as columns, with the right ones."""

    def of(name: str, kind: type) -> np.ndarray:
        return np.array([getattr(answer, name) for answer in answers], kind)

    label = np.array([key[answer.question] for answer in answers], int)
    choice = of("choice", int)
    return Columns(
        participant=np.array([numbers.participants[answer.participant] for answer in answers], int),
        question=np.array([numbers.questions[answer.question] for answer in answers], int),
        group=np.array([numbers.groups[answer.question] for answer in answers], int),
        position=of("position", int),
        n_choices=of("n_choices", int),
        choice=choice,
        confidence=of("confidence", float),
        seconds=of("seconds", float),
        turns=of("turns", float),
        changes=of("changes", float),
        suggested=of("suggested", int),
        label=label,
        right=(choice == label).astype(float),
    )


def mean(rows: Columns, values: Float[np.ndarray, " n"]) -> Sample:
    """The mean of something over answers; of `rows.right` accuracy."""

    def statistic(people: Weights, questions: Weights) -> np.ndarray:
        weights = people * questions
        return np.asarray((weights @ values) / weights.sum(axis=1))

    return Sample(rows.participant, rows.group, statistic)


def calibration(rows: Columns) -> Sample:
    """Calibration error of the answers given in time: mean of |accuracy - confidence| of their bin, of five."""
    given = rows.given
    return Sample(given.participant, given.group, _calibration(given.confidence, given.right))


def slope(rows: Columns) -> Sample:
    """By how much accuracy changes from one question of the session to the next: least squares."""
    at = rows.position - rows.position.mean()

    def statistic(people: Weights, questions: Weights) -> np.ndarray:
        weights = people * questions
        weights = weights / weights.sum(axis=1, keepdims=True)
        where, right = weights @ at, weights @ rows.right
        return np.asarray((weights @ (at * rows.right) - where * right) / (weights @ at**2 - where**2))

    return Sample(rows.participant, rows.group, statistic)


class Vote(NamedTuple):
    """The weighted vote of all who answered a question under one condition.

    Attributes:
      accuracy: a tie counts as right in so many parts as it has classes, if one of them is.
      calibration: its error in five bins.
      questions: that somebody answered.
      ties: questions of which several classes have the largest product.
      most: answers of one question, at most.
    """

    accuracy: Sample
    calibration: Sample
    questions: int
    ties: int
    most: int


def vote(rows: Columns) -> Vote:
    """argmax of the product of everybody's probabilities (see `data.annotators.product`); no answer says nothing."""
    rows = rows.take(np.argsort(rows.question, kind="stable"))
    _, starts, counts = np.unique(rows.question, return_index=True, return_counts=True)
    labels, offered = rows.label[starts], np.arange(rows.n_choices.max()) < rows.n_choices[starts, None]
    logs = np.zeros((len(rows.choice), offered.shape[1]))
    for count in np.unique(rows.n_choices):
        here = (rows.n_choices == count) & (rows.choice != NO_CHOICE)
        logs[here, :count] = log_probs(rows.choice[here], rows.confidence[here], int(count))

    def scores(people: Weights) -> Float[np.ndarray, "b q c"]:
        summed = np.add.reduceat(people[:, :, None] * logs[None], starts, axis=1)
        return np.where(offered[None], summed, -np.inf)

    def right(found: Float[np.ndarray, "b q c"]) -> Float[np.ndarray, "b q"]:
        first = found >= found.max(axis=2, keepdims=True) - SAME
        return np.asarray(first[:, np.arange(len(labels)), labels] / first.sum(axis=2))

    def accuracy(people: Weights, questions: Weights) -> np.ndarray:
        weights = questions[:, starts]
        return np.asarray((weights * right(scores(people))).sum(axis=1) / weights.sum(axis=1))

    def error(people: Weights, questions: Weights) -> np.ndarray:
        found = scores(people)
        weights = questions[:, starts]
        return _error(weights, softmax(found, axis=2).max(axis=2), right(found))

    whole = scores(np.ones((1, len(rows.choice))))[0]
    ties = ((whole >= whole.max(axis=1, keepdims=True) - SAME).sum(axis=1) > 1).sum()
    right_one, calibrated = (Sample(rows.participant, rows.group, statistic) for statistic in (accuracy, error))
    return Vote(right_one, calibrated, len(labels), int(ties), int(counts.max()))


class Alone(NamedTuple):
    """A model's answers: accuracy, calibration error, mean confidence, and how many questions."""

    accuracy: Sample
    calibration: Sample
    confidence: float
    questions: int


def alone(said: Sequence[ModelAnswer], key: Mapping[str, int], numbers: Numbers) -> Alone:
    """What a model alone says of the study's questions; of equal probabilities the first counts, as everywhere."""
    right = np.array([float(np.argmax(each.probs) == key[each.question]) for each in said])
    sure = np.array([max(each.probs) for each in said])
    group = np.array([numbers.groups[each.question] for each in said], int)
    nobody = np.full(len(said), NOBODY)

    def accuracy(people: Weights, questions: Weights) -> np.ndarray:
        return np.asarray((questions @ right) / questions.sum(axis=1))

    calibrated = Sample(nobody, group, _calibration(sure, right))
    return Alone(Sample(nobody, group, accuracy), calibrated, float(sure.mean()), len(said))


def _calibration(
    confidence: Float[np.ndarray, " n"], right: Float[np.ndarray, " n"]
) -> Callable[[Weights, Weights], Float[np.ndarray, " b"]]:
    members = np.eye(BINS)[bin_of(confidence, BINS)] * (right - confidence)[:, None]

    def statistic(people: Weights, questions: Weights) -> np.ndarray:
        weights = people * questions
        return np.asarray(np.abs(weights @ members).sum(axis=1) / weights.sum(axis=1))

    return statistic


def _error(
    weights: Float[np.ndarray, "b q"], confidence: Float[np.ndarray, "b q"], right: Float[np.ndarray, "b q"]
) -> Float[np.ndarray, " b"]:
    """Calibration error where each resample has confidences of its own."""
    place, gaps = bin_of(confidence, BINS), weights * (right - confidence)
    each = [np.abs(np.where(place == number, gaps, 0.0).sum(axis=1)) for number in range(BINS)]
    return np.asarray(np.sum(each, axis=0) / weights.sum(axis=1))
