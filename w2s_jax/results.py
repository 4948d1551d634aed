"""What an experiment found, as data with a versioned schema: docs/results-schema.md says what each field is."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from w2s_jax import files, metrics
from w2s_jax.errors import UserError
from w2s_jax.metrics import PGR, Agreement, PairedTests, Statistic

SCHEMA = "w2s_jax/results/1"
FILE = "results.json"
ROLES = ("supervisor", "student", "ceiling")


@dataclass(frozen=True)
class Scores:
    """One model on the test split, against ground truth. AUROC is None where it is undefined."""

    accuracy: float
    auroc: float | None
    log_loss: float
    calibration_error: float


@dataclass(frozen=True)
class CurvePoint:
    """The student on validation after `step` steps, against its weak labels and against ground truth."""

    step: int
    weak_accuracy: float
    truth_accuracy: float
    weak_auroc: float | None
    truth_auroc: float | None


@dataclass(frozen=True)
class Bins:
    """A reliability diagram: examples, mean confidence and accuracy of each of equally wide confidence bins."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    confidence: tuple[float | None, ...]
    accuracy: tuple[float | None, ...]


@dataclass(frozen=True)
class Cell:
    """One (task, supervisor, student, method, seed).

    Attributes:
      scores: by role: supervisor, student, ceiling.
      agreement: of the student with its supervisor on the test split.
      confident_disagreement: of the student's predictions above .95, the share the supervisor contradicts above .95.
      reliability: by role.
      curve: the student on validation during training.
      selected_step: whose parameters were kept, chosen by the weak labels alone.
      best_truth_step: which ground truth would have chosen: cheating, shown for comparison.
      stages: by role, the name of the stage's folder.
    """

    task: str
    supervisor: str
    student: str
    method: str
    seed: int
    scores: Mapping[str, Scores]
    agreement: Agreement
    confident_disagreement: float | None
    reliability: Mapping[str, Bins]
    curve: tuple[CurvePoint, ...]
    selected_step: int
    best_truth_step: int
    stages: Mapping[str, str]


@dataclass(frozen=True)
class Mean:
    """Over seeds; the standard error is None for one seed."""

    value: float
    standard_error: float | None


@dataclass(frozen=True)
class Summary:
    """One (task, supervisor, student, method) over its seeds.

    Attributes:
      accuracy, auroc: by role; AUROC is empty where it is undefined for a seed.
      pgr: by statistic: accuracy, auroc.
      agreement: means over the seeds where they are defined.
    """

    task: str
    supervisor: str
    student: str
    method: str
    seeds: tuple[int, ...]
    accuracy: Mapping[str, Mean]
    auroc: Mapping[str, Mean]
    pgr: Mapping[str, PGR]
    agreement: Agreement
    calibration_error: Mapping[str, Mean]


@dataclass(frozen=True)
class Comparison:
    """A method beside the baseline, on the same seeds and test examples.

    Attributes:
      difference, low, high: of the students' test accuracy, with its 95% interval.
      p: two-sided bootstrap p-value over seeds and examples; `p_holm` is adjusted for all comparisons of the run.
      tests: classical tests over seeds alone.
    """

    task: str
    supervisor: str
    student: str
    method: str
    baseline: str
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None
    tests: PairedTests | None


@dataclass(frozen=True)
class TaskFacts:
    """What the cells of a task were measured on: examples a split, classes, and the share of each class in test."""

    name: str
    sizes: Mapping[str, int]
    n_classes: int
    test_balance: tuple[float, ...]


@dataclass(frozen=True)
class Results:
    """All that a run found, and what made it."""

    name: str
    config: Mapping[str, Any]
    made: Mapping[str, Any]
    tasks: tuple[TaskFacts, ...]
    cells: tuple[Cell, ...]
    summaries: tuple[Summary, ...]
    comparisons: tuple[Comparison, ...]
    schema: str = SCHEMA


@dataclass(frozen=True)
class Measured:
    """A cell and the test predictions behind it."""

    cell: Cell
    predictions: metrics.Cell


def measure(
    *,
    names: Mapping[str, Any],
    stages: Mapping[str, str],
    test: metrics.Cell,
    weak_validation: np.ndarray,
    truth_validation: np.ndarray,
    steps: Sequence[int],
    curve: np.ndarray,
    selected: int,
) -> Measured:
    """One cell from its arrays.

    Args:
      names: task, supervisor, student, method, seed.
      test: the three models' probabilities, ground truth and groups.
      weak_validation: the supervisor's probabilities on validation [M, C].
      truth_validation: ground truth of validation [M].
      steps, curve: when the student was evaluated, and its validation probabilities [E, M, C].
      selected: which evaluation was kept.
    """
    probs = {role: getattr(test, role) for role in ROLES}
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
    cell = Cell(
        **names,
        scores={role: _scores(probs[role], test.labels) for role in ROLES},
        agreement=metrics.agreement(test.student, test.supervisor, test.labels),
        confident_disagreement=metrics.confident_disagreement(test.student, test.supervisor),
        reliability={role: _bins(probs[role], test.labels) for role in ROLES},
        curve=points,
        selected_step=steps[selected],
        best_truth_step=max(points, key=lambda point: point.truth_accuracy).step,
        stages=stages,
    )
    return Measured(cell, test)


def summarise(measured: Sequence[Measured]) -> tuple[tuple[Summary, ...], tuple[Comparison, ...]]:
    """Summaries over seeds, and every method beside the first one."""
    grouped: dict[tuple[str, str, str], dict[str, list[Measured]]] = {}
    for item in measured:
        cell = item.cell
        methods = grouped.setdefault((cell.task, cell.supervisor, cell.student), {})
        methods.setdefault(cell.method, []).append(item)
    summaries, comparisons = [], []
    for key, methods in grouped.items():
        baseline, *others = methods
        summaries += [_summary(key, method, items) for method, items in methods.items()]
        comparisons += [_comparison(key, method, baseline, methods[method], methods[baseline]) for method in others]
    return tuple(summaries), _adjusted(comparisons)


def save(results: Results, folder: Path) -> Path:
    """Writes `results.json`."""
    import cattrs

    path = Path(folder) / FILE
    files.write_json(path, _finite(cattrs.Converter().unstructure(results)))
    return path


def load(folder: Path) -> Results:
    """Reads the `results.json` of a run's folder.

    Raises:
      UserError: there is none, or it is of another schema, or a field is missing or wrong.
    """
    import cattrs

    path = Path(folder) / FILE
    if not path.exists():
        raise UserError(f"{folder} has no {FILE}; give the folder of a finished run, like runs/quickstart")
    value = files.read_json(path)
    found = value.get("schema") if isinstance(value, dict) else None
    if found != SCHEMA:
        raise UserError(f"{path} has schema {found!r}; this version reads {SCHEMA!r}")
    try:
        return cattrs.Converter(forbid_extra_keys=True).structure(value, Results)
    except cattrs.BaseValidationError as error:
        raise UserError(f"{path} is not of schema {SCHEMA}: {'; '.join(cattrs.transform_error(error))}") from error


def _finite(value: Any) -> Any:
    """JSON has no infinities: the open end of an interval becomes null."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _scores(probs: np.ndarray, labels: np.ndarray) -> Scores:
    return Scores(
        metrics.accuracy(probs, labels),
        metrics.auroc(probs, labels),
        metrics.log_loss(probs, labels),
        metrics.calibration_error(probs, labels),
    )


def _bins(probs: np.ndarray, labels: np.ndarray) -> Bins:
    diagram = metrics.reliability(probs, labels)
    confidence, accuracy = (
        tuple(None if math.isnan(value) else value for value in values.tolist())
        for values in (diagram.confidence, diagram.accuracy)
    )
    return Bins(tuple(diagram.edges.tolist()), tuple(diagram.counts.tolist()), confidence, accuracy)


def _summary(key: tuple[str, str, str], method: str, items: Sequence[Measured]) -> Summary:
    cells = [item.cell for item in items]
    statistics: tuple[Statistic, ...] = ("accuracy", "auroc")
    return Summary(
        *key,
        method,
        tuple(cell.seed for cell in cells),
        accuracy=_means(cells, "accuracy"),
        auroc=_means(cells, "auroc"),
        pgr={statistic: metrics.pgr([item.predictions for item in items], statistic) for statistic in statistics},
        agreement=Agreement(*(_defined_mean([cell.agreement[i] for cell in cells]) for i in range(3))),  # type: ignore[arg-type]
        calibration_error=_means(cells, "calibration_error"),
    )


def _means(cells: Sequence[Cell], score: str) -> dict[str, Mean]:
    columns = {role: [getattr(cell.scores[role], score) for cell in cells] for role in ROLES}
    return {role: _mean(values) for role, values in columns.items() if None not in values}


def _mean(values: Sequence[float]) -> Mean:
    error = float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None
    return Mean(float(np.mean(values)), error)


def _defined_mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None


def _comparison(
    key: tuple[str, str, str], method: str, baseline: str, ours: Sequence[Measured], theirs: Sequence[Measured]
) -> Comparison:
    found = metrics.paired_difference([item.predictions for item in ours], [item.predictions for item in theirs])
    return Comparison(*key, method, baseline, found.value, found.low, found.high, found.p, None, found.tests)


def _adjusted(comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    tested = [comparison for comparison in comparisons if comparison.p is not None]
    adjusted = dict(zip(map(id, tested), metrics.holm([c.p for c in tested if c.p is not None]), strict=True))
    return tuple(dataclasses.replace(c, p_holm=adjusted.get(id(c))) for c in comparisons)
