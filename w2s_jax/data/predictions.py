"""What a stage predicted: a Parquet table keyed by example id, and a manifest that proves it. Never ground truth."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from w2s_jax.runtime import files
from w2s_jax.runtime.errors import UserError

SCHEMA = "w2s_jax/predictions/1"
COLUMNS = ["id", "split", "probs", "logits"]  # there is none for the truth


class Predictions(NamedTuple):
    """One row per example and split.

    Attributes:
      ids: of the examples.
      splits: which split each row is of.
      probs: float32 class probabilities; a supervisor's are weak labels.
      logits: float32, whose softmax the probabilities are.
    """

    ids: Sequence[str]
    splits: Sequence[str]
    probs: Float[np.ndarray, "n c"]
    logits: Float[np.ndarray, "n c"]

    def for_split(self, name: str, ids: Sequence[str]) -> Float[np.ndarray, "m c"]:
        """Probabilities of these examples, in this order.

        Raises:
          UserError: an example has no prediction.
        """
        return self.probs[self._rows(name, ids)]

    def measurable(self, name: str, ids: Sequence[str]) -> Float[np.ndarray, "m c"]:
        """The same in float64, from the logits: for measuring, since float32 rounds what a sure model says to 0 or 1.

        Raises:
          UserError: an example has no prediction.
        """
        logits = self.logits[self._rows(name, ids)].astype(np.float64)
        odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return odds / odds.sum(axis=-1, keepdims=True)

    def _rows(self, name: str, ids: Sequence[str]) -> list[int]:
        row = {key: index for index, key in enumerate(zip(self.splits, self.ids, strict=True))}
        missing = [identifier for identifier in ids if (name, identifier) not in row]
        if missing:
            raise UserError(
                f"{len(missing)} of {len(ids)} {name} examples have no prediction, {missing[0]!r} among them; "
                "the predictions are of another draw of the task"
            )
        return [row[name, identifier] for identifier in ids]


def write_predictions(path: Path, predictions: Predictions, provenance: Mapping[str, Any]) -> None:
    """Writes `path` (Parquet) and, after it, `path` with suffix .json: its SHA-256, its size and where it came from."""
    import pyarrow
    import pyarrow.parquet

    _check(path, predictions)
    columns = [
        pyarrow.array(list(predictions.ids), pyarrow.string()),
        pyarrow.array(list(predictions.splits), pyarrow.string()),
        _vectors(predictions.probs),
        _vectors(predictions.logits),
    ]
    with files.atomic(path) as temporary:
        pyarrow.parquet.write_table(pyarrow.table(columns, names=COLUMNS), temporary)
    manifest = {
        "schema": SCHEMA,
        "sha256": files.sha256_file(path),
        "rows": len(predictions.ids),
        "classes": predictions.probs.shape[1],
        "provenance": dict(provenance),
    }
    files.write_json(Path(path).with_suffix(".json"), manifest)


def read_predictions(path: Path) -> Predictions:
    """Reads a table that is whole, unedited and holds probabilities.

    Raises:
      UserError: naming the file and what is wrong with it.
    """
    import pyarrow.parquet

    manifest = files.read_json(Path(path).with_suffix(".json"))
    schema = manifest.get("schema") if isinstance(manifest, dict) else None
    if schema != SCHEMA:
        raise UserError(f"{path} has schema {schema!r}; this version reads {SCHEMA!r}")
    if not Path(path).exists():
        raise UserError(f"{path} is missing; delete its folder and run the same command again")
    if files.sha256_file(path) != manifest.get("sha256"):
        raise UserError(f"{path} was truncated or edited; delete its folder and run the same command again")
    table = pyarrow.parquet.ParquetFile(path).read()
    if table.column_names != COLUMNS:
        raise UserError(f"{path} has columns {', '.join(table.column_names)}; it must have {', '.join(COLUMNS)}")
    predictions = Predictions(
        table["id"].to_pylist(), table["split"].to_pylist(), _matrix(table["probs"]), _matrix(table["logits"])
    )
    _check(path, predictions)
    return predictions


def _check(path: Path, predictions: Predictions) -> None:
    probs = predictions.probs
    if not len(predictions.ids) == len(predictions.splits) == len(probs) == len(predictions.logits):
        raise UserError(f"{path}: ids, splits, probabilities and logits are not equally many")
    if probs.shape != predictions.logits.shape:
        raise UserError(
            f"{path}: probabilities are of {probs.shape[1]} classes, logits of {predictions.logits.shape[1]}"
        )
    if len(set(zip(predictions.splits, predictions.ids, strict=True))) < len(probs):
        raise UserError(f"{path}: an example appears twice in one split")
    if not np.all((probs >= 0) & (probs <= 1)):
        raise UserError(f"{path}: a probability is not in [0, 1]")
    if not np.allclose(probs.sum(axis=-1), 1, atol=1e-4):
        raise UserError(f"{path}: a row's probabilities do not sum to 1")


def _vectors(values: Float[np.ndarray, "n c"]) -> Any:
    import pyarrow

    flat = pyarrow.array(np.ascontiguousarray(values, np.float32).reshape(-1))
    return pyarrow.FixedSizeListArray.from_arrays(flat, values.shape[1])


def _matrix(column: Any) -> Float[np.ndarray, "n c"]:
    array = column.combine_chunks()
    return array.values.to_numpy().reshape(len(array), array.type.list_size)
