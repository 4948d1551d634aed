"""Figures of the report: each is one registration in `FIGURES`, in a file of its own.

base: what a figure is. drawing: draws and writes all of them. style, selection, pair_rows, against_size: what several
share. The others: one figure or family each.
"""

# Figures are registered in this order, which is that of the report.
from w2s_jax.report.figures import methods, pgr, scaling, agreement  # isort: skip
from w2s_jax.report.figures import accuracy, curves, reliability  # isort: skip
from w2s_jax.report.figures.base import FIGURES, AcrossFigure, Figure, RunFigure
from w2s_jax.report.figures.drawing import Drawn, across, available, draw, numbers, of_results, of_run, svg, write
from w2s_jax.runtime.registry import discover

__all__ = [
    "FIGURES",
    "AcrossFigure",
    "Drawn",
    "Figure",
    "RunFigure",
    "accuracy",
    "across",
    "agreement",
    "available",
    "curves",
    "draw",
    "methods",
    "numbers",
    "of_results",
    "of_run",
    "pgr",
    "reliability",
    "scaling",
    "svg",
    "write",
]

discover(__name__, __path__)  # a new file of this folder needs no line here
