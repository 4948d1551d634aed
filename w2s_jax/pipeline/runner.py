"""Runs the stages that are missing, then measures every cell.

Several processes of one job (`processes`) walk the same stages in the same order, on one mesh of all their devices.
Process 0 alone claims stages, decides what is missing, writes and measures. A stage that fails in one fails in all.
"""

import contextlib
import dataclasses
import functools
import inspect
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from w2s_jax import config, models
from w2s_jax.config import Advised, Decomposed, Ensemble, Errors, Experiment, Given, Recursive, TaskConfig
from w2s_jax.data import arrays
from w2s_jax.data.predictions import Predictions
from w2s_jax.data.tokens import flatten
from w2s_jax.evaluation.measure import measure
from w2s_jax.evaluation.results import Results
from w2s_jax.pipeline import experiment, make, materials
from w2s_jax.pipeline.experiment import Stage
from w2s_jax.pipeline.make import Workshop
from w2s_jax.pipeline.store import Store
from w2s_jax.runtime import files, processes, provenance
from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.progress import Reporter
from w2s_jax.runtime.sharding import batch_ways, make_mesh
from w2s_jax.supervisors import advice
from w2s_jax.train import answering
from w2s_jax.train.answering import Answers
from w2s_jax.train.finetune import Outcome, softmax
from w2s_jax.train.learner import Learner
from w2s_jax.train.reading import tokenize

WAIT_SECONDS = 1.0
AT_ONCE = 256  # stages claimed and made together


class Failure(NamedTuple):
    """A stage that could not be made, and why."""

    stage: Stage
    reason: str


def run(plan: Experiment, reporter: Reporter, *, traces: Path | None = None) -> tuple[Results | None, list[Failure]]:
    """Makes whatever the experiment lacks and measures every cell that is complete.

    Args:
      traces: where a few steps of every stage that trains are profiled; None profiles none.

    Returns:
      The results, None if no cell is complete, and in any process but the first of several; and the stages that
      failed.
    """
    (results,), failures = sweep([plan], reporter, traces=traces)
    return results, failures


def sweep(
    plans: Sequence[Experiment], reporter: Reporter, *, traces: Path | None = None
) -> tuple[list[Results | None], list[Failure]]:
    """Makes whatever several experiments lack, as one list of stages, and measures each.

    Raises:
      UserError: they have not one output folder and one mesh; what is wrong with a stage that is missing.
    """
    started = time.monotonic()
    made = provenance.made()
    first = plans[0]
    if any((plan.out, plan.mesh) != (first.out, first.mesh) for plan in plans):
        raise UserError("experiments of one sweep share their stages: give all of them one `out` and one `mesh`")
    store = open_store(first)
    mesh = None if jax.device_count() == 1 else make_mesh(**dataclasses.asdict(first.mesh))
    with processes.together():
        stages = all_stages(plans)
    _check_one_job(stages, store)
    missing = processes.lead(lambda: [stage.folder for stage in stages if not store.done(stage.folder)])
    with processes.together():
        check([stage for stage in stages if stage.folder in missing], mesh)
    kept = {stage.folder for plan in plans if plan.keep_params for stage in experiment.stages(plan)}
    with reporter.listening():
        failures = run_stages(stages, store, reporter, mesh, kept, traces)
    spent = {"seconds": round(time.monotonic() - started, 1), "peak_memory_bytes": provenance.peak_memory()}
    with processes.together():
        if not processes.is_leader():
            return [None] * len(plans), failures
        return [measure(plan, store, made | spent) for plan in plans], failures


def _check_one_job(stages: Sequence[Stage], store: Store) -> None:
    """That several processes were given the same experiments, and one folder.

    Raises:
      UserError: they were not.
    """
    if not processes.several():
        return
    asked = processes.gather(files.sha256_text(files.canonical([stage.folder for stage in stages])))
    if len(set(asked)) > 1:
        raise UserError("the processes of this job have different experiments, or files that differ; give all the same")
    token = store.root / ".together"
    processes.lead(lambda: files.write_text(token, asked[0]))
    shared = all(processes.gather(token.exists()))
    processes.lead(token.unlink)
    if not shared:
        raise UserError(f"{store.root} is not one folder for all processes; set --out to storage that they share")


def all_stages(plans: Sequence[Experiment]) -> list[Stage]:
    """The distinct stages of several experiments, each after those it needs."""
    return list({stage.folder: stage for plan in plans for stage in experiment.stages(plan)}.values())


def check(stages: list[Stage], mesh: Mesh | None) -> None:
    """Finds what would stop a stage, before any is made: that a model is there, and that it can read every text.

    Raises:
      UserError: the first problem.
    """
    for stage in stages:
        if stage.learner is not None and stage.method.learn == "train" and stage.role != "body":
            materials.check_loss(stage.method, materials.splits(stage.task, stage.seed).n_classes)
            _check_token_loss(stage)
        for step in stage.method.labels:
            materials.label_step(step)
        if isinstance(stage.maker, Given):
            make.given_labels(stage, stage.maker.probs)
        advised = config.advice(stage.maker)
        if advised is not None:
            answers = materials.answers(stage.task, materials.splits(stage.task, stage.seed).n_classes)
            advice.check(advised, materials.texts(stage.task), answers)
    for task, learner in dict.fromkeys((stage.task, stage.learner) for stage in stages if stage.learner is not None):
        _check_learner(task, learner, mesh)


def _answers(task: TaskConfig, learner: Learner) -> Answers:
    return answering.answers(learner, materials.answers(task, materials.named_task(task.name).n_classes))


def _check_token_loss(stage: Stage) -> None:
    """That the loss of a stage that writes answers of several tokens has a meaning for one token."""
    if stage.learner is None or stage.learner.output == "head":
        return
    several = _answers(stage.task, stage.learner).longest > 1
    if several and "where" in inspect.signature(materials.loss_function(stage.method.loss)).parameters:
        raise UserError(
            f"loss {stage.method.loss!r} compares the rows of a batch, which tokens of an answer are not: use one of "
            "single rows, such as cross_entropy, or answers of one token each, or output='head'"
        )


def _check_learner(task: TaskConfig, learner: Learner, mesh: Mesh | None) -> None:
    texts = materials.texts(task)
    if arrays.is_array(learner.model):
        if learner.parameters != "probe":
            raise UserError(f"{learner.model} holds features, which only a probe can learn from: parameters='probe'")
        arrays.rows(flatten(texts), learner.model, len(arrays.matrix(learner.model)))
        return
    model, _ = models.outline(learner.model)
    model.cut(learner.read_layer)
    if learner.output == "text":
        answering.prompts(learner, _answers(task, learner), texts)
    else:
        tokens = tokenize(learner, texts)
        if learner.preference is not None:
            models.check_preference(learner.model, model, tokens.candidates)
    ways = learner.microbatches * batch_ways(mesh)
    if learner.parameters != "probe" and learner.batch_size % ways:
        raise UserError(
            f"batch_size {learner.batch_size} cannot be cut into {learner.microbatches} microbatches over "
            f"{ways // learner.microbatches} devices; use a multiple of {ways}"
        )


def open_store(plan: Experiment) -> Store:
    """Stages lie beside all experiments of one output folder, so that these share them."""
    return Store(Path(plan.out) / "stages")


def status(plans: Sequence[Experiment]) -> list[tuple[str, Stage, str]]:
    """Every stage of the experiments with its folder and whether it is `done`, `started` or `to do`."""
    store = open_store(plans[0])

    def state(stage: Stage) -> str:
        if store.done(stage.folder):
            return "done"
        return "started" if store.started(stage.folder) else "to do"

    return [(stage.folder, stage, state(stage)) for stage in all_stages(plans)]


def run_stages(
    stages: list[Stage],
    store: Store,
    reporter: Reporter,
    mesh: Mesh | None = None,
    keep_params: Collection[str] = (),
    traces: Path | None = None,
) -> list[Failure]:
    """Makes every stage that is not done, each after those it needs, and never one that another process is making.

    A stage that fails does not stop the rest; the stages that need it are not tried.

    Args:
      keep_params: folders of the stages whose parameters are kept; those that another stage starts from always are.

    Returns:
      The failures, empty when everything is done.
    """
    crew = _Crew(stages, Workshop(store, reporter, mesh, traces), keep_params)
    waiting = False
    while crew.pending:
        crew.give_up_on_orphans()
        worked = [crew.work_on(group) for group in crew.ready()]
        if not any(worked) and crew.pending:
            if not waiting:
                reporter.note(f"waiting for another process to finish {len(crew.pending)} stages")
            waiting = True
            time.sleep(WAIT_SECONDS)
    return list(crew.failures.values())


class _Crew:
    """What remains of a list of stages, and what failed.

    Groups are decided by the whole list and not by what remains of it: how many probes are fitted together changes
    their last bits, and a run that was killed must end with the same ones.
    """

    def __init__(self, stages: list[Stage], workshop: Workshop, keep_params: Collection[str]) -> None:
        self.pending = {stage.folder: stage for stage in stages}
        self.failures: dict[str, Failure] = {}
        self._total, self._workshop = len(stages), workshop
        self._kept = {*keep_params, *(stage.body.folder for stage in stages if stage.body is not None)}
        self._groups = _groups(stages)

    def give_up_on_orphans(self) -> None:
        for stage in list(self.pending.values()):
            lost = next((need for need in stage.needs if need.folder in self.failures), None)
            if lost is not None:
                self.failures[stage.folder] = Failure(stage, f"what it learns from failed: {lost.folder}")
                del self.pending[stage.folder]

    def ready(self) -> list[list[Stage]]:
        """The groups of stages of which some are to be made, and all can be."""
        alive = [[stage for stage in group if stage.folder not in self.failures] for group in self._groups]
        return [alive[place] for place in processes.lead(lambda: self._ready(alive))]

    def _ready(self, alive: list[list[Stage]]) -> list[int]:
        done = functools.cache(self._workshop.store.done)
        return [
            place
            for place, group in enumerate(alive)
            if any(stage.folder in self.pending for stage in group)
            and all(need.folder not in self.pending and done(need.folder) for stage in group for need in stage.needs)
        ]

    def work_on(self, group: list[Stage]) -> bool:
        """Makes of the group what is missing and no other process is making. Whether there was anything."""
        with contextlib.ExitStack() as claims:
            claimed, missing = processes.lead(lambda: self._claim(group, claims))
            if missing:
                self._make(group, [stage for stage in group if stage.folder in missing])
        for folder in claimed:
            self.pending.pop(folder, None)
        return bool(claimed)

    def _claim(self, group: list[Stage], claims: contextlib.ExitStack) -> tuple[list[str], list[str]]:
        """The folders of those that are now this process's, and of those among them that are not done."""
        store = self._workshop.store
        pending = [stage for stage in group if stage.folder in self.pending]
        claimed = [stage for stage in pending if claims.enter_context(store.claim(stage.folder))]
        return [stage.folder for stage in claimed], [stage.folder for stage in claimed if not store.done(stage.folder)]

    def _make(self, group: list[Stage], missing: list[Stage]) -> None:
        first = self._total - len(self.pending) + 1
        title = f"[{first}/{self._total}] {describe(missing[0])}"
        if len(missing) > 1:
            last = first + len(missing) - 1
            title = f"[{first}-{last}/{self._total}] {describe(missing[0])} and {len(missing) - 1} more"
        started = time.monotonic()
        try:
            with processes.together():
                with self._workshop.reporter.stage(title):
                    outcomes = make.make(group, self._workshop)
                seconds = (time.monotonic() - started) / len(group)
                for stage, outcome in zip(group, outcomes, strict=True):
                    if stage in missing:
                        self._write(stage, outcome, seconds)
        except UserError as error:
            if len(group) > 1:  # one of them may have spoiled it for the others
                for stage in missing:
                    self._make([stage], [stage])
                return
            self.failures[group[0].folder] = Failure(group[0], str(error))
            self._workshop.reporter.note(f"{title}: failed: {error}")
            return
        share = outcomes[0].padding_share
        padding = "" if share is None else f", {share:.0%} of positions were padding"
        self._workshop.reporter.note(f"{title}: done in {time.monotonic() - started:.0f} s{padding}")

    def _write(self, stage: Stage, outcome: Outcome, seconds: float) -> None:
        made = provenance.made() | {"seconds": round(seconds, 3), "padding_share": outcome.padding_share}
        if stage.teacher is not None:
            made["teacher_predictions"] = self._workshop.store.predictions_hash(stage.teacher.folder)
        params = outcome.params if stage.folder in self._kept else None
        predictions = _predictions(stage, outcome)
        self._workshop.store.write(stage.folder, predictions, outcome.history, stage.identity, made, params)


def _groups(stages: list[Stage]) -> list[list[Stage]]:
    """Stages that are made together: of one batch key and one depth in the graph, in the order of the list."""
    depth: dict[str, int] = {}
    groups: dict[Any, list[Stage]] = {}
    for stage in stages:
        depth[stage.folder] = 1 + max((depth[need.folder] for need in stage.needs if need.folder in depth), default=0)
        groups.setdefault((depth[stage.folder], make.batch_key(stage)), []).append(stage)
    return [group[at : at + AT_ONCE] for group in groups.values() for at in range(0, len(group), AT_ONCE)]


def describe(stage: Stage) -> str:
    """A stage in a few words.

    For example `student smollm2-135m on cities, seed 0, confidence`.
    """
    match stage.maker:
        case Ensemble(members=members, how=how):
            what = f"{how} of {len(members)} supervisors"
        case Errors(kind=kind):
            what = f"simulated errors ({kind})"
        case Given(probs=probs):
            what = probs
        case Decomposed(judge=judge):
            what = f"{judge.model} by parts"
        case Advised(judge=judge, advisor=advisor, protocol=protocol, shuffled=shuffled):
            control = "shuffled " if shuffled else ""
            what = f"{judge.model} after a {control}{protocol} by {advisor.model}"
        case Recursive(advised=advised, level=level):
            control = "shuffled " if advised.shuffled else ""
            who = stage.learner.model if stage.learner is not None else ""
            what = f"{who} after a {control}{advised.protocol} by {advised.advisor.model}, level {level}"
            if stage.role == "student":
                what = f"{who}, reward model for level {level},"
        case learner:
            what = learner.model
    method = stage.method
    learn = "" if stage.role != "student" else f", {method.loss if method.learn == 'train' else method.learn}"
    work = "".join(f", {step.name}" for step in method.labels)
    return f"{stage.role} {what} on {stage.task.name}, seed {stage.seed}{learn}{work}"


def _predictions(stage: Stage, outcome: Outcome) -> Predictions:
    splits = experiment.stage_splits(stage).predict
    if not splits:
        nothing = np.zeros((0, 2), np.float32)
        return Predictions([], [], nothing, nothing)
    ids = [identifier for split in splits.values() for identifier in split.ids]
    names = [name for name, split in splits.items() for _ in split.ids]
    logits = np.concatenate([outcome.logits[name] for name in splits])
    return Predictions(ids, names, softmax(logits), logits)
