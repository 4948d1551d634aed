"""Linear probes: features of a frozen model, computed once and cached, and a head trained on them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from w2s_jax import files, metrics, models
from w2s_jax.data.batching import EvalBatches
from w2s_jax.errors import UserError
from w2s_jax.train.finetune import EVAL_BATCH, Outcome, softmax, tokenize
from w2s_jax.train.learner import Learner
from w2s_jax.train.loop import History, Progress
from w2s_jax.train.probe import fit_probes, predict_probes

PART = 512


class Features(NamedTuple):
    """One row of features for each text."""

    matrix: Float[np.ndarray, "n d"]
    row: Mapping[str, int]

    def rows(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([self.row[text] for text in texts], np.int32)


def features(learner: Learner, texts: Sequence[str], root: Path, progress: Progress) -> Features:
    """The pooled hidden states of every text, read from `root` as far as they were computed before.

    Parts of `PART` texts are written one by one, so that a killed process loses at most one.

    Raises:
      UserError: a cached part was truncated or edited.
    """
    unique = sorted(set(texts))
    what = {
        "model": models.fingerprint(learner.model),
        "read_layer": learner.read_layer,
        "pooling": learner.pooling,
        "max_tokens": learner.max_tokens,
        "too_long": learner.too_long,
        "dtype": learner.dtype,
        "texts": files.sha256_text(files.canonical(unique)),
    }
    folder = root / files.sha256_text(files.canonical(what))[:16]
    starts = range(0, len(unique), PART)
    missing = [start for start in starts if not _part(folder, start).with_suffix(".json").exists()]
    if missing:
        _compute(learner, unique, folder, missing, progress)
    matrix = np.concatenate([_read(_part(folder, start)) for start in starts])
    return Features(matrix, {text: row for row, text in enumerate(unique)})


def probe(
    learner: Learner,
    features: Features,
    loss: Callable[..., Any],
    *,
    train: tuple[Sequence[str], Float[np.ndarray, "n c"]],
    validation: tuple[Sequence[str], Float[np.ndarray, "m c"]],
    predict: Mapping[str, Sequence[str]],
    seed: int,
) -> Outcome:
    """Trains a linear head on (texts, class probabilities) and labels the texts of `predict`."""
    rows = features.rows(train[0])
    targets = np.zeros((len(features.matrix), train[1].shape[-1]), np.float32)
    targets[rows] = train[1]
    steps = learner.epochs * -(-len(rows) // learner.batch_size)
    fitted = fit_probes(
        features.matrix,
        targets[None],
        loss,
        steps=steps,
        batch_size=learner.batch_size,
        learning_rate=learner.optimizer.learning_rate,
        weight_decay=learner.optimizer.weight_decay,
        rows=rows[None],
        seeds=np.array([seed]),
    )

    def label(texts: Sequence[str]) -> Float[np.ndarray, "n c"]:
        return np.asarray(predict_probes(features.matrix[features.rows(texts)], fitted.weights, fitted.biases))[0]

    probs = softmax(label(validation[0]))
    score = -metrics.soft_log_loss(probs, validation[1])
    history = History(np.asarray(fitted.losses[0]).tolist(), [steps], [score], probs[None], 0)
    params = {"kernel": fitted.weights[0], "bias": fitted.biases[0]}
    return Outcome({name: label(texts) for name, texts in predict.items()}, history, params)


def _compute(learner: Learner, texts: Sequence[str], folder: Path, starts: Sequence[int], progress: Progress) -> None:
    pretrained = models.load(learner.model, read_layer=learner.read_layer)
    module, params = models.classifier(
        pretrained, 2, rng=jax.random.key(0), pooling=learner.pooling, dtype=learner.dtype
    )
    params = jax.tree.map(jnp.asarray, params)
    last = (pretrained.config.n_layers,)

    @jax.jit
    def hidden(params: Any, tokens: jax.Array, lengths: jax.Array) -> jax.Array:
        states: Any = module.apply({"params": params}, tokens, lengths, last, method="hidden_states")
        return states[:, 0]

    for start in starts:
        tokens = tokenize(learner, texts[start : start + PART])
        matrix = np.zeros((len(tokens), pretrained.config.hidden_size), np.float32)
        for batch in EvalBatches(tokens, EVAL_BATCH):
            real = batch.rows >= 0
            matrix[batch.rows[real]] = np.asarray(hidden(params, batch.tokens, batch.lengths))[real]
        path = _part(folder, start)
        with files.atomic(path) as temporary, temporary.open("wb") as handle:
            np.save(handle, matrix, allow_pickle=False)
        files.write_json(path.with_suffix(".json"), {"sha256": files.sha256_file(path)})
        progress(min(start + PART, len(texts)), len(texts), float("nan"))


def _part(folder: Path, start: int) -> Path:
    return folder / f"{start:08d}.npy"


def _read(path: Path) -> Float[np.ndarray, "n d"]:
    if not path.exists() or files.sha256_file(path) != files.read_json(path.with_suffix(".json"))["sha256"]:
        raise UserError(f"cached features {path} were truncated or edited; delete {path.parent} and run again")
    return np.load(path, allow_pickle=False)
