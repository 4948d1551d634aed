"""What is measured: metrics of one model, agreement of two, and PGR, each with an interval.

Probabilities are [N, C] and sum to 1 over classes, labels are [N] class numbers, targets are soft labels [N, C].
A prediction is the class of the largest probability; of equal ones the lowest class. What is undefined is None.

base: what a metric is, and the registry `METRICS`. scores, calibration, between_models: the metrics.
triples, influence, estimates, intervals: means over seeds and their errors. performance_gap, baselines, paired: PGR,
differences, tests. findings: what a supervisor measures of itself.
"""

# Metrics are registered in this order, which is that of the report's columns.
from w2s_jax.metrics.scores import accuracy, auroc, brier, log_loss

# isort: split
from w2s_jax.metrics.calibration import (
    Reliability,
    calibration_error,
    over_confidence,
    reliability,
    sweep_calibration_error,
)

# isort: split
from w2s_jax.metrics.base import METRICS, Groups, Labels, Metric, MetricFacts, Probs, facts, markdown, measured
from w2s_jax.metrics.between_models import Agreement, agreement, confident_disagreement, similarity
from w2s_jax.metrics.estimates import Over
from w2s_jax.metrics.findings import Finding
from w2s_jax.metrics.influence import Statistic
from w2s_jax.metrics.intervals import Interval, bounded, median_interval
from w2s_jax.metrics.paired import PairedDifference, PairedTests, holm, paired_difference, paired_pgr, paired_tests
from w2s_jax.metrics.performance_gap import PGR, in_words, pgr, pgr_of

# isort: split
from w2s_jax.metrics.baselines import FixedPGR, fixed_pgr, paired_seeds, pgr_of_seeds
from w2s_jax.metrics.triples import ROLES, Triple, tested_on
from w2s_jax.runtime.registry import discover

__all__ = [
    "METRICS",
    "PGR",
    "ROLES",
    "Agreement",
    "Finding",
    "FixedPGR",
    "Groups",
    "Interval",
    "Labels",
    "Metric",
    "MetricFacts",
    "Over",
    "PairedDifference",
    "PairedTests",
    "Probs",
    "Reliability",
    "Statistic",
    "Triple",
    "accuracy",
    "agreement",
    "auroc",
    "bounded",
    "brier",
    "calibration_error",
    "confident_disagreement",
    "facts",
    "fixed_pgr",
    "holm",
    "in_words",
    "log_loss",
    "markdown",
    "measured",
    "median_interval",
    "over_confidence",
    "paired_difference",
    "paired_pgr",
    "paired_seeds",
    "paired_tests",
    "pgr",
    "pgr_of",
    "pgr_of_seeds",
    "reliability",
    "similarity",
    "sweep_calibration_error",
    "tested_on",
]

discover(__name__, __path__)  # a new file of this folder needs no line here
