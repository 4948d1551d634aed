"""What a figure is: a drawing with its numbers and words, and the registry of those that a report has."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from w2s_jax.evaluation.results import Results
from w2s_jax.runtime.registry import Registry


@dataclass(frozen=True)
class Figure:
    """A drawing, and the numbers it shows.

    Attributes:
      caption: how to read it.
      alt: what it says, for readers who cannot see it.
      columns, rows: the plotted numbers.
      image: matplotlib's figure.
      folded: the line under which the page folds it away; empty where it is always open.
    """

    caption: str
    alt: str
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    image: Any
    folded: str = ""


@dataclass(frozen=True)
class RunFigure:
    """A figure of one run.

    >>> FIGURES.register(RunFigure("my_figure", draw))

    Attributes:
      name: of its files.
      draw: results -> figure; None where there is nothing to show.
    """

    name: str
    draw: Callable[[Results], Figure | None]


@dataclass(frozen=True)
class AcrossFigure:
    """A figure over all runs of a report: of what needs several methods, tasks, pairs of models or students.

    Attributes:
      name: of its files.
      draw: results of the runs -> figure; None where there is nothing to show.
    """

    name: str
    draw: Callable[[Sequence[Results]], Figure | None]


FIGURES: Registry[RunFigure | AcrossFigure] = Registry("figure")
