"""Checks before anything runs: that a model can read a task's texts, and that a loss works on its classes."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from w2s_jax import models
from w2s_jax.data import arrays
from w2s_jax.data.task_data import TaskData
from w2s_jax.data.tokens import flatten
from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.sharding import batch_ways
from w2s_jax.stages.base import bound_loss
from w2s_jax.train import answering
from w2s_jax.train.learner import Learner
from w2s_jax.train.reading import tokenize


def learner(task: TaskData, learner: Learner, mesh: Mesh | None) -> None:
    """That the model is there, can read every text, and that its batches divide over the devices.

    Raises:
      UserError: the first of these that does not hold.
    """
    if arrays.is_array(learner.model):
        if learner.parameters != "probe":
            raise UserError(f"{learner.model} holds features, which only a probe can learn from: parameters='probe'")
        arrays.rows(flatten(task.texts), learner.model, len(arrays.matrix(learner.model)))
        return
    model, _ = models.outline(learner.model)
    model.cut(learner.read_layer)
    if learner.output == "text":
        answering.prompts(learner, answering.answers(learner, task.answers), task.texts)
    else:
        tokens = tokenize(learner, task.texts)
        if learner.preference is not None:
            models.check_preference(learner.model, model, tokens.candidates)
        if learner.head == "pretrained":
            alone = tokens.candidates == 1
            models.check_head(learner.model, task.n_classes if alone else 1, task.answers if alone else ())
    ways = learner.microbatches * batch_ways(mesh)
    if learner.parameters != "probe" and learner.batch_size % ways:
        raise UserError(
            f"batch_size {learner.batch_size} cannot be split into {learner.microbatches} microbatches over "
            f"{ways // learner.microbatches} devices; use a multiple of {ways}"
        )


def loss(task: TaskData, learner: Learner, name: str, function: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Traces the loss on a small batch, without computing anything.

    Raises:
      UserError: it cannot be traced, does not give one value for each example, or compares the examples of a batch
        where the learner learns single tokens.
    """
    _trace(name, bound_loss(function, options), task.n_classes)
    if learner.output != "text" or answering.answers(learner, task.answers).longest == 1:
        return
    if "where" in inspect.signature(function).parameters:
        raise UserError(
            f"loss {name!r} compares the examples of a batch, which tokens of an answer are not: use one that looks at "
            "single examples, such as cross_entropy, or answers of one token each, or output='head'"
        )


def _trace(name: str, bound: Callable[..., Any], n_classes: int) -> None:
    batch = jax.ShapeDtypeStruct((4, n_classes), np.float32)
    step, where = jax.ShapeDtypeStruct((), np.int32), jax.ShapeDtypeStruct((4,), np.bool_)
    traced = functools.partial(bound, total_steps=10)
    try:
        jax.eval_shape(lambda *arrays: traced(*arrays[:2], step=arrays[2], where=arrays[3]), batch, batch, step, where)
    except (TypeError, ValueError, IndexError, AttributeError, NameError) as error:
        raise UserError(f"loss {name!r} fails on logits [4, {n_classes}]: {str(error).splitlines()[0]}") from error
