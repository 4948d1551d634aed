"""The programs that a stage runs, traced from shapes: no parameter ever exists."""

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from jax.sharding import AbstractMesh, Mesh

from w2s_jax.data.batching import Batch, EvalBatches
from w2s_jax.data.tokens import Tokens
from w2s_jax.losses.base import BoundLoss
from w2s_jax.models import weights
from w2s_jax.models.config import ModelConfig
from w2s_jax.runtime import sharding
from w2s_jax.train import answering, generative, outputs, prepare, together
from w2s_jax.train import step as train_step
from w2s_jax.train.learner import Learner
from w2s_jax.train.outputs import Output
from w2s_jax.train.prepare import EVAL_BATCH, Prepared
from w2s_jax.train.together import Jobs

# Training, labelling, and the generative finetuning before them.
Kind = Literal["train", "label", "adapt"]
TOTAL_STEPS = 1000  # only schedules see it


class Setting(NamedTuple):
    """What decides a program, but for the mesh that it is for.

    Attributes:
      n_classes, candidates: of the task.
      jobs: how many train together, on `runtime.sharding.job_mesh` of the mesh.
    """

    kind: Kind
    learner: Learner
    config: ModelConfig
    n_classes: int
    candidates: int
    loss: BoundLoss
    jobs: int = 1


@dataclass(frozen=True)
class Held:
    """What a step's arguments hold, in bytes on each device.

    Attributes:
      rows: of a batch, over all devices.
      length: tokens of each row.
      parameters: with what the backbone and the head hold; those that are frozen do not train.
      weights: how many numbers these are.
      optimizer: its moments.
      resident: what else the devices hold while it runs: see `_resident`.
      model_flops: of one execution, over all devices.
      trainable, frozen: the parameters that train and those that do not, as shapes with shardings.
    """

    rows: int
    length: int
    parameters: int
    weights: int
    optimizer: int
    resident: int
    model_flops: float
    trainable: Any
    frozen: Any


@dataclass(frozen=True)
class LoweredStep(Held):
    """One step, traced but not compiled."""

    traced: jax.stages.Traced


def hold(setting: Setting, mesh: Mesh | AbstractMesh) -> Held:
    """What the arguments of `lower`'s program hold, without it; of the mesh nothing but its axes needs to exist.

    Raises:
      UserError: as `lower`.
    """
    return _prepare(setting, mesh)[0]


def lower(setting: Setting, mesh: Mesh) -> LoweredStep:
    """The training step of a learner, the pass that labels, or the step of its generative finetuning, as
    `train.finetune` and `train.generative` run them on this mesh.

    Every row is as long as the learner allows, padded and packed as training does it: no batch needs more.

    Raises:
      UserError: the mesh does not divide the batch; the model, or the task, has no such output.
    """
    held, prepared, batch, width = _prepare(setting, mesh)
    count = () if prepared.jobs is None else (prepared.jobs.count,)
    where = sharding.mesh_of(prepared.state)
    assert where is not None

    def on_mesh(array: np.ndarray) -> jax.ShapeDtypeStruct:
        found = together.batch_shardings(array, where) if count else sharding.batch_sharding(where)
        return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=found)

    tokens, lengths, rows = (np.broadcast_to(each, (*count, *each.shape)) for each in batch)
    state, frozen = prepared.state, prepared.frozen
    if setting.kind == "label":
        traced = train_step.trace(prepared.predict, state.params, frozen, on_mesh(tokens), on_mesh(lengths))
    else:
        targets = on_mesh(np.ones((*rows.shape, width), np.float32))
        which = [on_mesh(np.zeros(count, np.int32))] if count else []
        given = on_mesh(tokens), lengths, targets, on_mesh(rows >= 0), *which
        traced = train_step.trace(prepared.step, state, frozen, *given)
    return LoweredStep(**vars(held), traced=traced)


def _prepare(setting: Setting, mesh: Mesh | AbstractMesh) -> tuple[Held, Prepared, Batch, int]:
    """What is held, what trains it, a batch of each job, and the columns of its targets."""
    kind, learner, config, n_classes, candidates, loss, jobs = setting
    mesh = sharding.job_mesh(mesh, jobs) if jobs > 1 else mesh
    output = outputs.choose(learner, lambda: answering.stand_ins(n_classes))
    if kind == "adapt":
        (learner, output, loss), candidates = generative.objective(learner), 1  # each is a text of its own
    prepared = prepare.from_config(
        learner,
        output,
        config.cut(learner.read_layer),
        loss,
        n_classes=n_classes,
        candidates=candidates,
        total_steps=TOTAL_STEPS,
        mesh=mesh,
        jobs=Jobs.of(jobs, mesh, one_start=True),
    )
    trains, state, frozen = kind != "label", prepared.state, prepared.frozen
    length = min(learner.max_tokens, config.max_positions)
    batch = _batch(learner, length, candidates, mesh, trains)
    moments = bytes_on_device(state.opt_state)
    held = Held(
        len(batch.rows),
        length,
        parameters=bytes_on_device((state.params, frozen)),
        weights=sum(_on_device(leaf) for leaf in jax.tree.leaves((state.params, frozen))),
        optimizer=moments if trains else 0,
        resident=_resident(learner, bytes_on_device(state.params), moments, trains),
        model_flops=jobs
        * model_flops(output, learner, prepared.module.config, len(batch.rows) * candidates, length, trains=trains),
        trainable=state.params,
        frozen=frozen,
    )
    return held, prepared, batch, output.width(n_classes)


def _batch(learner: Learner, length: int, candidates: int, mesh: Mesh | AbstractMesh, trains: bool) -> Batch:
    """The first of a split whose texts all have this length.

    Raises:
      UserError: the devices do not divide it.
    """
    ways = sharding.batch_ways(mesh)
    rows = learner.batch_size if trains else EVAL_BATCH * ways
    count = rows * candidates
    texts = Tokens(np.zeros(count * length, np.int32), length * np.arange(count + 1), candidates)
    if not trains:
        return next(iter(EvalBatches(texts, rows)))
    train_step.check_rows(rows, learner.microbatches, ways)
    return prepare.batches(learner, texts, 0, mesh)[0]


def _resident(learner: Learner, trainable: int, moments: int, trains: bool) -> int:
    """Bytes that no argument holds: the best parameters so far, which training keeps from its first evaluation on, and
    the moments, which wait while it labels validation texts.

    When better ones are found there are two copies for a moment, but then no gradients: the step needs as much.
    """
    if learner.parameters == "probe":
        return 0
    best = trainable if learner.loop.select != "final" and learner.loop.evaluations > 1 else 0
    return best + (0 if trains else moments)


def model_flops(
    output: Output, learner: Learner, config: ModelConfig, rows: int, length: int, *, trains: bool = True
) -> float:
    """FLOPs that a batch needs however it is computed: `passes * rows * (2 N T + 2 V D S + 4 H P)`.

    N counts the weights of matrices that a token goes through (of its own experts, where there are several), embeddings
    apart, and T tokens; H is the width of all heads together, and P the pairs of tokens of which one sees the other,
    over all layers. `passes` is 1 to label; 3 to train all, 2 to train adapters and 1 to train a head. The
    language-model head, a matrix V x D, works on S places: all where texts are scored (a preference, generative
    finetuning), those of the answer where answers are written. DPO's reference is one more pass. Where scores depend on
    distances, which have B buckets a side, two products of each layer are of tokens and distances, `4 H T min(T, 2 B)`,
    and distances go through two matrices, once in a batch. What is rematerialized does not count (Chowdhery et al.
    2022, App. B).

    Args:
      rows: texts, candidates being one each.
      length: tokens of each.
    """
    passes = {"full": 3, "lora": 2, "head": 1, "probe": 1}[learner.parameters] if trains else 1
    passes += output.more_passes()
    kernels = sum(math.prod(shape) for path, shape in weights.shapes(config).items() if path.endswith("/kernel"))
    if config.experts is not None:  # those that a token does not go through
        idle = config.experts.count - config.experts.per_token
        kernels -= config.n_layers * idle * 3 * config.hidden_size * config.mlp_size
    head = config.vocab_size * config.hidden_size
    width = config.n_heads * config.head_dim
    row = 2 * kernels * length + 2 * head * output.places(length) + 4 * width * _pairs(config, length)
    once = 0
    if config.relative is not None:
        vectors = 2 * config.relative.buckets
        row += 4 * width * config.n_layers * length * min(length, vectors)
        once = 4 * width * config.n_layers * config.hidden_size * min(2 * length - 1, vectors)
    return float(passes * (rows * row + once))


def _pairs(config: ModelConfig, length: int) -> int:
    """Pairs of tokens of which one sees the other, over all layers."""
    whole, back = length * (length + 1) // 2, min(config.sliding_window or length, length)
    narrow = whole - (length - back) * (length - back + 1) // 2
    if config.is_encoder:  # what a token sees before it, and as much after it
        whole, narrow = 2 * whole - length, 2 * narrow - length
    windowed = config.windowed or (config.sliding_window is not None,) * config.n_layers
    return sum(narrow if each else whole for each in windowed)


def bytes_on_device(tree: Any) -> int:
    """What one device holds of these shapes with shardings."""
    return sum(_on_device(leaf) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _on_device(leaf: Any) -> int:
    return math.prod(leaf.sharding.shard_shape(leaf.shape))
