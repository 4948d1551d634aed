"""The test examples that a run's cells were measured on, and what their models said of each."""

from collections.abc import Iterator

import numpy as np

from w2s_jax import metrics, serialize
from w2s_jax.data import sources
from w2s_jax.data.sources import Hub
from w2s_jax.data.splits import Split
from w2s_jax.data.task_data import TaskData, Tasks
from w2s_jax.data.tasks import TASKS
from w2s_jax.evaluation.results import Cell, Results
from w2s_jax.pipeline.store import Finished
from w2s_jax.runtime import hub
from w2s_jax.runtime.errors import UserError


class Tested:
    """The tasks of finished results, read again at the commits that the results name."""

    def __init__(self, found: Results) -> None:
        hub.pin(_read_at(found))
        tasks = Tasks()
        self._known = {config.title: tasks[config] for config in serialize.from_json(found.config.get("tasks", []))}

    def task(self, title: str) -> TaskData:
        """A task by the title that cells have.

        Raises:
          UserError: the results' config does not say what it is.
        """
        if title not in self._known:
            raise UserError(f"the config of these results does not say what task {title!r} is; run it again")
        return self._known[title]

    def split(self, title: str, seed: int) -> Split:
        """The test split of a seed.

        Raises:
          UserError: as `task`, or the task cannot be read.
        """
        return self.task(title).splits(seed).test


def predicted(cell: Cell, role: str, test: Split, stage: Finished) -> np.ndarray:
    """A stage's probabilities [N, C] of the test split that it was measured on.

    Raises:
      UserError: the task gives other examples or other labels now.
    """
    assert test.labels is not None
    same = stage.manifest["identity"]["predicts"]["test"] == test.without_truth().fingerprint
    probs = stage.predictions.for_split("test", test.ids) if same else None
    if probs is None or metrics.accuracy(probs, test.labels) != cell.scores["accuracy"][role]:
        raise UserError(f"task {cell.task!r} is not what {cell.stages[role]} was measured on; run the experiment again")
    return probs


def _read_at(found: Results) -> Iterator[tuple[str, str, str, str]]:
    """Kind, repository, revision and commit of each task's own source on the Hub, as the results say."""
    for facts, config in zip(found.tasks, serialize.from_json(found.config.get("tasks", [])), strict=False):
        origin = None if facts.reading is None else facts.reading.origin
        if origin is None or not origin.name.startswith("Hub "):
            continue
        named = TASKS[config.name].source_of(config.source) if config.name in TASKS else sources.parse(config.name)
        source = sources.parse(config.source) if config.source and config.name not in TASKS else named
        if isinstance(source, Hub):
            yield "dataset", source.repo, source.revision, origin.version
