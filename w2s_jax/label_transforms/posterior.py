"""Weak labels as a noisy channel, decoded with the strong model's own prior."""

import numpy as np
from jaxtyping import Float, Int

from w2s_jax.label_transforms.base import LABEL_TRANSFORMS, TransformedLabels, relabelled
from w2s_jax.runtime.checks import check_count, check_range
from w2s_jax.runtime.errors import UserError

LEAST = 1e-6
_STARTING_ROUNDS = 50


@LABEL_TRANSFORMS.register
def em_posterior(
    weak: Float[np.ndarray, "n c"],
    *,
    views: Float[np.ndarray, "v n c"],
    rounds: int = 2,
    temperature: float = 1.0,
    l2: float = 1.0,
) -> TransformedLabels:
    """Relabels with `P(y | weak label, x)`, proportional to `P(weak label | y, x) P(y | x)`.

    The prior is the strong model's: the sigmoid of its mean log-odds over views, each view centred, so that both
    classes are equally likely. The channel is how often the supervisor answers 1 where the truth is 1 and where it is
    0: `TPR(x) = sigmoid(a . phi)`, `FPR(x) = sigmoid(b . phi)` with phi = (1, confidence of the weak label, mean and
    standard deviation of the views' log-odds, share of views on the mean's side). Expectation maximisation fits a and
    b by logistic regression, weighted by the posterior. It starts from the one TPR and FPR for all examples that fit
    best (Dawid & Skene 1979, with the prior given), which takes the supervisor to be better than chance. The prior is
    taken at face value: views that are sure of themselves and at chance carry their errors into the result.

    Args:
      rounds: of expectation maximisation with a and b, 1 or more.
      temperature: > 0; above 1 softens the result.
      l2: of a and b on standardised phi, > 0.

    Raises:
      UserError: more than two classes, or a hyperparameter out of range.

    References:
      Dawid & Skene 1979, Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm.
      Anthropic's automated weak-to-strong researcher, 2026, "EM posterior"; details not given there are ours.
    """
    from scipy.special import expit
    from sklearn.linear_model import LogisticRegression

    if weak.shape[1] != 2:
        raise UserError(f"em_posterior needs two classes, not {weak.shape[1]}")
    check_count("rounds", rounds)
    check_range("temperature", temperature, LEAST, 1 / LEAST)
    check_range("l2", l2, LEAST, 1 / LEAST)
    phi, prior = _evidence(weak, views)
    chosen = weak.argmax(axis=1)
    log_odds = prior
    if len(np.unique(chosen)) == 2:
        posterior = _constant_channel(chosen, prior)
        for _ in range(rounds):
            likelihood = []
            for weights in (posterior, 1 - posterior):
                channel = LogisticRegression(C=1 / l2, max_iter=1000).fit(phi, chosen, sample_weight=weights)
                likelihood.append(channel.predict_log_proba(phi)[np.arange(len(chosen)), chosen])
            log_odds = prior + likelihood[0] - likelihood[1]
            posterior = np.clip(expit(log_odds), LEAST, 1 - LEAST)
    softened = expit(log_odds / temperature)
    return relabelled(np.stack([1 - softened, softened], axis=1))


def _evidence(
    weak: Float[np.ndarray, "n 2"], views: Float[np.ndarray, "v n 2"]
) -> tuple[Float[np.ndarray, "n 4"], Float[np.ndarray, " n"]]:
    """phi, standardised, without its 1; and the log-odds of the prior."""
    odds = np.log(np.maximum(views[..., 1], LEAST)) - np.log(np.maximum(views[..., 0], LEAST))
    odds = odds - odds.mean(axis=1, keepdims=True)
    mean = odds.mean(axis=0)
    agree = ((odds > 0) == (mean > 0)).mean(axis=0)
    phi = np.stack([np.abs(2 * weak[:, 1] - 1), mean, odds.std(axis=0), agree], axis=1).astype(np.float64)
    return (phi - phi.mean(axis=0)) / np.maximum(phi.std(axis=0), LEAST), mean.astype(np.float64)


def _constant_channel(chosen: Int[np.ndarray, " n"], prior: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """P(y = 1) under the TPR and FPR that maximise the likelihood of the weak labels, starting from .75 and .25.

    From the prior alone a channel that depends on x would be the same for both classes, and from the weak labels'
    own probabilities, hard labels would be believed forever.
    """
    from scipy.special import expit

    rates = np.array([0.75, 0.25])
    for _ in range(_STARTING_ROUNDS):
        of_one, of_zero = np.where(chosen == 1, rates[:, None], 1 - rates[:, None])
        posterior = expit(prior + np.log(of_one) - np.log(of_zero))
        weights = np.clip(np.stack([posterior, 1 - posterior]), LEAST, 1)
        rates = np.clip(weights @ chosen / weights.sum(axis=1), LEAST, 1 - LEAST)
    return np.clip(posterior, LEAST, 1 - LEAST)
