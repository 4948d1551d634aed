"""Several supervisors whose labels are combined."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from w2s_jax.data.task_data import TaskData
from w2s_jax.runtime.errors import UserError
from w2s_jax.stages.base import Fit, Labelled, SoftLabels, Stage
from w2s_jax.stages.supervise import LABELLED, Inputs, Supervise, Supervisor
from w2s_jax.supervisors.combining import average, boosting_round, bootstrap_rows, vote
from w2s_jax.supervisors.registry import SUPERVISORS
from w2s_jax.supervisors.resolve import supervisor
from w2s_jax.train.learner import Learner


@SUPERVISORS.register
@dataclass(frozen=True)
class Ensemble(Supervisor):
    """Several supervisors whose labels are combined.

    Attributes:
      members: at least two; one may occur several times.
      how: `average` of the members' probabilities; `bagging`, where each member is trained on its own bootstrap sample
        (Breiman 1996); or `boosting`, where each is trained on what those before it got wrong, and they vote (SAMME,
        as in EnsemW2S, arXiv 2410.04571). Only an average may have members that are no learners.

    Raises:
      UserError: fewer than two members, or bagging or boosting of other supervisors than learners.
    """

    members: tuple[Any, ...]
    how: Literal["average", "bagging", "boosting"] = "average"

    combines = True
    asks = False

    def __post_init__(self) -> None:
        if len(self.members) < 2:
            raise UserError(f"an ensemble needs two members or more, not {len(self.members)}")
        if self.how not in ("average", "bagging", "boosting"):
            raise UserError(f"an ensemble is an average, bagging or boosting, not {self.how!r}")
        if self.how != "average" and not all(isinstance(member, Learner) for member in self.members):
            raise UserError(f"{self.how} is of learners; an ensemble with other supervisors is an average")

    def needs(self, task: TaskData, seed: int) -> tuple[Stage, ...]:
        stages: list[Stage] = []
        for place, member in enumerate(self.members):
            kind: Supervisor = supervisor(member)
            if self.how == "bagging":
                kind = Bagged(member, place)
            elif self.how == "boosting":
                kind = Boosted(member, place, tuple(stages))
            stages.append(Supervise(task, seed, kind))
        return tuple(stages)

    def identity(self, task: TaskData) -> dict[str, Any]:
        return {"ensemble": self.how}

    def label(self, inputs: Inputs) -> SoftLabels:
        votes = boosting(inputs.needs, inputs)[1] if self.how == "boosting" else None
        found = {}
        for name, split in inputs.splits.items():
            probs = np.stack([inputs.read(member, name, split.ids) for member in inputs.needs])
            found[name] = average(probs) if votes is None else vote(probs, np.array(votes))
        return found

    def learners(self) -> tuple[Learner, ...]:
        return tuple(learner for member in self.members for learner in supervisor(member).learners())

    def describe(self) -> str:
        return f"{self.how} of {len(self.members)} supervisors"


@dataclass(frozen=True)
class Bagged(Supervisor):
    """A member of a bagged ensemble: a learner trained on a bootstrap sample of the supervisor split."""

    learner: Learner
    place: int

    asks = False

    def trains(self) -> Learner:
        return self.learner

    def identity(self, task: TaskData) -> dict[str, Any]:
        return {"bagged": self.place}

    def label(self, inputs: Inputs) -> Fit:
        rows = bootstrap_rows(len(inputs.lesson.train.split), _seed(inputs, self.place))
        return _fit_on(inputs, rows)

    def describe(self) -> str:
        return f"{self.learner.model}, number {self.place + 1} of a bagged ensemble"


@dataclass(frozen=True, eq=False)
class Boosted(Supervisor):
    """A member of a boosted ensemble: a learner trained on what the members before it got wrong."""

    learner: Learner
    place: int
    before: tuple[Stage, ...]

    splits = ("supervisor", *LABELLED)
    asks = False

    def trains(self) -> Learner:
        return self.learner

    def needs(self, task: TaskData, seed: int) -> tuple[Stage, ...]:
        return self.before

    def identity(self, task: TaskData) -> dict[str, Any]:
        return {"boosted": self.place}

    def label(self, inputs: Inputs) -> Fit:
        weights, _ = boosting(self.before, inputs)
        drawn = np.random.default_rng(_seed(inputs, self.place)).choice(len(weights), len(weights), p=weights)
        return _fit_on(inputs, drawn.astype(np.int32))

    def describe(self) -> str:
        return f"{self.learner.model}, number {self.place + 1} of a boosted ensemble"


def boosting(members: tuple[Stage, ...], inputs: Inputs) -> tuple[np.ndarray, list[float]]:
    """The weight of every example of the supervisor split after these members, and the vote of each member."""
    train = inputs.lesson.train
    weights, votes = np.full(len(train.split), 1 / len(train.split)), []
    for member in members:
        probs = inputs.read(member, "supervisor", train.split.ids)
        vote_of_member, weights = boosting_round(probs, train.targets.argmax(axis=1), weights)
        votes.append(vote_of_member)
    return weights, votes


def _seed(inputs: Inputs, place: int) -> int:
    return int(np.random.default_rng([inputs.seed, place]).integers(2**31))


def _fit_on(inputs: Inputs, rows: np.ndarray) -> Fit:
    train = inputs.lesson.train
    return inputs.fit(inputs.lesson._replace(train=Labelled(train.split.take(rows), train.targets[rows])))
