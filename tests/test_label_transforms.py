"""Label transforms: planted structure that each must find, closed forms, and what every one of them must keep."""

import doctest
import importlib

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsRegressor

from w2s_jax import label_transforms
from w2s_jax.label_transforms import LABEL_TRANSFORMS
from w2s_jax.label_transforms.overlap import change_point, overlap
from w2s_jax.runtime.errors import UserError
from w2s_jax.supervisors import combining

RNG = np.random.default_rng(0)


def planted(n=400, d=10, noise=0.2, seed=0):
    """Two Gaussian classes, and soft labels of which a part is wrong at random."""
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % 2
    features = rng.normal(0, 1, (n, d)).astype(np.float32)
    features[:, 0] += 6 * truth - 3
    wrong = rng.random(n) < noise
    said = np.where(wrong, 1 - truth, truth)
    confidence = rng.uniform(0.6, 0.95, n)
    p = np.where(said == 1, confidence, 1 - confidence)
    return features, truth, np.stack([1 - p, p], axis=1).astype(np.float32)


def given(transform, features, truth, weak):
    """Everything a label transform may ask to see."""
    n = len(weak)
    context = {
        "features": features,
        "members": np.stack([weak, np.eye(2, dtype=np.float32)[truth]]),
        "student": np.eye(2, dtype=np.float32)[truth] * 0.8 + 0.1,
        "views": np.stack([weak, np.roll(weak, 1, axis=0), np.full((n, 2), 0.5, np.float32)]),
        "seed": 3,
    }
    return {name: context[name] for name in label_transforms.context_of(transform)}


def accuracy(labels, truth):
    return float((labels.targets.argmax(axis=1) == truth[labels.rows]).mean())


@pytest.mark.parametrize("name", sorted(LABEL_TRANSFORMS))
@pytest.mark.parametrize("n", [24, 400])
def test_every_transform_gives_examples_and_probabilities_and_the_same_bits_twice(name, n):
    features, truth, weak = planted(n)
    transform = label_transforms.bind(LABEL_TRANSFORMS.find(name))
    first, second = (transform(weak, **given(LABEL_TRANSFORMS.find(name), features, truth, weak)) for _ in range(2))
    assert len(first.rows) > 0
    np.testing.assert_array_equal(first.rows, second.rows)
    np.testing.assert_array_equal(first.targets, second.targets)
    np.testing.assert_allclose(first.targets.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("name", ["confidence_filter", "knn_filter", "knn_relabel", "overlap_filter", "topo_filter"])
def test_the_order_of_examples_does_not_matter(name):
    features, truth, weak = planted()
    order = np.random.default_rng(1).permutation(len(weak))
    transform = LABEL_TRANSFORMS.find(name)
    straight = transform(weak, **given(transform, features, truth, weak))
    shuffled = transform(weak[order], **given(transform, features[order], truth[order], weak[order]))
    assert set(order[shuffled.rows]) == set(straight.rows)
    back = dict(zip(order[shuffled.rows], shuffled.targets, strict=True))
    np.testing.assert_allclose([back[row] for row in straight.rows], straight.targets, atol=1e-5)


@pytest.mark.parametrize("name", ["knn_relabel", "knn_filter", "logistic_relabel", "logistic_filter"])
def test_neighbours_and_probes_mend_random_errors(name):
    features, truth, weak = planted()
    transform = LABEL_TRANSFORMS.find(name)
    before = float((weak.argmax(axis=1) == truth).mean())
    after = accuracy(transform(weak, **given(transform, features, truth, weak)), truth)
    assert after > (0.95 if "relabel" in name else before + 0.05)


def test_knn_is_that_of_scikit_learn_without_the_example_itself():
    features, _, weak = planted(60)
    ours = LABEL_TRANSFORMS.find("knn_relabel")(weak, features=features, k=5).targets
    for row in range(60):
        others = np.delete(np.arange(60), row)
        theirs = KNeighborsRegressor(5).fit(features[others], weak[others]).predict(features[row : row + 1])[0]
        np.testing.assert_allclose(ours[row], theirs, atol=1e-5)


def test_logistic_relabel_is_out_of_fold():
    """With more features than examples a probe repeats the labels of its own: in-sample it would mend nothing."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(100, 300)).astype(np.float32)
    said = rng.integers(0, 2, 100)
    weak = np.eye(2, dtype=np.float32)[said] * 0.8 + 0.1
    found = LABEL_TRANSFORMS.find("logistic_relabel")(weak, features=features, seed=0)
    assert LogisticRegression(max_iter=1000).fit(features, said).score(features, said) == 1.0
    assert abs(accuracy(found, said) - 0.5) < 0.2, "pure noise cannot be predicted from other examples"


def test_topo_filter_leaves_out_what_is_far_from_its_class():
    features, truth, weak = planted(noise=0.1)
    kept = LABEL_TRANSFORMS.find("topo_filter")(weak, features=features, k=10)
    assert accuracy(kept, truth) > 0.99
    assert len(kept.rows) > 300
    loose = LABEL_TRANSFORMS.find("topo_filter")(weak, features=features, k=10, zeta=0.0)
    assert set(kept.rows) <= set(loose.rows)


def test_random_rows_keep_their_labels_and_as_many_as_asked():
    weak = np.random.default_rng(0).dirichlet([1, 1], size=90).astype(np.float32)
    transform = LABEL_TRANSFORMS.find("random_rows")
    rows, targets = transform(weak, share=1 / 3, seed=1)
    assert len(rows) == len(set(rows.tolist())) == 30
    np.testing.assert_array_equal(targets, weak[rows])
    assert rows.tolist() != transform(weak, share=1 / 3, seed=2)[0].tolist()


def test_confidence_filter_keeps_what_it_says():
    weak = np.array([[0.1, 0.9], [0.3, 0.7], [0.8, 0.2], [0.45, 0.55]], np.float32)
    transform = LABEL_TRANSFORMS.find("confidence_filter")
    assert transform(weak).rows.tolist() == [0, 2]
    assert transform(weak, share=0.75).rows.tolist() == [0, 1, 2]
    assert transform(weak, share=0.25, balanced=True).rows.tolist() == [0, 2]


def test_resampling_balances_the_classes():
    weak = np.eye(3, dtype=np.float32)[[0] * 20 + [1] * 7 + [2] * 3]
    drawn = LABEL_TRANSFORMS.find("balanced_resample")(weak, seed=0)
    assert np.bincount(drawn.targets.argmax(axis=1)).tolist() == [10, 10, 10]
    np.testing.assert_array_equal(drawn.targets, weak[drawn.rows])


def test_change_point_is_the_least_sum_of_squares():
    values = RNG.normal(size=50)
    ordered = np.sort(values)
    costs = [ordered[:i].var() * i + ordered[i:].var() * (50 - i) for i in range(1, 50)]
    assert change_point(values) == ordered[1 + int(np.argmin(costs))]


def test_overlap_finds_examples_that_hold_both_patterns():
    """Hard examples hold pattern 1, easy ones pattern 0, and some hold both."""
    kind = np.repeat([0, 1, 2], 50)  # easy, hard, both
    features = np.zeros((150, 8), np.float32)
    features[kind != 1, 0] = 1
    features[kind != 0, 1] = 1
    features += RNG.normal(0, 0.02, features.shape).astype(np.float32)
    p = np.where(kind == 1, 0.52, 0.95)
    weak = np.stack([1 - p, p], axis=1).astype(np.float32)
    found = overlap(weak, features)
    np.testing.assert_array_equal(found.hard, kind == 1)
    np.testing.assert_array_equal(found.both, kind == 2)
    assert found.density == pytest.approx(1 / 3)
    assert set(LABEL_TRANSFORMS.find("overlap_filter")(weak, features=features).rows) == set(range(100, 150))


def test_em_posterior_beats_channel_and_prior():
    rng = np.random.default_rng(0)
    n = 2000
    truth = rng.integers(0, 2, n)
    said = np.where(rng.random(n) < 0.3, 1 - truth, truth)
    weak = (np.eye(2)[said] * 0.4 + 0.3).astype(np.float32)
    odds = (2 * truth - 1) * 0.4 + rng.normal(0, np.sqrt(0.8), n) + rng.normal(0, 0.1, (3, n))  # calibrated
    views = np.stack([1 - expit(odds), expit(odds)], axis=-1).astype(np.float32)
    prior = float(((odds.mean(axis=0) > 0) == truth).mean())
    found = accuracy(LABEL_TRANSFORMS.find("em_posterior")(weak, views=views), truth)
    assert found > max(prior, 0.7) + 0.02


def test_learned_weights_find_the_good_supervisor():
    features, truth, good = planted(noise=0.05)
    bad = np.eye(2, dtype=np.float32)[RNG.integers(0, 2, len(truth))]
    members = np.stack([bad, good])
    mean = combining.average(members)
    labels = LABEL_TRANSFORMS.find("learned_weights")(mean, members=members, features=features)
    assert accuracy(labels, truth) > float((mean.argmax(axis=1) == truth).mean()) + 0.1


def test_assign_follows_the_expert_of_each_region():
    n = 300
    truth = np.arange(n) % 2
    right, wrong = np.eye(2)[truth] * 0.9 + 0.05, np.eye(2)[1 - truth] * 0.9 + 0.05
    first_half = (np.arange(n) < n // 2)[:, None]
    members = np.stack([np.where(first_half, right, wrong), np.where(first_half, wrong, right)]).astype(np.float32)
    student = (np.eye(2)[truth] * 0.6 + 0.2).astype(np.float32)
    student[:30] = student[:30, ::-1]
    labels = LABEL_TRANSFORMS.find("assign")(members.mean(axis=0), members=members, student=student)
    assert accuracy(labels, truth) == pytest.approx(1 - 30 / n)
    doubtful = student.copy()
    doubtful[:60] = 0.5 + np.array([0.02, -0.02], np.float32)
    kept = LABEL_TRANSFORMS.find("assign")(members.mean(axis=0), members=members, student=doubtful)
    assert len(kept.rows) == n, "a label always agrees with a student that lies nearest to it"


def test_what_cannot_be_done_is_one_line():
    features, _, weak = planted(20)
    with pytest.raises(UserError, match="label transform 'knn'"):
        LABEL_TRANSFORMS.find("knn")
    with pytest.raises(UserError, match="option of label transform 'knn_filter': 'kk'"):
        label_transforms.bind(LABEL_TRANSFORMS.find("knn_filter"), kk=3)
    with pytest.raises(UserError, match="drop must be"):
        LABEL_TRANSFORMS.find("knn_filter")(weak, features=features, drop=1.5)
    with pytest.raises(UserError, match="not probabilities"):
        label_transforms.bind(lambda weak: label_transforms.TransformedLabels(np.arange(20), weak * 2))(weak)
    with pytest.raises(UserError, match=r"outside 0\.\.19"):
        label_transforms.bind(lambda weak: label_transforms.TransformedLabels(np.arange(20) + 1, weak))(weak)


@pytest.mark.parametrize("module", ["base", "confidence", "overlap"])
def test_the_examples_in_docstrings_run(module):
    failed, attempted = doctest.testmod(importlib.import_module(f"w2s_jax.label_transforms.{module}"))
    assert failed == 0 < attempted
