"""Figures as files: PNG and SVG, and the numbers they show as CSV. Without matplotlib there are none."""

import csv
import importlib.util
import io
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from w2s_jax.evaluation.results import Results
from w2s_jax.report import grid, many, methods, single, style
from w2s_jax.report.style import Figure
from w2s_jax.runtime import files

DPI = 200


def available() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


class Drawn(NamedTuple):
    """The figures of some runs: over all of them, and of each."""

    across: list[Figure]
    of_run: dict[str, list[Figure]]


def draw(runs: Sequence[Results]) -> Drawn:
    """Draws every figure; where matplotlib is not installed there is none, and standard error says so."""
    if not available():
        print("no figures: they need matplotlib, which `pip install 'w2s-jax[plot]'` adds", file=sys.stderr)
        return Drawn([], {run.name: [] for run in runs})
    return Drawn(across(runs), {run.name: of_run(run) for run in runs})


def of_run(found: Results) -> list[Figure]:
    """How well each model of a run does, how it got there, and how well it is calibrated."""
    import matplotlib

    with matplotlib.rc_context(style.SETTINGS):
        drawn = [single.accuracy(found), single.curves(found), single.reliability(found)]
    return [figure for figure in drawn if figure is not None]


def across(runs: Sequence[Results]) -> list[Figure]:
    """What needs several methods, tasks, pairs of models or students; empty where there is one of each."""
    import matplotlib

    with matplotlib.rc_context(style.SETTINGS):
        drawn = [
            methods.compare(runs),
            grid.heat(runs),
            many.recovered(runs),
            many.scaling(runs),
            many.pgr_scaling(runs),
            many.agreement(runs),
        ]
    return [figure for figure in drawn if figure is not None]


def write(drawn: Drawn, folder: Path) -> list[Path]:
    """Writes every figure; those of a run have its name in front where there are several runs."""
    several = len(drawn.of_run) > 1
    named = [("", figure) for figure in drawn.across]
    named += [
        (f"{_file_name(name)}_" if several else "", figure) for name, each in drawn.of_run.items() for figure in each
    ]
    return [path for prefix, figure in named for path in _save(figure, folder, prefix)]


def _file_name(run: str) -> str:
    """Of a run that goes by its folder, all that tells it apart."""
    return re.sub(r"[^\w.-]+", "_", run).strip("_")


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


def _save(figure: Figure, folder: Path, prefix: str) -> list[Path]:
    import matplotlib

    png, svg, csv_ = (folder / f"{prefix}{figure.name}{suffix}" for suffix in (".png", ".svg", ".csv"))
    with matplotlib.rc_context(style.SETTINGS):
        for path, metadata in ((png, {"Software": None}), (svg, {"Date": None, "Creator": None})):
            with files.atomic(path) as temporary:
                figure.image.savefig(temporary, format=path.suffix[1:], dpi=DPI, metadata=metadata)
    files.write_text(csv_, numbers(figure))
    return [png, svg, csv_]
