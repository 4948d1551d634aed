"""What is done to weak labels before a student learns from them: filtering, relabelling, resampling, combining.

  base.py                 what a label transform is; `LABEL_TRANSFORMS`, `TransformedLabels`, `bind`, `context_of`
  confidence.py           by the weak labels themselves
  neighbours.py           by nearest neighbours in the student's hidden states
  probes.py               by logistic regression on them
  overlap.py              by overlap density
  posterior.py            by the strong model's own answers
  several_supervisors.py  by which of several supervisors to believe

A label transform is a pure function `(weak [n, c], *, hyperparameters, context) -> TransformedLabels`: which training
examples remain, and what their labels are now. It never sees ground truth. It gets what it names of this context:

  features: Float [n, d], the student's hidden states of the training examples.
  members: Float [m, n, c], the labels of each of several supervisors; `weak` is what they give together.
  student: Float [n, c], labels of these examples by the last round's student.
  views: Float [v, n, c], the strong model's own answers under v prompts.
  seed: int.

A new one is registered with `@LABEL_TRANSFORMS.register` where it is defined, or named as `my_file.py:my_transform`.
"""

from w2s_jax.label_transforms.base import CONTEXT, LABEL_TRANSFORMS, LabelTransform, TransformedLabels, bind, context_of
from w2s_jax.label_transforms.confidence import balanced_resample, confidence_filter, random_rows
from w2s_jax.label_transforms.neighbours import knn_filter, knn_relabel, topo_filter
from w2s_jax.label_transforms.overlap import overlap_filter, overlap_score_filter
from w2s_jax.label_transforms.posterior import em_posterior
from w2s_jax.label_transforms.probes import logistic_filter, logistic_relabel, logistic_smooth
from w2s_jax.label_transforms.several_supervisors import assign, learned_weights
from w2s_jax.runtime.registry import discover

__all__ = [
    "CONTEXT",
    "LABEL_TRANSFORMS",
    "LabelTransform",
    "TransformedLabels",
    "assign",
    "balanced_resample",
    "bind",
    "confidence_filter",
    "context_of",
    "em_posterior",
    "knn_filter",
    "knn_relabel",
    "learned_weights",
    "logistic_filter",
    "logistic_relabel",
    "logistic_smooth",
    "overlap_filter",
    "overlap_score_filter",
    "random_rows",
    "topo_filter",
]

discover(__name__, __path__)  # a new file of this folder needs no line here
