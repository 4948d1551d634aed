"""How an experiment uses the devices that are there, where it does not say so itself."""

import dataclasses
import functools
from collections.abc import Sequence

import jax
from jax.sharding import Mesh

from w2s_jax.config import MeshConfig
from w2s_jax.data.task_data import TaskData
from w2s_jax.models.target import Target, target
from w2s_jax.plan import fitting
from w2s_jax.runtime.sharding import make_mesh
from w2s_jax.stages.base import Stage
from w2s_jax.train.learner import Learner


def mesh(config: MeshConfig, stages: Sequence[Stage]) -> Mesh | None:
    """All devices, as the config arranges them; None is one device alone.

    Where the config is the default and a device cannot hold the largest model, parameters are sharded over as few
    devices as hold it.
    """
    if jax.device_count() == 1:
        return None
    available = memory()
    if config == MeshConfig() and available is not None:
        found = [each for each in map(_footprint, stages) if each is not None]
        shards = max((fitting.shards(each, available, jax.device_count()) for each in found), default=1)
        config = dataclasses.replace(config, fsdp=shards)
    return make_mesh(**dataclasses.asdict(config))


def holds(stage: Stage) -> int:
    """How many finetunings like this one device trains at once: as many as its memory holds; of a CPU, which one fills
    already, one."""
    available = memory()
    found = None if available is None else _footprint(stage)
    return 1 if found is None or available is None else fitting.jobs(found, available)


def memory() -> int | None:
    """Bytes that this process may use of an accelerator's memory; None on a CPU."""
    (device, *_) = jax.local_devices()
    if device.platform == "cpu":
        return None
    limit: int | None = (device.memory_stats() or {}).get("bytes_limit")
    return limit


def _footprint(stage: Stage) -> fitting.Footprint | None:
    """Traced once for all stages that differ in nothing that it depends on."""
    program = None if stage.learner is None else stage.learner.program
    return _traced(program, stage.task, target(), stage.role == "adapted")


@functools.lru_cache(maxsize=64)
def _traced(learner: Learner | None, task: TaskData, target: Target, adapts: bool) -> fitting.Footprint | None:
    return fitting.footprint(learner, task, target, adapts=adapts)
