"""1,000 linear probes (768 features, 2,000 rows): one compiled program against PyTorch, one probe after another.

Both run the same number of Adam steps on minibatches of 32. A "method" here is a table of targets under one loss, cross
entropy, such as another supervisor's labels or other label work: probes of another loss are another program. Three ways
in which such probes differ: 10 tables on each of 100 draws of rows; 1,000 on one draw; 1,000 draws with one each. Each
is run once before it is timed, so compilation is not counted. PyTorch fits `--torch` of them and is scaled up.

Command:  python benchmarks/probes.py
"""

import argparse
import time

import jax
import numpy as np
import torch

from w2s_jax import losses
from w2s_jax.train.probe import fit_probes

PROBES, FEATURES, ROWS, BATCH, EPOCHS = 1000, 768, 2000, 32, 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch", type=int, default=20, help="how many probes PyTorch fits")
    count = parser.parse_args().torch

    generator = np.random.default_rng(0)
    features = generator.normal(size=(ROWS, FEATURES)).astype(np.float32)
    targets = generator.dirichlet([1, 1], size=(PROBES, ROWS)).astype(np.float32)
    steps = EPOCHS * -(-ROWS // BATCH)

    with_torch(features, targets[0], steps, seed=0)
    started = time.perf_counter()
    for probe in range(count):
        with_torch(features, targets[probe], steps, seed=probe)
    theirs = (time.perf_counter() - started) / count * PROBES
    print(f"PyTorch {torch.__version__}, one after another: {theirs:.1f} s ({count} measured)")

    for draws in (100, 1, 1000):
        seeds = np.arange(PROBES) % draws
        ours(features, targets, steps, seeds)  # compiles
        started = time.perf_counter()
        ours(features, targets, steps, seeds)
        seconds = time.perf_counter() - started
        print(
            f"{draws:>5} draws x {PROBES // draws:>4} tables: {seconds:6.1f} s, {theirs / seconds:5.1f} times as fast"
        )


def ours(features: np.ndarray, targets: np.ndarray, steps: int, seeds: np.ndarray) -> None:
    fitted = fit_probes(features, targets, LOSS, steps=steps, batch_size=BATCH, seeds=seeds)
    jax.block_until_ready(fitted.weights)


def with_torch(features: np.ndarray, targets: np.ndarray, steps: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.from_numpy(features), torch.from_numpy(targets)
    x = (x - x.mean(0)) / x.std(0)
    head = torch.nn.Linear(FEATURES, 2)
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    done = 0
    while done < steps:
        for rows in torch.randperm(ROWS, generator=generator).split(BATCH):
            loss = torch.nn.functional.cross_entropy(head(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            done += 1


LOSS = losses.bind(losses.cross_entropy)

if __name__ == "__main__":
    main()
