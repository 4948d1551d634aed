"""How far students follow their supervisors, where these are right and where they are wrong."""

from collections.abc import Sequence
from typing import Any

from w2s_jax.evaluation.results import Results
from w2s_jax.report import table
from w2s_jax.report.figures import against_size, pair_rows, selection, style
from w2s_jax.report.figures.against_size import Line
from w2s_jax.report.figures.base import FIGURES, AcrossFigure, Figure
from w2s_jax.report.figures.style import MUTED

CAPTION = "How often students predict what their supervisor does, where it is right and where it is wrong."


def agreement(runs: Sequence[Results]) -> Figure | None:
    """How far students follow their supervisor where it is right and where it is wrong; None for a single pair.

    Against the students' size where a supervisor has several, else for each task and pair of models.
    """
    entries = [style.key("where it is right", color=MUTED), style.key("where it is wrong", color=MUTED, ls="--")]
    return against_size.draw(
        runs,
        "agreement with supervisor",
        CAPTION,
        _draw_agreement,
        entries,
        *against_size.grown(selection.all_summaries(runs), []),
    ) or _agreement_of_pairs(runs)


def _agreement_of_pairs(runs: Sequence[Results]) -> Figure | None:
    summaries, note = selection.selected(selection.all_summaries(runs))
    if len(selection.pairs_of(summaries)) < 2:
        return None
    image, axis, looks, places = pair_rows.panel(summaries)
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
        f"{s.task}, {s.supervisor} to {s.student}, {s.method}: {table.number(s.agreement.where_right)} where right, "
        f"{table.number(s.agreement.where_wrong)} where wrong"
        for s in summaries
    )
    rows = [against_size.row(summary, runs) for summary in summaries]
    return Figure(CAPTION + note, f"{'; '.join(parts)}.", against_size.COLUMNS, rows, image)


def _draw_agreement(axis: Any, line: Line) -> None:
    for part, drawn in (("where_right", {}), ("where_wrong", {"ls": "--", "markerfacecolor": style.PAPER})):
        shares = [float("nan") if (share := getattr(s.agreement, part)) is None else share for s in line.summaries]
        axis.plot(line.aside, shares, **line.look, **drawn)


FIGURES.register(AcrossFigure("agreement", agreement))
