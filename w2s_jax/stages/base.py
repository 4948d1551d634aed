"""What all stages have in common: examples they are given, the hash that names them, and what making one returns."""

import abc
import functools
import json
import re
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float

from w2s_jax import losses, models
from w2s_jax.data import arrays
from w2s_jax.data.predictions import Predictions
from w2s_jax.data.splits import Split, Splits, kin
from w2s_jax.data.task_data import TaskData
from w2s_jax.data.tokens import Text
from w2s_jax.models import Pretrained
from w2s_jax.runtime import files, references
from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.origin import Origin
from w2s_jax.stages.cost import Work
from w2s_jax.train.finetune import Outcome, softmax
from w2s_jax.train.learner import Learner
from w2s_jax.train.loop import History, Progress
from w2s_jax.train.probing import Features

# Raised when a change to the code changes what equal inputs give: stages made before are then not reused.
VERSION = 4
LEAST = 1e-7  # the smallest probability whose logarithm is a logit

SoftLabels = Mapping[str, Float[np.ndarray, "n c"]]  # class probabilities of every example of each split


class Logits(dict[str, Float[np.ndarray, "n c"]]):
    """Labels as unnormalised log-probabilities."""


class Labelled(NamedTuple):
    """Examples, and the class probabilities to learn from them, float32 [N, C]."""

    split: Split
    targets: Float[np.ndarray, "n c"]


class Shown(NamedTuple):
    """The examples that a stage is given. Where it must not know the truth, the truth is not there."""

    train: Split
    validation: Split
    predict: dict[str, Split]

    @property
    def sizes(self) -> tuple[int, int, int]:
        """How many examples it trains on, is validated on, and labels."""
        return len(self.train), len(self.validation), sum(map(len, self.predict.values()))


class Lesson(NamedTuple):
    """What a model is to learn, and the splits that it then labels."""

    train: Labelled
    validation: Labelled
    predict: dict[str, Split]

    def reread(self, read: Callable[[str, Split], Sequence[Text]]) -> "Lesson":
        """The same examples with other texts: `read(split's name, split)` gives them."""

        def of(name: str, split: Split) -> Split:
            return replace(split, texts=tuple(read(name, split)))

        train = self.train._replace(split=of("train", self.train.split))
        validation = self.validation._replace(split=of("validation", self.validation.split))
        return Lesson(train, validation, {name: of(name, split) for name, split in self.predict.items()})

    @property
    def all_labelled(self) -> dict[str, Split]:
        """The splits to label, and validation, which a stage always labels."""
        return {**self.predict, "validation": self.validation.split}

    @property
    def texts(self) -> tuple[Text, ...]:
        """Every text that is learned or labelled."""
        splits = (self.train.split, self.validation.split, *self.predict.values())
        return tuple(text for split in splits for text in split.texts)


@dataclass(frozen=True, eq=False)
class Fit:
    """A model to be trained; its predictions are then the stage's.

    Attributes:
      learner: the model, and how it is trained.
      loss: bound, `(logits, targets, *, step, total_steps, where) -> [B]`.
      lesson: what it learns and labels.
      answers: what the classes are called, for a learner that writes them.
      texts: for a probe, the texts whose features are computed together; None is those of all lessons that are fitted
        together.
    """

    learner: Learner
    loss: Callable[..., Any]
    lesson: Lesson
    answers: tuple[str, ...]
    texts: tuple[Text, ...] | None = None


@dataclass(frozen=True, eq=False)
class Adapt:
    """A backbone to be finetuned on texts alone, as the learner's `generative` says; it labels nothing."""

    learner: Learner
    texts: tuple[Text, ...]
    n_classes: int


class Group(NamedTuple):
    """What stages that are made together have in common.

    Attributes:
      jobs: they are finetunings, which train as one program if several are to be made. Probes, else, are always all
        made, for which of them are decides the texts that are read together.
    """

    key: Hashable
    jobs: bool


@runtime_checkable
class SessionView(Protocol):
    """What runs the stages: finished stages, caches, devices, and where progress is reported."""

    mesh: Mesh | None
    progress: Progress
    transcripts: Path

    def read(self, stage: "Stage") -> Predictions:
        """The predictions of a finished stage."""

    def features(self, learner: Learner, texts: tuple[Text, ...], body: "Stage | None") -> Features:
        """The learner's pooled hidden states of these texts, computed once and cached."""

    def pretrained(self, learner: Learner, body: "Stage | None") -> Pretrained:
        """The parameters that a learner starts from: published ones, or those that a stage trained."""


class Stage(abc.ABC):
    """One artefact: the predictions of one model, or its parameters. Its folder is named by the hash of its inputs.

    Attributes:
      role: the first word of its folder and title.
      keeps: its parameters are kept, for a stage that writes with them.
      task, seed: whose examples it is given.
    """

    role: ClassVar[str]
    keeps: ClassVar[bool] = False
    task: TaskData
    seed: int

    @property
    @abc.abstractmethod
    def needs(self) -> tuple["Stage", ...]:
        """The stages whose results it reads."""

    @abc.abstractmethod
    def sees(self, splits: Splits) -> Shown:
        """What it is given of the task's splits; all of that is in its hash."""

    @abc.abstractmethod
    def own_identity(self) -> dict[str, Any]:
        """What decides its bits besides its examples, its seed and the stages it needs, as JSON values."""

    @abc.abstractmethod
    def make(self, session: SessionView) -> Fit | Adapt | Outcome:
        """Its predictions, or the model whose training gives them.

        Here the task's examples are closed (`data.task_data.closed`): what is not in the hash cannot be read.
        """

    @abc.abstractmethod
    def describe(self) -> str:
        """What it is, in a few words, without task and seed: `supervisor minilm-l6`."""

    @property
    def learner(self) -> Learner | None:
        """The model that it trains or asks; None where it does neither."""
        return None

    def models(self) -> tuple[str, ...]:
        """The models that it reads, as learners name them."""
        return () if self.learner is None else (self.learner.model,)

    def origins(self) -> Mapping[str, Origin]:
        """Where what it reads besides its task and models comes from, by name."""
        return {}

    @property
    def body(self) -> "Stage | None":
        """The stage whose parameters its model starts from; None is the published model."""
        return None

    @property
    def members(self) -> tuple["Stage", ...]:
        """Where it combines several supervisors, these."""
        return ()

    @property
    def group(self) -> Group | None:
        """Stages of one group train together, as one program; None is a stage that is computed by itself."""
        return None

    @property
    def asks(self) -> bool:
        """Whether a model is given the names of the classes."""
        return self.learner is not None and self.learner.output == "text"

    def check(self, mesh: Mesh | None) -> None:  # noqa: B027
        """Finds what would stop this stage, before anything is computed.

        Raises:
          UserError: the first problem.
        """

    def work(self) -> Iterator[Work]:
        """How much there is to compute, for an estimate of time."""
        return iter(())

    @property
    def splits(self) -> Splits:
        """The task's splits, ground truth included: for measuring; while the stage is made they are closed."""
        return self.task.splits(self.seed)

    @functools.cached_property
    def shown(self) -> Shown:
        """The examples that it is given."""
        return self.sees(self.splits)

    @functools.cached_property
    def texts(self) -> tuple[Text, ...] | None:
        """Of a probe every text that it may read: their features are computed together. Else None."""
        return self.all_texts if self.learner is not None and self.learner.parameters == "probe" else None

    @functools.cached_property
    def all_texts(self) -> tuple[Text, ...]:
        """Every text of the task that any seed can draw.

        Where an earlier stage trained the backbone for one seed, they are those of what the stage is given.
        """
        if self.body is None:
            return self.task.texts
        splits = (self.shown.train, self.shown.validation, *self.shown.predict.values())
        return tuple(text for split in splits for text in split.texts)

    @property
    def answers(self) -> tuple[str, ...]:
        """What the classes are called; their numbers for a stage that is not told."""
        return self.task.answers if self.asks else tuple(map(str, range(self.task.n_classes)))

    @property
    def templates(self) -> tuple[str, ...]:
        """How a model is asked about the task; nothing for a stage that asks none."""
        return self.task.definition.templates if self.asks else ()

    @functools.cached_property
    def identity(self) -> dict[str, Any]:
        """Everything that decides this stage's bits, as JSON values."""
        shown = self.shown
        return {
            "version": VERSION,
            "stage": self.role,
            **self.own_identity(),
            "seed": self.seed,
            "needs": [need.key for need in self.needs],
            "body": None if self.body is None else self.body.key,
            "train": shown.train.fingerprint,
            "validation": shown.validation.fingerprint,
            "predicts": {name: split.fingerprint for name, split in shown.predict.items()},
            "classes": self.task.n_classes,
            "asking": files.sha256_text(files.canonical([self.answers, self.templates])) if self.asks else None,
            "texts": None if self.texts is None else _fingerprint_of_texts(self.texts),
        }

    @functools.cached_property
    def key(self) -> str:
        """SHA-256 of the identity."""
        return files.sha256_text(files.canonical(self.identity))

    @functools.cached_property
    def name(self) -> str:
        """Of its folder: `student-cities-s0-0123456789ab`. It tells the task, so equal tasks of two names have two."""
        task = re.sub(r"[^A-Za-z0-9_-]", "-", Path(self.task.config.name).stem)
        return f"{self.role}-{task}-s{self.seed}-{self.key[:12]}"

    @property
    def kind(self) -> str:
        """Stages of one kind take equally long."""
        config = self.task.config
        sizes = [config.supervisor, config.transfer, config.validation, config.test]
        return files.canonical([self.role, config.name, sizes, self.own_identity()])

    @property
    def title(self) -> str:
        """`student smollm2-135m, confidence on cities, seed 0`."""
        return f"{self.describe()} on {self.task.config.title}, seed {self.seed}"


@functools.lru_cache(maxsize=64)
def _fingerprint_of_texts(texts: tuple[Text, ...]) -> str:
    """SHA-256; all stages on one task have the same texts."""
    return files.sha256_text(files.canonical(texts))


def labelled(stage: Stage, labels: SoftLabels | Logits) -> Outcome:
    """Labels that no training gave, as a stage's outcome. The history is of one evaluation, after no step.

    Raises:
      UserError: a split has no labels, or others than class probabilities of its examples.
    """
    if not isinstance(labels, Logits):
        _check_probabilities(stage, labels)
        labels = Logits({name: np.log(np.maximum(probs, LEAST)) for name, probs in labels.items()})
    values = {name: np.asarray(each, np.float32) for name, each in labels.items()}
    missing = [name for name in ("validation", *stage.shown.predict) if name not in values]
    if missing:
        raise UserError(f"{stage.describe()} gave no labels of the {' and '.join(missing)} split")
    for name, split in {**stage.shown.predict, "validation": stage.shown.validation}.items():
        if values[name].shape != (len(split), stage.task.n_classes) or not np.isfinite(values[name]).all():
            raise UserError(
                f"{stage.describe()} gave labels of shape {values[name].shape} for {len(split)} examples of the {name} "
                f"split; they must be finite, [{len(split)}, {stage.task.n_classes}]"
            )
    history = History([], [0], [0.0], softmax(values["validation"])[None], 0)
    return Outcome({name: values[name] for name in stage.shown.predict}, history, None)


def _check_probabilities(stage: Stage, labels: SoftLabels) -> None:
    for name, probs in labels.items():
        values = np.asarray(probs)
        if values.ndim != 2 or not (values >= 0).all() or not np.allclose(values.sum(axis=1), 1, atol=1e-3):
            raise UserError(
                f"{stage.describe()} gave labels of the {name} split that are no class probabilities: want [N, C], not "
                "negative, with sum 1 (or a `stages.base.Logits`)"
            )


def with_truth(split: Split, n_classes: int) -> Labelled:
    """A split's ground truth as targets, soft where annotations do not agree, and the split without it."""
    assert split.labels is not None
    hard = np.eye(n_classes, dtype=np.float32)[split.labels]
    return Labelled(split.without_truth(), hard if split.shares is None else split.shares)


def truth_lesson(shown: Shown, n_classes: int) -> Lesson:
    """Ground truth of what a stage trains on, as its lesson; of what it labels there is none."""
    predict = {name: split.without_truth() for name, split in shown.predict.items()}
    return Lesson(with_truth(shown.train, n_classes), with_truth(shown.validation, n_classes), predict)


def part(split: Split, index: int, parts: int) -> Split:
    """The index-th of so many parts of a split; examples of one group, or of equal texts, are in one."""
    if parts == 1:
        return split
    families = kin(split.texts, split.groups)
    names = list(dict.fromkeys(families))
    mine = {name for place, name in enumerate(names) if place * parts // len(names) == index}
    return split.take(np.array([row for row, family in enumerate(families) if family in mine], np.int32))


def on_task(learner: Learner, task: TaskData) -> Learner:
    """The learner on this task, whose own file holds the features that are called `:name`."""
    return replace(learner, model=arrays.of_file(learner.model, task.config.name))


def learner_identity(learner: Learner) -> dict[str, Any]:
    """What a stage's key says of a learner: its model by content, and nothing that changes no bit."""
    found = files.as_json(learner)
    del found["loop"]["checkpoint_seconds"]
    if found["head"] == "new":  # as it was before there was a choice
        del found["head"]
    if found.pop("chat"):
        found["chat"] = models.chat_fingerprint(learner.model)
    if found["lora_base"] == "float32":
        del found["lora_base"]
    return {**found, "model": model_fingerprint(learner.model)}


def identity_of(value: Any, task: TaskData | None = None) -> Any:
    """What a key says of a user's object: the code of its class and what it holds.

    A learner's model counts by its content, and a supervisor that it holds by what decides that one's labels.

    Raises:
      UserError: it holds something that cannot be hashed.
    """

    def known(each: Any) -> Any:
        if isinstance(each, Learner):
            return learner_identity(each if task is None else on_task(each, task))
        if each is not value and task is not None and hasattr(each, "label") and hasattr(each, "identity"):
            return {"supervisor": references.fingerprint(each), "identity": each.identity(task)}
        return None

    return references.content(value, known)


def user_code(value: Any, task: TaskData) -> Any:
    """What a key says of an object besides its own `identity`: nothing of this package's kinds.

    Of a user's kind it is the code and what it holds, also where it inherits `identity` from one of this package.
    """
    return None if references.is_own(value) else identity_of(value, task)


def model_fingerprint(model: str) -> str:
    """SHA-256 of a model's files, or of the features that stand for one."""
    return arrays.fingerprint(model) if arrays.is_array(model) else models.fingerprint(model)


def bound_loss(function: Callable[..., Any], options: Mapping[str, Any]) -> Callable[..., Any]:
    """The loss with its hyperparameters. Equal ones are one function, so that a step compiles once.

    Raises:
      UserError: an option that the loss does not have, or that it needs and is not given.
    """
    return _bound(function, files.canonical(dict(options)))


@functools.lru_cache(maxsize=64)
def _bound(function: Callable[..., Any], options: str) -> Callable[..., Any]:
    return losses.bind(function, **json.loads(options))


def fit_group(stage: Stage, loss: str, options: Mapping[str, Any], reads: Hashable = None) -> Group | None:
    """The group of a stage that trains a model. Probes of one model, task and loss are fitted as one program, and
    finetunings of one program (`Learner.program`) and task.

    Args:
      loss, options: of the training.
      reads: where it reads other texts than the task's, what decides these.
    """
    learner, body = stage.learner, stage.body
    if learner is None:
        return None
    if learner.parameters != "probe":
        return Group((reads, learner.program, stage.task, body is None, len(stage.shown.train)), jobs=True)
    start = None if body is None else (body.key, stage.role == "supervisor")
    return Group((reads, learner, stage.task, start, loss, str(sorted(options.items()))), jobs=False)
