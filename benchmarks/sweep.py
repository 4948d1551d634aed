"""A sweep {3 models, all i <= j pairs, 2 losses, 3 seeds} against every one of its 36 cells run alone.

The models are MiniLM-L6 read after 2, 4 and 6 layers, under linear heads, on 600 statements about cities. Every cell
alone computes its own features, supervisor and ceiling in a folder of its own, in this process, which keeps what it
compiled: so start-up and compilation, which a cell alone would pay too, are left out.

Command:  python benchmarks/sweep.py
"""

import dataclasses
import io
import tempfile
import time
from pathlib import Path

from rich.console import Console

from w2s_jax import Experiment, Learner, Method, OptimizerConfig, TaskConfig, Train, api
from w2s_jax.runtime.progress import Reporter

heads = OptimizerConfig(learning_rate=3e-3, weight_decay=0.3)
models = {
    f"layer {layer}": Learner("minilm-l6", parameters="probe", read_layer=layer, epochs=10, optimizer=heads)
    for layer in (2, 4, 6)
}
task = TaskConfig("cities", pool=600, supervisor=160, transfer=160, validation=40, test=200)
grid = Experiment(
    name="grid",
    tasks=(task,),
    supervisors=models,
    students=models,
    methods={"naive": Method(), "confidence": Method(Train("confidence"))},
    pairs="ladder",
    seeds=(0, 1, 2),
)


def alone() -> list[Experiment]:
    return [
        dataclasses.replace(
            grid,
            supervisors={supervisor: models[supervisor]},
            students={student: models[student]},
            methods={method: grid.methods[method]},
            pairs="all",
            seeds=(seed,),
        )
        for supervisor, student in grid.model_pairs()
        for method in grid.methods
        for seed in grid.seeds
    ]


def seconds(experiments: list[Experiment]) -> float:
    """Of running these one after another, each in a folder of its own."""
    total = 0.0
    for experiment in experiments:
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            (found,) = api.sweep([dataclasses.replace(experiment, out=str(Path(folder)))], quiet)
            total += time.perf_counter() - started
            assert not found.failures
    return total


quiet = Reporter(Console(file=io.StringIO()))

if __name__ == "__main__":
    cells = alone()
    seconds([*cells[:1], grid])  # compiles
    apart, together = seconds(cells), seconds([grid])
    print(f"{len(cells)} cells alone: {apart:.1f} s; as one sweep: {together:.1f} s; share {together / apart:.0%}")
