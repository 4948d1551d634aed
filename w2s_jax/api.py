"""Running experiments from Python: what the command line does, without printing."""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
from jax.sharding import Mesh

from w2s_jax import config, serialize
from w2s_jax.config import Experiment
from w2s_jax.data.task_config import TaskConfig
from w2s_jax.data.task_data import Tasks
from w2s_jax.evaluation import storage
from w2s_jax.evaluation.measure import measure, sizes
from w2s_jax.evaluation.results import Results
from w2s_jax.pipeline import graph, origins, overview, schedule
from w2s_jax.pipeline.graph import CellStages
from w2s_jax.pipeline.schedule import Failure
from w2s_jax.pipeline.session import Session
from w2s_jax.pipeline.store import Store
from w2s_jax.runtime import files, packaged, processes, provenance, tracking
from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.progress import Reporter
from w2s_jax.runtime.sharding import make_mesh
from w2s_jax.stages.base import Stage
from w2s_jax.train.learner import Learner


def load_experiment(reference: str) -> Experiment:
    """The `experiment` of a config.

    Args:
      reference: a Python file, or the name of a config that ships with the package, as `w2s configs` lists them.

    Raises:
      UserError: there is no such config, or it names no experiment.
    """
    return config.load(str(packaged.find(reference)))


def load_results(folder: str | Path) -> Results:
    """The results of a finished run.

    Args:
      folder: of the run, like `runs/quickstart`.

    Raises:
      UserError: there are none, or they are of another version.
    """
    return storage.load(Path(folder))


class Run(NamedTuple):
    """What became of one experiment.

    Attributes:
      results: None if no cell is complete, and in any process but the first of several.
      failures: the stages of the whole sweep that failed.
    """

    results: Results | None
    failures: list[Failure]


def run(experiment: Experiment, *, track: Sequence[str] = (), quiet: bool = False) -> Results:
    """Runs what an experiment lacks, and returns its results, which are also saved to `<out>/<name>/results.json`.

    What was computed before is reused; a run that was stopped resumes.

    Args:
      track: trackers besides `log.jsonl`: registered names, or `my_file.py:Class`.
      quiet: shows no progress on standard error.

    Raises:
      UserError: bad input, or a stage that failed; all others are done and kept then.

    Example:
      >>> import w2s_jax as w2s                                   # doctest: +SKIP
      >>> results = w2s.run(w2s.load_experiment("quickstart"))    # doctest: +SKIP
      >>> results.to_frame()                                      # doctest: +SKIP
    """
    told, folder = reporter(track, quiet=quiet), Path(experiment.out) / experiment.name
    with told.trackers.run(experiment.name, serialize.to_json(experiment), folder):
        (found,) = sweep([experiment], told)
        if found.failures:
            first = found.failures[0]
            raise UserError(f"{len(found.failures)} stages failed; {first.stage.title}: {first.reason}")
        if found.results is None:
            raise UserError("only the first of several processes has results")
        path = storage.save(found.results, folder)
        told.trackers.finish(files.read_json(path), [path])
    return found.results


def reporter(track: Sequence[str] = (), *, quiet: bool = False) -> Reporter:
    """Reports on standard error and to trackers; of several processes, only in the first.

    Args:
      track: references to trackers besides the one that writes log.jsonl.

    Raises:
      UserError: there is no such tracker.
    """
    if not processes.is_leader():
        return Reporter(quiet=True)
    return Reporter(quiet=quiet, trackers=[tracking.find(each) for each in dict.fromkeys(["jsonl", *track])])


def sweep(experiments: Sequence[Experiment], reporter: Reporter, *, traces: Path | None = None) -> list[Run]:
    """Runs whatever several experiments lack, as one list of stages, and measures each.

    Args:
      traces: where a few steps of every stage that trains are profiled; None profiles none.

    Raises:
      UserError: they have not one output folder and one mesh; what is wrong with a stage that is missing.
    """
    started = time.monotonic()
    made = provenance.made()
    first = experiments[0]
    if any((each.out, each.mesh) != (first.out, first.mesh) for each in experiments):
        raise UserError("experiments of one sweep share their stages: give all of them one `out` and one `mesh`")
    planned = Planned(experiments)
    session = Session(planned.store, reporter, _mesh(first), traces, planned.tasks)
    schedule.check_one_job(planned.stages, planned.store)
    missing = schedule.missing(planned.stages, planned.store)
    with processes.together():
        schedule.check(missing, session.mesh)
        for each in experiments:
            sizes(each)
    kept = {
        stage.name
        for each, cells in zip(experiments, planned.cells, strict=True)
        if each.keep_params
        for stage in graph.stages(cells)
    }
    for task in dict.fromkeys(task for each in experiments for task in each.tasks):
        read = planned.tasks[task].reading
        if not read.is_whole:
            reporter.note(f"{task.title}: {read.describe()}")
    with reporter.listening():
        failures = schedule.run_stages(planned.stages, session, kept)
    spent = {"seconds": round(time.monotonic() - started, 1), "peak_memory_bytes": provenance.peak_memory()}
    with processes.together():
        if not processes.is_leader():
            return [Run(None, failures) for _ in experiments]
        pairs = zip(experiments, planned.cells, strict=True)
        return [
            Run(measure(each, cells, planned.tasks, planned.store, made | spent), failures) for each, cells in pairs
        ]


def check(experiment: Experiment) -> list[str]:
    """What a run would read, in lines, after every check that it makes before it starts.

    Raises:
      UserError: what is wrong with a task or a stage.
    """
    planned = Planned([experiment])
    schedule.check(planned.stages, _mesh(experiment))
    sizes(experiment)
    lines = []
    for each in experiment.tasks:
        task = planned.tasks[each]
        learners = [stage.learner for stage in planned.stages if stage.task is task and stage.learner is not None]
        lines += overview.describe(task, experiment.seeds[0], learners)
    lines.append(f"{len(planned.stages)} stages, all of them fit to run")
    return lines


def check_task(task: TaskConfig, models: Sequence[str] = ()) -> list[str]:
    """What a task is, in lines: what was read and left out, its classes, groups, lengths, splits and first examples.

    Args:
      models: whose tokens are counted, as a learner's `model`.

    Raises:
      UserError: the task cannot be read, or its splits cannot be drawn.
    """
    return overview.describe(Tasks()[task], 0, [Learner(model) for model in models])


def lock(experiment: Experiment) -> origins.Lock:
    """Where everything that an experiment reads comes from. All of it is fetched.

    Raises:
      UserError: a task or a model cannot be read.
    """
    return origins.Lock.of(Planned([dataclasses.replace(experiment, lock=None)]).stages)


class Planned:
    """The cells and distinct stages of several experiments, before anything runs.

    Attributes:
      cells: of each experiment.
      stages: of all, each after those it needs.
    """

    def __init__(self, experiments: Sequence[Experiment], tasks: Tasks | None = None) -> None:
        self.tasks = tasks or Tasks()
        with processes.together():
            origins.pin(origins.read(Path(each.lock)) for each in experiments if each.lock is not None)
            self.cells: list[list[CellStages]] = [list(graph.cells(each, self.tasks)) for each in experiments]
            self.stages: list[Stage] = graph.stages([cell for cells in self.cells for cell in cells])
            for each, cells in zip(experiments, self.cells, strict=True):
                if each.lock is not None:
                    origins.read(Path(each.lock)).check(graph.stages(cells))
        self.store = open_store(experiments[0])

    def status(self) -> list[tuple[Stage, str]]:
        """Every stage, and whether it is `done`, `started`, `failed` or `to do`."""

        def state(stage: Stage) -> str:
            if self.store.done(stage.name):
                return "done"
            if self.store.failed(stage.name).exists():
                return "failed"
            return "started" if self.store.started(stage.name) else "to do"

        return [(stage, state(stage)) for stage in self.stages]

    def display_names(self) -> dict[str, str]:
        """What cells call each stage that answers one, by the stage's name: `minilm-l6`, `smollm2-135m, naive`."""
        found: dict[str, dict[str, None]] = {}
        for cell in (cell for cells in self.cells for cell in cells):
            for role, stage in cell.stages.items():
                name = {"supervisor": cell.supervisor, "ceiling": cell.student}.get(role)
                name = name or f"{cell.student}, {cell.method}, taught by {cell.supervisor}"
                found.setdefault(stage.name, {})[name] = None
        return {stage: "; ".join(names) for stage, names in found.items()}


def open_store(experiment: Experiment) -> Store:
    """The stages of all experiments of one output folder, which share them."""
    return Store(Path(experiment.out) / "stages")


def _mesh(experiment: Experiment) -> Mesh | None:
    return None if jax.device_count() == 1 else make_mesh(**dataclasses.asdict(experiment.mesh))
