"""Simulated supervisors of equal accuracy whose errors have different structures (Burns et al. 2023, App. E)."""

import numpy as np
from jaxtyping import Float, Int

from w2s_jax.runtime.checks import check_count, check_range
from w2s_jax.runtime.errors import UserError


def independent_errors(
    labels: Int[np.ndarray, " n"], n_classes: int, accuracy: float, seed: int
) -> Float[np.ndarray, "n c"]:
    """Hard labels, wrong for `round((1 - accuracy) n)` random examples.

    A wrong label is any other class, equally likely.

    Raises:
      UserError: an accuracy outside [0, 1], or fewer than two classes.
    """
    generator = np.random.default_rng(seed)
    return _wrong_in(labels, n_classes, generator.permutation(len(labels)), accuracy, generator)


def errors_on(
    key: Float[np.ndarray, " n"] | Int[np.ndarray, " n"],
    labels: Int[np.ndarray, " n"],
    n_classes: int,
    accuracy: float,
) -> Float[np.ndarray, "n c"]:
    """Hard labels, wrong for the `round((1 - accuracy) n)` examples of the largest key, of equal ones the first.

    A wrong label is the next class, so that a student that sees the key can learn the errors exactly.

    Raises:
      UserError: an accuracy outside [0, 1], or fewer than two classes.
    """
    return _wrong_in(labels, n_classes, np.argsort(-np.asarray(key), kind="stable"), accuracy, None)


def with_confidences(
    simulated: Float[np.ndarray, "n c"], like: Float[np.ndarray, "n c"], labels: Int[np.ndarray, " n"], seed: int
) -> Float[np.ndarray, "n c"]:
    """Simulated labels, made soft with the confidences of a real supervisor of the same accuracy.

    The largest probabilities of `like` are distributed at random, those of the examples it has right to examples that
    are right in `simulated`, and those it has wrong to wrong ones: as confident and as calibrated, only elsewhere. The
    other classes share the rest equally.

    Args:
      simulated: hard labels, as `independent_errors` and `errors_on` return them.
      like: labels of the real supervisor.
      labels: ground truth.

    Raises:
      UserError: `simulated` and `like` are not right equally often.
    """
    chosen = simulated.argmax(axis=1)
    right, right_of_like = chosen == labels, like.argmax(axis=1) == labels
    if right.sum() != right_of_like.sum():
        raise UserError(
            f"confidences are dealt out between labels of one accuracy; of {len(labels)}, {right.sum()} and "
            f"{right_of_like.sum()} are right"
        )
    generator = np.random.default_rng(seed)
    confidence = np.empty(len(labels))
    for group in (True, False):
        confidence[right == group] = generator.permutation(like.max(axis=1)[right_of_like == group])
    n_classes = simulated.shape[1]
    soft = np.repeat(((1 - confidence) / (n_classes - 1))[:, None], n_classes, axis=1)
    soft[np.arange(len(labels)), chosen] = confidence
    return soft.astype(np.float32)


def _wrong_in(
    labels: np.ndarray, n_classes: int, order: np.ndarray, accuracy: float, generator: np.random.Generator | None
) -> Float[np.ndarray, "n c"]:
    check_range("accuracy", accuracy, 0, 1)
    check_count("n_classes", n_classes, 2)
    chosen = np.array(labels)
    rows = order[: round((1 - accuracy) * len(labels))]
    step = 1 if generator is None else generator.integers(1, n_classes, len(rows))
    chosen[rows] = (chosen[rows] + step) % n_classes
    return np.eye(n_classes, dtype=np.float32)[chosen]
