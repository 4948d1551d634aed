"""Arrays that were computed elsewhere: features, probabilities and labels of a `.npz` file, row by row.

So any pair of models can be measured, such as AlexNet and DINO on ImageNet, given its features and probabilities
(openai/weak-to-strong, `vision`). Row i of every array is one example; in a task it is the text `#i`.
"""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from w2s_jax.data.example import Example
from w2s_jax.runtime import files
from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.origin import Origin

SUFFIX = ".npz"


def is_array(reference: str) -> bool:
    """Whether this names an array: `file.npz:name`, or `:name`, of the task's own file."""
    path, colon, _ = reference.rpartition(":")
    return bool(colon) and (not path or path.endswith(SUFFIX))


def of_file(reference: str, path: str) -> str:
    """`:name` as the array of this file; any other reference as it is.

    Raises:
      UserError: the file holds no arrays.
    """
    if not reference.startswith(":"):
        return reference
    if not path.endswith(SUFFIX):
        raise UserError(f"{reference!r} is an array of the task's own {SUFFIX} file, which {path!r} is not")
    return path + reference


@files.cached(16, lambda reference: reference.rpartition(":")[0])
def read(reference: str) -> np.ndarray:
    """The array `name` of `file.npz:name`.

    Raises:
      UserError: no such file or name, or an array that only a pickle could hold.
    """
    path, _, name = reference.rpartition(":")
    if not path:
        raise UserError(f"{reference!r} is an array of the task's own file, which judges of texts cannot read")
    if not Path(path).is_file():
        raise UserError(f"{path} does not exist")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if name not in arrays.files:
                raise UserError(f"{path} has no array {name!r}; it holds: {', '.join(arrays.files) or 'nothing'}")
            return arrays[name]
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{reference} cannot be read as an array without pickle: {error}") from error


def matrix(reference: str) -> np.ndarray:
    """The array as float32 [rows, columns].

    Raises:
      UserError: it has not two axes, or holds a value that is not finite.
    """
    values = np.asarray(read(reference), np.float32)
    if values.ndim != 2 or not np.isfinite(values).all():
        raise UserError(f"{reference} must be a finite array [rows, columns]; it is of shape {values.shape}")
    return values


def probabilities(reference: str) -> np.ndarray:
    """The array as class probabilities, float32 [rows, classes].

    Raises:
      UserError: a row's values are not probabilities.
    """
    values = matrix(reference)
    if (values < 0).any() or not np.allclose(values.sum(axis=1), 1, atol=1e-3):
        raise UserError(f"the rows of {reference} must be probabilities: not negative, with sum 1")
    return values / values.sum(axis=1, keepdims=True)


def examples(path: str) -> list[Example]:
    """One example a row: `labels`, whole numbers from 0, and `groups`, if examples belong together."""
    labels = read(f"{path}:labels")
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
        raise UserError(f"{path}:labels must be whole numbers from 0, one a row")
    with np.load(path, allow_pickle=False) as arrays:
        groups = arrays["groups"] if "groups" in arrays.files else np.arange(len(labels))
    return [
        Example(f"{row:08d}", text_of(row), int(label), str(group))
        for row, (label, group) in enumerate(zip(labels, groups, strict=True))
    ]


@files.cached(32, lambda reference: reference.rpartition(":")[0])
def fingerprint(reference: str) -> str:
    """SHA-256 of the file that holds the array, and its name there."""
    path, _, name = reference.rpartition(":")
    read(reference)
    return files.sha256_text(files.canonical([files.sha256_file(Path(path)), name]))


def origin(path: str) -> Origin:
    """A file of arrays as what was read."""
    return Origin(path, files={Path(path).name: files.sha256_file(Path(path))})


def text_of(row: int) -> str:
    """The text that stands for a row."""
    return f"#{row}"


def rows(texts: Sequence[str], reference: str, available: int) -> np.ndarray:
    """The rows of these texts.

    Raises:
      UserError: a text that stands for no row of the array.
    """
    found = [int(text[1:]) if text[:1] == "#" and text[1:].isdigit() else -1 for text in texts]
    if found and not 0 <= min(found) <= max(found) < available:
        raise UserError(
            f"{reference} has {available} rows, and not one for every example of the task; use it with "
            "the task of its own file"
        )
    return np.array(found, np.int32)
