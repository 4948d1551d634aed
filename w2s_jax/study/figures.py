"""The figures of a study's report, in the style of all others."""

from typing import Any

from w2s_jax.report.figures import Figure, drawing, style
from w2s_jax.report.figures.style import COLOURS, INK, MUTED, PAPER
from w2s_jax.study import bowman
from w2s_jax.study.found import Findings, Row

WIDTH = 3.6  # inches: a phone shows it whole
_LOOK = {"unassisted": (MUTED, "s"), "assisted": (COLOURS[0], "o"), "model": (COLOURS[1], "^"), "expert": (INK, "D")}


def draw(found: Findings) -> dict[str, Figure]:
    """The figures by name; none where matplotlib is not installed."""
    if not drawing.available():
        return {}
    import matplotlib

    with matplotlib.rc_context(style.SETTINGS):
        return {"accuracy": accuracy(found), "session": session(found)}


def accuracy(found: Findings) -> Figure:
    """Accuracy of every row with its interval, and the published figures, hollow."""
    image, (axis,) = style.panels(1, height=1.0 + 0.27 * len(found.rows), width=WIDTH)
    rows: list[tuple[Any, ...]] = []
    for place, row in enumerate(found.rows):
        colour, marker = _LOOK[row.kind]
        value, low, high = row.accuracy
        theirs = bowman.published(found.their_task, row.theirs).accuracy
        if row.over != "nothing":
            axis.plot([low, high], [place, place], "-", color=colour, lw=1.2)
        axis.plot(value, place, marker, color=colour, ms=5.5, markeredgecolor=PAPER, markeredgewidth=0.5)
        if theirs is not None:
            axis.plot(theirs.value, place + 0.3, "d", color=MUTED, ms=4, markerfacecolor=PAPER)
        rows.append((row.title, row.kind, value, low, high, None if theirs is None else theirs.value))
    axis.set_yticks(range(len(found.rows)), [_short(row) for row in found.rows], fontsize=7)
    axis.set_ylim(len(found.rows) - 0.4, -0.7)
    axis.set_xlabel("accuracy")
    handles = [
        style.key(kind, color=colour, marker=marker, ls="")
        for kind, (colour, marker) in _LOOK.items()
        if any(row.kind == kind for row in found.rows)
    ]
    caption = "Accuracy, with 95% intervals over participants and questions."
    if found.their_task is not None:
        handles.append(style.key(f"published, {found.their_task}", color=MUTED, marker="d", ls="", mfc=PAPER))
        caption += f" Hollow: {bowman.SOURCE}, on its own participants and models."
    if any(row.played for row in found.rows):
        caption += " Simulated participants are not people."
    style.legend(image, handles)
    alt = "; ".join(f"{row.title} {row.accuracy.value:.3f}" for row in found.rows)
    return Figure(caption, f"Accuracy: {alt}.", ("row", "kind", "accuracy", "low", "high", "published"), rows, image)


def session(found: Findings) -> Figure:
    """Accuracy by place in the session."""
    image, (axis,) = style.panels(1, height=2.6, width=WIDTH)
    rows: list[tuple[Any, ...]] = []
    handles, said = [], []
    for place, each in enumerate(found.pace):
        look = {"color": COLOURS[place % len(COLOURS)], "marker": style.MARKERS[place % len(style.MARKERS)]}
        middles = [(first + last) / 2 + 1 for first, last, *_ in each.quarters]
        axis.plot(middles, [right for _, _, right, _ in each.quarters], **look)
        handles.append(style.key(style.short(each.title, 34), **look))
        rows += [(each.title, first + 1, last + 1, right, count) for first, last, right, count in each.quarters]
        said.append(f"{each.title} " + ", ".join(f"{right:.2f}" for _, _, right, _ in each.quarters))
    axis.set_xlabel("place in the session")
    axis.set_ylabel("accuracy")
    axis.set_ylim(0, 1.02)
    style.legend(image, handles)
    caption = "Accuracy over the session, in quarters of it."
    return Figure(caption, f"{'; '.join(said)}.", ("condition", "from", "to", "accuracy", "answers"), rows, image)


def _short(row: Row) -> str:
    """The row's name beside the axis."""
    name = style.short(row.name, 14) + (", vote" if row.vote else "")
    return f"{name}\n(simulated: {style.short(row.played, 12)})" if row.played else name
