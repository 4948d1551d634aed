"""Linear heads on cached features: thousands of small problems as one compiled program.

Problems share a feature matrix. Those that also share their rows and their seed, such as the methods of one
experiment, see the same minibatches, so that each step is one matrix product for all of them.

A problem's weights are the same to the last bit whatever it is fitted along with: compiled programs work on `_WIDTH`
problems of one order and `_AT_ONCE` orders at a time, filled up with repetitions, since the shape of a product decides
the order in which it is summed.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from einops import rearrange
from jaxtyping import Array, Bool, Float, Int

from w2s_jax.losses.base import BoundLoss
from w2s_jax.runtime.errors import UserError

AnyArray = Array | np.ndarray
_BYTES_AT_ONCE = 1 << 24  # of minibatches, weights and optimizer state: what a CPU caches
_WIDTH = 8  # problems of one order in a product
_AT_ONCE = 4  # orders that are worked on together


class Probes(NamedTuple):
    """Linear heads, one a problem: `logits = features @ weights + biases`, and the mean loss before each step.

    Of examples of K candidates, each with features of its own, C is 1: a head scores each candidate.
    """

    weights: Float[Array, "p d c"]
    biases: Float[Array, "p c"]
    losses: Float[Array, "p steps"]


def fit_probes(
    features: Float[AnyArray, "n *k d"],
    targets: Float[AnyArray, "p m c"],
    loss: BoundLoss,
    *,
    steps: int,
    batch_size: int | None = 32,
    learning_rate: float = 1e-2,
    weight_decay: float = 0.0,
    rows: Int[AnyArray, "p m"] | None = None,
    seeds: Int[AnyArray, " p"] | None = None,
) -> Probes:
    """Fits P linear heads, each on its own rows and targets, to minimise

    `mean over rows of loss(z W + b, targets) + weight_decay / 2 * |W|^2`,

    where z are the features standardised with the mean and standard deviation of the problem's own rows. The result
    is folded back, so that it applies to features as they are. With cross entropy and all rows in each step this is
    L2-regularised logistic regression, scikit-learn's `LogisticRegression(C=1 / (weight_decay * rows))` on z.

    Adam, from zero, with a learning rate that falls to 0 along half a cosine.

    Args:
      features: shared by all problems; of examples of K candidates [N, K, D], the targets being of K classes.
      targets: class probabilities of every example that a problem is trained on.
      loss: from `losses.bind`. It sees one problem's whole batch.
      steps: updates.
      batch_size: rows a step, in a new order each epoch, which the seed alone decides; None takes all rows in every
        step, which needs no seed.
      learning_rate: the peak, > 0; the scale is that of standardised features.
      weight_decay: of weights and not biases, >= 0.
      rows: int, the row of features of each of these examples, which may share one; -1 fills up where a problem has
        fewer. None is all rows.
      seeds: int, of the order of rows; None is 0 for all.

    Raises:
      UserError: rows outside the features, or fewer or more than targets; a problem without rows; or a loss that is not
        finite.
    """
    n, p = len(features), len(targets)
    rows = np.broadcast_to(np.arange(n), (p, n)) if rows is None else np.asarray(rows)
    seeds = np.zeros(p, np.int64) if seeds is None or batch_size is None else np.asarray(seeds)
    _check_rows(rows, n)
    if rows.shape != targets.shape[:2]:
        raise UserError(f"targets of {targets.shape[:2]} problems and examples for rows of {rows.shape}; want one each")

    groups = _groups(rows, seeds)
    first = groups[:, 0]
    if batch_size is None:
        order = np.where(rows[first] >= 0, np.arange(rows.shape[1]), -1)[:, None]
    else:
        order = np.stack([_order(rows[i], int(seeds[i]), batch_size, steps) for i in first])
    fitted = _fit(
        jnp.asarray(features, jnp.float32),
        jnp.asarray(targets, jnp.float32)[groups],
        jnp.asarray(rows[first], jnp.int32),
        jnp.asarray(order, jnp.int32),
        jnp.float32(learning_rate),
        jnp.float32(weight_decay),
        loss=loss,
        steps=steps,
    )
    _, where = np.unique(groups, return_index=True)
    probes = Probes(*(rearrange(part, "s k ... -> (s k) ...")[where] for part in fitted))
    if not jnp.all(jnp.isfinite(probes.losses)):
        problem, step = np.argwhere(~np.isfinite(probes.losses))[0]
        raise UserError(f"the loss of problem {problem} is not finite at step {step}; look for NaN in the features")
    return probes


def predict_probes(
    features: Float[AnyArray, "n *k d"], weights: Float[AnyArray, "p d c"], biases: Float[AnyArray, "p c"]
) -> Float[np.ndarray, "p n _"]:
    """Logits of every row (or its candidates) under every head, for each head the same whatever the others are."""
    features, found = jnp.asarray(features), []
    for start in range(0, len(weights), _WIDTH):
        place = np.minimum(np.arange(start, start + _WIDTH), len(weights) - 1)
        found.append(np.asarray(_predict(features, jnp.asarray(weights)[place], jnp.asarray(biases)[place])))
    return np.concatenate(found)[: len(weights)]


@jax.jit
def _predict(
    features: Float[Array, "n *k d"], weights: Float[Array, "p d c"], biases: Float[Array, "p c"]
) -> Float[Array, "p n _"]:
    if features.ndim == 3:
        return jnp.einsum("nkd,pd->pnk", features, weights[..., 0]) + biases[:, None]
    return jnp.einsum("nd,pdc->pnc", features, weights) + biases[:, None]


@functools.partial(jax.jit, static_argnames=("loss", "steps"))
def _fit(
    features: Float[Array, "n *k d"],
    targets: Float[Array, "s k m c"],
    rows: Int[Array, "s m"],
    order: Int[Array, "s t b"],
    learning_rate: Float[Array, ""],
    weight_decay: Float[Array, ""],
    *,
    loss: BoundLoss,
    steps: int,
) -> tuple[Float[Array, "s k d o"], Float[Array, "s k o"], Float[Array, "s k steps"]]:
    """S groups of K problems; a group's problems share rows, and the order in which these are taken."""
    tx = optax.adam(optax.cosine_decay_schedule(learning_rate, steps))
    outputs = 1 if features.ndim == 3 else targets.shape[-1]

    def fit_group(group: Any) -> Any:
        targets, rows, order = group
        mean, deviation = _moments(features[rows], rows >= 0)

        def batch(indices: Array) -> Any:
            return (features[rows[indices]] - mean) / deviation, targets[:, indices], indices >= 0

        whole = batch(order[0]) if len(order) == 1 else None

        def objective(params: Any, step: Array) -> Any:
            x, labels, where = batch(order[step]) if whole is None else whole
            weights, bias = params
            if x.ndim == 3:
                logits = rearrange(x @ weights[..., 0], "b candidates k -> k b candidates")
            else:
                logits = rearrange(x @ rearrange(weights, "d k c -> d (k c)"), "b (k c) -> k b c", k=len(labels))
            values = jax.vmap(functools.partial(loss, step=step, total_steps=steps, where=where))(
                logits + bias[:, None], labels
            )
            means = jnp.sum(values, axis=-1, where=where) / jnp.sum(where)
            return jnp.sum(means) + weight_decay / 2 * jnp.sum(jnp.square(weights)), means

        def update(carry: Any, step: Array) -> Any:
            params, opt_state = carry
            gradients, means = jax.grad(objective, has_aux=True)(params, step)
            updates, opt_state = tx.update(gradients, opt_state, params)
            return (optax.apply_updates(params, updates), opt_state), means

        k, d = len(targets), features.shape[-1]
        params = jnp.zeros((d, k, outputs)), jnp.zeros((k, outputs))
        ((weights, bias), _), losses = jax.lax.scan(update, (params, tx.init(params)), jnp.arange(steps))
        weights = rearrange(weights / deviation[:, None, None], "d k c -> k d c")
        return weights, bias - jnp.einsum("d,kdc->kc", mean, weights), losses.T

    d, (_, k, m, c), b = features[0].size, targets.shape, order.shape[-1]
    at_once = _BYTES_AT_ONCE // (4 * d * (m + b + 5 * k * c))
    return jax.lax.map(fit_group, (targets, rows, order), batch_size=_AT_ONCE if at_once >= _AT_ONCE else 1)


def _moments(
    features: Float[Array, "m *k d"], where: Bool[Array, " m"]
) -> tuple[Float[Array, " d"], Float[Array, " d"]]:
    """Mean and standard deviation of the rows that are real, or of all their candidates; 1 where one is constant."""
    if features.ndim == 3:
        where = jnp.repeat(where, features.shape[1])
        features = features.reshape(len(where), -1)
    share = (where / jnp.sum(where))[:, None]
    mean = jnp.sum(features * share, axis=0)
    deviation = jnp.sqrt(jnp.sum(jnp.square(features - mean) * share, axis=0))
    return mean, jnp.where(deviation > 1e-6 * jnp.abs(mean), deviation, 1.0)


def _groups(rows: Int[np.ndarray, "p m"], seeds: Int[np.ndarray, " p"]) -> Int[np.ndarray, "s k"]:
    """Problems that share rows and seed, `_WIDTH` of them a line, and a multiple of `_AT_ONCE` lines.

    What is left over is filled up with repetitions.
    """
    members: dict[tuple[int, bytes], list[int]] = {}
    for problem, (row, seed) in enumerate(zip(rows, seeds, strict=True)):
        members.setdefault((int(seed), row.tobytes()), []).append(problem)
    parts = [group[start : start + _WIDTH] for group in members.values() for start in range(0, len(group), _WIDTH)]
    parts += parts[:1] * (-len(parts) % _AT_ONCE)
    return np.array([part + part[:1] * (_WIDTH - len(part)) for part in parts])


def _order(rows: Int[np.ndarray, " m"], seed: int, batch_size: int, steps: int) -> Int[np.ndarray, "t b"]:
    """Places in `rows` of each step: every epoch a fresh permutation; -1 fills an epoch's last batch."""
    places = np.flatnonzero(rows >= 0)
    per_epoch = -(-len(places) // batch_size)
    epochs = np.full((-(-steps // per_epoch), per_epoch * batch_size), -1)
    for epoch, line in enumerate(epochs):
        line[: len(places)] = np.random.default_rng([seed, epoch]).permutation(places)
    return epochs.reshape(-1, batch_size)[:steps]


def _check_rows(rows: Int[np.ndarray, "p m"], n: int) -> None:
    if rows.min() < -1 or rows.max() >= n:
        raise UserError(f"rows must be in 0..{n - 1}, or -1 for none; found {rows.min()}..{rows.max()}")
    empty = np.flatnonzero((rows < 0).all(axis=1))
    if len(empty):
        raise UserError(f"problem {empty[0]} has no rows to train on")
