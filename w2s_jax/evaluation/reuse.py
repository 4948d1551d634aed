"""Results and their report, taken again while nothing that they were made from has changed."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from w2s_jax import serialize
from w2s_jax.config import Experiment
from w2s_jax.data.task_data import Tasks
from w2s_jax.evaluation import storage
from w2s_jax.evaluation.results import Results
from w2s_jax.pipeline import graph
from w2s_jax.pipeline.graph import CellStages
from w2s_jax.pipeline.store import Store
from w2s_jax.runtime import files, provenance, references, registry
from w2s_jax.runtime.errors import UserError
from w2s_jax.supervisors import supervisor

FILE = ".made_from.json"


class Reused(NamedTuple):
    """Results, and the files of a run's folder that were made with them and are as they were."""

    results: Results
    files: tuple[Path, ...]


def source(experiment: Experiment, cells: Sequence[CellStages], tasks: Tasks, store: Store) -> str | None:
    """SHA-256 of all that the results of finished stages are made from: the experiment, what its tasks read, the files
    of its stages by size and time, and this package's code.

    None where code decides that is not this package's: a metric, a figure, or what a supervisor measures of itself.
    """
    kinds = map(supervisor, experiment.supervisors.values())
    if registry.added() & {"metric", "figure"} or not all(map(references.is_own, kinds)):
        return None
    read = [tasks[task] for task in experiment.tasks]
    found = {
        "experiment": serialize.to_json(experiment),
        "tasks": [[files.as_json(task.reading), task.answers] for task in read],
        "cells": [[*cell[:5], {role: stage.name for role, stage in cell.stages.items()}] for cell in cells],
        "stages": {name: store.version(name) for name in sorted(stage.name for stage in graph.stages(cells))},
        "code": provenance.code(),
        "draws": importlib.util.find_spec("matplotlib") is not None,
    }
    return files.sha256_text(files.canonical(found))


def remember(folder: Path, source: str | None, written: Sequence[Path]) -> None:
    """Notes what the files of a run's folder were made from; None forgets it."""
    if source is None:
        (folder / FILE).unlink(missing_ok=True)
        return
    hashes = {path.relative_to(folder).as_posix(): files.sha256_file(path) for path in written}
    files.write_json(folder / FILE, {"source": source, "files": hashes})


def recall(folder: Path, source: str | None) -> Reused | None:
    """What was made from the same; None where something else was, or a file is gone or was edited since."""
    if source is None or not (folder / FILE).exists():
        return None
    try:
        made = files.read_json(folder / FILE)
        paths = {folder / name: expected for name, expected in made["files"].items()}
        if made["source"] != source or any(files.sha256_file(path) != each for path, each in paths.items()):
            return None
        return Reused(storage.load(folder), tuple(paths))
    except (UserError, OSError, KeyError, TypeError, AttributeError):
        return None
