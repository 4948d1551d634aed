"""One supervisor, one student, one ceiling, from top to bottom, without configs: copy this to try what no config can say.

A weak supervisor (the first three layers of MiniLM-L6) is finetuned on ground truth and labels held-out statements about
cities. A strong student (all six layers) learns from these soft labels, a strong ceiling from the truth, and

    PGR = (student - supervisor) / (ceiling - supervisor)

says how much of the gap the student recovers. Everything is a plain function on plain arrays.

Command:  python examples/one_pair.py          # about two minutes on 2 CPU cores; fetches one model of 84 MB once
Expect:   accuracies of supervisor, student and ceiling, agreement, and PGR with its interval.
"""

import argparse

import jax
import numpy as np

from w2s_jax import Learner, LoopSettings, OptimizerConfig, losses, metrics, models
from w2s_jax.data import tasks
from w2s_jax.data.splits import SplitSizes, make_splits
from w2s_jax.train.finetune import finetune, softmax

options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
options.add_argument("--seed", type=int, default=0)
options.add_argument("--examples", type=int, default=600, help="of the supervisor and of the transfer split each")
args = options.parse_args()

# ---- The data: four disjoint splits, all statements about a city in one of them.

sizes = SplitSizes(supervisor=args.examples, transfer=args.examples, validation=100, test=400)
splits = make_splits(tasks.load("cities"), sizes, seed=args.seed)
truth = {name: np.eye(2, dtype=np.float32)[getattr(splits, name).labels] for name in sizes._fields}

# ---- The models. `loss` is any function (logits [B, C], targets [B, C]) -> [B]; `bind` gives it its hyperparameters.

training = {
    "epochs": 2,
    "batch_size": 32,
    "optimizer": OptimizerConfig(learning_rate=2e-4, head_learning_rate=1e-2, warmup_fraction=0.1),
    "loop": LoopSettings(evaluations=2, select="accuracy"),
}
weak = Learner("minilm-l6", read_layer=3, **training)
strong = Learner("minilm-l6", **training)

cross_entropy = losses.bind(losses.cross_entropy)
confidence = losses.bind(losses.confidence, alpha=0.5)


def train(learner, loss, split, targets, validation_targets):
    """Finetunes a fresh copy of a learner's model, and returns its class probabilities of the other splits."""
    pretrained = models.load_sharded(learner.model, None, read_layer=learner.read_layer)
    outcome = finetune(
        learner,
        pretrained,
        loss,
        train=(getattr(splits, split).texts, targets),
        validation=(splits.validation.texts, validation_targets),
        predict={name: getattr(splits, name).texts for name in ("transfer", "validation", "test")},
        seed=args.seed,
    )
    return {name: softmax(logits) for name, logits in outcome.logits.items()}


# ---- The experiment. The student never sees `truth`.

supervisor = train(weak, cross_entropy, "supervisor", truth["supervisor"], truth["validation"])
students = {
    "naive": train(strong, cross_entropy, "transfer", supervisor["transfer"], supervisor["validation"]),
    "confidence": train(strong, confidence, "transfer", supervisor["transfer"], supervisor["validation"]),
}
ceiling = train(strong, cross_entropy, "transfer", truth["transfer"], truth["validation"])

# ---- What came of it, on the test split.

labels, groups = splits.test.labels, np.array(splits.test.groups)
print(f"{'':12}accuracy  AUROC  PGR [95%, over examples: this is one seed]")
print(
    f"{'supervisor':12}{metrics.accuracy(supervisor['test'], labels):.3f}     {metrics.auroc(supervisor['test'], labels):.3f}"
)
for name, student in students.items():
    triple = metrics.Triple(supervisor["test"], student["test"], ceiling["test"], labels, groups)
    pgr, agreement = metrics.pgr([triple]), metrics.agreement(student["test"], supervisor["test"], labels)
    row = f"{name:12}{metrics.accuracy(student['test'], labels):.3f}     {metrics.auroc(student['test'], labels):.3f}"
    print(f"{row}  {metrics.in_words(pgr)}; repeats {agreement.where_wrong:.0%} of the supervisor's errors")
print(f"{'ceiling':12}{metrics.accuracy(ceiling['test'], labels):.3f}     {metrics.auroc(ceiling['test'], labels):.3f}")
print(f"on {jax.devices()[0].device_kind}, seed {args.seed}")
