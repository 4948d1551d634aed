"""How good one model's probabilities are: accuracy, AUROC, log loss and Brier score."""

import numpy as np

from w2s_jax.metrics.base import METRICS, Labels, Metric, Probs, check, hard
from w2s_jax.metrics.influence import auroc_of

FLOAT32_EPS = float(np.finfo(np.float32).eps)


def accuracy(probs: Probs, labels: Labels | Probs) -> float:
    """Fraction of predictions that are right, in [0, 1]; of soft labels the argmax is right."""
    labels = hard(labels)
    check(probs, labels)
    return float(np.mean(np.argmax(probs, axis=-1) == labels))


def log_loss(probs: Probs, labels: Labels | Probs) -> float:
    """Cross-entropy, in nats: mean of `-sum_k labels_k log p_k`; class numbers count as one-hot labels.

    A probability counts as at least 1.2e-7, float32's epsilon.
    """
    check(probs, hard(labels))
    if labels.ndim == 1:
        picked = probs[np.arange(len(labels)), labels].astype(np.float64)
        return float(-np.mean(np.log(np.maximum(picked, FLOAT32_EPS))))
    logs = np.log(np.maximum(probs.astype(np.float64), FLOAT32_EPS))
    return float(-np.mean(np.sum(labels * logs, axis=-1)))


def brier(probs: Probs, labels: Labels) -> float:
    """Mean of `sum_k (p_k - [k = label])^2`, in [0, 2]: Brier's own definition (1950), twice the binary one."""
    check(probs, labels)
    return float(np.mean(np.sum((probs - np.eye(probs.shape[1])[labels]) ** 2, axis=-1)))


def auroc(probs: Probs, labels: Labels | Probs) -> float | None:
    """Area under the ROC curve, in [0, 1]: the chance that a positive scores above a negative, ties counting half.

    Two classes: class 1 by its log-odds. More: one-vs-rest, the plain mean over classes that have examples. None where
    the labels are all of one class. Of soft labels the argmax counts.
    """
    labels = hard(labels)
    check(probs, labels)
    area = auroc_of(probs, labels).value
    return None if np.isnan(area) else area


METRICS.register(
    Metric(
        name="accuracy",
        title="accuracy",
        formula="fraction of predictions (the class of the largest probability) that are right",
        better="higher",
        shown="main",
        standard_error=True,
        function=accuracy,
    )
)
METRICS.register(
    Metric(
        name="auroc",
        title="AUROC",
        formula="chance that a positive example scores above a negative one; of more than two classes the mean of one "
        "against the rest; undefined where all labels are of one class",
        better="higher",
        shown="main",
        function=auroc,
    )
)
METRICS.register(
    Metric(
        name="log_loss",
        title="log loss",
        formula="cross-entropy in nats, with probabilities of at least 1.2e-7",
        better="lower",
        shown="results",
        function=log_loss,
    )
)
