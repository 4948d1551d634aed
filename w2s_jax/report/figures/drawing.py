"""Draws every registered figure, and writes it: PNG, SVG and PDF, and the numbers it shows as CSV."""

import csv
import importlib.util
import io
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from w2s_jax.evaluation.results import Results
from w2s_jax.report.figures import style
from w2s_jax.report.figures.base import FIGURES, AcrossFigure, Figure, RunFigure
from w2s_jax.runtime import files
from w2s_jax.runtime.errors import UserError

DPI = 200
SUFFIXES: dict[str, dict[str, None]] = {  # of a figure's files, with what of their metadata is left out
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    ".csv": {},
}
NEEDED = "they need matplotlib, which `pip install 'w2s-jax[plot]'` adds"


def available() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


class Drawn(NamedTuple):
    """The figures of some runs, by name: over all of them, and of each."""

    across: dict[str, Figure]
    of_run: dict[str, dict[str, Figure]]

    def stem(self, name: str, run: str | None) -> str:
        """What the files of a figure over all runs, or of one, are called; of several runs, each names its own."""
        return name if run is None or len(self.of_run) == 1 else f"{_file_name(run)}_{name}"

    @property
    def by_stem(self) -> dict[str, Figure]:
        """Every figure, by what its files are called."""
        found = {self.stem(name, None): figure for name, figure in self.across.items()}
        return found | {
            self.stem(name, run): figure for run, figures in self.of_run.items() for name, figure in figures.items()
        }


def draw(runs: Sequence[Results]) -> Drawn:
    """Draws every figure; where matplotlib is not installed there is none, and standard error says so."""
    if not available():
        print(f"no figures: {NEEDED}", file=sys.stderr)
        return Drawn({}, {run.name: {} for run in runs})
    return Drawn(across(runs), {run.name: of_run(run) for run in runs})


def of_results(found: Results) -> dict[str, Figure]:
    """Every figure of a single run, by name.

    Raises:
      UserError: matplotlib is not installed.
    """
    if not available():
        raise UserError(f"no figures: {NEEDED}")
    return across([found]) | of_run(found)


def of_run(found: Results) -> dict[str, Figure]:
    """The registered figures of one run, by name: those that have something to show."""
    import matplotlib

    with matplotlib.rc_context(style.SETTINGS):
        drawn = {name: each.draw(found) for name, each in FIGURES.items() if isinstance(each, RunFigure)}
    return {name: figure for name, figure in drawn.items() if figure is not None}


def across(runs: Sequence[Results]) -> dict[str, Figure]:
    """The registered figures over all runs, by name: those that have something to show."""
    import matplotlib

    with matplotlib.rc_context(style.SETTINGS):
        drawn = {name: each.draw(runs) for name, each in FIGURES.items() if isinstance(each, AcrossFigure)}
    return {name: figure for name, figure in drawn.items() if figure is not None}


def write(drawn: Drawn, folder: Path) -> list[Path]:
    """Writes every figure; those of a run have its name in front where there are several runs."""
    written = []
    for stem, figure in drawn.by_stem.items():
        for suffix in SUFFIXES:
            written.append(folder / f"{stem}{suffix}")
            with files.atomic(written[-1]) as temporary:
                temporary.write_bytes(rendered(figure, suffix))
    return written


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


def rendered(figure: Figure, suffix: str) -> bytes:
    """The content of a figure's file: the same for the same figure.

    Args:
      suffix: one of `SUFFIXES`.
    """
    import matplotlib

    if suffix == ".csv":
        return numbers(figure).encode()
    buffer = io.BytesIO()
    with matplotlib.rc_context(style.SETTINGS):
        figure.image.savefig(buffer, format=suffix[1:], dpi=DPI, metadata=SUFFIXES[suffix])
    return buffer.getvalue()
