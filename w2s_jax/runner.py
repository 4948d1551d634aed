"""Runs the stages that are missing, then measures every cell."""

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from w2s_jax import experiment, materials, models, provenance
from w2s_jax.config import Experiment
from w2s_jax.data.labels import Predictions
from w2s_jax.data.splits import Split
from w2s_jax.errors import UserError
from w2s_jax.experiment import Stage, StageInputs
from w2s_jax.measure import measure
from w2s_jax.progress import Reporter
from w2s_jax.results import Results
from w2s_jax.sharding import batch_ways, make_mesh
from w2s_jax.store import Store
from w2s_jax.train import probing
from w2s_jax.train.finetune import Outcome, finetune, softmax, tokenize

WAIT_SECONDS = 1.0


class Failure(NamedTuple):
    """A stage that could not be made, and why."""

    stage: Stage
    reason: str


def run(plan: Experiment, reporter: Reporter) -> tuple[Results | None, list[Failure]]:
    """Makes whatever the experiment lacks and measures every cell that is complete.

    Returns:
      The results, None if no cell is complete; and the stages that failed.
    """
    started = time.monotonic()
    made = provenance.made()
    store = open_store(plan)
    mesh = None if jax.device_count() == 1 else make_mesh(**dataclasses.asdict(plan.mesh))
    stages = experiment.stages(plan)
    check([stage for stage in stages if not store.done(stage.folder)], mesh)
    failures = run_stages(stages, store, reporter, mesh, plan.keep_params)
    spent = {"seconds": round(time.monotonic() - started, 1), "peak_memory_bytes": provenance.peak_memory()}
    return measure(plan, store, made | spent), failures


def check(stages: list[Stage], mesh: Mesh | None) -> None:
    """Finds what would stop a stage, before any is made: that a model is there, and that it can read every text.

    Raises:
      UserError: the first problem.
    """
    for stage in stages:
        materials.check_loss(stage.method, materials.splits(stage.task, stage.seed).n_classes)
    for task, learner in dict.fromkeys((stage.task, stage.learner) for stage in stages):
        model, _ = models.outline(learner.model)
        model.cut(learner.read_layer)
        tokenize(learner, materials.texts(task))
        ways = learner.microbatches * (1 if mesh is None else batch_ways(mesh))
        if learner.parameters != "probe" and learner.batch_size % ways:
            raise UserError(
                f"batch_size {learner.batch_size} cannot be cut into {learner.microbatches} microbatches over "
                f"{ways // learner.microbatches} devices; use a multiple of {ways}"
            )


def open_store(plan: Experiment) -> Store:
    """Stages lie beside all experiments of one output folder, so that these share them."""
    return Store(Path(plan.out) / "stages")


def status(plan: Experiment) -> list[tuple[str, Stage, str]]:
    """Every stage of an experiment with its folder and whether it is `done`, `started` or `to do`."""
    store = open_store(plan)

    def state(stage: Stage) -> str:
        if store.done(stage.folder):
            return "done"
        return "started" if store.started(stage.folder) else "to do"

    return [(stage.folder, stage, state(stage)) for stage in experiment.stages(plan)]


def run_stages(
    stages: list[Stage], store: Store, reporter: Reporter, mesh: Mesh | None = None, keep_params: bool = True
) -> list[Failure]:
    """Makes every stage that is not done, each after its teacher, and never one that another process is making.

    A stage that fails does not stop the rest; the stages that learn from it are not tried.

    Returns:
      The failures, empty when everything is done.
    """
    pending, waiting = list(stages), False
    failures: dict[str, Failure] = {}
    while pending:
        before = len(pending)
        for stage in list(pending):
            if stage.teacher is not None and stage.teacher.key in failures:
                failures[stage.key] = Failure(stage, f"its supervisor failed: {stage.teacher.folder}")
                pending.remove(stage)
                continue
            if stage.teacher is not None and not store.done(stage.teacher.folder):
                continue
            with store.claim(stage.folder) as claimed:
                if not claimed:
                    continue
                if not store.done(stage.folder):
                    title = f"[{len(stages) - len(pending) + 1}/{len(stages)}] {describe(stage)}"
                    try:
                        _make(stage, store, reporter, title, mesh, keep_params)
                    except UserError as error:
                        failures[stage.key] = Failure(stage, str(error))
                        reporter.note(f"{title}: failed: {error}")
                pending.remove(stage)
        if len(pending) == before:
            if not waiting:
                reporter.note(f"waiting for another process to finish {len(pending)} stages")
            waiting = True
            time.sleep(WAIT_SECONDS)
    return list(failures.values())


def describe(stage: Stage) -> str:
    """A stage in a few words.

    For example `student smollm2-135m on cities, seed 0, confidence`.
    """
    method = f", {stage.loss}" if stage.role == "student" else ""
    return f"{stage.role} {stage.learner.model} on {stage.task.name}, seed {stage.seed}{method}"


def _make(stage: Stage, store: Store, reporter: Reporter, title: str, mesh: Mesh | None, keep_params: bool) -> None:
    started = time.monotonic()
    teacher = None if stage.teacher is None else store.read(stage.teacher.folder)
    inputs = experiment.stage_inputs(stage, None if teacher is None else teacher.predictions)
    with reporter.stage(title):
        outcome = _train(stage, inputs, store, reporter, mesh)
    predictions = _predictions(inputs.predict, outcome)
    made = provenance.made() | {"seconds": round(time.monotonic() - started, 3), "padding_share": outcome.padding_share}
    if stage.teacher is not None:
        made["teacher_predictions"] = store.predictions_hash(stage.teacher.folder)
    params = outcome.params if keep_params else None
    store.write(stage.folder, predictions, outcome.history, stage.identity, made, params)
    padding = "" if outcome.padding_share is None else f", {outcome.padding_share:.0%} of positions were padding"
    reporter.note(f"{title}: done in {made['seconds']:.0f} s{padding}")


def _train(stage: Stage, inputs: StageInputs, store: Store, reporter: Reporter, mesh: Mesh | None) -> Outcome:
    common: dict[str, Any] = {
        "loss": materials.loss(stage.method),
        "train": (inputs.train.split.texts, inputs.train.targets),
        "validation": (inputs.validation.split.texts, inputs.validation.targets),
        "predict": {name: split.texts for name, split in inputs.predict.items()},
        "seed": stage.seed,
    }
    if stage.learner.parameters == "probe":
        texts = materials.texts(stage.task)
        features = probing.features(stage.learner, texts, store.root.parent / "features", reporter.step)
        return probing.probe(stage.learner, features, **common)
    return finetune(
        stage.learner,
        models.load(stage.learner.model, read_layer=stage.learner.read_layer),
        mesh=mesh,
        folder=store.progress(stage.folder),
        progress=reporter.step,
        **common,
    )


def _predictions(splits: Mapping[str, Split], outcome: Outcome) -> Predictions:
    ids = [identifier for split in splits.values() for identifier in split.ids]
    names = [name for name, split in splits.items() for _ in split.ids]
    logits = np.concatenate([outcome.logits[name] for name in splits])
    return Predictions(ids, names, softmax(logits), logits)
