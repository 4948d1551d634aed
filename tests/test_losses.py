"""Losses against PyTorch in float64, written here from the formulas, and one battery over every name."""

import doctest
import functools
import importlib
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special

from w2s_jax import losses
from w2s_jax.losses import LOSSES, algebra, bind
from w2s_jax.losses.base import check_hyperparameter
from w2s_jax.runtime.errors import UserError

torch = pytest.importorskip("torch")
F = torch.nn.functional

NAMES = sorted(LOSSES)
STEP, TOTAL = 7, 100
LINEAR_IN_TARGETS = {"cross_entropy", "entropy", "focal", "generalized_cross_entropy", "symmetric_cross_entropy"}
TOLD_APART = ("confidence", "openai_logconf", "log_confidence", "eleuther_logconf")  # whose ties go to one class
CLASS_SYMMETRIC = [name for name in NAMES if name not in TOLD_APART]


def batch(rows=16, classes=2, scale=2.0, seed=0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(rows, classes)) * scale
    targets = np.exp(rng.normal(size=(rows, classes)) * 1.5)
    return logits.astype(np.float32), (targets / targets.sum(-1, keepdims=True)).astype(np.float32)


def hard(targets):
    return np.eye(targets.shape[1], dtype=np.float32)[targets.argmax(-1)]


@functools.cache
def compiled(loss, total, options):
    bound = bind(loss, **dict(options))

    @jax.jit
    def both(logits, targets, step, where):
        values, pull = jax.vjp(lambda x: bound(x, targets, step=step, total_steps=total, where=where), logits)
        return values, pull(jnp.ones_like(values))[0]

    return both


def run(loss, logits, targets, where=None, step=STEP, total=TOTAL, **options):
    """(values [B], gradient of their sum [B, C]) of a bound loss, jitted."""
    where = np.ones(len(logits), bool) if where is None else where
    values, gradient = compiled(loss, total, tuple(options.items()))(
        jnp.asarray(logits), jnp.asarray(targets), jnp.int32(step), jnp.asarray(where)
    )
    return np.asarray(values), np.asarray(gradient, np.float32)


# ---- The oracle: the same formulas in torch


def ce(z, w):
    return F.cross_entropy(z, w, reduction="none")


def one_hot(index, like):
    return F.one_hot(index, like.shape[1]).to(like)


def own_at_prior(z, w):
    """By counting: the k rows least like class 0 are of class 1, one after another."""
    if w.shape[1] != 2:
        return one_hot(z.argmax(-1), w)
    total = float(w[:, 1].sum())
    k = int(np.floor(total)) + (total % 1 > 0.5)
    own = torch.zeros_like(w)
    own[:, 0] = 1
    own[torch.argsort(z[:, 0] - z[:, 1])[:k]] = torch.tensor([0.0, 1.0], dtype=w.dtype)
    return own


def own_at_quantile(z, w, prior=None):
    if w.shape[1] != 2:
        return one_hot(z.argmax(-1), w)
    p0 = z.softmax(-1)[:, 0].detach()
    threshold = torch.quantile(p0, w[:, 1].mean() if prior is None else prior)
    return torch.stack([p0 >= threshold, p0 < threshold], 1).to(w)


def t_confidence(z, w, alpha=0.5, warmup=0.2, own=own_at_prior):
    a = alpha * min(1.0, STEP / TOTAL / warmup)
    return ce(z, (1 - a) * w + a * own(z, w))


def t_openai(z, w):
    fraction = STEP / TOTAL
    a = 0.5 * (1.0 if fraction > 0.1 else fraction)
    return ce(z, (1 - a) * w + a * own_at_quantile(z, w))


def t_log_confidence(z, w, balance=False):
    a = 0.5 * STEP / 100
    prior = None
    if balance:
        logs = torch.log(w + 1e-7)
        w, prior = (logs - logs.mean(0)).softmax(-1), 0.5
    return ce(z, (1 - a) * w + a * own_at_quantile(z, w, prior))


def t_eleuther(z, w):
    """Their loop over minibatches of one, with a list of the last 32 values of p0."""
    a, p, seen, hard = 0.5 * STEP / 100, z.softmax(-1).detach(), [], []
    for row in p:
        seen = [*seen, row[0]][-32:]
        hard.append(int(row[0] < torch.quantile(torch.stack(seen), 0.5)))
    own = torch.tensor(hard) if z.shape[-1] == 2 else z.argmax(-1)
    return ce(z, (1 - a) * w + a * one_hot(own, w))


def t_product(z, w, alpha=1.0, beta=1.0):
    target = z.softmax(-1).detach() ** beta * w**alpha
    return ce(z, target / target.sum(-1, keepdim=True))


def t_entropy(z, w):
    a = 0.5 * STEP / 100
    p = z.softmax(-1)
    return (1 - a) * ce(z, w) - a * (p * z.log_softmax(-1)).sum(-1)


def t_window(z, w, radius=0.15):
    return torch.where(z.softmax(-1).max(-1).values < 0.5 + radius, ce(z, w), torch.zeros_like(z[:, 0]))


def t_adaptive(z, w, temperature=1.0):
    own = z.argmax(-1)
    mine, theirs = (torch.exp(ce(z, hard) / temperature) for hard in (own, w.argmax(-1)))
    b = (mine / (mine + theirs)).detach()
    return (1 - b) * ce(z, w) + b * ce(z, own)


def t_evidential(z, w, gamma=0.5, weight=STEP / TOTAL):
    e = 1 + z.relu()

    def of_class(y):
        tilde = (e - 1) * (1 - y) + 1
        uniform = torch.distributions.Dirichlet(torch.ones_like(tilde))
        divergence = torch.distributions.kl_divergence(torch.distributions.Dirichlet(tilde), uniform)
        return (y * (e.sum(-1, keepdim=True).log() - e.log())).sum(-1) + weight * divergence

    def part(y):
        each = [of_class(one_hot(torch.full((len(z),), k), w)) for k in range(z.shape[-1])]
        return (y * torch.stack(each, -1)).sum(-1)

    return (1 - gamma) * part(w) + gamma * part(one_hot(z.argmax(-1), w))


def t_focal(z, w, gamma=2.0):
    p = z.softmax(-1)
    return -(w * (1 - p) ** gamma * z.log_softmax(-1)).sum(-1)


def t_reverse(z, w, floor=1e-6):
    return -(z.softmax(-1) * w.clamp(min=floor).log()).sum(-1)


ORACLES = {
    "cross_entropy": ce,
    "hard_labels": lambda z, w: ce(z, w.argmax(-1)),
    "label_smoothing": lambda z, w: ce(z, 0.9 * w + 0.1 / w.shape[1]),
    "kl": lambda z, w: F.kl_div(z.log_softmax(-1), w, reduction="none").sum(-1),
    "reverse_kl": lambda z, w: t_reverse(z, w) + (z.softmax(-1) * z.log_softmax(-1)).sum(-1),
    "reverse_cross_entropy": t_reverse,
    "confidence": t_confidence,
    "openai_logconf": t_openai,
    "log_confidence": t_log_confidence,
    "eleuther_logconf": t_eleuther,
    "product": t_product,
    "entropy": t_entropy,
    "confidence_window": t_window,
    "adaptive_confidence": t_adaptive,
    "evidential": t_evidential,
    "focal": t_focal,
    "generalized_cross_entropy": lambda z, w: (w * (1 - z.softmax(-1) ** 0.7) / 0.7).sum(-1),
    "symmetric_cross_entropy": lambda z, w: 0.1 * ce(z, w) + t_reverse(z, w, 1e-4),
}


def oracle(function, logits, targets):
    z = torch.tensor(np.asarray(logits, np.float64), requires_grad=True)
    values = function(z, torch.tensor(np.asarray(targets, np.float64)))
    values.sum().backward()
    return values.detach().numpy(), z.grad.numpy()


def assert_same(ours, theirs, **tolerance):
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, **{"rtol": 2e-5, "atol": 2e-6, **tolerance})


# ---- Values and gradients


def test_every_loss_has_an_oracle():
    assert sorted(ORACLES) == NAMES


@pytest.mark.parametrize("targets", ["soft", "hard"])
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("name", NAMES)
def test_value_and_gradient_equal_torch(name, classes, targets):
    for seed in range(3):
        logits, weak = batch(16, classes, seed=seed)
        weak = hard(weak) if targets == "hard" else weak
        assert_same(run(LOSSES[name], logits, weak), oracle(ORACLES[name], logits, weak))


@pytest.mark.parametrize(
    ("name", "options", "function"),
    [
        ("label_smoothing", {"smoothing": 0.4}, lambda z, w: ce(z, 0.6 * w + 0.4 / w.shape[1])),
        ("reverse_cross_entropy", {"floor": 0.3}, functools.partial(t_reverse, floor=0.3)),
        ("confidence", {"alpha": 0.75}, functools.partial(t_confidence, alpha=0.75)),
        ("confidence", {"warmup_fraction": 0.1}, functools.partial(t_confidence, warmup=0.1)),
        ("log_confidence", {"balance": True}, functools.partial(t_log_confidence, balance=True)),
        ("product", {"alpha": 0.5, "beta": 2.0}, functools.partial(t_product, alpha=0.5, beta=2.0)),
        ("confidence_window", {"radius": 0.4}, functools.partial(t_window, radius=0.4)),
        ("adaptive_confidence", {"temperature": 0.5}, functools.partial(t_adaptive, temperature=0.5)),
        ("evidential", {"gamma": 0.2, "kl_weight": 0.6}, functools.partial(t_evidential, gamma=0.2, weight=0.6)),
        ("focal", {"gamma": 0.5}, functools.partial(t_focal, gamma=0.5)),
        ("generalized_cross_entropy", {"q": 0.3}, lambda z, w: (w * (1 - z.softmax(-1) ** 0.3) / 0.3).sum(-1)),
    ],
)
def test_hyperparameters_do_what_the_formula_says(name, options, function):
    logits, weak = batch(16, seed=5)
    assert_same(run(LOSSES[name], logits, weak, **options), oracle(function, logits, weak))


def test_equal_to_optax_where_optax_has_the_loss():
    logits, weak = map(jnp.asarray, batch())
    near = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    near(losses.cross_entropy(logits, weak), optax.softmax_cross_entropy(logits, weak))
    near(losses.kl(logits, weak), optax.kl_divergence(jax.nn.log_softmax(logits), weak))
    truth = jnp.asarray(hard(np.asarray(weak)))
    near(losses.focal(logits, truth), optax.sigmoid_focal_loss(logits[:, 1] - logits[:, 0], truth[:, 1]))
    near(losses.focal(logits, weak, gamma=0.0), losses.cross_entropy(logits, weak))
    smoothed = optax.softmax_cross_entropy(logits, optax.smooth_labels(weak, 0.1))
    near(losses.label_smoothing(logits, weak), smoothed)


# ---- The battery


@pytest.mark.parametrize("name", NAMES)
def test_extreme_logits_and_hard_targets_stay_finite(name):
    signs = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]] * 4, np.float32)
    truth = np.eye(2, dtype=np.float32)[[0] * 8 + [1] * 8]
    for scale in (0.0, 20.0, 120.0, 1e4):
        for targets in (truth, np.full_like(truth, 0.5)):
            for array in run(LOSSES[name], signs * scale, targets):
                assert np.isfinite(array).all(), (scale, array)


@pytest.mark.parametrize("name", NAMES)
def test_result_is_float32_whatever_comes_in(name):
    logits, weak = batch()
    low = jnp.asarray(logits, jnp.bfloat16), jnp.asarray(weak, jnp.bfloat16)
    exact = np.asarray(low[0], np.float32), np.asarray(low[1], np.float32)
    values, gradient = run(LOSSES[name], *low)
    expected, slope = run(LOSSES[name], *exact)
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, expected)
    np.testing.assert_allclose(gradient, slope, rtol=1e-2, atol=1e-6)  # the gradient itself is bfloat16
    context = {key: {"step": jnp.int32(STEP), "total_steps": TOTAL}.get(key) for key in ("step", "total_steps")}
    unbound = algebra.call(LOSSES[name], *low, {**context, "where": jnp.ones(len(logits), bool)})
    assert unbound.dtype == jnp.float32
    np.testing.assert_allclose(unbound, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("garbage", [np.nan, np.inf, -np.inf, 1e38])
@pytest.mark.parametrize(("name", "options"), [(name, {}) for name in NAMES] + [("log_confidence", {"balance": True})])
def test_padding_rows_are_zero_and_change_nothing(name, options, garbage):
    logits, weak = batch()
    logits[:, 0] += 2  # so that a padding row, were it counted, would move the threshold
    where = np.zeros(20, bool)
    where[np.random.default_rng(1).permutation(20)[:16]] = True
    padded, labels = (np.full((20, 2), garbage, np.float32) for _ in range(2))
    padded[where], labels[where] = logits, weak
    values, gradient = run(LOSSES[name], padded, labels, where, **options)
    assert (values[~where] == 0).all()
    assert (gradient[~where] == 0).all()
    expected = run(LOSSES[name], logits, weak, **options)
    np.testing.assert_allclose(values[where], expected[0], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(gradient[where], expected[1], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_of_padding_alone_is_all_zero(name):
    values, gradient = run(LOSSES[name], *batch(), where=np.zeros(16, bool))
    assert not values.any()
    assert not gradient.any()


@pytest.mark.parametrize("name", [name for name in NAMES if name != "eleuther_logconf"])
def test_the_order_of_rows_does_not_matter(name):
    logits, weak = batch()
    logits[3:6] = 0.0  # ties
    weak = np.round(weak, 1)
    order = np.random.default_rng(2).permutation(16)
    values, gradient = run(LOSSES[name], logits, weak)
    assert_same(run(LOSSES[name], logits[order], weak[order]), (values[order], gradient[order]))


@pytest.mark.parametrize("name", CLASS_SYMMETRIC)
def test_swapping_the_classes_swaps_the_gradient(name):
    logits, weak = batch()
    values, gradient = run(LOSSES[name], logits, weak)
    assert_same(run(LOSSES[name], logits[:, ::-1].copy(), weak[:, ::-1].copy()), (values, gradient[:, ::-1]))


@pytest.mark.parametrize("name", NAMES)
def test_vmap_equals_a_loop(name):
    pairs = [batch(8, seed=seed) for seed in range(3)]
    bound = functools.partial(bind(LOSSES[name]), step=jnp.int32(3), total_steps=9, where=jnp.ones(8, bool))
    stacked = jax.vmap(bound)(*(jnp.stack(parts) for parts in zip(*pairs, strict=True)))
    for row, pair in zip(stacked, pairs, strict=True):
        np.testing.assert_allclose(row, bound(*map(jnp.asarray, pair)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", sorted({*NAMES} - LINEAR_IN_TARGETS))
def test_targets_carry_no_gradient(name):
    logits, weak = map(jnp.asarray, batch(8))
    bound = functools.partial(bind(LOSSES[name]), step=jnp.int32(3), total_steps=9, where=jnp.ones(8, bool))
    assert not jax.grad(lambda w: bound(logits, w).sum())(weak).any()


@pytest.mark.parametrize("name", NAMES)
def test_training_with_optax_lowers_cross_entropy_to_separable_labels(name):
    rng = np.random.default_rng(0)
    inputs = jnp.asarray(rng.normal(size=(64, 5)), jnp.float32)
    right = np.asarray(inputs[:, 0] > 0).astype(int)
    weak = jnp.asarray(np.where(np.eye(2)[right] > 0, 0.8, 0.2), jnp.float32)
    bound, optimizer = bind(LOSSES[name]), optax.adam(0.1)
    params = jnp.asarray(rng.normal(size=(5, 2)) * 0.1, jnp.float32)

    @jax.jit
    def step(params, state, number):
        def mean(params):
            values = bound(inputs @ params, weak, step=number, total_steps=100, where=jnp.ones(64, bool))
            total, count = losses.reduce(values, jnp.ones(64, bool))
            return total / count

        updates, state = optimizer.update(jax.grad(mean)(params), state, params)
        return optax.apply_updates(params, updates), state

    state = optimizer.init(params)
    for number in range(100):
        params, state = step(params, state, jnp.int32(number))
    assert float(jnp.mean(jnp.argmax(inputs @ params, -1) == right)) > 0.9


# ---- The confidence loss


def coefficient(loss, step, total=100, **options):
    """Read off a batch where the student's own labels oppose the supervisor's: CE = (1 - a) CE(w) + a CE(own)."""
    logits = jnp.array([[2.0, -2.0], [-2.0, 2.0]])
    weak = jnp.array([[0.0, 1.0], [1.0, 0.0]])
    value = run(loss, logits, weak, step=step, total=total, **options)[0][0]
    against, along = np.logaddexp(0, 4.0), np.logaddexp(0, -4.0)
    return (against - value) / (against - along)


def test_warmup_of_the_paper_is_linear_over_the_first_fifth():
    found = [coefficient(losses.confidence, step) for step in (0, 5, 10, 20, 21, 99)]
    np.testing.assert_allclose(found, [0, 0.125, 0.25, 0.5, 0.5, 0.5], atol=1e-5)


def test_warmup_of_openai_jumps():
    found = [coefficient(losses.openai_logconf, step) for step in (0, 5, 10, 11, 99)]
    np.testing.assert_allclose(found, [0, 0.025, 0.05, 0.5, 0.5], atol=1e-5)
    for total in (10, 30, 70, 90, 130, 170):
        step = total // 10  # as python's floats have it: step / total > 0.1 is false here
        assert coefficient(losses.openai_logconf, step, total) == pytest.approx(0.5 * step / total, abs=1e-5)


def test_warmup_of_eleuther_counts_steps():
    found = [coefficient(losses.log_confidence, step) for step in (0, 50, 100, 500)]
    np.testing.assert_allclose(found, [0, 0.25, 0.5, 0.5], atol=1e-5)


def test_alpha_may_be_a_schedule_and_then_has_no_further_warmup():
    schedule = optax.piecewise_constant_schedule(0.1, {10: 5.0})
    for loss in (losses.confidence, losses.log_confidence):
        found = [coefficient(loss, step, alpha=schedule) for step in (0, 9, 11)]
        np.testing.assert_allclose(found, [0.1, 0.1, 0.5], atol=1e-5)
    logits, weak = batch()
    early, late = (run(losses.product, logits, weak, step=step, beta=schedule)[0] for step in (0, 11))
    np.testing.assert_allclose(early, run(losses.product, logits, weak, beta=0.1)[0], rtol=1e-5)
    np.testing.assert_allclose(late, run(losses.product, logits, weak, beta=0.5)[0], rtol=1e-5)


def test_no_warmup_needs_no_step():
    logits, weak = map(jnp.asarray, batch())
    direct = losses.confidence(logits, weak, warmup_fraction=0)
    np.testing.assert_allclose(direct, run(losses.confidence, logits, weak, step=99)[0], rtol=1e-6)
    for call in (losses.confidence, losses.openai_logconf, losses.log_confidence, losses.evidential):
        with pytest.raises(UserError, match="step"):
            call(logits, weak)


def own_labels(transform, logits, weak, where=None):
    valid = jnp.ones(len(logits), bool) if where is None else jnp.asarray(where)
    probs = jax.nn.softmax(jnp.asarray(logits, jnp.float32))
    return np.asarray(transform(probs, jnp.asarray(weak, jnp.float32), where=valid)).argmax(-1)


def binary(p1):
    p1 = np.asarray(p1, np.float64)
    return np.stack([1 - p1, p1], -1)


def test_own_labels_are_told_apart_where_probabilities_are_not():
    """Beyond a margin of 88 float32's softmax is 0 and 1 alike; the logits still have an order."""
    margins = jnp.array([100.0, 120.0, 140.0, 160.0, -100.0, -120.0, -140.0, -160.0])
    logits = jnp.stack([jnp.zeros(8), margins], axis=-1)
    for ones in range(1, 8):
        weak = jnp.asarray(binary(np.arange(8) < ones), jnp.float32)
        labels = np.argsort(np.argsort(-np.asarray(margins))) < ones
        loss = losses.confidence(logits, weak, alpha=1.0, warmup_fraction=0)
        expected = optax.softmax_cross_entropy(logits, jax.nn.one_hot(labels.astype(int), 2))
        np.testing.assert_allclose(loss, expected)


@pytest.mark.parametrize("prior", [0.5, 0.3, 0.15])
def test_eleuthers_default_is_a_median_over_the_last_predictions(prior):
    """Their loop written out: a list of the last 32 values of p0, of batches of 32 from minibatches of one."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    weak = rng.beta(prior * 4, (1 - prior) * 4, 128)
    logits = np.stack([np.zeros(128), rng.normal(size=128) + np.log(prior / (1 - prior))], -1).astype(np.float32)
    seen, expected = [], []
    for z, w in zip(torch.tensor(logits), torch.tensor(weak, dtype=torch.float32), strict=True):
        p = z.softmax(-1)
        seen = [*seen, p[0]][-32:]
        median = torch.quantile(torch.stack(seen), 0.5)
        hard = torch.stack([p[0] >= median, p[0] < median])
        target = 0.5 * torch.stack([1 - w, w]) + 0.5 * hard
        expected.append(float(torch.nn.functional.cross_entropy(z[None], target[None])))
    p0, found = np.asarray(jax.nn.softmax(jnp.asarray(logits)))[:, 0], []
    for start in range(0, 128, 32):
        batch = slice(start, start + 32)
        targets = jnp.asarray(binary(weak[batch]), jnp.float32)
        earlier = jnp.asarray(p0[max(start - 31, 0) : start])
        found += losses.eleuther_logconf(jnp.asarray(logits[batch]), targets, warmup_steps=0, earlier=earlier).tolist()
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_padding_examples_take_no_turn_in_eleuthers_buffer():
    logits = jnp.array([[0.0, 1.0], [9.0, 0.0], [0.0, -1.0], [0.0, 0.5]])
    weak, where = jnp.full((4, 2), 0.5), jnp.array([True, False, True, True])
    bound = losses.bind(losses.eleuther_logconf, warmup_steps=0, buffer=2)
    whole = bound(logits[where], weak[where], step=0, total_steps=1, where=jnp.ones(3, bool))
    found = bound(logits, weak, step=0, total_steps=1, where=where)
    np.testing.assert_allclose(found[where], whole)


@pytest.mark.parametrize("prior", [0.0, 0.25, 0.5, 0.7, 1.0])
def test_hardened_rows_match_the_weak_prior(prior):
    logits, _ = batch(20, scale=5)
    weak = binary(np.arange(20) < 20 * prior)
    found = own_labels(losses.student_at_prior, logits, weak)
    assert found.sum() == 20 * prior
    margin = logits[:, 1] - logits[:, 0]
    assert margin[found == 1].min(initial=np.inf) > margin[found == 0].max(initial=-np.inf)


def test_one_row_takes_its_weak_label_and_openai_always_class_0():
    for p1, ours in [(0.2, 0), (0.5, 0), (0.9, 1)]:
        weak = binary([p1])
        assert own_labels(losses.student_at_prior, [[0.0, 3.0]], weak) == [ours]
        assert own_labels(losses.student_at_quantile(), [[0.0, 3.0]], weak) == [0]


def test_one_class_batch_gets_that_class_and_openai_misses_one_row():
    logits, _ = batch(9)
    assert own_labels(losses.student_at_prior, logits, binary(np.ones(9))).tolist() == [1] * 9
    assert own_labels(losses.student_at_quantile(), logits, binary(np.ones(9))).sum() == 8
    for transform in (losses.student_at_prior, losses.student_at_quantile()):
        assert own_labels(transform, logits, binary(np.zeros(9))).sum() == 0


def test_rows_tied_at_the_threshold_are_of_class_0():
    logits = np.array([[0.0, 0.0]] * 4 + [[0.0, 9.0]])
    weak = binary([0.6] * 5)
    for transform in (losses.student_at_prior, losses.student_at_quantile()):
        assert own_labels(transform, logits, weak).tolist() == [0, 0, 0, 0, 1]


def test_confident_rows_are_still_ranked_where_float32_probabilities_round_to_1():
    logits = np.stack([np.linspace(20, 60, 8), np.zeros(8)], -1)
    assert (np.asarray(jax.nn.softmax(jnp.asarray(logits, jnp.float32)))[:, 0] == 1).all()
    assert own_labels(losses.student_at_prior, logits, binary([0.5] * 8)).tolist() == [1] * 4 + [0] * 4


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 32, 33])
def test_openai_threshold_equals_torch_quantile(rows):
    for seed in range(20):
        logits, weak = batch(rows, seed=seed)
        if seed % 3 == 0:
            weak = hard(weak)
        if seed % 4 == 0:
            logits = np.round(logits)  # ties
        z, w = torch.tensor(logits), torch.tensor(weak)
        expected = own_at_quantile(z, w).argmax(-1).tolist()
        assert own_labels(losses.student_at_quantile(), logits, weak).tolist() == expected


def test_half_a_row_rounds_down_in_any_order():
    """The float32 sum of these labels is 2.5, or next to it, as the order will have it."""
    weak = np.array([0.1, 0.2, 0.3, 0.9, 1.0], np.float32)
    logits = np.stack([np.arange(5.0), np.zeros(5)], -1)
    counts = {
        int(own_labels(losses.student_at_prior, logits, np.stack([1 - p1, p1], -1)).sum())
        for p1 in map(np.array, itertools.permutations(weak))
    }
    assert counts == {2}


def test_more_than_two_classes_take_the_argmax():
    logits, weak = batch(12, classes=3)
    for transform in (losses.student_at_prior, losses.student_at_quantile()):
        np.testing.assert_array_equal(own_labels(transform, logits, weak), logits.argmax(-1))


def test_batch_threshold_is_of_the_whole_batch_not_of_its_parts():
    """Two halves with opposite priors: hardened apart they get other labels than hardened together."""
    logits = np.array([[3.0, 0.0], [2.0, 0.0], [0.0, 2.0], [0.0, 3.0]])
    weak = binary([1.0, 1.0, 0.0, 0.0])
    together = own_labels(losses.student_at_prior, logits, weak).tolist()
    apart = [own_labels(losses.student_at_prior, logits[part], weak[part]).tolist() for part in (slice(2), slice(2, 4))]
    assert together == [0, 0, 1, 1]
    assert apart == [[1, 1], [0, 0]]


@pytest.mark.parametrize("name", ["confidence", "openai_logconf", "log_confidence"])
def test_a_batch_cut_over_eight_devices_has_one_threshold(name):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    logits, weak = batch(16)
    cut = [jax.device_put(array, rows) for array in (logits, weak, np.arange(16) != 3)]
    values, gradient = compiled(LOSSES[name], TOTAL, ())(cut[0], cut[1], jnp.int32(STEP), cut[2])
    assert len(values.sharding.device_set) == 8
    assert_same((values, gradient), run(LOSSES[name], logits, weak, np.arange(16) != 3))


# ---- Peers' losses


def test_the_entropy_term_has_a_gradient():
    """The authors' own code has none: theirs would be `(1 - alpha) (p - w)`."""
    logits, weak = batch(6)
    _, gradient = run(losses.entropy, logits, weak, step=100)
    rescaled = 0.5 * (np.asarray(jax.nn.softmax(logits)) - weak)
    assert np.abs(gradient - rescaled).max() > 0.01
    flat = run(losses.entropy, np.zeros((1, 2), np.float32), binary([0.9]), step=100)[1]
    np.testing.assert_allclose(flat, 0.5 * (0.5 - binary([0.9])), atol=1e-6)


def test_balanced_labels_are_hardened_at_a_prior_of_a_half():
    """Two rows that the supervisor is sure of: after centring, the mean of the weak labels is far from 1/2."""
    logits, _ = batch()
    weak = binary(scipy.special.expit([12.0] * 2 + [-1.0] * 14)).astype(np.float32)
    found = run(losses.log_confidence, logits, weak, balance=True)
    assert_same(found, oracle(functools.partial(t_log_confidence, balance=True), logits, weak))


def test_balance_is_over_valid_rows():
    probs, where = jnp.full((3, 2), 0.5), jnp.array([True, False, True])
    balanced = losses.balance_targets(probs, jnp.asarray(binary([0.6, 0.999, 0.9]), jnp.float32), where=where)
    expected = scipy.special.logit([0.6, 0.9]) - scipy.special.logit([0.6, 0.9]).mean()
    np.testing.assert_allclose(scipy.special.logit(np.asarray(balanced)[[0, 2], 1]), expected, rtol=1e-4)


def test_product_always_hardens():
    """METHODS: with beta = 1 the gradient is p - pw / (pw + (1 - p)(1 - w)), no rest at p = w."""
    p, w = 0.8, 0.8
    _, gradient = run(losses.product, np.log(binary([p])).astype(np.float32), binary([w]))
    np.testing.assert_allclose(gradient[0, 1], p - p * w / (p * w + (1 - p) * (1 - w)), rtol=1e-5)


def test_reverse_losses_have_the_papers_gradients():
    p, w = 0.7, 0.9
    logit = scipy.special.logit
    scores = np.log(binary([p])).astype(np.float32)
    kl = run(losses.reverse_kl, scores, binary([w]))[1][0, 1]
    rce = run(losses.reverse_cross_entropy, scores, binary([w]))[1][0, 1]
    np.testing.assert_allclose(kl, p * (1 - p) * (logit(p) - logit(w)), rtol=1e-4)
    np.testing.assert_allclose(rce, -p * (1 - p) * logit(w), rtol=1e-4)


def test_adaptive_coefficient_is_at_most_a_half():
    probs, targets = (jnp.asarray(binary(x), jnp.float32) for x in ([0.9, 0.9], [0.7, 0.2]))
    mixed = np.asarray(losses.adaptive_mix(1.0)(probs, targets))[:, 1]
    b = (mixed - [0.7, 0.2]) / (1 - np.array([0.7, 0.2]))
    np.testing.assert_allclose(b, [0.5, 0.1 / (0.1 + 0.9)], rtol=1e-4)


def test_window_divides_by_all_rows_not_by_those_inside():
    logits = np.array([[0.0, 0.1], [0.0, 5.0]], np.float32)
    values, _ = run(losses.confidence_window, logits, binary([0.5, 0.5]))
    total, count = losses.reduce(jnp.asarray(values), jnp.ones(2, bool))
    assert values[1] == 0
    assert values[0] > 0.6
    assert count == 2
    np.testing.assert_allclose(total, values[0])


def test_midweak_window_is_the_median_confidence_of_the_real_rows_weak_labels():
    logits, weak = batch(9, seed=3)
    where = np.arange(9) < 7
    radius = np.median(np.abs(weak[where, 1] - 0.5))
    bound = losses.bind(losses.confidence_window, radius="midweak")
    values = bound(jnp.asarray(logits), jnp.asarray(weak), step=0, total_steps=1, where=jnp.asarray(where))
    expected = losses.confidence_window(jnp.asarray(logits), jnp.asarray(weak), radius=float(radius))
    np.testing.assert_allclose(values[where], expected[where], rtol=1e-6)
    assert 0 < np.count_nonzero(values[where]) < 7


# ---- The algebra


def test_compose_applies_transforms_in_order_and_multiplies_weights():
    logits, weak = map(jnp.asarray, batch(6))

    def double(probs, targets):
        return jnp.full(len(targets), 2.0)

    def triple(probs, targets, *, where):
        np.testing.assert_array_equal(targets, weak)  # as given, not as transformed
        return jnp.where(where, 3.0, 0.0)

    loss = losses.compose(
        losses.cross_entropy, targets=(losses.harden_targets, losses.smooth_targets(0.2)), weights=(double, triple)
    )
    expected = 6 * optax.softmax_cross_entropy(logits, optax.smooth_labels(hard(np.asarray(weak)), 0.2))
    np.testing.assert_allclose(loss(logits, weak), expected, rtol=1e-6)


def test_a_composition_of_the_users_own_gets_what_it_names():
    seen = {}

    def transform(probs, targets, *, step, total_steps, where):
        seen.update(step=step, total_steps=total_steps, where=where)
        return probs

    def divergence(logits, targets, *, step):
        return losses.cross_entropy(logits, targets) * step

    values, gradient = run(losses.compose(divergence, targets=(transform,)), *batch(5), step=3, total=11)
    assert seen["total_steps"] == 11
    assert seen["where"].shape == (5,)
    p = np.asarray(jax.nn.softmax(batch(5)[0]))
    np.testing.assert_allclose(values, -3 * (p * np.log(p)).sum(-1), rtol=1e-5)
    np.testing.assert_allclose(gradient, np.zeros((5, 2)), atol=1e-6)  # the student's own prediction is held fixed


def test_linear_warmup():
    assert losses.linear_warmup(0.3, 0) == 0.3
    schedule = optax.constant_schedule(0.1)
    assert losses.linear_warmup(schedule, 10) is schedule
    np.testing.assert_allclose([losses.linear_warmup(0.5, 2.5)(step) for step in (0, 1, 2, 3)], [0, 0.2, 0.4, 0.5])


# ---- bind and get


def test_bind_takes_optax_losses_as_they_are():
    logits, weak = batch(3, classes=3)  # square: a mask of rows would fit as one of classes
    where = np.array([True, False, True])
    for loss in (optax.softmax_cross_entropy, optax.safe_softmax_cross_entropy, optax.losses.poly_loss_cross_entropy):
        values, gradient = run(loss, logits, weak, where)
        expected = np.asarray(loss(jnp.asarray(logits), jnp.asarray(weak)))
        np.testing.assert_allclose(values, np.where(where, expected, 0), rtol=1e-6)
        assert not gradient[1].any()
    values, _ = run(optax.losses.poly_loss_cross_entropy, logits, weak, epsilon=0.0)
    np.testing.assert_allclose(values, losses.cross_entropy(jnp.asarray(logits), jnp.asarray(weak)), rtol=1e-6)


def test_bind_names_an_unknown_hyperparameter_and_the_right_one():
    with pytest.raises(UserError, match=r"unknown option of loss 'confidence': 'alhpa'; did you mean 'alpha'\?"):
        bind(losses.confidence, alhpa=0.3)
    with pytest.raises(UserError, match="unknown option"):
        bind(losses.confidence, step=3)
    with pytest.raises(UserError, match="unknown option"):
        bind(losses.cross_entropy, alpha=0.3)


def test_bind_wants_required_hyperparameters_and_two_arguments():
    def mine(logits, targets, *, sharpness, step):
        return losses.cross_entropy(logits, targets) * sharpness

    with pytest.raises(UserError, match="'mine' needs a value for sharpness"):
        bind(mine)
    assert run(mine, *batch(4), sharpness=2.0)[0].shape == (4,)
    with pytest.raises(UserError, match="must take"):
        bind(lambda logits: logits)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda logits, targets: optax.softmax_cross_entropy(logits, targets).mean(),
        lambda logits, targets: logits * targets,
        lambda logits, targets: optax.softmax_cross_entropy(logits, targets)[:, None],
    ],
)
def test_a_loss_that_is_not_one_value_per_example_is_refused(wrong):
    with pytest.raises(UserError, match=r"one value per example, shape \(4,\)"):
        run(wrong, *batch(4))


def test_a_loss_never_sees_what_padding_rows_hold():
    def mine(logits, targets):
        assert bool(jnp.isfinite(logits).all() & jnp.isfinite(targets).all())
        return losses.cross_entropy(logits, targets)

    garbage, where = jnp.full((3, 2), jnp.nan), jnp.zeros(3, bool)
    bind(mine)(garbage, garbage, step=jnp.int32(0), total_steps=1, where=where)


def test_a_bad_row_that_counts_stays_bad():
    logits, weak = batch(3)
    logits[1] = np.nan
    assert np.isnan(run(losses.cross_entropy, logits, weak)[0][1])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("confidence", {"alpha": 1.5}),
        ("confidence", {"alpha": float("nan")}),
        ("confidence", {"warmup_fraction": -0.1}),
        ("label_smoothing", {"smoothing": 2}),
        ("generalized_cross_entropy", {"q": 0}),
        ("focal", {"gamma": -1.0}),
        ("reverse_kl", {"floor": 0.0}),
        ("adaptive_confidence", {"temperature": 0.0}),
        ("confidence_window", {"radius": 0.6}),
        ("log_confidence", {"warmup_steps": -1}),
        ("evidential", {"kl_weight": -1.0}),
    ],
)
def test_hyperparameters_out_of_range_are_refused(name, options):
    with pytest.raises(UserError, match=f"{next(iter(options))} must be a number from"):
        run(LOSSES[name], *batch(4), **options)


def test_text_is_no_number():
    with pytest.raises(UserError, match=r"radius must be a number from 0 to 0\.5, not 'midweak'"):
        check_hyperparameter("radius", "midweak", 0, 0.5)


def test_a_hyperparameter_may_be_traced():
    logits, weak = map(jnp.asarray, batch(5))
    alphas = jnp.array([0.1, 0.6])
    swept = jax.vmap(lambda alpha: losses.confidence(logits, weak, alpha=alpha, step=7, total_steps=100))(alphas)
    for row, alpha in zip(swept, (0.1, 0.6), strict=True):
        np.testing.assert_allclose(row, run(losses.confidence, logits, weak, alpha=alpha)[0], rtol=1e-5)


def test_reduce_is_sum_and_count_and_parts_add_up():
    values, where = jnp.array([1.0, 2.0, jnp.nan, 4.0]), jnp.array([True, True, False, True])
    assert losses.reduce(values, where) == (7.0, 3.0)
    parts = [losses.reduce(values[part], where[part]) for part in (slice(2), slice(2, 4))]
    assert tuple(map(sum, zip(*parts, strict=True))) == (7.0, 3.0)


def test_get():
    assert losses.get("kl") is losses.kl
    with pytest.raises(UserError, match="did you mean 'confidence'"):
        losses.get("confidense")


@pytest.mark.parametrize(
    "module", ["base", "algebra", "targets", "weights", "divergences", "weak_to_strong", "noise_robust"]
)
def test_the_examples_in_docstrings_run(module):
    failed, attempted = doctest.testmod(importlib.import_module(f"w2s_jax.losses.{module}"))
    assert failed == 0 < attempted


def test_evidential_learns_from_a_head_that_starts_at_zero():
    """With the slope of relu at 0, which is 0, no logit would ever move."""
    loss = losses.bind(losses.evidential)
    targets = jnp.array([[0.1, 0.9], [0.9, 0.1]])

    def total(logits):
        return jnp.sum(loss(logits, targets, step=jnp.int32(0), total_steps=10, where=jnp.ones(2, bool)))

    gradient = jax.grad(total)(jnp.zeros((2, 2)))
    assert gradient[0, 1] < gradient[1, 1]
    assert gradient[1, 0] < gradient[0, 0]
