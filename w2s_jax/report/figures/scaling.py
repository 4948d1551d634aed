"""Accuracy and PGR against the student's size, for each supervisor and method."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

from w2s_jax.evaluation.results import Across, Results, Summary
from w2s_jax.metrics import PGR
from w2s_jax.report.figures import against_size, selection, style
from w2s_jax.report.figures.against_size import Line
from w2s_jax.report.figures.base import FIGURES, AcrossFigure, Figure
from w2s_jax.report.figures.pgr import COLUMNS as PGR_COLUMNS
from w2s_jax.report.figures.pgr import pgr_row
from w2s_jax.report.figures.style import MUTED


def scaling(runs: Sequence[Results]) -> Figure | None:
    """Accuracy against the student's size, for each supervisor and method; None where no supervisor has several."""
    entries = [
        style.key("supervisor alone", color=MUTED, lw=0.9, ls=":"),
        style.key("ceiling", **style.CEILING),
    ]
    caption = "Test accuracy of students of different size. Vertical lines are 95% intervals over seeds and examples."
    return against_size.draw(
        runs, "test accuracy", caption, _draw_accuracy, entries, *against_size.grown(selection.all_summaries(runs), [])
    )


def pgr_scaling(runs: Sequence[Results]) -> Figure | None:
    """PGR against the student's size, for each supervisor and method; None where no supervisor has several."""
    medians = _medians(runs)
    caption = (
        "PGR of accuracy against student size, with 95% intervals, which may run off the edge; where it is undefined "
        "there is no mark."
    )
    first = "The first panels are each run's median" if len(runs) > 1 else "The first panel is the median"
    caption += f" {first} over the tasks where it is defined." if medians else ""
    shown, note = against_size.grown(selection.all_summaries(runs), medians)
    view = selection.pgr_view(shown)
    draw = functools.partial(_draw_pgr, view=view)
    figure = against_size.draw(runs, "PGR", caption, draw, [], shown, note, view)
    if figure is None:
        return None
    defined = {summary.task for summary in shown if summary.pgr["accuracy"].value is not None}
    for axis, task in zip(figure.image.axes, dict.fromkeys(summary.task for summary in shown), strict=False):
        if task not in defined:
            axis.text(0.5, 0.5, "undefined", transform=axis.transAxes, ha="center", va="center")
    columns = (*PGR_COLUMNS, "student_parameters")
    rows = [(*pgr_row(summary), selection.parameters_of(runs).get(summary.student)) for summary in shown]
    return dataclasses.replace(figure, columns=columns, rows=rows)


def _medians(runs: Sequence[Results]) -> list[Summary]:
    """What stands for the tasks of each run together: summaries with the median PGR over them."""
    return [summary for run in runs for summary in _medians_of(run, f"{run.name}: " if len(runs) > 1 else "")]


def _medians_of(run: Results, of_run: str) -> list[Summary]:
    task, any_task = f"{of_run}median over {len(run.tasks)} tasks", {}
    for summary in run.summaries:
        any_task[summary.supervisor, summary.student, summary.method] = summary
    found = [(any_task.get((each.supervisor, each.student, each.method)), each) for each in run.across]
    return [dataclasses.replace(s, task=task, pgr={"accuracy": _as_pgr(each)}) for s, each in found if s is not None]


def _as_pgr(across: Across) -> PGR:
    """The median; where it has no interval, one without length."""
    if across.low is None or across.high is None:
        return PGR(across.median_pgr, across.median_pgr, across.median_pgr, None if across.tasks else "on every task")
    return PGR(across.median_pgr, across.low, across.high, None)


def _draw_accuracy(axis: Any, line: Line) -> None:
    axis.plot(line.places, [s.scores["accuracy"]["ceiling"].value for s in line.summaries], **style.CEILING)
    axis.axhline(line.summaries[0].scores["accuracy"]["supervisor"].value, color=line.guide, lw=0.9, ls=":", zorder=0)
    axis.plot(line.aside, [s.scores["accuracy"]["student"].value for s in line.summaries], **line.look)
    for place, interval in zip(line.aside, (s.pgr["accuracy"].student for s in line.summaries), strict=True):
        if interval:
            axis.plot([place, place], [interval.low, interval.high], "-", color=line.look["color"], lw=0.6, alpha=0.6)


def _draw_pgr(axis: Any, line: Line, view: tuple[float, float]) -> None:
    axis.axhline(0, color=MUTED, lw=0.6, zorder=0)
    axis.axhline(1, color=MUTED, lw=0.6, ls=":", zorder=0)
    defined = [(place, s.pgr["accuracy"]) for place, s in zip(line.aside, line.summaries, strict=True)]
    marks = [(place, pgr.value) for place, pgr in defined if pgr.value is not None]
    if marks:
        axis.plot(*zip(*marks, strict=True), **line.look)
    for place, pgr in defined:
        if pgr.value is not None:
            ends = [view[0] if pgr.low is None else pgr.low, view[1] if pgr.high is None else pgr.high]
            axis.plot([place, place], ends, "-", color=line.look["color"], lw=0.6, alpha=0.6)


FIGURES.register(AcrossFigure("scaling", scaling))
FIGURES.register(AcrossFigure("pgr_scaling", pgr_scaling))
