"""The algebra of losses: target transforms, a divergence and weights, composed; coefficients that change with the step.

  target transform: `(probs [B, C], targets [B, C], *, context) -> targets [B, C]`
  weight: `(probs [B, C], targets [B, C], *, context) -> [B]`
  divergence: `(logits [B, C], targets [B, C], *, context) -> [B]`

`probs` are the student's own predictions; who needs them where they round to 0 or 1 asks for `logits` [B, C] in the
context. None of these, and no targets or weights, carry a gradient.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Float

from w2s_jax.losses.base import PART_CONTEXT, Loss, Step, Where, context_of
from w2s_jax.runtime.errors import UserError

TargetTransform = Callable[..., Float[Array, "b c"]]
Weight = Callable[..., Float[Array, " b"]]
Coefficient: TypeAlias = float | int | Array | optax.Schedule


def compose(divergence: Loss, *, targets: tuple[TargetTransform, ...] = (), weights: tuple[Weight, ...] = ()) -> Loss:
    """A loss: the divergence from the transformed targets, multiplied by every weight.

    Transforms are applied one after another. Weights see the targets as they were given, before any transform.

    >>> from w2s_jax import losses
    >>> own = losses.compose(losses.cross_entropy, targets=(losses.mix(losses.student_argmax, 0.5),))
    >>> values = own(jnp.array([[0.0, 2.0]]), jnp.array([[0.3, 0.7]]))
    >>> f"{values[0]:.3f}"
    '0.427'
    """
    transforms = targets

    def loss(
        logits: Float[Array, "b c"],
        targets: Float[Array, "b c"],
        *,
        step: Step | None = None,
        total_steps: int | None = None,
        where: Where | None = None,
    ) -> Float[Array, " b"]:
        valid = jnp.ones(logits.shape[:1], bool) if where is None else where
        logits, given = logits.astype(jnp.float32), jax.lax.stop_gradient(targets.astype(jnp.float32))
        probs = jax.lax.stop_gradient(jax.nn.softmax(logits))
        own = jax.lax.stop_gradient(logits)
        context = {"step": step, "total_steps": total_steps, "where": valid, "logits": own}
        labels = given
        for transform in transforms:
            labels = call(transform, probs, labels, context)
        values = call(divergence, logits, labels, context)
        for weight in weights:
            values = values * call(weight, probs, given, context)
        return values

    return loss


def mix(transform: TargetTransform, coefficient: Coefficient) -> TargetTransform:
    """A target transform: `(1 - c) targets + c transform(targets)`.

    Args:
      coefficient: c, a number in [0, 1], or an `optax.Schedule` that is evaluated at `step`.
    """

    def mixed(
        probs: Float[Array, "b c"],
        targets: Float[Array, "b c"],
        *,
        step: Step | None,
        total_steps: int | None,
        where: Where,
        logits: Float[Array, "b c"] | None = None,
    ) -> Float[Array, "b c"]:
        context = {"step": step, "total_steps": total_steps, "where": where, "logits": logits}
        c = at_step(coefficient, step)
        return (1 - c) * targets + c * call(transform, probs, targets, context)

    return mixed


def linear_warmup(peak: Coefficient, steps: float) -> Coefficient:
    """A coefficient that rises linearly from 0 to `peak` over `steps`, and then stays.

    A schedule is returned as it is, and so is a peak with 0 steps.

    >>> warmup = linear_warmup(0.5, 10)
    >>> [round(float(warmup(step)), 2) for step in (0, 5, 10, 99)]
    [0.0, 0.25, 0.5, 0.5]
    """
    if callable(peak) or steps <= 0:
        return peak
    return optax.linear_schedule(0.0, peak, steps)


def warmup_steps(fraction: float, total_steps: int | None) -> float:
    """How many steps a warm-up over a fraction of training takes.

    Raises:
      UserError: there is a warm-up, and `total_steps` is None.
    """
    if fraction and total_steps is None:
        raise UserError("a warm-up over a fraction of training needs `total_steps`; pass it, or warmup_fraction=0")
    return fraction * (total_steps or 0)


def at_step(coefficient: Coefficient, step: Step | None) -> Array | float:
    """The coefficient's value at this step.

    Raises:
      UserError: it is a schedule, and `step` is None.
    """
    if not callable(coefficient):
        return coefficient
    if step is None:
        raise UserError("a coefficient that changes during training needs `step`; pass it, or a number without warm-up")
    return coefficient(step)


def call(function: Callable[..., Array], first: Array, second: Array, context: Mapping[str, Any]) -> Array:
    """`function(first, second)`, with what it names of the context."""
    first_name = next(iter(inspect.signature(function).parameters))
    names = (key for key in context_of(function, PART_CONTEXT) if key != first_name)  # a divergence's logits come first
    return function(first, second, **{key: context[key] for key in names})
