"""One small run in a process of its own, for tests of determinism: prints the SHA-256 of every stage's bits.

`python -m tests.determinism FOLDER` makes small models and a task in FOLDER, where they are not there yet, and
runs what is not done.
"""

import dataclasses
import hashlib
import json
import sys
from pathlib import Path

import numpy as np

from tests import tiny
from w2s_jax import Experiment, Method, Train, api


def experiment(folder: Path) -> Experiment:
    """Finetuning of all weights, packed as it always is, with dropout and microbatches; LoRA; and probes.

    The confidence loss, whose threshold is that of the whole batch, for students; ceilings learn by cross-entropy.
    """
    change = dataclasses.replace
    plan = tiny.experiment(folder, checkpoint_seconds=0.0)
    wide = folder / "wide"
    if not wide.exists():
        tiny.llama(wide, layers=2, width=128)
    full = change(plan.students["strong"], model=str(wide))
    return change(
        plan,
        supervisors={"weak": change(plan.supervisors["weak"], parameters="probe", epochs=3)},
        students={
            "micro": change(full, batch_size=16, microbatches=2, dropout=0.1),
            "lora": change(full, parameters="lora", lora_rank=4),
            "probe": change(full, parameters="probe"),
        },
        methods={"confidence": Method(Train("confidence"))},
        seeds=(0,),
    )


def bits(plan: Experiment) -> dict[str, str]:
    """The SHA-256 of what every stage predicts and of how it was trained, by its key."""
    planned, found = api.Planned([plan]), {}
    for stage in planned.stages:
        done = planned.store.read(stage.name)
        hashed = hashlib.sha256()
        for array in (done.predictions.probs, done.predictions.logits, done.history.probs):
            hashed.update(np.ascontiguousarray(array).tobytes())
        hashed.update(json.dumps([done.history.losses, done.history.best]).encode())
        found[stage.key] = hashed.hexdigest()
    return found


if __name__ == "__main__":
    plan = experiment(Path(sys.argv[1]))
    tiny.run(plan)
    print(json.dumps(bits(plan)))
