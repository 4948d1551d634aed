"""Training the student on weak labels, with any loss."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from w2s_jax.data.task_data import TaskData
from w2s_jax.data.tokens import Text
from w2s_jax.losses import LOSSES, bind
from w2s_jax.runtime import references
from w2s_jax.runtime.options import Value, with_defaults
from w2s_jax.stages import checks, cost
from w2s_jax.stages.base import Fit, Shown, bound_loss
from w2s_jax.stages.cost import Work
from w2s_jax.stages.student import Teaching, WayToLearn
from w2s_jax.students.registry import WAYS_TO_LEARN
from w2s_jax.train.learner import Learner


@WAYS_TO_LEARN.register
@dataclass(frozen=True)
class Train(WayToLearn):
    """The student is trained on the weak labels, as its `Learner` says.

    Attributes:
      loss: a registered loss (`w2s_jax.losses`), `my_losses.py:my_loss`, or a function
        `(logits [B, C], targets [B, C], *, hyperparameters) -> [B]`.
      options: its keyword hyperparameters.

    Raises:
      UserError: a built-in loss does not exist or has not these options.
    """

    loss: Any = "cross_entropy"
    options: Mapping[str, Value] = field(default_factory=dict)

    trains = True
    asks = False

    def __post_init__(self) -> None:
        if not isinstance(self.loss, str) or references.split(self.loss) is None:
            bind(self._found.value, **self.options)

    def __hash__(self) -> int:
        return hash(self.loss)

    @property
    def _found(self) -> references.Found:
        return references.function(self.loss, LOSSES)

    def bound(self) -> Callable[..., Any]:
        """The loss with its hyperparameters: `(logits, targets, *, step, total_steps, where) -> [B]`."""
        return bound_loss(self._found.value, self.options)

    def learn(self, teaching: Teaching) -> Fit:
        return teaching.fit(self._found.value, self.options)

    def identity(self) -> dict[str, Any]:
        found = self._found
        return {"loss": found.identity, "options": with_defaults(found.value, self.options)}

    def group(self) -> tuple[str, Mapping[str, Any]]:
        return self._found.identity, self.options

    def describe(self) -> str:
        return self.loss if isinstance(self.loss, str) else getattr(self.loss, "__name__", type(self.loss).__name__)

    def check(self, task: TaskData, learner: Learner) -> None:
        checks.loss(task, learner, self.describe(), self._found.value, self.options)

    def work(self, learner: Learner, texts: tuple[Text, ...], shown: Shown) -> Iterable[Work]:
        return cost.finetuning(learner, texts, *shown.sizes)
