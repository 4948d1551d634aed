"""Metrics against scikit-learn, SciPy and closed forms; intervals against simulation."""

import dataclasses
import itertools
import re
import time

import numpy as np
import pytest
from scipy import stats

from w2s_jax import metrics
from w2s_jax.metrics import Triple, intervals, resampling
from w2s_jax.metrics.scores import FLOAT32_EPS
from w2s_jax.runtime.errors import UserError

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


def test_auroc_equals_mann_whitney_with_ties_and_weights_equal_repetition():
    rng = np.random.default_rng(1)
    labels, probs = rng.integers(0, 2, 80), binary(rng.integers(0, 5, 80) / 5)
    scores = probs[:, 1]
    u = stats.mannwhitneyu(scores[labels == 1], scores[labels == 0]).statistic
    area = metrics.auroc(probs, labels)
    assert area == pytest.approx(u / (np.sum(labels == 1) * np.sum(labels == 0)))
    times = rng.integers(0, 4, 80)
    repeated = metrics.auroc(np.repeat(probs, times, axis=0), np.repeat(labels, times))
    assert metrics.auroc(probs, labels, times.astype(float)) == pytest.approx(repeated)
    expected = sklearn.roc_auc_score(labels, scores, sample_weight=times)
    assert metrics.auroc(probs, labels, times.astype(float)) == pytest.approx(expected)


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
def test_auroc_of_resamples_equals_repeating_their_examples(digits):
    """Few and many positives go two ways; both equal scikit-learn on the resample itself."""
    rng = np.random.default_rng(4)
    for classes, n in ((2, 150), (40, 400)):
        labels = rng.permutation(np.arange(n) % classes if classes > 2 else np.arange(n) % 4 == 0).astype(int)
        probs = model(rng, labels, 1.0, classes, digits)
        weights = rng.multinomial(n, np.full(n, 1 / n), 3).T
        found = resampling.auroc_under(probs, labels)(weights.astype(np.float32))
        for area, times in zip(found, weights.T, strict=True):
            drawn, truth = np.repeat(probs, times, axis=0), np.repeat(labels, times)
            ks = [1] if classes == 2 else np.unique(truth)
            assert area == pytest.approx(np.mean([sklearn.roc_auc_score(truth == k, drawn[:, k]) for k in ks]))


def test_pgr_of_auroc_over_a_thousand_classes_is_defined_and_quick():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 1000, 300)
    triple = Triple(*(model(rng, labels, skill, 1000) for skill in (1.0, 2.0, 4.0)), labels)
    started = time.process_time()
    found = metrics.pgr([triple], "auroc", resamples=500)
    assert time.process_time() - started < 10
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
    rng = np.random.default_rng(2)
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
    few = [Triple(*[binary([0.2, 0.9])] * 3, np.array([0, 1]), np.array([i, i + 1])) for i in (0, 2, 4, 6)]
    assert metrics.pgr(few, "auroc").reason.startswith("too few test examples")


def test_the_order_of_examples_does_not_matter_and_the_seed_does():
    rng = np.random.default_rng(3)
    triple = make_triple(rng, groups=rng.integers(0, 60, 200))
    order = rng.permutation(200)
    arrays = (triple.supervisor, triple.student, triple.ceiling, triple.labels, triple.groups)
    for statistic in ("accuracy", "auroc"):
        shuffled = metrics.pgr([Triple(*(array[order] for array in arrays))], statistic)
        found = metrics.pgr([triple], statistic)
        assert (found.value, found.low, found.high) == pytest.approx((shuffled.value, shuffled.low, shuffled.high))
        assert found == metrics.pgr([triple], statistic)
        assert found.low != metrics.pgr([triple], statistic, seed=1).low


def width(interval):
    return interval.high - interval.low


def test_one_seeds_interval_equals_the_closed_form():
    labels, n = np.tile([0, 1], 200), 400
    rng = np.random.default_rng(0)
    triple = Triple(*(answers(rng.uniform(size=n) < share, labels) for share in (0.6, 0.7, 0.9)), labels)
    found = metrics.pgr([triple], resamples=5000)
    for interval in (found.supervisor, found.student, found.ceiling):
        expected = 2 * 1.96 * np.sqrt(interval.value * (1 - interval.value) / n)
        assert width(interval) == pytest.approx(expected, rel=0.07)


def test_the_three_models_are_resampled_together():
    """Models that err on nested items differ by a binomial share; resampled apart, their gap would vary far more."""
    labels, n = np.tile([0, 1], 500), 1000
    weak, ceiling = (answers(np.arange(n) >= wrong, labels) for wrong in (500, 400))
    gap = metrics.pgr([Triple(weak, weak, ceiling, labels)], resamples=5000).gap
    assert width(gap) == pytest.approx(2 * 1.96 * np.sqrt(0.1 * 0.9 / n), rel=0.07)


def test_rows_of_one_group_are_resampled_together():
    rng = np.random.default_rng(0)
    labels = np.tile([0, 1], 50)
    one = [answers(rng.uniform(size=100) < share, labels) for share in (0.6, 0.7, 0.9)]
    four = [np.repeat(probs, 4, axis=0) for probs in one]
    copies, names = np.repeat(labels, 4), np.repeat([f"question {i}" for i in range(100)], 4)
    single = metrics.pgr([Triple(*one, labels)], resamples=4000)
    grouped = metrics.pgr([Triple(*four, copies, names)], resamples=4000)
    ungrouped = metrics.pgr([Triple(*four, copies)], resamples=4000)
    assert width(grouped.ceiling) == pytest.approx(width(single.ceiling), rel=0.1)
    assert width(ungrouped.ceiling) == pytest.approx(width(single.ceiling) / 2, rel=0.1)


def test_seeds_tested_on_the_same_questions_are_no_new_questions():
    rng = np.random.default_rng(0)
    triple = make_triple(rng, 300)
    shared = metrics.pgr([dataclasses.replace(triple, groups=np.arange(300))] * 5, resamples=4000)
    apart = metrics.pgr(
        [dataclasses.replace(triple, groups=np.arange(300) + 300 * i) for i in range(5)], resamples=4000
    )
    single = metrics.pgr([triple], resamples=4000)
    assert width(shared.ceiling) == pytest.approx(width(single.ceiling), rel=0.1)
    assert width(apart.ceiling) < 0.6 * width(single.ceiling)


def test_seeds_that_differ_widen_the_interval():
    labels = np.tile([0, 1], 500)
    good, bad = (answers(np.arange(1000) < right, labels) for right in (900, 600))
    weak = answers(np.arange(1000) < 500, labels)
    mixed = metrics.pgr([Triple(weak, student, good, labels) for student in (good, bad) * 3])
    assert mixed.student.value == pytest.approx(0.75)
    assert width(mixed.student) > 2 * 1.96 * 0.15 / np.sqrt(6) * 0.85  # the spread of a mean of six draws


def test_a_seed_that_was_not_drawn_may_be_undefined():
    values, counts = np.array([[np.nan], [0.5]]), np.array([[0], [2]])
    assert resampling.weighted_mean(values, counts).tolist() == [0.5]


def test_resamples_without_a_gap_fall_into_the_tail_on_their_side():
    part, whole = np.array([0.2, 0.2, -0.1, 0.0]), np.array([0.4, -0.1, 0.0, 0.1])
    np.testing.assert_array_equal(intervals.ratio(part, whole), [0.5, np.inf, -np.inf, 0.0])
    rng = np.random.default_rng(5)
    found = metrics.pgr([make_triple(rng, 60, (0.5, 2.0, 1.0))], min_gap=0)
    assert found.reason is None
    assert np.isfinite([found.low, found.high]).all()


def simulate(rng, seeds=5, n=250, spread=0.02, shares=(0.6, 0.72, 0.85)):
    """Cells with known true accuracies: seeds vary around them, and the models share what makes an item hard."""
    triples = []
    for index in range(seeds):
        labels, hardness = rng.integers(0, 2, n), rng.normal(size=n)
        probs = []
        for share in shares:
            skill = stats.norm.ppf(share + spread * rng.normal()) * np.sqrt(2)
            probs.append(answers(skill + hardness + rng.normal(size=n) > 0, labels))
        triples.append(Triple(*probs, labels, np.arange(n) + n * index))
    return triples


def test_intervals_cover_the_truth():
    rng = np.random.default_rng(0)
    true, runs = (0.72 - 0.6) / (0.85 - 0.6), 150
    found = [metrics.pgr(simulate(rng), resamples=400, seed=i) for i in range(runs)]
    pgr_covered = np.mean([one.low <= true <= one.high for one in found])
    gap_covered = np.mean([one.gap.low <= 0.25 <= one.gap.high for one in found])
    assert 0.91 <= pgr_covered <= 1.0, pgr_covered
    assert 0.91 <= gap_covered <= 1.0, gap_covered


# ---- Two methods


def test_paired_difference_of_a_method_and_itself_is_nothing():
    triples = [make_triple(np.random.default_rng(i)) for i in range(4)]
    found = metrics.paired_difference(triples, triples)
    assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)
    assert found.tests == (None, None, None)


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
    assert there.p == back.p == pytest.approx(2 / 2001)
    assert there.tests.t == pytest.approx(stats.ttest_1samp(each, 0).pvalue)


def test_shared_resamples_change_nothing():
    rng = np.random.default_rng(0)
    triples = [make_triple(rng, groups=rng.integers(0, 90, 200)) for _ in range(3)]
    others = [dataclasses.replace(triple, student=triple.ceiling) for triple in triples]
    shared = resampling.Bootstrap(metrics.tested_on(triples), resamples=500, seed=3)
    for statistic in ("accuracy", "auroc"):
        for measured in (triples, others, triples):
            alone = metrics.pgr(measured, statistic, resamples=500, seed=3)
            assert metrics.pgr(measured, statistic, bootstrap=shared) == alone
        alone = metrics.paired_difference(others, triples, statistic, resamples=500, seed=3)
        assert metrics.paired_difference(others, triples, statistic, bootstrap=shared) == alone
    with pytest.raises(UserError, match="other test examples"):
        metrics.pgr([make_triple(rng) for _ in range(3)], bootstrap=shared)


def test_methods_that_differ_by_rounding_are_the_same(recwarn):
    noise = np.array([1e-17, -3e-17, 2e-17, 0.0])
    assert metrics.paired_tests(noise) == (None, None, None)
    found = metrics.paired_tests(0.1 + noise)
    assert found.t is None, "equal differences have no spread"
    assert found.sign == found.wilcoxon == pytest.approx(2 / 2**4)
    assert not recwarn.list


def test_bootstrap_p_equals_mcnemar_for_one_seed():
    """Discordant items 40 to 20 of 500: the normal approximation of McNemar's test is two-sided p = 0.0098."""
    labels = np.tile([0, 1], 250)
    a, b = (answers(right, labels) for right in (np.arange(500) >= 20, (np.arange(500) < 20) | (np.arange(500) >= 60)))
    triple = Triple(a, a, a, labels)
    found = metrics.paired_difference([triple], [dataclasses.replace(triple, student=b)], resamples=20_000)
    assert found.value == pytest.approx(20 / 500)
    assert found.p == pytest.approx(2 * stats.norm.sf(20 / np.sqrt(60)), abs=0.004)
    assert found.tests.t is None


def test_p_values_of_equal_methods_are_uniform_enough():
    rng = np.random.default_rng(1)
    p = []
    for i in range(120):
        triples = simulate(rng, shares=(0.7, 0.7, 0.7))
        other = [dataclasses.replace(triple, student=triple.ceiling) for triple in triples]
        p.append(metrics.paired_difference(triples, other, resamples=300, seed=i).p)
    assert np.mean(np.array(p) < 0.05) <= 0.1
    assert np.mean(np.array(p) < 0.5) >= 0.25


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
    with pytest.raises(UserError, match="nothing to resample"):
        metrics.pgr([])
    with pytest.raises(UserError, match="level"):
        metrics.pgr([triple], level=95.0)
    with pytest.raises(UserError, match="resamples"):
        metrics.pgr([triple], resamples=10)
    with pytest.raises(UserError, match="bins"):
        metrics.reliability(triple.student, triple.labels, bins=0)


def test_a_resample_without_gap_and_without_gain_counts_as_nothing_recovered():
    part, whole = np.array([0.0, 1.0, -1.0, 1.0]), np.array([0.0, 0.0, -1.0, 2.0])
    np.testing.assert_array_equal(intervals.ratio(part, whole), [0.0, np.inf, -np.inf, 0.5])


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
