"""Whether a model knows how often it is right: reliability diagrams, ECE, and signed over-confidence."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from w2s_jax.metrics.base import METRICS, Labels, Metric, Probs, backing
from w2s_jax.runtime.errors import UserError


class Reliability(NamedTuple):
    """A reliability diagram: bin i holds top-label confidences in (edges[i], edges[i + 1]].

    Attributes:
      edges: [bins + 1], from 0 to 1.
      counts: examples in each bin.
      confidence, accuracy: means in each bin, NaN where it is empty.
    """

    edges: Float[np.ndarray, " bins+1"]
    counts: Int[np.ndarray, " bins"]
    confidence: Float[np.ndarray, " bins"]
    accuracy: Float[np.ndarray, " bins"]


def reliability(probs: Probs, labels: Labels | Probs, bins: int = 10) -> Reliability:
    """Confidence against accuracy in bins of equal width, by the top label (Guo et al. 2017, section 2).

    Of soft labels, accuracy is the mean probability that they give to what is predicted.
    """
    right = backing(probs, labels)
    confidence = probs.max(axis=-1).astype(np.float64)
    index = bin_of(confidence, bins)
    counts = np.bincount(index, minlength=bins)
    with np.errstate(invalid="ignore"):
        means = [np.bincount(index, values, minlength=bins) / counts for values in (confidence, right)]
    return Reliability(np.linspace(0.0, 1.0, bins + 1), counts, *means)


def bin_of(confidence: Float[np.ndarray, "*s"], bins: int) -> Int[np.ndarray, "*s"]:
    """The bin of each confidence, of so many of equal width from 0 to 1; the lower one where it is at an edge."""
    if bins < 1:
        raise UserError(f"bins must be at least 1, not {bins}")
    edges = np.linspace(0.0, 1.0, bins + 1)
    return np.asarray(np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1))


def calibration_error(probs: Probs, labels: Labels | Probs, bins: int = 10) -> float:
    """ECE, in [0, 1]: mean over examples of `|accuracy - confidence|` of their bin (Guo et al. 2017, equation 3)."""
    diagram = reliability(probs, labels, bins)
    gaps = np.nan_to_num(np.abs(diagram.accuracy - diagram.confidence))
    return float(np.sum(diagram.counts * gaps) / len(labels))


def sweep_calibration_error(probs: Probs, labels: Labels | Probs) -> float:
    """ECE by a monotone sweep, in [0, 1]: of equally full bins, as many as keep accuracy from falling with confidence.

    Less biased than bins of equal width (Roelofs et al. 2022, algorithm 1, with p = 1).
    """
    right, confidence = backing(probs, labels), probs.max(axis=-1).astype(np.float64)
    order = np.argsort(confidence, kind="stable")
    sums = [np.append(0.0, np.cumsum(values[order])) for values in (right, confidence)]
    error = 0.0
    for bins in range(1, len(labels) + 1):
        ends = np.arange(bins + 1) * len(labels) // bins
        accuracy, sure = (np.diff(each[ends]) / np.diff(ends) for each in sums)
        if np.any(np.diff(accuracy) < -1e-9):  # of sums that are rounded
            break
        error = float(np.diff(ends) @ np.abs(accuracy - sure)) / len(labels)
    return error


def over_confidence(probs: Probs, labels: Labels | Probs) -> float:
    """EOE, in [-1, 1]: mean confidence minus accuracy; above 0 the model is over-confident, below 0 under-confident.

    Signed, so it needs no bins, and errors of both signs cancel. Of soft labels, accuracy is the mean probability that
    they give to what is predicted (EleutherAI/weak-to-strong).
    """
    return float(np.mean(probs.max(axis=-1) - backing(probs, labels)))


METRICS.register(
    Metric(
        name="calibration_error",
        title="ECE",
        formula="expected calibration error, the mean over examples of |accuracy - confidence| in their bin, of ten "
        "bins of equal width",
        better="lower",
        against_weak=True,
        function=calibration_error,
    )
)
METRICS.register(
    Metric(
        name="sweep_calibration_error",
        title="sweep ECE",
        formula="ECE in equally full bins, of which there are as many as keep accuracy from falling with confidence",
        better="lower",
        function=sweep_calibration_error,
    )
)
METRICS.register(
    Metric(
        name="over_confidence",
        title="EOE",
        formula="signed over-confidence, mean confidence - accuracy",
        better="zero",
        against_weak=True,
        function=over_confidence,
    )
)
