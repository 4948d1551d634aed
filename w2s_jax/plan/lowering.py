"""The programs that a stage runs, traced from shapes: no parameter ever exists."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np
from flax import linen as nn
from jax.sharding import Mesh

from w2s_jax import models
from w2s_jax.data.batching import Batch, EvalBatches, TrainBatches
from w2s_jax.data.tokens import Tokens
from w2s_jax.models import params as parameter_sets
from w2s_jax.models import weights
from w2s_jax.models.classifier import Classifier
from w2s_jax.models.config import ModelConfig
from w2s_jax.models.language_model import LanguageModel
from w2s_jax.models.layers import Lora
from w2s_jax.models.preference import PreferenceModel
from w2s_jax.runtime import sharding
from w2s_jax.train import generative
from w2s_jax.train import state as train_state
from w2s_jax.train import step as train_step
from w2s_jax.train.answering import Answers
from w2s_jax.train.finetune import EVAL_BATCH, compiled_steps, optimizer
from w2s_jax.train.learner import Generative, Learner

# Training, labelling, and generative finetuning before them.
Kind = Literal["train", "label", "adapt"]
TOTAL_STEPS = 1000  # only schedules see it


@dataclass(frozen=True)
class Program:
    """One compiled function and what its arguments hold, in bytes on each device.

    Attributes:
      rows: of a batch, over all devices.
      length: tokens of each row.
      parameters: with what the backbone and the head hold; `frozen` ones do not train.
      optimizer: its moments.
      resident: what the devices hold besides, while it runs: see `_resident`.
      model_flops: of one execution, over all devices.
    """

    lowered: jax.stages.Lowered
    rows: int
    length: int
    parameters: int
    optimizer: int
    resident: int
    model_flops: float


def lower(
    kind: Kind,
    learner: Learner,
    config: ModelConfig,
    n_classes: int,
    candidates: int,
    loss: Callable[..., Any],
    mesh: Mesh,
) -> Program:
    """The training step of a learner, the pass that labels, or the step of its generative finetuning, as
    `train.finetune` and `train.generative` run them on this mesh.

    Every row is as long as the learner allows, padded and packed as training does it: no batch needs more.

    Args:
      n_classes, candidates: of the task.

    Raises:
      UserError: the mesh does not divide the batch.
    """
    answers = _answers(n_classes) if learner.output == "text" and kind != "adapt" else None
    if kind == "adapt":
        candidates = 1  # each is a text of its own
    elif learner.preference is not None:
        candidates = n_classes
    module, rules = _module(kind, learner, config, n_classes if candidates == 1 else 1, candidates)
    trainable, frozen = _parameters(module, rules, mesh)
    tx = optimizer(learner, TOTAL_STEPS) if kind != "adapt" else generative.optimizer(_settings(learner), TOTAL_STEPS)
    state = train_state.abstract(trainable, tx)
    leaves, structure = jax.tree.flatten(jax.tree.map(lambda leaf: leaf.sharding, state))
    placed = tuple(leaves), structure
    if kind == "adapt":
        step = generative.compiled_step(module, _settings(learner), learner.microbatches, TOTAL_STEPS, *placed)
    else:
        step, predict = compiled_steps(learner, module, loss, TOTAL_STEPS, mesh, *placed, answers)

    def on_mesh(array: np.ndarray) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=sharding.batch_sharding(mesh))

    length = min(learner.max_tokens, config.max_positions)
    batch = _batch(kind, learner, length, candidates, sharding.batch_ways(mesh))
    rows, tokens = len(batch.rows), on_mesh(batch.tokens)
    if kind == "label":
        lowered = train_step.lower(predict, trainable, frozen, tokens, on_mesh(batch.lengths))
    else:
        width = n_classes if answers is None or answers.longest == 1 else answers.longest
        targets = np.ones((rows, 2 if kind == "adapt" else width), np.float32)
        arguments = on_mesh(targets), on_mesh(batch.rows >= 0)
        lowered = train_step.lower(step, state, frozen, tokens, batch.lengths, *arguments)
    held, moments = bytes_on_device((trainable, frozen)), bytes_on_device(state.opt_state)
    answered = 0 if answers is None else answers.longest
    return Program(
        lowered,
        rows,
        length,
        held,
        optimizer=0 if kind == "label" else moments,
        resident=_resident(kind, learner, bytes_on_device(trainable), moments),
        model_flops=model_flops(kind, learner, module.config, rows * candidates, length, answered),
    )


def _batch(kind: Kind, learner: Learner, length: int, candidates: int, ways: int) -> Batch:
    """The first of a split whose texts all have this length.

    Raises:
      UserError: the devices do not divide it.
    """
    rows = _settings(learner).batch_size if kind == "adapt" else learner.batch_size
    if kind == "label":
        rows = EVAL_BATCH * ways
    else:
        train_step.check_rows(rows, learner.microbatches, ways)
    count = rows * candidates
    texts = Tokens(np.zeros(count * length, np.int32), length * np.arange(count + 1), candidates)
    if kind == "label":
        return next(iter(EvalBatches(texts, rows)))
    return TrainBatches(texts, rows, seed=0, epochs=1, ways=ways, microbatches=learner.microbatches)[0]


def _resident(kind: Kind, learner: Learner, trainable: int, moments: int) -> int:
    """Bytes that no argument holds: the best parameters so far, which training keeps from its first evaluation on, and
    the moments, which wait while it labels validation texts.

    When better ones are found there are two copies for a moment, but then no gradients: the step needs as much.
    """
    if kind == "adapt" or learner.parameters == "probe":
        return 0
    best = trainable if learner.loop.select != "final" and learner.loop.evaluations > 1 else 0
    return best + (moments if kind == "label" else 0)


def model_flops(kind: Kind, learner: Learner, config: ModelConfig, rows: int, length: int, answered: int = 0) -> float:
    """FLOPs that a batch needs however it is computed: `passes * rows * (2 N T + 2 V D S + 4 H P)`.

    N counts the weights of matrices, embeddings apart, and T tokens; H is the width of all heads together, and P the
    pairs of tokens of which one sees the other, over all layers. `passes` is 1 to label; 3 to train all, 2 to train
    adapters and 1 to train a head. The language-model head, a matrix V x D, works on S places: all where texts are
    scored (a preference, generative finetuning), those `answered` where answers are written. DPO's reference is one
    more pass. What is computed twice to save memory does not count (Chowdhery et al. 2022, App. B).
    """
    passes = {"full": 3, "lora": 2, "head": 1, "probe": 1}[learner.parameters] if kind == "train" else 1
    if kind == "adapt":
        passes = 2 if learner.parameters == "lora" else 3
    elif learner.preference is not None:
        passes += learner.preference.score == "dpo"
    scored = length if kind == "adapt" or learner.preference is not None else answered
    kernels = sum(math.prod(shape) for path, shape in weights.shapes(config).items() if path.endswith("/kernel"))
    head = config.vocab_size * config.hidden_size
    width = config.n_heads * config.head_dim
    row = 2 * kernels * length + 2 * head * scored + 4 * width * _pairs(config, length)
    return float(passes * rows * row)


def _pairs(config: ModelConfig, length: int) -> int:
    """Pairs of tokens of which one sees the other, over all layers."""
    if config.is_encoder:
        return config.n_layers * length**2
    whole, back = length * (length + 1) // 2, min(config.sliding_window or length, length)
    narrow = whole - (length - back) * (length - back + 1) // 2
    windowed = config.windowed or (config.sliding_window is not None,) * config.n_layers
    return sum(narrow if each else whole for each in windowed)


def bytes_on_device(tree: Any) -> int:
    """What one device holds of these shapes with shardings."""
    return sum(math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _module(
    kind: Kind, learner: Learner, config: ModelConfig, outputs: int, candidates: int
) -> tuple[Classifier | LanguageModel, list[tuple[str, str]]]:
    """The module that a learner trains, and which of its parameters do."""
    how: dict[str, Any] = {"dropout": learner.dropout, "remat": learner.remat, "dtype": learner.dtype}
    how["lora"] = Lora(learner.lora_rank) if learner.parameters == "lora" else None
    if kind == "adapt":
        return LanguageModel(config, **how), generative.rules(learner)
    rules = list(parameter_sets.TRAINABLE["head" if learner.parameters == "probe" else learner.parameters])
    if learner.preference is not None:
        models.check_preference(learner.model, config, candidates)
        return PreferenceModel(config, preference=learner.preference, candidates=candidates, **how), rules
    if learner.output == "text":
        return LanguageModel(config, **how), rules
    return Classifier(config.cut(learner.read_layer), outputs, learner.pooling, **how), rules


def _settings(learner: Learner) -> Generative:
    assert learner.generative is not None
    return learner.generative


def _answers(n_classes: int) -> Answers:
    """Stand-ins, as no tokenizer need be here: the classes' numbers, digit by digit, in base 16."""
    digits = max(1, math.ceil(math.log(n_classes, 16)))
    return Answers(tuple(tuple(label // 16**place % 16 for place in range(digits)) for label in range(n_classes)))


def _parameters(module: Classifier | LanguageModel, rules: list[tuple[str, str]], mesh: Mesh) -> tuple[Any, Any]:
    """Those that train and those that do not, as shapes with shardings."""
    boxed = models.boxed_shapes(module)
    shapes = jax.tree.map(
        lambda leaf, where: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where),
        nn.unbox(boxed),
        sharding.param_shardings(boxed, mesh),
    )
    return parameter_sets.partition(shapes, parameter_sets.label(shapes, rules))
