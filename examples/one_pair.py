"""One supervisor, one student, one ceiling, from top to bottom, without a config: copy this to try what no config says.

A weak supervisor (MiniLM-L6) is finetuned on ground truth and labels held-out statements about the world's cities. A
strong student (SmolLM2-135M, read after 20 layers) learns from these soft labels, a strong ceiling from the truth, and

    PGR = (student - supervisor) / (ceiling - supervisor)

says how much of the gap the student recovers. Everything is a plain function on plain arrays.

Command:  python examples/one_pair.py     # a few minutes on 2 CPU cores; fetches two models (176 MB) once
Expect:   accuracy and AUROC of supervisor, students and ceiling, and PGR with its interval.
"""

import argparse

import numpy as np

from w2s_jax import Learner, LoopSettings, OptimizerConfig, losses, metrics, models
from w2s_jax.data import tasks
from w2s_jax.data.splits import SplitSizes, make_splits
from w2s_jax.train.finetune import finetune, softmax

options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
options.add_argument("--seed", type=int, default=0)
options.add_argument("--examples", type=int, default=640, help="of the supervisor and of the transfer split, each")
args = options.parse_args()

# ---- The data: four disjoint splits; all statements about one city are in the same one.

sizes = SplitSizes(supervisor=args.examples, transfer=args.examples, validation=100, test=500)
splits = make_splits(tasks.load("cities"), sizes, seed=args.seed)
truth = {name: np.eye(2, dtype=np.float32)[getattr(splits, name).labels] for name in sizes._fields}

# ---- The models, and how each is trained.

weak = Learner(
    "minilm-l6",
    max_tokens=64,
    epochs=2,
    optimizer=OptimizerConfig(learning_rate=2e-4, head_learning_rate=1e-2, warmup_fraction=0.1),
    loop=LoopSettings(evaluations=2),
)
strong = Learner(
    "smollm2-135m",
    read_layer=20,
    max_tokens=64,
    epochs=1,
    batch_size=16,
    optimizer=OptimizerConfig(learning_rate=1e-4, head_learning_rate=1e-3, warmup_fraction=0.1),
    loop=LoopSettings(evaluations=1),
)


def train(learner, loss, split, targets, validation_targets):
    """Finetunes a fresh copy of a learner's model, and returns its class probabilities of the other splits.

    `loss` is any function (logits [B, C], targets [B, C], *, hyperparameters) -> [B]; `losses.bind` fixes these.
    """
    outcome = finetune(
        learner,
        models.load_sharded(learner.model, None, read_layer=learner.read_layer),
        loss,
        train=(getattr(splits, split).texts, targets),
        validation=(splits.validation.texts, validation_targets),
        predict={name: getattr(splits, name).texts for name in ("transfer", "validation", "test")},
        seed=args.seed,
    )
    return {name: softmax(logits) for name, logits in outcome.logits.items()}


# ---- The experiment. The student never sees `truth`.

cross_entropy = losses.bind(losses.cross_entropy)
confidence = losses.bind(losses.confidence, alpha=0.5)

supervisor = train(weak, cross_entropy, "supervisor", truth["supervisor"], truth["validation"])
naive = train(strong, cross_entropy, "transfer", supervisor["transfer"], supervisor["validation"])
confident = train(strong, confidence, "transfer", supervisor["transfer"], supervisor["validation"])
ceiling = train(strong, cross_entropy, "transfer", truth["transfer"], truth["validation"])

# ---- What came of it, on the test split. With one seed the interval is over examples alone.

labels, groups = splits.test.labels, np.array(splits.test.groups)


def show(name, model, pgr=""):
    scores = metrics.accuracy(model["test"], labels), metrics.auroc(model["test"], labels)
    print(f"{name:12}{scores[0]:.3f}     {scores[1]:.3f}  {pgr}")


print(f"{'':12}accuracy  AUROC  PGR [95%]")
show("supervisor", supervisor)
for name, student in (("naive", naive), ("confidence", confident)):
    triple = metrics.Triple(supervisor["test"], student["test"], ceiling["test"], labels, groups)
    show(name, student, metrics.in_words(metrics.pgr([triple])))
show("ceiling", ceiling)
