"""Several supervisors: which of them a student should believe."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from w2s_jax.label_transforms.base import LABEL_TRANSFORMS, TransformedLabels, relabelled
from w2s_jax.runtime.checks import check_count
from w2s_jax.runtime.errors import UserError

LEAST = 1e-6


@LABEL_TRANSFORMS.register
def learned_weights(
    weak: Float[np.ndarray, "n c"],
    *,
    members: Float[np.ndarray, "m n c"],
    features: Float[np.ndarray, "n d"],
    epochs: int = 100,
    easy_epochs: int = 30,
    learning_rate: float = 1e-2,
    weight_rate: float = 0.1,
    l2: float = 1e-2,
) -> TransformedLabels:
    """RAVEN: relabels with `sum_m w_m members_m`, the weights learned together with a linear head on the features.

    At first the head learns, with equal weights, only from examples where all supervisors choose one class. Then head
    and weights follow the gradient of one cross entropy; after each step the weights are clamped to 1e-6 and scaled to
    sum to 1. Every step is over all examples. For a probe this is the method itself; for a finetuned student the
    weights are learned on its hidden states before finetuning.

    Args:
      epochs: steps in all, 1 or more.
      easy_epochs: those of them with weights held equal, 0 or more.
      learning_rate: of the head (Adam).
      weight_rate: of the weights (plain gradient descent).
      l2: of the head.

    Raises:
      UserError: more easy epochs than epochs, or a hyperparameter out of range.

    References:
      Jeon et al. 2025, arXiv 2510.21332.
    """
    check_count("epochs", epochs)
    check_count("easy_epochs", easy_epochs, 0)
    if easy_epochs > epochs:
        raise UserError(f"easy_epochs must be at most the {epochs} epochs, not {easy_epochs}")
    learned = _learned(
        jnp.asarray(members, jnp.float32),
        jnp.asarray(features, jnp.float32),
        learning_rate,
        weight_rate,
        l2,
        epochs=epochs,
        easy_epochs=easy_epochs,
    )
    weights = np.asarray(learned, np.float64)
    return relabelled(np.einsum("m,mnc->nc", weights / weights.sum(), members))


@functools.partial(jax.jit, static_argnames=("epochs", "easy_epochs"))
def _learned(
    members: Float[Array, "m n c"],
    features: Float[Array, "n d"],
    learning_rate: float | Array,
    weight_rate: float | Array,
    l2: float | Array,
    *,
    epochs: int,
    easy_epochs: int,
) -> Float[Array, " m"]:
    deviation = jnp.std(features, axis=0)
    z = (features - jnp.mean(features, axis=0)) / jnp.where(deviation > 1e-6, deviation, 1.0)
    chosen = jnp.argmax(members, axis=-1)
    easy = jnp.all(chosen == chosen[0], axis=0)
    easy = jnp.where(jnp.any(easy), easy, True)
    tx = optax.adam(learning_rate)

    def objective(head: Any, weights: Array, where: Array) -> Array:
        values = optax.softmax_cross_entropy(z @ head[0] + head[1], jnp.einsum("m,mnc->nc", weights, members))
        return jnp.sum(values * where) / jnp.sum(where) + l2 / 2 * jnp.sum(jnp.square(head[0]))

    def update(carry: Any, epoch: Array) -> Any:
        head, state, weights = carry
        first = epoch < easy_epochs
        where = jnp.where(first, easy, True)
        of_head, of_weights = jax.grad(objective, argnums=(0, 1))(head, weights, where)
        updates, state = tx.update(of_head, state)
        moved = jnp.maximum(weights - weight_rate * of_weights, LEAST)
        weights = jnp.where(first, weights, moved / jnp.sum(moved))
        return (optax.apply_updates(head, updates), state, weights), None

    m, _, c = members.shape
    head = jnp.zeros((features.shape[1], c)), jnp.zeros(c)
    start = head, tx.init(head), jnp.full(m, 1 / m)
    return jax.lax.scan(update, start, jnp.arange(epochs))[0][2]


@LABEL_TRANSFORMS.register
def assign(
    weak: Float[np.ndarray, "n c"], *, members: Float[np.ndarray, "m n c"], student: Float[np.ndarray, "n c"]
) -> TransformedLabels:
    """Relabels each example by the supervisor nearest to the student, and drops the examples that the student doubts.

    The nearest supervisor is `argmin_m KL(student || members_m)`. With r the share of examples where the student's
    class is that supervisor's, the `r n` examples stay for which the student gives that class the highest probability.

    References:
      Liu & Alahi 2024, Co-Supervised Learning, arXiv 2402.15505.
    """
    safe = np.maximum(members, LEAST)
    divergence = np.einsum("nc,mnc->mn", student, np.log(np.maximum(student, LEAST))[None] - np.log(safe))
    labels = members[divergence.argmin(axis=0), np.arange(len(weak))]
    classes = labels.argmax(axis=1)
    support = student[np.arange(len(weak)), classes]
    count = max(1, int((student.argmax(axis=1) == classes).sum()))
    rows = np.sort(np.argsort(-support, kind="stable")[:count]).astype(np.int32)
    return TransformedLabels(rows, np.asarray(labels[rows], np.float32))
