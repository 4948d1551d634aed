"""The optimizer and its learning rate, from a few named numbers."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from w2s_jax.runtime import errors
from w2s_jax.runtime.errors import UserError

Name = Literal["adamw", "adafactor", "sgd"]
Schedule = Literal["constant", "linear", "cosine"]
Mask = Any | Callable[[Any], Any]
_FALL: dict[str, Callable[[Array], Array]] = {
    "constant": jnp.ones_like,
    "linear": lambda progress: 1 - progress,
    "cosine": lambda progress: (1 + jnp.cos(jnp.pi * progress)) / 2,
}


@dataclass(frozen=True)
class OptimizerConfig:
    """How parameters follow the gradient.

    The defaults are those of openai/weak-to-strong for its GPT-2 models (5e-5, annealed by a cosine to 0, no decay,
    no warm-up), with the gradient clipped to norm 1, as the Hugging Face Trainer does.

    Attributes:
      name: `adamw` (Loshchilov & Hutter 2019), `adafactor` (Shazeer & Stern 2018; factored second moments, no
        momentum) or `sgd` (heavy-ball momentum `beta1`).
      learning_rate: the peak, > 0.
      head_learning_rate: the peak for the head, which starts from zero on a pretrained body; None is the same.
      schedule: from the peak to 0 at the last step along a line or half a cosine, or constant.
      warmup_fraction: the part of all steps, in [0, 1), over which the rate rises to the peak.
      weight_decay: decoupled, multiplied by the learning rate, >= 0.
      beta1, beta2, eps: of Adam.
      clip_norm: the largest norm of the gradient of all parameters together, > 0; None does not clip.
    """

    name: Name = "adamw"
    learning_rate: float = 5e-5
    head_learning_rate: float | None = None
    schedule: Schedule = "cosine"
    warmup_fraction: float = 0.0
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    clip_norm: float | None = 1.0

    def __post_init__(self) -> None:
        if self.name not in get_args(Name):
            raise errors.unknown("optimizer", self.name, get_args(Name))
        if self.schedule not in get_args(Schedule):
            raise errors.unknown("schedule", self.schedule, get_args(Schedule))
        for name in ("learning_rate", "head_learning_rate", "eps", "clip_norm"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UserError(f"{name} must be more than 0, not {value}")
        for name in ("warmup_fraction", "beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"{name} must be in [0, 1), not {getattr(self, name)}")
        if not self.weight_decay >= 0:
            raise UserError(f"weight_decay must be 0 or more, not {self.weight_decay}")

    @property
    def program(self) -> "OptimizerConfig":
        """The same with every number at 1 that the optimizer's state holds: what decides the compiled program."""
        held: dict[str, Any] = {name: 1.0 for name in HELD if getattr(self, name)}
        return replace(self, **held)


HELD = ("learning_rate", "head_learning_rate", "weight_decay")  # numbers of a state, not of a program


def learning_rate_at(config: OptimizerConfig, total_steps: int) -> optax.Schedule:
    """The learning rate as a function of the step, counted from 0.

    With W = round(warmup_fraction * total_steps) and u = (t - W) / (total_steps - W), clipped to [0, 1]:
    `learning_rate * min(1, (t + 1) / W) * d(u)`, where d is 1, 1 - u or (1 + cos(pi u)) / 2.
    """
    share = _share_of_peak(config, total_steps)
    return lambda step: jnp.float32(config.learning_rate * share(step))


def _share_of_peak(config: OptimizerConfig, total_steps: int) -> optax.Schedule:
    """The learning rate at each step, as a share of its peak."""
    warmup = round(config.warmup_fraction * total_steps)

    def share(step: Any) -> Float[Array, "*s"]:
        rise = jnp.minimum(1.0, (step + 1) / max(warmup, 1))
        progress = jnp.clip((step - warmup) / max(total_steps - warmup, 1), 0.0, 1.0)
        return jnp.float32(rise * _FALL[config.schedule](progress))

    return share


def decays(params: Any) -> Any:
    """True for every parameter but biases and the scales of norms, by Flax's names for them."""
    return jax.tree_util.tree_map_with_path(lambda path, _: _name(path[-1]) not in ("bias", "scale"), params)


def make_optimizer(
    config: OptimizerConfig, total_steps: int, decay_mask: Mask = decays, head_mask: Mask | None = None
) -> optax.GradientTransformation:
    """Clip, direction, decoupled weight decay, learning rate: one optax chain.

    Its state holds learning rates and weight decay, so that optimizers that differ in nothing else (`config.program`)
    are one program.

    Args:
      config: which optimizer, and its numbers.
      total_steps: where the schedule ends.
      decay_mask: which parameters decay: a tree of bools, or a function from the parameters to one.
      head_mask: which parameters follow `head_learning_rate`; needed only if that is given.

    Raises:
      UserError: `head_learning_rate` without `head_mask`.
    """
    if config.head_learning_rate is not None and head_mask is None:
        raise UserError("head_learning_rate is given, but these parameters have no head apart from a body")

    def chain(learning_rate: Any, head_ratio: Any, weight_decay: Any) -> optax.GradientTransformation:
        parts = [] if config.clip_norm is None else [_clip(config.clip_norm)]
        parts += _direction(config)
        if config.weight_decay:
            parts.append(optax.add_decayed_weights(weight_decay, decay_mask))
        share = _share_of_peak(config, total_steps)
        parts.append(optax.scale_by_learning_rate(lambda step: learning_rate * share(step)))
        if config.head_learning_rate is not None:
            parts.append(optax.masked(optax.scale(head_ratio), head_mask))
        return optax.chain(*parts)

    return optax.inject_hyperparams(chain)(
        learning_rate=config.learning_rate,
        head_ratio=(config.head_learning_rate or config.learning_rate) / config.learning_rate,
        weight_decay=config.weight_decay,
    )


def _clip(most: float) -> optax.GradientTransformation:
    """`optax.clip_by_global_norm` as one factor for all, which XLA multiplies with where the gradient is read."""

    def clip(updates: Any, _: Any) -> Any:
        factor = jnp.minimum(1.0, most / optax.tree.norm(updates))
        return jax.tree.map(lambda update: update * factor.astype(update.dtype), updates)

    return optax.stateless(clip)


def _direction(config: OptimizerConfig) -> list[optax.GradientTransformation]:
    match config.name:
        case "adamw":
            return [optax.scale_by_adam(config.beta1, config.beta2, config.eps)]
        case "adafactor":
            return [optax.scale_by_factored_rms(), optax.clip_by_block_rms(1.0)]
        case "sgd":
            return [optax.trace(config.beta1)]


def _name(key: Any) -> str:
    return str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key))))
