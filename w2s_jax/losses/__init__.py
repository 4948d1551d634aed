"""Losses for learning from weak labels, and the algebra that they are built from.

  base.py            what a loss is; `LOSSES`, `get`, `bind`, `reduce`
  algebra.py         `compose` of target transforms, a divergence and weights; coefficients that change with the step
  targets.py         target transforms
  weights.py         weights
  divergences.py     cross entropy, KL, and their reverses
  weak_to_strong.py  losses of the weak-to-strong literature
  noise_robust.py    losses of the literature on label noise

A loss is a pure function `(logits [B, C], targets [B, C], *, hyperparameters) -> [B]`: targets are probabilities over
classes, the result is float32 and unreduced. A loss may also name these keywords, its *context*; `bind` passes them:

  step: optimizer steps done, an int32 scalar.
  total_steps: optimizer steps of the whole training, an int.
  where: Bool [B], False for padding examples. A loss that looks across examples must name it.

A coefficient is a number, or an `optax.Schedule` that is evaluated at `step`. A new loss is registered with
`@LOSSES.register` where it is defined, or named as `my_file.py:my_loss`.
"""

from w2s_jax.losses.algebra import Coefficient, TargetTransform, Weight, compose, linear_warmup, mix
from w2s_jax.losses.base import CONTEXT, LOSSES, Loss, Step, Where, bind, get, reduce
from w2s_jax.losses.divergences import cross_entropy, kl, reverse_cross_entropy, reverse_kl, student_entropy
from w2s_jax.losses.noise_robust import focal, generalized_cross_entropy, label_smoothing, symmetric_cross_entropy
from w2s_jax.losses.targets import (
    adaptive_mix,
    balance_targets,
    harden_targets,
    smooth_targets,
    student_argmax,
    student_at_prior,
    student_at_quantile,
    student_in_turn,
    student_times_targets,
)
from w2s_jax.losses.weak_to_strong import (
    adaptive_confidence,
    confidence,
    confidence_window,
    eleuther_logconf,
    entropy,
    evidential,
    hard_labels,
    log_confidence,
    openai_logconf,
    product,
)
from w2s_jax.losses.weights import inside_midweak_window, inside_window
from w2s_jax.runtime.registry import discover

__all__ = [
    "CONTEXT",
    "LOSSES",
    "Coefficient",
    "Loss",
    "Step",
    "TargetTransform",
    "Weight",
    "Where",
    "adaptive_confidence",
    "adaptive_mix",
    "balance_targets",
    "bind",
    "compose",
    "confidence",
    "confidence_window",
    "cross_entropy",
    "eleuther_logconf",
    "entropy",
    "evidential",
    "focal",
    "generalized_cross_entropy",
    "get",
    "hard_labels",
    "harden_targets",
    "inside_midweak_window",
    "inside_window",
    "kl",
    "label_smoothing",
    "linear_warmup",
    "log_confidence",
    "mix",
    "openai_logconf",
    "product",
    "reduce",
    "reverse_cross_entropy",
    "reverse_kl",
    "smooth_targets",
    "student_argmax",
    "student_at_prior",
    "student_at_quantile",
    "student_entropy",
    "student_in_turn",
    "student_times_targets",
    "symmetric_cross_entropy",
]

discover(__name__, __path__)  # a new file of this folder needs no line here
