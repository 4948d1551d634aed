"""Prompting the student, zero-shot or after labelled examples, without training it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from w2s_jax.data.task_data import TaskData
from w2s_jax.data.tokens import Text
from w2s_jax.runtime.errors import UserError
from w2s_jax.stages import cost
from w2s_jax.stages.base import Logits, Shown
from w2s_jax.stages.cost import Work
from w2s_jax.stages.student import Teaching, WayToLearn
from w2s_jax.students.registry import WAYS_TO_LEARN
from w2s_jax.train import prompting
from w2s_jax.train.learner import Learner


@WAYS_TO_LEARN.register
@dataclass(frozen=True)
class Prompt(WayToLearn):
    """The student answers prompts through its language-model head, as it is (Burns et al. 2023, figure 9).

    Attributes:
      shots: how many labelled examples each prompt begins with, equally many of each class; 0 is zero-shot.
      shown: whose labels the examples show: the supervisor's (`weak`), or ground truth (`truth`), for comparison.
      template: the prompt, with `{text}`; None is the task's first.
      calibrate: divide each answer's probability by its mean over the texts (batch calibration, Zhou et al. 2023,
        arXiv 2309.17249). It reads no labels, and assumes that the classes are about equally frequent.

    Raises:
      UserError: a negative number of shots, or a template without `{text}`.
    """

    shots: int = 0
    shown: Literal["weak", "truth"] = "weak"
    template: str | None = None
    calibrate: bool = False

    asks = True

    def __post_init__(self) -> None:
        if self.shots < 0 or self.shown not in ("weak", "truth"):
            raise UserError(f"a prompt has 0 shots or more, shown with weak or truth labels, not {self}")
        if self.template is not None and "{text}" not in self.template:
            raise UserError(f"the template must hold {{text}}; it is {self.template!r}")

    @property
    def sees_truth(self) -> bool:
        return self.shown == "truth"

    @property
    def zero_shot(self) -> bool:
        return not self.shots

    def learn(self, teaching: Teaching) -> Logits:
        lesson, learner = teaching.lesson, teaching.learner
        train = lesson.train
        labels = train.targets.argmax(axis=1)
        shots = [(train.split.texts[row], int(labels[row])) for row in _drawn(labels, self.shots, teaching.seed)]
        start = teaching.session.pretrained(replace(learner, read_layer=None), teaching.body)
        ask = prompting.Asking(learner, start, mesh=teaching.session.mesh, progress=teaching.session.progress)
        answers = [f" {answer}" for answer in teaching.answers]
        template = self.template or teaching.templates[0]
        return Logits(
            {
                name: ask.logits(split.texts, shots, answers, template=template, calibrate=self.calibrate)
                for name, split in lesson.all_labelled.items()
            }
        )

    def identity(self) -> dict[str, Any]:
        return {"prompt": [self.shots, self.shown, self.template, self.calibrate]}

    def describe(self) -> str:
        if not self.shots:
            return "zero-shot prompt"
        return f"prompt with {self.shots} {'weak' if self.shown == 'weak' else 'true'} labels"

    def check(self, task: TaskData, learner: Learner) -> None:
        prompting.check(learner, task.texts)

    def work(self, learner: Learner, texts: tuple[Text, ...], shown: Shown) -> Iterable[Work]:
        _, validation, labelled = shown.sizes
        yield Work(cost.reading(replace(learner, parameters="full"), texts, (validation + labelled) * (1 + self.shots)))


def _drawn(labels: np.ndarray, count: int, seed: int) -> list[int]:
    """Which training examples are shown: equally many of each class as they are labelled, in an order of chance."""
    order = np.random.default_rng([seed, 5]).permutation(len(labels))
    by_class = [[row for row in order if labels[row] == label] for label in np.unique(labels)]
    ranked = sorted((place, row) for rows in by_class for place, row in enumerate(rows))
    chosen = [int(row) for _, row in ranked[:count]]
    return [chosen[i] for i in np.random.default_rng([seed, 6]).permutation(len(chosen))]
