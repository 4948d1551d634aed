"""What is done to weak labels before a student learns from them.

A step is a pure function `(weak [n, c], *, hyperparameters, context) -> Labels`: which training rows remain, and what
their labels are now. It never sees ground truth. It gets what it names of this context:

  features: Float [n, d], the student's hidden states of the training rows.
  members: Float [m, n, c], the labels of each of several supervisors; `weak` is what they say together.
  student: Float [n, c], labels of these rows by the last round's student.
  views: Float [v, n, c], the strong model's own answers under v prompts.
  seed: int.
"""

from collections.abc import Mapping

from w2s_jax.label_transforms.ccs import Ccs, fit_ccs, oriented, predict_ccs
from w2s_jax.label_transforms.confidence import balanced_resample, confidence_filter, random_rows
from w2s_jax.label_transforms.error_structure import errors_on, independent_errors, with_confidences
from w2s_jax.label_transforms.neighbours import knn_filter, knn_relabel, topo_filter
from w2s_jax.label_transforms.overlap import Overlap, overlap, overlap_filter, overlap_score_filter
from w2s_jax.label_transforms.posterior import em_posterior
from w2s_jax.label_transforms.probes import logistic_filter, logistic_relabel, logistic_smooth
from w2s_jax.label_transforms.steps import CONTEXT, Labels, Step, bind, context_of
from w2s_jax.label_transforms.supervisors import assign, average, boosting_round, bootstrap_rows, learned_weights, vote
from w2s_jax.runtime import errors

STEPS: Mapping[str, Step] = {
    step.__name__: step
    for step in (
        assign,
        balanced_resample,
        confidence_filter,
        em_posterior,
        knn_filter,
        knn_relabel,
        learned_weights,
        logistic_filter,
        logistic_relabel,
        logistic_smooth,
        overlap_filter,
        overlap_score_filter,
        random_rows,
        topo_filter,
    )
}


def get(name: str) -> Step:
    """A step by name.

    Raises:
      UserError: no such step.
    """
    if name not in STEPS:
        raise errors.unknown("label work", name, STEPS)
    return STEPS[name]


__all__ = [
    "CONTEXT",
    "STEPS",
    "Ccs",
    "Labels",
    "Overlap",
    "Step",
    "average",
    "bind",
    "boosting_round",
    "bootstrap_rows",
    "context_of",
    "errors_on",
    "fit_ccs",
    "get",
    "independent_errors",
    "oriented",
    "overlap",
    "predict_ccs",
    "vote",
    "with_confidences",
]
