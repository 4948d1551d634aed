"""Probes against scikit-learn, and many at once against one by one."""

import jax
import numpy as np
import pytest
from scipy import optimize, special
from sklearn.linear_model import LogisticRegression

from w2s_jax import losses
from w2s_jax.runtime.errors import UserError
from w2s_jax.train import probe
from w2s_jax.train.probe import fit_probes, predict_probes

N, D = 300, 24
CROSS_ENTROPY = losses.bind(losses.cross_entropy)
CONFIDENCE = losses.bind(losses.confidence)


@pytest.fixture(scope="module")
def features():
    """Correlated, off centre, and of very different scales, as hidden states are; one is constant."""
    random = np.random.default_rng(0)
    mixed = random.normal(size=(N, D)) @ (random.normal(size=(D, D)) * np.geomspace(1, 0.1, D))
    values = (mixed + random.normal(size=D) * 20) * np.geomspace(0.01, 100, D)
    values[:, 3] = 7.0
    return values.astype(np.float32)


@pytest.fixture(scope="module")
def labels(features):
    random = np.random.default_rng(1)
    z = (features - features.mean(0)) / np.maximum(features.std(0), 1e-3)
    return np.stack([(z @ random.normal(size=(D, 3)) + random.gumbel(size=(N, 3))).argmax(1) for _ in range(2)])


def one_hot(labels, classes):
    return np.eye(classes, dtype=np.float32)[labels]


def test_candidates_are_scored_by_one_vector_as_a_conditional_logit():
    """Of four candidates: the optimum that scipy finds for McFadden's model, on features standardised over all."""
    random = np.random.default_rng(5)
    features = (random.normal(size=(200, 4, 6)) * np.geomspace(0.1, 10, 6) + 3).astype(np.float32)
    truth = random.normal(size=(2, 6))
    scores = np.einsum("nkd,pd->pnk", (features - 3) / np.geomspace(0.1, 10, 6), truth)
    labels = (scores + random.gumbel(size=scores.shape)).argmax(axis=2)
    rows = np.stack([random.permutation(200)[:150]] * 2)
    rows[1, 120:] = -1
    targets = np.take_along_axis(one_hot(labels, 4), rows[..., None].clip(0), axis=1)
    options = {"steps": 1000, "batch_size": None, "learning_rate": 0.1, "weight_decay": 0.01}
    fitted = fit_probes(features, targets, CROSS_ENTROPY, rows=rows, **options)
    assert fitted.weights.shape == (2, 6, 1)
    probs = jax.nn.softmax(predict_probes(features, fitted.weights, fitted.biases), axis=-1)
    for problem in range(2):
        own = rows[problem][rows[problem] >= 0]
        z = (features - features[own].mean((0, 1))) / features[own].std((0, 1))

        def objective(vector, z=z, own=own, of=labels[problem]):
            values = z[own] @ vector
            picked = values[np.arange(len(own)), of[own]]
            return (special.logsumexp(values, axis=1) - picked).mean() + 0.005 * vector @ vector

        best = optimize.minimize(objective, np.zeros(6), tol=1e-10).x
        np.testing.assert_allclose(probs[problem], special.softmax(z @ best, axis=1), atol=2e-4)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("weight_decay", [0.01, 0.1])
def test_full_batch_equals_logistic_regression(classes, weight_decay, features, labels):
    random = np.random.default_rng(2)
    rows = np.stack([random.permutation(N)[:200], random.permutation(N)[:200]])
    rows[1, 150:] = -1
    labels = labels.clip(max=classes - 1)
    fitted = fit_probes(
        features,
        np.take_along_axis(one_hot(labels, classes), rows[..., None].clip(0), axis=1),
        CROSS_ENTROPY,
        steps=1000,
        batch_size=None,
        learning_rate=0.1,
        weight_decay=weight_decay,
        rows=rows,
    )
    probs = jax.nn.softmax(predict_probes(features, fitted.weights, fitted.biases), axis=-1)
    for problem in range(2):
        own = rows[problem][rows[problem] >= 0]
        mean, deviation = features[own].mean(0, np.float64), features[own].std(0, dtype=np.float64)
        deviation[3] = 1
        z = (features - mean) / deviation
        # scikit-learn's one vector v for two classes is our (-v/2, v/2), whose squared norm is half.
        scale = len(own) * weight_decay / (2 if classes == 2 else 1)
        oracle = LogisticRegression(C=1 / scale, tol=1e-10, max_iter=10_000).fit(z[own], labels[problem][own])
        np.testing.assert_allclose(probs[problem], oracle.predict_proba(z), atol=1e-4)
        weights = np.asarray(fitted.weights[problem]) * deviation[:, None]
        ours = weights[:, 1] - weights[:, 0] if classes == 2 else weights.T
        np.testing.assert_allclose(np.squeeze(ours), np.squeeze(oracle.coef_), atol=1e-3)


@pytest.mark.parametrize("loss", [CROSS_ENTROPY, CONFIDENCE], ids=["cross entropy", "confidence"])
@pytest.mark.parametrize("batch_size", [None, 32])
@pytest.mark.parametrize("bytes_at_once", [1, 1 << 24])
def test_many_equal_one_by_one(loss, batch_size, bytes_at_once, features, monkeypatch):
    """Also where groups of problems that share their rows are not of one size, and not beside one another."""
    monkeypatch.setattr(probe, "_BYTES_AT_ONCE", bytes_at_once)
    probe._fit.clear_cache()
    random = np.random.default_rng(3)
    targets = random.dirichlet([1, 1], (5, N)).astype(np.float32)
    first, second = random.permutation(N)[:100], random.permutation(N)[:100]
    second[70:] = -1
    rows, seeds = np.stack([first, second, first, first, second]), np.array([0, 1, 0, 5, 1])
    options = {"steps": 12, "batch_size": batch_size, "learning_rate": 0.03, "weight_decay": 0.01}
    targets = np.take_along_axis(targets, rows[..., None].clip(0), axis=1)
    together = fit_probes(features, targets, loss, rows=rows, seeds=seeds, **options)
    for p in range(5):
        one = slice(p, p + 1)
        alone = fit_probes(features, targets[one], loss, rows=rows[one], seeds=seeds[one], **options)
        for ours, expected in zip(together, alone, strict=True):
            np.testing.assert_array_equal(ours[p], expected[0])
        logits = predict_probes(features, together.weights, together.biases)
        np.testing.assert_array_equal(predict_probes(features, alone.weights, alone.biases)[0], logits[p])


@pytest.mark.parametrize("loss", [CROSS_ENTROPY, CONFIDENCE], ids=["cross entropy", "confidence"])
def test_minibatches_equal_torch(loss, features):
    """The same Adam on the same batches, written out; the loss sees its whole minibatch and the step."""
    torch = pytest.importorskip("torch")
    targets = np.random.default_rng(4).dirichlet([1, 1], N).astype(np.float32)
    rows, steps, size, rate, decay = np.arange(50, 150), 9, 32, 0.05, 0.1
    fitted = fit_probes(
        features,
        targets[None, rows],
        loss,
        steps=steps,
        batch_size=size,
        learning_rate=rate,
        weight_decay=decay,
        rows=rows[None],
        seeds=np.array([6]),
    )
    mean, deviation = features[rows].mean(0), features[rows].std(0)
    deviation[3] = 1
    z = torch.tensor((features - mean) / deviation)
    weights, bias = torch.zeros(D, 2, requires_grad=True), torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.Adam([{"params": [weights], "weight_decay": decay}, {"params": [bias]}], lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    order = np.concatenate([np.random.default_rng([6, epoch]).permutation(100) for epoch in range(3)]).reshape(3, 100)
    chosen = [order[step // 4, step % 4 * size : (step % 4 + 1) * size] for step in range(steps)]  # 32, 32, 32, 4
    for step, positions in enumerate(chosen):
        index = rows[positions]
        logits = z[index] @ weights + bias
        labels = torch.tensor(targets[index])
        if loss is CONFIDENCE:
            share = 0.5 * min(1, step / (0.2 * steps))
            score = (logits[:, 1] - logits[:, 0]).detach()
            ones = round(float(labels[:, 1].sum()))
            hard = torch.zeros_like(labels)
            hard[:, 0] = 1
            top = score.topk(ones).indices
            tied = ones < len(score) and score[top].min() == score.sort(descending=True).values[ones]
            if not tied:
                hard[top] = torch.tensor([0.0, 1.0])
            labels = (1 - share) * labels + share * hard
        value = torch.nn.functional.cross_entropy(logits, labels)
        np.testing.assert_allclose(fitted.losses[0, step], value.detach().numpy(), rtol=1e-3)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        schedule.step()
    expected = (z @ weights + bias).detach().numpy()
    np.testing.assert_allclose(
        predict_probes(features, fitted.weights, fitted.biases)[0], expected, rtol=1e-3, atol=1e-3
    )


def test_problems_of_one_seed_see_the_same_batches():
    features = np.eye(40, dtype=np.float32)
    targets = np.random.default_rng(0).dirichlet([1, 1], (1, 40)).astype(np.float32)
    both = np.concatenate([targets, targets, targets])
    fitted = fit_probes(features, both, CROSS_ENTROPY, steps=5, batch_size=8, seeds=np.array([3, 3, 4]))
    np.testing.assert_array_equal(fitted.losses[0], fitted.losses[1])
    assert not np.array_equal(fitted.losses[0], fitted.losses[2])


def test_a_second_fit_compiles_nothing(features):
    targets = np.full((4, N, 2), 0.5, np.float32)
    probe._fit.clear_cache()
    for rate in (0.1, 0.2):
        fit_probes(features, targets, CROSS_ENTROPY, steps=3, learning_rate=rate, weight_decay=rate)
    assert probe._fit._cache_size() == 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[0, 1], [2, N]], r"rows must be in 0\.\.299"),
        ([[0, 1], [-1, -1]], "problem 1 has no rows"),
    ],
)
def test_wrong_rows_are_named(rows, message, features):
    with pytest.raises(UserError, match=message):
        fit_probes(features, np.full((2, 2, 2), 0.5, np.float32), CROSS_ENTROPY, steps=1, rows=np.array(rows))


def test_features_that_are_not_finite_are_named(features):
    targets = np.full((2, N, 2), 0.5, np.float32)
    broken = features.copy()
    broken[5, 5] = np.nan
    with pytest.raises(UserError, match="problem 0 is not finite"):
        fit_probes(broken, targets, CROSS_ENTROPY, steps=2)


def test_examples_of_one_text_keep_the_labels_of_each():
    """Two annotators of every text who never agree: the best answer is one half, and no loss is below ln 2."""
    features = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    rows = np.repeat(np.arange(40), 2)[None]
    targets = np.tile(np.eye(2, dtype=np.float32), (40, 1))[None]
    fitted = fit_probes(features, targets, CROSS_ENTROPY, steps=200, batch_size=None, rows=rows)
    probs = jax.nn.softmax(predict_probes(features, fitted.weights, fitted.biases), axis=-1)
    np.testing.assert_allclose(probs, 0.5, atol=0.01)
    assert fitted.losses.min() > np.log(2) - 1e-6
