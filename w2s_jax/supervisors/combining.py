"""Several supervisors as one: averages, votes, and the data sets that members of an ensemble are trained on."""

import numpy as np
from jaxtyping import Float, Int

LEAST = 1e-6


def average(members: Float[np.ndarray, "m n c"]) -> Float[np.ndarray, "n c"]:
    """The mean of the members' probabilities."""
    return members.mean(axis=0)


def vote(members: Float[np.ndarray, "m n c"], votes: Float[np.ndarray, " m"]) -> Float[np.ndarray, "n c"]:
    """The members' probabilities, weighted by their votes; the plain mean where no member has one.

    >>> members = np.array([[[0.8, 0.2]], [[0.4, 0.6]]])
    >>> vote(members, np.array([3.0, 1.0])).round(2)
    array([[0.7, 0.3]])

    Args:
      votes: >= 0; only their ratios count.
    """
    weights = votes / votes.sum() if votes.sum() > 0 else np.full(len(votes), 1 / len(votes))
    return np.einsum("m,mnc->nc", weights, members)


def bootstrap_rows(n: int, seed: int) -> Int[np.ndarray, " n"]:
    """n numbers of examples, drawn from 0 .. n - 1 with replacement, for bagging (Breiman 1996)."""
    return np.random.default_rng(seed).integers(0, n, n).astype(np.int32)


def boosting_round(
    probs: Float[np.ndarray, "n c"], labels: Int[np.ndarray, " n"], weights: Float[np.ndarray, " n"]
) -> tuple[float, Float[np.ndarray, " n"]]:
    """A member's vote, and the weights of the examples for the next member (SAMME).

    With e the weighted error: `vote = log((1 - e) / e) + log(C - 1)`, and a wrong example's weight times `exp(vote)`.
    A member no better than chance gets no vote and changes no weight.

    Args:
      probs: the member's class probabilities.
      labels: what is true.
      weights: of the examples, > 0.

    Returns:
      The vote, and weights that sum to 1.

    References:
      Zhu et al. 2009, Multi-class AdaBoost. For weak supervisors: EnsemW2S, 2024.
    """
    wrong = probs.argmax(axis=1) != labels
    error = float(np.clip(weights[wrong].sum() / weights.sum(), LEAST, 1 - LEAST))
    votes = float(max(np.log((1 - error) / error) + np.log(probs.shape[1] - 1), 0.0))
    boosted = weights * np.exp(votes * wrong)
    return votes, boosted / boosted.sum()
