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

from w2s_jax.runtime.errors import UserError
from w2s_jax.train.learner import Learner

Value = int | float | str | bool


@dataclass(frozen=True)
class TaskConfig:
    """A task and how much of it each split gets, counted in examples.

    Attributes:
      name: a name from `w2s tasks`, a local .jsonl, .csv or .parquet file with `text` and `label`, or with
        `chosen` and `rejected` (and `prompt`); or `my_file.py:my_task`.
      source: read instead of the task's own, in its format: a local file or folder, `tfds:glue/cola:train`, or
        `hf:org/name@revision:data/*.parquet`.
      pool: examples that all seeds draw their splits from; None is the whole task. With cached features this is
        what has to be computed.
      supervisor: the split the supervisor is trained on, with ground truth.
      transfer: weak labels for the student, ground truth for the ceiling.
      validation: for choosing a checkpoint: weak labels for the student.
      test: where everything is measured.
      shrink: where the splits would take more than 95% of the task's examples, make all four smaller in proportion,
        down to that; what is left over is for groups that do not fit.
      balance: drop rows of the larger classes, so that chance is 1 / classes (Burns et al. 2023, A.1).
      easy: the supervisor learns only from examples of at most this difficulty, and all else is harder (Burns et al.
        2023, App. C: easy-to-hard generalization).
    """

    name: str = "cities"
    source: str | None = None
    pool: int | None = None
    supervisor: int = 1000
    transfer: int = 1000
    validation: int = 200
    test: int = 500
    balance: bool = True
    easy: float | None = None
    shrink: bool = False

    def __post_init__(self) -> None:
        if self.shrink and self.easy is not None:
            raise UserError("shrink counts examples, not easy ones; where `easy` is set, give sizes that fit")

    @property
    def title(self) -> str:
        """As results call it."""
        return self.name if self.easy is None else f"{self.name}, easy to hard"


@dataclass(frozen=True)
class Atoms(TaskConfig):
    """The statements that another task's rows are made of, as a task: what the judge of a `Decomposed` labels.

    Attributes:
      name: the task whose texts they are.
      whole: the task whose rows they are of, and whose splits are theirs.
    """

    whole: TaskConfig = TaskConfig()


@dataclass(frozen=True)
class LabelStep:
    """One step of work on weak labels before a student learns from them.

    Attributes:
      name: a name from `w2s_jax.label_transforms`, or `my_steps.py:my_step`.
      options: its keyword hyperparameters.
    """

    name: str
    options: Mapping[str, Value] = field(default_factory=dict)

    def __hash__(self) -> int:
        return hash(self.name)


@dataclass(frozen=True)
class Method:
    """How a student learns from weak labels.

    Attributes:
      loss: a name from `w2s_jax.losses`, or `my_losses.py:my_loss`.
      options: keyword hyperparameters of the loss, of CCS, or of prompting: how many `shots`, `shown` with the
        supervisor's labels (`weak`) or the true ones (`truth`), a `template` other than the task's, and whether to
        `calibrate`.
      labels: work on the weak labels, step after step, before the student sees them.
      learn: `train` the student; `prompt` it, as it is, through its language-model head; or find a direction in its
        hidden states by `ccs`, without labels.
      through: bootstrapping (Burns et al. 2023, section 4.3.1): students between the supervisor and this one, by
        name. Each learns from the labels of the one before it, on its own part of the transfer split.
      rounds: strong-to-strong iterations: in each a fresh student learns from the labels of the last. Where a step of
        label work compares the supervisors with a student, all rounds keep the supervisors' labels, and the step sees
        the last round's student.
      hint: append "I think this is {weak label}. What do you think?" to every text (Burns et al. 2023, App. E).
      readout: `head` reads the student as it was trained; `truth_probe` trains a linear probe on ground truth on its
        hidden states, which measures how salient the task has become (Burns et al. 2023, section 5.2.3).
    """

    loss: str = "cross_entropy"
    options: Mapping[str, Value] = field(default_factory=dict)
    labels: tuple[LabelStep, ...] = ()
    learn: Literal["train", "prompt", "ccs"] = "train"
    through: tuple[str, ...] = ()
    rounds: int = 1
    hint: bool = False
    readout: Literal["head", "truth_probe"] = "head"

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise UserError(f"rounds must be 1 or more, not {self.rounds}")
        if self.through and self.rounds > 1:
            raise UserError("a method goes through other students or takes several rounds, not both")
        if self.learn != "train" and (self.labels or self.through or self.rounds > 1 or self.readout != "head"):
            raise UserError(f"learn={self.learn!r} trains no student: give it no labels, through, rounds or readout")

    def __hash__(self) -> int:
        return hash(self.loss)


@dataclass(frozen=True)
class Advised:
    """A supervisor that reads what a stronger model says of each text, and then judges (Lang et al. 2501.13124).

    The advisor writes as it is, once for every text, and knows no truth. The judge learns from ground truth with the
    transcripts beside the texts, and labels with them; a student sees the plain text.

    Attributes:
      advisor: a decoder; of this learner, the model, `max_tokens`, `too_long` and `dtype` count.
      protocol: in a `debate` both answers are argued for, and a hash decides which comes first; in a `consultancy` one,
        which a hash draws, so that it is right half of the time (Khan et al. 2402.06782; Kenton et al. 2407.04622).
      turns: how often each side speaks; it reads all that was said before.
      tokens: an argument at most has; it ends with its line, too.
      temperature: of sampling; 0 takes the most probable token.
      heading: what an argument follows; it holds `{answer}`. It should leave a sentence open: else models, small ones
        above all, end their line at once.
      seed: of sampling, for all seeds of the experiment: several judges of one ensemble read several debates.
      shuffled: the control: every row has another row's transcript.
    """

    judge: Learner
    advisor: Learner
    protocol: Literal["debate", "consultancy"] = "debate"
    turns: int = 1
    tokens: int = 48
    temperature: float = 0.0
    seed: int = 0
    heading: str = "\nThe answer is {answer} because"
    shuffled: bool = False

    def __post_init__(self) -> None:
        if self.turns < 1 or self.tokens < 1 or self.seed < 0 or not self.temperature >= 0:
            raise UserError("an advisor needs 1 turn or more, 1 token or more, a seed and a temperature of 0 or more")
        if "{answer}" not in self.heading:
            raise UserError(f"an advisor's heading must hold {{answer}}; it is {self.heading!r}")

    @property
    def sides(self) -> int:
        """How many speak in each turn."""
        return 2 if self.protocol == "debate" else 1


@dataclass(frozen=True)
class Recursive:
    """Recursive reward modelling (Leike et al. 1811.07871): a judge whose advisor says what a reward model chose.

    At level 0 it is `advised` itself. The judge's labels of the transfer split, never ground truth, then teach
    `reward_model`, which reads the same transcripts; of `candidates` sampled arguments each side of the next level's
    transcripts says the one by which the reward model finds its class most probable (best-of-n: Stiennon et al.
    2009.01325, Khan et al. 2402.06782); the judge learns anew beside those; and so on, level upon level.

    Attributes:
      advised: the judge, its advisor and the protocol, of one turn and sampled. Candidate i is what the advisor says at
        `seed + i`; the first is what level 0 shows. `shuffled` is the control: the judge, and no reward model, has
        another row's chosen transcript at this level.
      reward_model: a fresh one learns at every level.
      level: how many reward models stand in a row behind the judge.
      candidates: of each argument.

    Raises:
      UserError: a level below 1, fewer than two candidates, several turns, or a temperature of 0, at which all
        candidates are one.
    """

    advised: Advised
    reward_model: Learner
    level: int = 1
    candidates: int = 4

    def __post_init__(self) -> None:
        if self.level < 1 or self.candidates < 2:
            raise UserError(
                "a recursive supervisor needs level 1 or more (0 is its `advised`), and 2 candidates or more"
            )
        if self.advised.turns != 1:
            raise UserError(f"a recursive supervisor's sides speak once, not in {self.advised.turns} turns")
        if self.advised.temperature == 0:
            raise UserError("a recursive supervisor's advisor must sample: at temperature 0 all candidates are one")


@dataclass(frozen=True)
class Ensemble:
    """Several weak supervisors whose labels are combined.

    Attributes:
      members: at least two; a learner may stand here several times. An average may have judges with an advisor.
      how: `average` of the members' probabilities; `bagging`, where each member is trained on its own bootstrap sample
        (Breiman 1996); or `boosting`, where each is trained on what those before it got wrong, and they vote (SAMME,
        as in EnsemW2S, arXiv 2410.04571).
    """

    members: tuple[Learner | Advised | Recursive, ...]
    how: Literal["average", "bagging", "boosting"] = "average"

    def __post_init__(self) -> None:
        if len(self.members) < 2:
            raise UserError(f"an ensemble needs two members or more, not {len(self.members)}")
        if self.how != "average" and not all(isinstance(member, Learner) for member in self.members):
            raise UserError(f"{self.how} is of learners; an ensemble with advised judges is an average")


@dataclass(frozen=True)
class Errors:
    """A simulated supervisor, as accurate as a real one, whose errors have another structure (Burns et al., App. E).

    Attributes:
      like: the real supervisor; in every split as many labels are wrong as it gets wrong, and its confidences in right
        and in wrong labels are dealt out among them: else students would also differ by soft and hard labels.
      kind: errors fall on `independent` rows; on the `longest` or the `shortest` texts, which is trivial to learn; or
        on those that the real one is most `unsure` of, as a red team's would.
    """

    like: Learner
    kind: Literal["independent", "longest", "shortest", "unsure"] = "independent"


@dataclass(frozen=True)
class Given:
    """A supervisor whose labels come from elsewhere: from another model, or from people.

    Attributes:
      probs: an array, `file.npz:name` or `:name`, [rows, classes], as the task's rows; or a .jsonl, .csv or .parquet
        table with `id`, and `label` or `probs`. `w2s ask` writes the rows to be labelled.
    """

    probs: str


@dataclass(frozen=True)
class Decomposed:
    """A supervisor that takes each text apart, labels the parts, and puts their labels together.

    The one step of task decomposition that a task's own grammar makes exact (Christiano et al. 1810.08575, section 2;
    "part-to-complete generalization", Mai 2503.13621). The judge learns ground truth of parts instead of rows: of at
    most as many of the supervisor split's as that has rows, so that it knows no more labels than it would without.
    A row of m parts costs m of its labels. The parts count as independent of each other.

    Attributes:
      judge: of the parts. The task says what they are (`data.tasks.Task.parts`).
    """

    judge: Learner


Supervisor = Learner | Advised | Recursive | Ensemble | Errors | Given | Decomposed


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
      supervisors: display name -> a learner, or another kind of supervisor.
      students: display name -> learner. The ceiling is the student's learner on ground truth.
      methods: display name -> method; the first is what the others are compared with.
      seeds: each draws its own splits, batch order and initial head.
      pairs: `all` supervisors with all students; `listed`: the first with the first, and so on, and students after
        those are only links that a method goes `through`; or `ladder`: each supervisor with the students that stand at
        its own place or after it.
      keep_params: keep every stage's trained parameters, not only its predictions.
      out: results and, in `<out>/stages`, the stages that all experiments share.
    """

    name: str
    tasks: tuple[TaskConfig, ...]
    supervisors: Mapping[str, Supervisor]
    students: Mapping[str, Learner]
    methods: Mapping[str, Method] = field(
        default_factory=lambda: {"naive": Method(), "confidence": Method("confidence")}
    )
    seeds: tuple[int, ...] = (0, 1, 2)
    pairs: Literal["all", "listed", "ladder"] = "all"
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
        titles = [task.title for task in self.tasks]
        if len(set(titles)) < len(titles):
            raise UserError(f"two tasks have one name among {', '.join(titles)}; put them into two experiments")
        links = {link for method in self.methods.values() for link in method.through}
        rest = list(self.students)[len(self.supervisors) :]
        if self.pairs == "listed" and (len(self.supervisors) > len(self.students) or not links.issuperset(rest)):
            raise UserError(
                f"pairs='listed' needs as many supervisors ({len(self.supervisors)}) as students "
                f"({len(self.students)}), but for students that methods only go through"
            )
        for name, method in self.methods.items():
            for link in method.through:
                if link not in self.students:
                    raise UserError(
                        f"method {name!r} goes through {link!r}, which is none of the students: "
                        f"{', '.join(self.students)}"
                    )

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


def advice(maker: Supervisor) -> Advised | None:
    """What a supervisor's judge reads beside the texts; None where it has no advisor."""
    if isinstance(maker, Recursive):
        return maker.advised
    return maker if isinstance(maker, Advised) else None


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
