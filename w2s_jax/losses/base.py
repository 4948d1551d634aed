"""What a loss is, and how one is registered, found, given its hyperparameters, and reduced."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from w2s_jax.runtime import checks
from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.options import check_options
from w2s_jax.runtime.registry import Registry

Step = Int[Array, ""] | int
Where = Bool[Array, " b"]

CONTEXT = ("step", "total_steps", "where")
PART_CONTEXT = (*CONTEXT, "logits")  # of target transforms, weights and divergences: see `algebra`


@runtime_checkable
class Loss(Protocol):
    """A pure function `(logits [B, C], targets [B, C], *, hyperparameters, context) -> [B]`.

    Targets are probabilities over classes; the result is unreduced. Any optax loss of this form is one.
    """

    def __call__(
        self, logits: Float[Array, "b c"], targets: Float[Array, "b c"], /, *args: Any, **keywords: Any
    ) -> Float[Array, " b"]: ...


LOSSES: Registry[Loss] = Registry("loss")


def get(name: str) -> Loss:
    """The loss registered under this name.

    >>> get("cross_entropy").__name__
    'cross_entropy'

    Raises:
      UserError: there is none; the message names the nearest.
    """
    return LOSSES.find(name)


# A loss with its hyperparameters: (logits [B, C], targets [B, C], *, step, total_steps, where [B]) -> [B], unreduced.
BoundLoss = Callable[..., Float[Array, " b"]]


def bind(loss: Loss, **options: Any) -> BoundLoss:
    """The loss with its hyperparameters, as `(logits, targets, *, step, total_steps, where) -> [B]`.

    The result is float32, and exactly 0 for padding examples: the value, and the gradient whatever those hold.
    Any optax loss on logits and probabilities works too. (optax's own `where`, which comes with an `axis`, masks
    classes and is left alone. `optax.kl_divergence` wants log-probabilities: use `kl`.)

    >>> from w2s_jax import losses
    >>> loss = losses.bind(losses.label_smoothing, smoothing=0.2)
    >>> logits, weak = jnp.array([[0.0, 2.0], [9.0, 9.0]]), jnp.array([[0.3, 0.7], [0.5, 0.5]])
    >>> values = loss(logits, weak, step=0, total_steps=10, where=jnp.array([True, False]))
    >>> [f"{value:.3f}" for value in values]
    ['0.807', '0.000']

    Args:
      loss: a loss of `w2s_jax.losses`, of optax, or your own.
      **options: its hyperparameters; those left out keep their defaults.

    Raises:
      UserError: an option that the loss does not have, or a missing one that it needs; and when the bound loss is
        traced, a result that is not one value per example.
    """
    name = getattr(loss, "__name__", type(loss).__name__)
    context = context_of(loss)
    _check_options(name, loss, options)

    def bound(
        logits: Float[Array, "b c"], targets: Float[Array, "b c"], *, step: Step, total_steps: int, where: Where
    ) -> Float[Array, " b"]:
        given = {"step": step, "total_steps": total_steps, "where": where}
        valid = where[:, None]
        values = loss(
            jnp.where(valid, logits.astype(jnp.float32), 0.0),
            jnp.where(valid, targets.astype(jnp.float32), 1 / targets.shape[-1]),
            **options,
            **{key: given[key] for key in context},
        )
        if jnp.shape(values) != where.shape:
            raise UserError(
                f"loss {name!r} returned shape {jnp.shape(values)}; "
                f"it must return one value per example, shape {where.shape}"
            )
        return jnp.where(where, jnp.asarray(values, jnp.float32), 0.0)

    return bound


def reduce(values: Float[Array, " b"], where: Where) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The sum over valid examples, and their number. The mean is the ratio, taken once all parts are added up.

    >>> total, count = reduce(jnp.array([1.0, 2.0, 9.0]), jnp.array([True, True, False]))
    >>> float(total), float(count)
    (3.0, 2.0)
    """
    return jnp.sum(jnp.where(where, values, 0.0)), jnp.sum(where, dtype=jnp.float32)


def context_of(function: Callable[..., Any], context: tuple[str, ...] = CONTEXT) -> tuple[str, ...]:
    """The keywords of a context that a loss, or a part of one, names."""
    names = inspect.signature(function).parameters
    return tuple(key for key in context if key in names and not (key == "where" and "axis" in names))


def check_hyperparameter(name: str, value: Any, low: float, high: float) -> None:
    """Checks that a hyperparameter is in [low, high], where its value is known: not of a traced value or a schedule.

    Raises:
      UserError: it is out of range, or is text.
    """
    if isinstance(value, str | int | float):
        checks.check_range(name, value, low, high)


def _check_options(name: str, loss: Loss, options: Mapping[str, Any]) -> None:
    parameters = list(inspect.signature(loss).parameters.values())
    if len(parameters) < 2:
        raise UserError(f"loss {name!r} must take (logits, targets), and its hyperparameters as keywords")
    check_options(f"loss {name!r}", loss, options, given=2, context=context_of(loss))
