"""An experiment as frozen data. A file in `configs/` is a short Python file that names one `experiment`."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from w2s_jax.data.task_config import TaskConfig
from w2s_jax.label_transforms.transform import Transform
from w2s_jax.runtime import references
from w2s_jax.runtime.errors import UserError
from w2s_jax.stages.student import WayToLearn
from w2s_jax.students import Train
from w2s_jax.supervisors import supervisor
from w2s_jax.train.learner import Learner


@dataclass(frozen=True)
class Method:
    """What becomes of weak labels: label transforms, then how the student learns, then how it is read out.

    Attributes:
      learn: how the student learns: `Train(loss, options)`, `Prompt(shots, ...)`, `CCS(...)`, or an object of a class
        of your own that inherits from `stages.student.WayToLearn`.
      labels: transforms of the weak labels, one after another, before the student sees them.
      through: bootstrapping (Burns et al. 2023, section 4.3.1): students between the supervisor and this one, by
        name. Each learns from the labels of the one before it, on its own part of the transfer split.
      rounds: strong-to-strong iterations: in each a fresh student learns from the labels of the last. Where a label
        transform compares the supervisor with a student, all rounds keep the supervisor's labels, and the transform
        sees the last round's student.
      hint: append "I think this is {weak label}. What do you think?" to every text (Burns et al. 2023, App. E).
      readout: `head` reads the student as it was trained; `truth_probe` trains a linear probe on ground truth on its
        hidden states, which measures how salient the task has become (Burns et al. 2023, section 5.2.3).

    Raises:
      UserError: combinations that mean nothing.
    """

    learn: Any = field(default_factory=Train)
    labels: tuple[Transform, ...] = ()
    through: tuple[str, ...] = ()
    rounds: int = 1
    hint: bool = False
    readout: Literal["head", "truth_probe"] = "head"

    def __post_init__(self) -> None:
        if WayToLearn not in type(self.learn).__mro__:
            raise UserError(f"learn={self.learn!r} is no way to learn: want Train(...), Prompt(...), CCS(...), ...")
        if self.rounds < 1:
            raise UserError(f"rounds must be 1 or more, not {self.rounds}")
        if self.through and self.rounds > 1:
            raise UserError("a method goes through other students or takes several rounds, not both")
        if not self.learn.trains and (self.labels or self.through or self.rounds > 1 or self.readout != "head"):
            raise UserError(
                f"{type(self.learn).__name__} trains no student: give the method no labels, through, rounds or readout"
            )


@dataclass(frozen=True)
class MeshConfig:
    """How devices are arranged: `data` x `fsdp` x `tensor` x `expert` must be the device count; -1 takes what is left.

    Attributes: as of `runtime.sharding.make_mesh`.
    """

    data: int = -1
    fsdp: int = 1
    tensor: int = 1
    expert: int = 1


@dataclass(frozen=True)
class Published:
    """A figure that somebody published for what an experiment measures: shown beside its own, never among them.

    Names are those of the experiment; a figure of what it has not is not measured. Where one is left out, the figure is
    a median over all that there are.

    Attributes:
      value: the figure.
      source: paper and place, as a reader finds it.
      how: `read` there as a number, read off a `plot`, or `recalled` and not checked since.
      metric: `pgr`, `pgr_auroc`, or the name of a metric.
      role: whose score it is, of a metric.
      note: what was different there.

    Raises:
      UserError: there is no such way to have read it, or role.

    Example:
      >>> Published(0.33, "openai/weak-to-strong, notebook", "plot", task="sciq", method="xent").metric
      'pgr'
    """

    value: float
    source: str
    how: Literal["read", "plot", "recalled"] = "read"
    metric: str = "pgr"
    role: Literal["supervisor", "student", "ceiling"] = "student"
    task: str | None = None
    supervisor: str | None = None
    student: str | None = None
    method: str | None = None
    note: str = ""

    def __post_init__(self) -> None:
        number = isinstance(self.value, int | float) and not isinstance(self.value, bool)
        if not number or not math.isfinite(self.value):
            raise UserError(f"a published figure is a finite number, not {self.value!r}")
        for name in ("source", "metric", "note"):
            if not isinstance(getattr(self, name), str):
                raise UserError(f"the {name} of a published figure is text, not {getattr(self, name)!r}")
        for name in ("task", "supervisor", "student", "method"):
            if not isinstance(getattr(self, name), str | None):
                raise UserError(f"the {name} of a published figure is a name, not {getattr(self, name)!r}")
        if self.how not in ("read", "plot", "recalled"):
            raise UserError(f"a published figure is 'read', of a 'plot' or 'recalled', not {self.how!r}")
        if self.role not in ("supervisor", "student", "ceiling"):
            raise UserError(f"a published figure is of supervisor, student or ceiling, not of {self.role!r}")


@dataclass(frozen=True)
class Experiment:
    """Every (task, supervisor, student, method, seed) of these is one cell; what cells share is computed once.

    Attributes:
      name: of the results folder, `<out>/<name>/`.
      supervisors: display name -> a learner, another kind of supervisor, or `my_file.py:Name` of one.
      students: display name -> learner. The ceiling is the student's learner on ground truth.
      methods: display name -> method; the first is what the others are compared with.
      seeds: each draws its own splits, batch order and initial head.
      pairs: `all` supervisors with all students; `listed`: the first with the first, and so on, and students after
        those are only links that a method goes `through`; or `ladder`: each supervisor with the students that stand at
        its own place or after it.
      jobs: how many finetunings of one model and task train together, as one program, at most; None is as many as suit
        the devices. What each of them gets stays the same, but for rounding.
      keep_params: keep every stage's trained parameters, not only its predictions.
      out: results and, in `<out>/stages`, the stages that all experiments share.
      published: figures that others published for it, to be shown beside the results.
      lock: a file that `w2s lock` wrote: the Hub is read at its commits, and what is not what it was is refused.

    Raises:
      UserError: something is missing, stands twice, or does not fit together.
    """

    name: str
    tasks: tuple[TaskConfig, ...]
    supervisors: Mapping[str, Any]
    students: Mapping[str, Learner]
    methods: Mapping[str, Method] = field(
        default_factory=lambda: {"naive": Method(), "confidence": Method(Train("confidence"))}
    )
    seeds: tuple[int, ...] = (0, 1, 2)
    pairs: Literal["all", "listed", "ladder"] = "all"
    mesh: MeshConfig = MeshConfig()
    jobs: int | None = None
    keep_params: bool = True
    out: str = "runs"
    lock: str | None = None
    published: tuple[Published, ...] = ()

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.name):
            raise UserError(f"experiment name {self.name!r} must be letters, digits, '.', '_' and '-'")
        for name in ("tasks", "supervisors", "students", "methods", "seeds"):
            if not getattr(self, name):
                raise UserError(f"experiment {self.name!r} has no {name}; give at least one")
        if self.jobs is not None and self.jobs < 1:
            raise UserError(f"jobs must be 1 or more, not {self.jobs}")
        if len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise UserError(f"seeds must be different numbers from 0 up, not {list(self.seeds)}")
        titles = [task.title for task in self.tasks]
        if len(set(titles)) < len(titles):
            raise UserError(f"two tasks have one name among {', '.join(titles)}; put them into two experiments")
        for each in self.supervisors.values():
            supervisor(each)
        if not isinstance(self.published, tuple | list) or not all(isinstance(p, Published) for p in self.published):
            raise UserError(f"`published` is a tuple of Published, not {self.published!r}")
        self._check_pairs()

    def _check_pairs(self) -> None:
        links = {link for method in self.methods.values() for link in method.through}
        rest = list(self.students)[len(self.supervisors) :]
        if self.pairs == "listed" and (len(self.supervisors) > len(self.students) or not links.issuperset(rest)):
            raise UserError(
                f"pairs='listed' needs as many supervisors ({len(self.supervisors)}) as students "
                f"({len(self.students)}), apart from students that methods only go through"
            )
        for name, method in self.methods.items():
            for link in method.through:
                if link not in self.students:
                    raise UserError(
                        f"method {name!r} goes through {link!r}, which is none of the students: "
                        f"{', '.join(self.students)}"
                    )

    @property
    def folder(self) -> Path:
        """Where its results and report are written."""
        return Path(self.out) / self.name

    def model_pairs(self) -> list[tuple[str, str]]:
        """(supervisor, student) display names, in order."""
        if self.pairs == "listed":
            return list(zip(self.supervisors, self.students, strict=False))
        students = list(self.students)
        return [
            (supervisor, student)
            for place, supervisor in enumerate(self.supervisors)
            for student in (students[place:] if self.pairs == "ladder" else students)
        ]


def load(path: str) -> Experiment:
    """Reads the `experiment` of a Python file.

    Raises:
      UserError: no such file, or it names no `experiment`.
    """
    found: Experiment = references.named(path, "experiment", Experiment)
    return found
