"""Full finetuning and labelling of SmolLM2-135M on ragged real text, against PyTorch and transformers, in one run.

PyTorch does what its users do: the rows of a batch padded to the longest of them, then AdamW. Both take the same
weights, tokens, rows, learning rate, precision (float32) and number of threads. Steps of the two alternate, so that a
noisy machine slows both; what is compiled is compiled before, and its time told apart. Then each side trains once more
in a process of its own, for its peak memory (Linux).

Labelling is compared twice: with the rows in the order they come in, as PyTorch's users take them, and with PyTorch
given our batches, which hold texts of about one length.

Command:  python benchmarks/finetune.py cola in_domain_train.tsv      (needs torch)
"""

import argparse
import functools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from w2s_jax import losses, models
from w2s_jax.data import batching, tasks
from w2s_jax.data.batching import Batch, EvalBatches, TrainBatches
from w2s_jax.data.tokens import Tokens
from w2s_jax.models import export
from w2s_jax.train import prepare, reading, state
from w2s_jax.train.learner import Learner
from w2s_jax.train.optimizer import OptimizerConfig
from w2s_jax.train.outputs import HeadOutput

RATE, WEIGHT_DECAY = 1e-5, 0.01
LEARNER = Learner(
    "smollm2-135m",
    too_long="truncate",
    batch_size=32,
    epochs=1,
    optimizer=OptimizerConfig(learning_rate=RATE, weight_decay=WEIGHT_DECAY),
)
LOSS = losses.bind(losses.cross_entropy)
Run = Callable[[Batch], np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", help="a name from `w2s tasks`")
    parser.add_argument("source", help="where its records lie")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--alone", choices=["jax", "torch"], help="one side trains, for its peak memory")
    options = parser.parse_args()

    examples = tasks.load(options.task, options.source)
    picked = np.random.default_rng(0).permutation(len(examples))[: options.steps * LEARNER.batch_size]
    tokens = reading.tokenize(LEARNER, [examples[i].text for i in picked])
    targets = np.eye(2, dtype=np.float32)[[int(examples[i].label) for i in picked]]
    batches = TrainBatches(tokens, LEARNER.batch_size, seed=0, epochs=1)
    train, label = (torch_side if options.alone == "torch" else jax_side)(targets, len(batches))
    if options.alone:
        for index in range(len(batches)):
            train(batches[index])
        status = Path("/proc/self/status").read_text()  # getrusage would tell the parent's peak if that is higher
        print(int(status.split("VmHWM:")[1].split()[0]) / 2**20)
        return
    print(f"{len(tokens)} texts of {tokens.lengths.mean():.0f} tokens, {tokens.lengths.max()} at most")
    speed(tokens, batches, train, label, torch_side(targets, len(batches)))
    for side in ("jax", "torch"):
        found = subprocess.run([sys.executable, *sys.argv, "--alone", side], capture_output=True, text=True, check=True)
        print(f"training alone, {side}: {float(found.stdout.split()[-1]):.2f} GiB at most")


def speed(tokens: Tokens, batches: TrainBatches, train: Run, label: Run, theirs: tuple[Run, Run]) -> None:
    their_train, their_label = theirs
    in_order = [np.arange(start, start + LEARNER.batch_size) for start in range(0, len(tokens), LEARNER.batch_size)]
    plain = [batching.pad(tokens, rows, LEARNER.batch_size) for rows in in_order]
    even = list(EvalBatches(tokens, LEARNER.batch_size))
    seconds, _ = timed(lambda: [label(batch) for batch in even])
    apart = max(float(np.abs(label(batch) - their_label(batch)).max()) for batch in even[:2])
    print(f"first labelling, compiling {seconds:.1f} s; logits differ by {apart:.1e} at most")
    compare("labelling, rows as they come", zip(partials(label, even), partials(their_label, plain), strict=True))
    compare("labelling, the same batches", zip(partials(label, even), partials(their_label, even), strict=True))
    host, listed = timed(lambda: [batches[index] for index in range(len(batches))])
    first, _ = timed(lambda: [train(batch) for batch in listed])
    ours = compare("training", zip(partials(train, listed), partials(their_train, listed), strict=True))
    print(f"first epoch, compiling {first:.1f} s; padding {batches.padding_share():.1%} of places; ", end="")
    print(f"making a batch takes {host / ours:.2%} of its step")


def partials(run: Run, batches: list[Batch]) -> list[Callable[[], np.ndarray]]:
    return [functools.partial(run, batch) for batch in batches]


def compare(what: str, both: Iterable[tuple[Callable[[], Any], Callable[[], Any]]]) -> float:
    """Runs each pair twice, one after the other, and returns our seconds for all pairs once."""
    pairs = list(both)
    seconds = np.array([[[timed(run)[0] for run in pair] for pair in pairs] for _ in range(2)])
    ours, theirs = seconds.min(axis=0).sum(axis=0)
    ratios = [float(theirs / ours) for ours, theirs in seconds.reshape(-1, 2)]
    rows = len(pairs) * LEARNER.batch_size
    print(f"{what}: {rows / ours:.1f} examples/s here, {rows / theirs:.1f} PyTorch: {theirs / ours:.2f} times", end="")
    print(f" (of one batch {min(ratios):.2f} to {max(ratios):.2f}, median {statistics.median(ratios):.2f})", flush=True)
    return float(ours)


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    done = run()
    return time.perf_counter() - start, done


def head(width: int) -> np.ndarray:
    """Not zero, as a new head would be: the logits of both sides are compared."""
    return np.random.default_rng(0).normal(scale=0.1, size=(width, 2)).astype(np.float32)


def jax_side(targets: np.ndarray, steps: int) -> tuple[Run, Run]:
    """What `finetune` compiles: (a training step that returns the loss, logits)."""
    module, params = models.build_classifier(models.load(LEARNER.model), 2, rng=jax.random.key(0))
    params["head"]["kernel"] = head(module.config.hidden_size)
    step, predict = prepare.steps(LEARNER, HeadOutput(), module, LOSS, steps)
    held = [state.create(params, prepare.optimizer(LEARNER, steps), jax.random.key(0))]
    del params

    def train(batch: Batch) -> np.ndarray:
        held[0], measured = step(held[0], {}, batch.tokens, batch.lengths, targets[batch.rows], batch.rows >= 0)
        return np.asarray(measured.loss)

    return train, lambda batch: np.asarray(predict(held[0].params, {}, batch.tokens, batch.lengths))


def torch_side(targets: np.ndarray, steps: int) -> tuple[Run, Run]:
    """The same of transformers on PyTorch, read from the folder that `w2s export` writes."""
    import torch
    from transformers import AutoModelForSequenceClassification

    pretrained = models.load(LEARNER.model)
    with tempfile.TemporaryDirectory() as folder:
        export.write(pretrained, Path(folder), head=head(pretrained.config.hidden_size), pooling="last")
        del pretrained
        model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=WEIGHT_DECAY)

    def logits(batch: Batch) -> Any:
        longest = int(batch.lengths.max())
        mask = np.arange(longest) < batch.lengths[:, None]
        ids = np.where(mask, batch.tokens[:, :longest], model.config.pad_token_id)
        return model(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask.astype(np.int64))).logits

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
