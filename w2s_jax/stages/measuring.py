"""What a kind of supervisor may look at to measure something of its own: finished cells, and the run they are of."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from w2s_jax import metrics
from w2s_jax.data.predictions import Predictions
from w2s_jax.data.task_data import TaskData
from w2s_jax.train.learner import Learner

if TYPE_CHECKING:
    from w2s_jax.stages.base import Stage
    from w2s_jax.stages.supervise import Supervisor


class CellKey(NamedTuple):
    """A cell of the grid, by display names."""

    task: str
    supervisor: str
    student: str
    method: str
    seed: int


@dataclass(frozen=True)
class Setting:
    """A run as one of its supervisors may see it afterwards.

    Attributes:
      name: the supervisor's display name.
      supervisors, students, methods: all of the run, by display name.
      tasks, seeds: of the run.
      cells: what the three models of each finished cell predict on test, with ground truth.
      stage: the supervisor stage of a (task, supervisor's name, seed).
      read: the predictions of a finished stage.
    """

    name: str
    supervisors: "Mapping[str, Supervisor]"
    students: Mapping[str, Learner]
    methods: Mapping[str, Any]
    tasks: tuple[TaskData, ...]
    seeds: tuple[int, ...]
    cells: Mapping[CellKey, metrics.Triple]
    stage: "Callable[[TaskData, str, int], Stage]"
    read: "Callable[[Stage], Predictions]"

    def seeds_with(self, *keys: Callable[[int], CellKey]) -> list[int]:
        """The seeds for which all of these cells are finished."""
        return [seed for seed in self.seeds if all(key(seed) in self.cells for key in keys)]

    def of(self, key: Callable[[int], CellKey], seeds: Sequence[int]) -> list[metrics.Triple]:
        """One cell for each of these seeds."""
        return [self.cells[key(seed)] for seed in seeds]
