"""Choosing rows by what the weak labels themselves say."""

import numpy as np
from jaxtyping import Float

from w2s_jax.label_transforms.steps import Labels, check_range, kept, most_of
from w2s_jax.runtime.errors import UserError


def confidence_filter(
    weak: Float[np.ndarray, "n c"], *, threshold: float = 0.75, share: float | None = None, balanced: bool = False
) -> Labels:
    """Keeps the rows whose largest weak probability is above the threshold, or the most confident share of them.

    Source: Anthropic's automated weak-to-strong researcher (2026), `confident-only`, threshold .75.

    Args:
      threshold: in [0, 1].
      share: in (0, 1]; keep `round(share * n)` rows instead, whatever their confidence.
      balanced: count the share in each class of weak labels, so that their balance stays.

    Raises:
      UserError: balanced without a share.
    """
    check_range("threshold", threshold, 0, 1)
    confidence = weak.max(axis=1)
    if share is None:
        if balanced:
            raise UserError("balanced counts a share of each class; give confidence_filter a share too")
        return kept(weak, confidence > threshold)
    check_range("share", share, 1e-9, 1)
    return kept(weak, most_of(confidence, share, weak.argmax(axis=1) if balanced else np.zeros(len(weak), np.int64)))


def random_rows(weak: Float[np.ndarray, "n c"], *, share: float = 0.5, seed: int) -> Labels:
    """Keeps `round(share * n)` rows by chance: what a filter is to be compared with.

    Args:
      share: in (0, 1].
    """
    check_range("share", share, 1e-9, 1)
    drawn = np.random.default_rng(seed).permutation(len(weak))[: round(share * len(weak))]
    return kept(weak, np.isin(np.arange(len(weak)), drawn))


def balanced_resample(weak: Float[np.ndarray, "n c"], *, seed: int) -> Labels:
    """As many rows as before, equally many of each class of weak labels that occurs.

    A class with too few is repeated whole, and then in part by chance; of one with too many, some are left out.
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
    return Labels(order, np.asarray(weak[order], np.float32))
