"""Losses of the weak-to-strong literature: how a student is to weigh weak labels against its own predictions.

p = softmax(logits) is the student's prediction, w the weak labels, and h the student's own hard labels, which never
carry a gradient.
"""

import math
from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import digamma, gammaln
from jaxtyping import Float

from w2s_jax.losses.algebra import Coefficient, at_step, compose, linear_warmup, mix
from w2s_jax.losses.algebra import warmup_steps as steps_of_fraction
from w2s_jax.losses.base import LOSSES, Step, Where, check_hyperparameter
from w2s_jax.losses.divergences import cross_entropy, student_entropy
from w2s_jax.losses.targets import (
    adaptive_mix,
    balance_targets,
    harden_targets,
    student_argmax,
    student_at_prior,
    student_at_quantile,
    student_in_turn,
    student_times_targets,
)
from w2s_jax.losses.weights import inside_midweak_window, inside_window
from w2s_jax.runtime.errors import UserError


@LOSSES.register
def hard_labels(logits: Float[Array, "b c"], targets: Float[Array, "b c"]) -> Float[Array, " b"]:
    """Cross entropy on the weak labels' argmax.

    >>> [f"{value:.3f}" for value in hard_labels(jnp.array([[0.0, 2.0]]), jnp.array([[0.3, 0.7]]))]
    ['0.127']

    Args:
      logits: [B, C], unnormalised.
      targets: [B, C], class probabilities.

    Returns:
      [B], float32.
    """
    return compose(cross_entropy, targets=(harden_targets,))(logits, targets)


@LOSSES.register
def confidence(
    logits: Float[Array, "b c"],
    targets: Float[Array, "b c"],
    *,
    alpha: Coefficient = 0.5,
    warmup_fraction: float = 0.2,
    step: Step | None = None,
    total_steps: int | None = None,
    where: Where | None = None,
) -> Float[Array, " b"]:
    """The auxiliary confidence loss `CE(p, (1 - a) w + a h)`.

    h are the student's own predictions, hardened by a threshold that is set for each batch so that as many examples
    are of class 1 as the weak labels' prior asks for (`student_at_prior`).

    >>> logits, weak = jnp.array([[0.0, 2.0], [0.0, -2.0]]), jnp.array([[0.8, 0.2], [0.3, 0.7]])
    >>> [f"{value:.3f}" for value in confidence(logits, weak, alpha=0.5, warmup_fraction=0)]
    ['0.927', '0.827']

    Args:
      logits: [B, C], unnormalised.
      targets: [B, C], class probabilities.
      alpha: in [0, 1]; the paper takes 0.75 for its largest students, 0.5 for the others. Or an `optax.Schedule`,
        used without further warm-up.
      warmup_fraction: in [0, 1]; a rises linearly from 0 to alpha over this fraction of `total_steps`. 0 is no
        warm-up.
      step, total_steps, where: the context, as `bind` passes it; `where` None is the whole batch.

    Returns:
      [B], float32.

    Raises:
      UserError: a hyperparameter is out of range, or `step` and `total_steps` are missing and there is a warm-up.

    References:
      Burns et al. 2023, Weak-to-Strong Generalization, section 4.3 and appendix A.4, arXiv 2312.09390.
    """
    check_hyperparameter("alpha", alpha, 0, 1)
    check_hyperparameter("warmup_fraction", warmup_fraction, 0, 1)
    a = linear_warmup(alpha, 0 if callable(alpha) else steps_of_fraction(warmup_fraction, total_steps))
    return compose(cross_entropy, targets=(mix(student_at_prior, a),))(logits, targets, step=step, where=where)


@LOSSES.register
def openai_logconf(
    logits: Float[Array, "b c"],
    targets: Float[Array, "b c"],
    *,
    alpha: float = 0.5,
    warmup_fraction: float = 0.1,
    step: Step | None = None,
    total_steps: int | None = None,
    where: Where | None = None,
) -> Float[Array, " b"]:
    """`logconf` as openai/weak-to-strong runs it, faults included: to reproduce its figures, not to use.

    As `confidence`, but a is `alpha step / total_steps` up to the warm-up's end, where it jumps to alpha (with the
    defaults from 0.05 to 0.5), and the threshold is a quantile (`student_at_quantile`).

    Args:
      logits: [B, C], unnormalised.
      targets: [B, C], class probabilities.
      alpha: in [0, 1].
      warmup_fraction: in [0, 1], of `total_steps`.
      step, total_steps, where: the context, as `bind` passes it. The first two are needed.

    Returns:
      [B], float32.

    Raises:
      UserError: a hyperparameter is out of range, or `step` or `total_steps` is missing.

    References:
      https://github.com/openai/weak-to-strong, `weak_to_strong/loss.py`.
    """
    check_hyperparameter("alpha", alpha, 0, 1)
    check_hyperparameter("warmup_fraction", warmup_fraction, 0, 1)
    if total_steps is None:
        raise UserError("openai_logconf needs `step` and `total_steps`")

    def a(step: Step) -> Array:
        return alpha * jnp.where(step > warmup_fraction * total_steps, 1.0, step / total_steps)

    return compose(cross_entropy, targets=(mix(student_at_quantile(), a),))(logits, targets, step=step, where=where)


@LOSSES.register
def log_confidence(
    logits: Float[Array, "b c"],
    targets: Float[Array, "b c"],
    *,
    alpha: Coefficient = 0.5,
    warmup_steps: int = 100,
    balance: bool = False,
    step: Step | None = None,
    where: Where | None = None,
) -> Float[Array, " b"]:
    """`log_confidence_loss` of EleutherAI/w2s on a whole batch: as `confidence`, but the warm-up and the threshold.

    The warm-up is in steps, and the threshold a quantile.

    Their runs use minibatches of one by default. The prior is then one half, and the threshold a median over the last
    32 examples: `eleuther_logconf`. The two give other pseudo-labels to 7, 20 and 35% of examples where the mean weak
    label is .5, .3 and .15.

    >>> logits, weak = jnp.array([[0.0, 2.0], [0.0, -2.0]]), jnp.array([[0.8, 0.2], [0.3, 0.7]])
    >>> [f"{value:.3f}" for value in log_confidence(logits, weak, warmup_steps=0)]
    ['0.927', '0.827']

    Args:
      logits: [B, C], unnormalised.
      targets: [B, C], class probabilities.
      alpha: in [0, 1], or an `optax.Schedule`, used without further warm-up.
      warmup_steps: >= 0, optimizer steps from 0 to alpha.
      balance: centre the batch's weak labels in log-odds first (`balance_targets`), and take 1/2 as the prior.
      step, where: the context, as `bind` passes it; `where` None is the whole batch.

    Returns:
      [B], float32.

    Raises:
      UserError: a hyperparameter is out of range, or `step` is missing and there is a warm-up.

    References:
      https://github.com/EleutherAI/w2s, `w2s/loss.py`.
    """
    check_hyperparameter("alpha", alpha, 0, 1)
    check_hyperparameter("warmup_steps", warmup_steps, 0, math.inf)
    own = mix(student_at_quantile(0.5 if balance else None), linear_warmup(alpha, warmup_steps))
    transforms = (balance_targets, own) if balance else (own,)
    return compose(cross_entropy, targets=transforms)(logits, targets, step=step, where=where)


@LOSSES.register
def eleuther_logconf(
    logits: Float[Array, "b c"],
    targets: Float[Array, "b c"],
    *,
    alpha: Coefficient = 0.5,
    warmup_steps: int = 100,
    buffer: int = 32,
    earlier: Float[Array, " e"] | None = None,
    step: Step | None = None,
    where: Where | None = None,
) -> Float[Array, " b"]:
    """`log_confidence_loss` as EleutherAI/w2s runs it by default, one example after another: to reproduce its figures.

    As `log_confidence`, but an example is of class 0 where p0 is at or above the median of the last `buffer` examples'
    p0, its own included (`student_in_turn`): whatever the weak labels' prior, half of the examples get each class.
    With `earlier` it is their loss of every example of a batch that is accumulated from minibatches of one. In
    training the buffer starts empty with every batch, for a loss has no memory: while theirs goes back to the batch
    before, whose predictions are a step older. Of batches of 32 about 9% of pseudo-labels are then others than theirs.

    >>> logits, weak = jnp.array([[0.0, 2.0], [0.0, -2.0]]), jnp.array([[0.8, 0.2], [0.3, 0.7]])
    >>> [f"{value:.3f}" for value in eleuther_logconf(logits, weak, warmup_steps=0)]
    ['1.927', '0.827']

    Args:
      logits: [B, C], unnormalised.
      targets: [B, C], class probabilities.
      alpha: in [0, 1], or an `optax.Schedule`, used without further warm-up.
      warmup_steps: >= 0, optimizer steps from 0 to alpha.
      buffer: >= 1, how many examples the median is over.
      earlier: p0 of the examples before the batch, the last one last; None is none.
      step, where: the context, as `bind` passes it; `where` None is the whole batch.

    Returns:
      [B], float32.

    Raises:
      UserError: a hyperparameter is out of range, or `step` is missing and there is a warm-up.

    References:
      https://github.com/EleutherAI/w2s, `w2s/loss.py`, with its default `minibatch_size` of 1.
    """
    check_hyperparameter("alpha", alpha, 0, 1)
    check_hyperparameter("warmup_steps", warmup_steps, 0, math.inf)
    own = mix(student_in_turn(buffer, earlier), linear_warmup(alpha, warmup_steps))
    return compose(cross_entropy, targets=(own,))(logits, targets, step=step, where=where)


@LOSSES.register
def product(
    logits: Float[Array, "b c"],
    targets: Float[Array, "b c"],
    *,
    alpha: Coefficient = 1.0,
    beta: Coefficient = 1.0,
    step: Step | None = None,
) -> Float[Array, " b"]:
    """Cross entropy on `p^beta w^alpha`, normalised and without gradient.

    With beta = 1 its only minimum is certainty, wherever w is not 1/2: it always hardens.

    >>> [f"{value:.3f}" for value in product(jnp.array([[0.0, 2.0]]), jnp.array([[0.3, 0.7]]))]
    ['0.237']

    Args:
      logits: [B, C], unnormalised.
      targets: [B, C], class probabilities.
      alpha: >= 0, or an `optax.Schedule`: exponent of the weak labels.
      beta: >= 0, or an `optax.Schedule`: exponent of the student's own prediction.
      step: the context, as `bind` passes it; a schedule needs it.

    Returns:
      [B], float32.

    Raises:
      UserError: a hyperparameter is out of range, or a schedule is given without `step`.

    References:
      https://github.com/openai/weak-to-strong, `weak_to_strong/loss.py`.
    """
    check_hyperparameter("alpha", alpha, 0, math.inf)
    check_hyperparameter("beta", beta, 0, math.inf)
    return compose(cross_entropy, targets=(student_times_targets(alpha, beta),))(logits, targets, step=step)


@LOSSES.register
def entropy(
    logits: Float[Array, "b c"],
    targets: Float[Array, "b c"],
    *,
    alpha: Coefficient = 0.5,
    warmup_steps: int = 100,
    step: Step | None = None,
) -> Float[Array, " b"]:
    """Cross entropy with the student's entropy, `(1 - a) CE(p, w) + a H(p)`.

    H has its gradient here. The authors' code takes `CE(p, stop_gradient(p))` for H, whose gradient is 0, so that it
    trains on `(1 - a) CE` alone.

    >>> [f"{value:.3f}" for value in entropy(jnp.array([[0.0, 2.0]]), jnp.array([[0.3, 0.7]]), warmup_steps=0)]
    ['0.546']

    Args:
      logits: [B, C], unnormalised.
      targets: [B, C], class probabilities.
      alpha: in [0, 1], or an `optax.Schedule`, used without further warm-up.
      warmup_steps: >= 0, optimizer steps from 0 to alpha.
      step: the context, as `bind` passes it; a warm-up needs it.

    Returns:
      [B], float32.

    Raises:
      UserError: a hyperparameter is out of range, or `step` is missing and there is a warm-up.

    References:
      EleutherAI's blog post of June 2024 on weak-to-strong generalization.
    """
    check_hyperparameter("alpha", alpha, 0, 1)
    check_hyperparameter("warmup_steps", warmup_steps, 0, math.inf)
    a = at_step(linear_warmup(alpha, warmup_steps), step)
    return (1 - a) * cross_entropy(logits, targets) + a * student_entropy(logits)


@LOSSES.register
def confidence_window(
    logits: Float[Array, "b c"],
    targets: Float[Array, "b c"],
    *,
    radius: float | Literal["midweak"] = 0.15,
    where: Where | None = None,
) -> Float[Array, " b"]:
    """Cross entropy where `max_k p_k < 1/2 + radius`, else 0.

    >>> weak = jnp.array([[0.3, 0.7], [0.3, 0.7]])
    >>> [f"{value:.3f}" for value in confidence_window(jnp.array([[0.0, 0.5], [0.0, 2.0]]), weak)]
    ['0.624', '0.000']

    Args:
      logits: [B, C], unnormalised.
      targets: [B, C], class probabilities.
      radius: in [0, 0.5]; or `midweak`, the median of |w - 1/2| over the batch's weak labels w. (The authors take it
        over all weak labels: with batches of 32 this one moves a little from batch to batch.)
      where: [B], the batch's valid examples, as `bind` passes it; None is all.

    Returns:
      [B], float32.

    Raises:
      UserError: `radius` is out of range.

    References:
      EleutherAI's blog post of June 2024 on weak-to-strong generalization.
    """
    if radius == "midweak":
        return compose(cross_entropy, weights=(inside_midweak_window,))(logits, targets, where=where)
    check_hyperparameter("radius", radius, 0, 0.5)
    return compose(cross_entropy, weights=(inside_window(radius),))(logits, targets)


@LOSSES.register
def adaptive_confidence(
    logits: Float[Array, "b c"], targets: Float[Array, "b c"], *, temperature: float = 1.0
) -> Float[Array, " b"]:
    """AdaptConf, `CE(p, (1 - b) w + b h)`, with h the student's argmax and b set for each example.

    `b = e^(CE(p, h) / T) / (e^(CE(p, h) / T) + e^(CE(p, h_w) / T))` with h_w the supervisor's argmax: 1/2 where the
    two agree, smaller where they do not. b has no gradient.

    >>> [f"{value:.3f}" for value in adaptive_confidence(jnp.array([[0.0, 2.0]]), jnp.array([[0.7, 0.3]]))]
    ['1.360']

    Args:
      logits: [B, C], unnormalised.
      targets: [B, C], class probabilities.
      temperature: T > 0; the authors take 0.5 on CIFAR and 4 on ImageNet.

    Returns:
      [B], float32.

    Raises:
      UserError: `temperature` is out of range.

    References:
      Guo et al. 2024, Vision Superalignment: Weak-to-Strong Generalization for Vision Foundation Models,
      arXiv 2402.03749.
    """
    check_hyperparameter("temperature", temperature, 1e-6, math.inf)
    return compose(cross_entropy, targets=(adaptive_mix(temperature),))(logits, targets)


@LOSSES.register
def evidential(
    logits: Float[Array, "b c"],
    targets: Float[Array, "b c"],
    *,
    gamma: float = 0.5,
    kl_weight: Coefficient | None = None,
    step: Step | None = None,
    total_steps: int | None = None,
) -> Float[Array, " b"]:
    """Evidential loss `(1 - gamma) l(w) + gamma l(h)`, with h the student's argmax.

    With evidence e = 1 + relu(logits) and S = sum_k e_k, the loss of class k is
    `log S - log e_k + kl_weight KL(Dir(e with 1 in place of e_k) || Dir(1))`, and l(w) is its mean over classes drawn
    from w: what training on labels drawn from w minimises. For hard labels that is the paper's equation. For soft ones
    other code puts w into its `(e - 1)(1 - w) + 1`, of which the KL is not linear: evidence for any class that w gives
    some weight is then penalised less than on average over the labels that w stands for.

    The paper's prediction is the Dirichlet's mean e / S. Here predictions are softmax(logits), as for every loss. While
    one logit at least is positive both have the same argmax (the class of the largest logit); where none is, e / S is
    uniform and softmax is not. The probabilities differ, and with them calibration (ECE), AUROC (for two classes:
    the order of examples), log loss and the soft labels that a further student would learn.

    >>> [f"{value:.3f}" for value in evidential(jnp.array([[0.0, 2.0]]), jnp.array([[0.3, 0.7]]), kl_weight=0.0)]
    ['0.452']

    Args:
      logits: [B, C], unnormalised.
      targets: [B, C], class probabilities.
      gamma: in [0, 1], how much the student's own labels count.
      kl_weight: >= 0, or an `optax.Schedule`; None is `step / total_steps`.
      step, total_steps: the context, as `bind` passes it.

    Returns:
      [B], float32.

    Raises:
      UserError: a hyperparameter is out of range, or `step` or `total_steps` is missing and `kl_weight` is None.

    References:
      Cui et al. 2024, equations 4 and 5, arXiv 2406.03199.
    """
    check_hyperparameter("gamma", gamma, 0, 1)
    check_hyperparameter("kl_weight", kl_weight, 0, math.inf)
    if kl_weight is None:
        if step is None or total_steps is None:
            raise UserError("evidential without kl_weight needs `step` and `total_steps`")
        kl_weight = step / total_steps
    scores = logits.astype(jnp.float32)
    own = student_argmax(jax.lax.stop_gradient(scores), targets)
    weak = jax.lax.stop_gradient(targets.astype(jnp.float32))
    # At 0, where a fresh head starts, `maximum` has a slope and `relu` has none: it would never learn.
    evidence, weight = 1 + jnp.maximum(scores, 0.0), at_step(kl_weight, step)
    return (1 - gamma) * _evidential(evidence, weak, weight) + gamma * _evidential(evidence, own, weight)


def _evidential(
    evidence: Float[Array, "b c"], labels: Float[Array, "b c"], kl_weight: Array | float
) -> Float[Array, " b"]:
    total = jnp.sum(evidence, axis=-1, keepdims=True)
    each = jnp.log(total) - jnp.log(evidence) + kl_weight * _kl_of_the_others(evidence)
    return jnp.sum(labels * each, axis=-1)


def _kl_of_the_others(concentration: Float[Array, "b c"]) -> Float[Array, "b c"]:
    """For each class KL(Dir || Dir(1)), with 1 in its own place: of the evidence for all others."""
    others = jnp.sum(concentration, axis=-1, keepdims=True) - concentration + 1
    logs, slopes = gammaln(concentration), (concentration - 1) * digamma(concentration)
    norm = gammaln(others) - (jnp.sum(logs, axis=-1, keepdims=True) - logs) - gammaln(float(concentration.shape[-1]))
    return (
        norm + jnp.sum(slopes, axis=-1, keepdims=True) - slopes - (others - concentration.shape[-1]) * digamma(others)
    )
