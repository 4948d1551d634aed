"""Stages on the transfer split without a supervisor: ceilings, adapted backbones, and truth probes."""

import abc
import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from jax.sharding import Mesh

from w2s_jax import losses
from w2s_jax.data.splits import Splits
from w2s_jax.data.task_data import TaskData
from w2s_jax.data.tokens import Text
from w2s_jax.runtime.errors import UserError
from w2s_jax.stages import checks, cost
from w2s_jax.stages.base import (
    Adapt,
    Fit,
    Group,
    Lesson,
    SessionView,
    Shown,
    Stage,
    bound_loss,
    fit_group,
    learner_identity,
    on_task,
    truth_lesson,
)
from w2s_jax.stages.cost import Work
from w2s_jax.train.learner import Learner
from w2s_jax.train.optimizer import OptimizerConfig

TRUTH_LOSS = "cross_entropy"
PROBE_OPTIMIZER, PROBE_EPOCHS = OptimizerConfig(learning_rate=3e-3, weight_decay=0.3), 10


def on_truth(learner: Learner, answers: tuple[str, ...], lesson: Lesson, texts: tuple[Text, ...] | None) -> Fit:
    """Training with plain cross entropy, as on ground truth; arguments as in `Fit`."""
    return Fit(learner, bound_loss(losses.cross_entropy, {}), lesson, answers, texts)


@dataclass(frozen=True, eq=False)
class Adapted(Stage):
    """A backbone finetuned on the transfer split's texts alone, without labels (Burns et al. 2023, section 5.2.2)."""

    role = "adapted"
    task: TaskData
    seed: int
    adapting: Learner

    @property
    def learner(self) -> Learner:
        return on_task(self.adapting, self.task)

    @property
    def needs(self) -> tuple[Stage, ...]:
        return ()

    def sees(self, splits: Splits) -> Shown:
        return Shown(splits.transfer.without_truth(), splits.validation.without_truth(), {})

    @property
    def asks(self) -> bool:
        return False

    def own_identity(self) -> dict[str, Any]:
        return {"learner": learner_identity(self.learner)}

    def check(self, mesh: Mesh | None) -> None:
        checks.learner(self.task, self.learner, mesh)

    @property
    def group(self) -> Group:
        return Group((self.role, self.learner, self.task, len(self.shown.train)), jobs=True)

    def make(self, session: SessionView) -> Adapt:
        return Adapt(self.learner, self.shown.train.texts, self.task.n_classes)

    def describe(self) -> str:
        return f"generative finetuning of {self.adapting.model}"

    def work(self) -> Iterator[Work]:
        settings = self.learner.generative
        assert settings is not None
        count = settings.epochs * len(self.shown.train)
        yield Work(3 * cost.reading(self.learner, self.task.texts, count))


def adapted(task: TaskData, seed: int, learner: Learner | None) -> Adapted | None:
    """The stage of generative finetuning, for a learner that begins with it."""
    return None if learner is None or learner.generative is None else Adapted(task, seed, learner)


class _OnTruth(Stage):
    """A model that learns ground truth of the transfer split."""

    @property
    @abc.abstractmethod
    def learner(self) -> Learner: ...

    def sees(self, splits: Splits) -> Shown:
        predict = {"validation": splits.validation.without_truth(), "test": splits.test.without_truth()}
        return Shown(splits.transfer, splits.validation, predict)

    @property
    def group(self) -> Group | None:
        return fit_group(self, TRUTH_LOSS, {})

    def own_identity(self) -> dict[str, Any]:
        return {"learner": learner_identity(self.learner), "loss": TRUTH_LOSS}

    def make(self, session: SessionView) -> Fit:
        lesson = truth_lesson(self.shown, self.task.n_classes)
        return on_truth(self.learner, self.answers, lesson, self.texts)


@dataclass(frozen=True, eq=False)
class Ceiling(_OnTruth):
    """The student's own learner on ground truth of the transfer split."""

    role = "ceiling"
    task: TaskData
    seed: int
    strong: Learner

    @property
    def learner(self) -> Learner:
        return on_task(self.strong, self.task)

    @functools.cached_property
    def body(self) -> Stage | None:
        return adapted(self.task, self.seed, self.strong)

    @property
    def needs(self) -> tuple[Stage, ...]:
        return () if self.body is None else (self.body,)

    def check(self, mesh: Mesh | None) -> None:
        checks.learner(self.task, self.learner, mesh)
        checks.loss(self.task, self.learner, TRUTH_LOSS, losses.cross_entropy, {})

    def describe(self) -> str:
        return f"ceiling {self.strong.model}"

    def work(self) -> Iterator[Work]:
        yield from cost.finetuning(self.learner, self.task.texts, *self.shown.sizes)
        yield from cost.features(self.learner, self.texts or (), (self.task.config, self.body and self.body.key))


@dataclass(frozen=True, eq=False)
class TruthProbe(_OnTruth):
    """A linear probe on ground truth, on a finetuned student's hidden states: how salient the task has become in them.

    Burns et al. 2023, section 5.2.3.
    """

    role = "truth-probe"
    task: TaskData
    seed: int
    student: Stage

    def __post_init__(self) -> None:
        learner = self.student.learner
        if learner is None or learner.parameters not in ("full", "lora"):
            raise UserError("readout='truth_probe' needs a finetuned student: parameters='full' or 'lora'")

    @functools.cached_property
    def learner(self) -> Learner:
        trained = self.student.learner
        assert trained is not None
        return replace(
            trained,
            parameters="probe",
            head="new",
            preference=None,
            output="head",
            epochs=PROBE_EPOCHS,
            dropout=0.0,
            optimizer=PROBE_OPTIMIZER,
            loop=replace(trained.loop, patience=None),
        )

    @property
    def body(self) -> Stage:
        return self.student

    @property
    def needs(self) -> tuple[Stage, ...]:
        return (self.student,)

    def describe(self) -> str:
        return f"truth probe on {self.student.describe()}"

    def work(self) -> Iterator[Work]:
        yield from cost.features(self.learner, self.texts or (), self.student.key)
