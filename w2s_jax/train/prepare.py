"""From a learner to what trains: module, parameters that train and that do not, state, compiled steps.

Training has arrays (`from_pretrained`); planning gets the same as shapes (`from_config`).
"""

import functools
from collections.abc import Callable, Hashable, Sequence
from itertools import zip_longest
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AbstractMesh, Mesh
from jaxtyping import Float

from w2s_jax import models
from w2s_jax.data import batching
from w2s_jax.data.batching import Batch, EvalBatches, TrainBatches
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
from w2s_jax.train.step import Predict, StepMetrics, TrainStep, make_predict, make_train_step
from w2s_jax.train.together import Jobs, Stack

EVAL_BATCH = 64


class Prepared(NamedTuple):
    """What a loop needs before its first step: arrays, or, for a plan, shapes with shardings.

    Attributes:
      state: with the parameters that train.
      frozen: those that do not.
      predict: gives logits over classes.
      jobs: those that train together: state and parameters have a leading axis of them; None is one alone.
      which: the place of each one's loss among all that they have.
    """

    module: Model
    state: TrainState
    frozen: Params
    step: TrainStep
    predict: Predict
    jobs: Jobs | None = None
    which: tuple[int, ...] = (0,)

    def learn(
        self, state: TrainState, frozen: Params, batches: Sequence[tuple[Batch, np.ndarray]]
    ) -> tuple[TrainState, StepMetrics]:
        """One step, on a batch for each job, and the targets of its rows."""
        if self.jobs is None:
            ((batch, targets),) = batches
            return self.step(state, frozen, batch.tokens, batch.lengths, targets, batch.rows >= 0)
        batch, spare = batching.stack([batch for batch, _ in batches], self.jobs.count), self.jobs.count - len(batches)
        targets = np.stack([*(targets for _, targets in batches), *[np.ones_like(batches[0][1])] * spare])
        which = np.array([*self.which, *[0] * spare], np.int32)
        return self.step(state, frozen, batch.tokens, batch.lengths, targets, batch.rows >= 0, which)

    def label(self, params: Params, splits: Sequence[Tokens], width: int) -> list[Float[np.ndarray, "n c"]]:
        """Logits of a split of each job.

        Args:
          width: how many logits there are of each example.
        """
        ways, most = sharding.batch_ways(sharding.mesh_of(params)), max(map(len, splits))
        logits = [np.zeros((len(tokens), width), np.float32) for tokens in splits]
        for batches in zip_longest(*(EvalBatches(tokens, EVAL_BATCH, ways, most) for tokens in splits)):
            batch = batches[0] if self.jobs is None else batching.stack(batches, self.jobs.count)
            found = np.asarray(self.predict(params, self.frozen, batch.tokens, batch.lengths))
            rows, found = np.atleast_2d(batch.rows), found.reshape(-1, *found.shape[-2:])
            for place, out in enumerate(logits):
                real = rows[place] >= 0
                out[rows[place][real]] = found[place][real]
        return logits


def batches(learner: Learner, tokens: Tokens, seed: int, mesh: Mesh | AbstractMesh | None) -> TrainBatches:
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
    learners: Sequence[Learner],
    output: Output,
    starts: Sequence[Callable[[], Pretrained]],
    losses: Sequence[BoundLoss],
    *,
    n_classes: int,
    candidates: int,
    total_steps: int,
    seeds: Sequence[int],
    mesh: Mesh | None = None,
) -> Prepared:
    """What trains a model as a learner says; or several, as one program, as learners of one `Learner.program` say.

    Args:
      starts: give what is trained, whose arrays on devices are consumed: one for all learners, or one for each.
      losses: of each, of class scores, from `losses.bind`.
      seeds: of each one's new parameters and dropout.
      mesh: the devices that parameters and batches are sharded over; None is one device.

    Raises:
      UserError: the model, or the task, has no such output.
    """
    keys = [jax.random.split(jax.random.key(seed)) for seed in seeds]
    jobs = Jobs.of(len(learners), mesh, one_start=len(starts) == 1)
    states, kept = Stack(jobs), Stack(None if len(starts) == 1 else jobs)
    shares = [range(len(learners))] if len(starts) == 1 else [range(place, place + 1) for place in range(len(learners))]
    for share, start in zip(shares, starts, strict=True):
        pretrained = start()
        module = output.module(learners[0], pretrained.config, n_classes, candidates)
        made = models.with_pretrained_each(module, pretrained, [keys[place][0] for place in share], mesh=mesh)
        del pretrained
        for place in share:
            trainable, frozen = parameter_sets.partition(made.pop(0), output.rules(learners[0]))
            tx, last = optimizer(learners[place], total_steps), place == share[-1]  # all of a share are the same arrays
            states.add(train_state.create(trainable, tx, keys[place][1], donate=last))
            if place == share[0]:
                kept.add(jax.tree.map(jnp.asarray, frozen))
            del trainable, frozen
    shardings = None if mesh is None else train_state.state_shardings(states.whole)
    distinct = tuple(dict.fromkeys(losses))
    compiled = steps(learners[0], output, module, distinct, total_steps, shardings, jobs)
    return Prepared(module, states.whole, kept.whole, *compiled, jobs, tuple(map(distinct.index, losses)))


def from_config(
    learner: Learner,
    output: Output,
    config: ModelConfig,
    loss: BoundLoss,
    *,
    n_classes: int,
    candidates: int,
    total_steps: int,
    mesh: Mesh | AbstractMesh,
    jobs: Jobs | None = None,
) -> Prepared:
    """What `from_pretrained` gives for a backbone of this config, as shapes with shardings: no parameter exists.

    Raises:
      UserError: as `from_pretrained`.
    """
    module = output.module(learner, config, n_classes, candidates)
    trainable, frozen = parameter_sets.partition(models.placed_shapes(module, mesh), output.rules(learner))
    state = train_state.abstract(trainable, optimizer(learner, total_steps))
    if jobs is not None:
        state = jobs.stacked(state)
    shardings = train_state.state_shardings(state)
    return Prepared(module, state, frozen, *steps(learner, output, module, (loss,), total_steps, shardings, jobs), jobs)


def optimizer(learner: Learner, total_steps: int) -> optax.GradientTransformation:
    """The learner's optimizer, whose schedules end after so many steps."""
    return _optimizer(learner.optimizer, total_steps)


def steps(
    learner: Learner,
    output: Output,
    module: Model,
    losses: tuple[BoundLoss, ...],
    total_steps: int,
    shardings: TrainState | None = None,
    jobs: Jobs | None = None,
) -> tuple[TrainStep, Predict]:
    """The jitted training step and the jitted pass that labels.

    Args:
      losses: one; with `jobs` all that they have.
      shardings: of the state, if it is on a mesh.
    """
    leaves, structure = (None, None) if shardings is None else jax.tree.flatten(shardings)
    placed = None if leaves is None else tuple(leaves)
    return compiled_steps(
        output, module, losses, learner.optimizer.program, learner.microbatches, total_steps, placed, structure, jobs
    )


@functools.lru_cache(maxsize=12)
def compiled_steps(
    output: Output,
    module: Model,
    losses: tuple[BoundLoss, ...],
    settings: OptimizerConfig,
    microbatches: int,
    total_steps: int,
    leaves: tuple[jax.sharding.Sharding, ...] | None,
    structure: Hashable,
    jobs: Jobs | None,
) -> tuple[TrainStep, Predict]:
    """Those of `steps`; seeds, splits and learning rates share them: each compiles once. Shardings come flattened."""
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
        [output.loss(loss) for loss in losses] if jobs is not None else output.loss(losses[0]),
        _optimizer(settings, total_steps),
        total_steps=total_steps,
        microbatches=microbatches,
        packed=True,
        shardings=shardings,
        jobs=jobs,
    )
    return step, make_predict(label, None if shardings is None else shardings.step.mesh, jobs)


def _optimizer(settings: OptimizerConfig, total_steps: int) -> optax.GradientTransformation:
    return make_optimizer(settings, total_steps, head_mask=parameter_sets.head_mask)
