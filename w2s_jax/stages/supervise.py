"""A supervisor's labels as a stage, and what a kind of supervisor is."""

import functools
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float

from w2s_jax import losses
from w2s_jax.data.formulas import Tree
from w2s_jax.data.predictions import Predictions
from w2s_jax.data.splits import Split, Splits
from w2s_jax.data.task_data import TaskData
from w2s_jax.data.tokens import Text
from w2s_jax.metrics import Finding
from w2s_jax.runtime import files
from w2s_jax.runtime.origin import Origin
from w2s_jax.stages import checks, cost
from w2s_jax.stages.base import (
    Fit,
    Group,
    Lesson,
    SessionView,
    Shown,
    SoftLabels,
    Stage,
    fit_group,
    identity_of,
    labelled,
    learner_identity,
    on_task,
    truth_lesson,
    user_code,
)
from w2s_jax.stages.cost import Work
from w2s_jax.stages.measuring import Setting
from w2s_jax.stages.truth import TRUTH_LOSS, adapted, on_truth
from w2s_jax.train.finetune import Outcome
from w2s_jax.train.learner import Learner

LABELLED = ("transfer", "validation", "test")


@dataclass(frozen=True, eq=False)
class Inputs:
    """All that a supervisor may see when it labels.

    Attributes:
      n_classes: of the task.
      answers: what the classes are called; their numbers for a supervisor that does not declare `asks`.
      templates: how a model is asked about the task; none for one that does not.
      trees: only for a supervisor that declares `parses`: the formula of every text to label; else empty.
      seed: of the experiment.
      lesson: ground truth of the supervisor split and of validation, and the splits to label, without theirs.
      needs: the stages that the supervisor asked for, in its order.
      read: the class probabilities [N, C] that one of them gives a split's examples, by their ids.
      truth: only for a supervisor that declares `simulated`: ground truth of the splits to label, by name; else empty.
      learner: the model that the supervisor trains; None where it trains none.
      texts: of a probe all that it may read, for all seeds: their features are computed together. Else None.
      session: the devices, where progress is reported, and the folder of transcripts.
    """

    n_classes: int
    answers: tuple[str, ...]
    templates: tuple[str, ...]
    trees: Mapping[Text, Tree]
    seed: int
    lesson: Lesson
    needs: tuple[Stage, ...]
    read: "Callable[[Stage, str, tuple[str, ...]], Float[np.ndarray, 'n c']]"
    truth: Mapping[str, np.ndarray]
    session: SessionView
    learner: Learner | None
    texts: tuple[Text, ...] | None

    @property
    def splits(self) -> Mapping[str, Split]:
        """The splits to label, by name."""
        return self.lesson.predict

    def fit(self, lesson: Lesson | None = None, *, reread: bool = False) -> Fit:
        """The supervisor's own learner, to be trained with cross entropy; its predictions are the labels.

        Args:
          lesson: None is all of `self.lesson`.
          reread: the lesson holds other texts than the task's.
        """
        assert self.learner is not None
        texts = None if reread else self.texts
        return on_truth(self.learner, self.answers, self.lesson if lesson is None else lesson, texts)


class Said(NamedTuple):
    """Something that was said of an example, or a part of it.

    Attributes:
      title: who said it, or what it is.
    """

    title: str
    text: str


class Kept(NamedTuple):
    """What a run left behind.

    Attributes:
      read: the predictions of a finished stage.
      transcripts: the folder of what advisors wrote.
    """

    read: Callable[[Stage], Predictions]
    transcripts: Path


@runtime_checkable
class Supervisor(Protocol):
    """A kind of supervisor: a frozen dataclass that answers these questions; nothing else asks what kind it is.

    A class of one's own inherits from this one, and needs `label` alone.

    Attributes:
      splits: the splits that it labels.
      simulated: it gets ground truth of what it labels.
      combines: the stages that it needs are supervisors whose labels it combines: label transforms may look at them.
      asks: a model is given the names of the classes.
      parses: it gets the formulas that the texts are.
    """

    splits: ClassVar[tuple[str, ...]] = LABELLED
    simulated: ClassVar[bool] = False
    combines: ClassVar[bool] = False
    asks: ClassVar[bool] = True
    parses: ClassVar[bool] = False

    def label(self, inputs: Inputs) -> SoftLabels | Fit:
        """Class probabilities of every split of `inputs.splits`, or the model whose training gives them."""
        ...

    def on_task(self, name: str) -> "Supervisor":
        """The same for a task of this name, the path of the user's own file: where it reads what that file holds."""
        return self

    def trains(self) -> Learner | None:
        """The model that it trains to get its labels; None where it trains none."""
        return None

    def needs(self, task: TaskData, seed: int) -> tuple[Stage, ...]:
        """The stages that it reads."""
        return ()

    def identity(self, task: TaskData) -> dict[str, Any]:
        """What decides its labels besides examples, seed, its learner and the stages that it needs: by default all its
        fields, and the code of its class."""
        found: dict[str, Any] = identity_of(self, task)
        return found

    def reads(self) -> Hashable:
        """Where its learner reads other texts than the task's, what decides these; None where it reads the task's."""
        return None

    def appends(self) -> int:
        """About how many tokens its learner reads after each of the task's texts, for an estimate of time."""
        return 0

    def models(self) -> tuple[str, ...]:
        """The models that it reads itself, those of its members excluded, as learners name them."""
        learner = self.trains()
        return () if learner is None else (learner.model,)

    def origins(self) -> Mapping[str, Origin]:
        """Where files that it reads come from, by name."""
        return {}

    def learners(self) -> tuple[Learner, ...]:
        """The models that it trains, those of its members included: for planning and for sizes."""
        learner = self.trains()
        return () if learner is None else (learner,)

    def describe(self) -> str:
        """What it is, in a few words, as progress and reports show it."""
        return type(self).__name__

    def check(self, task: TaskData, seed: int) -> None:
        """Finds what would stop it, before anything is computed.

        Raises:
          UserError: the first problem.
        """
        return None

    def work(self, task: TaskData, seed: int) -> Iterable[Work]:
        """How much there is to compute besides its learner's training, for an estimate of time."""
        return ()

    def measures(self, setting: Setting) -> Iterable[Finding]:
        """What it measures of its own, from finished stages and ground truth."""
        return ()

    def shows(self, stage: "Supervise", kept: Kept) -> Mapping[Text, Sequence[Said]]:
        """What belongs to test examples besides their texts, by text, for people to read: a debate, or parts."""
        return {}


@dataclass(frozen=True, eq=False)
class Supervise(Stage):
    """The labels of one supervisor."""

    role = "supervisor"
    task: TaskData
    seed: int
    supervisor: Supervisor

    def models(self) -> tuple[str, ...]:
        return self.bound.models()

    def origins(self) -> Mapping[str, Origin]:
        return self.bound.origins()

    @functools.cached_property
    def bound(self) -> Supervisor:
        """The supervisor, with what it reads of the task's own file named by its path."""
        return self.supervisor.on_task(self.task.config.name)

    @property
    def learner(self) -> Learner | None:
        learner = self.bound.trains()
        return None if learner is None else on_task(learner, self.task)

    @functools.cached_property
    def body(self) -> Stage | None:
        return adapted(self.task, self.seed, self.bound.trains())

    @functools.cached_property
    def own_needs(self) -> tuple[Stage, ...]:
        """What the supervisor asked for."""
        return self.bound.needs(self.task, self.seed)

    @property
    def needs(self) -> tuple[Stage, ...]:
        return self.own_needs + (() if self.body is None else (self.body,))

    @property
    def members(self) -> tuple[Stage, ...]:
        return self.own_needs if self.bound.combines else ()

    def sees(self, splits: Splits) -> Shown:
        predict = {name: getattr(splits, name) for name in self.bound.splits}
        if not self.bound.simulated:
            predict = {name: split.without_truth() for name, split in predict.items()}
        return Shown(splits.supervisor, splits.validation, predict)

    @functools.cached_property
    def trees(self) -> dict[Text, Tree]:
        """The formulas of the texts to label, for a supervisor that parses them."""
        if not self.bound.parses:
            return {}
        texts = (text for split in self.shown.predict.values() for text in split.texts)
        return {text: self.task.trees[text] for text in texts}

    @property
    def group(self) -> Group | None:
        return fit_group(self, TRUTH_LOSS, {}, self.bound.reads())

    @property
    def asks(self) -> bool:
        return self.bound.asks or super().asks

    def own_identity(self) -> dict[str, Any]:
        learner = None if self.learner is None else learner_identity(self.learner)
        code = user_code(self.bound, self.task)
        trees = files.sha256_text(repr(sorted((str(text), repr(tree)) for text, tree in self.trees.items())))
        own = self.bound.identity(self.task)
        return {"supervisor": own, "code": code, "learner": learner, "trees": trees if self.trees else None}

    def check(self, mesh: Mesh | None) -> None:
        self.bound.check(self.task, self.seed)
        if self.learner is not None:
            checks.learner(self.task, self.learner, mesh)
            checks.loss(self.task, self.learner, TRUTH_LOSS, losses.cross_entropy, {})

    def make(self, session: SessionView) -> Fit | Outcome:
        shown = self.shown
        inputs = Inputs(
            n_classes=self.task.n_classes,
            answers=self.answers,
            templates=self.templates,
            trees=self.trees,
            seed=self.seed,
            lesson=truth_lesson(shown, self.task.n_classes),
            needs=self.own_needs,
            read=lambda stage, split, ids: session.read(stage).for_split(split, ids),
            truth={name: split.labels for name, split in shown.predict.items() if split.labels is not None},
            session=session,
            learner=self.learner,
            texts=self.texts,
        )
        said = self.bound.label(inputs)
        return said if isinstance(said, Fit) else labelled(self, said)

    def describe(self) -> str:
        return f"supervisor {self.bound.describe()}"

    def work(self) -> Iterator[Work]:
        yield from self.bound.work(self.task, self.seed)
        learner = self.learner
        if learner is not None:
            extra = self.bound.appends()
            yield from cost.finetuning(learner, self.task.texts, *self.shown.sizes, extra)
            shared = self.task.config, self.bound.reads(), self.body and self.body.key
            yield from cost.features(learner, self.texts or (), shared, extra)
