"""How long the training step takes to compile: 48 layers against 12, and a second start against the first.

The layers are scanned, so that a deeper model is the same program; what was compiled is kept in JAX's cache on disk.
GPT-2's sizes, 32 texts of 512 tokens. Every figure is that of a new process, the shortest of `--repeats`. Tracing is
Python's share, which no cache saves. Bars: 48 layers within 1.3 times 12; a second start within 25% of the first.

Command:  python benchmarks/compile.py
"""

import argparse
import dataclasses
import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple


class Seconds(NamedTuple):
    trace: float
    compile: float

    @property
    def total(self) -> float:
        return self.trace + self.compile


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="how often each is measured")
    repeats = parser.parse_args().repeats

    first: dict[int, Seconds] = {}
    second: dict[int, Seconds] = {}
    for layers in (12, 48):
        starts = [two_starts(layers) for _ in range(repeats)]
        first[layers] = min((start[0] for start in starts), key=lambda each: each.total)
        second[layers] = min((start[1] for start in starts), key=lambda each: each.total)

    print("layers  start   trace, s  compile, s  total, s")
    for layers in first:
        for name, found in (("first", first[layers]), ("second", second[layers])):
            print(f"{layers:>6}  {name:<6} {found.trace:9.2f} {found.compile:11.2f} {found.total:9.2f}")
    verdict("48 layers to 12, compile", first[48].compile / first[12].compile, 1.3)
    verdict("48 layers to 12, total", first[48].total / first[12].total, 1.3)
    for layers in first:
        verdict(
            f"second start to first, {layers} layers, compile", second[layers].compile / first[layers].compile, 0.25
        )
        verdict(f"second start to first, {layers} layers, total", second[layers].total / first[layers].total, 0.25)


def verdict(name: str, ratio: float, bar: float) -> None:
    print(f"{name}: {ratio:.2f} (bar {bar}): {'met' if ratio <= bar else 'MISSED'}")


def two_starts(layers: int) -> tuple[Seconds, Seconds]:
    """Of one program, in two processes that share a cache, empty at first."""
    with tempfile.TemporaryDirectory() as cache:
        return in_new_process(layers, cache), in_new_process(layers, cache)


def in_new_process(layers: int, cache: str) -> Seconds:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as worker:
        return worker.submit(start, layers, cache).result()


def start(layers: int, cache: str) -> Seconds:
    """Of tracing and compiling the training step in this process."""
    import jax

    from w2s_jax import losses
    from w2s_jax.plan import lowering
    from w2s_jax.plan.architectures import architecture
    from w2s_jax.runtime.sharding import make_mesh
    from w2s_jax.train.learner import Learner

    jax.config.update("jax_compilation_cache_dir", cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    mesh = make_mesh(devices=jax.devices()[:1])
    config = dataclasses.replace(architecture("gpt2"), n_layers=layers)
    loss = losses.bind(losses.cross_entropy)

    started = time.perf_counter()
    lowered = lowering.lower("train", Learner("gpt2"), config, 2, 1, loss, mesh).traced.lower()
    traced = time.perf_counter()
    lowered.compile()
    return Seconds(traced - started, time.perf_counter() - traced)


if __name__ == "__main__":
    main()
