"""Linear probes: features of a frozen model, computed once and cached, and heads trained on them."""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float

from w2s_jax import metrics, models
from w2s_jax.data import arrays
from w2s_jax.data.batching import EvalBatches
from w2s_jax.data.tokens import Text, flatten
from w2s_jax.losses.base import BoundLoss
from w2s_jax.models import Pretrained
from w2s_jax.models.params import Params
from w2s_jax.runtime import files, processes, sharding
from w2s_jax.runtime.errors import UserError
from w2s_jax.train.finetune import Outcome, Problem, softmax
from w2s_jax.train.learner import Learner
from w2s_jax.train.loop import History, Progress
from w2s_jax.train.prepare import EVAL_BATCH
from w2s_jax.train.probe import fit_probes, predict_probes
from w2s_jax.train.reading import tokenize
from w2s_jax.train.step import make_predict

PART = 512


class Body(NamedTuple):
    """A backbone that an earlier stage trained.

    Attributes:
      key: SHA-256 of the stage's inputs.
      load: reads it onto the devices.
    """

    key: str
    load: Callable[[], Pretrained]


class Features(NamedTuple):
    """One row of features for each text; of examples of more than two candidates one for each of these."""

    matrix: Float[np.ndarray, "n *k d"]
    row: Mapping[Text, int]

    def rows(self, texts: Sequence[Text]) -> np.ndarray:
        return np.array([self.row[text] for text in texts], np.int32)


def features(
    learner: Learner,
    texts: Sequence[Text],
    root: Path,
    progress: Progress,
    body: Body | None = None,
    mesh: Mesh | None = None,
) -> Features:
    """The pooled hidden states of every text, read from `root` as far as they were computed before.

    Of an example of two candidates, the features are those of the second minus those of the first, so that a linear
    head on them compares two scores (Burns et al. 2023, App. A.3); of more, those of each. Parts of `PART` texts are
    written one by one, so that a killed process loses at most one. Several processes compute them together, and the
    first writes.

    Args:
      mesh: the devices to shard parameters and batches over; None is one device.

    Raises:
      UserError: a cached part was truncated or edited.
    """
    if arrays.is_array(learner.model):
        matrix = arrays.matrix(learner.model)
        return Features(matrix, dict(zip(texts, arrays.rows(flatten(texts), learner.model, len(matrix)), strict=True)))
    unique = sorted(set(flatten(texts)))
    what = {
        "model": models.fingerprint(learner.model),
        "body": None if body is None else body.key,
        "read_layer": learner.read_layer,
        "pooling": learner.pooling,
        "max_tokens": learner.max_tokens,
        "too_long": learner.too_long,
        "dtype": learner.dtype,
        "texts": files.sha256_text(files.canonical(unique)),
    }
    folder = root / files.sha256_text(files.canonical(what))[:16]
    starts = range(0, len(unique), PART)
    missing = processes.lead(lambda: [s for s in starts if not _part(folder, s).with_suffix(".json").exists()])
    if missing:
        _compute(learner, unique, folder, missing, progress, body, mesh)
    matrix = np.concatenate([_read(_part(folder, start)) for start in starts])
    return _compared(Features(matrix, {text: row for row, text in enumerate(unique)}), texts)


def probe(learner: Learner, features: Features, loss: BoundLoss, problems: Sequence[Problem]) -> list[Outcome]:
    """Trains a linear head on each problem, all those of one length at once, and labels its texts."""
    steps = [learner.epochs * -(-len(problem.train[0]) // learner.batch_size) for problem in problems]
    outcomes: dict[int, Outcome] = {}
    for length in sorted(set(steps)):
        places = [place for place, count in enumerate(steps) if count == length]
        fitted = _probe(learner, features, loss, [problems[place] for place in places], length)
        outcomes |= dict(zip(places, fitted, strict=True))
    return [outcomes[place] for place in range(len(problems))]


def _probe(
    learner: Learner, features: Features, loss: BoundLoss, problems: Sequence[Problem], steps: int
) -> list[Outcome]:
    most = max(len(problem.train[0]) for problem in problems)
    rows = np.full((len(problems), most), -1, np.int32)
    targets = np.zeros((len(problems), most, problems[0].train[1].shape[-1]), np.float32)
    for place, (texts, labels) in enumerate(problem.train for problem in problems):
        rows[place, : len(texts)] = features.rows(texts)
        targets[place, : len(texts)] = labels
    fitted = fit_probes(
        features.matrix,
        targets,
        loss,
        steps=steps,
        batch_size=learner.batch_size,
        learning_rate=learner.optimizer.learning_rate,
        weight_decay=learner.optimizer.weight_decay,
        rows=rows,
        seeds=np.array([problem.seed for problem in problems]),
    )
    weights, biases, losses = (np.asarray(part) for part in fitted)
    logits = predict_probes(features.matrix, weights, biases)
    return [
        _outcome(features, problem, logits[place], losses[place], {"kernel": weights[place], "bias": biases[place]})
        for place, problem in enumerate(problems)
    ]


def _outcome(
    features: Features, problem: Problem, logits: Float[np.ndarray, "n c"], losses: np.ndarray, params: Params
) -> Outcome:
    probs = softmax(logits[features.rows(problem.validation[0])])
    score = -metrics.log_loss(probs, problem.validation[1])
    history = History(losses.tolist(), [len(losses)], [score], probs[None], 0)
    return Outcome({name: logits[features.rows(texts)] for name, texts in problem.predict.items()}, history, params)


def _compared(features: Features, texts: Sequence[Text]) -> Features:
    """Features of examples of several candidates; of examples of one text they are unchanged."""
    unique = list(dict.fromkeys(texts))
    if all(isinstance(text, str) for text in unique):
        return features
    each = features.matrix[np.stack([features.rows(text) for text in unique])]
    two = each.shape[1] == 2
    return Features(each[:, 1] - each[:, 0] if two else each, {text: row for row, text in enumerate(unique)})


def _compute(
    learner: Learner,
    texts: Sequence[str],
    folder: Path,
    starts: Sequence[int],
    progress: Progress,
    body: Body | None,
    mesh: Mesh | None,
) -> None:
    pretrained = (
        models.load_sharded(learner.model, mesh, read_layer=learner.read_layer) if body is None else body.load()
    )
    module, params = models.build_classifier(
        pretrained, 2, rng=jax.random.key(0), pooling=learner.pooling, dtype=learner.dtype, mesh=mesh
    )
    last = (pretrained.config.n_layers,)

    def hidden(params: Params, _: Any, tokens: jax.Array, lengths: jax.Array, __: None) -> jax.Array:
        states: Any = module.apply({"params": params}, tokens, lengths, last, method="hidden_states")
        return states[:, 0]

    predict = make_predict(hidden, mesh)
    ways = sharding.batch_ways(mesh)
    for start in starts:
        tokens = tokenize(learner, texts[start : start + PART])
        matrix = np.zeros((len(tokens), pretrained.config.hidden_size), np.float32)
        for batch in EvalBatches(tokens, EVAL_BATCH, ways):
            real = batch.rows >= 0
            matrix[batch.rows[real]] = np.asarray(predict(params, {}, batch.tokens, batch.lengths))[real]
        processes.lead(functools.partial(_write, _part(folder, start), matrix))
        progress(min(start + PART, len(texts)), len(texts), ())


def _write(path: Path, matrix: Float[np.ndarray, "n d"]) -> None:
    with files.atomic(path) as temporary, temporary.open("wb") as handle:
        np.save(handle, matrix, allow_pickle=False)
    files.write_json(path.with_suffix(".json"), {"sha256": files.sha256_file(path)})


def _part(folder: Path, start: int) -> Path:
    return folder / f"{start:08d}.npy"


def _read(path: Path) -> Float[np.ndarray, "n d"]:
    if not path.exists() or files.sha256_file(path) != files.read_json(path.with_suffix(".json"))["sha256"]:
        raise UserError(f"cached features {path} were truncated or edited; delete {path.parent} and run again")
    return np.load(path, allow_pickle=False)
