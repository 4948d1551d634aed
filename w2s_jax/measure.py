"""Joins finished stages with ground truth, which no student saw, into results."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from w2s_jax import config, experiment, materials, metrics, results
from w2s_jax.config import Experiment
from w2s_jax.errors import UserError
from w2s_jax.experiment import CellStages
from w2s_jax.results import Results, TaskFacts
from w2s_jax.store import PREDICTIONS, Finished, Store
from w2s_jax.train.learner import Learner


def measure(plan: Experiment, store: Store, made: Mapping[str, Any]) -> Results | None:
    """The results of every cell whose stages are all done; None if there is none."""
    finished: dict[str, Finished] = {}

    def read(name: str) -> Finished:
        if name not in finished:
            finished[name] = store.read(name)
        return finished[name]

    cells = [
        _cell(cell, {role: read(stage.folder) for role, stage in cell.stages.items()})
        for cell in experiment.cells(plan)
        if all(store.done(stage.folder) for stage in cell.stages.values())
    ]
    if not cells:
        return None
    summaries, comparisons = results.summarise(cells)
    return Results(
        name=plan.name,
        config=config.asdict(plan),
        made=made,
        tasks=tuple(_facts(task, plan.seeds[0]) for task in plan.tasks),
        cells=tuple(item.cell for item in cells),
        summaries=summaries,
        comparisons=comparisons,
        parameters=_sizes(plan),
        across=results.over_tasks(summaries),
    )


def _cell(cell: CellStages, finished: Mapping[str, Finished]) -> results.Measured:
    student = cell.stages["student"]
    _check_teacher(cell, finished)
    splits = materials.splits(student.task, cell.seed)
    test, validation = splits.test, splits.validation
    assert test.labels is not None
    assert validation.labels is not None
    probs = {role: stage.predictions.for_split("test", test.ids) for role, stage in finished.items()}
    history = finished["student"].history
    return results.measure(
        names={name: getattr(cell, name) for name in ("task", "supervisor", "student", "method", "seed")},
        stages={role: stage.folder for role, stage in cell.stages.items()},
        test=metrics.Cell(**probs, labels=test.labels, groups=np.array(test.groups)),
        weak_validation=finished["supervisor"].predictions.for_split("validation", validation.ids),
        ceiling_validation=finished["ceiling"].predictions.for_split("validation", validation.ids),
        truth_validation=validation.labels,
        steps=history.evaluated,
        curve=history.probs,
        selected=history.best,
    )


def _check_teacher(cell: CellStages, finished: Mapping[str, Finished]) -> None:
    """A student counts only beside the very labels it learned from; those of a chain are checked link by link."""
    if cell.stages["student"].teacher is not cell.stages["supervisor"]:
        return
    learned = finished["student"].manifest["made"]["teacher_predictions"]
    if learned != finished["supervisor"].manifest["files"][PREDICTIONS]:
        student, supervisor = cell.stages["student"].folder, cell.stages["supervisor"].folder
        raise UserError(f"{student} learned from other labels than {supervisor} now holds; delete {student}")


def _sizes(plan: Experiment) -> dict[str, int]:
    learners = {**plan.supervisors, **plan.students}
    sizes = {name: materials.model_size(maker) for name, maker in learners.items() if isinstance(maker, Learner)}
    return {name: size for name, size in sizes.items() if size is not None}


def _facts(task: config.TaskConfig, seed: int) -> TaskFacts:
    splits = materials.splits(task, seed)
    sizes = {name: len(getattr(splits, name)) for name in ("supervisor", "transfer", "validation", "test")}
    assert splits.test.labels is not None
    balance = np.bincount(splits.test.labels, minlength=splits.n_classes) / len(splits.test)
    return TaskFacts(task.title, sizes, splits.n_classes, tuple(balance.tolist()))
