"""Full finetuning and labelling of SmolLM2-135M on ragged texts, against PyTorch and transformers, in one run.

PyTorch does what its users do: the rows of a batch padded to the longest of them, then AdamW. Both take the same
weights, tokens, rows, learning rate, precision and number of threads. With `--dtype bfloat16` ours is compared with
PyTorch in float32 and with its bfloat16 autocast. Steps of the sides alternate; what is compiled is compiled before,
and its time told apart. With `--memory` each side trains once more in a process of its own, for its peak (Linux).

Labelling is compared twice: with the rows in the order they come in, as PyTorch's users take them, and with PyTorch
given our batches, which hold texts of about one length.

Texts are those of a task, or, with `--tokens`, random ids, of lengths that vary about each of the means as real
texts' do. It refuses a machine that others load.

Command:  python benchmarks/finetune.py --task cola in_domain_train.tsv      (needs torch)
          python benchmarks/finetune.py --tokens 10 25 100 250 --steps 2 --dtype bfloat16
"""

import argparse
import dataclasses
import functools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import quiet

from w2s_jax import losses, models
from w2s_jax.data import batching, tasks
from w2s_jax.data.batching import Batch, EvalBatches, TrainBatches
from w2s_jax.data.tokens import Tokens
from w2s_jax.models import export
from w2s_jax.runtime import cpu
from w2s_jax.train import prepare, reading, state
from w2s_jax.train.learner import Learner
from w2s_jax.train.optimizer import OptimizerConfig
from w2s_jax.train.outputs import HeadOutput

RATE, WEIGHT_DECAY, IDS = 1e-5, 0.01, 49_000
LEARNER = Learner(
    "smollm2-135m",
    too_long="truncate",
    batch_size=32,
    epochs=1,
    optimizer=OptimizerConfig(learning_rate=RATE, weight_decay=WEIGHT_DECAY),
)
LOSS = losses.bind(losses.cross_entropy)
Run = Callable[[Batch], np.ndarray]
Sides = dict[str, tuple[Run, Run]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", nargs=2, metavar=("NAME", "SOURCE"), help="of `w2s tasks`, and where its records lie")
    parser.add_argument("--tokens", type=int, nargs="*", default=[], help="mean lengths of random texts")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"], help="of ours")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--memory", action="store_true", help="also measure each side's peak memory")
    parser.add_argument("--busy", action="store_true", help="measure on a machine that others load, too")
    parser.add_argument("--alone", choices=["jax", "torch", "torch autocast"], help="one side trains, for its memory")
    options = parser.parse_args()
    cpu.restart_with_huge_pages()  # as `w2s` does; both sides gain by it
    learner = dataclasses.replace(LEARNER, dtype=options.dtype)
    names = ["jax", "torch"] + (["torch autocast"] if options.dtype == "bfloat16" else [])
    cases = list(texts(options))
    if options.alone:
        (tokens, targets), *_ = cases
        batches = TrainBatches(tokens, learner.batch_size, seed=0, epochs=1)
        train, _ = side(options.alone, learner, targets, len(batches))
        for index in range(len(batches)):
            train(batches[index])
        status = Path("/proc/self/status").read_text()  # getrusage would tell the parent's peak if that is higher
        print(int(status.split("VmHWM:")[1].split()[0]) / 2**20)
        return
    quiet.refuse_if_busy(options.busy)
    print(f"{learner.model}, batches of {learner.batch_size}, ours in {learner.dtype}")
    with quiet.watched():
        for tokens, targets in cases:
            batches = TrainBatches(tokens, learner.batch_size, seed=0, epochs=1)
            print(f"\n{len(tokens)} texts of {tokens.lengths.mean():.0f} tokens, {tokens.lengths.max()} at most")
            speed(tokens, batches, {name: side(name, learner, targets, len(batches)) for name in names})
        for name in names if options.memory else []:
            again = [sys.executable, *sys.argv, "--alone", name]
            found = subprocess.run(again, capture_output=True, text=True, check=True).stdout.split()[-1]
            print(f"training alone, {name}: {float(found):.2f} GiB at most")


def texts(options: argparse.Namespace) -> Iterator[tuple[Tokens, np.ndarray]]:
    """Each case's tokens and targets."""
    count, rng = options.steps * LEARNER.batch_size, np.random.default_rng(0)
    if options.task:
        examples = tasks.load(*options.task)
        picked = rng.permutation(len(examples))[:count]
        labels = [int(examples[i].label) for i in picked]
        yield reading.tokenize(LEARNER, [examples[i].text for i in picked]), one_hot(labels)
    for mean in options.tokens:
        yield random_texts(mean, count), one_hot(rng.integers(0, 2, count))


def random_texts(mean: int, count: int) -> Tokens:
    """Lengths are log-normal, as those of sentences, half to twice the mean for most."""
    rng = np.random.default_rng(mean)
    lengths = np.exp(rng.normal(scale=0.4, size=count))
    lengths = np.maximum(np.round(lengths * mean / lengths.mean()), 1).astype(np.int64)
    return Tokens(rng.integers(0, IDS, lengths.sum(), np.int32), np.concatenate([[0], np.cumsum(lengths)]))


def one_hot(labels: Any) -> np.ndarray:
    return np.eye(2, dtype=np.float32)[np.asarray(labels)]


def speed(tokens: Tokens, batches: TrainBatches, sides: Sides) -> None:
    size, trains = batches.batch_size, {name: train for name, (train, _) in sides.items()}
    labels = {name: label for name, (_, label) in sides.items()}
    plain = [
        batching.pad(tokens, np.arange(start, min(start + size, len(tokens))), size)
        for start in range(0, len(tokens), size)
    ]
    even = list(EvalBatches(tokens, size))
    first, _ = timed(lambda: [labels["jax"](batch) for batch in even])
    apart = max(float(np.abs(labels["jax"](batch) - labels["torch"](batch)).max()) for batch in even[:2])
    print(f"first labelling, compiling {first:.1f} s; logits differ from torch's by {apart:.1e} at most")
    compare("labelling, rows as they come", labels, {name: even if name == "jax" else plain for name in labels})
    compare("labelling, the same batches", labels, dict.fromkeys(labels, even))
    host, listed = timed(lambda: [batches[index] for index in range(len(batches))])
    first, _ = timed(lambda: [trains["jax"](batch) for batch in listed])
    ours = compare("training", trains, dict.fromkeys(trains, listed))
    print(f"first epoch, compiling {first:.1f} s; padding {batches.padding_share():.1%} of places; ", end="")
    print(f"making a batch takes {host / ours:.2%} of its step", flush=True)


def compare(what: str, runs: dict[str, Run], batches: dict[str, list[Batch]]) -> float:
    """Runs the sides in turn, twice, batch by batch, and returns our seconds for all batches once."""
    count = len(batches["jax"])
    seconds = np.array(
        [
            [
                [timed(functools.partial(run, batches[name][index]))[0] for name, run in runs.items()]
                for index in range(count)
            ]
            for _ in range(2)
        ]
    )
    totals = dict(zip(runs, seconds.min(axis=0).sum(axis=0), strict=True))
    rows = count * len(batches["jax"][0].rows)
    print(f"{what}: {rows / totals['jax']:.1f} examples/s here", end="")
    for index, name in enumerate(runs):
        if name != "jax":
            ratios = (seconds[..., index] / seconds[..., 0]).ravel().tolist()
            print(f"; {name} {rows / totals[name]:.1f}: {totals[name] / totals['jax']:.2f} times", end="")
            print(
                f" (of one batch {min(ratios):.2f} to {max(ratios):.2f}, median {statistics.median(ratios):.2f})",
                end="",
            )
    print(flush=True)
    return float(totals["jax"])


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    done = run()
    return time.perf_counter() - start, done


def head(width: int) -> np.ndarray:
    """Not zero, as a new head would be: the logits of both sides are compared."""
    return np.random.default_rng(0).normal(scale=0.1, size=(width, 2)).astype(np.float32)


def side(name: str, learner: Learner, targets: np.ndarray, steps: int) -> tuple[Run, Run]:
    """A training step that returns the loss, and logits."""
    if name == "jax":
        return jax_side(learner, targets, steps)
    return torch_side(learner, targets, autocast=name == "torch autocast")


def jax_side(learner: Learner, targets: np.ndarray, steps: int) -> tuple[Run, Run]:
    """What `finetune` compiles."""
    pretrained = models.load(learner.model)
    module = HeadOutput().module(learner, pretrained.config, 2, 1)
    params = models.with_pretrained(module, pretrained, rng=jax.random.key(0))
    del pretrained
    params["head"]["kernel"] = head(module.config.hidden_size)
    step, predict = prepare.steps(learner, HeadOutput(), module, (LOSS,), steps)
    held = [state.create(params, prepare.optimizer(learner, steps), jax.random.key(0))]
    del params

    def train(batch: Batch) -> np.ndarray:
        held[0], measured = step(held[0], {}, batch.tokens, batch.lengths, targets[batch.rows], batch.rows >= 0)
        return np.asarray(measured.loss)

    return train, lambda batch: np.asarray(predict(held[0].params, {}, batch.tokens, batch.lengths))


def torch_side(learner: Learner, targets: np.ndarray, autocast: bool) -> tuple[Run, Run]:
    """The same of transformers on PyTorch, read from the folder that `w2s export` writes."""
    import torch
    from transformers import AutoModelForSequenceClassification

    pretrained = models.load(learner.model)
    with tempfile.TemporaryDirectory() as folder:
        export.write(pretrained, Path(folder), head=head(pretrained.config.hidden_size), pooling="last")
        del pretrained
        model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=WEIGHT_DECAY)

    def logits(batch: Batch) -> Any:
        longest = int(batch.lengths.max())
        mask = np.arange(longest) < batch.lengths[:, None]
        ids = np.where(mask, batch.tokens[:, :longest], model.config.pad_token_id)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            return model(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask.astype(np.int64))).logits.float()

    def train(batch: Batch) -> np.ndarray:
        model.train()
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(logits(batch), torch.tensor(targets[batch.rows]))
        loss.backward()
        optimizer.step()
        return loss.detach().numpy()

    def label(batch: Batch) -> np.ndarray:
        model.eval()
        with torch.inference_mode():
            return logits(batch).numpy()

    return train, label


if __name__ == "__main__":
    main()
