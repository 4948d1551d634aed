"""Elo: Bradley and Terry's model against scikit-learn, and against ratings that were put in."""

import numpy as np
import pytest

from w2s_jax.metrics.elo import SCALE, elo
from w2s_jax.runtime.errors import UserError


def matches(rng, ratings, n, truth=0.0):
    """Drawn from known ratings; `truth` is what it adds to be on its side."""
    m = len(ratings)
    first = rng.integers(0, m, n)
    second = (first + rng.integers(1, m, n)) % m
    side = rng.choice([-1.0, 1.0], n)
    odds = (ratings[first] - ratings[second]) / SCALE + side * truth / SCALE
    return first, second, (rng.uniform(size=n) < 1 / (1 + np.exp(-odds))).astype(float), side


def test_ratings_are_the_logistic_regression_of_scikit_learn():
    linear = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(0)
    first, second, won, side = matches(rng, np.array([150.0, 0.0, -50.0, -100.0]), 500, truth=60)
    found = elo(first, second, won, players=4, circumstances=side[:, None], ridge=0.5)
    design = np.concatenate([np.eye(4)[first] - np.eye(4)[second], side[:, None]], axis=1)
    fitted = linear.LogisticRegression(C=1 / 0.5, fit_intercept=False, tol=1e-10, max_iter=1000).fit(design, won)
    expected = SCALE * fitted.coef_[0]
    np.testing.assert_allclose(found.elo, expected[:4] - expected[:4].mean(), atol=0.01)
    np.testing.assert_allclose(found.advantages, expected[4:], atol=0.01)


def test_known_ratings_are_found_and_their_errors_cover_them():
    rng, truth = np.random.default_rng(1), np.array([200.0, 50.0, -250.0])
    inside = 0
    for _ in range(40):
        first, second, won, side = matches(rng, truth, 600, truth=80)
        found = elo(first, second, won, players=3, circumstances=side[:, None])
        values, errors = np.append(found.elo, found.advantages), np.append(found.elo_error, found.advantages_error)
        inside += int(np.sum(np.abs(values - np.append(truth, 80)) < 1.96 * errors))
    assert 0.88 < inside / 160 < 0.995
    assert abs(found.elo.mean()) < 1e-9


def test_two_players_by_hand():
    """Three wins of four: odds of 3 to 1, which are 400 log10(3) = 190.8 points."""
    found = elo(np.zeros(4, int), np.ones(4, int), np.array([1.0, 1, 1, 0]), players=2, ridge=1e-9)
    assert found.elo[0] - found.elo[1] == pytest.approx(190.85, abs=0.01)
    twice = np.zeros(8, int), np.ones(8, int), np.array([1.0, 1, 1, 0] * 2)
    doubled, alone = elo(*twice, players=2, groups=np.arange(8) % 4), elo(*twice, players=2)
    assert doubled.elo_error[0] == pytest.approx(np.sqrt(2) * alone.elo_error[0], rel=1e-6)


def test_who_never_lost_has_a_rating():
    found = elo(np.zeros(9, int), np.ones(9, int), np.ones(9), players=2)
    assert 400 < found.elo[0] - found.elo[1] < 4000


@pytest.mark.parametrize(("second", "won"), [([0], [1.0]), ([1], [2.0]), ([], [])])
def test_what_is_no_match_is_refused(second, won):
    with pytest.raises(UserError, match="matches of two different players"):
        elo(np.zeros(len(won), int), np.array(second, int), np.array(won), players=2)
