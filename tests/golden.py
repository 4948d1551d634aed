"""Experiments that use every kind of supervisor, way to learn, label transform and learner, and what they gave.

`python -m tests.golden` runs them and rewrites golden.json: only when a change is meant to change predictions.
"""

import dataclasses
import hashlib
import io
import json
import platform
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

from tests import tiny
from tests.test_decomposed import write_tasks
from w2s_jax import (
    CCS,
    Advised,
    Decomposed,
    Ensemble,
    Errors,
    Experiment,
    Generative,
    Given,
    Method,
    Preference,
    Prompt,
    Recursive,
    TaskConfig,
    Train,
    Transform,
    api,
)
from w2s_jax.runtime import provenance
from w2s_jax.runtime.progress import Reporter
from w2s_jax.stages.base import Stage

FILE = Path(__file__).with_name("golden.json")

WORDED = """
from w2s_jax.data import sources, tasks
short = tasks.Task("short", "", sources.Local({path!r}), tasks.labelled_text, answers=("bad", "good"))
long = tasks.Task("long", "", sources.Local({path!r}), tasks.labelled_text, answers=("very bad", "very good"))
"""


def experiments(root: Path) -> Iterator[Experiment]:
    """Small experiments in a folder that need no network."""
    change = dataclasses.replace
    base = tiny.experiment(root / "tiny")
    reviews = [json.loads(line) for line in Path(base.tasks[0].name).read_text().splitlines()]
    yield change(
        base,
        name="finetuning",
        methods={
            "naive": Method(),
            "confidence": Method(Train("confidence")),
            "readout": Method(readout="truth_probe"),
            "prompt": Method(Prompt(shots=2)),
        },
        seeds=(0, 1),
    )
    weak, strong = (
        change(learner, parameters="probe", epochs=3) for learner in (base.supervisors["weak"], base.students["strong"])
    )
    probes = change(base, supervisors={"weak": weak}, students={"strong": strong}, seeds=(0, 1))
    yield change(
        probes,
        name="methods",
        students={"middle": change(strong, read_layer=1), "strong": strong},
        methods={
            "naive": Method(),
            "confidence": Method(Train("confidence", {"alpha": 0.75})),
            "chain": Method(through=("middle",)),
            "rounds": Method(rounds=2),
            "hint": Method(hint=True),
            "knn": Method(
                labels=(Transform("knn_filter", {"k": 5}), Transform("confidence_filter", {"share": 0.5})),
            ),
            "relabel": Method(labels=(Transform("logistic_relabel"),)),
            "random": Method(labels=(Transform("random_rows"),)),
            "resample": Method(labels=(Transform("balanced_resample"),)),
            "topo": Method(labels=(Transform("topo_filter", {"k": 5}),)),
            "overlap": Method(labels=(Transform("overlap_filter"),), rounds=2),
            "em": Method(labels=(Transform("em_posterior"),)),
            "prompt": Method(Prompt()),
            "shots": Method(Prompt(shots=3, calibrate=True)),
            "truth shots": Method(Prompt(shots=3, shown="truth")),
            "ccs": Method(CCS(tries=2, steps=20)),
            "ccs hint": Method(CCS(tries=2, steps=20), hint=True),
        },
    )
    members = (weak, change(weak, epochs=1), change(weak, epochs=2))
    answers = root / "answers.jsonl"
    given = [{"id": row["id"], "label": (row["label"] + (i % 5 == 0)) % 2} for i, row in enumerate(reviews)]
    answers.write_text("".join(json.dumps(row) + "\n" for row in given))
    advised = Advised(weak, strong, tokens=2, temperature=1.0, seed=5)
    recursive = Recursive(advised, change(strong, epochs=1), candidates=3)
    yield change(
        probes,
        name="supervisors",
        methods={"naive": Method()},
        supervisors={
            "weak": weak,
            "average": Ensemble(members),
            "bagging": Ensemble(members, "bagging"),
            "boosting": Ensemble(members, "boosting"),
            "independent": Errors(weak, "independent"),
            "longest": Errors(weak, "longest"),
            "shortest": Errors(weak, "shortest"),
            "unsure": Errors(weak, "unsure"),
            "given": Given(str(answers)),
            "advised": advised,
            "shuffled": change(advised, shuffled=True),
            "consultancy": change(advised, protocol="consultancy"),
            "judges": Ensemble((weak, advised, recursive)),
            "recursive": recursive,
            "second": change(recursive, level=2),
            "recursive shuffled": change(recursive, advised=change(advised, shuffled=True)),
        },
    )
    yield change(
        probes,
        name="several",
        supervisors={"several": Ensemble(members)},
        methods={
            "naive": Method(),
            "assign": Method(labels=(Transform("assign"),), rounds=2),
            "weights": Method(labels=(Transform("learned_weights"),)),
        },
    )
    yield change(
        probes,
        name="decomposed",
        tasks=(write_tasks(root / "parts"),),
        supervisors={"parts": Decomposed(weak), "flat": weak},
        methods={"naive": Method()},
    )
    full, adapting = change(base.students["strong"], epochs=1), Generative(learning_rate=1e-3)
    lora = change(full, parameters="lora", lora_rank=2)
    yield change(
        base,
        name="learners",
        supervisors={"weak": change(base.supervisors["weak"], epochs=1)},
        students={
            "generative": change(full, generative=adapting),
            "generative lora": change(lora, generative=adapting),
            "generative probe": change(strong, generative=adapting),
            "lora": lora,
            "head": change(full, parameters="head"),
            "micro": change(full, batch_size=16, microbatches=2, dropout=0.1),
        },
        methods={"confidence": Method(Train("confidence"))},
    )
    mine = root / "mine.py"
    mine.write_text(WORDED.format(path=base.tasks[0].name))
    for task, loss in (("short", "confidence"), ("long", "cross_entropy")):
        yield change(
            base,
            name=f"answers-{task}",
            tasks=(change(base.tasks[0], name=f"{mine}:{task}"),),
            supervisors={"weak": change(base.supervisors["weak"], epochs=1, output="text"), "probe": weak},
            students={
                "text": change(full, output="text"),
                "lora": change(lora, output="text"),
                "generative": change(full, output="text", generative=adapting),
            },
            methods={"m": Method(Train(loss))},
        )
    pairs = root / "pairs.jsonl"
    texts = [[row["text"] for row in reviews if row["label"] == label] for label in (1, 0)]
    compared = [
        {"prompt": "the", "chosen": good, "rejected": bad, "group": str(i)}
        for i, (good, bad) in enumerate(zip(*texts, strict=False))
    ]
    pairs.write_text("".join(json.dumps(row) + "\n" for row in compared))
    dpo = Preference("dpo", beta=0.5)
    yield change(
        base,
        name="pairs",
        tasks=(TaskConfig(str(pairs), supervisor=8, transfer=24, validation=8, test=8),),
        supervisors={"weak": weak},
        students={
            "reward": full,
            "probe": strong,
            "dpo": change(full, preference=dpo),
            "simpo": change(full, preference=Preference("simpo", beta=2.0)),
            "dpo lora": change(lora, preference=dpo),
        },
        methods={"naive": Method()},
    )


def run(experiment: Experiment) -> dict[str, Any]:
    """The SHA-256 of every stage's predictions and history, and each cell's accuracies and mean probabilities."""
    (done,) = api.sweep([experiment], Reporter(Console(file=io.StringIO())))
    assert done.failures == []
    assert done.results is not None
    planned = api.Planned([experiment])

    def digest(stage: Stage) -> str:
        found = planned.store.read(stage.name)
        predictions, history = found.predictions, found.history
        hashed = hashlib.sha256(json.dumps([list(predictions.ids), list(predictions.splits)]).encode())
        for array in (predictions.probs, predictions.logits, np.ascontiguousarray(history.probs)):
            hashed.update(array.tobytes())
        hashed.update(json.dumps([history.losses, history.evaluated, history.scores, history.best]).encode())
        return hashed.hexdigest()

    cells = {
        f"{cell.supervisor} | {cell.student} | {cell.method} | {cell.seed}": {
            role: [round(float(value), 6) for value in (cell.scores["accuracy"][role], cell.scores["log_loss"][role])]
            for role in ("supervisor", "student", "ceiling")
        }
        for cell in done.results.cells
    }
    bits = hashlib.sha256("".join(sorted(map(digest, planned.stages))).encode()).hexdigest()
    return {"stages": len(planned.stages), "bits": bits, "cells": cells}


def machine() -> str:
    """Where equal programs give equal bits."""
    made, cpuinfo = provenance.made(), Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    features = hashlib.sha256("".join(line for line in lines if line.startswith("flags")).encode()).hexdigest()[:12]
    packages = ", ".join(f"{name} {made['packages'][name]}" for name in ("jax", "jaxlib", "numpy"))
    return f"{made['hardware']}, {platform.machine()}, features {features}, {packages}, {len(jax.devices())} devices"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = {experiment.name: run(experiment) for experiment in experiments(Path(folder))}
    FILE.write_text(json.dumps({"machine": machine(), "experiments": found}, indent=1) + "\n")


if __name__ == "__main__":
    from tests import conftest  # noqa: F401  the tests' devices and compiler settings

    main()
