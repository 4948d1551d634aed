"""How many finetunings a device holds at once, and over how many devices one that is too large must be sharded.

By the account of a traced step (`accounting`), before anything is on a device.
"""

import dataclasses
from typing import NamedTuple

import jax

from w2s_jax import models
from w2s_jax.data import arrays
from w2s_jax.data.task_data import TaskData
from w2s_jax.models.target import Target, pretending
from w2s_jax.plan import lowering
from w2s_jax.plan.accounting import account
from w2s_jax.plan.estimation import flash
from w2s_jax.runtime import sharding
from w2s_jax.students import Train
from w2s_jax.train import together
from w2s_jax.train.learner import Learner
from w2s_jax.train.reading import tokenize

SPARE = 0.1  # of a device's memory, left for what the account does not know
MOST = 16  # jobs of one device: more would be saved and resumed together; no speed was measured


class Footprint(NamedTuple):
    """Bytes that training holds on one device.

    Attributes:
      shared: parameters that do not train, and, where jobs are computed one after another, gradients and activations.
      own: each job's parameters, moments and copies, and, where jobs are computed at the same time, the rest.
    """

    shared: int
    own: int


def footprint(learner: Learner | None, task: TaskData, target: Target, *, adapts: bool = False) -> Footprint | None:
    """Of finetuning a model on texts as long as the task's; None where none is finetuned.

    Args:
      target: the device.
      adapts: it is the generative finetuning that the learner begins with.
    """
    if learner is None or learner.parameters == "probe" or arrays.is_array(learner.model):
        return None
    tokens = tokenize(learner, task.texts)
    learner = dataclasses.replace(learner, max_tokens=int(tokens.lengths.max()))
    kind: lowering.Kind = "adapt" if adapts else "train"
    config, n_classes = models.outline(learner.model)[0], task.n_classes
    setting = lowering.Setting(kind, learner, config, n_classes, tokens.candidates, Train().bound())
    mesh = sharding.make_mesh(devices=jax.local_devices()[:1])
    with pretending(target, flash):
        step = lowering.lower(setting, mesh)
    leaves = jax.tree.leaves(step.trainable)
    gradients = {(leaf.shape, str(leaf.dtype)): 1.0 for leaf in leaves}
    temporary = account(step.traced.jaxpr, gradients, 0, widens=target.platform == "tpu").held
    shared = lowering.bytes_on_device(step.frozen)
    own = step.parameters - shared + step.optimizer + step.resident
    batched = target.platform in together.BATCHED
    return Footprint(shared, own + temporary) if batched else Footprint(shared + temporary, own)


def jobs(found: Footprint, available: int) -> int:
    """How many jobs a device with so many bytes holds, at most `MOST`; 0 is not even one.

    >>> jobs(Footprint(shared=10, own=20), available=100), jobs(Footprint(0, 200), 100)
    (4, 0)
    """
    return max(0, min(MOST, (int((1 - SPARE) * available) - found.shared) // max(found.own, 1)))


def shards(found: Footprint, available: int, devices: int) -> int:
    """Over how many of so many devices, a divisor of their number, a job must be sharded to fit; all, if none does.

    >>> shards(Footprint(shared=100, own=200), 100, 8), shards(Footprint(10, 20), 100, 8)
    (4, 1)
    """
    divisors = (each for each in range(1, devices + 1) if devices % each == 0)
    return next((each for each in divisors if sum(found) <= each * (1 - SPARE) * available), devices)
