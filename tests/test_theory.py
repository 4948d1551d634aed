"""Where theory says exactly what must come out: linear heads under squared loss gain what they misfit."""

import numpy as np

from w2s_jax import losses
from w2s_jax.train.probe import fit_probes, predict_probes


def squared(logits, targets):
    return ((logits - targets) ** 2).sum(axis=-1)


def test_gain_is_misfit_for_linear_heads_on_a_fixed_representation():
    """Charikar et al. 2024 (arXiv 2405.15116), theorem 1.

    With a convex class that holds the truth, d(student, truth) <= d(weak, truth) - d(student, weak). A linear class is
    a subspace, so on the training examples the student is the projection of the weak labels and it is an equality: what
    the student gains is what it cannot fit. The weak model sees only half of the features' directions, and a
    nonlinear distortion of them.
    """
    rng = np.random.default_rng(0)
    n, d = 400, 12
    strong = rng.normal(size=(n, d)).astype(np.float32)
    truth = strong @ rng.normal(size=(d, 1)) + 0.3
    weak_features = np.tanh(strong[:, : d // 2])
    coefficients, *_ = np.linalg.lstsq(np.c_[weak_features, np.ones(n)], truth, rcond=None)
    weak = (np.c_[weak_features, np.ones(n)] @ coefficients).astype(np.float32)

    fitted = fit_probes(strong, weak[None], losses.bind(squared), steps=3000, batch_size=None, learning_rate=0.05)
    student = np.asarray(predict_probes(strong, fitted.weights, fitted.biases))[0]

    def distance(first, second):
        return float(np.mean((first - second) ** 2))

    gain, misfit = distance(weak, truth) - distance(student, truth), distance(student, weak)
    assert misfit > 0.05, "there is something that the student cannot fit"
    np.testing.assert_allclose(gain, misfit, rtol=1e-3)


def test_a_student_of_the_supervisors_own_class_gains_nothing():
    """Without a gap there is no misfit, and no gain."""
    rng = np.random.default_rng(1)
    features = rng.normal(size=(300, 6)).astype(np.float32)
    weak = (features @ rng.normal(size=(6, 1))).astype(np.float32)
    fitted = fit_probes(features, weak[None], losses.bind(squared), steps=3000, batch_size=None, learning_rate=0.05)
    student = np.asarray(predict_probes(features, fitted.weights, fitted.biases))[0]
    np.testing.assert_allclose(student, weak, atol=1e-3)
