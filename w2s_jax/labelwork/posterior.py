"""Weak labels as a noisy channel, decoded with the strong model's own prior."""

import numpy as np
from jaxtyping import Float

from w2s_jax.errors import UserError
from w2s_jax.labelwork.steps import Labels, check_range, relabelled


def em_posterior(
    weak: Float[np.ndarray, "n 2"],
    *,
    views: Float[np.ndarray, "v n 2"],
    rounds: int = 2,
    temperature: float = 1.0,
    l2: float = 1.0,
) -> Labels:
    """`P(y | weak, x)`, proportional to `P(weak label | y, x) P(y | x)`.

    The prior is the strong model's: the sigmoid of its mean log-odds over views, centred, so that both classes are
    as likely. The channel says how often a supervisor says 1 where the truth is 1 and where it is 0:
    `TPR(x) = sigmoid(a . phi)`, `FPR(x) = sigmoid(b . phi)` with phi = (1, confidence of the weak label, mean and
    standard deviation of the views' log-odds, share of views on the mean's side). Expectation
    maximisation fits a and b by logistic regression, weighted with the posterior; it starts from the weak labels' own
    probabilities as the channel.

    Source: Anthropic's automated weak-to-strong researcher (2026), "EM posterior"; details not given there are ours.

    Args:
      rounds: of expectation maximisation, 1 or more.
      temperature: > 0; above 1 softens the result.
      l2: of a and b, > 0.

    Raises:
      UserError: more than two classes.
    """
    from sklearn.linear_model import LogisticRegression

    if weak.shape[1] != 2:
        raise UserError(f"em_posterior needs two classes, not {weak.shape[1]}")
    check_range("temperature", temperature, 1e-6, 1e6)
    odds = np.log(np.maximum(views[..., 1], 1e-6)) - np.log(np.maximum(views[..., 0], 1e-6))
    odds = odds - odds.mean(axis=1, keepdims=True)
    said = weak.argmax(axis=1)
    mean, deviation = odds.mean(axis=0), odds.std(axis=0)
    agree = ((odds > 0) == (mean > 0)).mean(axis=0)
    phi = np.stack([np.abs(weak[:, 1] - 0.5) * 2, mean, deviation, agree], axis=1)
    phi = (phi - phi.mean(axis=0)) / np.maximum(phi.std(axis=0), 1e-9)
    prior = 1 / (1 + np.exp(-mean))
    if len(np.unique(said)) < 2:
        return relabelled(np.stack([1 - prior, prior], axis=1))
    prior_odds = np.log(np.clip(prior, 1e-6, 1 - 1e-6)) - np.log1p(-np.clip(prior, 1e-6, 1 - 1e-6))
    # From the prior alone the two channels would be fitted to the same thing.
    log_odds = prior_odds + np.log(np.maximum(weak[:, 1], 1e-6)) - np.log(np.maximum(weak[:, 0], 1e-6))
    posterior = np.clip(1 / (1 + np.exp(-log_odds)), 1e-6, 1 - 1e-6)
    for _ in range(rounds):
        likelihood = []
        for weights in (posterior, 1 - posterior):
            channel = LogisticRegression(C=1 / l2, max_iter=1000).fit(phi, said, sample_weight=weights)
            likelihood.append(channel.predict_log_proba(phi)[np.arange(len(said)), said])
        log_odds = prior_odds + likelihood[0] - likelihood[1]
        posterior = np.clip(1 / (1 + np.exp(-log_odds)), 1e-6, 1 - 1e-6)
    softened = 1 / (1 + np.exp(-log_odds / temperature))
    return relabelled(np.stack([1 - softened, softened], axis=1))
