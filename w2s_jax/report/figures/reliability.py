"""Whether a run's models know how often they are right: accuracy against confidence."""

import dataclasses
from typing import Any

from w2s_jax.evaluation.results import Results, Summary
from w2s_jax.report.figures import selection, style
from w2s_jax.report.figures.base import FIGURES, Figure, RunFigure
from w2s_jax.report.figures.style import MUTED

LEAST_IN_BIN = 25  # whose accuracy then has a standard error of .1 at most


def reliability(found: Results) -> Figure | None:
    """Accuracy against confidence on the test split, all seeds together."""
    measured = tuple(s for s in found.summaries if any(bins.counts for bins in s.reliability.values()))
    if not measured:
        return None
    found, note = selection.selected_of(dataclasses.replace(found, summaries=measured))
    pairs = selection.by_pair(found)
    image, axes = style.panels(len(pairs), height=2.6)
    looks = style.method_looks(found.summaries)
    rows: list[tuple[Any, ...]] = []
    for axis, summaries in zip(axes, pairs, strict=True):
        lowest = 1.0
        for name, role, summary, look in selection.models_of(summaries, looks):
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
    handles = [style.key("supervisor", **style.SUPERVISOR)]
    handles += [style.key(style.short(method, 30), **look) for method, look in looks.items()]
    handles += [style.key("ceiling", **style.CEILING), style.key("calibrated", color=MUTED, lw=0.9, ls=":")]
    style.legend(image, handles)
    caption = (
        "Accuracy against confidence on the test split, all seeds together, in ten bins, "
        f"of those with {LEAST_IN_BIN} examples or more. Below the dotted line a model is surer than it is right.{note}"
    )
    columns = ("task", "supervisor", "student", "model", "role", "examples", "confidence", "accuracy")
    return Figure(caption, _reliability_alt(pairs), columns, rows, image)


def _reliability_alt(pairs: list[list[Summary]]) -> str:
    return " ".join(
        selection.in_words("Expected calibration error", summaries, lambda s, r: s.scores["calibration_error"][r].value)
        for summaries in pairs
    )


FIGURES.register(RunFigure("reliability", reliability))
