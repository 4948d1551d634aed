"""Figures over many tasks, supervisors and students: what is recovered, and how it grows with the student."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from w2s_jax.evaluation.results import Across, Results, Summary
from w2s_jax.metrics import PGR
from w2s_jax.report import single, style, table
from w2s_jax.report.grid import clash
from w2s_jax.report.style import INK, MUTED, Figure

IDENTITY = ("task", "supervisor", "student", "method")
SIZE_COLUMNS = (
    *(*IDENTITY, "student_parameters", "supervisor_accuracy", "student_accuracy", "ceiling_accuracy"),
    *("student_low", "student_high", "agree_where_right", "agree_where_wrong"),
)
PGR_COLUMNS = (*IDENTITY, "pgr", "low", "high", "undefined_because")
AGREEMENT = "How often students predict what their supervisor does, where it is right and where it is wrong."
CEILING: Any = {"color": INK, "marker": "D"}
LINES = 12  # of supervisors and methods, that a panel has room for
ASIDE = 0.03  # of the students' axis, by which a line is moved at most
PGR_VIEW = (-1.0, 2.0)  # an interval that ends beyond it, and beyond every estimate, runs off the edge


def recovered(runs: Sequence[Results]) -> Figure | None:
    """PGR with its interval for each task and pair of models; None for a single one.

    Of many, those that `single.selected` picks, folded: the heat map has all of them, but no intervals.
    """
    summaries, note = single.selected(_summaries(runs))
    if len(_pairs(summaries)) < 2:
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
    axis.locator_params(axis="x", nbins=6)
    style.legend(image, [style.key(style.short(method, 30), **look) for method, look in looks.items()])
    parts = (f"{s.task}, {s.supervisor} to {s.student}, {s.method}: {table.pgr(s.pgr['accuracy'])}" for s in summaries)
    name, folded = ("pgr_intervals", "PGR with its interval on each task") if note else ("pgr", "")
    caption = f"Performance gap recovered, with 95% intervals: 0 is the supervisor, 1 the ceiling.{note}"
    rows = [_pgr_row(summary) for summary in summaries]
    return Figure(name, caption, f"{'; '.join(parts)}.", PGR_COLUMNS, rows, image, folded)


def scaling(runs: Sequence[Results]) -> Figure | None:
    """Accuracy against the student's size, for each supervisor and method; None where no supervisor has several."""
    entries = [
        style.key("supervisor alone", color=MUTED, lw=0.9, ls=":"),
        style.key("ceiling", **CEILING),
    ]
    caption = "Test accuracy of students of different size. Vertical lines are 95% intervals over seeds and examples."
    return _against_size(
        runs, "scaling", "test accuracy", caption, _draw_accuracy, entries, *_grown(_summaries(runs), [])
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
    shown, note = _grown(_summaries(runs), medians)
    view = pgr_view(shown)
    draw = functools.partial(_draw_pgr, view=view)
    figure = _against_size(runs, "pgr_scaling", "PGR", caption, draw, [], shown, note, view)
    if figure is None:
        return None
    defined = {summary.task for summary in shown if summary.pgr["accuracy"].value is not None}
    for axis, task in zip(figure.image.axes, dict.fromkeys(summary.task for summary in shown), strict=False):
        if task not in defined:
            axis.text(0.5, 0.5, "undefined", transform=axis.transAxes, ha="center", va="center")
    columns = (*PGR_COLUMNS, "student_parameters")
    rows = [(*_pgr_row(summary), _parameters(runs).get(summary.student)) for summary in shown]
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


def agreement(runs: Sequence[Results]) -> Figure | None:
    """How far students follow their supervisor where it is right and where it is wrong; None for a single pair.

    Against the students' size where a supervisor has several, else for each task and pair of models.
    """
    entries = [style.key("where it is right", color=MUTED), style.key("where it is wrong", color=MUTED, ls="--")]
    return _against_size(
        runs,
        "agreement",
        "agreement with supervisor",
        AGREEMENT,
        _draw_agreement,
        entries,
        *_grown(_summaries(runs), []),
    ) or _agreement_of_pairs(runs)


def _agreement_of_pairs(runs: Sequence[Results]) -> Figure | None:
    summaries, note = single.selected(_summaries(runs))
    if len(_pairs(summaries)) < 2:
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
    handles = [style.key(style.short(method, 30), **look, ls="") for method, look in looks.items()]
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
    return Figure("agreement", AGREEMENT + note, f"{'; '.join(parts)}.", SIZE_COLUMNS, rows, image)


def _row_for_each_pair(summaries: Sequence[Summary]) -> tuple[Any, Any, dict[str, dict[str, Any]], list[float]]:
    """Image, axis, the methods' looks, and each summary's place: below the others of its task and pair."""
    pairs, looks = _pairs(summaries), style.method_looks(summaries)
    places, ticks, below = [0.0] * len(summaries), [], 0.0
    for pair in pairs:
        here = [i for i, s in enumerate(summaries) if (s.task, s.supervisor, s.student) == pair]
        ticks.append(below + (len(here) - 1) / 2)
        for index in here:
            places[index] = below
            below += 1
        below += 1.5  # room for the two lines of a name
    image, (axis,) = style.panels(1, height=0.9 + 0.13 * below, width=style.PANEL[0] * 1.5)
    names = [f"{style.short(task, 28)}\n{style.short(weak)} → {style.short(strong)}" for task, weak, strong in pairs]
    axis.set_yticks(ticks, names)
    axis.set_ylim(below - 1.0, -1.5)
    return image, axis, looks, places


class Line(NamedTuple):
    """One supervisor's students of one method in a panel.

    Attributes:
      places: of the students.
      aside: the same a little aside, so that the intervals of several lines do not cover each other.
      look: of lines and marks.
      guide: colour of what belongs to the supervisor.
    """

    summaries: Sequence[Summary]
    places: Sequence[float]
    aside: Sequence[float]
    look: dict[str, Any]
    guide: str


def _against_size(
    runs: Sequence[Results],
    name: str,
    label: str,
    caption: str,
    draw: Callable[[Any, Line], None],
    entries: Sequence[Any],
    summaries: Sequence[Summary],
    note: str,
    view: tuple[float, float] | None = None,
) -> Figure | None:
    """A panel for each task, where `draw` gets its axis and each line.

    Args:
      note: says what is left out.
      view: what of the vertical axis is seen; None is all.
    """
    if not summaries:
        return None
    students = _student_axis(runs, summaries)
    looks, handles = _looks(summaries)
    tasks = list(dict.fromkeys(summary.task for summary in summaries))
    image, axes = style.panels(len(tasks))
    for axis, task in zip(axes, tasks, strict=True):
        lines: dict[tuple[str, str], list[Summary]] = {}
        for summary in sorted((s for s in summaries if s.task == task), key=lambda s: students.places[s.student]):
            lines.setdefault((summary.supervisor, summary.method), []).append(summary)
        present = [key for key in looks if key in lines]
        for key, side in zip(present, _sides(len(present)), strict=True):
            at = [students.places[s.student] for s in lines[key]]
            draw(axis, Line(lines[key], at, [students.apart(place, side) for place in at], *looks[key]))
        axis.set_title(style.short(task, 36))
        axis.set_ylabel(label)
        students.draw(axis)
        if view is not None:
            axis.set_ylim(view)
    style.legend(image, [*handles, *entries])
    supervisors, methods = (list(dict.fromkeys(names)) for names in zip(*looks, strict=True))
    alt = (
        f"{label.capitalize()} against student size on {', '.join(tasks)}, supervised by {', '.join(supervisors)}; "
        f"methods: {', '.join(methods)}."
    )
    rows = [_size_row(summary, runs) for summary in summaries]
    return Figure(name, f"{caption}{students.note}{note}", alt, SIZE_COLUMNS, rows, image)


def _looks(summaries: Sequence[Summary]) -> tuple[dict[tuple[str, str], tuple[dict[str, Any], str]], list[Any]]:
    """Of each supervisor and method the look and the supervisor's colour; and what the legend says of them.

    Colours tell supervisors apart, and markers methods; of a single supervisor both tell its methods apart.
    """
    methods = style.method_looks(summaries)
    supervisors = list(dict.fromkeys(summary.supervisor for summary in summaries))
    if len(supervisors) == 1:
        handles = [style.key(style.short(method, 30), **look) for method, look in methods.items()]
        return {(supervisors[0], method): (look, MUTED) for method, look in methods.items()}, handles
    colours = dict(zip(supervisors, style.COLOURS, strict=False))
    looks = {
        (supervisor, method): ({**look, "color": colour}, colour)
        for supervisor, colour in colours.items()
        for method, look in methods.items()
    }
    handles = [style.key(f"supervisor {style.short(name)}", color=colour) for name, colour in colours.items()]
    handles += [
        style.key(style.short(method, 30), color=MUTED, marker=look["marker"], ls="")
        for method, look in methods.items()
    ]
    return looks, handles


def _sides(lines: int) -> list[float]:
    """From -1 to 1, evenly, and no further apart than in thirds."""
    step = min(1 / 3, 2 / max(1, lines - 1))
    return [(number - (lines - 1) / 2) * step for number in range(lines)]


def _grown(summaries: Sequence[Summary], medians: Sequence[Summary]) -> tuple[list[Summary], str]:
    """Those whose supervisor has several students, medians first, of as many methods as can be told apart; and a note.

    The note says which supervisors and methods are left out.
    """
    found = _with_several_students([*medians, *summaries])
    supervisors = list(dict.fromkeys(summary.supervisor for summary in found))
    methods = list(dict.fromkeys(summary.method for summary in found))
    few = supervisors[: len(style.COLOURS)]
    drawn = methods[: max(2, min(len(style.COLOURS), LINES // max(1, len(few))))]
    left_out = [
        f"{len(names) - len(kept)} of {len(names)} {what} ({'; '.join(names[len(kept) :])})"
        for what, names, kept in (("supervisors", supervisors, few), ("methods", methods, drawn))
        if len(kept) < len(names)
    ]
    note = f" Left out, with their PGR in the figures above: {', and '.join(left_out)}." if left_out else ""
    return [s for s in found if s.supervisor in few and s.method in drawn], note


def _draw_accuracy(axis: Any, line: Line) -> None:
    axis.plot(line.places, [s.accuracy["ceiling"].value for s in line.summaries], **CEILING)
    axis.axhline(line.summaries[0].accuracy["supervisor"].value, color=line.guide, lw=0.9, ls=":", zorder=0)
    axis.plot(line.aside, [s.accuracy["student"].value for s in line.summaries], **line.look)
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


def _draw_agreement(axis: Any, line: Line) -> None:
    for part, drawn in (("where_right", {}), ("where_wrong", {"ls": "--", "markerfacecolor": style.PAPER})):
        shares = [float("nan") if (share := getattr(s.agreement, part)) is None else share for s in line.summaries]
        axis.plot(line.aside, shares, **line.look, **drawn)


class Students(NamedTuple):
    """The axis that students stand on.

    Attributes:
      places: of the students.
      apart: a place this much aside of another, from -1 to 1.
      draw: ticks, limits and label.
      note: what the axis counts.
    """

    places: dict[str, float]
    apart: Callable[[float, float], float]
    draw: Callable[[Any], None]
    note: str


def _student_axis(runs: Sequence[Results], summaries: Sequence[Summary]) -> Students:
    """By their parameters where all are known and no two the same, else in the order given."""
    names = list(dict.fromkeys(summary.student for summary in summaries))
    parameters = _parameters(runs)
    sizes = {name: float(parameters[name]) for name in names if name in parameters}
    if len(set(sizes.values())) < len(names):
        places = {name: float(place) for place, name in enumerate(names)}
        room = ASIDE * (len(names) - 1)
        return Students(places, lambda place, side: place + room * side, functools.partial(_name_axis, names), "")
    logs = sorted(map(math.log, sizes.values()))
    closest = min(above - below for below, above in itertools.pairwise(logs))
    room = min(ASIDE * (logs[-1] - logs[0]), closest / 3)
    note = (
        " Sizes are parameters of the student without its head, with embeddings, up to the layer that is read: those "
        "above it are not run and do not count."
    )
    draw = functools.partial(_parameter_axis, list(sizes.values()))
    return Students(sizes, lambda place, side: place * math.exp(room * side), draw, note)


def _name_axis(names: Sequence[str], axis: Any) -> None:
    axis.set_xticks(range(len(names)), [style.short(name, max(14, 40 // len(names))) for name in names])
    axis.set_xlim(-0.3, len(names) - 0.7)
    axis.set_xlabel("student")


def _parameter_axis(sizes: Sequence[float], axis: Any) -> None:
    """Ticks at the sizes themselves; a label that would touch the one before goes a line down."""
    axis.set_xscale("log")
    axis.minorticks_off()
    ticks, labels, least = sorted(sizes), [], 0.0
    ratio = ticks[-1] / ticks[0]
    for size in ticks:
        labels.append(_count(size) if size >= least else f"\n{_count(size)}")
        least = size * ratio**0.15 if size >= least else 0.0
    axis.set_xticks(ticks, labels)
    axis.set_xlim(ticks[0] / ratio**0.07, ticks[-1] * ratio**0.07)
    axis.set_xlabel("student parameters that are run")


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
    if not clash(runs):
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
