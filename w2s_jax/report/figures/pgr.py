"""PGR for each task and pair of models: with intervals where there are few, as colours where there are many."""

from collections.abc import Sequence
from typing import Any

from w2s_jax.evaluation.results import Results, Summary
from w2s_jax.metrics import in_words
from w2s_jax.report.figures import pair_rows, selection, style
from w2s_jax.report.figures.base import FIGURES, AcrossFigure, Figure
from w2s_jax.report.figures.pgr_heat_map import heat_map
from w2s_jax.report.figures.style import MUTED

COLUMNS = ("task", "supervisor", "student", "method", "pgr", "low", "high", "undefined_because")


def intervals(runs: Sequence[Results]) -> Figure | None:
    """PGR with its interval for each task and pair of models; None for a single one.

    Of many, those that `selection.selected` picks, folded: the heat map has all of them, but no intervals.
    """
    summaries, note = selection.selected(selection.all_summaries(runs))
    if len(selection.pairs_of(summaries)) < 2:
        return None
    image, axis, looks, places = pair_rows.panel(summaries)
    view = selection.pgr_view(summaries)
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
    parts = (f"{s.task}, {s.supervisor} to {s.student}, {s.method}: {in_words(s.pgr['accuracy'])}" for s in summaries)
    folded = "PGR with its interval on each task" if note else ""
    caption = f"Performance gap recovered, with 95% intervals: 0 is the supervisor, 1 the ceiling.{note}"
    rows = [pgr_row(summary) for summary in summaries]
    return Figure(caption, f"{'; '.join(parts)}.", COLUMNS, rows, image, folded)


def pgr_row(summary: Summary) -> tuple[Any, ...]:
    """A summary under `COLUMNS`."""
    pgr = summary.pgr["accuracy"]
    identity = (summary.task, summary.supervisor, summary.student, summary.method)
    return (*identity, pgr.value, pgr.low, pgr.high, pgr.reason)


def _pgr(runs: Sequence[Results]) -> Figure | None:
    return heat_map(runs) if selection.many(runs) else intervals(runs)


def _folded_intervals(runs: Sequence[Results]) -> Figure | None:
    return intervals(runs) if selection.many(runs) else None


FIGURES.register(AcrossFigure("pgr", _pgr))
FIGURES.register(AcrossFigure("pgr_intervals", _folded_intervals))
