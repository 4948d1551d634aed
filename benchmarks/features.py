"""Features of many texts, as probes read them, against sentence-transformers with its own batching, in one run.

Both read the same folder, which `w2s export` writes, and give the pooled last hidden state of every text.
sentence-transformers sorts all texts by length and pads batches of 32 to their longest. The sides alternate, each
twice: the first time ours compiles. It refuses a machine that others load.

Command:  pip install sentence-transformers
          python benchmarks/features.py                                          # all 8,530 of Rotten Tomatoes
          python benchmarks/features.py --task imdb --texts 2000 --max-tokens 256
          python benchmarks/features.py --dtype bfloat16
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import quiet

from w2s_jax import models
from w2s_jax.data import tasks
from w2s_jax.models import export
from w2s_jax.runtime import cpu
from w2s_jax.train import probing
from w2s_jax.train.learner import Learner


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="minilm-l6", help="an encoder")
    parser.add_argument("--task", default="rotten_tomatoes", help="of `w2s tasks`")
    parser.add_argument("--source", help="where the task's records lie")
    parser.add_argument("--texts", type=int, default=10_000, help="at most")
    parser.add_argument("--max-tokens", type=int, default=128, help="longer texts are truncated")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"], help="of ours")
    parser.add_argument("--times", type=int, default=2)
    parser.add_argument("--busy", action="store_true", help="measure on a machine that others load, too")
    options = parser.parse_args()
    cpu.restart_with_huge_pages()  # as `w2s` does; both sides gain by it
    examples = tasks.load(options.task, options.source)
    unique = sorted({str(example.text) for example in examples})
    order = np.random.default_rng(0).permutation(len(unique))[: options.texts]
    texts = [unique[place] for place in order]
    print(f"{options.model} on {len(texts)} texts of {options.task}, at most {options.max_tokens} tokens")
    quiet.refuse_if_busy(options.busy)
    learner = Learner(options.model, max_tokens=options.max_tokens, too_long="truncate", dtype=options.dtype)
    with tempfile.TemporaryDirectory() as folder, quiet.watched():
        sides = {"sentence-transformers": theirs(options.model, options.max_tokens, Path(folder) / "model")}
        sides["ours"] = lambda texts: ours(learner, texts, folder)
        found: dict[str, np.ndarray] = {}
        seconds: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(options.times):
            for name, run in sides.items():
                start = time.perf_counter()
                found[name] = run(texts)
                seconds[name].append(time.perf_counter() - start)
                print(f"{name}: {seconds[name][-1]:.2f} s, {len(texts) / seconds[name][-1]:.0f} texts/s", flush=True)
        apart = np.abs(found["ours"] - found["sentence-transformers"]).max()
        print(f"features differ by {apart:.1e} at most, of values up to {np.abs(found['ours']).max():.1f}")
        first, *later = [theirs / ours for theirs, ours in zip(*seconds.values(), strict=True)]
        print(f"ours is {first:.2f} times as fast while it compiles; then {', '.join(f'{each:.2f}' for each in later)}")


def ours(learner: Learner, texts: list[str], folder: str) -> np.ndarray:
    """What a probe's stage does: the model is read, texts are tokenized, and features written part by part."""
    with tempfile.TemporaryDirectory(dir=folder) as root:
        found = probing.features(learner, texts, Path(root), lambda *_: None)
        return found.matrix[found.rows(texts)]


def theirs(model: str, max_tokens: int, folder: Path) -> Callable[[list[str]], np.ndarray]:
    """`SentenceTransformer.encode`, the model being read already."""
    from sentence_transformers import SentenceTransformer

    pretrained = models.load(model)
    export.write(pretrained, folder, pooling=pretrained.config.pooling or pretrained.config.default_pooling)
    encoder = SentenceTransformer(str(folder), device="cpu")
    encoder.max_seq_length = max_tokens
    return lambda texts: encoder.encode(texts, show_progress_bar=False)


if __name__ == "__main__":
    main()
