"""Several people's answers to one question as one label: majority, product of confidences, Dawid-Skene.

Each takes answers as columns: who, on which question, which class, how sure; and gives class probabilities of every
question. None of them sees what is right.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Bool, Float, Int

from w2s_jax.runtime import errors
from w2s_jax.runtime.errors import UserError

How = Literal["majority", "product", "dawid-skene"]
SUREST = 0.99  # what is said to be certain counts as this much: else one person decides a product alone
SMOOTHING = 1.0  # answer to each class, spread over all: a count of 0 would exclude a class for ever
STEPS, ENOUGH = 1000, 1e-7  # of EM, and by how much no probability then changes any more
SAME = 1e-12


class Votes(NamedTuple):
    """Answers as columns of N, numbered from 0.

    Attributes:
      annotator: who answered.
      question: what was answered.
      choice: the class that was taken.
      confidence: the probability that the annotator gives to it.
    """

    annotator: Int[np.ndarray, " n"]
    question: Int[np.ndarray, " n"]
    choice: Int[np.ndarray, " n"]
    confidence: Float[np.ndarray, " n"]


class Aggregated(NamedTuple):
    """One label of each question.

    Attributes:
      probs: class probabilities [questions, classes].
      tied: whether several classes have the largest.
    """

    probs: Float[np.ndarray, "q c"]
    tied: Bool[np.ndarray, " q"]


def check_how(how: str) -> None:
    """Refuses what is no way to combine answers."""
    if how not in get_args(How):
        raise errors.unknown("way to combine answers", how, get_args(How))


def aggregate(how: str, votes: Votes, n_questions: int, n_classes: int) -> Aggregated:
    """The label of every question by one of the three ways.

    Args:
      how: as `How` lists them.

    Raises:
      UserError: there is no such way, a question has no answer, or an answer is out of range.
    """
    check_how(how)
    _check(votes, n_questions, n_classes)
    ways: dict[str, Callable[[Votes, int, int], np.ndarray]] = {
        "majority": majority,
        "product": product,
        "dawid-skene": lambda *said: dawid_skene(*said).probs,
    }
    probs = ways[how](votes, n_questions, n_classes)
    return Aggregated(probs, (probs >= probs.max(axis=1, keepdims=True) - SAME).sum(axis=1) > 1)


def majority(votes: Votes, n_questions: int, n_classes: int) -> Float[np.ndarray, "q c"]:
    """The share of the answers that each class has.

    >>> votes = Votes(np.arange(3), np.zeros(3, int), np.array([1, 1, 0]), np.full(3, 0.6))
    >>> majority(votes, 1, 2).round(3)
    array([[0.333, 0.667]])
    """
    counts = np.zeros((n_questions, n_classes))
    np.add.at(counts, (votes.question, votes.choice), 1.0)
    return counts / counts.sum(axis=1, keepdims=True)


def product(votes: Votes, n_questions: int, n_classes: int) -> Float[np.ndarray, "q c"]:
    """The normalised product of the probabilities that everybody gives to each class: a weighted vote.

    Somebody who is sure of a class with probability c gives the others `(1 - c) / (C - 1)` each; c = 1 counts as .99
    (Bowman et al. 2022, section 4).

    >>> votes = Votes(np.arange(2), np.zeros(2, int), np.array([1, 0]), np.array([1.0, 0.9]))
    >>> product(votes, 1, 2).round(3)
    array([[0.083, 0.917]])
    """
    from scipy.special import softmax

    logs = np.zeros((n_questions, n_classes))
    np.add.at(logs, votes.question, log_probs(votes.choice, votes.confidence, n_classes))
    return np.asarray(softmax(logs, axis=1))


def log_probs(
    choice: Int[np.ndarray, " n"], confidence: Float[np.ndarray, " n"], n_classes: int
) -> Float[np.ndarray, "n c"]:
    """Logarithms of what each answer says of each class, at most .99 of one."""
    sure = np.minimum(confidence, SUREST)
    probs = np.repeat(((1 - sure) / (n_classes - 1))[:, None], n_classes, axis=1)
    probs[np.arange(len(choice)), choice] = sure
    return np.asarray(np.log(probs))


class DawidSkene(NamedTuple):
    """What EM found.

    Attributes:
      probs: of each question's classes [Q, C].
      prior: of the classes [C].
      confusion: of each annotator: in row k how often class k is called each class [A, C, C].
      objective: at every step, the log likelihood of all answers plus `sum of smoothing log(confusion)`; it never
        falls.
      converged: whether no probability changed by more than 1e-7 in the last step.
    """

    probs: Float[np.ndarray, "q c"]
    prior: Float[np.ndarray, " c"]
    confusion: Float[np.ndarray, "a c c"]
    objective: list[float]
    converged: bool


def dawid_skene(votes: Votes, n_questions: int, n_classes: int, steps: int = STEPS) -> DawidSkene:
    """Each annotator's confusions and each question's class, estimated together by EM from the answers alone.

    Starts from the shares of the votes. With `n[a, q, l]` the answers l of annotator a to question q, a step is

        prior[k] = mean over q of p[q, k],    confusion[a, k, l] ~ sum over q of p[q, k] n[a, q, l] + smoothing
        p[q, k] ~ prior[k] * product over a, l of confusion[a, k, l] ^ n[a, q, l]

    where smoothing is 1 / C, one answer to each class spread over all: somebody with three answers must not be taken
    for infallible. Confidences do not count. With one answer a question there is nothing to learn: labels are
    then about those answers. What it finds is named by majority: where most people err in the same way, so does it.

    Reference: Dawid and Skene 1979, Applied Statistics 28(1).
    """
    from scipy.special import softmax

    probs = majority(votes, n_questions, n_classes)
    n_annotators = int(votes.annotator.max()) + 1
    spread = SMOOTHING / n_classes
    objective: list[float] = []
    for _ in range(steps):
        prior = probs.mean(axis=0)
        confusion = np.zeros((n_annotators, n_classes, n_classes))
        np.add.at(confusion.transpose(0, 2, 1), (votes.annotator, votes.choice), probs[votes.question])
        confusion = (confusion + spread) / (confusion + spread).sum(axis=2, keepdims=True)
        with np.errstate(divide="ignore"):
            logs = np.repeat(np.log(prior)[None], n_questions, axis=0)
        np.add.at(logs, votes.question, np.log(confusion[votes.annotator, :, votes.choice]))
        smooth = float((spread * np.log(confusion)).sum())
        objective.append(float(np.logaddexp.reduce(logs, axis=1).sum()) + smooth)
        before, probs = probs, np.asarray(softmax(logs, axis=1))
        if np.abs(probs - before).max() < ENOUGH:
            return DawidSkene(probs, prior, confusion, objective, True)
    return DawidSkene(probs, prior, confusion, objective, False)


def _check(votes: Votes, n_questions: int, n_classes: int) -> None:
    answered = np.bincount(votes.question, minlength=n_questions)
    if len(answered) > n_questions or not answered.all():
        raise UserError(f"{int((answered == 0).sum())} of {n_questions} questions have no answer to combine")
    if votes.choice.min() < 0 or votes.choice.max() >= n_classes:
        raise UserError(f"choices go from {votes.choice.min()} to {votes.choice.max()}; there are {n_classes} classes")
