"""What an experiment found, as data with a versioned schema: docs/reference/results-schema.md has each field."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from w2s_jax.data.reading import Reading
from w2s_jax.metrics import PGR, Agreement, Finding, FixedPGR, MetricFacts, Over, PairedTests
from w2s_jax.runtime.origin import Origin

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd
    import pyarrow as pa

SCHEMA = "w2s_jax/results/3"
Score = float | None  # None where a metric is undefined


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
      scores: on the test split against ground truth, by metric, then by role: supervisor, student, ceiling.
      against_weak: the student's scores with the supervisor's soft labels in place of ground truth, by metric.
      agreement: of the student with its supervisor on the test split.
      similarity: CAPA of the supervisor with the student and with the ceiling, by role; None where it is undefined.
      reliability: by role.
      curve: the student on validation during training; empty for what was imported.
      selected_step: whose parameters were kept, chosen by the weak labels alone; None for what was imported.
      best_truth_step: which ground truth would have chosen: cheating, shown for comparison; likewise.
      stopping: the student by what chooses its step; likewise.
      stages: by role, the name of the stage's folder; empty for what was imported.
    """

    task: str
    supervisor: str
    student: str
    method: str
    seed: int
    scores: Mapping[str, Mapping[str, Score]]
    against_weak: Mapping[str, Score]
    agreement: Agreement
    similarity: Mapping[str, Score]
    reliability: Mapping[str, Bins]
    curve: tuple[CurvePoint, ...]
    selected_step: int | None
    best_truth_step: int | None
    stopping: Stopping | None
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
      scores: by metric, then by role; a role is missing where the metric is undefined for one of its seeds.
      against_weak: the student's, with weak labels in place of ground truth, by metric; likewise.
      pgr: by statistic: accuracy, auroc. An end of its interval that is not bounded is None.
      fixed_pgr: PGR of accuracy between fixed baselines, which are means over all of the run's seeds of the task and
        pair, whatever the method; None where the PGR of accuracy is undefined.
      agreement: means over the seeds where they are defined.
      similarity: CAPA of the supervisor with student and ceiling, by role; missing where a seed is undefined.
      reliability: by role, all seeds' test examples together.
      curve: means over seeds, at the steps where every seed was evaluated.
      stopping: accuracy on validation against ground truth: `selected`, of the student that was kept; `weak`, `last`
        and `best` (cheating), by what chooses its step; `supervisor` and `ceiling`.
      stopping_pgr: of `weak`, `last` and `best`, on validation; None where the PGR of accuracy is undefined.
    """

    task: str
    supervisor: str
    student: str
    method: str
    seeds: tuple[int, ...]
    scores: Mapping[str, Mapping[str, Mean]]
    against_weak: Mapping[str, Mean]
    pgr: Mapping[str, PGR]
    fixed_pgr: FixedPGR | None
    agreement: Agreement
    similarity: Mapping[str, Mean]
    reliability: Mapping[str, Bins]
    curve: tuple[CurvePoint, ...]
    stopping: Mapping[str, Mean]
    stopping_pgr: Mapping[str, float | None]


@dataclass(frozen=True)
class Comparison:
    """A method compared with the baseline, on the same seeds and test examples.

    Attributes:
      seeds: those that both have.
      difference, low, high: of the students' test accuracy, with its 95% interval.
      p: two-sided, over seeds and examples; None for one seed. `p_holm` is adjusted for all comparisons of the run.
      tests: classical tests over seeds alone; None for one seed.
      reason: why there is no difference to give; None where there is.
      over: what the interval is over: with one seed, `examples` alone.
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
    over: Over


@dataclass(frozen=True)
class Median:
    """Over the tasks where it is defined, with its 95% interval between order statistics (None for fewer than five)."""

    value: float
    low: float | None
    high: float | None
    tasks: tuple[str, ...]


@dataclass(frozen=True)
class Across:
    """One (supervisor, student, method) over tasks, each of which counts once, with its mean over seeds.

    Attributes:
      tasks: those whose PGR of accuracy is defined.
      median_pgr: over them, as Burns et al. 2023 report it, with its 95% interval (over tasks, five or
        more); each task's PGR is of means over seeds, so that its baselines are fixed. None where no task has one.
      difference: mean over all tasks of the student's accuracy minus the first method's; None for the first method.
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
    auroc: Median | None
    tests_holm: PairedTests | None


@dataclass(frozen=True)
class TaskFacts:
    """What a task's cells were measured on.

    Attributes:
      sizes: examples of each split.
      test_balance: the fraction of each class in test.
      reading: what became of the source's records, and which these are; None where that is not known.
      classes: what the classes are called, in order; empty where they are the places of candidates, more than 100, or
        not known.
    """

    name: str
    sizes: Mapping[str, int]
    n_classes: int
    test_balance: tuple[float, ...]
    reading: Reading | None = None
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Results:
    """All that a run found, and its provenance.

    Attributes:
      config: the whole experiment, as plain data.
      made: command, versions and hardware that made them.
      metrics: every metric of the scores, in words.
      across: every method over tasks; empty for a single task.
      parameters: how many a model has, by its name in the cells; of those whose number is known.
      pairs: every other two methods compared; their p-values are adjusted among themselves.
      findings: what supervisors of special kinds measured of themselves.
      models: where each model comes from, as a config names it, with its commit or version and its files' hashes.
    """

    name: str
    config: Mapping[str, Any]
    made: Mapping[str, Any]
    tasks: tuple[TaskFacts, ...]
    metrics: tuple[MetricFacts, ...]
    cells: tuple[Cell, ...]
    summaries: tuple[Summary, ...]
    comparisons: tuple[Comparison, ...]
    across: tuple[Across, ...]
    parameters: Mapping[str, int]
    pairs: tuple[Comparison, ...] = ()
    findings: tuple[Finding, ...] = ()
    models: Mapping[str, Origin] = field(default_factory=dict)
    schema: str = SCHEMA

    def renamed(self, name: str) -> "Results":
        """The same under another name."""
        return replace(self, name=name)

    def to_frame(self) -> "pd.DataFrame | pa.Table":
        """One row for each cell and role, with a column for every metric: see `frames.to_frame`."""
        from w2s_jax.evaluation import frames

        return frames.to_frame(self)

    def predictions(self, out: str | Path | None = None) -> "pd.DataFrame | pa.Table":
        """One row for each cell and test example, with all three models' probabilities: see `frames.predictions`.

        Args:
          out: the folder that holds `stages`; None is the one that the run wrote to.

        Raises:
          UserError: a stage or the task is not there any more, or is not what was measured.
        """
        from w2s_jax.evaluation import frames

        return frames.predictions(self, out)

    def plot(self) -> "dict[str, matplotlib.figure.Figure]":
        """The figures of the report as matplotlib figures, by name.

        Raises:
          UserError: matplotlib is not installed.
        """
        from w2s_jax.report import figures

        return {name: figure.image for name, figure in figures.of_results(self).items()}
