"""What an experiment found, as data with a versioned schema: docs/results-schema.md says what each field is."""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from w2s_jax import metrics
from w2s_jax.evaluation.oversight import Audit, Decomposition, Sandwich
from w2s_jax.metrics import PGR, Agreement, PairedTests, Statistic
from w2s_jax.metrics.resampling import Bootstrap
from w2s_jax.runtime import files
from w2s_jax.runtime.errors import UserError

SCHEMA = "w2s_jax/results/1"
FILE = "results.json"
ROLES = ("supervisor", "student", "ceiling")
RESAMPLES = 2000  # of an interval
LEAST_TASKS = 5  # of a median's interval: from the least to the greatest of four is 87.5% at best
RESAMPLES_A_TEST = 100  # of p-values: the least of them, 2 / 100 a test, then passes Holm at .05 with room to spare
MOST_RESAMPLES = 50_000  # of p-values, for time: above 1,250 tests none can pass, which the report says


@dataclass(frozen=True)
class Scores:
    """One model on the test split, against ground truth or against weak labels.

    Attributes:
      auroc: None where it is undefined.
      calibration_error: ECE.
      confident_disagreement: CDR: of its predictions above .95, the share that the labels contradict above .95; None
        where it has none.
      over_confidence: EOE, signed: mean confidence less accuracy.
      sweep_calibration_error: ECE with as many equally full bins as keep accuracy monotone.
    """

    accuracy: float
    auroc: float | None
    log_loss: float
    calibration_error: float
    confident_disagreement: float | None = None
    over_confidence: float | None = None
    sweep_calibration_error: float | None = None


@dataclass(frozen=True)
class Stopping:
    """Validation accuracy against ground truth, by what chooses the student's step (Burns et al. 2023, figures 7, 13).

    Attributes:
      weak: the step that is best by accuracy on weak labels: early stopping without truth.
      last: the last step.
      best: the step that is best by ground truth: cheating, shown for comparison.
      supervisor, ceiling: theirs, so that each of the three has a PGR.
    """

    weak: float
    last: float
    best: float
    supervisor: float
    ceiling: float


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
      against_weak: the student's scores, with the supervisor's soft labels in place of the truth.
      similarity: CAPA of the supervisor with the student and with the ceiling, by role; None where it is undefined.
      stopping: the student by what chooses its step.
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
    against_weak: Scores | None = None
    similarity: Mapping[str, float | None] = field(default_factory=dict)
    stopping: Stopping | None = None


@dataclass(frozen=True)
class Mean:
    """Over seeds; the standard error is None for one seed."""

    value: float
    standard_error: float | None


@dataclass(frozen=True)
class FixedPGR:
    """PGR of every seed's student between fixed baselines, as Anthropic's automated researcher reports it (2026).

    Attributes:
      value, deviation: mean and standard deviation over the method's seeds; the latter None for one seed.
      supervisor, ceiling: the baselines: means over all of the run's seeds of the task and pair, whatever the method.
      seeds: how many those are.
    """

    value: float
    deviation: float | None
    supervisor: float
    ceiling: float
    seeds: int


@dataclass(frozen=True)
class Summary:
    """One (task, supervisor, student, method) over its seeds.

    Attributes:
      accuracy, auroc: by role; AUROC is empty where it is undefined for a seed.
      pgr: by statistic: accuracy, auroc. An end of its interval that is not bounded is None.
      agreement: means over the seeds where they are defined.
      reliability: by role, all seeds' test examples together.
      curve: means over seeds, at the steps where every seed was evaluated.
      stopping: accuracy on validation against ground truth: `selected`, of the student that was kept; `weak`, `last`
        and `best` (cheating), by what chooses its step; `supervisor` and `ceiling`.
      stopping_pgr: of `weak`, `last` and `best`, on validation; None where the PGR of accuracy is undefined.
      fixed_pgr: PGR of accuracy between fixed baselines; None where the PGR of accuracy is undefined.
      confident_disagreement, over_confidence, sweep_calibration_error: by role, against ground truth.
      against_weak: the student's scores with weak labels in place of the truth, by name.
      similarity: CAPA of the supervisor with student and ceiling, by role.
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
    reliability: Mapping[str, Bins]
    curve: tuple[CurvePoint, ...]
    stopping: Mapping[str, Mean]
    stopping_pgr: Mapping[str, float | None] = field(default_factory=dict)
    fixed_pgr: FixedPGR | None = None
    confident_disagreement: Mapping[str, Mean] = field(default_factory=dict)
    over_confidence: Mapping[str, Mean] = field(default_factory=dict)
    against_weak: Mapping[str, Mean] = field(default_factory=dict)
    similarity: Mapping[str, Mean] = field(default_factory=dict)
    sweep_calibration_error: Mapping[str, Mean] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """A method beside the baseline, on the same seeds and test examples.

    Attributes:
      seeds: those that both have.
      difference, low, high: of the students' test accuracy, with its 95% interval.
      p: two-sided bootstrap p-value over seeds and examples; `p_holm` is adjusted for all comparisons of the run, for
        which enough resamples are drawn that a sure difference can pass.
      tests: classical tests over seeds alone.
      reason: why there is no difference to give; None where there is.
      least_p: the least that the resamples can make `p`, before its adjustment; None in results that lack it.
    """

    task: str
    supervisor: str
    student: str
    method: str
    baseline: str
    seeds: tuple[int, ...]
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None
    tests: PairedTests | None
    reason: str | None
    least_p: float | None = None


@dataclass(frozen=True)
class Median:
    """Over the tasks where it is defined, with its 95% interval (bootstrap over tasks; None for fewer than five)."""

    value: float
    low: float | None
    high: float | None
    tasks: tuple[str, ...]


@dataclass(frozen=True)
class Across:
    """One (supervisor, student, method) over tasks, each of which counts once, with its mean over seeds.

    Attributes:
      tasks: those whose PGR of accuracy is defined.
      median_pgr: over them, as Burns et al. 2023 report it, with its 95% interval (bootstrap over tasks, five or
        more); each task's PGR is of means over seeds, so that its baselines are fixed. None where no task has one.
      difference: mean over all tasks of the student's accuracy less that of the run's first method; None for the first.
      better, worse: tasks where the method is above and below the first.
      tests: classical tests over tasks.
      p_holm: Wilcoxon's p, adjusted for all methods and pairs of the run.
      auroc: the median PGR of AUROC, as EleutherAI measure it; None where no task has one.
      tests_holm: each test's p, adjusted likewise.
    """

    supervisor: str
    student: str
    method: str
    tasks: tuple[str, ...]
    median_pgr: float | None
    low: float | None
    high: float | None
    difference: float | None
    better: int
    worse: int
    tests: PairedTests | None
    p_holm: float | None
    auroc: Median | None = None
    tests_holm: PairedTests | None = None


@dataclass(frozen=True)
class TaskFacts:
    """What the cells of a task were measured on: examples a split, classes, and the share of each class in test."""

    name: str
    sizes: Mapping[str, int]
    n_classes: int
    test_balance: tuple[float, ...]


@dataclass(frozen=True)
class Results:
    """All that a run found, and what made it.

    Attributes:
      parameters: how many a model has, by its name in the cells; of those whose number is known.
      across: every method over tasks; empty for a single task.
      sandwiches: every supervisor with an advisor beside the same supervisor alone.
      audits: every student of simulated errors, as its overseer sees it: the supervisor whose errors they stand for.
      decompositions: every student of labels of parts, beside the same judge's of whole rows.
    """

    name: str
    config: Mapping[str, Any]
    made: Mapping[str, Any]
    tasks: tuple[TaskFacts, ...]
    cells: tuple[Cell, ...]
    summaries: tuple[Summary, ...]
    comparisons: tuple[Comparison, ...]
    parameters: Mapping[str, int] = field(default_factory=dict)
    across: tuple[Across, ...] = ()
    sandwiches: tuple[Sandwich, ...] = ()
    audits: tuple[Audit, ...] = ()
    decompositions: tuple[Decomposition, ...] = ()
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
    truth = np.eye(test.student.shape[1], dtype=np.float32)[test.labels]
    best = max(points, key=lambda point: point.truth_accuracy)
    cell = Cell(
        **names,
        scores={role: _scores(probs[role], truth) for role in ROLES},
        agreement=metrics.agreement(test.student, test.supervisor, test.labels),
        confident_disagreement=metrics.confident_disagreement(test.student, test.supervisor),
        reliability={role: _bins(probs[role], test.labels) for role in ROLES},
        curve=points,
        selected_step=steps[selected],
        best_truth_step=best.step,
        stages=stages,
        against_weak=_scores(test.student, test.supervisor),
        similarity={
            role: metrics.similarity(test.supervisor, probs[role], test.labels) for role in ("student", "ceiling")
        },
        stopping=Stopping(
            weak=max(points, key=lambda point: point.weak_accuracy).truth_accuracy,
            last=points[-1].truth_accuracy,
            best=best.truth_accuracy,
            supervisor=metrics.accuracy(weak_validation, truth_validation),
            ceiling=metrics.accuracy(ceiling_validation, truth_validation),
        ),
    )
    return Measured(cell, test)


def summarise(measured: Sequence[Measured]) -> tuple[tuple[Summary, ...], tuple[Comparison, ...]]:
    """Summaries over seeds, and every method beside the first one."""
    grouped: dict[tuple[str, str, str], dict[str, list[Measured]]] = {}
    for item in measured:
        cell = item.cell
        methods = grouped.setdefault((cell.task, cell.supervisor, cell.student), {})
        methods.setdefault(cell.method, []).append(item)
    of_task = functools.lru_cache(maxsize=2)(Bootstraps)
    tests = sum(len(methods) - 1 for methods in grouped.values())
    enough = resamples_for(tests)
    summaries, comparisons = [], []
    for key, methods in grouped.items():
        baseline, *others = methods
        everywhere = [item.cell for items in methods.values() for item in items]
        draw, draw_more = of_task(key[0], RESAMPLES), of_task(key[0], enough)
        summaries += [_summary(key, method, items, everywhere, draw) for method, items in methods.items()]
        comparisons += [
            _comparison(key, method, baseline, methods[method], methods[baseline], draw_more) for method in others
        ]
    return tuple(summaries), _adjusted(comparisons)


def resamples_for(tests: int) -> int:
    """As many as the p-values of so many tests need to pass Holm's correction."""
    return min(max(RESAMPLES, RESAMPLES_A_TEST * tests), MOST_RESAMPLES)


class Bootstraps:
    """The resamples of one task's test sets: drawn once, whatever is measured on them."""

    def __init__(self, task: str, resamples: int) -> None:
        self._resamples = resamples
        self._of_seeds: dict[tuple[int, ...], Bootstrap] = {}

    def of(self, items: Sequence[Measured]) -> Bootstrap:
        seeds = tuple(item.cell.seed for item in items)
        if seeds not in self._of_seeds:
            cells = [item.predictions for item in items]
            self._of_seeds[seeds] = Bootstrap(metrics.tests(cells), self._resamples)
        return self._of_seeds[seeds]


def over_tasks(summaries: Sequence[Summary]) -> tuple[Across, ...]:
    """Every method of every pair of models over tasks; empty where there is one task only."""
    grouped: dict[tuple[str, str], dict[str, dict[str, Summary]]] = {}
    for summary in summaries:
        methods = grouped.setdefault((summary.supervisor, summary.student), {})
        methods.setdefault(summary.method, {})[summary.task] = summary
    if len({summary.task for summary in summaries}) < 2:
        return ()
    found = []
    for pair, methods in grouped.items():
        baseline = next(iter(methods.values()))
        found += [
            _over_tasks(pair, method, of_method, None if of_method is baseline else baseline)
            for method, of_method in methods.items()
        ]
    return _adjusted_over_tasks(found)


def _adjusted_over_tasks(found: Sequence[Across]) -> tuple[Across, ...]:
    """Each test's p-values, adjusted by themselves."""
    tests = [PairedTests(None, None, None) if each.tests is None else each.tests for each in found]
    adjusted = [PairedTests(*row) for row in zip(*map(metrics.holm, zip(*tests, strict=True)), strict=True)]
    return tuple(
        each if each.tests is None else dataclasses.replace(each, p_holm=holm.wilcoxon, tests_holm=holm)
        for each, holm in zip(found, adjusted, strict=True)
    )


def _over_tasks(
    pair: tuple[str, str], method: str, ours: Mapping[str, Summary], theirs: Mapping[str, Summary] | None
) -> Across:
    median = _median(ours, "accuracy")
    shared = [] if theirs is None else [task for task in ours if task in theirs]
    gains = np.round([_student(ours[task]) - _student((theirs or {})[task]) for task in shared], 12)
    return Across(
        *pair,
        method,
        () if median is None else median.tasks,
        None if median is None else median.value,
        None if median is None else median.low,
        None if median is None else median.high,
        difference=float(gains.mean()) if shared else None,
        better=int((gains > 0).sum()),
        worse=int((gains < 0).sum()),
        tests=metrics.paired_tests(gains) if shared else None,
        p_holm=None,
        auroc=_median(ours, "auroc"),
    )


def _median(summaries: Mapping[str, Summary], statistic: str) -> Median | None:
    pgr = {task: value for task, s in summaries.items() if (value := s.pgr[statistic].value) is not None}
    if not pgr:
        return None
    values = np.array(list(pgr.values()))
    low = high = None
    if len(values) >= LEAST_TASKS:
        drawn = np.random.default_rng(0).integers(0, len(values), (RESAMPLES, len(values)))
        low, high = (float(end) for end in np.quantile(np.median(values[drawn], axis=1), (0.025, 0.975)))
    return Median(float(np.median(values)), low, high, tuple(pgr))


def _student(summary: Summary) -> float:
    return summary.accuracy["student"].value


def save(results: Results, folder: Path) -> Path:
    """Writes `results.json`."""
    path = Path(folder) / FILE
    files.write_json(path, _converter().unstructure(results))
    return path


def load(folder: Path) -> Results:
    """Reads the `results.json` of a run's folder.

    Raises:
      UserError: there is none, or it is of another schema, or a field is missing, unknown or of another type.
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
        return _converter().structure(value, Results)
    except cattrs.BaseValidationError as error:
        first = cattrs.transform_error(error, "results")[0]
        raise UserError(f"{path} is not of schema {SCHEMA}: {first}") from error


def _converter() -> Any:
    """Named tuples are objects in JSON, as dataclasses are, and nothing is converted to another type in reading."""
    from cattrs import Converter, cols

    converter = Converter(forbid_extra_keys=True)
    converter.register_unstructure_hook_factory(cols.is_namedtuple, cols.namedtuple_dict_unstructure_factory)
    converter.register_structure_hook_factory(
        cols.is_namedtuple,
        lambda kind: cols.namedtuple_dict_structure_factory(kind, converter, "from_converter", True),
    )
    for kind, allowed in ((str, (str,)), (bool, (bool,)), (int, (int,)), (float, (float, int))):
        converter.register_structure_hook(kind, functools.partial(_exactly, allowed))
    return converter


def _exactly(allowed: tuple[type, ...], value: Any, kind: type) -> Any:
    if type(value) not in allowed:
        raise TypeError(f"{value!r} is not a {kind.__name__}")
    return kind(value)


def _scores(probs: np.ndarray, targets: np.ndarray) -> Scores:
    """Against soft labels; the truth is all or nothing."""
    return Scores(
        metrics.soft_accuracy(probs, targets),
        metrics.auroc(probs, np.argmax(targets, axis=-1)),
        metrics.soft_log_loss(probs, targets),
        metrics.calibration_error(probs, targets),
        metrics.confident_disagreement(probs, targets),
        metrics.over_confidence(probs, targets),
        metrics.sweep_calibration_error(probs, targets),
    )


def _bins(probs: np.ndarray, labels: np.ndarray) -> Bins:
    diagram = metrics.reliability(probs, labels)
    confidence, accuracy = (
        tuple(None if math.isnan(value) else value for value in values.tolist())
        for values in (diagram.confidence, diagram.accuracy)
    )
    return Bins(tuple(diagram.edges.tolist()), tuple(diagram.counts.tolist()), confidence, accuracy)


def _summary(
    key: tuple[str, str, str], method: str, items: Sequence[Measured], everywhere: Sequence[Cell], draw: Bootstraps
) -> Summary:
    """`everywhere`: the cells of all methods."""
    cells = [item.cell for item in items]
    predictions = [item.predictions for item in items]
    labels = np.concatenate([each.labels for each in predictions])
    pooled = {role: np.concatenate([getattr(each, role) for each in predictions]) for role in ROLES}
    statistics: tuple[Statistic, ...] = ("accuracy", "auroc")
    similarity = {role: [cell.similarity[role] for cell in cells] for role in ("student", "ceiling")}
    resampled = draw.of(items)
    pgr: dict[str, PGR] = {
        statistic: metrics.bounded(metrics.pgr(predictions, statistic, bootstrap=resampled)) for statistic in statistics
    }
    defined = pgr["accuracy"].value is not None
    stopping = _stopping(cells)
    return Summary(
        *key,
        method,
        tuple(cell.seed for cell in cells),
        accuracy=_means(cells, "accuracy"),
        auroc=_means(cells, "auroc"),
        pgr=pgr,
        agreement=Agreement(*(_defined_mean([cell.agreement[i] for cell in cells]) for i in range(3))),  # type: ignore[arg-type]
        calibration_error=_means(cells, "calibration_error"),
        reliability={role: _bins(probs, labels) for role, probs in pooled.items()},
        curve=_mean_curve([cell.curve for cell in cells]),
        stopping=stopping,
        stopping_pgr={name: _stopped_pgr(stopping, name) if defined else None for name in ("weak", "last", "best")},
        fixed_pgr=_fixed_pgr(cells, everywhere) if defined else None,
        confident_disagreement=_means(cells, "confident_disagreement"),
        over_confidence=_means(cells, "over_confidence"),
        against_weak=_against_weak(cells),
        similarity=_mean_of_each(similarity),
        sweep_calibration_error=_means(cells, "sweep_calibration_error"),
    )


def _mean_curve(curves: Sequence[Sequence[CurvePoint]]) -> tuple[CurvePoint, ...]:
    by_step = [{point.step: point for point in curve} for curve in curves]
    shared = sorted(set.intersection(*(set(points) for points in by_step)))
    return tuple(_mean_point([points[step] for points in by_step]) for step in shared)


def _mean_point(points: Sequence[CurvePoint]) -> CurvePoint:
    columns = zip(*(dataclasses.astuple(point)[1:] for point in points), strict=True)
    means = (None if None in column else float(np.mean(column)) for column in columns)
    return CurvePoint(points[0].step, *means)  # type: ignore[arg-type]


def _stopping(cells: Sequence[Cell]) -> dict[str, Mean]:
    kept = [next(p.truth_accuracy for p in cell.curve if p.step == cell.selected_step) for cell in cells]
    each = [dataclasses.asdict(cell.stopping) for cell in cells if cell.stopping is not None]
    return {"selected": _mean(kept), **{name: _mean([values[name] for values in each]) for name in each[0]}}


def _stopped_pgr(stopping: Mapping[str, Mean], name: str) -> float | None:
    return metrics.pgr_of(*(stopping[each].value for each in ("supervisor", name, "ceiling")))


def _fixed_pgr(cells: Sequence[Cell], everywhere: Sequence[Cell]) -> FixedPGR | None:
    by_seed = {cell.seed: cell.scores for cell in everywhere}
    weak, ceiling = (
        float(np.mean([scores[role].accuracy for scores in by_seed.values()])) for role in ("supervisor", "ceiling")
    )
    values = [metrics.pgr_of(weak, cell.scores["student"].accuracy, ceiling) for cell in cells]
    if None in values:
        return None
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None  # type: ignore[arg-type]
    return FixedPGR(float(np.mean(values)), deviation, weak, ceiling, len(by_seed))  # type: ignore[arg-type]


def _against_weak(cells: Sequence[Cell]) -> dict[str, Mean]:
    each = [dataclasses.asdict(cell.against_weak) for cell in cells if cell.against_weak is not None]
    return _mean_of_each({name: [values[name] for values in each] for name in each[0]})


def _means(cells: Sequence[Cell], score: str) -> dict[str, Mean]:
    columns = {role: [getattr(cell.scores[role], score) for cell in cells] for role in ROLES}
    return _mean_of_each(columns)


def _mean_of_each(columns: Mapping[str, Sequence[float | None]]) -> dict[str, Mean]:
    """What is undefined for a seed is left out."""
    return {name: _mean(values) for name, values in columns.items() if None not in values}  # type: ignore[arg-type]


def _mean(values: Sequence[float]) -> Mean:
    error = float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None
    return Mean(float(np.mean(values)), error)


def _defined_mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None


def _comparison(
    key: tuple[str, str, str],
    method: str,
    baseline: str,
    ours: Sequence[Measured],
    theirs: Sequence[Measured],
    draw: Bootstraps,
) -> Comparison:
    """A cell that failed leaves its seed out, for both methods."""
    of_method, of_baseline = ({item.cell.seed: item for item in items} for items in (ours, theirs))
    seeds = tuple(seed for seed in of_baseline if seed in of_method)
    if not seeds:
        undefined = (None, None, None, None, None, None)
        return Comparison(*key, method, baseline, (), *undefined, reason="the two methods have no seed in common")
    a, b = ([items[seed] for seed in seeds] for items in (of_method, of_baseline))
    found = metrics.paired_difference(
        [item.predictions for item in a], [item.predictions for item in b], bootstrap=draw.of(a)
    )
    return Comparison(
        *key,
        method,
        baseline,
        seeds,
        difference=found.value,
        low=found.low,
        high=found.high,
        p=found.p,
        p_holm=None,
        tests=found.tests,
        reason=found.reason,
        least_p=found.least_p,
    )


def _adjusted(comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    adjusted = metrics.holm([comparison.p for comparison in comparisons])
    return tuple(dataclasses.replace(c, p_holm=p) for c, p in zip(comparisons, adjusted, strict=True))
