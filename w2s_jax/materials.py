"""What stages are made from, each read once a process: examples, splits, models, losses, and their hashes."""

import functools
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from w2s_jax import config, files, losses
from w2s_jax.config import Method, TaskConfig
from w2s_jax.data import splits as data_splits
from w2s_jax.data import tasks
from w2s_jax.data.example import Example
from w2s_jax.data.splits import Splits, SplitSizes
from w2s_jax.data.tasks import Task
from w2s_jax.errors import UserError


def named_task(name: str) -> Task:
    """A task of `w2s_jax.data.tasks`, of the user's own Python file, or of a local table."""
    reference = config.split_reference(name)
    return tasks.get(name) if reference is None else config.named(*reference, kind=Task)


@functools.lru_cache(maxsize=8)
def examples(name: str, source: str | None, pool: int | None) -> tuple[Example, ...]:
    """The task's examples, or whole groups drawn from them until there are `pool`, the same for every seed."""
    found = tasks.load_task(named_task(name), source)
    return tuple(found if pool is None else data_splits.draw_pool(found, pool))


def texts(task: TaskConfig) -> tuple[str, ...]:
    """Every text that any seed can draw."""
    return tuple(example.text for example in examples(task.name, task.source, task.pool))


@functools.lru_cache(maxsize=64)
def splits(task: TaskConfig, seed: int) -> Splits:
    """The four splits that this seed draws."""
    n_classes = named_task(task.name).n_classes
    sizes = SplitSizes(task.supervisor, task.transfer, task.validation, task.test)
    return data_splits.make_splits(
        list(examples(task.name, task.source, task.pool)), sizes, seed, task.balance, n_classes
    )


@functools.lru_cache(maxsize=64)
def _bound(function: Callable[..., Any], options: str) -> Callable[..., Any]:
    return losses.bind(function, **json.loads(options))


def loss(method: Method) -> Callable[..., Any]:
    """The method's loss with its hyperparameters; the same method gives the same function, so it compiles once."""
    return _bound(loss_function(method.loss), files.canonical(dict(method.options)))


def check_loss(method: Method, n_classes: int) -> None:
    """Traces the loss on a small batch, without computing anything.

    Raises:
      UserError: it cannot be traced, or does not give one value a row.
    """
    batch = jax.ShapeDtypeStruct((4, n_classes), np.float32)
    step, where = jax.ShapeDtypeStruct((), np.int32), jax.ShapeDtypeStruct((4,), np.bool_)
    traced = functools.partial(loss(method), total_steps=10)
    try:
        jax.eval_shape(lambda *arrays: traced(*arrays[:2], step=arrays[2], where=arrays[3]), batch, batch, step, where)
    except (TypeError, ValueError, IndexError, AttributeError, NameError) as error:
        raise UserError(
            f"loss {method.loss!r} fails on logits [4, {n_classes}]: {str(error).splitlines()[0]}"
        ) from error


def loss_function(name: str) -> Callable[..., Any]:
    """A loss of `w2s_jax.losses`, or one from the user's own file."""
    reference = config.split_reference(name)
    if reference is None:
        return losses.get(name)
    found = config.named(*reference)
    if not callable(found):
        raise UserError(f"{name} is not a function (logits, targets, *, ...) -> [B]")
    return found


def loss_identity(method: Method) -> dict[str, Any]:
    """What the key of a stage says of its loss: a user's loss counts with the text of its file.

    A hyperparameter left at its default counts with its value, so that writing a default out changes nothing.
    """
    function = loss_function(method.loss)
    loss(method)
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
        if isinstance(parameter.default, int | float | str | bool)
    }
    reference = config.split_reference(method.loss)
    name = method.loss if reference is None else f"{reference[1]}@{files.sha256_file(Path(reference[0]))}"
    return {"name": name, "options": {**defaults, **method.options}}


def truth(labels: np.ndarray, n_classes: int) -> np.ndarray:
    """Ground truth as one-hot class probabilities, float32 [N, C]."""
    return np.eye(n_classes, dtype=np.float32)[labels]
