"""The programs that a stage runs, traced from shapes: no parameter ever exists."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.sharding import Mesh

from w2s_jax import models, sharding
from w2s_jax.errors import UserError
from w2s_jax.models import params as parameter_sets
from w2s_jax.models import weights
from w2s_jax.models.classifier import Classifier
from w2s_jax.models.config import ModelConfig
from w2s_jax.models.language_model import LanguageModel
from w2s_jax.models.layers import Lora
from w2s_jax.models.preference import PreferenceModel
from w2s_jax.train import state as train_state
from w2s_jax.train import step as train_step
from w2s_jax.train.answering import Answers
from w2s_jax.train.finetune import EVAL_BATCH, compiled_steps, optimizer
from w2s_jax.train.learner import Learner

Kind = Literal["train", "label"]
TOTAL_STEPS = 1000  # only schedules see it


@dataclass(frozen=True)
class Program:
    """One compiled function and what its arguments hold, in bytes on each device.

    Attributes:
      rows: of a batch, over all devices.
      length: tokens of each row.
      parameters: with what the backbone and the head hold; `frozen` ones do not train.
      optimizer: its moments.
      model_flops: of one execution, over all devices.
    """

    lowered: jax.stages.Lowered
    rows: int
    length: int
    parameters: int
    optimizer: int
    model_flops: float


def lower(
    kind: Kind, learner: Learner, config: ModelConfig, n_classes: int, loss: Callable[..., Any], mesh: Mesh
) -> Program:
    """The training step of a learner, or the pass that labels, as `train.finetune` runs them on this mesh.

    Every row is as long as the learner allows: the largest batch that can come.

    Raises:
      UserError: the mesh does not divide the batch.
    """
    config = config.cut(learner.read_layer)
    length = min(learner.max_tokens, config.max_positions)
    ways = sharding.batch_ways(mesh)
    rows = learner.batch_size if kind == "train" else EVAL_BATCH * ways
    if kind == "train" and rows % (learner.microbatches * ways):
        raise UserError(
            f"a batch of {rows} cannot be cut into {learner.microbatches} microbatches over {ways} devices; "
            f"use a multiple of {learner.microbatches * ways}"
        )
    answers = _answers(n_classes) if learner.output == "text" else None
    module = _module(learner, config, n_classes)
    trainable, frozen = _parameters(learner, module, mesh)
    state = train_state.abstract(trainable, optimizer(learner, TOTAL_STEPS))
    leaves, structure = jax.tree.flatten(jax.tree.map(lambda leaf: leaf.sharding, state))
    step, predict = compiled_steps(learner, module, loss, TOTAL_STEPS, mesh, tuple(leaves), structure, answers)

    def batch(*shape: int, dtype: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding.batch_sharding(mesh))

    shape = (rows,) if learner.preference is None else (rows, n_classes)  # a class is a candidate
    texts = batch(*shape, length, dtype=jnp.int32), batch(*shape, dtype=jnp.int32)
    if kind == "label":
        lowered = train_step.lower(predict, trainable, frozen, *texts)
    else:
        width = n_classes if answers is None or answers.longest == 1 else answers.longest
        targets = batch(rows, width, dtype=jnp.float32), batch(rows, dtype=jnp.bool_)
        lowered = train_step.lower(step, state, frozen, *texts, *targets)
    moments = bytes_on_device(state.opt_state) if kind == "train" else 0
    held = bytes_on_device((trainable, frozen))
    flops = model_flops(kind, learner, config, math.prod(shape), length)
    return Program(lowered, rows, length, held, moments, flops)


def model_flops(kind: Kind, learner: Learner, config: ModelConfig, rows: int, length: int) -> float:
    """FLOPs that a batch needs however it is computed: `passes * rows * length * (2 N + 2 A L T H)`.

    N counts the weights of matrices, embeddings apart; L layers, T tokens, H the width of all heads together; A is 1 of
    a decoder, which needs half of all pairs of tokens, and 2 of an encoder. `passes` is 1 to label; 3 to train all, 2
    to train adapters and 1 to train a head. With a preference N counts the language-model head too, and DPO's reference
    is one more pass. What is computed twice to save memory does not count (Chowdhery et al. 2022, App. B).
    """
    passes = {"full": 3, "lora": 2, "head": 1, "probe": 1}[learner.parameters] if kind == "train" else 1
    kernels = sum(math.prod(shape) for path, shape in weights.shapes(config).items() if path.endswith("/kernel"))
    if learner.preference is not None:
        passes += learner.preference.score == "dpo"
        kernels += config.vocab_size * config.hidden_size
    width = config.n_heads * config.head_dim
    attention = 2 * (2 if config.is_encoder else 1) * config.n_layers * length * width
    return float(passes * rows * length * (2 * kernels + attention))


def bytes_on_device(tree: Any) -> int:
    """What one device holds of these shapes with shardings."""
    return sum(math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _module(learner: Learner, config: ModelConfig, n_classes: int) -> Classifier | LanguageModel:
    how: dict[str, Any] = {"dropout": learner.dropout, "remat": learner.remat, "dtype": learner.dtype}
    how["lora"] = Lora(learner.lora_rank) if learner.parameters == "lora" else None
    if learner.preference is not None:
        models.check_preference(learner.model, config, n_classes)
        return PreferenceModel(config, preference=learner.preference, candidates=n_classes, **how)
    if learner.output == "text":
        return LanguageModel(config, **how)
    return Classifier(config, n_classes, learner.pooling, **how)


def _answers(n_classes: int) -> Answers:
    """Stand-ins, as no tokenizer need be here: the classes' numbers, digit by digit, in base 16."""
    digits = max(1, math.ceil(math.log(n_classes, 16)))
    return Answers(tuple(tuple(label // 16**place % 16 for place in range(digits)) for label in range(n_classes)))


def _parameters(learner: Learner, module: Classifier | LanguageModel, mesh: Mesh) -> tuple[Any, Any]:
    """Those that train and those that do not, as shapes with shardings."""
    boxed = models.boxed_shapes(module)
    shapes = jax.tree.map(
        lambda leaf, where: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where),
        nn.unbox(boxed),
        sharding.param_shardings(boxed, mesh),
    )
    rules = parameter_sets.TRAINABLE["head" if learner.parameters == "probe" else learner.parameters]
    return parameter_sets.partition(shapes, parameter_sets.label(shapes, rules))
