"""Contrast-consistent search (Burns et al. 2022): the direction that answers consistently, turned by labels."""

import numpy as np

from w2s_jax.train import ccs


def test_ccs_finds_the_direction_and_is_turned_by_labels():
    rng = np.random.default_rng(0)
    n, d = 500, 20
    truth = rng.integers(0, 2, n)
    base = rng.normal(size=(n, d)).astype(np.float32)
    direction = np.zeros(d, np.float32)
    direction[3] = 3
    yes = base + np.where(truth == 1, 1, -1)[:, None] * direction
    no = base - np.where(truth == 1, 1, -1)[:, None] * direction
    found = ccs.fit_ccs(no, yes, seed=0)
    weak = np.eye(2, dtype=np.float32)[np.where(rng.random(n) < 0.35, 1 - truth, truth)]
    found = ccs.oriented(found, ccs.predict_ccs(found, no, yes), weak)
    assert (ccs.predict_ccs(found, no, yes).argmax(axis=1) == truth).mean() > 0.95
    assert found.loss < 0.1
