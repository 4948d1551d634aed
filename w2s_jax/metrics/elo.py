"""Ratings of players from matches: Bradley and Terry's model, on Elo's scale."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Integer, Shaped

from w2s_jax.runtime.errors import UserError

SCALE = 400 / np.log(10)  # Elo points of a unit of log-odds: 400 points are odds of 10 to 1
STEPS = 100  # of Newton's method, which takes about ten


class Ratings(NamedTuple):
    """Elo ratings, with standard errors.

    Attributes:
      elo: of each player; their mean is 0.
      advantages: of each circumstance, in the same points: what it adds to the first player's rating where it is 1.
    """

    elo: Float[np.ndarray, " m"]
    elo_error: Float[np.ndarray, " m"]
    advantages: Float[np.ndarray, " k"]
    advantages_error: Float[np.ndarray, " k"]


def elo(
    first: Integer[np.ndarray, " n"],
    second: Integer[np.ndarray, " n"],
    won: Float[np.ndarray, " n"],
    *,
    players: int,
    circumstances: Float[np.ndarray, "n k"] | None = None,
    groups: Shaped[np.ndarray, " n"] | None = None,
    ridge: float = 0.01,
) -> Ratings:
    """Maximum likelihood of `log-odds(first wins) = r_first - r_second + circumstances @ a` (Bradley and Terry 1952).

    Elo is `400 / ln 10 * r`. Errors are of the sandwich form, which lets matches of one group depend on each other.

    Args:
      first, second: the players of each match, 0 .. players - 1.
      won: 1 where the first won, 0 where it lost, 0.5 for a draw.
      circumstances: of each match, as seen from the first player: 1, -1 where they favour the second, 0 for neither.
      groups: such as the text that a match was about; None is a group for each match.
      ridge: half of it times the sum of squares is taken from the log-likelihood, so that who never lost has a rating.

    Raises:
      UserError: no match, a player against itself, or a result outside 0 to 1.
    """
    from scipy.special import expit

    if not len(won) or (first == second).any() or not ((won >= 0) & (won <= 1)).all():
        raise UserError("ratings need matches of two different players each, with results from 0 to 1")
    extra = np.zeros((len(won), 0)) if circumstances is None else np.asarray(circumstances, np.float64)
    design = np.concatenate([np.eye(players)[first] - np.eye(players)[second], extra], axis=1)
    values = np.zeros(design.shape[1])
    for _ in range(STEPS):
        chance = expit(design @ values)
        slope = design.T @ (won - chance) - ridge * values
        curvature = (design * (chance * (1 - chance))[:, None]).T @ design + ridge * np.eye(len(values))
        step = np.linalg.solve(curvature, slope)
        values = values + step
        if np.abs(step).max() < 1e-10:
            break
    scores = design * (won - expit(design @ values))[:, None]
    _, family = np.unique(np.arange(len(won)) if groups is None else groups, return_inverse=True)
    summed = np.zeros((family.max() + 1, len(values)))
    np.add.at(summed, family, scores)
    centre = np.eye(len(values))
    centre[:players, :players] -= 1 / players
    inverse = centre @ np.linalg.inv(curvature)
    points, errors = SCALE * centre @ values, SCALE * np.sqrt(np.diag(inverse @ (summed.T @ summed) @ inverse.T))
    return Ratings(points[:players], errors[:players], points[players:], errors[players:])
