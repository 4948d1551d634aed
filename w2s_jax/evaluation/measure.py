"""Joins finished stages with ground truth, which no student saw, into results."""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from w2s_jax import metrics, models, serialize
from w2s_jax.config import Experiment
from w2s_jax.data import arrays
from w2s_jax.data.task_data import TaskData, Tasks
from w2s_jax.evaluation import across, one_cell, summarise
from w2s_jax.evaluation.one_cell import Measured
from w2s_jax.evaluation.results import Results, TaskFacts
from w2s_jax.metrics import Finding
from w2s_jax.pipeline import graph, origins
from w2s_jax.pipeline.graph import CellStages
from w2s_jax.pipeline.store import PREDICTIONS, Finished, Store
from w2s_jax.runtime.errors import UserError
from w2s_jax.stages.base import Stage
from w2s_jax.stages.measuring import CellKey, Setting
from w2s_jax.supervisors import supervisor
from w2s_jax.train.learner import Learner

MOST_NAMED = 100  # classes whose names results repeat


def measure(
    experiment: Experiment, cells: Sequence[CellStages], tasks: Tasks, store: Store, made: Mapping[str, Any]
) -> Results | None:
    """The results of every cell whose stages are all done; None if there is none."""
    read = functools.cache(store.read)
    measured = _done(cells, store, read)
    if not measured:
        return None
    summarised = summarise.summarise(measured)
    return Results(
        name=experiment.name,
        config=serialize.to_json(experiment),
        made=made,
        tasks=tuple(_facts(tasks[task], experiment.seeds[0]) for task in experiment.tasks),
        metrics=metrics.facts(),
        cells=tuple(item.cell for item in measured),
        **summarised._asdict(),
        parameters=sizes(experiment),
        across=across.over_tasks(summarised.summaries),
        findings=tuple(_findings(experiment, cells, measured, tasks, read)),
        models=origins.models_of(graph.stages(cells)),
    )


def finished(cells: Iterable[CellStages], store: Store, wanted: Callable[[CellStages], bool]) -> list[Measured]:
    """The wanted cells whose stages are all done, measured, with the predictions behind them."""
    return _done(filter(wanted, cells), store, functools.cache(store.read))


def _done(cells: Iterable[CellStages], store: Store, read: Callable[[str], Finished]) -> list[Measured]:
    check = _Lineage(read)
    return [
        _cell(cell, {role: read(stage.name) for role, stage in cell.stages.items()}, check)
        for cell in cells
        if all(store.done(stage.name) for stage in cell.stages.values())
    ]


class _Lineage:
    """Checks that every finished stage read the very predictions that the stages it needs now hold."""

    def __init__(self, read: Callable[[str], Finished]) -> None:
        self._read = read
        self._checked: set[str] = set()

    def __call__(self, stage: Stage) -> None:
        """Looks at a stage, those that it needs, those that these need, and so on.

        Raises:
          UserError: one of them learned from other labels than there are now.
        """
        if stage.name in self._checked:
            return
        self._checked.add(stage.name)
        for need in stage.needs:
            self(need)
            learned = self._read(stage.name).manifest["made"]["read"][need.name]
            if learned != self._read(need.name).manifest["files"][PREDICTIONS]:
                raise UserError(f"{stage.name} read other predictions than {need.name} now holds; delete {stage.name}")


def _findings(
    experiment: Experiment,
    cells: Sequence[CellStages],
    measured: Sequence[Measured],
    tasks: Tasks,
    read: Callable[[str], Finished],
) -> Iterator[Finding]:
    """What every kind of supervisor measures of its own."""
    supervisors = {name: supervisor(each) for name, each in experiment.supervisors.items()}
    stages = {(cell.task, cell.supervisor, cell.seed): cell.stages["supervisor"] for cell in cells}
    found = {
        CellKey(c.task, c.supervisor, c.student, c.method, c.seed): item.predictions
        for item in measured
        if (c := item.cell) and item.predictions is not None
    }
    for name, each in supervisors.items():
        yield from each.measures(
            Setting(
                name=name,
                supervisors=supervisors,
                students=experiment.students,
                methods=experiment.methods,
                tasks=tuple(tasks[task] for task in experiment.tasks),
                seeds=experiment.seeds,
                cells=found,
                stage=lambda task, name, seed: stages[task.config.title, name, seed],
                read=lambda stage: read(stage.name).predictions,
            )
        )


def _cell(cell: CellStages, finished: Mapping[str, Finished], check: Callable[[Stage], None]) -> Measured:
    for stage in cell.stages.values():
        check(stage)
    splits = cell.stages["student"].splits
    test, validation = splits.test, splits.validation
    assert test.labels is not None
    assert validation.labels is not None
    probs = {role: stage.predictions.measurable("test", test.ids) for role, stage in finished.items()}
    history = finished["student"].history
    return one_cell.measure(
        names={name: getattr(cell, name) for name in ("task", "supervisor", "student", "method", "seed")},
        stages={role: stage.name for role, stage in cell.stages.items()},
        test=metrics.Triple(**probs, labels=test.labels, groups=np.array(test.groups)),
        weak_validation=finished["supervisor"].predictions.measurable("validation", validation.ids),
        ceiling_validation=finished["ceiling"].predictions.measurable("validation", validation.ids),
        truth_validation=validation.labels,
        steps=history.evaluated,
        curve=history.probs,
        selected=history.best,
    )


def sizes(experiment: Experiment) -> dict[str, int]:
    """Parameters of each model whose number is known, by display name.

    Raises:
      UserError: two models of different sizes have one name.
    """
    found: dict[str, int] = {}
    for named in (experiment.supervisors, experiment.students):
        for name, learner in named.items():
            if isinstance(learner, Learner) and not arrays.is_array(learner.model):
                size = models.size(learner.model, read_layer=learner.read_layer)
                if found.setdefault(name, size) != size:
                    raise UserError(
                        f"a supervisor and a student are both called {name!r}, but are of {found[name]:,} and {size:,} "
                        "parameters; give them different names"
                    )
    return found


def _facts(task: TaskData, seed: int) -> TaskFacts:
    splits = task.splits(seed)
    sizes = {name: len(getattr(splits, name)) for name in ("supervisor", "transfer", "validation", "test")}
    assert splits.test.labels is not None
    balance = np.bincount(splits.test.labels, minlength=splits.n_classes) / len(splits.test)
    has_names = task.definition.candidates == 1 and task.n_classes <= MOST_NAMED
    classes = task.answers if has_names else ()
    return TaskFacts(task.config.title, sizes, splits.n_classes, tuple(balance.tolist()), task.reading, classes)
