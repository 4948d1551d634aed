"""From a learner to what trains: module, parameters that train and that do not, state, compiled steps.

Training has arrays (`from_pretrained`); planning gets the same as shapes (`from_config`).
"""

import functools
from collections.abc import Hashable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from w2s_jax import models
from w2s_jax.data.batching import TrainBatches
from w2s_jax.data.tokens import Tokens
from w2s_jax.losses.base import BoundLoss
from w2s_jax.models import Pretrained
from w2s_jax.models import params as parameter_sets
from w2s_jax.models.config import ModelConfig
from w2s_jax.models.packing import Packing
from w2s_jax.models.params import Params
from w2s_jax.models.shapes import Model
from w2s_jax.runtime import sharding
from w2s_jax.train import state as train_state
from w2s_jax.train.learner import Learner
from w2s_jax.train.optimizer import OptimizerConfig, make_optimizer
from w2s_jax.train.outputs import Output
from w2s_jax.train.state import TrainState
from w2s_jax.train.step import Predict, TrainStep, make_predict, make_train_step


class Prepared(NamedTuple):
    """What a loop needs before its first step: arrays, or, for a plan, shapes with shardings.

    Attributes:
      state: with the parameters that train.
      frozen: those that do not.
      predict: gives logits over classes.
    """

    module: Model
    state: TrainState
    frozen: Params
    step: TrainStep
    predict: Predict


def batches(learner: Learner, tokens: Tokens, seed: int, mesh: Mesh | None) -> TrainBatches:
    """What the learner trains on, in the order of its steps."""
    return TrainBatches(
        tokens,
        learner.batch_size,
        seed=seed,
        epochs=learner.epochs,
        ways=sharding.batch_ways(mesh),
        microbatches=learner.microbatches,
    )


def from_pretrained(
    learner: Learner,
    output: Output,
    pretrained: Pretrained,
    loss: BoundLoss,
    *,
    n_classes: int,
    candidates: int,
    total_steps: int,
    seed: int,
    mesh: Mesh | None = None,
) -> Prepared:
    """What trains `pretrained` as the learner says. Its arrays on devices are consumed.

    Args:
      loss: of class scores, from `losses.bind`.
      seed: of new parameters and of dropout.
      mesh: the devices that parameters and batches are sharded over; None is one device.

    Raises:
      UserError: the model, or the task, has no such output.
    """
    key_params, key_state = jax.random.split(jax.random.key(seed))
    module = output.module(learner, pretrained.config, n_classes, candidates)
    params = models.with_pretrained(module, pretrained, rng=key_params, mesh=mesh)
    trainable, frozen = parameter_sets.partition(params, output.rules(learner))
    del params
    state = train_state.create(trainable, optimizer(learner, total_steps), key_state, donate=True)
    frozen = jax.tree.map(jnp.asarray, frozen)
    shardings = None if mesh is None else train_state.state_shardings(state)
    return Prepared(module, state, frozen, *steps(learner, output, module, loss, total_steps, shardings))


def from_config(
    learner: Learner,
    output: Output,
    config: ModelConfig,
    loss: BoundLoss,
    *,
    n_classes: int,
    candidates: int,
    total_steps: int,
    mesh: Mesh,
) -> Prepared:
    """What `from_pretrained` gives for a backbone of this config, as shapes with shardings: no parameter exists.

    Raises:
      UserError: as `from_pretrained`.
    """
    module = output.module(learner, config, n_classes, candidates)
    trainable, frozen = parameter_sets.partition(models.placed_shapes(module, mesh), output.rules(learner))
    state = train_state.abstract(trainable, optimizer(learner, total_steps))
    shardings = train_state.state_shardings(state)
    return Prepared(module, state, frozen, *steps(learner, output, module, loss, total_steps, shardings))


def optimizer(learner: Learner, total_steps: int) -> optax.GradientTransformation:
    """The learner's optimizer, whose schedules end after so many steps."""
    return _optimizer(learner.optimizer, total_steps)


def steps(
    learner: Learner,
    output: Output,
    module: Model,
    loss: BoundLoss,
    total_steps: int,
    shardings: TrainState | None = None,
) -> tuple[TrainStep, Predict]:
    """The jitted training step and the jitted pass that labels.

    Args:
      shardings: of the state, if it is on a mesh.
    """
    leaves, structure = (None, None) if shardings is None else jax.tree.flatten(shardings)
    placed = None if leaves is None else tuple(leaves)
    return compiled_steps(output, module, loss, learner.optimizer, learner.microbatches, total_steps, placed, structure)


@functools.lru_cache(maxsize=12)
def compiled_steps(
    output: Output,
    module: Model,
    loss: BoundLoss,
    settings: OptimizerConfig,
    microbatches: int,
    total_steps: int,
    leaves: tuple[jax.sharding.Sharding, ...] | None,
    structure: Hashable,
) -> tuple[TrainStep, Predict]:
    """Those of `steps`; seeds and splits share them, so each compiles once. Shardings come flattened."""
    shardings: TrainState | None = None if leaves is None else jax.tree.unflatten(structure, leaves)

    def apply(
        trainable: Params,
        frozen: Params,
        tokens: jax.Array,
        lengths: jax.Array,
        rng: jax.Array | None,
        packing: Packing | None = None,
    ) -> jax.Array:
        return output.logits(module, parameter_sets.combine(trainable, frozen), tokens, lengths, rng, packing)

    def label(trainable: Params, frozen: Params, tokens: jax.Array, lengths: jax.Array, rng: None) -> jax.Array:
        return output.label(module, parameter_sets.combine(trainable, frozen), tokens, lengths)

    step = make_train_step(
        apply,
        output.loss(loss),
        _optimizer(settings, total_steps),
        total_steps=total_steps,
        microbatches=microbatches,
        packed=True,
        shardings=shardings,
    )
    return step, make_predict(label, None if shardings is None else shardings.step.mesh)


def _optimizer(settings: OptimizerConfig, total_steps: int) -> optax.GradientTransformation:
    return make_optimizer(settings, total_steps, head_mask=parameter_sets.head_mask)
