"""One cell from its arrays: every metric, the curve, and what chose the student's step."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from w2s_jax import metrics
from w2s_jax.evaluation.results import Bins, Cell, CurvePoint, Stopping
from w2s_jax.metrics import ROLES, Triple


@dataclass(frozen=True)
class Measured:
    """A cell and the test predictions behind it; none where only accuracies were imported."""

    cell: Cell
    predictions: Triple | None


def measure(
    *,
    names: Mapping[str, Any],
    stages: Mapping[str, str],
    test: Triple,
    weak_validation: np.ndarray,
    ceiling_validation: np.ndarray,
    truth_validation: np.ndarray,
    steps: Sequence[int],
    curve: np.ndarray,
    selected: int,
) -> Measured:
    """One cell from its arrays.

    Args:
      names: task, supervisor, student, method, seed.
      test: the three models' probabilities, ground truth and groups.
      weak_validation, ceiling_validation: the supervisor's and the ceiling's probabilities on validation [M, C].
      truth_validation: ground truth of validation [M].
      steps, curve: when the student was evaluated, and its validation probabilities [E, M, C].
      selected: which evaluation was kept.
    """
    weak = np.argmax(weak_validation, axis=-1)
    points = tuple(
        CurvePoint(
            step,
            metrics.accuracy(at, weak),
            metrics.accuracy(at, truth_validation),
            metrics.auroc(at, weak),
            metrics.auroc(at, truth_validation),
        )
        for step, at in zip(steps, curve, strict=True)
    )
    best = max(points, key=lambda point: point.truth_accuracy)
    found = on_test(names, stages, test)
    cell = replace(
        found.cell,
        curve=points,
        selected_step=steps[selected],
        best_truth_step=best.step,
        stopping=Stopping(
            weak=max(points, key=lambda point: point.weak_accuracy).truth_accuracy,
            last=points[-1].truth_accuracy,
            best=best.truth_accuracy,
            supervisor=metrics.accuracy(weak_validation, truth_validation),
            ceiling=metrics.accuracy(ceiling_validation, truth_validation),
        ),
    )
    return Measured(cell, test)


def on_test(names: Mapping[str, Any], stages: Mapping[str, str], test: Triple) -> Measured:
    """One cell as far as its test predictions tell; arguments as in `measure`."""
    probs = {role: getattr(test, role) for role in ROLES}
    truth = np.eye(test.student.shape[1], dtype=np.float32)[test.labels]
    scores = {role: metrics.measured(probs[role], truth) for role in ROLES}
    cell = Cell(
        **names,
        scores={name: {role: scores[role][name] for role in ROLES} for name in scores["student"]},
        against_weak=metrics.measured(test.student, test.supervisor),
        agreement=metrics.agreement(test.student, test.supervisor, test.labels),
        similarity={
            role: metrics.similarity(test.supervisor, probs[role], test.labels) for role in ("student", "ceiling")
        },
        reliability={role: bins_of(probs[role], test.labels) for role in ROLES},
        curve=(),
        selected_step=None,
        best_truth_step=None,
        stopping=None,
        stages=stages,
    )
    return Measured(cell, test)


def bins_of(probs: np.ndarray, labels: np.ndarray) -> Bins:
    """A reliability diagram with None where a bin is empty."""
    diagram = metrics.reliability(probs, labels)
    confidence, accuracy = (
        tuple(None if math.isnan(value) else value for value in values.tolist())
        for values in (diagram.confidence, diagram.accuracy)
    )
    return Bins(tuple(diagram.edges.tolist()), tuple(diagram.counts.tolist()), confidence, accuracy)
