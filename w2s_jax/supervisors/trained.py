"""The plain supervisor: a model trained on ground truth. And what a config accepts as a supervisor."""

from dataclasses import dataclass
from typing import Any

from w2s_jax.data.task_data import TaskData
from w2s_jax.stages.base import Fit
from w2s_jax.stages.supervise import Inputs, Supervisor
from w2s_jax.supervisors.registry import SUPERVISORS
from w2s_jax.train.learner import Learner


@SUPERVISORS.register
@dataclass(frozen=True)
class Trained(Supervisor):
    """A learner trained on ground truth of the supervisor split. A `Learner` in a config's supervisors means this."""

    learner: Learner

    asks = False

    def trains(self) -> Learner:
        return self.learner

    def label(self, inputs: Inputs) -> Fit:
        return inputs.fit()

    def identity(self, task: TaskData) -> dict[str, Any]:
        return {}

    def describe(self) -> str:
        return self.learner.model
