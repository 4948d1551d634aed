"""LoRA on weights that are kept in fewer bits: accuracy, bytes and time on a real task, the same seeds and examples.

Each base trains a classifier on the same labelled texts and labels the same others. Sizes are those of the arrays.

Command:  python benchmarks/lora_base.py rotten_tomatoes --seeds 3
"""

import argparse
import time

import jax
import numpy as np

from w2s_jax import losses, models
from w2s_jax.data import tasks
from w2s_jax.models.quantized import BASES
from w2s_jax.train.finetune import finetune
from w2s_jax.train.learner import Learner
from w2s_jax.train.optimizer import OptimizerConfig

LINE = "{:<9} {:>12} {:>9} {:>8}  {}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", help="a name from `w2s tasks`")
    parser.add_argument("source", nargs="?", help="where its records lie; default: the task's own source")
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--train", type=int, default=640)
    parser.add_argument("--test", type=int, default=640)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rate", type=float, default=1e-3)
    options = parser.parse_args()

    given = () if options.source is None else (options.source,)
    examples = tasks.load(options.task, *given)
    print(LINE.format("base", "backbone MB", "accuracy", "seconds", "of each seed"))
    for base in BASES:
        accuracies, started = [], time.perf_counter()
        for seed in range(options.seeds):
            picked = np.random.default_rng(seed).permutation(len(examples))[: options.train + options.test]
            texts = [examples[i].text for i in picked]
            labels = np.array([int(examples[i].label) for i in picked])
            data, test = (texts[: options.train], np.eye(2)[labels[: options.train]]), texts[options.train :]
            learner = Learner(
                options.model,
                parameters="lora",
                lora_base=base,
                too_long="truncate",
                optimizer=OptimizerConfig(learning_rate=options.rate),
            )
            start = models.load_sharded(options.model, None, base=base)
            size = sum(leaf.nbytes for leaf in jax.tree.leaves(start.params))
            check, loss = (data[0][:64], data[1][:64]), losses.bind(losses.cross_entropy)
            made = finetune(learner, start, loss, train=data, validation=check, predict={"test": test}, seed=seed)
            accuracies.append(float((made.logits["test"].argmax(-1) == labels[options.train :]).mean()))
        seconds = (time.perf_counter() - started) / options.seeds
        each = " ".join(f"{accuracy:.3f}" for accuracy in accuracies)
        print(LINE.format(base, f"{size / 1e6:.0f}", f"{np.mean(accuracies):.3f}", f"{seconds:.0f}", each), flush=True)


if __name__ == "__main__":
    main()
