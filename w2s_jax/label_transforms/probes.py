"""Weak labels compared with what logistic regression, fitted to other examples, predicts from hidden states."""

import numpy as np
from jaxtyping import Float

from w2s_jax.label_transforms.base import LABEL_TRANSFORMS, TransformedLabels, drop_farthest, farthest, relabelled
from w2s_jax.runtime.checks import check_count, check_range
from w2s_jax.runtime.errors import UserError


@LABEL_TRANSFORMS.register
def logistic_relabel(
    weak: Float[np.ndarray, "n c"],
    *,
    features: Float[np.ndarray, "n d"],
    seed: int,
    l2: float = 1e-2,
    folds: int = 5,
) -> TransformedLabels:
    """Relabels every example with what logistic regression on the weak labels of the other folds predicts.

    In-sample, as EleutherAI/w2s has it, a probe of many features repeats the labels it was given. It minimises
    `mean CE(softmax(z W + b), weak) + l2 / 2 |W|^2` by L-BFGS; z are features standardised over the fitted examples,
    where the authors take them as they are. For two classes it is scikit-learn's `LogisticRegression(C=2 / (l2 n))` on
    z, with n fitted examples.

    Args:
      l2: >= 0; the authors' blog post has 1e-2.
      folds: 2 or more.

    Raises:
      UserError: more folds than examples, or a hyperparameter out of range.

    References:
      EleutherAI 2024, https://github.com/EleutherAI/w2s, `logreg`.
    """
    return relabelled(out_of_fold(weak, features, seed, l2, folds))


@LABEL_TRANSFORMS.register
def logistic_filter(
    weak: Float[np.ndarray, "n c"],
    *,
    features: Float[np.ndarray, "n d"],
    seed: int,
    l2: float = 1e-2,
    folds: int = 5,
    drop: float = 0.1,
) -> TransformedLabels:
    """Drops the share of examples whose weak label is farthest from what `logistic_relabel` predicts.

    Args:
      l2, folds: as in `logistic_relabel`.
      drop: in [0, 1), the share that is dropped.

    Raises:
      UserError: as `logistic_relabel`.

    References:
      EleutherAI 2024, https://github.com/EleutherAI/w2s.
    """
    return drop_farthest(weak, out_of_fold(weak, features, seed, l2, folds), drop)


@LABEL_TRANSFORMS.register
def logistic_smooth(
    weak: Float[np.ndarray, "n c"],
    *,
    features: Float[np.ndarray, "n d"],
    seed: int,
    l2: float = 1e-2,
    folds: int = 5,
    share: float = 0.4,
) -> TransformedLabels:
    """Keeps all examples, and labels those that `logistic_filter` would drop `1 / C` for every class.

    Args:
      l2, folds: as in `logistic_relabel`.
      share: in [0, 1), of all examples.

    Raises:
      UserError: as `logistic_relabel`.

    References:
      Anthropic's automated weak-to-strong researcher, 2026, which smooths the 40% that are hardest to learn. It ranks
      examples by how far the loss falls in training; here the distance to an out-of-fold probe stands in for that.
    """
    targets = np.array(weak, np.float32)
    targets[farthest(weak, out_of_fold(weak, features, seed, l2, folds), share)] = 1 / weak.shape[1]
    return relabelled(targets)


def out_of_fold(
    weak: Float[np.ndarray, "n c"], features: Float[np.ndarray, "n d"], seed: int, l2: float, folds: int
) -> Float[np.ndarray, "n c"]:
    """Class probabilities of every example, by the logistic regression that did not see it.

    Raises:
      UserError: more folds than examples, or a hyperparameter out of range.
    """
    from scipy.special import softmax

    check_range("l2", l2, 0, np.inf)
    check_count("folds", folds, 2)
    if folds > len(weak):
        raise UserError(f"folds must be at most the {len(weak)} examples, not {folds}")
    fold = np.random.default_rng(seed).permutation(len(weak)) % folds
    probs = np.empty(weak.shape, np.float64)
    for index in range(folds):
        rest, held = fold != index, fold == index
        mean, deviation = features[rest].mean(axis=0), features[rest].std(axis=0)
        deviation = np.where(deviation > 1e-6 * np.abs(mean), deviation, 1.0)
        weights, bias = _logistic((features[rest] - mean) / deviation, weak[rest], l2)
        probs[held] = softmax((features[held] - mean) / deviation @ weights + bias, axis=1)
    return probs


def _logistic(
    z: Float[np.ndarray, "n d"], targets: Float[np.ndarray, "n c"], l2: float
) -> tuple[Float[np.ndarray, "d c"], Float[np.ndarray, " c"]]:
    """L-BFGS in coordinates where the curvature at even odds is the identity: some ten steps, whatever the features."""
    from scipy.linalg import solve_triangular
    from scipy.optimize import minimize
    from scipy.special import log_softmax

    (n, d), c = z.shape, targets.shape[1]
    curvature = (z.T @ z).astype(np.float64) * ((c - 1) / c**2 / n)
    curvature += np.eye(d) * (l2 + 1e-6 * max(np.trace(curvature) / d, 1e-6))
    factor = np.linalg.cholesky(curvature)

    def unfold(flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        inner = flat.reshape(d + 1, c)
        return solve_triangular(factor, inner[:-1], lower=True, trans="T"), inner[-1]

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights, bias = unfold(flat)
        logs = log_softmax(z @ weights.astype(z.dtype) + bias, axis=1)
        value = -np.sum(targets * logs) / n + l2 / 2 * np.sum(weights**2)
        error = (np.exp(logs) - targets) / n
        slope = (z.T @ error.astype(z.dtype)).astype(np.float64) + l2 * weights
        inner = solve_triangular(factor, slope, lower=True)
        return float(value), np.concatenate([inner, error.sum(axis=0)[None]]).ravel()

    options = {"maxiter": 1000, "ftol": 1e-9, "gtol": 1e-5}
    found = minimize(objective, np.zeros((d + 1) * c), jac=True, method="L-BFGS-B", options=options)
    return unfold(found.x)
