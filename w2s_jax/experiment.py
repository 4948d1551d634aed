"""The graph of stages: what an experiment is made of, what its cells share, what each stage is the hash of.

A stage is one trained model with its predictions. Its key is the hash of everything that decides its bits, and of
nothing else: names of experiments, methods and folders do not count, so equal work is done once wherever it appears.
"""

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from w2s_jax import config, files, materials, models
from w2s_jax.config import Experiment, Method, TaskConfig
from w2s_jax.data.labels import Predictions
from w2s_jax.data.splits import Split
from w2s_jax.train.learner import Learner

# Raised when a change to the code changes what equal inputs give: stages made before are then not reused.
STAGE_VERSION = 1

Role = Literal["supervisor", "student", "ceiling"]
TRUTH = Method()


@dataclass(frozen=True)
class Stage:
    """One model to train, and what it learns from.

    Attributes:
      role: `supervisor` learns the ground truth of the supervisor split; `student` and `ceiling` learn the transfer
        split, from the teacher's labels and from ground truth.
      teacher: the stage whose predictions are a student's labels.
    """

    role: Role
    task: TaskConfig
    learner: Learner
    loss: str
    options: tuple[tuple[str, config.Value], ...]
    seed: int
    teacher: "Stage | None" = None

    @property
    def method(self) -> Method:
        return Method(self.loss, dict(self.options))

    @property
    def predicts(self) -> tuple[str, ...]:
        """The splits it labels when trained. A supervisor never saw any of them."""
        return ("transfer", "validation", "test") if self.role == "supervisor" else ("validation", "test")

    @functools.cached_property
    def identity(self) -> dict[str, Any]:
        """Everything that decides this stage's bits, as JSON values."""
        data = stage_splits(self)
        learner = config.asdict(self.learner)
        del learner["loop"]["checkpoint_seconds"]
        learner["model"] = models.fingerprint(self.learner.model)
        return {
            "version": STAGE_VERSION,
            "learner": learner,
            "loss": materials.loss_identity(self.method),
            "seed": self.seed,
            "teacher": None if self.teacher is None else self.teacher.key,
            "train": data.train.fingerprint,
            "validation": data.validation.fingerprint,
            "predicts": {name: split.fingerprint for name, split in data.predict.items()},
        }

    @functools.cached_property
    def key(self) -> str:
        """SHA-256 of the identity."""
        return files.sha256_text(files.canonical(self.identity))

    @property
    def folder(self) -> str:
        task = re.sub(r"[^A-Za-z0-9_-]", "-", Path(self.task.name).stem)
        return f"{self.role}-{task}-s{self.seed}-{self.key[:12]}"


class StageSplits(NamedTuple):
    """The examples a stage is given. Where it must not know the truth, the truth is not there."""

    train: Split
    validation: Split
    predict: dict[str, Split]


class Labelled(NamedTuple):
    """Texts and the class probabilities to learn, float32 [N, C]."""

    split: Split
    targets: np.ndarray


class StageInputs(NamedTuple):
    """All that training a stage may see."""

    train: Labelled
    validation: Labelled
    predict: dict[str, Split]


def stage_splits(stage: Stage) -> StageSplits:
    """What of the task this stage is given: a student gets no ground truth, and nobody gets that of the test split."""
    splits = materials.splits(stage.task, stage.seed)
    train = splits.supervisor if stage.role == "supervisor" else splits.transfer
    validation = splits.validation
    if stage.role == "student":
        train, validation = train.without_truth(), validation.without_truth()
    return StageSplits(train, validation, {name: getattr(splits, name).without_truth() for name in stage.predicts})


def stage_inputs(stage: Stage, weak: Predictions | None) -> StageInputs:
    """The labelled data of a stage. `weak` is the teacher's table, for a student."""
    data = stage_splits(stage)
    if stage.role == "student":
        assert weak is not None
        return StageInputs(
            Labelled(data.train, weak.for_split("transfer", data.train.ids)),
            Labelled(data.validation, weak.for_split("validation", data.validation.ids)),
            data.predict,
        )
    n_classes = materials.splits(stage.task, stage.seed).n_classes
    return StageInputs(_with_truth(data.train, n_classes), _with_truth(data.validation, n_classes), data.predict)


def _with_truth(split: Split, n_classes: int) -> Labelled:
    assert split.labels is not None
    return Labelled(split.without_truth(), materials.truth(split.labels, n_classes))


class CellStages(NamedTuple):
    """One cell of the grid, by display names, and the three stages that answer it."""

    task: str
    supervisor: str
    student: str
    method: str
    seed: int
    stages: dict[Role, Stage]


def cells(experiment: Experiment) -> Iterator[CellStages]:
    """Every cell, in the order: task, pair of models, seed, method."""
    for task in experiment.tasks:
        for supervisor_name, student_name in experiment.model_pairs():
            strong = experiment.students[student_name]
            for seed in experiment.seeds:
                supervisor = _stage("supervisor", task, experiment.supervisors[supervisor_name], TRUTH, seed)
                ceiling = _stage("ceiling", task, strong, TRUTH, seed)
                for name, method in experiment.methods.items():
                    student = _stage("student", task, strong, method, seed, supervisor)
                    stages: dict[Role, Stage] = {"supervisor": supervisor, "student": student, "ceiling": ceiling}
                    yield CellStages(task.name, supervisor_name, student_name, name, seed, stages)


def stages(experiment: Experiment) -> list[Stage]:
    """The distinct stages of all cells, each after the one it learns from."""
    found: dict[str, Stage] = {}
    for cell in cells(experiment):
        for role in ("supervisor", "student", "ceiling"):
            stage = cell.stages[role]
            found.setdefault(stage.key, stage)
    return list(found.values())


def _stage(
    role: Role, task: TaskConfig, learner: Learner, method: Method, seed: int, teacher: Stage | None = None
) -> Stage:
    return Stage(role, task, learner, method.loss, tuple(sorted(method.options.items())), seed, teacher)
