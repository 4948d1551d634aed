"""Finding a direction in the student's hidden states that answers consistently, without labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from w2s_jax.data.task_data import TaskData
from w2s_jax.data.tokens import Text
from w2s_jax.runtime.errors import UserError
from w2s_jax.stages.base import SoftLabels
from w2s_jax.stages.student import Teaching, WayToLearn
from w2s_jax.students.registry import WAYS_TO_LEARN
from w2s_jax.train import ccs
from w2s_jax.train.learner import Learner


@WAYS_TO_LEARN.register
@dataclass(frozen=True)
class CCS(WayToLearn):
    """Contrast-consistent search (Burns et al. 2022, arXiv 2212.03827); see `train.ccs`.

    Weak labels decide only which of the two sides means yes.

    Attributes:
      tries: random starts, of which the one with the least loss is kept.
      steps: of AdamW on all pairs.
      learning_rate, weight_decay: of AdamW.
    """

    tries: int = 10
    steps: int = 1000
    learning_rate: float = 1e-3
    weight_decay: float = 0.01

    asks = True

    def learn(self, teaching: Teaching) -> SoftLabels:
        lesson = teaching.lesson

        def pairs(texts: Sequence[Text]) -> list[Float[np.ndarray, "n d"]]:
            return [teaching.features(column) for column in contrasts(texts, teaching.answers)]

        training = pairs(lesson.train.split.texts)
        fitted = ccs.fit_ccs(
            *training,
            seed=teaching.seed,
            tries=self.tries,
            steps=self.steps,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
        )
        fitted = ccs.oriented(fitted, ccs.predict_ccs(fitted, *training), lesson.train.targets)
        return {name: ccs.predict_ccs(fitted, *pairs(split.texts)) for name, split in lesson.all_labelled.items()}

    def reads(self, texts: tuple[Text, ...], answers: Sequence[str]) -> tuple[Text, ...]:
        return tuple(text for column in contrasts(texts, answers) for text in column)

    def identity(self) -> dict[str, Any]:
        return {"ccs": [self.tries, self.steps, self.learning_rate, self.weight_decay]}

    def describe(self) -> str:
        return "CCS"

    def check(self, task: TaskData, learner: Learner) -> None:
        contrasts(task.texts, task.answers)


def contrasts(texts: Sequence[Text], answers: Sequence[str]) -> list[tuple[Text, ...]]:
    """Every text with each of the two answers, by answer: contrast pairs.

    Raises:
      UserError: more than two classes, or examples of several texts.
    """
    if len(answers) != 2 or not all(isinstance(text, str) for text in texts):
        raise UserError("CCS needs a task of two classes whose examples are one text each")
    return [tuple(f"{text} {answer}" for text in texts) for answer in answers]
