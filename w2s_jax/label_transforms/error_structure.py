"""Simulated supervisors of one accuracy whose errors have different structures (Burns et al. 2023, App. E)."""

import numpy as np
from jaxtyping import Float, Int

from w2s_jax.label_transforms.steps import check_count, check_range
from w2s_jax.runtime.errors import UserError


def independent_errors(
    labels: Int[np.ndarray, " n"], n_classes: int, accuracy: float, seed: int
) -> Float[np.ndarray, "n c"]:
    """Hard labels, wrong in `round((1 - accuracy) n)` rows that nothing tells apart.

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
    """Hard labels, wrong in the `round((1 - accuracy) n)` rows of the largest key, of equal ones the first.

    A wrong label is the next class, so that a student who sees the key can learn the errors exactly.

    Raises:
      UserError: an accuracy outside [0, 1], or fewer than two classes.
    """
    return _wrong_in(labels, n_classes, np.argsort(-np.asarray(key), kind="stable"), accuracy, None)


def with_confidences(
    said: Float[np.ndarray, "n c"], like: Float[np.ndarray, "n c"], labels: Int[np.ndarray, " n"], seed: int
) -> Float[np.ndarray, "n c"]:
    """The labels `said` made soft with the confidences of a real supervisor of the same accuracy.

    The largest probabilities of `like` are dealt out by chance, those of its right rows to the right rows of `said` and
    those of its wrong rows to the wrong ones: as confident and as calibrated, only elsewhere. The other classes share
    the rest equally.

    Args:
      said: simulated labels, as `independent_errors` and `errors_on` give them.
      like: labels of the real supervisor.
      labels: ground truth.

    Raises:
      UserError: `said` and `like` are not right equally often.
    """
    chosen = said.argmax(axis=1)
    of_said, of_like = chosen == labels, like.argmax(axis=1) == labels
    if of_said.sum() != of_like.sum():
        raise UserError(
            f"confidences are dealt out between labels of one accuracy; of {len(labels)}, {of_said.sum()} and "
            f"{of_like.sum()} are right"
        )
    generator = np.random.default_rng(seed)
    confidence = np.empty(len(labels))
    for group in (True, False):
        confidence[of_said == group] = generator.permutation(like.max(axis=1)[of_like == group])
    soft = np.repeat(((1 - confidence) / (said.shape[1] - 1))[:, None], said.shape[1], axis=1)
    soft[np.arange(len(labels)), chosen] = confidence
    return soft.astype(np.float32)


def _wrong_in(
    labels: np.ndarray, n_classes: int, order: np.ndarray, accuracy: float, generator: np.random.Generator | None
) -> Float[np.ndarray, "n c"]:
    check_range("accuracy", accuracy, 0, 1)
    check_count("n_classes", n_classes, 2)
    said = np.array(labels)
    rows = order[: round((1 - accuracy) * len(labels))]
    step = 1 if generator is None else generator.integers(1, n_classes, len(rows))
    said[rows] = (said[rows] + step) % n_classes
    return np.eye(n_classes, dtype=np.float32)[said]
