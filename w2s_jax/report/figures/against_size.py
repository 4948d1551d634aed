"""Panels of something against the student's size: one for each task, with a line for each supervisor and method."""

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from w2s_jax.evaluation.results import Results, Summary
from w2s_jax.report.figures import selection, style
from w2s_jax.report.figures.base import Figure
from w2s_jax.report.figures.style import MUTED

COLUMNS = (
    *("task", "supervisor", "student", "method", "student_parameters"),
    *("supervisor_accuracy", "student_accuracy", "ceiling_accuracy"),
    *("student_low", "student_high", "agree_where_right", "agree_where_wrong"),
)
LINES = 12  # of supervisors and methods, that a panel has room for
ASIDE = 0.03  # of the students' axis, by which a line is moved at most


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


def draw(
    runs: Sequence[Results],
    label: str,
    caption: str,
    draw_line: Callable[[Any, Line], None],
    entries: Sequence[Any],
    summaries: Sequence[Summary],
    note: str,
    view: tuple[float, float] | None = None,
) -> Figure | None:
    """A panel for each task, where `draw_line` gets its axis and each line.

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
            draw_line(axis, Line(lines[key], at, [students.apart(place, side) for place in at], *looks[key]))
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
    rows = [row(summary, runs) for summary in summaries]
    return Figure(f"{caption}{students.note}{note}", alt, COLUMNS, rows, image)


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


def grown(summaries: Sequence[Summary], medians: Sequence[Summary]) -> tuple[list[Summary], str]:
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


def _with_several_students(summaries: Sequence[Summary]) -> list[Summary]:
    students: dict[tuple[str, str], set[str]] = {}
    for summary in summaries:
        students.setdefault((summary.task, summary.supervisor), set()).add(summary.student)
    return [summary for summary in summaries if len(students[summary.task, summary.supervisor]) > 1]


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
    parameters = selection.parameters_of(runs)
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


def row(summary: Summary, runs: Sequence[Results]) -> tuple[Any, ...]:
    """A summary under `COLUMNS`."""
    identity = (summary.task, summary.supervisor, summary.student, summary.method)
    scores = (summary.scores["accuracy"][role].value for role in ("supervisor", "student", "ceiling"))
    interval = summary.pgr["accuracy"].student
    ends = (None, None) if interval is None else (interval.low, interval.high)
    agreement = (summary.agreement.where_right, summary.agreement.where_wrong)
    return (*identity, selection.parameters_of(runs).get(summary.student), *scores, *ends, *agreement)
