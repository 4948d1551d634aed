"""Figures for papers: PNG and SVG, with the numbers they show as CSV. Needs matplotlib, which is optional."""

import csv
import io
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from w2s_jax import files
from w2s_jax.report.table import pgr as pgr_text
from w2s_jax.results import Cell, Results, Summary

# Okabe & Ito's palette, which colour-blind readers can tell apart.
SUPERVISOR, CEILING = "#999999", "#000000"
METHODS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
INCH_PANEL = (3.4, 2.9)


def write(found: Results, folder: Path) -> list[Path]:
    """Writes every figure; nothing where matplotlib is not installed."""
    try:
        import matplotlib
    except ImportError:
        return []
    matplotlib.use("Agg")
    matplotlib.rcParams.update(
        {
            "font.size": 8,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "svg.hashsalt": "w2s_jax",
            "legend.frameon": False,
        }
    )
    written = []
    for name, draw in (("accuracy", accuracy), ("curves", curves), ("reliability", reliability)):
        figure = draw(found)
        for suffix, metadata in ((".png", {"Software": None}), (".svg", {"Date": None})):
            path = folder / f"{name}{suffix}"
            with files.atomic(path) as temporary:
                figure.savefig(temporary, format=suffix[1:], dpi=200, bbox_inches="tight", metadata=metadata)
            written.append(path)
        _close(figure)
    path = folder / "accuracy.csv"
    files.write_text(path, numbers(found))
    return [*written, path]


def accuracy(found: Results) -> Any:
    """Test accuracy of supervisor, students and ceiling: bars are means, dots are seeds, PGR above each student."""
    groups = _by_pair(found.summaries)
    figure, axes = _panels(len(groups))
    for axis, (title, summaries) in zip(axes, groups, strict=True):
        bars = [("supervisor", summaries[0], "supervisor", SUPERVISOR)]
        bars += [(s.method, s, "student", METHODS[i % len(METHODS)]) for i, s in enumerate(summaries)]
        bars += [("ceiling", summaries[0], "ceiling", CEILING)]
        low = 1.0
        for place, (label, summary, role, colour) in enumerate(bars):
            mean = summary.accuracy[role].value
            dots = [cell.scores[role].accuracy for cell in _cells(found, summary)]
            low = min(low, *dots)
            axis.bar(place, mean, color=colour, alpha=0.55, width=0.7)
            axis.scatter([place] * len(dots), dots, color=colour, s=10, zorder=3, edgecolor="white", linewidth=0.4)
            if role == "student":
                axis.text(place, max(mean, *dots) + 0.008, f"PGR\n{_short(summary)}", ha="center", va="bottom", fontsize=7)
        axis.set_xticks(range(len(bars)), [label for label, *_ in bars], rotation=20 if len(bars) > 4 else 0)
        axis.set_ylim(max(0.0, min(low - 0.03, 0.5)), 1.0)
        axis.set_ylabel("test accuracy")
        axis.set_title(title, fontsize=8)
    return figure


def curves(found: Results) -> Any:
    """Students on validation during training: against weak labels (dashed) and ground truth (solid)."""
    groups = _by_pair(found.summaries)
    figure, axes = _panels(len(groups))
    for axis, (title, summaries) in zip(axes, groups, strict=True):
        for index, summary in enumerate(summaries):
            colour = METHODS[index % len(METHODS)]
            for seed, cell in enumerate(_cells(found, summary)):
                steps = [point.step for point in cell.curve]
                label = summary.method if seed == 0 else None
                truth = [point.truth_accuracy for point in cell.curve]
                axis.plot(steps, truth, "-o", color=colour, ms=2.5, lw=1, alpha=0.8, label=label)
                axis.plot(steps, [p.weak_accuracy for p in cell.curve], "--o", color=colour, ms=2.5, lw=1, alpha=0.5)
        axis.set_xlabel("step")
        axis.set_ylabel("validation accuracy")
        axis.set_title(f"{title}\nsolid: ground truth, dashed: weak labels", fontsize=8)
        axis.legend(fontsize=7)
    return figure


def reliability(found: Results) -> Any:
    """Accuracy against confidence on the test split, all seeds together, for bins of at least ten examples."""
    groups = _by_pair(found.summaries)
    figure, axes = _panels(len(groups))
    for axis, (title, summaries) in zip(axes, groups, strict=True):
        axis.plot([0.5, 1], [0.5, 1], color="#bbbbbb", lw=1, zorder=0)
        lines = [("supervisor", summaries[0], "supervisor", SUPERVISOR)]
        lines += [(s.method, s, "student", METHODS[i % len(METHODS)]) for i, s in enumerate(summaries)]
        lines += [("ceiling", summaries[0], "ceiling", CEILING)]
        for label, summary, role, colour in lines:
            points = _pooled_bins([cell.reliability[role] for cell in _cells(found, summary)])
            axis.plot(*zip(*points, strict=True), "-o", color=colour, ms=3, lw=1, label=label) if points else None
        axis.set_xlabel("confidence")
        axis.set_ylabel("accuracy")
        axis.set_title(title, fontsize=8)
        axis.legend(fontsize=7)
    return figure


def numbers(found: Results) -> str:
    """One line for each cell: what the accuracy figure shows."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("task", "supervisor", "student", "method", "seed", "weak", "student_accuracy", "ceiling_accuracy"))
    for cell in found.cells:
        scores = (cell.scores[role].accuracy for role in ("supervisor", "student", "ceiling"))
        table.writerow((cell.task, cell.supervisor, cell.student, cell.method, cell.seed, *scores))
    return text.getvalue()


def _pooled_bins(diagrams: Sequence[Any]) -> list[tuple[float, float]]:
    points = []
    for i in range(len(diagrams[0].counts)):
        filled = [(d.counts[i], d.confidence[i], d.accuracy[i]) for d in diagrams if d.counts[i]]
        total = sum(count for count, *_ in filled)
        if total >= 10:
            points.append(tuple(sum(count * row[k] for count, *row in filled) / total for k in (0, 1)))
    return points


def _by_pair(summaries: Sequence[Summary]) -> list[tuple[str, list[Summary]]]:
    grouped = groupby(summaries, lambda s: (s.task, s.supervisor, s.student))
    return [(f"{task}\n{weak} → {strong}", list(group)) for (task, weak, strong), group in grouped]


def _cells(found: Results, summary: Summary) -> list[Cell]:
    key = (summary.task, summary.supervisor, summary.student, summary.method)
    return [cell for cell in found.cells if (cell.task, cell.supervisor, cell.student, cell.method) == key]


def _short(summary: Summary) -> str:
    return pgr_text(summary.pgr["accuracy"]).split(" ")[0]


def _panels(count: int) -> tuple[Any, list[Any]]:
    from matplotlib import pyplot

    columns = min(count, 3)
    rows = -(-count // columns)
    size = (INCH_PANEL[0] * columns, INCH_PANEL[1] * rows)
    figure, axes = pyplot.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for spare in axes.flat[count:]:
        spare.set_visible(False)
    return figure, list(axes.flat[:count])


def _close(figure: Any) -> None:
    from matplotlib import pyplot

    pyplot.close(figure)


