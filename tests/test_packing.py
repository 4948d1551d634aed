"""Packed rows compute what padded rows do, in value and gradient, and no token meets another example's."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import tiny as make
from w2s_jax import losses
from w2s_jax.data.batching import room
from w2s_jax.models.classifier import Classifier
from w2s_jax.models.config import Experts, ModelConfig, Relative, Rope
from w2s_jax.models.language_model import LanguageModel
from w2s_jax.models.packing import Packing, layout, pack, spread
from w2s_jax.runtime import sharding
from w2s_jax.train.optimizer import OptimizerConfig, make_optimizer
from w2s_jax.train.state import create, state_shardings
from w2s_jax.train.step import make_train_step

LENGTHS = np.array([5, 1, 0, 12, 7, 2, 9, 3], np.int32)
TOKENS = np.random.default_rng(0).integers(0, 37, (8, 12)).astype(np.int32)
LLAMA = ModelConfig(
    family="llama",
    vocab_size=37,
    hidden_size=16,
    n_layers=2,
    n_heads=4,
    n_kv_heads=2,
    head_dim=8,
    mlp_size=32,
    max_positions=16,
    rope=Rope(),
)
CONFIGS = {
    "llama": LLAMA,
    "learned positions": dataclasses.replace(
        LLAMA, family="opt", rope=None, first_position=2, norm="layer", n_kv_heads=4
    ),
    "experts": dataclasses.replace(LLAMA, experts=Experts(6, 2)),
    "windows": dataclasses.replace(
        LLAMA, family="gemma3", sliding_window=3, windowed=(True, False), window_rope=Rope(theta=100.0), qk_norm=True
    ),
    "norms after": dataclasses.replace(
        LLAMA, family="olmo2", pre_norms=False, post_norms=True, qk_norm=True, joint_qk_norm=True
    ),
    "positions in one layer": dataclasses.replace(LLAMA, family="smollm3", rotated=(True, False)),
    "encoder": dataclasses.replace(
        LLAMA,
        family="bert",
        rope=None,
        norm="layer",
        n_kv_heads=4,
        token_types=2,
        gated=False,
        final_norm=False,
        causal=False,
    ),
    "distances": dataclasses.replace(
        LLAMA, rope=None, relative=Relative(4, 10), n_kv_heads=4, norm="layer", gated=False, causal=False
    ),
    "windows to both sides": dataclasses.replace(
        LLAMA,
        sliding_window=3,
        windowed=(False, True),
        window_rope=Rope(theta=100.0),
        n_kv_heads=4,
        norm="unbiased",
        causal=False,
        norm_first=True,
        first_norm=False,
    ),
    "positions that leave an id out": dataclasses.replace(
        LLAMA, rope=None, padding_id=3, n_kv_heads=4, norm="layer", causal=False
    ),
}
SLOW_STEPS = [pytest.param(*case, marks=pytest.mark.slow) for case in ((None, 2), ((2, 2, 2), 1))]
PACKINGS = [Packing(1, 39), Packing(1, 48), Packing(2, 21), Packing(4, 16)]


def parameters(module):
    params = nn.unbox(jax.jit(module.init)(jax.random.key(0), TOKENS, LENGTHS)["params"])
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))  # the head is zero at first, and zeros would agree
    noisy = [leaf + 0.3 * jax.random.normal(key, leaf.shape) for leaf, key in zip(leaves, keys, strict=True)]
    return jax.tree.unflatten(structure, noisy)


def assert_close(ours, expected, **tolerance):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), ours, expected)


@pytest.mark.parametrize("packing", PACKINGS, ids=str)
def test_tokens_lie_one_after_another(packing):
    where = layout(LENGTHS, 12, packing)
    packed, positions = np.asarray(pack(jnp.asarray(TOKENS), where)), np.asarray(where.positions)
    for group, rows in enumerate(np.split(np.arange(8), packing.groups)):
        expected = np.concatenate([TOKENS[row, : LENGTHS[row]] for row in rows])
        np.testing.assert_array_equal(packed[group, : len(expected)], expected)
        assert not packed[group, len(expected) :].any()
        counted = np.concatenate([np.arange(LENGTHS[row]) for row in rows])
        np.testing.assert_array_equal(positions[group, : len(counted)], counted)
    rows = np.asarray(spread(jnp.asarray(packed), where))
    np.testing.assert_array_equal(rows, np.where(np.arange(12) < LENGTHS[:, None], TOKENS, 0))


DECODERS = ("learned positions", "windows", "norms after", "positions in one layer")
ENCODERS = ("encoder", "distances", "windows to both sides", "positions that leave an id out")


@pytest.mark.parametrize("name", ["llama", *make.slow("experts", *DECODERS, *ENCODERS)])
def test_logits_and_gradients_are_those_of_padded_rows(name):
    module = Classifier(CONFIGS[name])
    params = parameters(module)
    weights = np.random.default_rng(1).normal(size=(8, 2)) * (LENGTHS > 0)[:, None]

    def value(params, packing):
        logits = module.apply({"params": params}, TOKENS, LENGTHS, packing=packing)
        return jnp.sum(weights * jax.nn.log_softmax(logits)), logits

    run = jax.jit(jax.value_and_grad(value, has_aux=True), static_argnums=1)
    (_, expected), expected_gradient = run(params, None)
    assert np.ptp(expected[LENGTHS > 0, 0]) > 0.1
    for packing in PACKINGS:
        (_, logits), gradient = run(params, packing)
        np.testing.assert_allclose(logits[LENGTHS > 0], expected[LENGTHS > 0], atol=1e-5)
        assert_close(gradient, expected_gradient, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["llama", *make.slow("experts", *DECODERS, *ENCODERS)])
def test_no_token_meets_another_examples(name):
    module, params = Classifier(CONFIGS[name]), None
    params = parameters(module)

    def logits(tokens):
        return make.applied(module)({"params": params}, tokens, LENGTHS, packing=Packing(1, 48))

    others = (TOKENS + 1) % 37
    for row in np.flatnonzero(LENGTHS):
        mixed = np.where(np.arange(8)[:, None] == row, TOKENS, others)
        np.testing.assert_array_equal(logits(mixed)[row], logits(TOKENS)[row])
        assert not np.array_equal(logits(others)[row], logits(TOKENS)[row])


def test_scores_of_next_tokens_are_those_of_padded_rows():
    module = LanguageModel(LLAMA)
    params = parameters(module)
    start = np.array([0, 0, 0, 4, 2, 0, 8, 1], np.int32)

    def value(params, packing):
        scores = module.apply({"params": params}, TOKENS, LENGTHS, start, packing=packing, method="score")
        return jnp.sum(scores[:, 0]), scores

    run = jax.jit(jax.value_and_grad(value, has_aux=True), static_argnums=1)
    (_, expected), expected_gradient = run(params, None)
    for packing in PACKINGS:
        (_, scores), gradient = run(params, packing)
        np.testing.assert_allclose(scores, expected, rtol=1e-4)
        assert_close(gradient, expected_gradient, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("sizes", "microbatches"), [(None, 1), ((4, 1, 2), 2), *SLOW_STEPS], ids=str)
def test_a_packed_step_is_the_padded_step(sizes, microbatches):
    module = Classifier(LLAMA)
    params, tx = parameters(module), make_optimizer(OptimizerConfig("sgd", learning_rate=0.5), 4)
    lengths = np.tile(np.maximum(LENGTHS, 1), 2)
    tokens, targets = np.tile(TOKENS, (2, 1)), np.random.default_rng(0).dirichlet([1, 1], 16).astype(np.float32)
    batch = tokens, lengths, targets, np.arange(16) != 3
    seen = []

    def apply(params, frozen, tokens, lengths, rng, packing=None):
        seen.append(packing)
        return module.apply({"params": params}, tokens, lengths, packing=packing)

    def after(packed, mesh):
        placed = params
        if mesh is not None:
            boxed = jax.eval_shape(lambda: module.init(jax.random.key(0), TOKENS, LENGTHS)["params"])
            placed = sharding.place(params, sharding.param_shardings(boxed, mesh))
        state = create(placed, tx, jax.random.key(0))
        shardings = None if mesh is None else state_shardings(state)
        loss = losses.bind(losses.confidence, warmup_fraction=0.0)
        step = make_train_step(
            apply, loss, tx, total_steps=4, microbatches=microbatches, packed=packed, shardings=shardings
        )
        state, measured = step(state, {}, *batch)
        return state.params, measured.loss

    expected = after(False, None)
    assert set(seen) == {None}
    seen.clear()
    mesh = None if sizes is None else sharding.make_mesh(*sizes)
    ways = 1 if mesh is None else sharding.batch_ways(mesh)
    assert_close(after(True, mesh), expected, rtol=1e-3, atol=1e-5)
    assert set(seen) == {Packing(ways, room(lengths, ways, microbatches))}


def test_on_a_mesh_no_device_gathers_anothers_tokens():
    """Spreading and packing stay on the device: the program moves no more between them than the padded one."""
    mesh = sharding.make_mesh(8, 1, 1)
    x = sharding.place(np.ones((8, 24, 16), np.float32), sharding.batch_sharding(mesh))
    lengths = sharding.place(np.tile(LENGTHS, 2), sharding.batch_sharding(mesh))

    @jax.jit
    def there_and_back(x, lengths):
        where = layout(lengths, 12, Packing(8, 24))
        return jax.grad(lambda x: jnp.sum(jnp.square(pack(spread(x, where), where))))(x)

    text = there_and_back.lower(x, lengths).compile().as_text()
    assert not [kind for kind in ("all-gather", "all-reduce", "all-to-all", "collective-permute") if kind in text]
