"""Choosing examples by the weak labels themselves."""

import numpy as np
from jaxtyping import Float

from w2s_jax.label_transforms.base import LABEL_TRANSFORMS, TransformedLabels, kept, most_of
from w2s_jax.runtime.checks import check_range
from w2s_jax.runtime.errors import UserError


@LABEL_TRANSFORMS.register
def confidence_filter(
    weak: Float[np.ndarray, "n c"], *, threshold: float = 0.75, share: float | None = None, balanced: bool = False
) -> TransformedLabels:
    """Keeps the examples whose largest weak probability is above the threshold, or the most confident share of them.

    >>> weak = np.array([[0.1, 0.9], [0.3, 0.7], [0.8, 0.2], [0.45, 0.55]], np.float32)
    >>> confidence_filter(weak).rows.tolist()
    [0, 2]
    >>> confidence_filter(weak, share=0.25).rows.tolist()
    [0]

    Args:
      threshold: in [0, 1].
      share: in (0, 1]; keep `round(share * n)` examples instead, whatever their confidence.
      balanced: take the share of each class of weak labels, so that their balance stays.

    Raises:
      UserError: balanced without a share, or a hyperparameter out of range.

    References:
      Anthropic's automated weak-to-strong researcher, 2026, `confident-only`, threshold .75.
    """
    check_range("threshold", threshold, 0, 1)
    confidence = weak.max(axis=1)
    if share is None:
        if balanced:
            raise UserError("balanced takes a share of each class; give confidence_filter a share too")
        return kept(weak, confidence > threshold)
    check_range("share", share, 1e-9, 1)
    return kept(weak, most_of(confidence, share, weak.argmax(axis=1) if balanced else np.zeros(len(weak), np.int64)))


@LABEL_TRANSFORMS.register
def random_rows(weak: Float[np.ndarray, "n c"], *, share: float = 0.5, seed: int) -> TransformedLabels:
    """Keeps `round(share * n)` examples at random: the control for a filter.

    Args:
      share: in (0, 1].

    Raises:
      UserError: a share out of range.
    """
    check_range("share", share, 1e-9, 1)
    drawn = np.random.default_rng(seed).permutation(len(weak))[: round(share * len(weak))]
    return kept(weak, np.isin(np.arange(len(weak)), drawn))


@LABEL_TRANSFORMS.register
def balanced_resample(weak: Float[np.ndarray, "n c"], *, seed: int) -> TransformedLabels:
    """As many examples as before, equally many of each class of weak labels that occurs.

    A class with too few is repeated whole, and then in part at random; of one with too many, some are dropped at
    random.
    """
    generator = np.random.default_rng(seed)
    classes = [np.flatnonzero(weak.argmax(axis=1) == label) for label in range(weak.shape[1])]
    classes = [rows for rows in classes if len(rows)]
    sizes = [len(weak) // len(classes) + (place < len(weak) % len(classes)) for place in range(len(classes))]
    drawn = []
    for rows, size in zip(classes, sizes, strict=True):
        whole, rest = divmod(size, len(rows))
        drawn += [rows] * whole + [generator.choice(rows, rest, replace=False)]
    order = np.sort(np.concatenate(drawn)).astype(np.int32)
    return TransformedLabels(order, np.asarray(weak[order], np.float32))
