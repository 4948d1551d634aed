"""Losses from the literature on label noise: they trust a single label less than cross entropy does."""

import math

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from w2s_jax.losses.algebra import compose
from w2s_jax.losses.base import LOSSES, check_hyperparameter
from w2s_jax.losses.divergences import cross_entropy, reverse_cross_entropy
from w2s_jax.losses.targets import smooth_targets


@LOSSES.register
def label_smoothing(
    logits: Float[Array, "b c"], targets: Float[Array, "b c"], *, smoothing: float = 0.1
) -> Float[Array, " b"]:
    """Cross entropy on `(1 - smoothing) w + smoothing / C`.

    >>> [f"{value:.3f}" for value in label_smoothing(jnp.array([[0.0, 2.0]]), jnp.array([[0.0, 1.0]]))]
    ['0.227']

    Args:
      logits: [B, C], unnormalised.
      targets: [B, C], class probabilities.
      smoothing: in [0, 1]; 0 is cross entropy.

    Returns:
      [B], float32.

    Raises:
      UserError: `smoothing` is out of range.

    References:
      Szegedy et al. 2016, Rethinking the Inception Architecture, section 7, arXiv 1512.00567.
    """
    return compose(cross_entropy, targets=(smooth_targets(smoothing),))(logits, targets)


@LOSSES.register
def focal(logits: Float[Array, "b c"], targets: Float[Array, "b c"], *, gamma: float = 2.0) -> Float[Array, " b"]:
    """Focal loss `-sum_k w_k (1 - p_k)^gamma log p_k`, for soft labels.

    >>> [f"{value:.3f}" for value in focal(jnp.array([[0.0, 2.0]]), jnp.array([[0.0, 1.0]]))]
    ['0.002']

    Args:
      logits: [B, C], unnormalised.
      targets: [B, C], class probabilities.
      gamma: >= 0; 0 is cross entropy.

    Returns:
      [B], float32.

    Raises:
      UserError: `gamma` is out of range.

    References:
      Lin et al. 2017, Focal Loss for Dense Object Detection, equation 4, arXiv 1708.02002.
    """
    check_hyperparameter("gamma", gamma, 0, math.inf)
    log_probs = jax.nn.log_softmax(logits.astype(jnp.float32))
    others = jnp.where(jnp.eye(logits.shape[-1], dtype=bool), -jnp.inf, log_probs[:, None, :])
    log_rest = jax.nn.logsumexp(others, axis=-1)  # log(1 - p), exact where p rounds to 1
    return -jnp.sum(targets.astype(jnp.float32) * jnp.exp(gamma * log_rest) * log_probs, axis=-1)


@LOSSES.register
def generalized_cross_entropy(
    logits: Float[Array, "b c"], targets: Float[Array, "b c"], *, q: float = 0.7
) -> Float[Array, " b"]:
    """Generalized cross entropy `sum_k w_k (1 - p_k^q) / q`, for soft labels.

    >>> [f"{value:.3f}" for value in generalized_cross_entropy(jnp.array([[0.0, 2.0]]), jnp.array([[0.0, 1.0]]))]
    ['0.121']

    Args:
      logits: [B, C], unnormalised.
      targets: [B, C], class probabilities.
      q: in [0.001, 1]; towards 0 it is cross entropy, at 1 the mean absolute error (up to a factor).

    Returns:
      [B], float32.

    Raises:
      UserError: `q` is out of range.

    References:
      Zhang & Sabuncu 2018, Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy Labels,
      equation 6, arXiv 1805.07836.
    """
    check_hyperparameter("q", q, 1e-3, 1)
    log_probs = jax.nn.log_softmax(logits.astype(jnp.float32))
    return jnp.sum(targets.astype(jnp.float32) * -jnp.expm1(q * log_probs), axis=-1) / q


@LOSSES.register
def symmetric_cross_entropy(
    logits: Float[Array, "b c"],
    targets: Float[Array, "b c"],
    *,
    alpha: float = 0.1,
    beta: float = 1.0,
    floor: float = 1e-4,
) -> Float[Array, " b"]:
    """Symmetric cross entropy `alpha CE + beta RCE`.

    >>> [f"{value:.3f}" for value in symmetric_cross_entropy(jnp.array([[0.0, 2.0]]), jnp.array([[0.0, 1.0]]))]
    ['1.111']

    Args:
      logits: [B, C], unnormalised.
      targets: [B, C], class probabilities.
      alpha: >= 0, weight of cross entropy.
      beta: >= 0, weight of reverse cross entropy.
      floor: in (0, 1], the lower bound on w_k inside the logarithm; the paper's A is log(floor).

    Returns:
      [B], float32.

    Raises:
      UserError: a hyperparameter is out of range.

    References:
      Wang et al. 2019, Symmetric Cross Entropy for Robust Learning with Noisy Labels, equation 5, arXiv 1908.06112.
    """
    check_hyperparameter("alpha", alpha, 0, math.inf)
    check_hyperparameter("beta", beta, 0, math.inf)
    return alpha * cross_entropy(logits, targets) + beta * reverse_cross_entropy(logits, targets, floor=floor)
