"""Runs the stages that are missing, then measures every cell."""

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from w2s_jax import config, experiment, materials, models, provenance
from w2s_jax.config import Experiment
from w2s_jax.data.labels import Predictions
from w2s_jax.errors import Interrupted, UserError
from w2s_jax.experiment import Role, Stage
from w2s_jax.progress import Reporter
from w2s_jax.store import Finished, Store
from w2s_jax.train import probing
from w2s_jax.train.finetune import Outcome, finetune, softmax

WAIT_SECONDS = 1.0


class Failure(NamedTuple):
    """A stage that could not be made, and why."""

    stage: Stage
    reason: str


def run_stages(stages: list[Stage], store: Store, reporter: Reporter, keep_params: bool = True) -> list[Failure]:
    """Makes every stage that is not done, each after its teacher, and never one that another process is making.

    A stage that fails does not stop the rest; the stages that learn from it are not tried.

    Returns:
      The failures, empty when everything is done.
    """
    pending, failures, waiting = list(stages), {}, False
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
                        _make(stage, store, reporter, title, keep_params)
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


def _make(stage: Stage, store: Store, reporter: Reporter, title: str, keep_params: bool) -> None:
    started = time.monotonic()
    teacher = None if stage.teacher is None else store.read(stage.teacher.folder)
    inputs = experiment.stage_inputs(stage, None if teacher is None else teacher.predictions)
    with reporter.stage(title):
        outcome = _train(stage, inputs, store, reporter)
    predictions = _predictions(inputs.predict, outcome)
    made = provenance.made() | {"seconds": round(time.monotonic() - started, 3)}
    if stage.teacher is not None:
        made["teacher_predictions"] = store.predictions_hash(stage.teacher.folder)
    store.write(stage.folder, predictions, outcome.history, stage.identity, made, outcome.params if keep_params else None)
    reporter.note(f"{title}: done in {made['seconds']:.0f} s")


def _train(stage: Stage, inputs: experiment.StageInputs, store: Store, reporter: Reporter) -> Outcome:
    common: dict[str, Any] = {
        "loss": materials.loss(stage.method),
        "train": (inputs.train.split.texts, inputs.train.targets),
        "validation": (inputs.validation.split.texts, inputs.validation.targets),
        "predict": {name: split.texts for name, split in inputs.predict.items()},
        "seed": stage.seed,
    }
    if stage.learner.parameters == "probe":
        features = materials.features(stage.task, stage.learner, store.root.parent / "features", reporter)
        return probing.probe(stage.learner, features, **common)
    return finetune(
        stage.learner,
        models.load(stage.learner.model, read_layer=stage.learner.read_layer),
        folder=store.progress(stage.folder),
        progress=reporter.step,
        **common,
    )


def _predictions(splits: Mapping[str, Any], outcome: Outcome) -> Predictions:
    ids = [identifier for split in splits.values() for identifier in split.ids]
    names = [name for name, split in splits.items() for _ in split.ids]
    logits = np.concatenate([outcome.logits[name] for name in splits])
    return Predictions(ids, names, softmax(logits), logits)
