"""A supervisor that nobody trained: a language model that is asked."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from w2s_jax.data.task_data import TaskData
from w2s_jax.runtime.errors import UserError
from w2s_jax.stages import cost
from w2s_jax.stages.base import Logits, learner_identity
from w2s_jax.stages.cost import Work
from w2s_jax.stages.supervise import Inputs, Supervisor
from w2s_jax.supervisors.registry import SUPERVISORS
from w2s_jax.train import prompting
from w2s_jax.train.learner import Learner


@SUPERVISORS.register
@dataclass(frozen=True)
class Asked(Supervisor):
    """A decoder's own probability of each answer after the text, zero-shot. It sees no ground truth.

    As the judge of a debate (`Debated`) it reads the text and what was said, like the judges of Khan et al. 2402.06782.

    Attributes:
      learner: of it the model, `max_tokens`, `too_long`, `dtype` and `chat` count.
      template: the prompt, which holds `{text}`; None is the task's own.
      calibrate: divide each answer's probability by its mean over a split's texts (Zhou et al. 2023, arXiv 2309.17249,
        eq. 5); it takes the classes to be about equally frequent.

    Raises:
      UserError: a template without `{text}`.
    """

    learner: Learner
    template: str | None = None
    calibrate: bool = True

    def __post_init__(self) -> None:
        if self.template is not None and "{text}" not in self.template:
            raise UserError(f"the template must hold {{text}}; it is {self.template!r}")

    def label(self, inputs: Inputs) -> Logits:
        learner = replace(self.learner, read_layer=None)
        ask = prompting.Asking(
            learner,
            inputs.session.pretrained(learner, None),
            mesh=inputs.session.mesh,
            progress=inputs.session.progress,
        )
        answers = [f" {answer}" for answer in inputs.answers]
        template = self.template or inputs.templates[0]
        return Logits(
            {
                name: ask.logits(split.texts, [], answers, template=template, calibrate=self.calibrate)
                for name, split in inputs.lesson.all_labelled.items()
            }
        )

    def models(self) -> tuple[str, ...]:
        return (self.learner.model,)

    def identity(self, task: TaskData) -> dict[str, Any]:
        read = learner_identity(self.learner)
        known = {name: read[name] for name in ("model", "max_tokens", "too_long", "dtype", "chat") if name in read}
        return {"asked": known, "template": self.template, "calibrate": self.calibrate}

    def check(self, task: TaskData, seed: int) -> None:
        prompting.check(self.learner, task.texts)

    def describe(self) -> str:
        return f"{self.learner.model}, asked"

    def work(self, task: TaskData, seed: int) -> Iterable[Work]:
        sizes = task.config.transfer + task.config.validation + task.config.test
        yield Work(cost.reading(replace(self.learner, parameters="full"), task.texts, sizes))
