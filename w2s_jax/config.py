"""An experiment as frozen data. A file in `configs/` is a short Python file that names one `experiment`."""

import dataclasses
import importlib.util
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from w2s_jax.errors import UserError
from w2s_jax.train.learner import Learner

Value = int | float | str | bool


@dataclass(frozen=True)
class TaskConfig:
    """A task and how much of it each split gets, counted in examples.

    Attributes:
      name: a name from `w2s tasks`, a local .jsonl, .csv or .parquet file with `text` and `label`, or
        `my_file.py:my_task`.
      source: read instead of the task's own, in its format: a local file or folder, `tfds:glue/cola:train`, or
        `hf:org/name@revision:data/*.parquet`.
      pool: examples that all seeds draw their splits from; None is the whole task. With cached features this is
        what has to be computed.
      supervisor: the split the supervisor is trained on, with ground truth.
      transfer: weak labels for the student, ground truth for the ceiling.
      validation: for choosing a checkpoint: weak labels for the student.
      test: where everything is measured.
      balance: drop rows of the larger classes, so that chance is 1 / classes (Burns et al. 2023, A.1).
    """

    name: str = "cities"
    source: str | None = None
    pool: int | None = None
    supervisor: int = 1000
    transfer: int = 1000
    validation: int = 200
    test: int = 500
    balance: bool = True


@dataclass(frozen=True)
class Method:
    """How a student learns from weak labels.

    Attributes:
      loss: a name from `w2s_jax.losses`, or `my_losses.py:my_loss`.
      options: the loss's keyword hyperparameters.
    """

    loss: str = "cross_entropy"
    options: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class MeshConfig:
    """How devices are arranged: `data` x `fsdp` x `tensor` must be the device count; -1 takes what is left."""

    data: int = -1
    fsdp: int = 1
    tensor: int = 1


@dataclass(frozen=True)
class Experiment:
    """Every (task, supervisor, student, method, seed) of these is one cell; whatever cells share is made once.

    Attributes:
      name: of the results folder, `<out>/<name>/`.
      supervisors, students: display name -> learner. The ceiling is the student's learner on ground truth.
      methods: display name -> method; the first is what the others are compared with.
      seeds: each draws its own splits, batch order and initial head.
      pairs: `all` supervisors with all students, or `listed`: the first with the first, and so on.
      keep_params: keep every stage's trained parameters, not only its predictions.
      out: results and, in `<out>/stages`, the stages that all experiments share.
    """

    name: str
    tasks: tuple[TaskConfig, ...]
    supervisors: Mapping[str, Learner]
    students: Mapping[str, Learner]
    methods: Mapping[str, Method] = field(
        default_factory=lambda: {"naive": Method(), "confidence": Method("confidence")}
    )
    seeds: tuple[int, ...] = (0, 1, 2)
    pairs: Literal["all", "listed"] = "all"
    mesh: MeshConfig = MeshConfig()
    keep_params: bool = True
    out: str = "runs"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.name):
            raise UserError(f"experiment name {self.name!r} must be letters, digits, '.', '_' and '-'")
        for name in ("tasks", "supervisors", "students", "methods", "seeds"):
            if not getattr(self, name):
                raise UserError(f"experiment {self.name!r} has no {name}; give at least one")
        if len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise UserError(f"seeds must be different numbers from 0 up, not {list(self.seeds)}")
        if self.pairs == "listed" and len(self.supervisors) != len(self.students):
            raise UserError(
                f"pairs='listed' needs as many supervisors ({len(self.supervisors)}) as students ({len(self.students)})"
            )

    def model_pairs(self) -> list[tuple[str, str]]:
        """(supervisor, student) display names, in order."""
        if self.pairs == "listed":
            return list(zip(self.supervisors, self.students, strict=True))
        return [(supervisor, student) for supervisor in self.supervisors for student in self.students]


def asdict(value: Any) -> Any:
    """Nested dataclasses as JSON values."""
    return json.loads(json.dumps(dataclasses.asdict(value)))


def load(path: str) -> Experiment:
    """Reads the `experiment` of a Python file.

    Raises:
      UserError: no such file, or it names no `experiment`.
    """
    return named(path, "experiment", Experiment)


def named(path: str, name: str, kind: type | None = None) -> Any:
    """The object `name` of the user's own Python file.

    Raises:
      UserError: no such file, no such name, or it is not of that kind.
    """
    module = _import(path)
    if not hasattr(module, name):
        public = ", ".join(sorted(key for key in vars(module) if not key.startswith("_"))) or "nothing"
        raise UserError(f"{path} has no {name!r}; it defines: {public}")
    found = getattr(module, name)
    if kind is not None and not isinstance(found, kind):
        raise UserError(f"{name!r} in {path} must be a {kind.__name__}, not a {type(found).__name__}")
    return found


def split_reference(reference: str) -> tuple[str, str] | None:
    """`("file.py", "name")` of `file.py:name`; None for a plain name."""
    path, colon, name = reference.rpartition(":")
    return (path, name) if colon and path.endswith(".py") else None


def _import(path: str) -> ModuleType:
    file = Path(path).resolve()
    if not file.is_file():
        raise UserError(f"{path} does not exist")
    name = f"_w2s_user_{file.stem}_{abs(hash(str(file)))}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except UserError:
        del sys.modules[name]
        raise
    except Exception as error:
        del sys.modules[name]
        raise UserError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    return module
