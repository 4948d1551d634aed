"""Running experiments from Python: what the command line does, without printing."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from w2s_jax import config, devices, serialize
from w2s_jax.config import Experiment
from w2s_jax.data.task_config import TaskConfig
from w2s_jax.data.task_data import Tasks
from w2s_jax.evaluation import reuse, storage
from w2s_jax.evaluation.measure import measure, sizes
from w2s_jax.evaluation.results import Results
from w2s_jax.pipeline import graph, origins, overview, schedule
from w2s_jax.pipeline.graph import CellStages
from w2s_jax.pipeline.schedule import Failure
from w2s_jax.pipeline.session import Session
from w2s_jax.pipeline.store import Store
from w2s_jax.runtime import cpu, files, packaged, processes, provenance, trackers
from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.progress import Reporter
from w2s_jax.runtime.tracking import Tracker
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
      source: what the results were made from, as `evaluation.reuse` has it.
      files: those of the run's folder that an earlier run made from the same.
    """

    results: Results | None
    failures: list[Failure]
    source: str | None = None
    files: tuple[Path, ...] = ()

    def keep(self, folder: Path, written: Sequence[Path]) -> None:
        """Notes what the results and their report, now written, were made from, for a later run."""
        reuse.remember(folder, None if self.failures else self.source, written)


def run(experiment: Experiment, *, track: Sequence[str | Tracker] = (), quiet: bool = False) -> Results:
    """Runs what an experiment lacks, and returns its results, which are also saved to `<out>/<name>/results.json`.

    What was computed before is reused; a run that was stopped resumes.

    Args:
      track: trackers besides `log.jsonl`: registered names, `my_file.py:Class`, or objects.
      quiet: shows no progress on standard error.

    Raises:
      UserError: bad input, or a stage that failed; all others are done and kept then.

    Example:
      >>> import w2s_jax as w2s                                   # doctest: +SKIP
      >>> results = w2s.run(w2s.load_experiment("quickstart"))    # doctest: +SKIP
      >>> results.to_frame()                                      # doctest: +SKIP
    """
    told, folder = reporter(track, quiet=quiet), experiment.folder
    with told.trackers.run(experiment.name, serialize.to_json(experiment), folder):
        (found,) = sweep([experiment], told)
        if found.failures:
            first = found.failures[0]
            raise UserError(f"{len(found.failures)} stages failed; {first.stage.title}: {first.reason}")
        if found.results is None:
            raise UserError("only the first of several processes has results")
        path = folder / storage.FILE
        if not found.files:
            found.keep(folder, [storage.save(found.results, folder)])
        told.trackers.finish(files.read_json(path), [path])
    return found.results


def reporter(
    track: Sequence[str | Tracker] = (), *, quiet: bool = False, verbose: bool = False, log_file: Path | None = None
) -> Reporter:
    """Reports on standard error and to trackers; of several processes, only in the first.

    Args:
      track: references to trackers besides the one that writes log.jsonl.
      quiet, verbose, log_file: as `Reporter` has them.

    Raises:
      UserError: there is no such tracker.
    """
    if not processes.is_leader():
        return Reporter(quiet=True)
    named = dict.fromkeys(["jsonl", *(each for each in track if isinstance(each, str))])
    given = [each for each in track if not isinstance(each, str)]
    found = [*map(trackers.find, named), *map(trackers.find, given)]
    return Reporter(quiet=quiet, trackers=found, verbose=verbose, log_file=log_file)


def sweep(experiments: Sequence[Experiment], reporter: Reporter, *, traces: Path | None = None) -> list[Run]:
    """Runs whatever several experiments lack, as one list of stages, and measures each.

    Args:
      traces: where a few steps of every stage that trains are profiled; None profiles none.

    Raises:
      UserError: they have not one output folder and one mesh; what is wrong with a stage that is missing.
    """
    cpu.prepare()
    started = time.monotonic()
    first = experiments[0]
    if any((each.out, each.mesh, each.jobs) != (first.out, first.mesh, first.jobs) for each in experiments):
        raise UserError(
            "experiments of one sweep share their stages: give all of them one `out`, one `mesh`, and one `jobs`"
        )
    planned = Planned(experiments)
    if (reused := planned.reused()) is not None:
        return reused
    processes.lead(planned.write_graphs)
    made = provenance.made()
    session = planned.session(reporter, traces)
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
        return [planned.measured(each, made | spent, failures) for each in experiments]


def check(experiment: Experiment) -> list[str]:
    """What a run would read, in lines, after every check that it makes before it starts.

    Raises:
      UserError: what is wrong with a task or a stage.
    """
    planned = Planned([experiment])
    schedule.check(planned.stages, devices.mesh(experiment.mesh, planned.stages))
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
        self._experiments = experiments
        with processes.together():
            origins.pin(origins.read(Path(each.lock)) for each in experiments if each.lock is not None)
            self.cells: list[list[CellStages]] = [list(graph.cells(each, self.tasks)) for each in experiments]
            self.stages: list[Stage] = graph.stages([cell for cells in self.cells for cell in cells])
            for each, cells in zip(experiments, self.cells, strict=True):
                if each.lock is not None:
                    origins.read(Path(each.lock)).check(graph.stages(cells))
        self.store = open_store(experiments[0])

    def write_graphs(self) -> None:
        """Writes each experiment's stages into its folder, for those who look at the run while it goes on."""
        for each, cells in zip(self._experiments, self.cells, strict=True):
            files.write_json(each.folder / graph.FILE, graph.as_json(cells))

    def status(self) -> list[tuple[Stage, str]]:
        """Every stage, and whether it is `done`, `started`, `failed` or `to do`."""

        def state(stage: Stage) -> str:
            if self.store.done(stage.name):
                return "done"
            if self.store.failed(stage.name).exists():
                return "failed"
            return "started" if self.store.started(stage.name) else "to do"

        return [(stage, state(stage)) for stage in self.stages]

    def session(self, reporter: Reporter, traces: Path | None = None) -> Session:
        """What runs the stages, on the devices of this machine, or of all processes.

        Args:
          traces: as for `sweep`.
        """
        first = self._experiments[0]
        mesh = devices.mesh(first.mesh, self.stages)
        return Session(self.store, reporter, mesh, traces, self.tasks, first.jobs, devices.holds)

    def together(self) -> str:
        """Which of the stages that are to be done train together, in one line; empty where none do."""
        if all(self.store.done(stage.name) for stage in self.stages):
            return ""
        session = self.session(Reporter(quiet=True))
        cut = schedule.groups(self.stages, session.at_once, self.store)
        counts = [len(group) for group in cut if schedule.are_jobs(group) and not self.store.done(group[0].name)]
        several = [count for count in counts if count > 1]
        if not several:
            return ""
        return f"{sum(several)} finetunings train together, in {len(several)} groups of {max(several)} at most"

    def reused(self) -> list[Run] | None:
        """What an earlier run made, if nothing is left to do and nothing has changed since."""
        if processes.several() or not all(self.store.done(stage.name) for stage in self.stages):
            return None
        found = []
        for each, cells in zip(self._experiments, self.cells, strict=True):
            source = reuse.source(each, cells, self.tasks, self.store)
            reused = reuse.recall(each.folder, source)
            if reused is None:
                return None
            found.append(Run(reused.results, [], source, reused.files))
        return found

    def measured(self, experiment: Experiment, made: Mapping[str, Any], failures: list[Failure]) -> Run:
        """The results of one of the experiments, whose stages have run."""
        cells = self.cells[self._experiments.index(experiment)]
        found = measure(experiment, cells, self.tasks, self.store, made)
        return Run(found, failures, reuse.source(experiment, cells, self.tasks, self.store))

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
    return Store.beside_runs(experiment.out)
