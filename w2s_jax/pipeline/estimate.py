"""About how long an experiment will take: from stages like it that are done, or else from its arithmetic."""

import functools
import statistics
import time
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from w2s_jax.pipeline.store import MANIFEST, Store
from w2s_jax.runtime import files
from w2s_jax.stages.base import Stage

EFFICIENCY = 0.5  # of a plain matrix product's speed that a model reaches
LEAST_SECONDS = 0.05  # of any stage


class Estimate(NamedTuple):
    """Stages in all and those done, and about how many seconds the others take."""

    stages: int
    done: int
    seconds: float


def estimate(stages: Sequence[Stage], store: Store) -> Estimate:
    """What is left of these stages. The first time, the speed of this machine is measured for a moment."""
    done = [stage for stage in stages if store.done(stage.name)]
    left = [stage for stage in stages if not store.done(stage.name)]
    known = _known(done, store)
    unknown = [stage for stage in left if stage.kind not in known]
    seconds = sum(known[stage.kind] for stage in left if stage.kind in known) + _arithmetic(unknown)
    return Estimate(len(stages), len(done), seconds)


def _known(done: Sequence[Stage], store: Store) -> dict[str, float]:
    """Mean seconds of the finished stages of each kind."""
    seconds: dict[str, list[float]] = {}
    for stage in done:
        made = files.read_json(store.folder(stage.name) / MANIFEST)["made"]
        seconds.setdefault(stage.kind, []).append(made["seconds"])
    return {kind: statistics.mean(found) for kind, found in seconds.items()}


def _arithmetic(stages: Sequence[Stage]) -> float:
    """Seconds by FLOPs; what several stages share counts once."""
    if not stages:
        return 0.0
    own, shared = 0.0, dict[Hashable, float]()
    for stage in stages:
        work = list(stage.work())
        own += max(sum(each.flops for each in work if each.shared is None) / _speed(), LEAST_SECONDS)
        shared |= {each.shared: each.flops for each in work if each.shared is not None}
    return own + sum(shared.values()) / _speed()


@functools.cache
def _speed() -> float:
    """Useful FLOP/s of all devices together."""
    size = 1024
    product = jax.jit(lambda x: x @ x)
    x = jax.device_put(np.ones((size, size), np.float32))
    product(x).block_until_ready()
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        product(x).block_until_ready()
        best = min(best, time.perf_counter() - started)
    devices = 1 if jax.default_backend() == "cpu" else jax.device_count()
    return EFFICIENCY * devices * 2 * size**3 / best
