"""Figures as files: PNG and SVG, and the numbers they show as CSV. Without matplotlib there are none."""

import csv
import importlib.util
import io
import sys
from collections.abc import Sequence
from pathlib import Path

from w2s_jax import files
from w2s_jax.report import grid, many, single, style
from w2s_jax.report.style import Figure
from w2s_jax.results import Results

DPI = 200


def available() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def of_run(found: Results) -> list[Figure]:
    """How well each model of a run does, how it got there, and how well it is calibrated."""
    import matplotlib

    with matplotlib.rc_context(style.SETTINGS):
        drawn = (
            [single.accuracy(found), single.curves(found), single.reliability(found)]
            if len(found.summaries) <= grid.MANY
            else []
        )
    return [figure for figure in drawn if figure is not None]


def across(runs: Sequence[Results]) -> list[Figure]:
    """What needs several tasks, pairs of models or students; empty where there is one of each."""
    import matplotlib

    with matplotlib.rc_context(style.SETTINGS):
        drawn = [
            grid.heat(runs),
            many.recovered(runs),
            many.scaling(runs),
            many.pgr_scaling(runs),
            many.agreement(runs),
        ]
    return [figure for figure in drawn if figure is not None]


def write(found: Results, folder: Path) -> list[Path]:
    """Writes every figure of a run; where matplotlib is not installed, says so on standard error."""
    if not available():
        print("no figures: they need matplotlib, which `pip install 'w2s-jax[plot]'` adds", file=sys.stderr)
        return []
    return [path for figure in [*of_run(found), *across([found])] for path in _save(figure, folder)]


def svg(figure: Figure) -> str:
    """The drawing as SVG, without a background."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context(style.SETTINGS):
        figure.image.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def numbers(figure: Figure) -> str:
    """What the figure shows, as CSV."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(figure.columns)
    table.writerows(figure.rows)
    return text.getvalue()


def _save(figure: Figure, folder: Path) -> list[Path]:
    import matplotlib

    png, svg, csv_ = (folder / f"{figure.name}{suffix}" for suffix in (".png", ".svg", ".csv"))
    with matplotlib.rc_context(style.SETTINGS):
        for path, metadata in ((png, {"Software": None}), (svg, {"Date": None, "Creator": None})):
            with files.atomic(path) as temporary:
                figure.image.savefig(temporary, format=path.suffix[1:], dpi=DPI, metadata=metadata)
    files.write_text(csv_, numbers(figure))
    return [png, svg, csv_]
