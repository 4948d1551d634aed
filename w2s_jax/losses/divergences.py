"""Divergences between the student's prediction p = softmax(logits) and the weak labels w. Each is a loss by itself."""

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.scipy.special import entr
from jaxtyping import Float

from w2s_jax.losses.base import LOSSES, check_hyperparameter
from w2s_jax.losses.targets import TINY


@LOSSES.register
def cross_entropy(logits: Float[Array, "b c"], targets: Float[Array, "b c"]) -> Float[Array, " b"]:
    """Cross entropy `-sum_k w_k log p_k`: naive finetuning on weak labels.

    >>> [f"{value:.3f}" for value in cross_entropy(jnp.array([[0.0, 2.0]]), jnp.array([[0.3, 0.7]]))]
    ['0.727']

    Args:
      logits: [B, C], unnormalised.
      targets: [B, C], class probabilities.

    Returns:
      [B], float32.

    References:
      Burns et al. 2023, Weak-to-Strong Generalization, arXiv 2312.09390.
    """
    return optax.softmax_cross_entropy(logits.astype(jnp.float32), targets.astype(jnp.float32))


@LOSSES.register
def kl(logits: Float[Array, "b c"], targets: Float[Array, "b c"]) -> Float[Array, " b"]:
    """Forward KL divergence `KL(w || p) = sum_k w_k log(w_k / p_k)`.

    It has the gradient of cross entropy, and 0 as its minimum.

    >>> [f"{value:.3f}" for value in kl(jnp.array([[0.0, 2.0], [0.0, 0.0]]), jnp.array([[0.3, 0.7], [0.5, 0.5]]))]
    ['0.116', '0.000']

    Args:
      logits: [B, C], unnormalised.
      targets: [B, C], class probabilities; held constant.

    Returns:
      [B], float32, >= 0.
    """
    weak = jax.lax.stop_gradient(targets.astype(jnp.float32))
    return cross_entropy(logits, weak) - jnp.sum(entr(weak), axis=-1)


@LOSSES.register
def reverse_cross_entropy(
    logits: Float[Array, "b c"], targets: Float[Array, "b c"], *, floor: float = 1e-6
) -> Float[Array, " b"]:
    """Reverse cross entropy `-sum_k p_k log max(w_k, floor)`.

    Its minimum is on the supervisor's argmax, not on w: mix it with another loss, or stop early.

    >>> [f"{value:.3f}" for value in reverse_cross_entropy(jnp.array([[0.0, 2.0]]), jnp.array([[0.3, 0.7]]))]
    ['0.458']

    Args:
      logits: [B, C], unnormalised.
      targets: [B, C], class probabilities; held constant.
      floor: in (0, 1], the lower bound on w_k inside the logarithm, since softmax in float32 gives exact zeros.

    Returns:
      [B], float32.

    Raises:
      UserError: `floor` is out of range.

    References:
      Yao et al. 2025, arXiv 2502.11107.
    """
    check_hyperparameter("floor", floor, float(TINY), 1)
    weak = jax.lax.stop_gradient(targets.astype(jnp.float32))
    return -jnp.sum(jax.nn.softmax(logits.astype(jnp.float32)) * jnp.log(jnp.maximum(weak, floor)), axis=-1)


@LOSSES.register
def reverse_kl(logits: Float[Array, "b c"], targets: Float[Array, "b c"], *, floor: float = 1e-6) -> Float[Array, " b"]:
    """Reverse KL divergence `KL(p || w) = sum_k p_k log(p_k / max(w_k, floor))`.

    >>> [f"{value:.3f}" for value in reverse_kl(jnp.array([[0.0, 2.0]]), jnp.array([[0.3, 0.7]]))]
    ['0.092']

    Args:
      logits: [B, C], unnormalised.
      targets: [B, C], class probabilities; held constant.
      floor: in (0, 1], as in `reverse_cross_entropy`.

    Returns:
      [B], float32.

    Raises:
      UserError: `floor` is out of range.

    References:
      Yao et al. 2025, arXiv 2502.11107.
    """
    return reverse_cross_entropy(logits, targets, floor=floor) - student_entropy(logits)


def student_entropy(logits: Float[Array, "b c"]) -> Float[Array, " b"]:
    """`H(p) = -sum_k p_k log p_k`, with its gradient.

    >>> [f"{value:.3f}" for value in student_entropy(jnp.array([[0.0, 0.0], [0.0, 2.0]]))]
    ['0.693', '0.365']
    """
    log_probs = jax.nn.log_softmax(logits.astype(jnp.float32))
    return -jnp.sum(jnp.exp(log_probs) * log_probs, axis=-1)
