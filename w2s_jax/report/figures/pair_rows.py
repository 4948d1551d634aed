"""A panel with a row for each task, pair of models and method."""

from collections.abc import Sequence
from typing import Any

from w2s_jax.evaluation.results import Summary
from w2s_jax.report.figures import selection, style


def panel(summaries: Sequence[Summary]) -> tuple[Any, Any, dict[str, dict[str, Any]], list[float]]:
    """Image, axis, the methods' looks, and each summary's place: below the others of its task and pair."""
    pairs, looks = selection.pairs_of(summaries), style.method_looks(summaries)
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
