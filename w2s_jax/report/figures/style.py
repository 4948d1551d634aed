"""How all figures look: colours, panels, legends and names. Needs matplotlib, which is optional."""

from collections.abc import Sequence
from typing import Any

from w2s_jax.evaluation.results import Summary

# Okabe & Ito's palette, which colour-blind readers can tell apart, the ones that are weak on white last.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "^", "v", "P", "X", "p")
INK, MUTED = "#1b1b1b", "#808080"  # ceiling, text and axes; supervisor and guides
PAPER = "#ffffff"  # what is hollow is of the page's colour
SUPERVISOR: Any = {"color": MUTED, "marker": "s"}
CEILING: Any = {"color": INK, "marker": "D"}
PANEL = (3.3, 2.3)  # inches: one panel fills a paper's column
SETTINGS: Any = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.2,
    "lines.markersize": 4.5,
    "lines.markeredgewidth": 0.6,  # a thick edge makes crosses, pluses and pentagons one blot
    "legend.frameon": False,
    "legend.fontsize": 7,
    "figure.constrained_layout.w_pad": 0.09,  # inches
    "svg.hashsalt": "w2s_jax",
    "text.parse_math": False,  # a dollar in a name is a dollar
}


def panels(count: int, height: float = PANEL[1], width: float = PANEL[0]) -> tuple[Any, list[Any]]:
    """A figure with `count` axes, at most three side by side."""
    from matplotlib.figure import Figure as Image

    columns = min(count, 3)
    rows = -(-count // columns)
    image = Image(figsize=(width * columns, height * rows), layout="constrained")
    axes = image.subplots(rows, columns, squeeze=False)
    for spare in axes.flat[count:]:
        spare.set_visible(False)
    return image, list(axes.flat[:count])


def legend(image: Any, handles: Sequence[Any]) -> None:
    """One legend for all panels, below them."""
    longest = max(len(handle.get_label()) for handle in handles)
    columns = max(1, min(len(handles), int(image.get_figwidth() / (0.5 + 0.055 * longest))))
    image.legend(handles=list(handles), loc="outside lower center", ncols=columns)


def key(label: str, **look: Any) -> Any:
    """A legend entry."""
    from matplotlib.lines import Line2D

    return Line2D([], [], label=label, **look)


def method_looks(summaries: Sequence[Summary]) -> dict[str, dict[str, Any]]:
    """Colour and marker of each method, the same in every panel."""
    names = dict.fromkeys(summary.method for summary in summaries)
    return {
        name: {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)]} for i, name in enumerate(names)
    }


def short(name: str, width: int = 18) -> str:
    """A name that fits next to an axis: of a path its last part, and of that the two ends."""
    name = name.rstrip("/").rsplit("/", 1)[-1]
    half = width // 2 - 1
    return name if len(name) <= width else f"{name[:half]}…{name[-half:]}"


def pair_title(summary: Summary) -> str:
    """`task` over `supervisor → student`."""
    return f"{short(summary.task, 36)}\n{short(summary.supervisor)} → {short(summary.student)}"
