"""The graph of stages: the cells of an experiment, the stages that answer each, and what the cells share."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from w2s_jax.config import Experiment, Method
from w2s_jax.data.task_data import TaskData, Tasks
from w2s_jax.runtime.errors import UserError
from w2s_jax.stages.base import Stage
from w2s_jax.stages.student import Student
from w2s_jax.stages.supervise import Supervise
from w2s_jax.stages.truth import Ceiling, TruthProbe
from w2s_jax.supervisors import supervisor
from w2s_jax.train.learner import Learner

FILE = "stages.json"  # in a run's folder
ROLES = ("supervisor", "student", "ceiling")


class CellStages(NamedTuple):
    """One cell of the grid, by display names, and the three stages that answer it, by role."""

    task: str
    supervisor: str
    student: str
    method: str
    seed: int
    stages: dict[str, Stage]


def cells(experiment: Experiment, tasks: Tasks) -> Iterator[CellStages]:
    """Every cell, in the order: task, pair of models, seed, method. Cells share their stages."""
    supervisors = {name: supervisor(each) for name, each in experiment.supervisors.items()}
    for config in experiment.tasks:
        task = tasks[config]
        taught: dict[tuple[str, int], Stage] = {}
        ceilings: dict[tuple[str, int], Stage] = {}
        for supervisor_name, student_name in experiment.model_pairs():
            strong = experiment.students[student_name]
            for seed in experiment.seeds:
                weak = taught.setdefault((supervisor_name, seed), Supervise(task, seed, supervisors[supervisor_name]))
                ceiling = ceilings.setdefault((student_name, seed), Ceiling(task, seed, strong))
                for name, method in experiment.methods.items():
                    student = _student(experiment, task, seed, strong, method, weak)
                    stages = {"supervisor": weak, "student": student, "ceiling": ceiling}
                    yield CellStages(config.title, supervisor_name, student_name, name, seed, stages)


def stages(cells: Sequence[CellStages]) -> list[Stage]:
    """The distinct stages of all cells, each after those it needs."""
    found: dict[str, Stage] = {}

    def add(stage: Stage) -> None:
        if stage.name not in found:
            for need in stage.needs:
                add(need)
            found[stage.name] = stage

    for cell in cells:
        for role in ROLES:
            add(cell.stages[role])
    return list(found.values())


def as_json(cells: Sequence[CellStages]) -> list[dict[str, Any]]:
    """The stages of cells, for those who look at a run: the name of each one's folder, its title, and what it reads."""
    return [
        {"name": stage.name, "title": stage.title, "needs": [need.name for need in stage.needs]}
        for stage in stages(cells)
    ]


def _student(experiment: Experiment, task: TaskData, seed: int, learner: Learner, method: Method, weak: Stage) -> Stage:
    """The last student of a method, with those before it as its teachers."""
    links = [experiment.students[name] for name in method.through] + [learner] * method.rounds
    parts = len(links) if method.through else 1
    compares = any("student" in each.context for each in method.labels)
    if compares and len(links) == 1:
        raise UserError(
            f"label transform {next(each.name for each in method.labels if 'student' in each.context)!r} compares the "
            "supervisor with a student of the round before: give the method rounds=2 or more"
        )
    student: Stage | None = None
    for index, link in enumerate(links):
        last = index == len(links) - 1
        student = Student(
            task,
            seed,
            link,
            method.learn,
            teacher=weak if student is None or compares else student,
            transforms=method.labels,
            hint=method.hint,
            part=(index, parts) if parts > 1 else (0, 1),
            previous=student if compares else None,
            predicts=("validation", "test") if last else ("transfer", "validation", "test"),
        )
    assert student is not None
    return TruthProbe(task, seed, student) if method.readout == "truth_probe" else student
