"""Joins finished stages with ground truth, which no student saw, into results."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from w2s_jax import config, metrics
from w2s_jax.config import Advised, Decomposed, Errors, Experiment, Recursive
from w2s_jax.data import formulas
from w2s_jax.evaluation import across, one_cell, oversight, summarise
from w2s_jax.evaluation.one_cell import Measured
from w2s_jax.evaluation.results import Results, TaskFacts
from w2s_jax.pipeline import experiment, materials
from w2s_jax.pipeline.experiment import CellStages, Stage
from w2s_jax.pipeline.store import PREDICTIONS, Finished, Store
from w2s_jax.runtime.errors import UserError
from w2s_jax.supervisors import advice, recursion
from w2s_jax.train.learner import Learner

Judges = Mapping[tuple[str, str, int], Stage]  # each (task, supervisor, seed)'s


def measure(plan: Experiment, store: Store, made: Mapping[str, Any]) -> Results | None:
    """The results of every cell whose stages are all done; None if there is none."""
    read = functools.cache(store.read)
    planned = list(experiment.cells(plan))
    cells = _done(planned, store, read)
    if not cells:
        return None
    summaries, comparisons = summarise.summarise(cells)
    return Results(
        name=plan.name,
        config=config.asdict(plan),
        made=made,
        tasks=tuple(_facts(task, plan.seeds[0]) for task in plan.tasks),
        metrics=metrics.facts(),
        cells=tuple(item.cell for item in cells),
        summaries=summaries,
        comparisons=comparisons,
        parameters=_sizes(plan),
        across=across.over_tasks(summaries),
    )


def finished(plan: Experiment, store: Store, wanted: Callable[[CellStages], bool]) -> list[Measured]:
    """The wanted cells whose stages are all done, measured, with the predictions behind them."""
    return _done(filter(wanted, experiment.cells(plan)), store, functools.cache(store.read))


def _done(cells: Iterable[CellStages], store: Store, read: Callable[[str], Finished]) -> list[Measured]:
    return [
        _cell(cell, {role: read(stage.folder) for role, stage in cell.stages.items()})
        for cell in cells
        if all(store.done(stage.folder) for stage in cell.stages.values())
    ]


def _sandwiches(
    plan: Experiment, measured: Sequence[Measured], judges: Judges, read: Callable[[str], Finished]
) -> Iterator[oversight.Sandwich]:
    """Every supervisor with an advisor, beside its judge alone, where the experiment holds both."""
    pairs = [
        (alone, assisted, maker)
        for assisted, supervisor in plan.supervisors.items()
        if (maker := config.advice(supervisor)) is not None
        for alone, other in plan.supervisors.items()
        if other == maker.judge
    ]
    for task, (unassisted, assisted, maker), student in itertools.product(plan.tasks, pairs, plan.students):
        same = [item for item in measured if (item.cell.task, item.cell.student) == (task.title, student)]
        alone, helped = (
            {item.cell.seed: item.predictions for item in same if item.cell.supervisor == name}
            for name in (unassisted, assisted)
        )
        asked = _zero_shot(plan, maker, student)
        model = {item.cell.seed: item.predictions.student for item in same if item.cell.method == asked}
        seeds = [seed for seed in plan.seeds if seed in alone and seed in helped and (asked is None or seed in model)]
        texts = [materials.splits(task, seed).test.texts for seed in seeds]
        argues = maker.protocol == "consultancy" and not maker.shuffled
        recursive = isinstance(plan.supervisors[assisted], Recursive)
        if seeds:
            yield oversight.sandwich(
                {"task": task.title, "unassisted": unassisted, "assisted": assisted, "student": student},
                seeds,
                [dataclasses.replace(alone[seed], student=helped[seed].supervisor) for seed in seeds],
                [model[seed] for seed in seeds] if asked else [],
                [np.array([advice.consulted(text) for text in each]) for each in texts] if argues else [],
                [_policy(judges[task.title, assisted, seed].members[0], read) for seed in seeds] if recursive else [],
            )


def _policy(stage: Stage, read: Callable[[str], Finished]) -> dict[str, float]:
    """What best-of-n under a reward model does on the test split."""
    test = materials.splits(stage.task, stage.seed).test
    assert isinstance(stage.maker, Recursive)
    assert test.labels is not None
    rated = read(stage.folder).predictions
    reward = recursion.rewards(stage.maker, experiment.candidates(stage.maker, [test]), rated)
    right = np.array([advice.speakers(stage.maker.advised.protocol, str(text)) for text in test.texts])
    right = right == test.labels[:, None]
    return oversight.policy(rated.for_split("test", test.ids), test.labels, reward, right)


def _zero_shot(plan: Experiment, maker: Advised, student: str) -> str | None:
    """The method that asks the advisor itself, where the experiment has one."""
    if plan.students[student].model != maker.advisor.model:
        return None
    asks = (name for name, how in plan.methods.items() if how.learn == "prompt" and not how.options.get("shots"))
    return next(asks, None)


def _predictions(measured: Sequence[Measured]) -> dict[tuple[str, str, str, str, int], metrics.Triple]:
    """On test, by (task, supervisor, student, method, seed)."""
    cells = [(item.cell, item.predictions) for item in measured]
    return {(c.task, c.supervisor, c.student, c.method, c.seed): found for c, found in cells}


def _audits(plan: Experiment, measured: Sequence[Measured]) -> Iterator[oversight.Audit]:
    """Every student of simulated errors, beside the student of the supervisor that they stand for."""
    found = _predictions(measured)
    pairs = [
        (overseer, name)
        for name, maker in plan.supervisors.items()
        if isinstance(maker, Errors)
        for overseer, other in plan.supervisors.items()
        if other == maker.like
    ]
    for task, (overseer, name), student, method in itertools.product(plan.tasks, pairs, plan.students, plan.methods):
        keys = [[(task.title, who, student, method, seed) for who in (overseer, name)] for seed in plan.seeds]
        both = [(honest, errors) for honest, errors in keys if honest in found and errors in found]
        if both:
            yield oversight.audit(
                {"task": task.title, "overseer": overseer, "errors": name, "student": student, "method": method},
                [honest[-1] for honest, _ in both],
                [found[honest] for honest, _ in both],
                [found[errors] for _, errors in both],
            )


def _decompositions(
    plan: Experiment, measured: Sequence[Measured], judges: Judges, read: Callable[[str], Finished]
) -> Iterator[oversight.Decomposition]:
    """Every student of labels of parts, beside the same judge's of whole rows where the experiment has them."""
    found = _predictions(measured)
    makers = {name: maker for name, maker in plan.supervisors.items() if isinstance(maker, Decomposed)}
    for task, name, student, method in itertools.product(plan.tasks, makers, plan.students, plan.methods):
        flat = next((other for other, each in plan.supervisors.items() if each == makers[name].judge), None)
        whose = [name] if flat is None else [name, flat]
        keys = {seed: [(task.title, who, student, method, seed) for who in whose] for seed in plan.seeds}
        seeds = [seed for seed, wanted in keys.items() if all(key in found for key in wanted)]
        trees, queries, parts = materials.trees(task), [], []
        for seed in seeds:
            (judge,) = judges[task.title, name, seed].members
            test = materials.splits(judge.task, seed).test
            assert test.labels is not None
            parts.append(metrics.accuracy(read(judge.folder).predictions.for_split("test", test.ids), test.labels))
            rows = materials.splits(task, seed).transfer.texts
            queries.append(float(np.mean([len(formulas.atoms(trees[text])) for text in rows])))
        if seeds:
            names = {"task": task.title, "decomposed": name, "flat": flat, "student": student, "method": method}
            cells = [found[keys[seed][0]] for seed in seeds]
            beside = [found[keys[seed][1]].supervisor for seed in seeds] if flat is not None else []
            yield oversight.decomposition(names, seeds, queries, parts, cells, beside)


def _cell(cell: CellStages, finished: Mapping[str, Finished]) -> Measured:
    student = cell.stages["student"]
    _check_teacher(cell, finished)
    splits = materials.splits(student.task, cell.seed)
    test, validation = splits.test, splits.validation
    assert test.labels is not None
    assert validation.labels is not None
    probs = {role: stage.predictions.for_split("test", test.ids) for role, stage in finished.items()}
    history = finished["student"].history
    return one_cell.measure(
        names={name: getattr(cell, name) for name in ("task", "supervisor", "student", "method", "seed")},
        stages={role: stage.folder for role, stage in cell.stages.items()},
        test=metrics.Triple(**probs, labels=test.labels, groups=np.array(test.groups)),
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
