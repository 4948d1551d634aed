"""Distances lie in the published buckets, and their scores are the formula."""

import jax.numpy as jnp
import numpy as np
import pytest

from w2s_jax.models import disentangled
from w2s_jax.models.config import Relative


@pytest.mark.parametrize(("buckets", "furthest"), [(256, 512), (32, 128), (8, 40), (4, 12), (2, 9), (255, 511)])
def test_distances_lie_in_the_buckets_of_transformers(buckets, furthest):
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position

    length = 4 * furthest
    theirs = make_log_bucket_position(torch.arange(1 - length, length), buckets, furthest).long() + buckets
    ours = disentangled.distance_rows(Relative(buckets, furthest), length)
    np.testing.assert_array_equal(ours, np.clip(theirs.numpy(), 0, 2 * buckets - 1))


@pytest.mark.parametrize("length", [1, 2, 7])
def test_scores_of_distances_are_their_formula(length):
    rng = np.random.default_rng(0)
    query, key = rng.normal(size=(2, 2, length, 3, 5))
    of_query, of_key = rng.normal(size=(2, 2 * length - 1, 3, 5))
    found = disentangled.position_scores(*(jnp.asarray(x, jnp.float32) for x in (query, key, of_query, of_key)))
    for i in range(length):
        for j in range(length):
            at = i - j + length - 1
            expected = np.sum(query[:, i] * of_key[at] + key[:, j] * of_query[at], axis=-1)
            np.testing.assert_allclose(found[:, :, i, j], expected, atol=1e-5)
