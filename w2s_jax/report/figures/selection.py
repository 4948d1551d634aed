"""Which summaries a figure shows, how they are grouped, and what it says of those that it leaves out."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

from w2s_jax.evaluation.results import Cell, Results, Summary
from w2s_jax.report.figures import style

MANY = 24  # summaries, above which a row for each cannot be read
PGR_VIEW = (-1.0, 2.0)  # an interval that ends beyond it, and beyond every estimate, runs off the edge


def many(runs: Sequence[Results]) -> bool:
    """Whether the runs have more summaries than can have a row each."""
    return sum(len(run.summaries) for run in runs) > MANY


def selected(summaries: Sequence[Summary]) -> tuple[list[Summary], str]:
    """What a figure has room for, and a sentence that says so.

    Of many, each task's widest pair, the first supervisor with the last student, and as many methods as colours.
    """
    if len(summaries) <= MANY:
        return list(summaries), ""
    widest: dict[str, tuple[str, str]] = {}
    for summary in summaries:
        first = widest.setdefault(summary.task, (summary.supervisor, summary.student))[0]
        if summary.supervisor == first:
            widest[summary.task] = (first, summary.student)
    methods = list(dict.fromkeys(summary.method for summary in summaries))
    drawn = methods[: len(style.COLOURS)]
    kept = [
        summary
        for summary in summaries
        if widest[summary.task] == (summary.supervisor, summary.student) and summary.method in drawn
    ]
    of_methods = "every method" if drawn == methods else f"the first {len(drawn)} of {len(methods)} methods"
    note = (
        f" Of {len(summaries)} (task, pair, method) these are, for each task, the first supervisor with the last "
        f"student and {of_methods}; results.json holds all."
    )
    return kept, note


def selected_of(found: Results) -> tuple[Results, str]:
    """A run with the summaries that `selected` picks, and its note."""
    kept, note = selected(found.summaries)
    return dataclasses.replace(found, summaries=tuple(kept)), note


def all_summaries(runs: Sequence[Results]) -> list[Summary]:
    """Of all runs; where two have the same cell, tasks are named with their run."""
    if not clash(runs):
        return [summary for run in runs for summary in run.summaries]
    return [dataclasses.replace(s, task=f"{run.name}: {s.task}") for run in runs for s in run.summaries]


def clash(runs: Sequence[Results]) -> bool:
    """Whether two runs have a cell in common, so that each must be named with its run."""
    keys = [(s.task, s.supervisor, s.student, s.method) for run in runs for s in run.summaries]
    return len(set(keys)) < len(keys)


def pairs_of(summaries: Sequence[Summary]) -> list[tuple[str, str, str]]:
    """Tasks and pairs of models, in order."""
    return list(dict.fromkeys((s.task, s.supervisor, s.student) for s in summaries))


def by_pair(found: Results) -> list[list[Summary]]:
    """The methods' summaries, for each task and pair of models."""
    grouped = groupby(found.summaries, lambda summary: (summary.task, summary.supervisor, summary.student))
    return [list(summaries) for _, summaries in grouped]


def models_of(summaries: list[Summary], looks: dict[str, dict[str, Any]]) -> Iterator[tuple[str, str, Summary, Any]]:
    """Name, role, summary and look of the supervisor, each method's student, and the ceiling."""
    yield "supervisor", "supervisor", summaries[0], style.SUPERVISOR
    for summary in summaries:
        yield summary.method, "student", summary, looks.get(summary.method)
    yield "ceiling", "ceiling", summaries[0], style.CEILING


def cells_of(found: Results, summary: Summary) -> list[Cell]:
    """A summary's cells, one for each seed."""
    key = (summary.task, summary.supervisor, summary.student, summary.method)
    return [cell for cell in found.cells if (cell.task, cell.supervisor, cell.student, cell.method) == key]


def pgr_view(summaries: Sequence[Summary]) -> tuple[float, float]:
    """Every estimate, 0 and 1, and intervals as far as `PGR_VIEW`."""
    found = [s.pgr["accuracy"] for s in summaries]
    values = [0.0, 1.0, *(pgr.value for pgr in found if pgr.value is not None)]
    lows = [max(pgr.low, PGR_VIEW[0]) for pgr in found if pgr.low is not None]
    highs = [min(pgr.high, PGR_VIEW[1]) for pgr in found if pgr.high is not None]
    return min(values + lows) - 0.05, max(values + highs) + 0.05


def parameters_of(runs: Sequence[Results]) -> dict[str, int]:
    """How many a model has, by its name, over all runs."""
    return {name: count for run in runs for name, count in run.parameters.items()}


def in_words(what: str, summaries: list[Summary], value: Callable[[Summary, str], float]) -> str:
    """A number of every model of a pair, as a sentence."""
    first = summaries[0]
    numbers = [f"{name} {value(summary, role):.3f}" for name, role, summary, _ in models_of(summaries, {})]
    return f"{what} on {first.task}, {first.supervisor} to {first.student}: {', '.join(numbers)}."
