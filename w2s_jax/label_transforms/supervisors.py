"""Several supervisors: what they say together, and which of them a student should believe."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from w2s_jax.label_transforms.steps import Labels, check_count, relabelled
from w2s_jax.runtime.errors import UserError

LEAST = 1e-6


def average(members: Float[np.ndarray, "m n c"]) -> Float[np.ndarray, "n c"]:
    """The mean of the members' probabilities."""
    return members.mean(axis=0)


def bootstrap_rows(n: int, seed: int) -> Int[np.ndarray, " n"]:
    """n rows drawn with replacement, for bagging (Breiman 1996)."""
    return np.random.default_rng(seed).integers(0, n, n).astype(np.int32)


def boosting_round(
    probs: Float[np.ndarray, "n c"], labels: Int[np.ndarray, " n"], weights: Float[np.ndarray, " n"]
) -> tuple[float, Float[np.ndarray, " n"]]:
    """A member's vote, and the weights of the rows for the next member (SAMME, Zhu et al. 2009; EnsemW2S 2024).

    With e the weighted error: `vote = log((1 - e) / e) + log(C - 1)`, and a wrong row's weight times `exp(vote)`.
    A member no better than chance gets no vote and changes no weight.

    Returns:
      The vote, and weights that sum to 1.
    """
    wrong = probs.argmax(axis=1) != labels
    error = float(np.clip(weights[wrong].sum() / weights.sum(), LEAST, 1 - LEAST))
    votes = float(max(np.log((1 - error) / error) + np.log(probs.shape[1] - 1), 0.0))
    boosted = weights * np.exp(votes * wrong)
    return votes, boosted / boosted.sum()


def vote(members: Float[np.ndarray, "m n c"], votes: Float[np.ndarray, " m"]) -> Float[np.ndarray, "n c"]:
    """The members' probabilities weighted with their votes; the plain mean where nobody has one."""
    weights = votes / votes.sum() if votes.sum() > 0 else np.full(len(votes), 1 / len(votes))
    return np.einsum("m,mnc->nc", weights, members)


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
) -> Labels:
    """Labels `sum_m w_m members_m`, the weights learned together with a linear head on the features (RAVEN).

    At first the head learns only from rows where all supervisors choose one class, with equal weights. Then head and
    weights follow the gradient of one cross entropy; weights are clamped to 1e-6 and scaled to sum 1 after each step
    (Jeon et al. 2025, arXiv 2510.21332). Steps are over all rows. For a probe this is the method itself; for a
    finetuned student the weights are learned on its hidden states as they were before.

    Args:
      epochs: steps in all.
      easy_epochs: of them with weights held equal.
      learning_rate: of the head (Adam).
      weight_rate: of the weights (plain gradient).
      l2: of the head.

    Raises:
      UserError: more easy epochs than epochs.
    """
    check_count("epochs", epochs)
    check_count("easy_epochs", easy_epochs, 0)
    if easy_epochs > epochs:
        raise UserError(f"easy_epochs must be at most the {epochs} epochs, not {easy_epochs}")
    weights = _learned(
        jnp.asarray(members, jnp.float32),
        jnp.asarray(features, jnp.float32),
        learning_rate,
        weight_rate,
        l2,
        epochs=epochs,
        easy_epochs=easy_epochs,
    )
    return relabelled(vote(members, np.asarray(weights, np.float64)))


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


def assign(
    weak: Float[np.ndarray, "n c"], *, members: Float[np.ndarray, "m n c"], student: Float[np.ndarray, "n c"]
) -> Labels:
    """Each row's label is that of the supervisor nearest to the student, and rows that student doubts are left out.

    `s = argmin_m KL(student || members_m)`; the rate r is the share of rows where the student's class is that label's,
    and the `r n` rows stay in which the student gives that class the most probability (co-supervised learning, Liu &
    Alahi 2024, arXiv 2402.15505).
    """
    safe = np.maximum(members, LEAST)
    divergence = np.einsum("nc,mnc->mn", student, np.log(np.maximum(student, LEAST))[None] - np.log(safe))
    labels = members[divergence.argmin(axis=0), np.arange(len(weak))]
    classes = labels.argmax(axis=1)
    support = student[np.arange(len(weak)), classes]
    count = max(1, int((student.argmax(axis=1) == classes).sum()))
    rows = np.sort(np.argsort(-support, kind="stable")[:count]).astype(np.int32)
    return Labels(rows, np.asarray(labels[rows], np.float32))
