"""How a run's students get there: validation accuracy during training, against ground truth and weak labels."""

import dataclasses
from typing import Any

from w2s_jax.evaluation.results import Results, Summary
from w2s_jax.report.figures import selection, style
from w2s_jax.report.figures.base import FIGURES, Figure, RunFigure
from w2s_jax.report.figures.style import INK

BEST = {"marker": "x", "ls": "", "ms": 5.5, "markeredgewidth": 1.0}
SELECTED = {"marker": "o", "ls": "", "ms": 6.5, "markerfacecolor": "none", "markeredgewidth": 0.8}


def curves(found: Results) -> Figure | None:
    """Students on validation during training; None where none was evaluated more than once.

    One point has no course, and where it ends long before the others, would leave them a corner of their panel.
    """
    once = dict.fromkeys(summary.method for summary in found.summaries if len(summary.curve) < 2)
    found = dataclasses.replace(found, summaries=tuple(s for s in found.summaries if len(s.curve) > 1))
    if not found.summaries:
        return None
    found, note = selection.selected_of(found)
    note += f" Left out are students that were evaluated once: {'; '.join(once)}." if once else ""
    pairs = selection.by_pair(found)
    image, axes = style.panels(len(pairs))
    looks = style.method_looks(found.summaries)
    rows: list[tuple[Any, ...]] = []
    for axis, summaries in zip(axes, pairs, strict=True):
        for summary in summaries:
            colour = looks[summary.method]["color"]
            for name, line in (("truth_accuracy", "-"), ("weak_accuracy", "--")):
                for cell in selection.cells_of(found, summary):
                    points = [(point.step, getattr(point, name)) for point in cell.curve]
                    axis.plot(*zip(*points, strict=True), ls=line, color=colour, lw=0.5, alpha=0.35)
                    rows += [_curve_row(summary, name, cell.seed, *p, p[0] == cell.selected_step) for p in points]
                    if name == "truth_accuracy":
                        for step, mark in ((cell.selected_step, SELECTED), (cell.best_truth_step, BEST)):
                            assert step is not None
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
    return Figure(caption, _curves_alt(pairs), columns, rows, image)


def _curve_row(
    summary: Summary, name: str, seed: int | str, step: int, value: float, selected: bool | None
) -> tuple[Any, ...]:
    against = "ground truth" if name == "truth_accuracy" else "weak labels"
    return (summary.task, summary.supervisor, summary.student, summary.method, against, seed, step, value, selected)


def _curves_alt(pairs: list[list[Summary]]) -> str:
    lines = [
        f"On {s.task}, the {s.method} student of {s.supervisor} goes from {s.curve[0].truth_accuracy:.3f} to "
        f"{s.curve[-1].truth_accuracy:.3f} against ground truth."
        for summaries in pairs
        for s in summaries
        if s.curve
    ]
    return " ".join(lines)


FIGURES.register(RunFigure("curves", curves))
