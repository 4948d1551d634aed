"""Weak labels beside what logistic regression, fitted to other rows, makes of the student's hidden states."""

import numpy as np
from jaxtyping import Float
from scipy.linalg import solve_triangular
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from w2s_jax.label_transforms.steps import Labels, check_count, check_range, drop_farthest, farthest, relabelled
from w2s_jax.runtime.errors import UserError


def logistic_relabel(
    weak: Float[np.ndarray, "n c"],
    *,
    features: Float[np.ndarray, "n d"],
    seed: int,
    l2: float = 1e-2,
    folds: int = 5,
) -> Labels:
    """What logistic regression on the weak labels of the other folds says of every row (EleutherAI 2024, `logreg`).

    In-sample, as EleutherAI/w2s has it, a probe of many features repeats the labels it was given. It minimises
    `mean CE(softmax(z W + b), weak) + l2 / 2 |W|^2` by L-BFGS; z are features standardised over the fitted rows, where
    the authors take them as they are. scikit-learn's for two classes: `LogisticRegression(C=2 / (l2 rows))` on z.

    Args:
      l2: >= 0; the authors' blog post has 1e-2.
      folds: 2 or more.

    Raises:
      UserError: more folds than rows.
    """
    return relabelled(out_of_fold(weak, features, seed, l2, folds))


def logistic_filter(
    weak: Float[np.ndarray, "n c"],
    *,
    features: Float[np.ndarray, "n d"],
    seed: int,
    l2: float = 1e-2,
    folds: int = 5,
    drop: float = 0.1,
) -> Labels:
    """Drops the share of rows whose weak label is farthest from what `logistic_relabel` says (EleutherAI 2024).

    Args:
      l2, folds: as in `logistic_relabel`.
      drop: in [0, 1), the share that is dropped.
    """
    return drop_farthest(weak, out_of_fold(weak, features, seed, l2, folds), drop)


def logistic_smooth(
    weak: Float[np.ndarray, "n c"],
    *,
    features: Float[np.ndarray, "n d"],
    seed: int,
    l2: float = 1e-2,
    folds: int = 5,
    share: float = 0.4,
) -> Labels:
    """Labels the share of rows that `logistic_filter` would drop `1 / C` for every class, and keeps them.

    Anthropic's automated weak-to-strong researcher (2026) smooths the 40% that are hardest to learn so; it ranks rows
    by how far the loss falls in training, for which the distance to an out-of-fold probe stands in.

    Args:
      l2, folds: as in `logistic_relabel`.
      share: in [0, 1).
    """
    targets = np.array(weak, np.float32)
    targets[farthest(weak, out_of_fold(weak, features, seed, l2, folds), share)] = 1 / weak.shape[1]
    return relabelled(targets)


def out_of_fold(
    weak: Float[np.ndarray, "n c"], features: Float[np.ndarray, "n d"], seed: int, l2: float, folds: int
) -> Float[np.ndarray, "n c"]:
    """Class probabilities of every row, by the logistic regression that did not see it."""
    check_range("l2", l2, 0, np.inf)
    check_count("folds", folds, 2)
    if folds > len(weak):
        raise UserError(f"folds must be at most the {len(weak)} rows, not {folds}")
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
    """L-BFGS in the coordinates where the curvature at even odds is the identity: ten steps, whatever the features."""
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
