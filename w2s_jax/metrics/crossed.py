"""Statistics of people who answer questions, with errors over both: a bootstrap of participants and of questions.

Participants and questions are both drawn by chance, and an answer belongs to one of each. Three bootstraps are made:
of participants, of whole groups of questions, and of single answers (of a participant, in a group). With C_p, C_q and
C_a the covariances of all statistics in them, that of the statistics is

    C_p + C_q - C_a

(Cameron, Gelbach & Miller 2011; for the bootstrap Owen & Eckles 2012): what is left to chance in a single answer is in
both of the first two. Resampling both at once, as is common, counts it three times (Owen 2007). The bootstrap is the
smooth one (Rubin 1981): a resample's weights are exponential, with mean 1, so that none is empty. Over n units its
covariance is (n - 1) / (n + 1) of what it should be, and is divided by that. Intervals are then Student's t, and
Fieller's for ratios, as everywhere here: percentiles of five resampled people cover too little.

A variance that is a difference may come out far too small, even negative, as that of two conditions in which the same
people gave much the same answers. It is C_q at least: in expectation it is more than that.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from w2s_jax.metrics.estimates import Estimates, Over, Part
from w2s_jax.runtime.errors import UserError

DRAWS = 2000
CHUNK = 250  # resamples at once
NOBODY = -1  # what has no participant: a model, or a number that was published

Weights = Float[np.ndarray, "b n"]


class Sample(NamedTuple):
    """A statistic, and what its N rows belong to.

    Attributes:
      participant: the number of each row's; -1 for nobody who could be drawn.
      group: the number of each row's group of questions.
      statistic: two weights of the rows, by people and by questions [B, N], -> the statistic [B]. What combines several
        people's answers to a question weighs them by the first, and questions by the second; others multiply the two.
    """

    participant: Int[np.ndarray, " n"]
    group: Int[np.ndarray, " n"]
    statistic: Callable[[Weights, Weights], Float[np.ndarray, " b"]]


def constant(value: float) -> Sample:
    """A number without an error, such as a published one."""
    nothing = np.zeros(0, np.int64)
    return Sample(nothing, nothing, lambda people, questions: np.full(len(people), value))


def crossed(samples: Sequence[Sample], kinds: Int[np.ndarray, " p"], *, draws: int = DRAWS, seed: int = 0) -> Estimates:
    """The statistics with the covariance of their errors over participants and questions.

    Args:
      samples: of one study: the same number is the same participant, or group, in all of them.
      kinds: of every participant a number: those who did the same conditions are of one kind, and each kind is
        resampled by itself. The error of somebody who is alone of a kind is over questions alone.
      draws: resamples, of participants of each kind, of questions and of answers.

    Raises:
      UserError: one participant and one group of questions, or none.
    """
    rng = np.random.default_rng(seed)
    values = np.array([float(_on_all(sample)[0]) for sample in samples])
    n_groups = 1 + max((int(sample.group.max()) for sample in samples if len(sample.group)), default=-1)
    members = [np.flatnonzero(kinds == kind) for kind in np.unique(kinds)]
    members = [each for each in members if len(each) > 1]
    resampled = np.isin(np.arange(len(kinds) + 1), np.concatenate([[], *members]))  # the last is nobody
    units = int(resampled.sum())
    parts = []
    for each in members:
        people = _Units(each, len(kinds) + 1)
        covariance = _covariance(samples, people, [sample.participant for sample in samples], None, draws, rng)
        parts.append(Part(covariance, len(each) - 1))
    if n_groups < 2:
        if not parts:
            raise UserError("one participant and one group of questions, or none: nothing says how others would differ")
        return Estimates(values, tuple(parts), parts[0], units, "participants and questions")
    groups = [sample.group for sample in samples]
    questions = _covariance(samples, _Units(np.arange(n_groups), n_groups), None, groups, draws, rng)
    overlap = np.zeros_like(questions)
    if parts:
        places, count = _cells(samples, resampled, n_groups)
        overlap = _covariance(samples, _Units(np.arange(count), count + 1), places, None, draws, rng)
    parts.append(Part(questions - overlap, n_groups - 1))
    over: Over = "participants and questions" if len(parts) > 1 else "questions"
    return Estimates(values, tuple(parts), Part(questions, n_groups - 1), units + n_groups, over, least=1.0)


class _Units(NamedTuple):
    """What is resampled: these of so many; the others weigh 1."""

    drawn: Int[np.ndarray, " u"]
    of: int

    def weights(self, rng: np.random.Generator, size: int) -> Weights:
        """Weights that sum to the number of the units in every resample."""
        weights = np.ones((size, self.of))
        drawn = rng.exponential(size=(size, len(self.drawn)))
        weights[:, self.drawn] = drawn * (len(self.drawn) / drawn.sum(axis=1, keepdims=True))
        return weights


def _on_all(sample: Sample) -> Float[np.ndarray, " 1"]:
    """The statistic itself."""
    ones = np.ones((1, len(sample.group)))
    return sample.statistic(ones, ones)


def _cells(
    samples: Sequence[Sample], resampled: Bool[np.ndarray, " people"], n_groups: int
) -> tuple[list[Int[np.ndarray, " _"]], int]:
    """The number of each row's (participant, group), which of nobody is the last, and how many others there are."""
    names = [
        np.where(resampled[sample.participant], sample.participant * n_groups + sample.group, NOBODY)
        for sample in samples
    ]
    known, places = np.unique(np.concatenate([[NOBODY], *names]), return_inverse=True)
    places = (places[1:] - 1) % len(known)  # nobody, which is the least of all, becomes the last
    return np.split(places, np.cumsum([len(each) for each in names])[:-1]), len(known) - 1


def _covariance(
    samples: Sequence[Sample],
    units: _Units,
    people: Sequence[Int[np.ndarray, " _"]] | None,
    questions: Sequence[Int[np.ndarray, " _"]] | None,
    draws: int,
    rng: np.random.Generator,
) -> Float[np.ndarray, "s s"]:
    """Of the statistics over resamples of units, as many times larger as so few units make it too small.

    Args:
      people, questions: the unit of every sample's rows, which weighs them so; None for 1.
    """
    found = np.empty((len(samples), draws))
    for start in range(0, draws, CHUNK):
        size = min(CHUNK, draws - start)
        weights = units.weights(rng, size)
        for row, sample in enumerate(samples):
            ones = np.ones((size, len(sample.group)))
            by_people = ones if people is None else weights[:, people[row]]
            by_questions = ones if questions is None else weights[:, questions[row]]
            found[row, start : start + size] = sample.statistic(by_people, by_questions)
    count = len(units.drawn)
    return np.atleast_2d(np.cov(found)) * ((count + 1) / (count - 1))
