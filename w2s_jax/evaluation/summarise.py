"""Cells over their seeds: means with errors, PGR with its interval, and every method compared with the first."""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from w2s_jax import metrics
from w2s_jax.evaluation.one_cell import Measured, bins_of
from w2s_jax.evaluation.results import Cell, Comparison, CurvePoint, Mean, Score, Summary
from w2s_jax.metrics import PGR, ROLES, Agreement, FixedPGR, PairedDifference, Statistic, Triple


class Summarised(NamedTuple):
    """Summaries over seeds, every method compared with the first one, and every other two."""

    summaries: tuple[Summary, ...]
    comparisons: tuple[Comparison, ...]
    pairs: tuple[Comparison, ...]


def summarise(measured: Sequence[Measured]) -> Summarised:
    """Cells over their seeds."""
    grouped: dict[tuple[str, str, str], dict[str, list[Measured]]] = {}
    for item in measured:
        cell = item.cell
        methods = grouped.setdefault((cell.task, cell.supervisor, cell.student), {})
        methods.setdefault(cell.method, []).append(item)
    summaries, comparisons, pairs = [], [], []
    for key, methods in grouped.items():
        baseline, *others = methods
        everywhere = [item.cell for items in methods.values() for item in items]
        summaries += [_summary(key, method, items, everywhere) for method, items in methods.items()]
        comparisons += [_comparison(key, method, baseline, methods[method], methods[baseline]) for method in others]
        pairs += [
            _comparison(key, later, earlier, methods[later], methods[earlier])
            for earlier, later in itertools.combinations(others, 2)
        ]
    return Summarised(tuple(summaries), adjusted(comparisons), adjusted(pairs))


def _summary(key: tuple[str, str, str], method: str, items: Sequence[Measured], everywhere: Sequence[Cell]) -> Summary:
    """`everywhere`: the cells of all methods."""
    cells = [item.cell for item in items]
    predictions = triples(items)
    labels = np.concatenate([each.labels for each in predictions])
    pooled = {role: np.concatenate([getattr(each, role) for each in predictions]) for role in ROLES}
    statistics: tuple[Statistic, ...] = ("accuracy", "auroc")
    similarity = {role: [cell.similarity[role] for cell in cells] for role in ("student", "ceiling")}
    pgr: dict[str, PGR] = {statistic: metrics.bounded(metrics.pgr(predictions, statistic)) for statistic in statistics}
    defined = pgr["accuracy"].value is not None
    stopping = _stopping(cells)
    return Summary(
        *key,
        method,
        tuple(cell.seed for cell in cells),
        scores={name: _mean_of_each(_by_role(cells, name)) for name in cells[0].scores},
        against_weak=_mean_of_each({name: [cell.against_weak[name] for cell in cells] for name in cells[0].scores}),
        pgr=pgr,
        fixed_pgr=_fixed_pgr(cells, everywhere) if defined else None,
        agreement=Agreement(*(_defined_mean([cell.agreement[i] for cell in cells]) for i in range(3))),  # type: ignore[arg-type]
        similarity=_mean_of_each(similarity),
        reliability={role: bins_of(probs, labels) for role, probs in pooled.items()},
        curve=_mean_curve([cell.curve for cell in cells]),
        stopping=stopping,
        stopping_pgr={
            name: _stopped_pgr(stopping, name) if defined and stopping else None for name in ("weak", "last", "best")
        },
    )


def _mean_curve(curves: Sequence[Sequence[CurvePoint]]) -> tuple[CurvePoint, ...]:
    by_step = [{point.step: point for point in curve} for curve in curves]
    shared = sorted(set.intersection(*(set(points) for points in by_step)))
    return tuple(_mean_point([points[step] for points in by_step]) for step in shared)


def _mean_point(points: Sequence[CurvePoint]) -> CurvePoint:
    columns = zip(*(dataclasses.astuple(point)[1:] for point in points), strict=True)
    means = (None if None in column else float(np.mean(column)) for column in columns)
    return CurvePoint(points[0].step, *means)  # type: ignore[arg-type]


def _stopping(cells: Sequence[Cell]) -> dict[str, Mean]:
    each = [dataclasses.asdict(cell.stopping) for cell in cells if cell.stopping is not None]
    if len(each) < len(cells):
        return {}
    kept = [next(p.truth_accuracy for p in cell.curve if p.step == cell.selected_step) for cell in cells]
    return {"selected": mean(kept), **{name: mean([values[name] for values in each]) for name in each[0]}}


def _stopped_pgr(stopping: Mapping[str, Mean], name: str) -> float | None:
    return metrics.pgr_of(*(stopping[each].value for each in ("supervisor", name, "ceiling")))


def _fixed_pgr(cells: Sequence[Cell], everywhere: Sequence[Cell]) -> FixedPGR | None:
    by_seed = {cell.seed: _accuracy(cell) for cell in everywhere}
    weak, ceiling = ([accuracy[role] for accuracy in by_seed.values()] for role in ("supervisor", "ceiling"))
    found = metrics.fixed_pgr(weak, [_accuracy(cell)["student"] for cell in cells], ceiling)
    return None if found.value is None else found


def _accuracy(cell: Cell) -> dict[str, float]:
    """By role."""
    return {role: value for role, value in cell.scores["accuracy"].items() if value is not None}


def _by_role(cells: Sequence[Cell], metric: str) -> dict[str, list[Score]]:
    return {role: [cell.scores[metric][role] for cell in cells] for role in ROLES}


def _mean_of_each(columns: Mapping[str, Sequence[Score]]) -> dict[str, Mean]:
    """What is undefined for a seed is left out."""
    return {name: mean(values) for name, values in columns.items() if None not in values}  # type: ignore[arg-type]


def triples(items: Sequence[Measured]) -> list[Triple]:
    """The predictions of measured cells."""
    found = [item.predictions for item in items if item.predictions is not None]
    assert len(found) == len(items)
    return found


def mean(values: Sequence[float]) -> Mean:
    """With its standard error."""
    error = float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None
    return Mean(float(np.mean(values)), error)


def _defined_mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None


def _comparison(
    key: tuple[str, str, str],
    method: str,
    baseline: str,
    ours: Sequence[Measured],
    theirs: Sequence[Measured],
) -> Comparison:
    """A cell that failed leaves its seed out, for both methods."""
    of_method, of_baseline = ({item.cell.seed: item for item in items} for items in (ours, theirs))
    seeds = tuple(seed for seed in of_baseline if seed in of_method)
    if not seeds:
        reason = "the two methods have no seed in common"
        nothing = metrics.PairedDifference(None, None, None, None, None, reason)
        return compared(key, method, baseline, (), nothing)
    a, b = ([items[seed] for seed in seeds] for items in (of_method, of_baseline))
    found = metrics.paired_difference(triples(a), triples(b))
    return compared(key, method, baseline, seeds, found)


def compared(
    key: tuple[str, str, str], method: str, baseline: str, seeds: tuple[int, ...], found: PairedDifference
) -> Comparison:
    """A difference as the results hold it, its p-value not yet adjusted."""
    return Comparison(
        *key,
        method,
        baseline,
        seeds,
        difference=found.value,
        low=found.low,
        high=found.high,
        p=found.p,
        p_holm=None,
        tests=found.tests,
        reason=found.reason,
        over=found.over,
    )


def adjusted(comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """The same with their p-values adjusted among themselves."""
    found = metrics.holm([comparison.p for comparison in comparisons])
    return tuple(dataclasses.replace(c, p_holm=p) for c, p in zip(comparisons, found, strict=True))
