"""A plan as tables to read, and as JSON."""

import dataclasses
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from w2s_jax.config import MeshConfig
from w2s_jax.plan import PlannedStep
from w2s_jax.plan.accounting import PARTS
from w2s_jax.plan.compilation import Compiled, Request
from w2s_jax.plan.roofline import Roofline
from w2s_jax.runtime import files

ESTIMATE = ": an estimate, nothing was compiled"
NAMES = {"train": "training step", "label": "labelling step", "adapt": "generative finetuning step"}


def show(steps: Sequence[PlannedStep]) -> None:
    """One table for each learner: a row a figure, a column a step, and another for the nearest setting that fits."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, soft_wrap=True)
    for stages, group in groupby(steps, lambda step: step.stages):
        mine = list(group)
        columns = [column for step in mine for column in _columns(step)]
        labels = list(dict.fromkeys(label for _, rows in columns for label in rows))
        table = Table("each chip, one step", *(title for title, _ in columns), box=SIMPLE, title_justify="left")
        for label in labels:
            table.add_row(label, *(rows.get(label, "") for _, rows in columns))
        title = f"{', '.join(stages)}: {mine[0].request.learner.model} on {mine[0].request.topology.name}"
        console.print(title + (ESTIMATE if mine[0].compiled.is_estimate else ""))
        console.print(table)
        for step in mine:
            if step.reason:
                console.print(f"The {NAMES[step.kind]} does not fit: {step.reason}.\n{_advice(step)}\n")


def as_json(steps: Sequence[PlannedStep]) -> list[dict[str, Any]]:
    """Every figure of the tables, in bytes, seconds and FLOPs, and whether they are estimates."""
    return [{"estimate": step.compiled.is_estimate, **files.as_json(step)} for step in steps]


def _advice(step: PlannedStep) -> str:
    if step.nearest is None:
        return "No nearby setting fits either; take a larger slice."
    return f"Nearest setting that fits: {', '.join(step.nearest.changes)}."


def _columns(step: PlannedStep) -> list[tuple[str, dict[str, str]]]:
    columns = [(NAMES[step.kind], _rows(step.request, step.compiled, step.roofline))]
    if step.nearest:
        rows = _rows(step.nearest.request, step.nearest.compiled, step.nearest_roofline)
        columns.append(("nearest that fits", rows))
    return columns


def _rows(request: Request, compiled: Compiled, bound: Roofline | None) -> dict[str, str]:
    learner, mesh = request.learner, compiled.mesh
    pieces = f" in {learner.microbatches}" if request.kind != "label" and learner.microbatches > 1 else ""
    memory = f"{_gib(compiled.needed)}" + (f" of {_gib(compiled.available)}" if compiled.available else "")
    rows = {
        **_mesh(mesh),
        "batch x tokens": f"{compiled.rows}{pieces} x {compiled.length}",
        **({"jobs together": str(request.jobs)} if request.jobs > 1 else {}),
        "trains, dtype, remat": f"{learner.parameters}, {learner.dtype}, {learner.remat}",
        "memory, GiB": memory,
        "  parameters": _gib(compiled.parameters),
        "  optimizer": _gib(compiled.optimizer),
        **({f"  {part}": _gib(getattr(compiled.account, part)) for part in PARTS} if compiled.account else {}),
        "  held beside the program": _gib(compiled.resident),
        "fits": "yes" if compiled.fits else "NO",
    }
    if compiled.costs:
        rows |= {"matrix TFLOPs": f"{compiled.costs.flops / 1e12:.3f}", "HBM traffic, GB": _gb(compiled.costs.bytes)}
        for each in compiled.costs.collectives:
            rows[each.kind] = f"{each.times} times, {_gb(each.received)} GB"
    if bound:
        times = (bound.compute, bound.memory, bound.network)
        rows |= {
            "at least, ms": f"{bound.seconds * 1e3:.1f} ({bound.limit})",
            **({"  for each job": f"{bound.seconds / request.jobs * 1e3:.2f}"} if request.jobs > 1 else {}),
            "  compute, memory, network": " / ".join(f"{t * 1e3:.1f}" for t in times),
            "MFU at most": f"{bound.mfu:.0%}",
        }
    return rows | {f"{'estimated' if compiled.is_estimate else 'compiled'} in, s": f"{compiled.seconds:.0f}"}


def _mesh(mesh: MeshConfig) -> dict[str, str]:
    """Only where experts are sharded is their axis named."""
    sizes = dataclasses.asdict(mesh)
    shown = [name for name in sizes if name != "expert" or mesh.expert > 1]
    return {" x ".join(shown): " x ".join(str(sizes[name]) for name in shown)}


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f}"


def _gb(size: float) -> str:
    return f"{size / 1e9:.3g}"
