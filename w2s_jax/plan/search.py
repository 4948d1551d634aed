"""The nearest setting that fits, where the one that was asked for does not."""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from w2s_jax.config import MeshConfig
from w2s_jax.plan.compilation import Compiled, Request

MOST_COMPILES = 12
MOST_TENSOR = 8


@dataclass(frozen=True)
class Nearest:
    """The first setting that fits, and where it differs from what was asked for."""

    changes: tuple[str, ...]
    request: Request
    compiled: Compiled


def nearest(request: Request, compiled: Compiled, compile_for: Callable[[Request], Compiled]) -> Nearest | None:
    """Changes one setting after the other, each on top of those before, until the program fits; None if none does.

    The order is that of `changes`. At most `MOST_COMPILES` programs are compiled.

    Args:
      compiled: the program of `request`, which does not fit.
    """
    asked, first = request, compiled
    for _ in range(MOST_COMPILES):
        change = next(changes(request, compiled, asked.learner.microbatches, first.mesh.tensor), None)
        if change is None:
            return None
        request, compiled = change, compile_for(change)
        if compiled.fits:
            return Nearest(_differences(asked, first, request), request, compiled)
    return None


def changes(request: Request, compiled: Compiled, microbatches: int, tensor: int) -> Iterator[Request]:
    """What could be changed next, from what changes no result and costs little to what changes the result.

    1. `fsdp`: parameters and optimizer are sharded over all devices.
    2. `remat`: dots, then full.
    3. `microbatches`: two, four, ... times as many: the first that could fit if all temporaries were activations, as
       long as each device has a row of each.
    4. `tensor`: matrices are sharded, over twice as many devices each time, up to 8.
    5. `dtype`: bfloat16.
    6. `parameters`: adapters (LoRA) instead of all; `microbatches` and `tensor` are again as they were asked for.

    Where what training holds alone exceeds the memory, only what shrinks them is tried: 1 and 6.
    """
    learner, mesh, training = request.learner, compiled.mesh, request.kind != "label"
    assert compiled.available is not None
    held = compiled.held
    too_large, room = held > compiled.available, compiled.available - held

    def learn(**fields: Any) -> Request:
        return dataclasses.replace(request, learner=dataclasses.replace(learner, **fields))

    def cut(changed: Request, ways: int) -> Request:
        shards = compiled.devices // (ways * mesh.expert)
        return dataclasses.replace(changed, mesh=MeshConfig(1, shards, ways, mesh.expert))

    if mesh.data > 1:
        yield cut(request, mesh.tensor)
    if training and not too_large:
        if learner.remat != "full":
            yield learn(remat="dots" if learner.remat == "none" else "full")
        pieces = 2 * learner.microbatches
        while pieces * room < learner.microbatches * (compiled.needed - held) and pieces < compiled.rows:
            pieces *= 2
        if compiled.rows % (pieces * mesh.data * mesh.fsdp * mesh.expert) == 0:
            yield learn(microbatches=pieces)
    if not too_large:
        if mesh.tensor < MOST_TENSOR and compiled.devices % (2 * mesh.tensor * mesh.expert) == 0:
            yield cut(request, 2 * mesh.tensor)
        if learner.dtype != "bfloat16":
            yield learn(dtype="bfloat16")
    if training and learner.parameters == "full":
        changed = learn(parameters="lora", microbatches=microbatches)
        yield cut(changed, tensor)


def _differences(asked: Request, first: Compiled, found: Request) -> tuple[str, ...]:
    """`name=value` of each setting that is another than was asked for."""
    pairs: list[tuple[Any, Any, tuple[str, ...]]] = []
    if found.mesh != asked.mesh:
        pairs.append((first.mesh, found.mesh, ("fsdp", "tensor")))
    pairs.append((asked.learner, found.learner, ("remat", "microbatches", "dtype", "parameters")))
    return tuple(
        f"{name}={getattr(now, name)}"
        for before, now, names in pairs
        for name in names
        if getattr(before, name) != getattr(now, name)
    )
