"""Target transforms: what a student is trained on instead of the weak labels as they are.

Each is `(probs [B, C], targets [B, C], *, context) -> [B, C]`, or a function that returns one. `probs` are the
student's own predictions (the context has their `logits`), `targets` the weak labels, as transformed so far.
"""

import math

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.scipy.special import xlogy
from jaxtyping import Float

from w2s_jax.losses.algebra import Coefficient, TargetTransform, at_step
from w2s_jax.losses.base import Step, Where, check_hyperparameter

TINY = jnp.finfo(jnp.float32).tiny


def harden_targets(probs: Float[Array, "b c"], targets: Float[Array, "b c"]) -> Float[Array, "b c"]:
    """One-hot of the targets' argmax; of equal ones the lowest class.

    >>> harden_targets(jnp.array([[0.5, 0.5]]), jnp.array([[0.2, 0.8]]))
    Array([[0., 1.]], dtype=float32)
    """
    return jax.nn.one_hot(jnp.argmax(targets, axis=-1), targets.shape[-1])


def smooth_targets(smoothing: float) -> TargetTransform:
    """`(1 - s) targets + s / C` (Szegedy et al. 2016, section 7).

    Args:
      smoothing: s, in [0, 1].
    """
    check_hyperparameter("smoothing", smoothing, 0, 1)
    return lambda probs, targets: optax.smooth_labels(targets, smoothing)


def balance_targets(probs: Float[Array, "b c"], targets: Float[Array, "b c"], *, where: Where) -> Float[Array, "b c"]:
    """`softmax(log t - mean over the batch of log t)`: for two classes, weak labels centred in log-odds.

    Source: EleutherAI/w2s, `balance_batch` (with its 1e-7 inside the logarithms).
    """
    logs = jnp.log(targets + 1e-7)
    centre = jnp.sum(jnp.where(where[:, None], logs, 0.0), axis=0) / jnp.maximum(jnp.sum(where), 1)
    return jax.nn.softmax(logs - centre)


def student_argmax(probs: Float[Array, "b c"], targets: Float[Array, "b c"]) -> Float[Array, "b c"]:
    """One-hot of the student's own argmax; of equal ones the lowest class."""
    return jax.nn.one_hot(jnp.argmax(probs, axis=-1), probs.shape[-1])


def student_at_prior(
    probs: Float[Array, "b c"],
    targets: Float[Array, "b c"],
    *,
    where: Where,
    logits: Float[Array, "b c"] | None = None,
) -> Float[Array, "b c"]:
    """The student's own hard labels, with as many examples of class 1 as the weak labels' prior asks for.

    Of the valid examples, the `round(sum of targets[:, 1])` with the smallest `z0 - z1` get class 1 and the others
    class 0 (Burns et al. 2023, section 4.3, footnote). Examples tied at the threshold all get class 0, so the result
    does not depend on their order. Where all weak labels are of one class, all examples get that class, and a single
    example gets its weak label's. With more than two classes there is no one threshold: `student_argmax`.

    >>> probs = jnp.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]])
    >>> weak = jnp.array([[0.9, 0.1], [0.1, 0.9], [0.8, 0.2]])
    >>> student_at_prior(probs, weak, where=jnp.ones(3, bool))[:, 1]
    Array([0., 0., 1.], dtype=float32)

    Args:
      logits: z; None takes the logarithms of `probs`, which beyond a margin of 88 are all equal.
    """
    if probs.shape[-1] != 2:
        return student_argmax(probs, targets)
    scores = jnp.log(probs) if logits is None else logits
    score = scores[:, 0] - scores[:, 1]
    # A half rounds down, by a margin above the sum's rounding error: no dependence on the order of examples.
    ones = jnp.floor(jnp.sum(jnp.where(where, targets[:, 1], 0.0)) + 0.499).astype(jnp.int32)
    threshold = jnp.sort(jnp.where(where, score, jnp.inf))[jnp.minimum(ones, score.size - 1)]
    zero = (score >= threshold) & (ones < jnp.sum(where))
    return jax.nn.one_hot(jnp.where(zero, 0, 1), 2)


def student_at_quantile(prior: float | None = None) -> TargetTransform:
    """The student's own hard labels as openai/weak-to-strong makes them: class 0 where `p0 >= quantile(p0, prior)`.

    The quantile is over valid examples, interpolated linearly. Unlike with `student_at_prior`, a batch of one example
    is always of class 0, and so is the example with the largest p0 where all weak labels are of class 1. With more
    than two classes: `student_argmax`.

    Args:
      prior: of class 1, in [0, 1]; None is the mean of the batch's weak labels.
    """

    def transform(probs: Float[Array, "b c"], targets: Float[Array, "b c"], *, where: Where) -> Float[Array, "b c"]:
        if probs.shape[-1] != 2:
            return student_argmax(probs, targets)
        n = jnp.maximum(jnp.sum(where), 1)
        mean = jnp.sum(jnp.where(where, targets[:, 1], 0.0)) / n
        position = jnp.clip(mean if prior is None else prior, 0.0, 1.0) * (n - 1)
        ascending = jnp.sort(jnp.where(where, probs[:, 0], jnp.inf))
        below = jnp.floor(position).astype(jnp.int32)
        low, high = ascending[below], ascending[jnp.minimum(below + 1, n - 1)]
        threshold = low + (position - below) * (high - low)
        return jax.nn.one_hot(jnp.where(probs[:, 0] >= threshold, 0, 1), 2)

    return transform


def student_in_turn(size: int = 32, earlier: Float[Array, " e"] | None = None) -> TargetTransform:
    """The student's own hard labels as EleutherAI/w2s makes them of minibatches of one: class 0 where p0 >= a median.

    Of each example it is the median of the last `size` values of p0, its own included, in the order of the batch. With
    more than two classes: `student_argmax`.

    Args:
      size: >= 1.
      earlier: p0 of the examples before the batch, the last one last; None is none, as at the start of training.
    """
    check_hyperparameter("size", size, 1, math.inf)

    def transform(probs: Float[Array, "b c"], targets: Float[Array, "b c"], *, where: Where) -> Float[Array, "b c"]:
        if probs.shape[-1] != 2:
            return student_argmax(probs, targets)
        before = jnp.zeros(0) if earlier is None else jnp.asarray(earlier, jnp.float32)
        values = jnp.concatenate([before, probs[:, 0]])
        real = jnp.concatenate([jnp.ones(len(before), bool), where])
        turn = jnp.cumsum(real)  # padding examples take no turn
        last = turn[len(before) :, None]
        within = real & (turn <= last) & (turn > last - size)
        ascending = jnp.sort(jnp.where(within, values, jnp.inf), axis=1)
        middle = (jnp.maximum(jnp.sum(within, axis=1), 1) - 1) / 2
        low, high = (
            jnp.take_along_axis(ascending, rounded(middle).astype(jnp.int32)[:, None], axis=1)[:, 0]
            for rounded in (jnp.floor, jnp.ceil)
        )
        return jax.nn.one_hot(jnp.where(probs[:, 0] >= (low + high) / 2, 0, 1), 2)

    return transform


def student_times_targets(alpha: Coefficient, beta: Coefficient) -> TargetTransform:
    """`p^beta targets^alpha`, normalised; computed in logarithms, so that nothing is divided by 0.

    Args:
      alpha, beta: >= 0, or schedules.
    """

    def transform(
        probs: Float[Array, "b c"],
        targets: Float[Array, "b c"],
        *,
        step: Step | None,
        logits: Float[Array, "b c"] | None = None,
    ) -> Float[Array, "b c"]:
        logs = jnp.log(jnp.maximum(probs, TINY)) if logits is None else jax.nn.log_softmax(logits)
        student = at_step(beta, step) * logs
        return jax.nn.softmax(student + xlogy(at_step(alpha, step), targets))

    return transform


def adaptive_mix(temperature: float) -> TargetTransform:
    """`(1 - b) targets + b student_argmax`, with b as in `adaptive_confidence`.

    Args:
      temperature: > 0.
    """

    def transform(
        probs: Float[Array, "b c"], targets: Float[Array, "b c"], *, logits: Float[Array, "b c"] | None = None
    ) -> Float[Array, "b c"]:
        own = student_argmax(probs, targets)
        supervisors = harden_targets(probs, targets)
        logs = jnp.log(jnp.maximum(probs, TINY)) if logits is None else jax.nn.log_softmax(logits)
        log_own, log_supervisors = (jnp.sum(logs * hard, axis=-1) for hard in (own, supervisors))
        b = jax.nn.sigmoid((log_supervisors - log_own) / temperature)[:, None]
        return (1 - b) * targets + b * own

    return transform
