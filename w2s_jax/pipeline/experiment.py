"""The graph of stages: what an experiment is made of, what its cells share, what each stage is the hash of.

A stage is one model with its predictions. Its key is the hash of everything that decides its bits, and of nothing
else: names of experiments, methods and files do not count, so equal work is done once for all experiments. A stage's
folder also tells the task's name: one experiment with two names for equal tasks makes their stages twice.
"""

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from w2s_jax import config
from w2s_jax.config import Advised, Decomposed, Ensemble, Errors, Experiment, Given, Method, Recursive, TaskConfig
from w2s_jax.data import arrays
from w2s_jax.data.splits import Split
from w2s_jax.pipeline import materials
from w2s_jax.runtime import files
from w2s_jax.runtime.errors import UserError
from w2s_jax.train.learner import Learner
from w2s_jax.train.optimizer import OptimizerConfig

# Raised when a change to the code changes what equal inputs give: stages made before are then not reused.
STAGE_VERSION = 2

Role = Literal["supervisor", "student", "ceiling", "body", "readout"]
Split_ = Literal["supervisor", "transfer", "validation", "test", "candidates"]
ROLES: tuple[Role, ...] = ("supervisor", "student", "ceiling")
TRUTH = Method()
READOUT, READOUT_EPOCHS = OptimizerConfig(learning_rate=3e-3, weight_decay=0.3), 10


@dataclass(frozen=True)
class Draw:
    """Which rows of its split a member of an ensemble is trained on."""

    how: Literal["bagging", "boosting"]
    member: int


@dataclass(frozen=True)
class Stage:
    """One model to make, and what it learns from.

    Attributes:
      role: `supervisor` learns the ground truth of the supervisor split; `student` and `ceiling` learn the transfer
        split, from the teacher's labels and from ground truth; `body` is a backbone finetuned on the transfer split's
        text alone; `readout` is a probe on ground truth on a student's hidden states.
      maker: a learner, or what else gives a supervisor's labels. A student of a `Recursive` maker is the reward model
        that chooses what its judge reads; it learns from the level below.
      predicts: the splits it labels. A supervisor never saw any of them but, in boosting, its own; a reward model rates
        `candidates` of all of them.
      part: (i, n): it learns from the i-th of n parts of the transfer split.
      draw: which rows a member of an ensemble is trained on; None is all.
      teacher: the stage whose predictions are a student's labels.
      members: an ensemble's supervisors; of a boosted member those before it; the real supervisor of simulated errors;
        the judge of a decomposed task's parts; the reward model that chose what this stage reads.
      previous: the last round's student, where a step of label work looks at it.
      body: the stage whose parameters it starts from; None is the pretrained model.
    """

    role: Role
    task: TaskConfig
    seed: int
    maker: config.Supervisor
    method: Method = TRUTH
    predicts: tuple[Split_, ...] = ("validation", "test")
    part: tuple[int, int] = (0, 1)
    draw: Draw | None = None
    teacher: "Stage | None" = None
    members: tuple["Stage", ...] = ()
    previous: "Stage | None" = None
    body: "Stage | None" = None

    @property
    def learner(self) -> Learner | None:
        """The model it trains or prompts; None where it only combines or simulates labels."""
        maker = self.maker
        if isinstance(maker, Recursive) and self.role == "student":
            return maker.reward_model
        advised = config.advice(maker)
        if advised is not None:
            return advised.judge
        return maker if isinstance(maker, Learner) else None

    @property
    def needs(self) -> tuple["Stage", ...]:
        """The stages that must be made before it."""
        return tuple(stage for stage in (self.teacher, *self.members, self.previous, self.body) if stage is not None)

    @functools.cached_property
    def identity(self) -> dict[str, Any]:
        """Everything that decides this stage's bits, as JSON values."""
        data = stage_splits(self)
        return {
            "version": STAGE_VERSION,
            "maker": materials.maker_identity(self.maker),
            "method": materials.method_identity(self.method),
            "seed": self.seed,
            "part": self.part,
            "draw": None if self.draw is None else config.asdict(self.draw),
            "needs": {
                "teacher": None if self.teacher is None else self.teacher.key,
                "members": [member.key for member in self.members],
                "previous": None if self.previous is None else self.previous.key,
                "body": None if self.body is None else self.body.key,
            },
            "train": data.train.fingerprint,
            "validation": data.validation.fingerprint,
            "predicts": {name: split.fingerprint for name, split in data.predict.items()},
            **({"asking": materials.asking_fingerprint(self.task)} if self._asks else {}),
            **({"trees": self._trees(data)} if isinstance(self.maker, Decomposed) else {}),
        }

    @property
    def _asks(self) -> bool:
        """Whether a model is told what the classes are called."""
        written = self.learner is not None and self.learner.output == "text"
        told = self.method.hint or self.method.learn != "train" or config.advice(self.maker) is not None
        return written or told or any("views" in materials.label_context(step) for step in self.method.labels)

    def _trees(self, data: "StageSplits") -> str:
        """SHA-256 of how the texts that it labels come apart."""
        trees = materials.trees(self.task)
        return files.sha256_text(repr([trees[text] for split in data.predict.values() for text in split.texts]))

    @functools.cached_property
    def key(self) -> str:
        """SHA-256 of the identity."""
        return files.sha256_text(files.canonical(self.identity))

    @functools.cached_property
    def folder(self) -> str:
        task = re.sub(r"[^A-Za-z0-9_-]", "-", Path(self.task.name).stem)
        return f"{self.role}-{task}-s{self.seed}-{self.key[:12]}"


class StageSplits(NamedTuple):
    """The examples a stage is given. Where it must not know the truth, the truth is not there."""

    train: Split
    validation: Split
    predict: dict[str, Split]


def stage_splits(stage: Stage) -> StageSplits:
    """What of the task this stage is given: a student gets no ground truth, and nobody gets that of the test split."""
    splits = materials.splits(stage.task, stage.seed)
    train = splits.supervisor if stage.role == "supervisor" else _part(splits.transfer, *stage.part)
    validation = splits.validation
    if stage.role in ("student", "body"):
        train, validation = train.without_truth(), validation.without_truth()

    def labelled(name: Split_) -> Split:
        if name == "candidates":
            assert isinstance(stage.maker, Recursive)
            return candidates(stage.maker, (splits.supervisor, splits.transfer, splits.validation, splits.test))
        found: Split = getattr(splits, name)
        return found.without_truth()

    return StageSplits(train, validation, {name: labelled(name) for name in stage.predicts})


def candidates(maker: Recursive, parts: Sequence[Split]) -> Split:
    """A row, with an id of its own, for every candidate of every side of every text; it has no labels.

    The order is that of a table [texts, sides, candidates]. An id ends with the places of side and candidate.
    """
    names = [f"{side}.{candidate}" for side in range(maker.advised.sides) for candidate in range(maker.candidates)]
    return Split(
        tuple(f"{identifier}#{name}" for part in parts for identifier in part.ids for name in names),
        tuple(text for part in parts for text in part.texts for _ in names),
        None,
        tuple(group for part in parts for group in part.groups for _ in names),
    )


def _part(split: Split, index: int, parts: int) -> Split:
    """The index-th of so many parts, a whole group in one."""
    if parts == 1:
        return split
    names = list(dict.fromkeys(split.groups))
    mine = {name for place, name in enumerate(names) if place * parts // len(names) == index}
    return split.take(np.array([row for row, group in enumerate(split.groups) if group in mine], np.int32))


class CellStages(NamedTuple):
    """One cell of the grid, by display names, and the three stages that answer it."""

    task: str
    supervisor: str
    student: str
    method: str
    seed: int
    stages: dict[Role, Stage]


def cells(whole: Experiment) -> Iterator[CellStages]:
    """Every cell, in the order: task, pair of models, seed, method."""
    for task in whole.tasks:
        experiment = _with_arrays_of(task, whole)
        for supervisor_name, student_name in experiment.model_pairs():
            strong = experiment.students[student_name]
            for seed in experiment.seeds:
                supervisor = _supervisor(task, seed, experiment.supervisors[supervisor_name])
                ceiling = _stage("ceiling", task, seed, strong, body=_body(task, seed, strong))
                for name, method in experiment.methods.items():
                    student = _student(experiment, task, seed, strong, method, supervisor)
                    stages: dict[Role, Stage] = {"supervisor": supervisor, "student": student, "ceiling": ceiling}
                    yield CellStages(task.title, supervisor_name, student_name, name, seed, stages)


def _with_arrays_of(task: TaskConfig, experiment: Experiment) -> Experiment:
    """The experiment on this task, whose own file holds the arrays that are called `:name`."""

    def resolved(maker: Any) -> Any:
        match maker:
            case Learner(model=reference):
                return replace(maker, model=arrays.of_file(reference, task.name))
            case Given(probs=reference):
                return replace(maker, probs=arrays.of_file(reference, task.name))
            case Ensemble(members=members):
                return replace(maker, members=tuple(map(resolved, members)))
            case Errors(like=like):
                return replace(maker, like=resolved(like))
        return maker

    supervisors, students = (
        {name: resolved(maker) for name, maker in makers.items()}
        for makers in (experiment.supervisors, experiment.students)
    )
    return replace(experiment, supervisors=supervisors, students=students)


def stages(experiment: Experiment) -> list[Stage]:
    """The distinct stages of all cells, each after those it needs."""
    found: dict[str, Stage] = {}

    def add(stage: Stage) -> None:
        if stage.folder not in found:  # which names the task, so that equal tasks of two names both have their own
            for need in stage.needs:
                add(need)
            found[stage.folder] = stage

    for cell in cells(experiment):
        for role in ROLES:
            add(cell.stages[role])
    return list(found.values())


@functools.cache
def _stage(*args: Any, **fields: Any) -> Stage:
    """Equal stages are one object, so that each is hashed once."""
    return Stage(*args, **fields)


def _supervisor(task: TaskConfig, seed: int, maker: config.Supervisor) -> Stage:
    labels = ("transfer", "validation", "test")
    match maker:
        case Ensemble(members=learners, how=how):
            members: tuple[Stage, ...] = ()
            for index, learner in enumerate(learners):
                draw = None if how == "average" else Draw(how, index)
                before = members if how == "boosting" else ()
                predicts = ("supervisor", *labels) if how == "boosting" else labels
                if not isinstance(learner, Learner):
                    members += (_supervisor(task, seed, learner),)
                    continue
                members += (_stage("supervisor", task, seed, learner, predicts=predicts, draw=draw, members=before),)
            return _stage("supervisor", task, seed, maker, predicts=labels, members=members)
        case Errors(like=like):
            return _stage("supervisor", task, seed, maker, predicts=labels, members=(_supervisor(task, seed, like),))
        case Given():
            return _stage("supervisor", task, seed, maker, predicts=labels)
        case Decomposed(judge=judge):
            member = _supervisor(materials.atoms(task), seed, judge)
            return _stage("supervisor", task, seed, maker, predicts=labels, members=(member,))
        case Recursive():
            chooser = _reward_model(task, seed, maker)
            body = _body(task, seed, maker.advised.judge)
            return _stage("supervisor", task, seed, maker, predicts=labels, members=(chooser,), body=body)
        case Advised(judge=judge):
            return _stage("supervisor", task, seed, maker, predicts=labels, body=_body(task, seed, judge))
    return _stage("supervisor", task, seed, maker, predicts=labels, body=_body(task, seed, maker))


def _reward_model(task: TaskConfig, seed: int, maker: Recursive) -> Stage:
    """What chooses the arguments that a judge reads: a student of the level below, and of its transcripts."""
    maker = replace(maker, advised=replace(maker.advised, shuffled=False))
    below = _supervisor(task, seed, maker.advised if maker.level == 1 else replace(maker, level=maker.level - 1))
    return _stage(
        "student",
        task,
        seed,
        maker,
        predicts=("validation", "test", "candidates"),
        teacher=below,
        members=below.members,
        body=_body(task, seed, maker.reward_model),
    )


def _student(
    experiment: Experiment, task: TaskConfig, seed: int, learner: Learner, method: Method, supervisor: Stage
) -> Stage:
    """The last student of a method, with those before it as its teachers."""
    if method.learn == "prompt" and method.options.get("shown") == "truth":
        return _stage("readout", task, seed, learner, method=method, teacher=supervisor)
    links = [experiment.students[name] for name in method.through] + [learner] * method.rounds
    parts = len(links) if method.through else 1
    plain = replace(method, through=(), rounds=1, readout="head")
    compares = any("student" in materials.label_context(step) for step in method.labels)
    student: Stage | None = None
    for index, link in enumerate(links):
        last = index == len(links) - 1
        student = _stage(
            "student",
            task,
            seed,
            link,
            method=plain,
            predicts=("validation", "test") if last else ("transfer", "validation", "test"),
            part=(index, parts) if parts > 1 else (0, 1),
            teacher=supervisor if student is None or compares else student,
            previous=student if compares else None,
            body=_body(task, seed, link),
        )
    assert student is not None
    if method.readout == "truth_probe":
        if learner.parameters not in ("full", "lora"):
            raise UserError("readout='truth_probe' needs a finetuned student: parameters='full'")
        probe = replace(
            learner,
            parameters="probe",
            preference=None,
            output="head",
            epochs=READOUT_EPOCHS,
            dropout=0.0,
            optimizer=READOUT,
            loop=replace(learner.loop, patience=None),
        )
        return _stage("readout", task, seed, probe, body=student, teacher=supervisor)
    return student


def _body(task: TaskConfig, seed: int, learner: Learner) -> Stage | None:
    """The stage of generative finetuning, for a learner that begins with it."""
    if learner.generative is None:
        return None
    return _stage("body", task, seed, learner, predicts=())
