"""Contrast-consistent search: a direction in hidden states that answers consistently, found without labels."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from w2s_jax.runtime.checks import check_count
from w2s_jax.runtime.errors import UserError

AnyScalar = float | Array


class Ccs(NamedTuple):
    """A linear probe on hidden states, standardised separately for each of the two answers.

    Attributes:
      mean, deviation: over the training pairs, by answer.
      loss: of the try that was kept.
    """

    weights: Float[np.ndarray, " d"]
    bias: float
    mean: Float[np.ndarray, "2 d"]
    deviation: Float[np.ndarray, "2 d"]
    loss: float


def fit_ccs(
    negative: Float[np.ndarray, "n d"],
    positive: Float[np.ndarray, "n d"],
    *,
    seed: int,
    tries: int = 10,
    steps: int = 1000,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.01,
) -> Ccs:
    """The probe that minimises `(p1 - (1 - p0))^2 + min(p0, p1)^2`.

    p0 and p1 are the probe's probabilities of yes for a text with the answer no and with the answer yes. All tries run
    at once, from random directions, with AdamW on all pairs; the one with the lowest loss is kept. Which side means yes
    cannot be known without labels: see `oriented`. Tries, steps, rate and decay are the authors'. The normalisation is
    not quite theirs: each side's own mean is subtracted, as there, and the result divided by its own standard
    deviation, which their released code leaves out by default (`var_normalize=False`).

    Args:
      negative, positive: hidden states of the texts with the answer no and with yes.
      tries, steps: 1 or more.

    Raises:
      UserError: the two do not pair up, or every try ends in a loss that is not finite.

    References:
      Burns et al. 2022, Discovering Latent Knowledge, equations 1 and 2, arXiv 2212.03827.
    """
    if negative.shape != positive.shape or len(negative) < 2:
        raise UserError(f"CCS needs two pairs or more, not {negative.shape} and {positive.shape}")
    check_count("tries", tries)
    check_count("steps", steps)
    both = np.stack([negative, positive]).astype(np.float32)
    mean, deviation = both.mean(axis=1), both.std(axis=1)
    deviation = np.where(deviation > 1e-6, deviation, 1.0)
    z = (both - mean[:, None]) / deviation[:, None]
    params, loss = _fit(jnp.asarray(z), jax.random.key(seed), learning_rate, weight_decay, tries=tries, steps=steps)
    if not np.isfinite(loss).any():
        raise UserError("CCS found no finite loss; look for NaN in the features, or lower the learning rate")
    best = int(np.nanargmin(loss))
    weights, bias = (np.asarray(part)[best] for part in params)
    return Ccs(weights, float(bias), mean, deviation, float(loss[best]))


def oriented(ccs: Ccs, probs: Float[np.ndarray, "n 2"], like: Float[np.ndarray, "n 2"]) -> Ccs:
    """The probe, reversed if most of its answers `probs` contradict the labels `like` of the same examples."""
    agree = (probs.argmax(axis=1) == like.argmax(axis=1)).mean()
    return ccs if agree >= 0.5 else ccs._replace(weights=-ccs.weights, bias=-ccs.bias)


def predict_ccs(
    ccs: Ccs, negative: Float[np.ndarray, "n d"], positive: Float[np.ndarray, "n d"]
) -> Float[np.ndarray, "n 2"]:
    """Probabilities of no and of yes, `(p1 + 1 - p0) / 2`."""
    both = np.stack([negative, positive]).astype(np.float32)
    scores = (both - ccs.mean[:, None]) / ccs.deviation[:, None] @ ccs.weights + ccs.bias
    no, yes = 1 / (1 + np.exp(-scores))
    answer = (yes + 1 - no) / 2
    return np.stack([1 - answer, answer], axis=1)


@functools.partial(jax.jit, static_argnames=("tries", "steps"))
def _fit(
    z: Float[Array, "2 n d"], key: Array, learning_rate: AnyScalar, weight_decay: AnyScalar, *, tries: int, steps: int
) -> Any:
    tx = optax.adamw(learning_rate, weight_decay=weight_decay)

    def objective(params: Any) -> Array:
        no, yes = jax.nn.sigmoid(z @ params[0] + params[1])
        return jnp.mean(jnp.square(yes - (1 - no)) + jnp.square(jnp.minimum(no, yes)))

    def one_try(key: Array) -> Any:
        direction = jax.random.normal(key, z.shape[-1:])
        params = direction / jnp.linalg.norm(direction), jnp.zeros(())

        def update(carry: Any, _: None) -> Any:
            params, state = carry
            updates, state = tx.update(jax.grad(objective)(params), state, params)
            return (optax.apply_updates(params, updates), state), None

        (params, _), _ = jax.lax.scan(update, (params, tx.init(params)), None, length=steps)
        return params, objective(params)

    return jax.vmap(one_try)(jax.random.split(key, tries))
