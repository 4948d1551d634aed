"""How well each model of a run does: test accuracy with its interval, and every seed."""

from typing import Any

from w2s_jax.evaluation.results import Results, Summary
from w2s_jax.metrics import Interval, in_words
from w2s_jax.report.figures import selection, style
from w2s_jax.report.figures.base import FIGURES, Figure, RunFigure
from w2s_jax.report.figures.style import MUTED


def accuracy(found: Results) -> Figure:
    """Test accuracy of supervisor, students and ceiling: means with 95% intervals, and every seed."""
    found, note = selection.selected_of(found)
    pairs = selection.by_pair(found)
    most = max(len(list(selection.models_of(summaries, {}))) for summaries in pairs)
    image, axes = style.panels(len(pairs), height=0.75 + 0.3 * most)
    looks = style.method_looks(found.summaries)
    rows: list[tuple[Any, ...]] = []
    for axis, summaries in zip(axes, pairs, strict=True):
        names, pgrs = [], []
        for place, (name, role, summary, look) in enumerate(selection.models_of(summaries, looks)):
            mean, interval = summary.scores["accuracy"][role].value, getattr(summary.pgr["accuracy"], role)
            low, high = (interval.low, interval.high) if isinstance(interval, Interval) else (None, None)
            seeds = [(cell.seed, cell.scores["accuracy"][role]) for cell in selection.cells_of(found, summary)]
            if low is not None:
                axis.plot([low, high], [place, place], "-", color=look["color"], lw=1.2)
            axis.plot([value for _, value in seeds], [place] * len(seeds), "|", color=look["color"], ms=5, alpha=0.6)
            axis.plot(mean, place, **look, ls="", ms=5.5, markeredgecolor=style.PAPER, markeredgewidth=0.5)
            names.append(style.short(name))
            pgrs.append(in_words(summary.pgr["accuracy"]) if role == "student" else "")
            shown = (summary.task, summary.supervisor, summary.student, name, role)
            rows += [(*shown, seed, value, None, None) for seed, value in seeds]
            rows.append((*shown, "mean", mean, low, high))
        for role in ("supervisor", "ceiling"):
            axis.axvline(summaries[0].scores["accuracy"][role].value, color=MUTED, lw=0.6, ls=":", zorder=0)
        axis.set_yticks(range(len(names)), names)
        _write_beside(axis, ["PGR [95%]", *pgrs[1:]])
        axis.set_ylim(len(names) - 0.4, -0.7)
        axis.set_xlabel("test accuracy")
        axis.set_title(style.pair_title(summaries[0]))
    columns = ("task", "supervisor", "student", "model", "role", "seed", "accuracy", "low", "high")
    caption = (
        "Test accuracy. Points are means over seeds, lines their 95% intervals over seeds and examples, ticks single "
        "seeds. Dotted lines go through supervisor and ceiling." + note
    )
    return Figure(caption, _accuracy_alt(pairs), columns, rows, image)


def _write_beside(axis: Any, texts: list[str]) -> None:
    """One text for each row, to the right of the panel."""
    right = axis.secondary_yaxis("right")
    right.set_yticks(range(len(texts)), texts, fontsize=6.5)
    right.tick_params(length=0)
    right.spines["right"].set_visible(False)


def _accuracy_alt(pairs: list[list[Summary]]) -> str:
    return " ".join(
        selection.in_words("Test accuracy", summaries, lambda s, r: s.scores["accuracy"][r].value)
        for summaries in pairs
    )


FIGURES.register(RunFigure("accuracy", accuracy))
