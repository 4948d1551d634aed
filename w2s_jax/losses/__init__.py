"""Losses for learning from weak labels, and the algebra that they are made of.

A loss is a pure function `(logits [B, C], targets [B, C], *, hyperparameters) -> [B]`: targets are probabilities over
classes, the result is float32 and unreduced. A loss may also name these keywords, its *context*; `bind` passes them:

  step: optimizer steps done, an int32 scalar.
  total_steps: optimizer steps of the whole training, an int.
  where: Bool [B], False for padding rows. A loss that looks across rows must name it.

A coefficient is a number, or an `optax.Schedule` that is evaluated at `step`.

The algebra: `compose(divergence, targets=transforms, weights=weights)`.
  target transform: `(probs [B, C], targets [B, C], *, context) -> targets [B, C]`
  weight: `(probs [B, C], targets [B, C], *, context) -> [B]`
  divergence: `(logits [B, C], targets [B, C], *, context) -> [B]`
where `probs` are the student's own predictions. Neither probs, targets nor weights carry a gradient.
"""

import inspect
import math
import types
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.scipy.special import digamma, entr, gammaln, xlogy
from jaxtyping import Bool, Float, Int

from w2s_jax.runtime import errors
from w2s_jax.runtime.errors import UserError

Loss = Callable[..., Float[Array, " b"]]
Transform = Callable[..., Float[Array, "b c"]]
Weight = Callable[..., Float[Array, " b"]]
Coefficient: TypeAlias = float | int | Array | optax.Schedule
Step = Int[Array, ""] | int
Where = Bool[Array, " b"]

CONTEXT = ("step", "total_steps", "where")
_TINY = jnp.finfo(jnp.float32).tiny


# ---- Using a loss


def bind(loss: Loss, **options: Any) -> Callable[..., Float[Array, " b"]]:
    """The loss with its hyperparameters, as `(logits, targets, *, step, total_steps, where) -> [B]`.

    The result is float32, and exactly 0 in padding rows: the value, and the gradient whatever those rows hold.
    Any optax loss on logits and probabilities works too. (optax's own `where`, which stands beside an `axis`, masks
    classes and is left alone. `optax.kl_divergence` wants log-probabilities: use `kl`.)

    Raises:
      UserError: an option that the loss does not have, or that it needs and is not given; when the bound loss is
        traced: a result that is not one value a row.
    """
    name = getattr(loss, "__name__", type(loss).__name__)
    context = _context_of(loss)
    _check_options(name, loss, options)

    def bound(
        logits: Float[Array, "b c"], targets: Float[Array, "b c"], *, step: Step, total_steps: int, where: Where
    ) -> Float[Array, " b"]:
        given = {"step": step, "total_steps": total_steps, "where": where}
        row = where[:, None]
        values = loss(
            jnp.where(row, logits.astype(jnp.float32), 0.0),
            jnp.where(row, targets.astype(jnp.float32), 1 / targets.shape[-1]),
            **options,
            **{key: given[key] for key in context},
        )
        if jnp.shape(values) != where.shape:
            raise UserError(
                f"loss {name!r} gave shape {jnp.shape(values)}; it must give one value a row, shape {where.shape}"
            )
        return jnp.where(where, jnp.asarray(values, jnp.float32), 0.0)

    return bound


def reduce(values: Float[Array, " b"], where: Where) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """(sum over valid rows, number of valid rows). The mean is their ratio, taken after all parts are added up."""
    return jnp.sum(jnp.where(where, values, 0.0)), jnp.sum(where, dtype=jnp.float32)


def _context_of(function: Callable[..., Any]) -> tuple[str, ...]:
    names = inspect.signature(function).parameters
    return tuple(key for key in CONTEXT if key in names and not (key == "where" and "axis" in names))


def _check_options(name: str, loss: Loss, options: Mapping[str, Any]) -> None:
    parameters = list(inspect.signature(loss).parameters.values())
    if len(parameters) < 2:
        raise UserError(f"loss {name!r} must take (logits, targets), and its hyperparameters as keywords")
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    known = {parameter.name: parameter for parameter in parameters[2:] if parameter.name not in _context_of(loss)}
    for option in options:
        if option not in known:
            raise errors.unknown(f"option of loss {name!r}:", option, known)
    needed = [key for key, parameter in known.items() if parameter.default is parameter.empty and key not in options]
    if needed:
        raise UserError(f"loss {name!r} needs a value for {', '.join(needed)}")


# ---- The algebra


def compose(divergence: Loss, *, targets: tuple[Transform, ...] = (), weights: tuple[Weight, ...] = ()) -> Loss:
    """Transforms the targets one after another, takes the divergence from them, and multiplies by every weight.

    Weights see the targets as they were given, before any transform.
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
        context = {"step": step, "total_steps": total_steps, "where": valid}
        logits, given = logits.astype(jnp.float32), jax.lax.stop_gradient(targets.astype(jnp.float32))
        probs = jax.lax.stop_gradient(jax.nn.softmax(logits))
        labels = given
        for transform in transforms:
            labels = _call(transform, probs, labels, context)
        values = _call(divergence, logits, labels, context)
        for weight in weights:
            values = values * _call(weight, probs, given, context)
        return values

    return loss


def mix(transform: Transform, coefficient: Coefficient) -> Transform:
    """A target transform: `(1 - c) targets + c transform(targets)`."""

    def mixed(
        probs: Float[Array, "b c"],
        targets: Float[Array, "b c"],
        *,
        step: Step | None,
        total_steps: int | None,
        where: Where,
    ) -> Float[Array, "b c"]:
        context = {"step": step, "total_steps": total_steps, "where": where}
        c = _at(coefficient, step)
        return (1 - c) * targets + c * _call(transform, probs, targets, context)

    return mixed


def linear_warmup(peak: Coefficient, steps: float) -> Coefficient:
    """From 0 to `peak` over `steps`, then `peak`. A schedule is returned as it is, and 0 steps mean no warm-up."""
    if callable(peak) or steps <= 0:
        return peak
    return optax.linear_schedule(0.0, peak, steps)


def _call(function: Callable[..., Array], first: Array, second: Array, context: Mapping[str, Any]) -> Array:
    return function(first, second, **{key: context[key] for key in _context_of(function)})


def _at(coefficient: Coefficient, step: Step | None) -> Array | float:
    if not callable(coefficient):
        return coefficient
    if step is None:
        raise UserError("a coefficient that changes during training needs `step`; pass it, or a number without warm-up")
    return coefficient(step)


def _warmup_steps(fraction: float, total_steps: int | None) -> float:
    if fraction and total_steps is None:
        raise UserError("a warm-up over a fraction of training needs `total_steps`; pass it, or warmup_fraction=0")
    return fraction * (total_steps or 0)


def _check(name: str, value: Any, low: float, high: float) -> None:
    if isinstance(value, str) or (isinstance(value, int | float) and not low <= value <= high):
        raise UserError(f"{name} must be a number from {low:g} to {high:g}, not {value!r}")


# ---- Target transforms


def harden_targets(probs: Float[Array, "b c"], targets: Float[Array, "b c"]) -> Float[Array, "b c"]:
    """One-hot of the targets' argmax; of equal ones the lowest class."""
    return jax.nn.one_hot(jnp.argmax(targets, axis=-1), targets.shape[-1])


def smooth_targets(smoothing: float) -> Transform:
    """`(1 - s) targets + s / C` (Szegedy et al. 2016, section 7)."""
    _check("smoothing", smoothing, 0, 1)
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


def student_at_prior(probs: Float[Array, "b c"], targets: Float[Array, "b c"], *, where: Where) -> Float[Array, "b c"]:
    """The student's own hard labels, with as many rows of class 1 as the weak labels' prior says.

    Of the valid rows, the `round(sum of targets[:, 1])` with the smallest `p0 / p1` are of class 1 and the others of
    class 0 (Burns et al. 2023, section 4.3, footnote). Rows tied at the threshold are all of class 0, so the result
    does not depend on the order of rows. Where all weak labels are of one class, all rows get that class, and one
    row alone gets its weak label's. With more than two classes there is no one threshold: `student_argmax`.
    """
    if probs.shape[-1] != 2:
        return student_argmax(probs, targets)
    score = jnp.log(probs[:, 0]) - jnp.log(probs[:, 1])
    # A half rounds down, by a margin above the sum's rounding error: no dependence on the order of rows.
    ones = jnp.floor(jnp.sum(jnp.where(where, targets[:, 1], 0.0)) + 0.499).astype(jnp.int32)
    threshold = jnp.sort(jnp.where(where, score, jnp.inf))[jnp.minimum(ones, score.size - 1)]
    zero = (score >= threshold) & (ones < jnp.sum(where))
    return jax.nn.one_hot(jnp.where(zero, 0, 1), 2)


def student_at_quantile(prior: float | None = None) -> Transform:
    """The student's own hard labels as openai/weak-to-strong makes them: class 0 where `p0 >= quantile(p0, prior)`.

    The quantile is over valid rows, interpolated linearly; `prior` of class 1 is the mean of the weak labels where it
    is None. Unlike `student_at_prior`, a batch of one row is always of class 0, and so is the row with the largest p0
    where all weak labels are of class 1. With more than two classes: `student_argmax`.
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


def student_times_targets(alpha: Coefficient, beta: Coefficient) -> Transform:
    """`p^beta targets^alpha`, normalised; in logarithms, so that nothing is divided by 0."""

    def transform(
        probs: Float[Array, "b c"], targets: Float[Array, "b c"], *, step: Step | None
    ) -> Float[Array, "b c"]:
        student = _at(beta, step) * jnp.log(jnp.maximum(probs, _TINY))
        return jax.nn.softmax(student + xlogy(_at(alpha, step), targets))

    return transform


def adaptive_mix(temperature: float) -> Transform:
    """`(1 - b) targets + b student_argmax`, with b as in `adaptive_confidence`."""

    def transform(probs: Float[Array, "b c"], targets: Float[Array, "b c"]) -> Float[Array, "b c"]:
        own = student_argmax(probs, targets)
        supervisors = harden_targets(probs, targets)
        log_own, log_supervisors = (jnp.log(jnp.sum(probs * hard, axis=-1)) for hard in (own, supervisors))
        b = jax.nn.sigmoid((log_supervisors - log_own) / temperature)[:, None]
        return (1 - b) * targets + b * own

    return transform


# ---- Weights


def inside_window(radius: float) -> Weight:
    """1 where the student's largest probability is below 1/2 + radius, else 0."""
    return lambda probs, targets: (jnp.max(probs, axis=-1) < 0.5 + radius).astype(jnp.float32)


def inside_midweak_window(
    probs: Float[Array, "b c"], targets: Float[Array, "b c"], *, where: Where
) -> Float[Array, " b"]:
    """1 where the student's largest probability is below the valid rows' median of the weak labels' largest."""
    confidence = jnp.max(targets, axis=-1)
    median = jnp.nanmedian(jnp.where(where, confidence, jnp.nan))
    return (jnp.max(probs, axis=-1) < median).astype(jnp.float32)


# ---- Divergences


def cross_entropy(logits: Float[Array, "b c"], targets: Float[Array, "b c"]) -> Float[Array, " b"]:
    """`-sum_k w_k log p_k` with p = softmax(logits): naive finetuning on weak labels w (Burns et al. 2023)."""
    return optax.softmax_cross_entropy(logits.astype(jnp.float32), targets.astype(jnp.float32))


def kl(logits: Float[Array, "b c"], targets: Float[Array, "b c"]) -> Float[Array, " b"]:
    """`KL(w || p) = sum_k w_k log(w_k / p_k)`: the gradient of cross entropy, with 0 as its minimum."""
    weak = jax.lax.stop_gradient(targets.astype(jnp.float32))
    return cross_entropy(logits, weak) - jnp.sum(entr(weak), axis=-1)


def reverse_cross_entropy(
    logits: Float[Array, "b c"], targets: Float[Array, "b c"], *, floor: float = 1e-6
) -> Float[Array, " b"]:
    """`-sum_k p_k log max(w_k, floor)` (Yao et al. 2025, arXiv 2502.11107).

    Its minimum is on the supervisor's argmax, not on w: mix it with another loss, or stop early.

    Args:
      floor: in (0, 1]; what log w_k is bounded by, since softmax in float32 gives exact zeros.
    """
    _check("floor", floor, float(_TINY), 1)
    weak = jax.lax.stop_gradient(targets.astype(jnp.float32))
    return -jnp.sum(jax.nn.softmax(logits.astype(jnp.float32)) * jnp.log(jnp.maximum(weak, floor)), axis=-1)


def reverse_kl(logits: Float[Array, "b c"], targets: Float[Array, "b c"], *, floor: float = 1e-6) -> Float[Array, " b"]:
    """`KL(p || w) = sum_k p_k log(p_k / max(w_k, floor))` (Yao et al. 2025, arXiv 2502.11107).

    Args:
      floor: as in `reverse_cross_entropy`.
    """
    return reverse_cross_entropy(logits, targets, floor=floor) - _entropy(logits)


def focal(logits: Float[Array, "b c"], targets: Float[Array, "b c"], *, gamma: float = 2.0) -> Float[Array, " b"]:
    """`-sum_k w_k (1 - p_k)^gamma log p_k` (Lin et al. 2017, equation 4, for soft labels).

    Args:
      gamma: >= 0; 0 is cross entropy.
    """
    _check("gamma", gamma, 0, math.inf)
    log_probs = jax.nn.log_softmax(logits.astype(jnp.float32))
    others = jnp.where(jnp.eye(logits.shape[-1], dtype=bool), -jnp.inf, log_probs[:, None, :])
    log_rest = jax.nn.logsumexp(others, axis=-1)  # log(1 - p), exact where p rounds to 1
    return -jnp.sum(targets.astype(jnp.float32) * jnp.exp(gamma * log_rest) * log_probs, axis=-1)


def generalized_cross_entropy(
    logits: Float[Array, "b c"], targets: Float[Array, "b c"], *, q: float = 0.7
) -> Float[Array, " b"]:
    """`sum_k w_k (1 - p_k^q) / q` (Zhang & Sabuncu 2018, equation 6, for soft labels).

    Args:
      q: in (0, 1]; towards 0 it is cross entropy, at 1 the mean absolute error (up to a factor).
    """
    _check("q", q, 1e-3, 1)
    log_probs = jax.nn.log_softmax(logits.astype(jnp.float32))
    return jnp.sum(targets.astype(jnp.float32) * -jnp.expm1(q * log_probs), axis=-1) / q


def symmetric_cross_entropy(
    logits: Float[Array, "b c"],
    targets: Float[Array, "b c"],
    *,
    alpha: float = 0.1,
    beta: float = 1.0,
    floor: float = 1e-4,
) -> Float[Array, " b"]:
    """`alpha CE + beta RCE` (Wang et al. 2019, equation 5).

    Args:
      alpha, beta: >= 0, weights of cross entropy and of reverse cross entropy.
      floor: the least weak probability inside the logarithm; the paper's A = log(floor).
    """
    _check("alpha", alpha, 0, math.inf)
    _check("beta", beta, 0, math.inf)
    return alpha * cross_entropy(logits, targets) + beta * reverse_cross_entropy(logits, targets, floor=floor)


def _entropy(logits: Float[Array, "b c"]) -> Float[Array, " b"]:
    log_probs = jax.nn.log_softmax(logits.astype(jnp.float32))
    return -jnp.sum(jnp.exp(log_probs) * log_probs, axis=-1)


# ---- Losses of weak-to-strong generalization


def hard_labels(logits: Float[Array, "b c"], targets: Float[Array, "b c"]) -> Float[Array, " b"]:
    """Cross entropy on the weak labels' argmax."""
    return compose(cross_entropy, targets=(harden_targets,))(logits, targets)


def label_smoothing(
    logits: Float[Array, "b c"], targets: Float[Array, "b c"], *, smoothing: float = 0.1
) -> Float[Array, " b"]:
    """Cross entropy on `(1 - smoothing) w + smoothing / C` (Szegedy et al. 2016, section 7)."""
    return compose(cross_entropy, targets=(smooth_targets(smoothing),))(logits, targets)


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
    """The auxiliary confidence loss: `CE(p, (1 - a) w + a h)` (Burns et al. 2023, section 4.3 and appendix A.4).

    h are the student's own predictions, hardened by a threshold that is set for each batch so that as many rows are
    of class 1 as the weak labels' prior says (`student_at_prior`). h has no gradient.

    Args:
      alpha: in [0, 1]; the paper takes 0.75 for its largest students, 0.5 for the others. Or an `optax.Schedule`,
        used without further warm-up.
      warmup_fraction: a rises linearly from 0 to alpha over this fraction of `total_steps`; 0 is no warm-up.
    """
    _check("alpha", alpha, 0, 1)
    _check("warmup_fraction", warmup_fraction, 0, 1)
    a = linear_warmup(alpha, 0 if callable(alpha) else _warmup_steps(warmup_fraction, total_steps))
    return compose(cross_entropy, targets=(mix(student_at_prior, a),))(logits, targets, step=step, where=where)


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
      alpha: in [0, 1].
      warmup_fraction: in [0, 1], of `total_steps`.
    """
    _check("alpha", alpha, 0, 1)
    _check("warmup_fraction", warmup_fraction, 0, 1)
    if total_steps is None:
        raise UserError("openai_logconf needs `step` and `total_steps`")

    def a(step: Step) -> Array:
        return alpha * jnp.where(step > warmup_fraction * total_steps, 1.0, step / total_steps)

    return compose(cross_entropy, targets=(mix(student_at_quantile(), a),))(logits, targets, step=step, where=where)


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
    """`log_confidence_loss` of EleutherAI/w2s: as `confidence`, with a warm-up in steps and a quantile as threshold.

    Args:
      alpha: in [0, 1], or an `optax.Schedule`, used without further warm-up.
      warmup_steps: >= 0, optimizer steps from 0 to alpha.
      balance: centre the batch's weak labels in log-odds first (`balance_targets`), and take 1/2 as the prior.
    """
    _check("alpha", alpha, 0, 1)
    _check("warmup_steps", warmup_steps, 0, math.inf)
    own = mix(student_at_quantile(0.5 if balance else None), linear_warmup(alpha, warmup_steps))
    transforms = (balance_targets, own) if balance else (own,)
    return compose(cross_entropy, targets=transforms)(logits, targets, step=step, where=where)


def product(
    logits: Float[Array, "b c"],
    targets: Float[Array, "b c"],
    *,
    alpha: Coefficient = 1.0,
    beta: Coefficient = 1.0,
    step: Step | None = None,
) -> Float[Array, " b"]:
    """Cross entropy on `p^beta w^alpha`, normalised and without gradient (`product` of openai/weak-to-strong).

    With beta = 1 it has no rest short of certainty, wherever w is not 1/2: it always hardens.

    Args:
      alpha, beta: >= 0, exponents of the weak labels and of the student's own prediction.
    """
    _check("alpha", alpha, 0, math.inf)
    _check("beta", beta, 0, math.inf)
    return compose(cross_entropy, targets=(student_times_targets(alpha, beta),))(logits, targets, step=step)


def entropy(
    logits: Float[Array, "b c"],
    targets: Float[Array, "b c"],
    *,
    alpha: Coefficient = 0.5,
    warmup_steps: int = 100,
    step: Step | None = None,
) -> Float[Array, " b"]:
    """`(1 - a) CE(p, w) + a H(p)` (EleutherAI's blog post of June 2024).

    H has its gradient here. The authors' code takes `CE(p, stop_gradient(p))` for H, whose gradient is 0, so that it
    trains on `(1 - a) CE` alone.

    Args:
      alpha, warmup_steps: as in `log_confidence`.
    """
    _check("alpha", alpha, 0, 1)
    _check("warmup_steps", warmup_steps, 0, math.inf)
    a = _at(linear_warmup(alpha, warmup_steps), step)
    return (1 - a) * cross_entropy(logits, targets) + a * _entropy(logits)


def confidence_window(
    logits: Float[Array, "b c"],
    targets: Float[Array, "b c"],
    *,
    radius: float | Literal["midweak"] = 0.15,
    where: Where | None = None,
) -> Float[Array, " b"]:
    """Cross entropy where `max_k p_k < 1/2 + radius`, else 0 (EleutherAI's blog post of June 2024).

    Args:
      radius: in [0, 0.5]; or `midweak`, the median of |w - 1/2| over the batch's weak labels w. (The authors take it
        over all weak labels: with batches of 32 this one moves a little from batch to batch.)
      where: the batch's real rows; None is all.
    """
    if radius == "midweak":
        return compose(cross_entropy, weights=(inside_midweak_window,))(logits, targets, where=where)
    _check("radius", radius, 0, 0.5)
    return compose(cross_entropy, weights=(inside_window(radius),))(logits, targets)


def adaptive_confidence(
    logits: Float[Array, "b c"], targets: Float[Array, "b c"], *, temperature: float = 1.0
) -> Float[Array, " b"]:
    """AdaptConf: `CE(p, (1 - b) w + b h)`, h the student's argmax (Guo et al. 2024, arXiv 2402.03749).

    `b = e^(CE(p, h) / T) / (e^(CE(p, h) / T) + e^(CE(p, h_w) / T))` with h_w the supervisor's argmax: 1/2 where the
    two agree, less where they do not. b has no gradient.

    Args:
      temperature: T > 0; the authors take 0.5 on CIFAR and 4 on ImageNet.
    """
    _check("temperature", temperature, 1e-6, math.inf)
    return compose(cross_entropy, targets=(adaptive_mix(temperature),))(logits, targets)


def evidential(
    logits: Float[Array, "b c"],
    targets: Float[Array, "b c"],
    *,
    gamma: float = 0.5,
    kl_weight: Coefficient | None = None,
    step: Step | None = None,
    total_steps: int | None = None,
) -> Float[Array, " b"]:
    """`(1 - gamma) l(w) + gamma l(h)`, h the student's argmax (Cui et al. 2024, arXiv 2406.03199, equations 4 and 5).

    With evidence e = 1 + relu(logits) and S = sum_k e_k:
    `l(y) = sum_k y_k (log S - log e_k) + kl_weight KL(Dir((e - 1)(1 - y) + 1) || Dir(1))`.

    The paper's prediction is the Dirichlet's mean e / S. Here predictions are softmax(logits), as for every loss. While
    one logit at least is positive both have the same argmax (the class of the largest logit); where none is, e / S is
    uniform and softmax is not. The probabilities are others, and with them calibration (ECE), AUROC (for two classes:
    the order of rows), log loss and the soft labels that a further student would learn.

    Args:
      gamma: in [0, 1], how much the student's own labels count.
      kl_weight: >= 0; None is `step / total_steps`.
    """
    _check("gamma", gamma, 0, 1)
    _check("kl_weight", kl_weight, 0, math.inf)
    if kl_weight is None:
        if step is None or total_steps is None:
            raise UserError("evidential without kl_weight needs `step` and `total_steps`")
        kl_weight = step / total_steps
    scores = logits.astype(jnp.float32)
    own = student_argmax(jax.lax.stop_gradient(scores), targets)
    weak = jax.lax.stop_gradient(targets.astype(jnp.float32))
    # At 0, where a fresh head starts, `maximum` has a slope and `relu` has none: it would never learn.
    evidence, weight = 1 + jnp.maximum(scores, 0.0), _at(kl_weight, step)
    return (1 - gamma) * _evidential(evidence, weak, weight) + gamma * _evidential(evidence, own, weight)


def _evidential(
    evidence: Float[Array, "b c"], labels: Float[Array, "b c"], kl_weight: Array | float
) -> Float[Array, " b"]:
    total = jnp.sum(evidence, axis=-1, keepdims=True)
    fit = jnp.sum(labels * (jnp.log(total) - jnp.log(evidence)), axis=-1)
    return fit + kl_weight * _kl_to_uniform_dirichlet((evidence - 1) * (1 - labels) + 1)


def _kl_to_uniform_dirichlet(concentration: Float[Array, "b c"]) -> Float[Array, " b"]:
    total = jnp.sum(concentration, axis=-1)
    norm = gammaln(total) - jnp.sum(gammaln(concentration), axis=-1) - gammaln(float(concentration.shape[-1]))
    slope = digamma(concentration) - digamma(total)[:, None]
    return norm + jnp.sum((concentration - 1) * slope, axis=-1)


# ---- Names

LOSSES: Mapping[str, Loss] = types.MappingProxyType(
    {
        loss.__name__: loss
        for loss in (
            cross_entropy,
            hard_labels,
            label_smoothing,
            kl,
            reverse_kl,
            reverse_cross_entropy,
            confidence,
            openai_logconf,
            log_confidence,
            product,
            entropy,
            confidence_window,
            adaptive_confidence,
            evidential,
            focal,
            generalized_cross_entropy,
            symmetric_cross_entropy,
        )
    }
)


def get(name: str) -> Loss:
    """The loss of this name.

    Raises:
      UserError: there is none.
    """
    if name not in LOSSES:
        raise errors.unknown("loss", name, LOSSES)
    return LOSSES[name]
