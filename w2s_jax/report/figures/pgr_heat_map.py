"""PGR over a grid of many methods, pairs of models and tasks, as colours."""

from collections.abc import Sequence
from typing import Any

from w2s_jax.evaluation.results import Results, Summary
from w2s_jax.report.figures import selection, style
from w2s_jax.report.figures.base import Figure
from w2s_jax.report.figures.style import MUTED

VIEW = 1.0  # PGR whose colour is the strongest


def heat_map(runs: Sequence[Results]) -> Figure:
    """PGR of every method and pair of models on every task, as colours."""
    with_run = selection.clash(runs)
    cells = [(_row(run, summary, with_run), summary) for run in runs for summary in run.summaries]
    tasks = list(dict.fromkeys(summary.task for _, summary in cells))
    rows = list(dict.fromkeys(row for row, _ in cells))
    found = {(row, summary.task): summary for row, summary in cells}
    names = [" ".join(part for part in _shown(row, rows) if part) for row in rows]
    width = 1.6 + 0.062 * max(map(len, names)) + 0.62 * len(tasks)
    image, (axis,) = style.panels(1, height=0.9 + 0.17 * len(rows), width=width)
    for y, row in enumerate(rows):
        for x, task in enumerate(tasks):
            _square(axis, x, y, found.get((row, task)))
    axis.set_xlim(-0.5, len(tasks) - 0.5)
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.set_xticks(range(len(tasks)), [style.short(task, 20) for task in tasks], rotation=35, ha="left")
    axis.xaxis.tick_top()
    axis.set_yticks(range(len(rows)), names)
    axis.tick_params(length=0)
    for side in axis.spines.values():
        side.set_visible(False)
    caption = (
        "PGR of accuracy: blue above 0 (the supervisor), orange below. Bold where the 95% interval leaves out 0; "
        "hatched where ceiling and supervisor are not apart, so that there is no PGR."
    )
    columns = ("run", "supervisor", "student", "method", "task", "pgr", "low", "high", "undefined_because")
    numbers = [(*row, s.task, *_ends(s), s.pgr["accuracy"].reason) for row, s in cells]
    alt = f"PGR of {len(rows)} methods and pairs of models on {', '.join(tasks)}; the numbers are in the CSV."
    return Figure(caption, alt, columns, numbers, image)


def _square(axis: Any, x: int, y: int, summary: Summary | None) -> None:
    from matplotlib.patches import Rectangle

    corner = (x - 0.48, y - 0.46)
    value, low, high = (None, None, None) if summary is None else _ends(summary)
    if value is None:
        if summary is not None:
            axis.add_patch(
                Rectangle(corner, 0.96, 0.92, facecolor="none", edgecolor=MUTED, alpha=0.4, lw=0, hatch="////")
            )
        return
    strength = min(abs(value) / VIEW, 1.0)
    colour = "#0072B2" if value >= 0 else "#D55E00"
    axis.add_patch(Rectangle(corner, 0.96, 0.92, facecolor=colour, alpha=0.08 + 0.72 * strength, lw=0))
    sure = (low is not None and low > 0) or (high is not None and high < 0)
    axis.text(x, y, f"{value:.2f}", ha="center", va="center", fontsize=6.5, weight="bold" if sure else None)


Row = tuple[str, str, str, str]  # run, supervisor, student, method


def _row(run: Results, summary: Summary, with_run: bool) -> Row:
    return run.name if with_run else "", summary.supervisor, summary.student, summary.method


def _shown(row: Row, rows: Sequence[Row]) -> tuple[str, str, str]:
    """The run where cells clash, the models where there are several pairs, the method where there are several."""
    several_pairs = len({(supervisor, student) for _, supervisor, student, _ in rows}) > 1
    several_methods = len({method for *_, method in rows}) > 1
    run, supervisor, student, method = row
    models = f"{style.short(supervisor)} → {style.short(student)}:" if several_pairs else ""
    of_run = f"{style.short(run)}:" if run else ""
    return of_run, models, style.short(method, 30) if several_methods or not several_pairs else ""


def _ends(summary: Summary) -> tuple[float | None, float | None, float | None]:
    pgr = summary.pgr["accuracy"]
    return pgr.value, pgr.low, pgr.high
