"""Labels from elsewhere: of another model, of people, or of any program."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from w2s_jax.data import arrays, records, sources
from w2s_jax.data.probabilities import probabilities
from w2s_jax.data.records import Record
from w2s_jax.data.splits import Split
from w2s_jax.data.task_data import TaskData
from w2s_jax.runtime import files
from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.origin import Origin
from w2s_jax.stages.base import SoftLabels
from w2s_jax.stages.supervise import LABELLED, Inputs, Supervisor
from w2s_jax.supervisors.registry import SUPERVISORS


@SUPERVISORS.register
@dataclass(frozen=True)
class Given(Supervisor):
    """A supervisor whose labels come from elsewhere: from another model, or from people.

    Attributes:
      probs: an array, `file.npz:name` or `:name`, [examples, classes], as the task's examples; or a table
        with `id`, and `label`, `probs` or `p`. `w2s ask` writes the examples to be labelled; a label may be one of the
        `answers` that it writes.
    """

    probs: str

    asks = False

    def label(self, inputs: Inputs) -> SoftLabels:
        return {name: labels_of(self.probs, split, inputs.n_classes) for name, split in inputs.splits.items()}

    def origins(self) -> Mapping[str, Origin]:
        path = Path(self.probs.rpartition(":")[0] if arrays.is_array(self.probs) else self.probs)
        return {str(path): Origin(str(path), files={path.name: files.sha256_file(path)})} if path.name else {}

    def on_task(self, name: str) -> "Given":
        return replace(self, probs=arrays.of_file(self.probs, name)) if arrays.is_array(self.probs) else self

    def identity(self, task: TaskData) -> dict[str, Any]:
        return {"given": fingerprint(self.probs)}

    def check(self, task: TaskData, seed: int) -> None:
        splits = task.splits(seed)
        for name in LABELLED:
            labels_of(self.probs, getattr(splits, name), task.n_classes)

    def describe(self) -> str:
        return self.probs


def fingerprint(reference: str) -> str:
    """SHA-256 of an array, or of a table that people filled in."""
    if arrays.is_array(reference):
        return arrays.fingerprint(reference)
    if not Path(reference).is_file():
        raise UserError(f"{reference} does not exist")
    return files.sha256_file(Path(reference))


def labels_of(reference: str, split: Split, n_classes: int) -> Float[np.ndarray, "n c"]:
    """Class probabilities of a split's examples, from an array or a table.

    Raises:
      UserError: it holds no probabilities, or of another number of classes or examples than the task.
    """
    if not arrays.is_array(reference):
        return read(reference, split.ids, n_classes)
    table = arrays.probabilities(reference)
    if table.shape[1] != n_classes:
        raise UserError(f"{reference} has {table.shape[1]} classes; the task has {n_classes}")
    return table[arrays.rows([str(text) for text in split.texts], reference, len(table))]


def read(path: str, ids: Sequence[str], n_classes: int) -> Float[np.ndarray, "n c"]:
    """What a table says of these examples, as class probabilities; a `label` is certain.

    Args:
      path: a table with `id`, and `label`, `p`, the probability of class 1, or `probs`: a list, or, in a .csv, a JSON
        list such as `[0.2, 0.8]`. Other examples and columns do not matter.

    Raises:
      UserError: an example has no answer, two, or one that is no class and no probabilities.
    """
    found: dict[str, np.ndarray] = {}
    for record in sources.Local(path).records():
        identifier = str(records.field(record, "id"))
        if identifier in found:
            raise UserError(f"{path}: {identifier!r} is there twice")
        found[identifier] = answer(path, identifier, record, n_classes)
    missing = [identifier for identifier in ids if identifier not in found]
    if missing:
        raise UserError(f"{path} lacks an answer for {len(missing)} of {len(ids)} examples, {missing[0]!r} among them")
    return np.stack([found[identifier] for identifier in ids])


def answer(path: object, identifier: str, record: Record, n_classes: int) -> Float[np.ndarray, " c"]:
    """The class probabilities of one line of a table: its `probs` or `p`, or else its `label`; an empty cell is none.

    Raises:
      UserError: it has none of them, two that contradict each other, or one that is no class and no probabilities.
    """
    try:
        probs = probabilities(record)
        number = None if records.is_absent(record.get("label")) else _class(record)
    except UserError as error:
        raise UserError(f"{path}: {identifier!r}: {error}") from error
    if probs is None and number is None:
        raise UserError(f"{path}: {identifier!r} has neither a label nor probs nor p")
    if probs is not None and len(probs) != n_classes:
        raise UserError(f"{path}: {identifier!r} has {len(probs)} probabilities; the task has {n_classes} classes")
    if number is None:
        assert probs is not None
        return probs.astype(np.float32)
    if not 0 <= number < n_classes:
        raise UserError(f"{path}: label {number} of {identifier!r} is none of the {n_classes} classes")
    if probs is None:
        return np.eye(n_classes, dtype=np.float32)[number]
    if probs[number] < probs.max():
        raise UserError(f"{path}: label and probs of {identifier!r} contradict each other; give one of them")
    return probs.astype(np.float32)


def _class(record: Record) -> int:
    """The label's class: a number, or one of the `answers` that `w2s ask` wrote beside the example."""
    names = record.get("answers")
    if isinstance(names, list) and record["label"] in names:
        return names.index(record["label"])
    return records.class_field(record, "label")
