"""A student that learns a teacher's labels, as a stage, and what a way to learn is."""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float

from w2s_jax.data.splits import Split, Splits
from w2s_jax.data.task_data import TaskData
from w2s_jax.data.tokens import Text
from w2s_jax.label_transforms import CONTEXT
from w2s_jax.label_transforms.transform import Transform
from w2s_jax.runtime import errors
from w2s_jax.runtime.errors import UserError
from w2s_jax.stages import checks, cost
from w2s_jax.stages.base import (
    Fit,
    Group,
    Labelled,
    Lesson,
    Logits,
    SessionView,
    Shown,
    SoftLabels,
    Stage,
    bound_loss,
    fit_group,
    identity_of,
    labelled,
    learner_identity,
    on_task,
    part,
    user_code,
    with_truth,
)
from w2s_jax.stages.cost import Work
from w2s_jax.stages.truth import adapted
from w2s_jax.train import prompting
from w2s_jax.train.finetune import Outcome
from w2s_jax.train.learner import Learner


@dataclass(frozen=True, eq=False)
class Teaching:
    """All that a student may see when it learns.

    Attributes:
      learner: the student's model.
      lesson: weak labels of the transfer split, after the label transforms, and of validation; the splits to label.
        Ground truth only for a way to learn that declares it (`sees_truth`).
      answers, templates: what the classes are called, and how a model is asked about the task.
      seed: of the experiment.
      features: the student's pooled hidden states of texts [N, D]; only of those that `texts` gives.
      texts: all that the student may read, for all seeds: those whose features are computed together.
      body: the stage of generative finetuning that the student starts from; None is the published model.
      session: the devices, the parameters to start from, and where progress is reported.
    """

    learner: Learner
    lesson: Lesson
    answers: tuple[str, ...]
    templates: tuple[str, ...]
    seed: int
    features: "Callable[[Sequence[Text]], Float[np.ndarray, 'n d']]"
    texts: Callable[[], tuple[Text, ...]]
    body: Stage | None
    session: SessionView

    def fit(self, loss: Callable[..., Any], options: Mapping[str, Any]) -> Fit:
        """The student's own training on the lesson, with this loss; its predictions are then the student's."""
        return Fit(self.learner, bound_loss(loss, options), self.lesson, self.answers, self.texts())


@runtime_checkable
class WayToLearn(Protocol):
    """A way to learn from weak labels: a frozen dataclass that answers these questions.

    A class of one's own inherits from this one, and needs `learn` alone.

    Attributes:
      trains: it trains the student; only then do label transforms, chains, rounds and readouts apply.
      asks: a model is given the names of the classes.
    """

    trains: ClassVar[bool] = False
    asks: ClassVar[bool] = True

    def learn(self, teaching: Teaching) -> SoftLabels | Logits | Fit:
        """The student's class probabilities of every split to label and of validation, or the model to be trained."""
        ...

    @property
    def sees_truth(self) -> bool:
        """Whether it is given ground truth of the transfer split instead of weak labels."""
        return False

    @property
    def zero_shot(self) -> bool:
        """Whether it asks the model as it is, without any labels."""
        return False

    def identity(self) -> dict[str, Any]:
        """What decides what is learned besides examples, labels and the student's model: by default all fields, and
        the code of the class."""
        found: dict[str, Any] = identity_of(self)
        return found

    def group(self) -> tuple[str, Mapping[str, Any]] | None:
        """Where it trains: the loss and its options, so that probes of one loss are fitted together; else None."""
        return None

    def reads(self, texts: tuple[Text, ...], answers: Sequence[str]) -> tuple[Text, ...]:
        """The texts whose features it may ask for, of these that it learns from and labels."""
        return texts

    def describe(self) -> str:
        """What it is, in a few words."""
        return type(self).__name__

    def check(self, task: TaskData, learner: Learner) -> None:
        """Finds what would stop it, before anything is computed.

        Raises:
          UserError: the first problem.
        """
        return None

    def work(self, learner: Learner, texts: tuple[Text, ...], shown: Shown) -> Iterable[Work]:
        """How much there is to compute, for an estimate of time."""
        return ()


@dataclass(frozen=True, eq=False)
class Student(Stage):
    """A strong model that learns a teacher's labels of (a part of) the transfer split.

    Attributes:
      teacher: the supervisor, or the student before it in a chain or in the last round.
      part: (i, n): it learns from the i-th of n parts of the transfer split.
      previous: the last round's student, where a label transform compares labels with it.
      predicts: the splits it labels; `transfer` where another student learns from it.
    """

    role = "student"
    task: TaskData
    seed: int
    strong: Learner
    way: WayToLearn
    teacher: Stage
    transforms: tuple[Transform, ...] = ()
    hint: bool = False
    part: tuple[int, int] = (0, 1)
    previous: Stage | None = None
    predicts: tuple[str, ...] = ("validation", "test")

    @property
    def learner(self) -> Learner:
        return on_task(self.strong, self.task)

    @functools.cached_property
    def body(self) -> Stage | None:
        return adapted(self.task, self.seed, self.strong)

    @property
    def needs(self) -> tuple[Stage, ...]:
        return tuple(stage for stage in (self.teacher, self.previous, self.body) if stage is not None)

    def sees(self, splits: Splits) -> Shown:
        train, validation = part(splits.transfer, *self.part), splits.validation
        if not self.way.sees_truth:
            train, validation = train.without_truth(), validation.without_truth()
        return Shown(train, validation, {name: getattr(splits, name).without_truth() for name in self.predicts})

    @property
    def group(self) -> Group | None:
        loss = self.way.group()
        return None if loss is None else fit_group(self, *loss, reads="hint" if self.hint else None)

    @property
    def asks(self) -> bool:
        told = self.hint or self.way.asks or any("views" in each.context for each in self.transforms)
        return told or super().asks

    def own_identity(self) -> dict[str, Any]:
        return {
            "learner": learner_identity(self.learner),
            "learning": self.way.identity(),
            "code": user_code(self.way, self.task),
            "transforms": [each.identity for each in self.transforms],
            "hint": self.hint,
            "part": list(self.part),
        }

    def check(self, mesh: Mesh | None) -> None:
        for each in self.transforms:
            each.check()
        checks.learner(self.task, self.learner, mesh)
        self.way.check(self.task, self.learner)

    def make(self, session: SessionView) -> Fit | Outcome:
        teaching = Teaching(
            learner=self.learner,
            lesson=self._lesson(session),
            answers=self.answers,
            templates=self.templates,
            seed=self.seed,
            features=functools.partial(self._features, session),
            texts=lambda: self._feature_texts,
            body=self.body,
            session=session,
        )
        learned = self.way.learn(teaching)
        return learned if isinstance(learned, Fit) else labelled(self, learned)

    def describe(self) -> str:
        transforms = "".join(f", {each.name}" for each in self.transforms)
        return f"student {self.strong.model}, {self.way.describe()}{transforms}{', hint' if self.hint else ''}"

    def work(self) -> Iterator[Work]:
        learner, shown = self.learner, self.shown
        yield from self.way.work(learner, self.task.texts, shown)
        shared = self.task.config, self.hint, self.body and self.body.key, self.way.reads(("",), ("", ""))
        yield from cost.features(learner, self._feature_texts, shared)

    @functools.cached_property
    def texts(self) -> tuple[Text, ...] | None:
        """Every text whose features it, or a label transform, may ask for; None where none does."""
        if self.way.trains and not any("features" in each.context for each in self.transforms):
            return super().texts
        return self.all_texts

    @functools.cached_property
    def _feature_texts(self) -> tuple[Text, ...]:
        texts = self.texts or ()
        if self.hint:
            hints = hint_texts(self.answers)
            texts = tuple(append(text, hint) for text in texts for hint in hints)
        return self.way.reads(texts, self.answers)

    def _features(self, session: SessionView, texts: Sequence[Text]) -> Float[np.ndarray, "n d"]:
        found = session.features(self.learner, self._feature_texts, self.body)
        return found.matrix[found.rows(texts)].reshape(len(texts), -1)  # candidates side by side

    def _lesson(self, session: SessionView) -> Lesson:
        """The teacher's labels, hinted at and transformed as the method says; and no more truth than that allows."""
        shown, n_classes = self.shown, self.task.n_classes
        weak = session.read(self.teacher)

        def read(name: str, split: Split) -> Split:
            return hinted(split, weak.for_split(name, split.ids), self.answers) if self.hint else split

        def taught(name: str, split: Split) -> Labelled:
            if self.way.sees_truth:
                return with_truth(read(name, split), n_classes)
            return Labelled(read(name, split), weak.for_split(name, split.ids))

        predict = {name: read(name, split) for name, split in shown.predict.items()}
        train = self._transformed(session, taught("transfer", shown.train))
        return Lesson(train, taught("validation", shown.validation), predict)

    def _transformed(self, session: SessionView, weak: Labelled) -> Labelled:
        """The labels after every transform; one that compares with a student waits until there is one."""
        for each in self.transforms:
            if "student" in each.context and self.previous is None:
                continue
            given = {name: self._evidence(session, name, weak.split) for name in each.context}
            rows, targets = each(weak.targets, **given)
            if len(rows) == 0:
                raise UserError(f"label transform {each.name!r} kept none of {len(weak.split)} examples; loosen it")
            weak = Labelled(weak.split.take(rows), np.asarray(targets, np.float32))
        return weak

    def _evidence(self, session: SessionView, name: str, split: Split) -> Any:
        """What a label transform asks to see of the training examples; see `w2s_jax.label_transforms`."""
        match name:
            case "seed":
                return self.seed
            case "features":
                return self._features(session, split.texts)
            case "members":
                tables = [session.read(member) for member in self.teacher.members]
                if len(tables) < 2:
                    raise UserError("this label transform needs several supervisors; make the supervisor an Ensemble")
                return np.stack([table.for_split("transfer", split.ids) for table in tables])
            case "student":
                assert self.previous is not None
                return session.read(self.previous).for_split("transfer", split.ids)
            case "views":
                start = session.pretrained(replace(self.learner, read_layer=None), self.body)
                return prompting.views(
                    self.learner, start, split.texts, self.answers, self.templates, mesh=session.mesh
                )
        raise errors.unknown("what a label transform asks for:", name, CONTEXT)


def hinted(split: Split, weak: Float[np.ndarray, "n c"], answers: Sequence[str]) -> Split:
    """Every text with what the supervisor thinks of it appended (Burns et al. 2023, App. E)."""
    hints = hint_texts(answers)
    texts = (append(text, hints[label]) for text, label in zip(split.texts, weak.argmax(axis=1), strict=True))
    return replace(split, texts=tuple(texts))


def hint_texts(answers: Sequence[str]) -> list[str]:
    """What is appended, by class."""
    return [f"\nI think this is {answer}. What do you think?" for answer in answers]


def append(text: Text, suffix: str) -> Text:
    """A text, or each of its candidates, with the suffix."""
    return text + suffix if isinstance(text, str) else tuple(candidate + suffix for candidate in text)
