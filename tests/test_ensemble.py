"""Ensembles of supervisors: averages, votes, and what their members are trained on."""

import doctest

import numpy as np
import pytest

from w2s_jax.supervisors import combining


def test_boosting_is_samme():
    """Against scikit-learn's formula on a hand-made round: weights, error, vote."""
    probs = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]], np.float32)
    labels = np.array([0, 1, 1, 1])
    weights = np.array([0.1, 0.2, 0.3, 0.4])
    vote, new = combining.boosting_round(probs, labels, weights)
    assert vote == pytest.approx(np.log(0.7 / 0.3))
    expected = weights * np.where([False, False, True, False], np.exp(vote), 1)
    np.testing.assert_allclose(new, expected / expected.sum())
    assert new[2] == pytest.approx(0.5), "the examples that were wrong weigh as much as all others"
    none, same = combining.boosting_round(1 - probs, labels, weights)
    assert none == 0
    np.testing.assert_allclose(same, weights)


def test_votes_and_averages():
    members = np.random.default_rng(0).dirichlet([1, 1, 1], (3, 5)).astype(np.float32)
    np.testing.assert_allclose(combining.average(members), members.sum(axis=0) / 3)
    np.testing.assert_allclose(combining.vote(members, np.array([0.0, 2.0, 0.0])), members[1])
    np.testing.assert_allclose(combining.vote(members, np.zeros(3)), members.mean(axis=0))


def test_a_bootstrap_sample_draws_with_replacement_and_the_same_again():
    drawn = combining.bootstrap_rows(1000, 3)
    assert drawn.min() >= 0
    assert drawn.max() < 1000
    assert len(set(drawn.tolist())) / 1000 == pytest.approx(1 - np.exp(-1), abs=0.05)
    np.testing.assert_array_equal(drawn, combining.bootstrap_rows(1000, 3))
    assert not np.array_equal(drawn, combining.bootstrap_rows(1000, 4))


def test_the_examples_in_docstrings_run():
    failed, attempted = doctest.testmod(combining)
    assert failed == 0 < attempted
