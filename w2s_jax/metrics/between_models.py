"""How alike two models answer: agreement of student and supervisor, CAPA, and confident disagreement."""

from typing import NamedTuple

import numpy as np

from w2s_jax.metrics.base import METRICS, Labels, Metric, Probs, check


def confident_disagreement(probs: Probs, targets: Probs, threshold: float = 0.95) -> float | None:
    """CDR: of the predictions above `threshold`, the fraction where targets are above it for another class.

    None where no prediction is above it. (EleutherAI/weak-to-strong; targets are weak labels, or one-hot truth.)
    """
    check(probs, np.argmax(targets, axis=-1))
    sure = probs.max(axis=-1) > threshold
    against = (targets.max(axis=-1) > threshold) & (np.argmax(probs, axis=-1) != np.argmax(targets, axis=-1))
    return float(np.mean(against[sure])) if sure.any() else None


class Agreement(NamedTuple):
    """Fraction of examples where student and supervisor predict the same class, in [0, 1].

    Attributes:
      overall: over all examples; None where it is not known.
      where_right, where_wrong: over those where the supervisor is right, or wrong; None where there are none.
    """

    overall: float | None
    where_right: float | None
    where_wrong: float | None


def agreement(student: Probs, supervisor: Probs, labels: Labels) -> Agreement:
    """How far the student follows its supervisor, errors included (Burns et al. 2023, section 5.1.3, figure 8)."""
    check(student, labels)
    check(supervisor, labels)
    weak = np.argmax(supervisor, axis=-1)
    same, right = np.argmax(student, axis=-1) == weak, weak == labels
    parts = (float(np.mean(same[part])) if part.any() else None for part in (right, ~right))
    return Agreement(float(np.mean(same)), *parts)


def similarity(a: Probs, b: Probs, labels: Labels) -> float | None:
    """CAPA, at most 1: how alike two models answer, beyond what their accuracies make them agree (Goel et al. 2025).

    `(observed - expected) / (1 - expected)`: observed is the mean chance that draws from a and b are the same class;
    expected is that of independent models with their mean probabilities of the right class, whose wrong answers are
    spread evenly. 0 is chance, and below it they differ where they need not. None where expected is 1.
    """
    check(a, labels)
    check(b, labels)
    right_a, right_b = (float(np.mean(probs[np.arange(len(labels)), labels])) for probs in (a, b))
    observed = float(np.mean(np.sum(a.astype(np.float64) * b, axis=-1)))
    expected = right_a * right_b + (1 - right_a) * (1 - right_b) / max(a.shape[1] - 1, 1)
    return None if expected >= 1 else (observed - expected) / (1 - expected)


METRICS.register(
    Metric(
        name="confident_disagreement",
        title="CDR",
        formula="confident disagreement, the fraction of predictions above .95 whose labels are above .95 for another "
        "class; undefined where no prediction is above .95",
        better="lower",
        against_weak=True,
        function=confident_disagreement,
    )
)
