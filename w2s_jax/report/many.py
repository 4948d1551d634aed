"""Figures over many tasks, supervisors and students: what is recovered, and how it grows with the student."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

from w2s_jax.metrics import PGR
from w2s_jax.report import style, table
from w2s_jax.report.grid import MANY
from w2s_jax.report.style import INK, MUTED, Figure
from w2s_jax.results import Across, Results, Summary

IDENTITY = ("task", "supervisor", "student", "method")
SIZE_COLUMNS = (
    *(*IDENTITY, "student_parameters", "supervisor_accuracy", "student_accuracy", "ceiling_accuracy"),
    *("student_low", "student_high", "agree_where_right", "agree_where_wrong"),
)
PGR_COLUMNS = (*IDENTITY, "pgr", "low", "high", "undefined_because")
AGREEMENT = "How often students predict what their supervisor does, where it is right and where it is wrong."
CEILING: Any = {"color": INK, "marker": "D"}
PGR_VIEW = (-1.0, 2.0)  # an interval that ends beyond it, and beyond every estimate, runs off the edge


def recovered(runs: Sequence[Results]) -> Figure | None:
    """PGR with its interval for each task and pair of models; None for a single one."""
    summaries = _summaries(runs)
    if len(_pairs(summaries)) < 2 or len(summaries) > MANY:
        return None
    image, axis, looks, places = _row_for_each_pair(summaries)
    view = pgr_view(summaries)
    for summary, place in zip(summaries, places, strict=True):
        pgr, look = summary.pgr["accuracy"], looks[summary.method]
        if pgr.value is None:
            axis.text(0.03, place, "undefined", color=look["color"], va="center", fontsize=6.5)
        else:
            low, high = view[0] if pgr.low is None else pgr.low, view[1] if pgr.high is None else pgr.high
            axis.plot([max(low, view[0]), min(high, view[1])], [place, place], "-", color=look["color"])
            axis.plot(pgr.value, place, ls="", **look)
    axis.set_xlim(view)
    axis.axvline(0, color=MUTED, lw=0.6, zorder=0)
    axis.axvline(1, color=MUTED, lw=0.6, ls=":", zorder=0)
    axis.set_xlabel("PGR of accuracy (0: supervisor, 1: ceiling)")
    style.legend(image, [style.key(style.short(method), **look) for method, look in looks.items()])
    parts = (f"{s.task}, {s.supervisor} to {s.student}, {s.method}: {table.pgr(s.pgr['accuracy'])}" for s in summaries)
    caption = "Performance gap recovered, with 95% intervals: 0 is the supervisor, 1 the ceiling."
    return Figure("pgr", caption, f"{'; '.join(parts)}.", PGR_COLUMNS, [_pgr_row(s) for s in summaries], image)


def scaling(runs: Sequence[Results]) -> Figure | None:
    """Accuracy against the student's size, for each supervisor and method; None where no supervisor has several."""
    entries = [
        style.key("supervisor alone", color=MUTED, lw=0.9, ls=":"),
        style.key("ceiling", **CEILING),
    ]
    caption = "Test accuracy of students of different size. Vertical lines are 95% intervals over seeds and examples."
    return _against_size(runs, "scaling", "test accuracy", caption, _draw_accuracy, entries)


def pgr_scaling(runs: Sequence[Results]) -> Figure | None:
    """PGR against the student's size, for each supervisor and method; None where no supervisor has several."""
    medians = _medians(runs)
    caption = (
        "PGR of accuracy against student size, with 95% intervals, which may run off the edge; where it is undefined "
        "there is no mark."
    )
    caption += " The first panel is the median over the tasks where it is defined." if medians else ""
    view = pgr_view(_with_several_students(_summaries(runs)))
    draw = functools.partial(_draw_pgr, view=view)
    figure = _against_size(runs, "pgr_scaling", "PGR", caption, draw, [], view, medians)
    if figure is None:
        return None
    shown = [*medians, *_with_several_students(_summaries(runs))]
    defined = {summary.task for summary in shown if summary.pgr["accuracy"].value is not None}
    for axis, task in zip(figure.image.axes, dict.fromkeys(summary.task for summary in shown), strict=False):
        if task not in defined:
            axis.text(0.5, 0.5, "undefined", transform=axis.transAxes, ha="center", va="center")
    columns = (*PGR_COLUMNS, "student_parameters")
    rows = [(*_pgr_row(summary), _parameters(runs).get(summary.student)) for summary in shown]
    return dataclasses.replace(figure, columns=columns, rows=rows)


def _medians(runs: Sequence[Results]) -> list[Summary]:
    """What stands for the tasks of a run together: summaries with the median PGR over them."""
    if len(runs) > 1:
        return []
    (run,) = runs
    task, any_task = f"median over {len(run.tasks)} tasks", {}
    for summary in run.summaries:
        any_task[summary.supervisor, summary.student, summary.method] = summary
    found = [(any_task.get((each.supervisor, each.student, each.method)), each) for each in run.across]
    return _with_several_students(
        [dataclasses.replace(s, task=task, pgr={"accuracy": _as_pgr(each)}) for s, each in found if s is not None]
    )


def _as_pgr(across: Across) -> PGR:
    """The median; where it has no interval, one without length."""
    if across.low is None or across.high is None:
        return PGR(across.median_pgr, across.median_pgr, across.median_pgr, None if across.tasks else "on every task")
    return PGR(across.median_pgr, across.low, across.high, None)


def agreement(runs: Sequence[Results]) -> Figure | None:
    """How far students follow their supervisor where it is right and where it is wrong; None for a single pair.

    Against the students' size where a supervisor has several, else for each task and pair of models.
    """
    entries = [style.key("where it is right", color=MUTED), style.key("where it is wrong", color=MUTED, ls="--")]
    return _against_size(
        runs, "agreement", "agreement with supervisor", AGREEMENT, _draw_agreement, entries
    ) or _agreement_of_pairs(runs)


def _agreement_of_pairs(runs: Sequence[Results]) -> Figure | None:
    summaries = _summaries(runs)
    if len(_pairs(summaries)) < 2 or len(summaries) > MANY:
        return None
    image, axis, looks, places = _row_for_each_pair(summaries)
    for summary, place in zip(summaries, places, strict=True):
        look, found = looks[summary.method], summary.agreement
        ends = [share for share in (found.where_right, found.where_wrong) if share is not None]
        axis.plot(ends, [place] * len(ends), "-", color=look["color"], lw=0.6, alpha=0.6)
        for share, fill in ((found.where_right, look["color"]), (found.where_wrong, style.PAPER)):
            if share is not None:
                axis.plot(share, place, ls="", **look, markerfacecolor=fill)
    axis.set_xlabel("agreement with supervisor")
    dot = {"color": MUTED, "marker": "o", "ls": ""}
    handles = [style.key(style.short(method), **look, ls="") for method, look in looks.items()]
    handles += [
        style.key("where it is right", **dot),
        style.key("where it is wrong", **dot, markerfacecolor=style.PAPER),
    ]
    style.legend(image, handles)
    parts = (
        f"{s.task}, {s.supervisor} to {s.student}, {s.method}: {table.share(s.agreement.where_right)} where right, "
        f"{table.share(s.agreement.where_wrong)} where wrong"
        for s in summaries
    )
    rows = [_size_row(summary, runs) for summary in summaries]
    return Figure("agreement", AGREEMENT, f"{'; '.join(parts)}.", SIZE_COLUMNS, rows, image)


def _row_for_each_pair(summaries: Sequence[Summary]) -> tuple[Any, Any, dict[str, dict[str, Any]], list[float]]:
    """Image, axis, the methods' looks, and each summary's place: in its task and pair's row, by its method."""
    pairs, looks = _pairs(summaries), style.method_looks(summaries)
    methods = list(looks)
    image, (axis,) = style.panels(1, height=0.9 + len(pairs) * (0.2 + 0.13 * len(looks)), width=style.PANEL[0] * 1.5)
    names = [f"{style.short(task)}\n{style.short(weak)} → {style.short(strong)}" for task, weak, strong in pairs]
    axis.set_yticks(range(len(pairs)), names)
    axis.set_ylim(len(pairs) - 0.5, -0.5)
    places = [
        pairs.index((s.task, s.supervisor, s.student)) + 0.7 * ((methods.index(s.method) + 0.5) / len(methods) - 0.5)
        for s in summaries
    ]
    return image, axis, looks, places


def _against_size(
    runs: Sequence[Results],
    name: str,
    label: str,
    caption: str,
    draw: Callable[..., None],
    entries: Sequence[Any],
    view: tuple[float, float] | None = None,
    before: Sequence[Summary] = (),
) -> Figure | None:
    """A panel for each task; `draw` gets its axis, summaries, their students' places, the same a little aside, a look.

    Args:
      view: what of the vertical axis is seen; None is all.
      before: of panels that come first.
    """
    summaries = [*before, *_with_several_students(_summaries(runs))]
    if not summaries:
        return None
    places, set_axis, apart = _student_axis(runs, summaries)
    methods = style.method_looks(summaries)
    supervisors = list(dict.fromkeys(summary.supervisor for summary in summaries))
    colours = {name: style.COLOURS[i % len(style.COLOURS)] for i, name in enumerate(supervisors)}
    tasks = list(dict.fromkeys(summary.task for summary in summaries))
    image, axes = style.panels(len(tasks))
    lines = list(itertools.product(supervisors, methods))
    for axis, task in zip(axes, tasks, strict=True):
        here = sorted((s for s in summaries if s.task == task), key=lambda s: places[s.student])
        for number, (supervisor, method) in enumerate(lines):
            line = [s for s in here if (s.supervisor, s.method) == (supervisor, method)]
            look = {"color": colours[supervisor], "marker": methods[method]["marker"]}
            aside = number - (len(lines) - 1) / 2  # so that intervals do not cover each other
            at = [places[s.student] for s in line]
            draw(axis, line, at, [apart(place, aside) for place in at], look)
        axis.set_title(style.short(task, 36))
        axis.set_ylabel(label)
        set_axis(axis)
        if view is not None:
            axis.set_ylim(view)
    handles = [style.key(f"supervisor {style.short(name)}", color=colour) for name, colour in colours.items()]
    handles += [
        style.key(style.short(method), color=MUTED, marker=look["marker"], ls="") for method, look in methods.items()
    ]
    style.legend(image, [*handles, *entries])
    alt = f"{label.capitalize()} against student size on {', '.join(tasks)}, supervised by {', '.join(supervisors)}."
    return Figure(name, caption, alt, SIZE_COLUMNS, [_size_row(summary, runs) for summary in summaries], image)


def _draw_accuracy(
    axis: Any, line: Sequence[Summary], places: Sequence[float], aside: Sequence[float], look: dict[str, Any]
) -> None:
    if line:
        axis.plot(places, [s.accuracy["ceiling"].value for s in line], **CEILING)
        axis.axhline(line[0].accuracy["supervisor"].value, color=look["color"], lw=0.9, ls=":", zorder=0)
        axis.plot(aside, [s.accuracy["student"].value for s in line], **look)
        for place, interval in zip(aside, (s.pgr["accuracy"].student for s in line), strict=True):
            if interval:
                axis.plot([place, place], [interval.low, interval.high], "-", color=look["color"], lw=0.6, alpha=0.6)


def _draw_pgr(
    axis: Any,
    line: Sequence[Summary],
    _: Sequence[float],
    aside: Sequence[float],
    look: dict[str, Any],
    view: tuple[float, float],
) -> None:
    axis.axhline(0, color=MUTED, lw=0.6, zorder=0)
    axis.axhline(1, color=MUTED, lw=0.6, ls=":", zorder=0)
    defined = [(place, s.pgr["accuracy"]) for place, s in zip(aside, line, strict=True)]
    marks = [(place, pgr.value) for place, pgr in defined if pgr.value is not None]
    if marks:
        axis.plot(*zip(*marks, strict=True), **look)
    for place, pgr in defined:
        if pgr.value is not None:
            ends = [view[0] if pgr.low is None else pgr.low, view[1] if pgr.high is None else pgr.high]
            axis.plot([place, place], ends, "-", color=look["color"], lw=0.6, alpha=0.6)


def _draw_agreement(
    axis: Any, line: Sequence[Summary], _: Sequence[float], aside: Sequence[float], look: dict[str, Any]
) -> None:
    for part, drawn in (("where_right", {}), ("where_wrong", {"ls": "--", "markerfacecolor": style.PAPER})):
        shares = [float("nan") if (share := getattr(s.agreement, part)) is None else share for s in line]
        axis.plot(aside, shares, **look, **drawn)


def _student_axis(
    runs: Sequence[Results], summaries: Sequence[Summary]
) -> tuple[dict[str, float], Callable[[Any], None], Callable[[float, float], float]]:
    """Where each student stands, how its axis looks, and a place some lines' widths aside of another.

    By its parameters where all are known, else in the order given.
    """
    students = list(dict.fromkeys(summary.student for summary in summaries))
    parameters = _parameters(runs)
    if not all(name in parameters for name in students):
        places = {name: float(place) for place, name in enumerate(students)}
        return places, functools.partial(_name_axis, students), lambda place, aside: place + 0.02 * aside
    sizes = {name: float(parameters[name]) for name in students}
    ratio = max(sizes.values()) / min(sizes.values())
    axis = functools.partial(_parameter_axis, list(sizes.values()))
    return sizes, axis, lambda place, aside: place * ratio ** (0.01 * aside)


def _name_axis(names: Sequence[str], axis: Any) -> None:
    axis.set_xticks(range(len(names)), [style.short(name, 14) for name in names])
    axis.set_xlim(-0.3, len(names) - 0.7)
    axis.set_xlabel("student")


def _parameter_axis(sizes: Sequence[float], axis: Any) -> None:
    """Ticks at the sizes themselves; a label that would touch the one before goes a line down."""
    axis.set_xscale("log")
    axis.minorticks_off()
    ticks, labels, least = sorted(set(sizes)), [], 0.0
    ratio = ticks[-1] / ticks[0]
    for size in ticks:
        labels.append(_count(size) if size >= least else f"\n{_count(size)}")
        least = size * ratio**0.15 if size >= least else 0.0
    axis.set_xticks(ticks, labels)
    axis.set_xlim(ticks[0] / ratio**0.07, ticks[-1] * ratio**0.07)
    axis.set_xlabel("student parameters")


def _count(value: float) -> str:
    """`135M`, `1.4B`."""
    return f"{value / 1e9:.3g}B" if value >= 1e9 else f"{value / 1e6:.3g}M"


def pgr_view(summaries: Sequence[Summary]) -> tuple[float, float]:
    """Every estimate, 0 and 1, and intervals as far as `PGR_VIEW`."""
    found = [s.pgr["accuracy"] for s in summaries]
    values = [0.0, 1.0, *(pgr.value for pgr in found if pgr.value is not None)]
    lows = [max(pgr.low, PGR_VIEW[0]) for pgr in found if pgr.low is not None]
    highs = [min(pgr.high, PGR_VIEW[1]) for pgr in found if pgr.high is not None]
    return min(values + lows) - 0.05, max(values + highs) + 0.05


def _summaries(runs: Sequence[Results]) -> list[Summary]:
    """Of all runs; where two have the same cell, tasks are named with their run."""
    keys = [(s.task, s.supervisor, s.student, s.method) for run in runs for s in run.summaries]
    if len(set(keys)) == len(keys):
        return [summary for run in runs for summary in run.summaries]
    return [dataclasses.replace(s, task=f"{run.name}: {s.task}") for run in runs for s in run.summaries]


def _pairs(summaries: Sequence[Summary]) -> list[tuple[str, str, str]]:
    """Tasks and pairs of models, in order."""
    return list(dict.fromkeys((s.task, s.supervisor, s.student) for s in summaries))


def _with_several_students(summaries: Sequence[Summary]) -> list[Summary]:
    students: dict[tuple[str, str], set[str]] = {}
    for summary in summaries:
        students.setdefault((summary.task, summary.supervisor), set()).add(summary.student)
    return [summary for summary in summaries if len(students[summary.task, summary.supervisor]) > 1]


def _parameters(runs: Sequence[Results]) -> dict[str, int]:
    return {name: count for run in runs for name, count in run.parameters.items()}


def _pgr_row(summary: Summary) -> tuple[Any, ...]:
    pgr = summary.pgr["accuracy"]
    identity = (summary.task, summary.supervisor, summary.student, summary.method)
    return (*identity, pgr.value, pgr.low, pgr.high, pgr.reason)


def _size_row(summary: Summary, runs: Sequence[Results]) -> tuple[Any, ...]:
    identity = (summary.task, summary.supervisor, summary.student, summary.method)
    scores = (summary.accuracy[role].value for role in ("supervisor", "student", "ceiling"))
    interval = summary.pgr["accuracy"].student
    ends = (None, None) if interval is None else (interval.low, interval.high)
    agreement = (summary.agreement.where_right, summary.agreement.where_wrong)
    return (*identity, _parameters(runs).get(summary.student), *scores, *ends, *agreement)
