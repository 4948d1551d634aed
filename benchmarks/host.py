"""What the host does for a training step, and how long the device waits for it: the loop that trains, on a real model.

`loop.fit` trains an epoch as a stage does, once to compile what it needs and once to be traced by JAX's profiler, which
says when programs execute. Beside that stands the processor time of the thread that runs the loop: batches, transfers,
dispatch, metrics, progress. It works ahead, so that most of it passes while a step executes; the bar, 5% of the fastest
step, is held against all of it. Time in which nothing executes is told too; on a machine with other work it is mostly
the operating system's.

Command:  python benchmarks/host.py cities minilm-l6 smollm2-135m
          python benchmarks/host.py creak smollm2-135m --source train.json
"""

import argparse
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from w2s_jax import losses, models
from w2s_jax.data import tasks
from w2s_jax.data.batching import TrainBatches
from w2s_jax.train import loop, prepare, reading, state
from w2s_jax.train.learner import Learner
from w2s_jax.train.outputs import HeadOutput
from w2s_jax.train.state import TrainState

BAR = 0.05
NOTHING = np.full((1, 2), 0.5, np.float32)
SETTINGS = loop.LoopSettings(evaluations=1, select="final", checkpoint_seconds=1e9)
EXECUTES = ("ThunkExecutor::Execute (wait for completion)", "ThunkExecutor::Execute")  # a program, on a CPU


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", help="a name from `w2s tasks`")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--source", help="where the task's records lie, if not with it")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=32)
    options = parser.parse_args()
    device = jax.devices()[0]
    print(f"jax {jax.__version__}, {jax.device_count()} x {device.device_kind}, batch {options.batch}")
    for model in options.models:
        Epoch(model, options).measure()


class Epoch:
    """A stage's training, from its first step to its last."""

    def __init__(self, model: str, options: argparse.Namespace) -> None:
        self.model = model
        learner = Learner(model, too_long="truncate", batch_size=options.batch, epochs=1)
        examples = tasks.load(options.task, options.source)
        picked = np.random.default_rng(0).permutation(len(examples))[: options.steps * options.batch]
        tokens = reading.tokenize(learner, [examples[i].text for i in picked])
        self.targets = np.eye(2, dtype=np.float32)[[int(examples[i].label) for i in picked]]
        self.batches = TrainBatches(tokens, options.batch, seed=0, epochs=1)
        self.tx = prepare.optimizer(learner, len(self.batches))
        module, _ = self.parameters()
        loss = losses.bind(losses.cross_entropy)
        self.step, _ = prepare.steps(learner, HeadOutput(), module, (loss,), len(self.batches))

    def parameters(self) -> tuple[Any, Any]:
        return models.build_classifier(models.load_sharded(self.model, None), 2, rng=jax.random.key(0))

    def start(self) -> TrainState:
        return jax.block_until_ready(state.create(self.parameters()[1], self.tx, jax.random.key(0), donate=True))

    def run(self, start: TrainState) -> float:
        """Trains, and returns the processor seconds of this thread."""
        started = time.thread_time()
        trained = loop.fit(
            start,
            {},
            step=self.step,
            batches=self.batches,
            targets=self.targets,
            evaluate=lambda params: NOTHING,
            validation_targets=NOTHING,
            settings=SETTINGS,
        )
        spent = time.thread_time() - started
        jax.block_until_ready(trained.params)
        return spent

    def measure(self) -> None:
        self.run(self.start())
        start = self.start()
        options = jax.profiler.ProfileOptions()
        options.python_tracer_level = 0
        with tempfile.TemporaryDirectory() as folder:
            with jax.profiler.trace(folder, profiler_options=options):
                host = self.run(start) / len(self.batches)
            spans = executed(Path(folder))
        busy, whole = covered(spans)
        mean = busy / len(self.batches)
        fastest = min((end - begin for begin, end in spans if end - begin > mean / 10), default=mean)
        share = host / fastest
        print(f"{self.model}: {len(self.batches)} steps of {whole / len(self.batches) * 1e3:.0f} ms, ", end="")
        print(f"the fastest {fastest * 1e3:.0f}; nothing executes for {1 - busy / whole:.2%} of the time;")
        print(f"  the host works {host * 1e3:.2f} ms a step, {share:.2%} of the fastest ", end="")
        print(f"(bar {BAR:.0%}): {'met' if share <= BAR else 'MISSED'}", flush=True)


def executed(folder: Path) -> list[tuple[float, float]]:
    """When programs ran, as (start, end) in seconds: on the accelerator if there is one."""
    (path,) = folder.rglob("*.xplane.pb")
    planes = list(jax.profiler.ProfileData.from_file(str(path)).planes)
    on_device = [plane for plane in planes if plane.name.startswith(("/device:GPU", "/device:TPU"))]
    events = [event for plane in on_device for line in plane.lines for event in line.events]
    if not on_device:
        lines = [line for plane in planes for line in plane.lines if line.name.startswith("tf_XLAPjRtCpuClient")]
        events = [event for line in lines for event in line.events if event.name in EXECUTES]
    return [(event.start_ns / 1e9, event.end_ns / 1e9) for event in events]


def covered(spans: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """The length of the union of the spans, and from the start of the first to the end of the last."""
    ordered = sorted(spans)
    total, end = 0.0, ordered[0][0]
    for start, stop in ordered:
        total += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return total, end - ordered[0][0]


if __name__ == "__main__":
    main()
