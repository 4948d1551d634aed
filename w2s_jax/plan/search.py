"""The nearest setting that fits, where the one that was asked for does not."""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from w2s_jax.config import MeshConfig
from w2s_jax.plan.compilation import Compiled, Request
from w2s_jax.train.learner import Learner

MOST_COMPILES = 12
MOST_TENSOR = 8


@dataclass(frozen=True)
class Nearest:
    """The first setting that fits, and what was changed for it, in order."""

    changes: tuple[str, ...]
    request: Request
    compiled: Compiled


def nearest(request: Request, compiled: Compiled, compile_for: Callable[[Request], Compiled]) -> Nearest | None:
    """Changes one setting after the other, each on top of those before, until the program fits; None if none does.

    The order is that of `changes`. At most `MOST_COMPILES` programs are compiled.

    Args:
      compiled: the program of `request`, which does not fit.
    """
    made: list[str] = []
    for _ in range(MOST_COMPILES):
        change = next(changes(request, compiled), None)
        if change is None:
            return None
        name, request = change
        made.append(name)
        compiled = compile_for(request)
        if compiled.fits:
            return Nearest(_last_of_each(made), request, compiled)
    return None


def changes(request: Request, compiled: Compiled) -> Iterator[tuple[str, Request]]:
    """What could be changed next, from what changes no result and costs little to what changes the result.

    1. `fsdp`: parameters and optimizer are cut over all devices.
    2. `remat`: dots, then full.
    3. `microbatches`: two, four, ... times as many: the first that could fit if all temporaries were activations, as
       long as each device has a row of each.
    4. `tensor`: matrices are cut, over twice as many devices each time, up to 8.
    5. `dtype`: bfloat16.
    6. `parameters`: adapters (LoRA) instead of all.

    Where parameters and optimizer alone exceed the memory, only what shrinks them is tried: 1 and 6.
    """
    learner, mesh, training = request.learner, compiled.mesh, request.kind == "train"
    assert compiled.available is not None
    held = compiled.parameters + compiled.optimizer
    too_large, room = held > compiled.available, compiled.available - held

    def learn(name: str, value: Any) -> tuple[str, Request]:
        changed: Learner = dataclasses.replace(learner, **{name: value})
        return f"{name}={value}", dataclasses.replace(request, learner=changed)

    def cut(name: str, tensor: int) -> tuple[str, Request]:
        changed = MeshConfig(1, compiled.devices // tensor, tensor)
        return f"{name}={getattr(changed, name)}", dataclasses.replace(request, mesh=changed)

    if mesh.data > 1:
        yield cut("fsdp", mesh.tensor)
    if training and not too_large:
        if learner.remat != "full":
            yield learn("remat", "dots" if learner.remat == "none" else "full")
        pieces = 2 * learner.microbatches
        while pieces * room < learner.microbatches * (compiled.used - held) and pieces < learner.batch_size:
            pieces *= 2
        if learner.batch_size % (pieces * mesh.data * mesh.fsdp) == 0:
            yield learn("microbatches", pieces)
    if not too_large:
        if mesh.tensor < MOST_TENSOR and compiled.devices % (2 * mesh.tensor) == 0:
            yield cut("tensor", 2 * mesh.tensor)
        if learner.dtype != "bfloat16":
            yield learn("dtype", "bfloat16")
    if training and learner.parameters == "full":
        yield learn("parameters", "lora")


def _last_of_each(made: list[str]) -> tuple[str, ...]:
    """Of several changes of one setting, the last."""
    return tuple({change.partition("=")[0]: change for change in made}.values())
