"""Simulated supervisors of one accuracy whose errors have different structures (Burns et al. 2023, App. E)."""

import numpy as np
from jaxtyping import Float, Int


def independent_errors(
    labels: Int[np.ndarray, " n"], n_classes: int, accuracy: float, seed: int
) -> Float[np.ndarray, "n c"]:
    """Hard labels, wrong in `round((1 - accuracy) n)` rows that nothing tells apart.

    A wrong label is any other class, equally likely.
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
    """
    return _wrong_in(labels, n_classes, np.argsort(-np.asarray(key), kind="stable"), accuracy, None)


def _wrong_in(
    labels: np.ndarray, n_classes: int, order: np.ndarray, accuracy: float, generator: np.random.Generator | None
) -> Float[np.ndarray, "n c"]:
    said = np.array(labels)
    rows = order[: round((1 - accuracy) * len(labels))]
    step = 1 if generator is None else generator.integers(1, n_classes, len(rows))
    said[rows] = (said[rows] + step) % n_classes
    return np.eye(n_classes, dtype=np.float32)[said]
