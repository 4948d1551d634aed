"""One step: exact accumulation, donation, one compilation, and bad batches that change nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from w2s_jax import losses
from w2s_jax.runtime.errors import UserError
from w2s_jax.train.optimizer import OptimizerConfig, make_optimizer
from w2s_jax.train.state import create
from w2s_jax.train.step import make_predict, make_train_step

B, T, VOCAB, WIDTH = 16, 6, 50, 8
SGD = optax.sgd(1.0)  # so that parameters move by their gradient


def median_loss(logits, targets, *, step, total_steps, where):
    """Coupled to the batch: rows whose margin is above the median of the valid rows count double."""
    margin = jax.lax.stop_gradient(logits[:, 1] - logits[:, 0])
    above = margin > jnp.nanmedian(jnp.where(where, margin, jnp.nan))
    return jnp.where(where, optax.softmax_cross_entropy(logits, targets) * (1 + above), 0)


LOSSES = {
    "per example": losses.bind(losses.cross_entropy),
    "median": median_loss,
    "confidence": losses.bind(losses.confidence, warmup_fraction=0.0),
}


def model(params, frozen, tokens, lengths, rng):
    real = (jnp.arange(tokens.shape[1]) < lengths[:, None])[..., None]
    hidden = jnp.tanh(frozen["embedding"][tokens] @ params["body"])
    if rng is not None:
        hidden = hidden * jax.random.bernoulli(rng, 0.5, hidden.shape) * 2
    pooled = jnp.sum(hidden * real, axis=1) / jnp.maximum(lengths, 1)[:, None]
    return pooled @ params["head"]


def without_dropout(params, frozen, tokens, lengths, rng):
    return model(params, frozen, tokens, lengths, None)


@pytest.fixture
def parameters():
    keys = jax.random.split(jax.random.key(0), 3)
    params = {"body": jax.random.normal(keys[0], (WIDTH, WIDTH)), "head": jax.random.normal(keys[1], (WIDTH, 2))}
    return params, {"embedding": jax.random.normal(keys[2], (VOCAB, WIDTH))}


@pytest.fixture
def batch():
    random = np.random.default_rng(0)
    tokens = random.integers(1, VOCAB, (B, T)).astype(np.int32)
    lengths = random.integers(1, T + 1, B).astype(np.int32)
    where = random.random(B) < 0.7
    assert len({where[start::4].sum() for start in range(4)}) > 1  # microbatches of unequal counts
    return tokens, lengths, random.dirichlet([1, 1], B).astype(np.float32), where


def gradient_by_step(apply, loss, parameters, batch, microbatches):
    params, frozen = parameters
    step = make_train_step(apply, loss, SGD, total_steps=10, microbatches=microbatches)
    state, measured = step(create(params, SGD, jax.random.key(7)), frozen, *batch)
    return jax.tree.map(lambda old, new: old - new, params, state.params), measured


def reference(logits_of, loss, params, targets, where):
    """The definition: sum over count, differentiated through everything at once."""

    def objective(params):
        values = loss(
            logits_of(params), jnp.asarray(targets), step=jnp.int32(0), total_steps=10, where=jnp.asarray(where)
        )
        return jnp.sum(jnp.where(where, values, 0)) / where.sum()

    return jax.value_and_grad(objective)(params)


def assert_trees_close(ours, expected, tolerance=1e-5):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance), ours, expected)


@pytest.mark.parametrize("microbatches", [1, 2, 4, 16])
@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_accumulated_equals_full_batch(loss, microbatches, parameters, batch):
    tokens, lengths, targets, where = batch
    params, frozen = parameters
    value, expected = reference(
        lambda params: model(params, frozen, tokens, lengths, None), loss, params, targets, where
    )
    ours, measured = gradient_by_step(without_dropout, loss, parameters, batch, microbatches)
    assert_trees_close(ours, expected)
    assert float(measured.loss) == pytest.approx(float(value), rel=1e-5)
    assert float(measured.grad_norm) == pytest.approx(float(optax.tree.norm(expected)), rel=1e-5)
    assert bool(measured.finite)


@pytest.mark.parametrize("loss", ["median", "confidence"])
def test_the_batches_tell_a_loss_of_microbatches_from_a_loss_of_the_batch(loss, parameters, batch):
    """Were the loss applied to each microbatch, even with correct counts, the test above would fail."""
    tokens, lengths, targets, where = batch
    params, frozen = parameters
    _, expected = reference(
        lambda params: model(params, frozen, tokens, lengths, None), LOSSES[loss], params, targets, where
    )
    wrong = jax.tree.map(jnp.zeros_like, params)
    for start in range(4):
        rows = slice(start, None, 4)
        _, part = reference(
            lambda params, rows=rows: model(params, frozen, tokens[rows], lengths[rows], None),
            LOSSES[loss],
            params,
            targets[rows],
            where[rows],
        )
        share = where[rows].sum() / where.sum()
        wrong = jax.tree.map(lambda total, gradient, share=share: total + share * gradient, wrong, part)
    with pytest.raises(AssertionError):
        assert_trees_close(wrong, expected, tolerance=1e-2)


@pytest.mark.parametrize("microbatches", [1, 4])
@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_dropout_is_the_same_forward_and_back(loss, microbatches, parameters, batch):
    tokens, lengths, targets, where = batch
    params, frozen = parameters
    rng = jax.random.fold_in(jax.random.key(7), 0)

    def logits_of(params):
        logits = jnp.zeros((B, 2))
        for index in range(microbatches):
            rows = slice(index, None, microbatches)
            key = jax.random.fold_in(rng, index)
            logits = logits.at[rows].set(model(params, frozen, tokens[rows], lengths[rows], key))
        return logits

    _, expected = reference(logits_of, loss, params, targets, where)
    ours, _ = gradient_by_step(model, loss, parameters, batch, microbatches)
    assert_trees_close(ours, expected)
    with pytest.raises(AssertionError):
        assert_trees_close(ours, gradient_by_step(without_dropout, loss, parameters, batch, 1)[0], tolerance=1e-2)


def test_each_step_has_its_own_dropout(parameters, batch):
    params, frozen = parameters
    tx = optax.set_to_zero()
    step = make_train_step(model, LOSSES["per example"], tx, total_steps=10)
    state, first = step(create(params, tx, jax.random.key(7)), frozen, *batch)
    state, second = step(state, frozen, *batch)
    assert float(first.loss) != float(second.loss)


def test_padding_rows_change_nothing(parameters, batch):
    tokens, lengths, targets, where = batch
    ours, _ = gradient_by_step(without_dropout, LOSSES["confidence"], parameters, batch, 4)
    garbage = np.where(where, lengths, 1), np.where(where[:, None], targets, 5.0)
    other = (np.where(where[:, None], tokens, 3), *garbage, where)
    assert_trees_close(ours, gradient_by_step(without_dropout, LOSSES["confidence"], parameters, other, 4)[0], 0)


def test_a_batch_of_padding_has_no_gradient(parameters, batch):
    ours, measured = gradient_by_step(model, LOSSES["confidence"], parameters, (*batch[:3], np.zeros(B, bool)), 4)
    assert bool(measured.finite)
    assert float(measured.loss) == 0
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(ours))


def test_state_is_donated_and_the_caller_keeps_his_own(parameters, batch):
    params, frozen = parameters
    tx, rng = make_optimizer(OptimizerConfig(), 10), jax.random.key(0)
    before = create(params, tx, rng)
    after, _ = make_train_step(model, LOSSES["per example"], tx, total_steps=10)(before, frozen, *batch)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves((before.params, before.opt_state, before.step)))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves((after, params, frozen, rng)))
    assert int(after.step) == 1


@pytest.mark.parametrize("microbatches", [1, 4])
def test_the_step_and_the_prediction_compile_once(microbatches, parameters, batch):
    params, frozen = parameters
    traces = []

    def counted(*arguments):
        traces.append(1)
        return model(*arguments)

    tx = make_optimizer(OptimizerConfig(), 10)
    step = make_train_step(counted, LOSSES["confidence"], tx, total_steps=10, microbatches=microbatches)
    predict = make_predict(counted)
    state = create(params, tx, jax.random.key(0))
    state, _ = step(state, frozen, *batch)
    predict(state.params, frozen, *batch[:2])
    first = len(traces)
    for shift in range(4):
        state, _ = step(state, frozen, *(np.roll(part, shift, axis=0) for part in batch))
        predict(state.params, frozen, *batch[:2])
    assert len(traces) == first


@pytest.mark.parametrize("microbatches", [1, 4])
def test_a_batch_that_is_not_finite_changes_nothing_and_says_so(microbatches, parameters, batch):
    params, frozen = parameters
    frozen = {"embedding": frozen["embedding"].at[0].set(jnp.nan)}
    bad = (np.zeros_like(batch[0]), *batch[1:])
    tx = make_optimizer(OptimizerConfig(learning_rate=0.1), 10)
    step = make_train_step(model, LOSSES["per example"], tx, total_steps=10, microbatches=microbatches)
    state, good = step(create(params, tx, jax.random.key(0)), frozen, *batch)
    before = jax.tree.map(np.asarray, (state.params, state.opt_state))
    state, measured = step(state, frozen, *bad)
    assert bool(good.finite)
    assert not bool(measured.finite)
    assert int(state.step) == 2
    jax.tree.map(np.testing.assert_array_equal, (state.params, state.opt_state), before)
    state, measured = step(state, frozen, *batch)
    assert bool(measured.finite)
    assert not np.array_equal(state.params["head"], before[0]["head"])


def test_a_gradient_that_is_not_finite_counts_too(parameters, batch):
    def cusp(logits, targets, *, step, total_steps, where):
        return jnp.sqrt(jnp.sum(jnp.square(logits - jax.lax.stop_gradient(logits)), axis=-1))

    ours, measured = gradient_by_step(model, cusp, parameters, batch, 1)
    assert float(measured.loss) == 0
    assert not bool(measured.finite)
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(ours))


def test_microbatches_save_memory(parameters):
    params, frozen = parameters
    tokens, lengths = jnp.ones((64, 256), jnp.int32), jnp.full(64, 256, jnp.int32)
    batch = tokens, lengths, jnp.full((64, 2), 0.5), jnp.ones(64, bool)

    def temporary_bytes(microbatches):
        step = make_train_step(model, LOSSES["confidence"], SGD, total_steps=1, microbatches=microbatches)
        compiled = jax.jit(step).lower(create(params, SGD, jax.random.key(0)), frozen, *batch).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporary_bytes(8) < temporary_bytes(1) / 4


def test_prediction_is_deterministic_and_float32(parameters, batch):
    params, frozen = parameters
    predict = make_predict(lambda *arguments: model(*arguments).astype(jnp.bfloat16))
    logits = predict(params, frozen, *batch[:2])
    assert logits.dtype == jnp.float32
    np.testing.assert_allclose(logits, model(params, frozen, *batch[:2], None), rtol=1e-2, atol=1e-2)


def test_rows_that_do_not_divide_are_named(parameters, batch):
    with pytest.raises(UserError, match="a batch of 16 cannot be split into 3 microbatches"):
        gradient_by_step(model, LOSSES["median"], parameters, batch, 3)
