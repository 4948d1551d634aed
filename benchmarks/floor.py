"""How near training and labelling come to this machine's own best matrix product, and where the rest of the time goes.

The floor is the best rate of three products of the step's own sizes, measured in the same run, in float32, and for
bfloat16 with sums in float32. Achieved is what the model needs on real tokens, padding not counted: 2 FLOPs a weight
and token to label, 6 to train, and attention over real pairs. The phases are those of XLA's own trace, as shares of
the time of all threads; `kernel` is the operating system's share of the CPU time, mostly page faults, and lies within
the others. It refuses a machine that others load.

Command:  python benchmarks/floor.py --tokens 10 25 100 250
"""

import argparse
import collections
import dataclasses
import functools
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import finetune
import jax
import jax.numpy as jnp
import numpy as np
import quiet

from w2s_jax import models
from w2s_jax.data.batching import EvalBatches, TrainBatches
from w2s_jax.models.config import ModelConfig
from w2s_jax.runtime import cpu

PHASES = ("products", "attention", "elementwise", "optimizer", "copies")
REST = "waiting, host"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=finetune.LEARNER.model)
    parser.add_argument("--tokens", type=int, nargs="*", default=[10, 25, 100, 250], help="mean lengths")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--steps", type=int, default=3, help="timed steps, of which the fastest counts")
    parser.add_argument("--busy", action="store_true", help="measure on a machine that others load, too")
    options = parser.parse_args()
    cpu.restart_with_huge_pages()  # as `w2s` does
    quiet.refuse_if_busy(options.busy)
    cpu.prepare()
    with quiet.watched(), tempfile.TemporaryDirectory() as texts:
        os.environ["XLA_FLAGS"] += f" --xla_dump_to={texts} --xla_dump_hlo_as_text"
        learner = dataclasses.replace(finetune.LEARNER, model=options.model, dtype=options.dtype)
        config = models.load(options.model).config
        print(f"{options.model}, batch {learner.batch_size}, {options.dtype}, {os.cpu_count()} CPUs\n")
        print(f"| tokens | pass | s | GFLOP/s | floor | share | kernel | {' | '.join([*PHASES, REST])} |")
        print("|---" * (8 + len(PHASES)) + "|")
        for mean in options.tokens:
            tokens = finetune.random_texts(mean, learner.batch_size)
            targets = finetune.one_hot(np.arange(learner.batch_size) % 2)
            train, label = finetune.jax_side(learner, targets, 1000)
            floor = best_product(config, int(tokens.lengths.sum()), options.dtype)
            for name, run, batch, passes in (
                ("training", train, TrainBatches(tokens, learner.batch_size, seed=0, epochs=1)[0], 3),
                ("labelling", label, next(iter(EvalBatches(tokens, learner.batch_size))), 1),
            ):
                seconds, kernel, shares = measured(functools.partial(run, batch), options.steps, Path(texts))
                rate = passes * flops(config, tokens.lengths) / seconds
                parts = " | ".join(f"{shares[phase]:.0%}" for phase in [*PHASES, REST])
                print(f"| {mean} | {name} | {seconds:.2f} | {rate / 1e9:.0f} | {floor / 1e9:.0f} ", end="")
                print(f"| {rate / floor:.0%} | {kernel:.0%} | {parts} |", flush=True)


def flops(config: ModelConfig, lengths: np.ndarray) -> float:
    """Of one forward pass over the real tokens."""
    width, inner = config.hidden_size, config.n_heads * config.head_dim
    gates = 3 if config.gated else 2
    weights = 2 * width * (inner + config.n_kv_heads * config.head_dim) + gates * width * config.mlp_size
    pairs = float(np.sum(lengths.astype(float) * (lengths + 1))) / (1 if config.is_encoder else 2)
    return 2.0 * config.n_layers * (weights * float(lengths.sum()) + 2 * inner * pairs)


def best_product(config: ModelConfig, tokens: int, dtype: str) -> float:
    """FLOP/s of the fastest of the layer's products, and of a large square one."""
    sizes = [(tokens, config.hidden_size, config.mlp_size), (tokens, config.mlp_size, config.hidden_size)]
    rates = []
    for rows, inputs, outputs in [*sizes, (2048, 2048, 2048)]:
        a, b = jnp.ones((rows, inputs), dtype), jnp.ones((inputs, outputs), dtype)
        product = jax.jit(lambda a, b: jnp.matmul(a, b, preferred_element_type=jnp.float32))
        jax.block_until_ready(product(a, b))
        seconds = min(finetune.timed(functools.partial(finished, product, a, b))[0] for _ in range(30))
        rates.append(2.0 * rows * inputs * outputs / seconds)
    return max(rates)


def finished(product: Callable[..., jax.Array], *inputs: jax.Array) -> jax.Array:
    return product(*inputs).block_until_ready()


def measured(run: Callable[[], Any], steps: int, texts: Path) -> tuple[float, float, dict[str, float]]:
    """Seconds of the fastest run, the kernel's share of CPU time, and each phase's share of the threads' time.

    Args:
      texts: where XLA writes the programs that it compiles.
    """
    run()
    run()
    before = os.times()
    seconds = min(finetune.timed(run)[0] for _ in range(steps))
    after = os.times()
    user, system = after.user - before.user, after.system - before.system
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            traced, _ = finetune.timed(run)
        profile = jax.profiler.ProfileData.from_file(str(next(Path(folder).rglob("*.xplane.pb"))))
    spent = by_phase(profile, texts)
    total = traced * (os.cpu_count() or 1)
    shares = {phase: spent[phase] / total for phase in PHASES}
    return seconds, system / (user + system), {**shares, REST: 1 - sum(spent.values()) / total}


def by_phase(profile: jax.profiler.ProfileData, texts: Path) -> collections.Counter[str]:
    """Seconds that all threads together spent in a trace's operations; those that call others are left out."""
    spent: collections.Counter[str] = collections.Counter()
    known: dict[str, dict[str, str]] = {}
    for plane in profile.planes:
        for line in plane.lines:
            for event in line.events:
                told = dict(event.stats) if line.name.startswith("tf_XLA") else {}
                if "hlo_op" in told:
                    module = str(told["hlo_module"])
                    if module not in known:
                        newest = max(
                            texts.glob(f"*.{module}.*cpu_after_optimizations.txt"), key=lambda p: p.stat().st_mtime
                        )
                        known[module] = phases(newest.read_text())
                    spent[known[module].get(str(told["hlo_op"]), "calls")] += event.duration_ns / 1e9
    del spent["calls"]
    return spent


def phases(program: str) -> dict[str, str]:
    """The phase of each operation of a compiled program, by what it is and where in the model it was written."""
    found = {}
    for line in program.splitlines():
        said = re.match(r"\s*(?:ROOT )?%([\w.-]+) = .*? ([\w-]+)\(", line)
        if said is None or said[2] in ("while", "conditional", "call"):
            continue
        name, kind = said[1], said[2]
        called = re.search(r"calls=%([\w.-]+)", line)
        body = program[program.index(f"\n%{called[1]} (") :].split("\n}", 1)[0] if called else line
        origin = " ".join(re.findall(r'op_name="([^"]*)"', line) or re.findall(r'op_name="([^"]*)"', body))
        in_layers = "Classifier" in origin or "/while/" in origin
        if " dot(" in body:
            found[name] = "attention" if "bgt" in origin or "bgt" in body else "products"
        elif kind in ("copy", "broadcast", "transpose") or re.match(r"(wrapped_broadcast|copy_fusion|.*copy)", name):
            found[name] = "copies"
        elif "/attention/" in origin and "_norm" not in origin:
            found[name] = "attention"
        else:
            found[name] = "elementwise" if in_layers or "dynamic" in name else "optimizer"
    return found


if __name__ == "__main__":
    main()
