"""Figures of one run: how well each model does, how it got there, and whether it knows."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

from w2s_jax.evaluation.results import Cell, Results, Summary
from w2s_jax.metrics import Interval
from w2s_jax.report import style, table
from w2s_jax.report.grid import MANY
from w2s_jax.report.style import INK, MUTED, Figure

LEAST_IN_BIN = 25  # whose accuracy then has a standard error of .1 at most
SUPERVISOR = {"color": MUTED, "marker": "s"}
CEILING = {"color": INK, "marker": "D"}
BEST = {"marker": "x", "ls": "", "ms": 5.5, "markeredgewidth": 1.0}
SELECTED = {"marker": "o", "ls": "", "ms": 6.5, "markerfacecolor": "none", "markeredgewidth": 0.8}


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


def _selected(found: Results) -> tuple[Results, str]:
    kept, note = selected(found.summaries)
    return dataclasses.replace(found, summaries=tuple(kept)), note


def accuracy(found: Results) -> Figure:
    """Test accuracy of supervisor, students and ceiling: means with 95% intervals, and every seed."""
    found, note = _selected(found)
    pairs = _pairs(found)
    most = max(len(list(_models(summaries, {}))) for summaries in pairs)
    image, axes = style.panels(len(pairs), height=0.75 + 0.3 * most)
    looks = style.method_looks(found.summaries)
    rows: list[tuple[Any, ...]] = []
    for axis, summaries in zip(axes, pairs, strict=True):
        names, pgrs = [], []
        for place, (name, role, summary, look) in enumerate(_models(summaries, looks)):
            mean, interval = summary.accuracy[role].value, getattr(summary.pgr["accuracy"], role)
            low, high = (interval.low, interval.high) if isinstance(interval, Interval) else (None, None)
            seeds = [(cell.seed, cell.scores[role].accuracy) for cell in _cells(found, summary)]
            if low is not None:
                axis.plot([low, high], [place, place], "-", color=look["color"], lw=1.2)
            axis.plot([value for _, value in seeds], [place] * len(seeds), "|", color=look["color"], ms=5, alpha=0.6)
            axis.plot(mean, place, **look, ls="", ms=5.5, markeredgecolor=style.PAPER, markeredgewidth=0.5)
            names.append(style.short(name))
            pgrs.append(table.pgr(summary.pgr["accuracy"]) if role == "student" else "")
            shown = (summary.task, summary.supervisor, summary.student, name, role)
            rows += [(*shown, seed, value, None, None) for seed, value in seeds]
            rows.append((*shown, "mean", mean, low, high))
        for role in ("supervisor", "ceiling"):
            axis.axvline(summaries[0].accuracy[role].value, color=MUTED, lw=0.6, ls=":", zorder=0)
        axis.set_yticks(range(len(names)), names)
        _write_beside(axis, ["PGR [95%]", *pgrs[1:]])
        axis.set_ylim(len(names) - 0.4, -0.7)
        axis.set_xlabel("test accuracy")
        axis.set_title(style.pair_title(summaries[0]))
    columns = ("task", "supervisor", "student", "model", "role", "seed", "accuracy", "low", "high")
    caption = (
        "Test accuracy. Points are means over seeds, lines their 95% intervals over seeds and examples, ticks single "
        "seeds. Dotted lines go through supervisor and ceiling." + note
    )
    return Figure("accuracy", caption, _accuracy_alt(pairs), columns, rows, image)


def curves(found: Results) -> Figure | None:
    """Students on validation during training; None where none was evaluated more than once.

    One point has no course, and where it ends long before the others, would leave them a corner of their panel.
    """
    once = dict.fromkeys(summary.method for summary in found.summaries if len(summary.curve) < 2)
    found = dataclasses.replace(found, summaries=tuple(s for s in found.summaries if len(s.curve) > 1))
    if not found.summaries:
        return None
    found, note = _selected(found)
    note += f" Left out are students that were evaluated once: {'; '.join(once)}." if once else ""
    pairs = _pairs(found)
    image, axes = style.panels(len(pairs))
    looks = style.method_looks(found.summaries)
    rows: list[tuple[Any, ...]] = []
    for axis, summaries in zip(axes, pairs, strict=True):
        for summary in summaries:
            colour = looks[summary.method]["color"]
            for name, line in (("truth_accuracy", "-"), ("weak_accuracy", "--")):
                for cell in _cells(found, summary):
                    points = [(point.step, getattr(point, name)) for point in cell.curve]
                    axis.plot(*zip(*points, strict=True), ls=line, color=colour, lw=0.5, alpha=0.35)
                    rows += [_curve_row(summary, name, cell.seed, *p, p[0] == cell.selected_step) for p in points]
                    if name == "truth_accuracy":
                        for step, mark in ((cell.selected_step, SELECTED), (cell.best_truth_step, BEST)):
                            axis.plot(step, dict(points)[step], color=colour, **mark)
                means = [(point.step, getattr(point, name)) for point in summary.curve]
                axis.plot(*zip(*means, strict=True), line, **looks[summary.method])
                rows += [_curve_row(summary, name, "mean", *point, None) for point in means]
        axis.set_xlabel("training step")
        axis.set_ylabel("validation accuracy")
        axis.set_title(style.pair_title(summaries[0]))
    handles = [style.key(style.short(method, 30), **look) for method, look in looks.items()]
    handles += [style.key("ground truth", color=INK), style.key("weak labels", color=INK, ls="--")]
    handles += [style.key("kept", color=INK, **SELECTED), style.key("best by truth (cheating)", color=INK, **BEST)]
    style.legend(image, handles)
    caption = (
        "Validation accuracy of the students during training, against ground truth (solid) and against their weak "
        "labels (dashed). Thick lines are means over seeds, thin ones single seeds, which end at the last step; rings "
        "are the steps whose parameters were kept, which no ground truth chose, crosses those that ground truth would "
        f"have chosen, which is cheating.{note}"
    )
    columns = ("task", "supervisor", "student", "method", "against", "seed", "step", "accuracy", "selected")
    return Figure("curves", caption, _curves_alt(pairs), columns, rows, image)


def reliability(found: Results) -> Figure:
    """Accuracy against confidence on the test split, all seeds together."""
    found, note = _selected(found)
    pairs = _pairs(found)
    image, axes = style.panels(len(pairs), height=2.6)
    looks = style.method_looks(found.summaries)
    rows: list[tuple[Any, ...]] = []
    for axis, summaries in zip(axes, pairs, strict=True):
        lowest = 1.0
        for name, role, summary, look in _models(summaries, looks):
            bins = summary.reliability[role]
            filled = [
                (count, confidence, right)
                for count, confidence, right in zip(bins.counts, bins.confidence, bins.accuracy, strict=True)
                if count >= LEAST_IN_BIN
            ]
            if filled:
                _, confidence, right = zip(*filled, strict=True)
                axis.plot(confidence, right, **look)
                lowest = min(lowest, *confidence, *right)
            rows += [(summary.task, summary.supervisor, summary.student, name, role, *point) for point in filled]
        axis.plot([lowest, 1], [lowest, 1], color=MUTED, lw=0.9, ls=":", zorder=0)
        axis.set_xlabel("confidence (largest probability)")
        axis.set_ylabel("test accuracy")
        axis.set_title(style.pair_title(summaries[0]))
    handles = [style.key("supervisor", **SUPERVISOR)]
    handles += [style.key(style.short(method, 30), **look) for method, look in looks.items()]
    handles += [style.key("ceiling", **CEILING), style.key("calibrated", color=MUTED, lw=0.9, ls=":")]
    style.legend(image, handles)
    caption = (
        "Accuracy against confidence on the test split, all seeds together, in ten bins, "
        f"of those with {LEAST_IN_BIN} examples or more. Below the dotted line a model is surer than it is right.{note}"
    )
    columns = ("task", "supervisor", "student", "model", "role", "examples", "confidence", "accuracy")
    return Figure("reliability", caption, _reliability_alt(pairs), columns, rows, image)


def _pairs(found: Results) -> list[list[Summary]]:
    """The methods' summaries, for each task and pair of models."""
    grouped = groupby(found.summaries, lambda summary: (summary.task, summary.supervisor, summary.student))
    return [list(summaries) for _, summaries in grouped]


def _models(summaries: list[Summary], looks: dict[str, dict[str, Any]]) -> Iterator[tuple[str, str, Summary, Any]]:
    """Name, role, summary and look of the supervisor, each method's student, and the ceiling."""
    yield "supervisor", "supervisor", summaries[0], SUPERVISOR
    for summary in summaries:
        yield summary.method, "student", summary, looks.get(summary.method)
    yield "ceiling", "ceiling", summaries[0], CEILING


def _cells(found: Results, summary: Summary) -> list[Cell]:
    key = (summary.task, summary.supervisor, summary.student, summary.method)
    return [cell for cell in found.cells if (cell.task, cell.supervisor, cell.student, cell.method) == key]


def _write_beside(axis: Any, texts: list[str]) -> None:
    """One text for each row, to the right of the panel."""
    right = axis.secondary_yaxis("right")
    right.set_yticks(range(len(texts)), texts, fontsize=6.5)
    right.tick_params(length=0)
    right.spines["right"].set_visible(False)


def _curve_row(
    summary: Summary, name: str, seed: int | str, step: int, value: float, selected: bool | None
) -> tuple[Any, ...]:
    against = "ground truth" if name == "truth_accuracy" else "weak labels"
    return (summary.task, summary.supervisor, summary.student, summary.method, against, seed, step, value, selected)


def _accuracy_alt(pairs: list[list[Summary]]) -> str:
    return " ".join(_in_words("Test accuracy", summaries, lambda s, r: s.accuracy[r].value) for summaries in pairs)


def _reliability_alt(pairs: list[list[Summary]]) -> str:
    return " ".join(
        _in_words("Expected calibration error", summaries, lambda s, r: s.calibration_error[r].value)
        for summaries in pairs
    )


def _curves_alt(pairs: list[list[Summary]]) -> str:
    lines = [
        f"On {s.task}, the {s.method} student of {s.supervisor} goes from {s.curve[0].truth_accuracy:.3f} to "
        f"{s.curve[-1].truth_accuracy:.3f} against ground truth."
        for summaries in pairs
        for s in summaries
        if s.curve
    ]
    return " ".join(lines)


def _in_words(what: str, summaries: list[Summary], value: Callable[[Summary, str], float]) -> str:
    first = summaries[0]
    numbers = [f"{name} {value(summary, role):.3f}" for name, role, summary, _ in _models(summaries, {})]
    return f"{what} on {first.task}, {first.supervisor} to {first.student}: {', '.join(numbers)}."
