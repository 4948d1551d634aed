"""Two students, supervisors or methods of one experiment compared on the same seeds and test examples."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from w2s_jax import metrics
from w2s_jax.config import Experiment
from w2s_jax.data.task_data import Tasks
from w2s_jax.evaluation import imported, measure
from w2s_jax.evaluation.one_cell import Measured
from w2s_jax.evaluation.summarise import triples
from w2s_jax.metrics import PairedDifference
from w2s_jax.pipeline import graph
from w2s_jax.pipeline.store import Store
from w2s_jax.runtime import errors
from w2s_jax.runtime.errors import UserError

Axis = Literal["methods", "students", "supervisors"]
FIELDS: dict[Axis, str] = {"methods": "method", "students": "student", "supervisors": "supervisor"}


@dataclass(frozen=True)
class Compared:
    """One cell of the grid with a in its place, minus the same with b.

    Attributes:
      names: the cell's task and what else it is of, but for the field that is compared.
      seeds: those that both have.
      accuracy, pgr: differences of the students' accuracy and of its PGR, each between its own supervisor and ceiling.
      accuracy_holm, pgr_holm: p-values adjusted by Holm's method over all cells where the difference is defined,
        accuracy and PGR each by itself.
    """

    names: dict[str, str]
    seeds: tuple[int, ...]
    accuracy: PairedDifference
    pgr: PairedDifference
    accuracy_holm: float | None
    pgr_holm: float | None


def compare(plan: Experiment, store: Store, axis: Axis, a: str, b: str) -> list[Compared]:
    """a - b for every cell that is done for both.

    Raises:
      UserError: the experiment has no such name, or no two finished cells differ in these two alone.
    """
    field = FIELDS[axis]
    items = measure.finished(graph.cells(plan, Tasks()), store, lambda cell: getattr(cell, field) in (a, b))
    return compare_items(items, plan.name, axis, list(getattr(plan, axis)), a, b)


def compare_imported(table: Path, axis: Axis, a: str, b: str) -> list[Compared]:
    """a - b for every cell that an imported table has for both.

    Raises:
      UserError: the table has no such name, or no two cells differ in these two alone.
    """
    items = imported.items(table)
    names = list(dict.fromkeys(getattr(item.cell, FIELDS[axis]) for item in items))
    return compare_items(items, str(table), axis, names, a, b)


def compare_items(
    items: Sequence[Measured], title: str, axis: Axis, names: Sequence[str], a: str, b: str
) -> list[Compared]:
    """a - b for every measured cell that is there for both; arguments as in `compare`."""
    for name in (a, b):
        if name not in names:
            raise errors.unknown(axis.removesuffix("s"), name, names)
    if a == b:
        raise UserError(f"{a!r} compared with itself; name two {axis}: {', '.join(names)}")
    field = FIELDS[axis]
    rest = [name for name in ("task", "supervisor", "student", "method") if name != field]
    sides: dict[tuple[str, ...], dict[str, dict[int, Measured]]] = {}
    for item in items:
        if getattr(item.cell, field) not in (a, b):
            continue
        key = tuple(str(getattr(item.cell, name)) for name in rest)
        side = str(getattr(item.cell, field))
        sides.setdefault(key, {}).setdefault(side, {})[item.cell.seed] = item
    pairs = {
        key: (seeds, [[found[name][seed] for seed in seeds] for name in (a, b)])
        for key, found in sides.items()
        if a in found and b in found and (seeds := tuple(seed for seed in found[a] if seed in found[b]))
    }
    if not pairs:
        raise UserError(f"{title!r} holds no two finished cells that differ only in {a!r} and {b!r}")
    differences = [_difference(ours, theirs) for _, (ours, theirs) in pairs.values()]
    adjusted = [metrics.holm([each[i].p for each in differences]) for i in (0, 1)]
    return [
        Compared(dict(zip(rest, key, strict=True)), seeds, *both, *holm)
        for (key, (seeds, _)), both, holm in zip(pairs.items(), differences, zip(*adjusted, strict=True), strict=True)
    ]


def _difference(ours: Sequence[Measured], theirs: Sequence[Measured]) -> tuple[PairedDifference, PairedDifference]:
    if ours[0].predictions is None:
        reached = [[item.cell.scores["accuracy"]["student"] or 0.0 for item in items] for items in (ours, theirs)]
        nothing = PairedDifference(None, None, None, None, None, "it needs predictions, not accuracies alone", "seeds")
        return metrics.paired_seeds(*reached), nothing
    a, b = triples(ours), triples(theirs)
    return metrics.paired_difference(a, b), metrics.paired_pgr(a, b)
