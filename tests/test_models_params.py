"""Parameter sets by regex: every leaf is covered, adapters start as nothing and train alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import tiny as make
from w2s_jax import models
from w2s_jax.models import params as sets
from w2s_jax.models.layers import Lora
from w2s_jax.runtime.errors import UserError

IDS = np.array([[1, 2, 3, 4], [5, 6, 0, 0]], np.int32)
LENGTHS = np.array([4, 2], np.int32)


@pytest.fixture
def pretrained(tmp_path):
    return models.load(str(make.llama(tmp_path / "m")))


def trained_head(params):
    return {**params, "head": {"kernel": jnp.ones_like(params["head"]["kernel"]) * jnp.array([1.0, -1.0])}}


def test_a_leaf_no_rule_covers_is_named(pretrained):
    _, params = models.build_classifier(pretrained, 2, rng=jax.random.key(0))
    with pytest.raises(UserError, match="head/kernel"):
        sets.groups(params, [(r"^backbone/", "frozen")])


@pytest.mark.parametrize("kind", sets.TRAINABLE)
def test_partition_and_combine_are_inverse_and_cover_every_leaf(pretrained, kind):
    _, params = models.build_classifier(pretrained, 2, rng=jax.random.key(0), lora=Lora(2))
    trainable, frozen = sets.partition(params, sets.TRAINABLE[kind])
    assert len(jax.tree.leaves(trainable)) + len(jax.tree.leaves(frozen)) == len(jax.tree.leaves(params))
    whole = sets.combine(trainable, frozen)
    assert jax.tree.structure(whole) == jax.tree.structure(params)
    jax.tree.map(np.testing.assert_array_equal, whole, params)
    paths = {sets.path_of(keys) for keys, _ in jax.tree_util.tree_leaves_with_path(trainable)}
    assert "head/kernel" in paths
    if kind == "head":
        assert paths == {"head/kernel"}
    if kind == "lora":
        assert all(path == "head/kernel" or path.rpartition("/")[2] in ("lora_a", "lora_b") for path in paths)
        assert len(paths) == 1 + 2 * 7, "query, key, value, output, gate, up and down"


def test_adapters_start_as_nothing_and_then_matter(pretrained):
    base, base_params = models.build_classifier(pretrained, 2, rng=jax.random.key(0))
    module, params = models.build_classifier(pretrained, 2, rng=jax.random.key(0), lora=Lora(2, alpha=4.0))
    base_params, params = trained_head(base_params), trained_head(params)
    expected = base.apply({"params": base_params}, IDS, LENGTHS)
    np.testing.assert_allclose(module.apply({"params": params}, IDS, LENGTHS), expected, atol=1e-6)
    query = params["backbone"]["layers"]["attention"]["query"]
    query["lora_b"] = jax.random.normal(jax.random.key(1), query["lora_b"].shape)
    changed = module.apply({"params": params}, IDS, LENGTHS)
    assert np.abs(changed - expected).max() > 1e-3
    down, up = query["lora_a"], query["lora_b"]
    merged = {**base_params["backbone"]["layers"]["attention"]["query"]}
    merged["kernel"] = merged["kernel"] + 2.0 * jnp.einsum("ldr,lrhk->ldhk", down, up)  # alpha / rank = 2
    base_params["backbone"]["layers"]["attention"]["query"] = merged
    np.testing.assert_allclose(changed, base.apply({"params": base_params}, IDS, LENGTHS), rtol=2e-4, atol=1e-5)


def test_gradients_reach_adapters_and_head_alone(pretrained):
    module, params = models.build_classifier(pretrained, 2, rng=jax.random.key(0), lora=Lora(2))
    params = trained_head(params)
    trainable, frozen = sets.partition(params, sets.TRAINABLE["lora"])

    def loss(trainable):
        logits = module.apply({"params": sets.combine(trainable, frozen)}, IDS, LENGTHS)
        return jnp.sum(jnp.sin(logits[:, 0]))

    for keys, gradient in jax.tree_util.tree_leaves_with_path(jax.grad(loss)(trainable)):
        path = sets.path_of(keys)
        assert np.any(gradient) != path.endswith("lora_a"), path  # the other factor is zero at first


def test_a_new_head_is_the_only_thing_that_is_new(pretrained):
    _, params = models.build_classifier(pretrained, 3, rng=jax.random.key(0))
    assert params["head"]["kernel"].shape == (16, 3)
    assert not np.any(params["head"]["kernel"])
    for ours, theirs in zip(jax.tree.leaves(params["backbone"]), jax.tree.leaves(pretrained.params), strict=True):
        assert ours is theirs
