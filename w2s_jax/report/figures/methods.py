"""Methods side by side, over tasks: PGR, and accuracy compared with the first method."""

from collections.abc import Sequence
from typing import Any

from w2s_jax.evaluation.results import Across, Comparison, Results, Summary
from w2s_jax.report import story, table
from w2s_jax.report.figures import selection, style
from w2s_jax.report.figures.base import FIGURES, AcrossFigure, Figure
from w2s_jax.report.figures.style import MUTED

CAPTION = (
    "Methods side by side. Left: PGR of accuracy; dots are tasks, diamonds medians over the tasks where it is defined, "
    "with 95% intervals over tasks where there are five. Right: test accuracy minus that of the first method, on the "
    "same seeds and examples; dots are tasks, filled where the difference passes Holm's correction at .05, diamonds "
    "their means."
)
DOT: Any = {"marker": "o", "ls": "", "ms": 3, "color": MUTED, "markeredgewidth": 0.6}
DIAMOND: Any = {"marker": "D", "ls": "", "ms": 5, "color": style.COLOURS[0], "markeredgecolor": style.PAPER}
COLUMNS = ("run", "supervisor", "student", "method", "task", "pgr", "accuracy_difference", "p_holm")


def compare(runs: Sequence[Results]) -> Figure | None:
    """Every method of every pair of models over tasks: its PGR, and its accuracy compared with the first method's.

    None where there is one method only, or one task.
    """
    entries = [(run, across) for run in runs for across in run.across]
    if not any(across.difference is not None for _, across in entries):
        return None
    names = _names(entries)
    image, (left, right) = style.panels(2, height=0.9 + 0.17 * len(entries))
    image.set_figwidth(2 * style.PANEL[0] + 0.062 * max(map(len, names)))
    view = selection.pgr_view([summary for run in runs for summary in run.summaries])
    rows: list[tuple[Any, ...]] = []
    for place, (run, across) in enumerate(entries):
        key = _key(across)
        pgr = {s.task: s.pgr["accuracy"].value for s in run.summaries if _key(s) == key}
        compared = {c.task: c for c in run.comparisons if _key(c) == key}
        _draw_pgr(left, place, across, [value for value in pgr.values() if value is not None], view)
        _draw_differences(right, place, across, list(compared.values()))
        rows += [(run.name, *key, task, value, *_numbers(compared.get(task))) for task, value in pgr.items()]
        rows.append((run.name, *key, "over tasks", across.median_pgr, across.difference, across.p_holm))
    for axis, label in ((left, "PGR of accuracy"), (right, "test accuracy − that of the first method")):
        axis.axvline(0, color=MUTED, lw=0.6, zorder=0)
        axis.set_ylim(len(entries) - 0.5, -0.5)
        axis.set_yticks(range(len(entries)), names if axis is left else [""] * len(names))
        axis.tick_params(axis="y", length=0)
        axis.grid(axis="y", color=MUTED, alpha=0.4, lw=0.3)
        axis.set_axisbelow(True)
        axis.set_xlabel(label)
        axis.locator_params(axis="x", nbins=5)
    left.axvline(1, color=MUTED, lw=0.6, ls=":", zorder=0)
    left.set_xlim(view)
    found = zip(names, (across for _, across in entries), strict=True)
    words = (f"{name}: median PGR {table.number(a.median_pgr)}, accuracy {a.difference or 0:+.3f}" for name, a in found)
    return Figure(CAPTION, f"{'; '.join(words)}.", COLUMNS, rows, image)


def _names(entries: Sequence[tuple[Results, Across]]) -> list[str]:
    """The method, and before it the run and the models where there are several."""
    runs, pairs = {run.name for run, _ in entries}, {(each.supervisor, each.student) for _, each in entries}

    def name(run: Results, each: Across) -> str:
        models = f"{style.short(each.supervisor)} → {style.short(each.student)}: " if len(pairs) > 1 else ""
        of_run = f"{style.short(run.name)}: " if len(runs) > 1 else ""
        return of_run + models + style.short(each.method, 30)

    return [name(run, each) for run, each in entries]


def _key(found: Across | Summary | Comparison) -> tuple[str, str, str]:
    return found.supervisor, found.student, found.method


def _numbers(comparison: Comparison | None) -> tuple[float | None, float | None]:
    return (None, None) if comparison is None else (comparison.difference, comparison.p_holm)


def _draw_pgr(axis: Any, place: int, across: Across, tasks: Sequence[float], view: tuple[float, float]) -> None:
    axis.plot(tasks, [place] * len(tasks), **DOT, markerfacecolor=style.PAPER)
    if across.low is not None and across.high is not None:
        ends = [max(across.low, view[0]), min(across.high, view[1])]
        axis.plot(ends, [place, place], "-", color=style.COLOURS[0])
    if across.median_pgr is not None:
        axis.plot(across.median_pgr, place, **DIAMOND)


def _draw_differences(axis: Any, place: int, across: Across, compared: Sequence[Comparison]) -> None:
    for comparison in compared:
        if comparison.difference is not None:
            sure = comparison.p_holm is not None and comparison.p_holm < story.SURE
            axis.plot(comparison.difference, place, **DOT, markerfacecolor=MUTED if sure else style.PAPER)
    if across.difference is not None:
        axis.plot(across.difference, place, **DIAMOND)


FIGURES.register(AcrossFigure("methods", compare))
