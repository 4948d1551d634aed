"""Errors over participants and questions: against the formula for means, and by simulation."""

import numpy as np
import pytest
from scipy import stats

from w2s_jax.metrics.crossed import Sample, constant, crossed
from w2s_jax.metrics.intervals import certain, interval
from w2s_jax.metrics.performance_gap import pgr_from
from w2s_jax.runtime.errors import UserError


def mean_of(participant, group, values):
    return Sample(
        participant, group, lambda people, questions: (people * questions) @ values / (people * questions).sum(1)
    )


def study(rng, people, questions, each, spread_people, spread_questions):
    """Who answered what, and whether it was right: a probit model."""
    skill, ease = rng.normal(0, spread_people, people), rng.normal(0, spread_questions, questions)
    participant = np.repeat(np.arange(people), each)
    question = np.concatenate([rng.choice(questions, each, replace=False) for _ in range(people)])
    right = 0.5 + skill[participant] + ease[question] + rng.normal(size=len(question)) > 0
    return participant, question, right.astype(float)


def clustered(values, clusters):
    """The variance of a mean over whole clusters, with the correction for few of them."""
    sums = np.bincount(np.unique(clusters, return_inverse=True)[1], values - values.mean())
    return (sums**2).sum() / len(values) ** 2 * len(sums) / (len(sums) - 1)


def test_the_variance_of_a_mean_is_that_of_the_formula():
    rng = np.random.default_rng(3)
    participant, question, right = study(rng, 12, 40, 40, 0.5, 0.5)
    group = question // 2
    found = crossed([mean_of(participant, group, right)], np.zeros(12, int), draws=8000)
    assert found.values[0] == pytest.approx(right.mean())
    people, overlap = clustered(right, participant), clustered(right, participant * 100 + group)
    expected = people + clustered(right, group) - overlap
    assert found.parts[0].covariance[0, 0] == pytest.approx(people, rel=0.06)
    assert found.linear(np.ones((1, 1))).variance[0] == pytest.approx(expected, rel=0.06)
    assert [part.freedom for part in found.parts] == [11, 19]
    assert found.over == "participants and questions"


def test_two_kinds_of_participants_are_independent():
    rng = np.random.default_rng(4)
    participant, question, right = study(rng, 20, 30, 30, 0.8, 0.3)
    first = participant < 8
    samples = [mean_of(participant[here], question[here], right[here]) for here in (first, ~first)]
    found = crossed(samples, (np.arange(20) >= 8).astype(int), draws=6000)
    assert [part.freedom for part in found.parts] == [7, 11, 29]
    for part, here, place in ((found.parts[0], first, 0), (found.parts[1], ~first, 1)):
        assert part.covariance[place, place] == pytest.approx(clustered(right[here], participant[here]), rel=0.08)
        assert part.covariance[1 - place, 1 - place] == pytest.approx(0, abs=1e-12)
        assert part.covariance[0, 1] == pytest.approx(0, abs=1e-12)


def test_nobody_and_single_participants_vary_with_questions_alone():
    rng = np.random.default_rng(5)
    right = rng.integers(0, 2, 200).astype(float)
    nobody = mean_of(np.full(200, -1), np.arange(200), right)
    found = crossed([nobody, constant(0.9)], np.zeros(0, int), draws=6000)
    variance = right.var(ddof=1) / 200
    assert found.over == "questions"
    assert found.linear(np.eye(2)).variance == pytest.approx([variance, 0], rel=0.06)
    alone = crossed([mean_of(np.zeros(200, int), np.arange(200), right)], np.zeros(1, int), draws=6000)
    assert alone.over == "questions"
    assert alone.linear(np.ones((1, 1))).variance[0] == pytest.approx(variance, rel=0.06)
    with pytest.raises(UserError, match="one participant and one group of questions"):
        crossed([mean_of(np.zeros(3, int), np.zeros(3, int), right[:3])], np.zeros(1, int))


def test_the_same_answers_give_the_same_interval():
    rng = np.random.default_rng(6)
    participant, question, right = study(rng, 6, 20, 10, 0.3, 0.3)
    first, second = (crossed([mean_of(participant, question, right)], np.zeros(6, int), draws=300) for _ in range(2))
    assert interval(first, np.ones(1), 0.95) == interval(second, np.ones(1), 0.95)


def test_a_share_without_variance_has_the_exact_interval():
    for units in (1, 8, 50):
        exact = stats.binomtest(units, units).proportion_ci(0.95, "exact")
        assert certain(1, units, 0.95) == pytest.approx((1, exact.low, 1))
        assert certain(0, units, 0.95) == pytest.approx((0, 0, 1 - exact.low))


@pytest.mark.parametrize(
    ("people", "questions", "each", "spread_people", "spread_questions"),
    [(5, 100, 40, 0.3, 0.8), (10, 60, 20, 0.3, 0.8), (20, 40, 20, 0.5, 0.5)],
)
def test_intervals_cover(people, questions, each, spread_people, spread_questions):
    """Of 300 studies; with a coverage of .95 fewer than .91 or more than .99 are a matter of 1 in 600 or less."""
    rng = np.random.default_rng(people)
    truth = stats.norm.cdf(0.5 / np.sqrt(1 + spread_people**2 + spread_questions**2))
    held = 0
    for number in range(300):
        participant, question, right = study(rng, people, questions, each, spread_people, spread_questions)
        found = crossed([mean_of(participant, question, right)], np.zeros(people, int), draws=200, seed=number)
        _, low, high = interval(found, np.ones(1), 0.95)
        held += low <= truth <= high
    assert 0.91 <= held / 300 <= 0.99


def test_two_conditions_that_are_equal_for_everybody_are_not_certain_to_be():
    """Four people have 3 to 6 of 20 right, equally many under either condition; questions decide which, but for one."""
    rng = np.random.default_rng(8)
    participant, rows = np.repeat(np.arange(4), 20), {"alone": [], "chat": []}
    for person in range(4):
        for place, condition in enumerate(rows):
            block = (person + place) % 2
            right = (np.arange(20) < 3 + person).astype(float)
            right[rng.integers(3)], right[rng.integers(6, 20)] = 0, 1
            rows[condition].append((np.arange(20) + 20 * block, right))
    alone, chat = (mean_of(participant, *map(np.concatenate, zip(*each, strict=True))) for each in rows.values())
    found = crossed([alone, chat, constant(1.0)], np.zeros(4, int))
    difference, share = interval(found, np.array([-1.0, 1.0, 0.0]), 0.95), pgr_from(found)
    assert difference.value == share.value == 0
    assert difference.high > 0.05
    assert share.low == pytest.approx(difference.low / 0.775, rel=0.3)
    assert share.high == pytest.approx(difference.high / 0.775, rel=0.3)
