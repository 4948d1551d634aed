"""Metrics against scikit-learn, SciPy and closed forms; intervals against simulation."""

import dataclasses
import itertools
import re
import time

import numpy as np
import pytest
from scipy import stats

from benchmarks import coverage
from w2s_jax import metrics
from w2s_jax.data.predictions import Predictions
from w2s_jax.metrics import Triple, estimates, influence, intervals
from w2s_jax.metrics.scores import FLOAT32_EPS
from w2s_jax.runtime.errors import UserError
from w2s_jax.train.finetune import softmax

sklearn = pytest.importorskip("sklearn.metrics")


def binary(p1):
    p1 = np.asarray(p1, np.float64)
    return np.stack([1 - p1, p1], -1)


def model(rng, labels, skill, classes=2, digits=None):
    """Probabilities that favour the label by `skill`, rounded to make ties."""
    scores = rng.normal(size=(len(labels), classes)) + skill * np.eye(classes)[labels]
    probs = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    return probs if digits is None else np.round(probs, digits)


def answers(right, labels):
    """Predictions that are right where told."""
    return binary(np.where(np.asarray(right, bool), labels, 1 - labels))


def make_triple(rng, n=200, skills=(0.3, 1.0, 2.0), classes=2, groups=None):
    labels = rng.integers(0, classes, n)
    return Triple(*(model(rng, labels, skill, classes) for skill in skills), labels, groups)


# ---- One model


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("digits", [None, 1])
def test_scores_equal_scikit_learn(classes, digits):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, 300)
    probs = model(rng, labels, 1.0, classes, digits)
    scores = probs[:, 1] if classes == 2 else probs / probs.sum(-1, keepdims=True)
    probs = binary(scores) if classes == 2 else scores
    near = pytest.approx
    assert metrics.accuracy(probs, labels) == near(sklearn.accuracy_score(labels, probs.argmax(-1)))
    assert metrics.auroc(probs, labels) == near(sklearn.roc_auc_score(labels, scores, multi_class="ovr"))
    clipped = np.clip(probs, FLOAT32_EPS, None)
    expected = -np.mean(np.log(clipped[np.arange(300), labels]))
    assert metrics.log_loss(probs, labels) == near(expected)
    if (probs > 0).all():
        assert metrics.log_loss(probs, labels) == near(sklearn.log_loss(labels, probs))
    if classes == 2:
        assert metrics.brier(probs, labels) == near(2 * sklearn.brier_score_loss(labels, scores))
    truth = np.eye(classes)[labels]
    assert metrics.log_loss(probs, truth) == near(metrics.log_loss(probs, labels))
    assert metrics.accuracy(probs, truth) == metrics.accuracy(probs, labels)


def test_auroc_equals_mann_whitney_with_ties():
    rng = np.random.default_rng(1)
    labels, probs = rng.integers(0, 2, 80), binary(rng.integers(0, 5, 80) / 5)
    scores = probs[:, 1]
    u = stats.mannwhitneyu(scores[labels == 1], scores[labels == 0]).statistic
    area = metrics.auroc(probs, labels)
    assert area == pytest.approx(u / (np.sum(labels == 1) * np.sum(labels == 0)))


def test_auroc_of_a_constant_is_a_half_and_of_one_class_undefined():
    labels = np.array([0, 1, 1])
    assert metrics.auroc(binary([0.3, 0.3, 0.3]), labels) == 0.5
    assert metrics.auroc(binary([0.1, 0.8, 0.9]), labels) == 1.0
    assert metrics.auroc(binary([0.1, 0.8, 0.9]), np.array([1, 1, 1])) is None
    three = np.full((3, 3), 1 / 3)
    assert metrics.auroc(three, np.array([2, 2, 2])) is None


def test_auroc_of_many_classes_is_over_the_classes_that_have_examples():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, 50) * 2  # class 1 has none
    probs = model(rng, labels, 1.0, 3)
    expected = np.mean([sklearn.roc_auc_score(labels == k, probs[:, k]) for k in (0, 2)])
    assert metrics.auroc(probs, labels) == pytest.approx(expected)


@pytest.mark.parametrize("digits", [None, 1])
def test_influences_are_what_leaving_an_example_out_changes(digits):
    """The jackknife of scikit-learn's AUROC, ties and several classes included: `(n - 1) / n` of the difference."""
    rng = np.random.default_rng(4)
    for classes, n in ((2, 60), (3, 90)):
        labels = rng.permutation(np.arange(n) % classes)
        probs = model(rng, labels, 1.0, classes, digits)
        found = influence.auroc_of(probs, labels)

        def area(keep, labels=labels, probs=probs, classes=classes):
            ks = [1] if classes == 2 else range(classes)
            return np.mean([sklearn.roc_auc_score(labels[keep] == k, probs[keep, k]) for k in ks])

        without = [area(np.delete(np.arange(n), i)) for i in range(n)]
        assert found.value == pytest.approx(area(np.arange(n)))
        assert found.influence.sum() == pytest.approx(0, abs=1e-12)
        np.testing.assert_allclose(found.influence, found.value - np.array(without), atol=2.5 / n**1.5)


def test_errors_of_auroc_are_those_of_delong():
    """One seed, no groups: the variance of DeLong et al. 1988, whose factors differ from ours by 1 / n."""
    rng = np.random.default_rng(1)
    labels = np.arange(400) % 2
    probs = model(rng, labels, 1.0)
    found = estimates.estimate([[probs]], [(labels, np.arange(400))], "auroc")
    scores = probs[:, 1]
    wins = (scores[labels == 1][:, None] > scores[labels == 0]).astype(float)
    delong = np.var(wins.mean(axis=1), ddof=1) / 200 + np.var(wins.mean(axis=0), ddof=1) / 200
    assert found.linear(np.ones((1, 1))).variance[0] == pytest.approx(delong, rel=0.005)


def test_auroc_is_that_of_the_logits_where_float32_rounds():
    """Of a sure model float32 has 1 for most examples; the odds of both classes still order them."""
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 2
    logits = np.stack([np.zeros(300), rng.normal(size=300) * 40 + 20 * labels], axis=1)
    expected = sklearn.roc_auc_score(labels, logits[:, 1])
    table = Predictions([str(i) for i in range(300)], ["test"] * 300, softmax(logits), logits.astype(np.float32))
    probs = table.measurable("test", table.ids)
    assert metrics.auroc(probs, labels) == pytest.approx(expected, abs=1e-12)
    assert sklearn.roc_auc_score(labels, table.probs[:, 1]) != pytest.approx(expected, abs=1e-3)
    np.testing.assert_allclose(probs, table.probs, atol=1e-6)


def test_pgr_of_auroc_over_a_thousand_classes_is_defined_and_quick():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 1000, 300)
    triple = Triple(*(model(rng, labels, skill, 1000) for skill in (1.0, 2.0, 4.0)), labels)
    started = time.process_time()
    found = metrics.pgr([triple], "auroc")
    assert time.process_time() - started < 5
    assert found.low < found.value < found.high


def test_ties_go_to_the_lowest_class():
    assert metrics.accuracy(binary([0.5, 0.5]), np.array([0, 1])) == 0.5
    assert metrics.accuracy(binary([0.5, 0.5]), np.array([0, 0])) == 1.0


def test_log_loss_of_a_sure_mistake_is_finite():
    assert metrics.log_loss(binary([1.0]).astype(np.float32), np.array([0])) == pytest.approx(-np.log(2**-23))


def test_soft_log_loss_and_brier_by_hand():
    assert metrics.log_loss(binary([0.25]), binary([0.5])) == pytest.approx(-0.5 * np.log(0.25 * 0.75))
    assert metrics.brier(np.array([[0.2, 0.3, 0.5]]), np.array([1])) == pytest.approx(0.04 + 0.49 + 0.25)


def test_calibration_by_hand():
    probs, labels = binary([0.9, 0.95, 0.3, 0.5, 1.0]), np.array([1, 0, 0, 0, 1])
    diagram = metrics.reliability(probs, labels, bins=10)
    assert diagram.counts.tolist() == [0, 0, 0, 0, 1, 0, 1, 0, 1, 2]
    np.testing.assert_allclose(diagram.confidence[[4, 6, 8, 9]], [0.5, 0.7, 0.9, 0.975])
    np.testing.assert_allclose(diagram.accuracy[[4, 6, 8, 9]], [1, 1, 1, 0.5])
    assert np.isnan(diagram.accuracy[0])
    expected = (0.5 + 0.3 + 0.1 + 2 * 0.475) / 5
    assert metrics.calibration_error(probs, labels) == pytest.approx(expected)
    assert metrics.calibration_error(probs, labels, bins=1) == pytest.approx(abs(4 / 5 - 4.05 / 5))


@pytest.mark.parametrize("classes", [4, 10])
@pytest.mark.parametrize("bins", [5, 10])
def test_calibration_of_many_classes_is_that_of_the_chosen_one(classes, bins):
    """Against scikit-learn's curve of one question with two answers: was the choice right?"""
    curve = pytest.importorskip("sklearn.calibration").calibration_curve
    rng = np.random.default_rng(5)
    labels = rng.integers(0, classes, 500)
    probs = model(rng, labels, 2.0, classes)
    sure, right = probs.max(axis=-1), probs.argmax(axis=-1) == labels
    accuracy, confidence = curve(right, sure, n_bins=bins, strategy="uniform")
    diagram = metrics.reliability(probs, labels, bins=bins)
    filled = diagram.counts > 0
    np.testing.assert_allclose(diagram.accuracy[filled], accuracy)
    np.testing.assert_allclose(diagram.confidence[filled], confidence)
    expected = np.sum(diagram.counts[filled] * np.abs(accuracy - confidence)) / 500
    assert metrics.calibration_error(probs, labels, bins=bins) == pytest.approx(expected)
    assert metrics.over_confidence(probs, labels) == pytest.approx(sure.mean() - right.mean())


def test_a_calibrated_model_has_a_small_calibration_error():
    rng = np.random.default_rng(0)
    p = rng.uniform(size=20_000)
    labels = (rng.uniform(size=p.size) < p).astype(int)
    assert metrics.calibration_error(binary(p), labels, bins=15) < 0.015
    assert metrics.calibration_error(binary(p**3 / (p**3 + (1 - p) ** 3)), labels, bins=15) > 0.1


def test_the_monotone_sweep_takes_the_most_bins_that_are_monotone():
    rng = np.random.default_rng(3)
    p = rng.uniform(size=400)
    labels = (rng.uniform(size=p.size) < p**2).astype(int)
    probs = binary(p)
    order = np.argsort(probs.max(axis=-1), kind="stable")
    right = (probs.argmax(axis=-1) == labels)[order]
    sure = probs.max(axis=-1)[order]
    expected = bins = 0
    while True:
        bins += 1
        ends = [i * 400 // bins for i in range(bins + 1)]
        means = [right[a:b].mean() for a, b in itertools.pairwise(ends)]
        if means != sorted(means):
            break
        gaps = [abs(right[a:b].mean() - sure[a:b].mean()) * (b - a) for a, b in itertools.pairwise(ends)]
        expected = sum(gaps) / 400
    assert 3 < bins < 200
    assert metrics.sweep_calibration_error(probs, labels) == pytest.approx(expected)
    assert metrics.sweep_calibration_error(binary([0.9, 0.8]), np.array([0, 1])) == pytest.approx(0.35)  # in one bin


# ---- One model beside another


def test_confident_disagreement_by_hand():
    probs = binary([0.99, 0.99, 0.01, 0.6, 0.99])
    targets = binary([0.01, 0.99, 0.97, 0.01, 0.4])
    assert metrics.confident_disagreement(probs, targets) == pytest.approx(2 / 4)
    assert metrics.confident_disagreement(probs[3:4], targets[3:4]) is None


def test_over_confidence_is_signed_and_takes_soft_labels():
    labels = np.array([1, 1, 0, 0])
    assert metrics.over_confidence(binary([0.9, 0.9, 0.9, 0.1]), labels) == pytest.approx(0.9 - 3 / 4)
    assert metrics.over_confidence(binary([0.6, 0.6, 0.4, 0.4]), labels) == pytest.approx(0.6 - 1)
    weak = binary([0.7, 0.2, 0.4, 0.5])
    expected = np.mean([0.9 - 0.7, 0.9 - 0.2, 0.8 - 0.6, 0.6 - 0.5])
    assert metrics.over_confidence(binary([0.9, 0.9, 0.2, 0.6]), weak) == pytest.approx(expected)


def test_calibration_against_soft_labels_is_their_mean_in_a_bin():
    probs, weak = binary([0.95, 0.92, 0.05]), binary([0.6, 0.9, 0.4])
    expected = abs(np.mean([0.95, 0.92, 0.95]) - np.mean([0.6, 0.9, 0.6]))
    assert metrics.calibration_error(probs, weak) == pytest.approx(expected)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 200)
    many = model(rng, labels, 1.0, 3)
    assert metrics.calibration_error(many, np.eye(3)[labels]) == pytest.approx(metrics.calibration_error(many, labels))


def test_similarity_beyond_accuracy_is_0_for_independent_models_and_1_for_equal_sure_ones():
    rng = np.random.default_rng(0)
    n = 40_000
    for classes in (2, 4):
        labels = rng.integers(0, classes, n)

        def sure(share, labels=labels, classes=classes):
            wrong = (labels + rng.integers(1, classes, n)) % classes
            return np.eye(classes)[np.where(rng.uniform(size=n) < share, labels, wrong)]

        a, b = sure(0.7), sure(0.8)
        assert metrics.similarity(a, b, labels) == pytest.approx(0, abs=0.02)
        assert metrics.similarity(a, a, labels) == pytest.approx(1)
        assert metrics.similarity(b, a, labels) == metrics.similarity(a, b, labels)
    # By hand: observed (.9 x .8 + .1 x .2 + .4 x .3 + .6 x .7) / 2 = .64; right .65 and .55, so expected .515.
    a, b, labels = binary([0.9, 0.4]), binary([0.8, 0.3]), np.array([1, 1])
    assert metrics.similarity(a, b, labels) == pytest.approx((0.64 - 0.515) / (1 - 0.515))
    assert metrics.similarity(binary([1.0]), binary([1.0]), np.array([1])) is None, "expected to agree always"


def test_agreement_is_split_by_the_supervisor():
    labels = np.array([1, 1, 1, 0, 0])
    supervisor, student = binary([0.9, 0.9, 0.1, 0.2, 0.8]), binary([0.9, 0.1, 0.2, 0.3, 0.1])
    found = metrics.agreement(student, supervisor, labels)
    assert found == (3 / 5, 2 / 3, 1 / 2)
    assert metrics.agreement(student, binary(labels), labels).where_wrong is None
    assert metrics.agreement(student, binary(1 - labels), labels).where_right is None
    assert metrics.agreement(supervisor, supervisor, labels) == (1.0, 1.0, 1.0)


# ---- PGR


@pytest.mark.parametrize("statistic", ["accuracy", "auroc"])
def test_pgr_is_the_ratio_of_means(statistic):
    rng = np.random.default_rng(0)
    triples = [make_triple(rng, n) for n in (150, 200, 260)]
    score = {"accuracy": metrics.accuracy, "auroc": metrics.auroc}[statistic]
    weak, student, ceiling = (
        np.mean([score(getattr(triple, name), triple.labels) for triple in triples])
        for name in ("supervisor", "student", "ceiling")
    )
    found = metrics.pgr(triples, statistic)
    assert found.reason is None
    assert found.value == pytest.approx((student - weak) / (ceiling - weak))
    assert found.value == pytest.approx(metrics.pgr_of(weak, student, ceiling))
    assert found.low < found.value < found.high
    assert found.gap.value == pytest.approx(ceiling - weak)
    assert (found.supervisor.value, found.ceiling.value) == pytest.approx((weak, ceiling))
    assert found.student.low < student < found.student.high


@pytest.mark.parametrize("statistic", ["accuracy", "auroc"])
def test_pgr_is_0_for_the_supervisor_and_1_for_the_ceiling_in_every_resample(statistic):
    rng = np.random.default_rng(1)
    triples = [make_triple(rng) for _ in range(4)]
    none = metrics.pgr([dataclasses.replace(triple, student=triple.supervisor) for triple in triples], statistic)
    everything = metrics.pgr([dataclasses.replace(triple, student=triple.ceiling) for triple in triples], statistic)
    assert (none.value, none.low, none.high) == (0, 0, 0)
    assert (everything.value, everything.low, everything.high) == pytest.approx((1, 1, 1))


def test_pgr_is_undefined_where_ceiling_and_supervisor_are_not_apart():
    rng = np.random.default_rng(5)
    triples = [make_triple(rng, skills=(1.0, 1.5, 1.02)) for _ in range(3)]
    found = metrics.pgr(triples)
    assert (found.value, found.low, found.high) == (None, None, None)
    assert found.gap.low < 0 < found.gap.high
    pattern = r"ceiling and supervisor are not apart: gap -?0\.\d+.*, 95% interval \[-0\.\d+, 0\.\d+\]"
    assert re.fullmatch(pattern, found.reason)


def test_pgr_is_undefined_where_the_gap_is_sure_but_small():
    labels = np.tile([0, 1], 5000)
    right = np.arange(10_000) >= 200
    weak, ceiling = answers(right, labels), answers(np.ones(10_000), labels)
    found = metrics.pgr([Triple(weak, ceiling, ceiling, labels)])
    assert found.gap.low > 0
    assert found.reason.startswith("ceiling and supervisor are not apart: gap 0.020 (below 0.03), 95% interval [0.0")
    assert metrics.pgr([Triple(weak, ceiling, ceiling, labels)], min_gap=0.01).value == 1
    assert metrics.pgr([Triple(ceiling, weak, weak, labels)], min_gap=0.0).value is None  # the ceiling is below


def test_auroc_of_labels_of_one_class_is_undefined_with_the_reason():
    rng = np.random.default_rng(2)
    good = make_triple(rng)
    bad = dataclasses.replace(good, labels=np.zeros(200, int))
    reason = "AUROC is undefined: all labels of seed number 1 are of one class"
    assert metrics.pgr([good, bad], "auroc").reason == reason
    assert metrics.paired_difference([good, bad], [good, bad], "auroc").reason == reason
    one = Triple(*[binary([0.2, 0.9])] * 3, np.array([0, 1]))
    assert metrics.pgr([one] * 3, "auroc", min_gap=0).reason.startswith("ceiling and supervisor are not apart")
    alone = Triple(*[binary([0.2, 0.9])] * 3, np.array([0, 1]), np.array([5, 5]))
    assert metrics.pgr([alone]).reason.startswith("one seed and one group of test examples")


def test_the_order_of_examples_does_not_matter():
    rng = np.random.default_rng(3)
    triple = make_triple(rng, groups=rng.integers(0, 60, 200))
    order = rng.permutation(200)
    arrays = (triple.supervisor, triple.student, triple.ceiling, triple.labels, triple.groups)
    for statistic in ("accuracy", "auroc"):
        shuffled = metrics.pgr([Triple(*(array[order] for array in arrays))], statistic)
        found = metrics.pgr([triple], statistic)
        assert (found.value, found.low, found.high) == pytest.approx((shuffled.value, shuffled.low, shuffled.high))


def width(interval):
    return interval.high - interval.low


def test_one_seeds_interval_equals_the_closed_form_and_is_over_examples_alone():
    labels, n = np.tile([0, 1], 200), 400
    rng = np.random.default_rng(0)
    triple = Triple(*(answers(rng.uniform(size=n) < share, labels) for share in (0.6, 0.7, 0.9)), labels)
    found = metrics.pgr([triple])
    assert found.over == "examples"
    for one in (found.supervisor, found.student, found.ceiling):
        expected = 2 * stats.t.ppf(0.975, n - 1) * np.sqrt(one.value * (1 - one.value) / (n - 1))
        assert width(one) == pytest.approx(expected)


def test_the_three_models_are_measured_on_the_same_examples():
    """Models that err on nested items differ by a binomial share; taken apart, their gap would vary far more."""
    labels, n = np.tile([0, 1], 500), 1000
    weak, ceiling = (answers(np.arange(n) >= wrong, labels) for wrong in (500, 400))
    gap = metrics.pgr([Triple(weak, weak, ceiling, labels)]).gap
    assert width(gap) == pytest.approx(2 * 1.96 * np.sqrt(0.1 * 0.9 / n), rel=0.01)


def test_examples_of_one_group_count_as_one():
    rng = np.random.default_rng(0)
    labels = np.tile([0, 1], 50)
    one = [answers(rng.uniform(size=100) < share, labels) for share in (0.6, 0.7, 0.9)]
    four = [np.repeat(probs, 4, axis=0) for probs in one]
    copies, names = np.repeat(labels, 4), np.repeat([f"question {i}" for i in range(100)], 4)
    for statistic in ("accuracy", "auroc"):
        single = metrics.pgr([Triple(*one, labels)], statistic)
        grouped = metrics.pgr([Triple(*four, copies, names)], statistic)
        ungrouped = metrics.pgr([Triple(*four, copies)], statistic)
        assert (grouped.ceiling, grouped.gap) == (pytest.approx(single.ceiling), pytest.approx(single.gap))
        assert (grouped.low, grouped.high) == pytest.approx((single.low, single.high))
        assert width(ungrouped.ceiling) == pytest.approx(width(single.ceiling) / 2, rel=0.02)


def test_seeds_tested_on_the_same_questions_are_no_new_questions():
    """Equal seeds: their spread is 0, and what is left is the error of one test set."""
    rng = np.random.default_rng(0)
    triple = make_triple(rng, 300)
    shared = metrics.pgr([dataclasses.replace(triple, groups=np.arange(300))] * 5)
    single = metrics.pgr([triple])
    assert width(shared.ceiling) == pytest.approx(width(single.ceiling), rel=1e-6)
    assert (shared.low, shared.high) == pytest.approx((single.low, single.high), rel=1e-4)
    assert (shared.over, single.over) == ("seeds and examples", "examples")


def test_seeds_with_questions_of_their_own_have_students_t_over_seeds():
    rng = np.random.default_rng(2)
    triples = [make_triple(rng, 200, groups=np.arange(200) + 200 * i) for i in range(5)]
    found = metrics.pgr(triples)
    for role in ("supervisor", "student", "ceiling"):
        each = [metrics.accuracy(getattr(t, role), t.labels) for t in triples]
        expected = stats.t.interval(0.95, 4, np.mean(each), stats.sem(each))
        assert getattr(found, role)[1:] == pytest.approx(expected)


def test_seeds_that_share_half_of_their_questions_by_hand():
    """Two seeds, four questions each, two of them the same: the covariance is the product of what these two say."""
    right = np.array([[1, 1, 0, 1], [0, 1, 1, 1]])
    names = np.array([[0, 1, 2, 3], [2, 3, 4, 5]])
    labels = np.zeros(4, int)
    probs = [answers(row, labels) for row in right]
    found = estimates.estimate([probs], [(labels, each) for each in names], "accuracy")
    moved = (right - 0.75) / 4
    shared = (moved[0, 2] * moved[1, 0] + moved[0, 3] * moved[1, 1]) * 2 / (2 * 1) * 2 / 1  # pairs, then groups
    assert [float(part.covariance[0, 0]) for part in found.parts] == pytest.approx([0.0, shared])
    assert [part.freedom for part in found.parts] == [1, 1]


def test_fiellers_interval_equals_the_closed_form():
    """Seeds with questions of their own: the roots of `(N - r D)^2 = t^2 V(r)`, a quadratic in r."""
    rng = np.random.default_rng(3)
    triples = [make_triple(rng, 250, groups=np.arange(250) + 250 * i) for i in range(6)]
    each = np.array(
        [
            [metrics.accuracy(getattr(t, role), t.labels) for role in ("supervisor", "student", "ceiling")]
            for t in triples
        ]
    )
    gain, gap = each[:, 1] - each[:, 0], each[:, 2] - each[:, 0]
    t2, cov = stats.t.ppf(0.975, 5) ** 2, np.cov(gain, gap) / 6
    a = gap.mean() ** 2 - t2 * cov[1, 1]
    b = -2 * (gain.mean() * gap.mean() - t2 * cov[0, 1])
    c = gain.mean() ** 2 - t2 * cov[0, 0]
    found = metrics.pgr(triples)
    assert (found.low, found.high) == pytest.approx(tuple(sorted(np.roots([a, b, c]))), rel=1e-6)


def test_an_interval_that_has_no_bound_is_infinite():
    def test(at):
        return estimates.Linear(1.0 - at, np.ones_like(at) + at**2, np.full(at.shape, np.inf))

    assert intervals.inverted(test, 1.0, 0.95)[1:] == (-np.inf, np.inf)


@pytest.mark.slow
def test_intervals_cover_the_truth_and_p_values_are_uniform():
    """A short version of benchmarks/coverage.py, whose whole table is docs/results/coverage.md."""
    for setting in (coverage.Setting(0.027, 3), coverage.Setting(0.045, 5, "overlapping", group=4)):
        gap, pgr, difference, pgrs, p = np.array([coverage.one(setting, run) for run in range(300)]).T
        for covered in (gap, pgr, difference, pgrs):
            assert 0.905 <= np.nanmean(covered) <= 0.985  # .95 with three standard errors, and a little more
        assert stats.kstest(p, "uniform").pvalue > 0.01
        # An interval of 95% holds 0 just where p is above .05.
        np.testing.assert_array_equal(difference == 1, p >= 0.05)


def test_the_median_of_tasks_is_covered():
    rng = np.random.default_rng(0)
    for tasks in (5, 7, 10, 22):
        found = [metrics.median_interval(rng.normal(size=tasks)) for _ in range(1000)]
        assert 0.925 <= np.mean([one.low <= 0 <= one.high for one in found]) <= 0.975
    assert metrics.median_interval(np.array([3.0, 1.0, 2.0, 5.0, 4.0])) == (3, 1, 5)


# ---- Fixed baselines


def test_pgr_between_fixed_baselines_by_hand():
    found = metrics.fixed_pgr([0.5, 0.6] * 8, [0.6, 0.65, 0.7, 0.6, 0.65], [0.75] * 16)
    assert (found.supervisor, found.ceiling) == pytest.approx((0.55, 0.75))
    assert (found.value, found.deviation) == pytest.approx((0.45, np.std([0.25, 0.5, 0.75, 0.25, 0.5], ddof=1)))
    assert (found.supervisor_seeds, found.student_seeds, found.ceiling_seeds) == (16, 5, 16)
    assert found.low < found.value < found.high
    exact = metrics.fixed_pgr([0.55], [0.6, 0.65, 0.7, 0.6, 0.65], [0.75])
    low, high = stats.t.interval(0.95, 4, 0.64, stats.sem([0.6, 0.65, 0.7, 0.6, 0.65]))
    assert (exact.low, exact.high) == pytest.approx(((low - 0.55) / 0.2, (high - 0.55) / 0.2))
    assert exact.high - exact.low < found.high - found.low


def test_one_student_between_fixed_baselines_has_no_bounds_and_no_gap_no_pgr():
    alone = metrics.fixed_pgr([0.5], [0.6], [0.75])
    assert (alone.value, alone.deviation, alone.low, alone.high) == (pytest.approx(0.4), None, None, None)
    none = metrics.fixed_pgr([0.5, 0.6], [0.6, 0.7], [0.56, 0.6])
    assert (none.value, none.low, none.deviation) == (None, None, None)
    assert none.reason.startswith("ceiling and supervisor are not apart")
    for bad in ([], [np.nan]):
        with pytest.raises(UserError, match="student: want a finite number for each seed"):
            metrics.fixed_pgr([0.5], bad, [0.7])


def test_intervals_between_fixed_baselines_cover_the_truth():
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(600):
        draws = [rng.normal(mean, sd, n) for mean, sd, n in ((0.53, 0.02, 16), (0.6, 0.03, 5), (0.72, 0.01, 16))]
        found = metrics.fixed_pgr(*draws)
        covered.append(found.low <= 0.07 / 0.19 <= found.high)
    assert 0.93 <= np.mean(covered) <= 0.97


# ---- Two methods


def test_paired_difference_of_a_method_and_itself_is_nothing():
    triples = [make_triple(np.random.default_rng(i)) for i in range(4)]
    found = metrics.paired_difference(triples, triples)
    assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)
    assert found.tests == (None, None, None)
    alone = metrics.paired_difference(triples[:1], triples[:1])
    assert (alone.value, alone.low, alone.high, alone.p, alone.tests) == (0, 0, 0, None, None)


@pytest.mark.parametrize("statistic", ["accuracy", "auroc"])
def test_paired_difference_is_the_mean_over_seeds_and_changes_sign(statistic):
    triples = [make_triple(np.random.default_rng(i)) for i in range(4)]
    better = [dataclasses.replace(triple, student=triple.ceiling) for triple in triples]
    score = {"accuracy": metrics.accuracy, "auroc": metrics.auroc}[statistic]
    each = np.array([score(c.ceiling, c.labels) - score(c.student, c.labels) for c in triples])
    there = metrics.paired_difference(better, triples, statistic)
    back = metrics.paired_difference(triples, better, statistic)
    assert there.value == pytest.approx(each.mean())
    assert there.low > 0
    assert (there.value, there.low, there.high) == pytest.approx((-back.value, -back.high, -back.low))
    assert there.p == pytest.approx(back.p)
    assert there.p < 0.05
    assert there.tests.t == pytest.approx(stats.ttest_1samp(each, 0).pvalue)


def test_methods_that_differ_by_rounding_are_the_same(recwarn):
    noise = np.array([1e-17, -3e-17, 2e-17, 0.0])
    assert metrics.paired_tests(noise) == (None, None, None)
    found = metrics.paired_tests(0.1 + noise)
    assert found.t is None, "equal differences have no spread"
    assert found.sign == found.wilcoxon == pytest.approx(2 / 2**4)
    assert not recwarn.list


def test_one_seed_has_an_interval_over_examples_and_no_p_value():
    """Discordant items 40 to 20 of 500: McNemar's interval, by the normal approximation."""
    labels = np.tile([0, 1], 250)
    a, b = (answers(right, labels) for right in (np.arange(500) >= 20, (np.arange(500) < 20) | (np.arange(500) >= 60)))
    triple = Triple(a, a, a, labels)
    found = metrics.paired_difference([triple], [dataclasses.replace(triple, student=b)])
    error = np.sqrt(60 - 20**2 / 500) / 500
    assert (found.value, found.low) == (pytest.approx(0.04), pytest.approx(0.04 - 1.9647 * error, abs=1e-4))
    assert (found.p, found.tests, found.over) == (None, None, "examples")


def test_seeds_that_are_equal_by_chance_do_not_look_certain():
    """Three seeds with examples of their own, 60 of 100 right in each: the interval is that of 300 examples."""
    rng, labels = np.random.default_rng(0), np.zeros(100, int)
    triples = []
    for seed in range(3):
        right = [rng.permutation(100) < share for share in (40, 60, 80)]
        triples.append(Triple(*(answers(each, labels) for each in right), labels, np.arange(100) + 100 * seed))
    found = metrics.pgr(triples)
    assert width(found.student) == pytest.approx(2 * stats.t.ppf(0.975, 299) * np.sqrt(0.6 * 0.4 / 299))
    assert found.low < 0.45 < 0.55 < found.high


def test_a_difference_that_never_varies_has_the_sign_tests_p_value():
    labels = np.zeros(6, int)
    right, wrong = answers(np.ones(6), labels), answers(np.zeros(6), labels)
    a = [Triple(wrong, right, right, labels)] * 3
    b = [Triple(wrong, wrong, right, labels)] * 3
    found = metrics.paired_difference(a, b)
    assert (found.value, found.p) == (1, pytest.approx(2 / 2**6))


def test_paired_difference_wants_the_same_seeds_and_examples():
    a, b = make_triple(np.random.default_rng(0)), make_triple(np.random.default_rng(1))
    with pytest.raises(UserError, match="needs the same seeds"):
        metrics.paired_difference([a, a], [a])
    with pytest.raises(UserError, match="tested on different examples"):
        metrics.paired_difference([a], [b])
    with pytest.raises(UserError, match="tested on different examples"):
        metrics.paired_difference([a], [dataclasses.replace(a, groups=np.arange(200) + 1)])


def test_paired_tests_by_hand():
    found = metrics.paired_tests(np.array([0.1, 0.2, 0.3, -0.05, 0.0]))
    assert found.sign == pytest.approx(2 * (1 + 4) / 16)
    assert found.wilcoxon == pytest.approx(2 * 2 / 16)  # ranks 1 below: 2 of 16 signings are as extreme on a side
    assert found.t == pytest.approx(stats.ttest_rel([0.1, 0.2, 0.3, -0.05, 0.0], [0.0] * 5).pvalue)
    assert metrics.paired_tests(np.array([0.2, 0.2])).t is None


def test_holm_by_hand():
    assert metrics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert metrics.holm([0.6, 0.7]) == [1.0, 1.0]
    assert metrics.holm([]) == []
    with pytest.raises(UserError, match="p-values"):
        metrics.holm([0.2, float("nan")])


# ---- Bad input


@pytest.mark.parametrize(
    ("probs", "labels", "message"),
    [
        (np.zeros((0, 2)), np.zeros(0, int), "no examples"),
        (np.array([[np.nan, 0.5]]), np.array([0]), "numbers from 0 to 1"),
        (np.array([[-3.0, 2.0]]), np.array([0]), "numbers from 0 to 1"),
        (binary([0.5]), np.array([2]), "labels go from 2 to 2; with 2 classes"),
        (binary([0.5]), np.array([-1]), "labels go from -1 to -1"),
    ],
)
@pytest.mark.parametrize("measure", [metrics.accuracy, metrics.auroc, metrics.log_loss, metrics.calibration_error])
def test_bad_predictions_are_refused(measure, probs, labels, message):
    with pytest.raises(UserError, match=message):
        measure(probs, labels)


def test_bad_cells_and_settings_are_refused():
    triple = make_triple(np.random.default_rng(0))
    with pytest.raises(UserError, match="3 groups for 200 labels"):
        dataclasses.replace(triple, groups=np.arange(3))
    with pytest.raises(UserError, match="do not fit"):
        dataclasses.replace(triple, labels=np.zeros(3, int))
    with pytest.raises(UserError, match="nothing to measure"):
        metrics.pgr([])
    with pytest.raises(UserError, match="level"):
        metrics.pgr([triple], level=95.0)
    with pytest.raises(UserError, match="bins"):
        metrics.reliability(triple.student, triple.labels, bins=0)


# ---- The registry


def test_every_registered_metric_is_measured_and_what_is_not_finite_is_undefined(monkeypatch):
    monkeypatch.setattr(metrics.METRICS, "_items", dict(metrics.METRICS))
    words = {"title": "x", "formula": "x", "better": "lower"}
    for name, value in (("nan", np.nan), ("infinite", np.inf), ("none", None), ("numpy", np.float32(0.5))):
        metrics.METRICS.register(metrics.Metric(name=name, function=lambda p, t, value=value: value, **words))
    labels = np.array([0, 1, 1])
    found = metrics.measured(binary([0.1, 0.8, 0.4]), np.eye(2)[labels])
    assert list(found) == list(metrics.METRICS)
    assert found["accuracy"] == metrics.accuracy(binary([0.1, 0.8, 0.4]), labels)
    assert [found[name] for name in ("nan", "infinite", "none", "numpy")] == [None, None, None, 0.5]
    assert type(found["numpy"]) is float


def test_metrics_of_one_hot_labels_are_those_of_class_numbers():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 200)
    probs = model(rng, labels, 1.0, 3)
    for name in set(metrics.METRICS) - {"confident_disagreement"}:
        function = metrics.METRICS[name].function
        assert function(probs, np.eye(3)[labels]) == pytest.approx(function(probs, labels))
