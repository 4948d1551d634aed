"""Labels that people, or models in their place, gave in a study, with an assistant's help or without."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from w2s_jax.data.annotators import Aggregated, How, Votes, aggregate, check_how
from w2s_jax.data.answers import ANSWERS, SHARED, Answer, read_answers
from w2s_jax.data.example import pick
from w2s_jax.data.task_data import TaskData
from w2s_jax.metrics import Finding
from w2s_jax.runtime import files
from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.origin import Origin
from w2s_jax.stages.base import SoftLabels
from w2s_jax.stages.measuring import Setting
from w2s_jax.stages.supervise import LABELLED, Inputs, Supervisor
from w2s_jax.supervisors.registry import SUPERVISORS


@SUPERVISORS.register
@dataclass(frozen=True)
class Studied(Supervisor):
    """A supervisor whose labels are a study's answers under one condition.

    Every example of transfer, validation and test must have been answered by somebody in time. `TaskConfig(only=...)`
    leaves a task those that were; `w2s study report` writes shared.csv, which names the questions that were answered
    under every condition. Answers that came too late say nothing.

    Attributes:
      folder: the study's, which holds answers.parquet; the key is not read.
      condition: as the study's config names it: `alone`, `chat`, ...
      how: several people's answers to one question become one label by `majority`, the `product` of their
        probabilities, or `dawid-skene` (`data.annotators`).
      soft: class probabilities; else the most probable class, of tied ones one drawn by a hash of the question.
      played: what played the participants, as answers.parquet has it; empty for people. The two are never mixed.

    Raises:
      UserError: there is no such way to combine answers.
    """

    folder: str
    condition: str
    how: How = "majority"
    soft: bool = True
    played: str = ""

    asks = False

    def __post_init__(self) -> None:
        check_how(self.how)

    def label(self, inputs: Inputs) -> SoftLabels:
        labels = self._labels(inputs.n_classes)
        return {name: self._of(labels, name, split.ids) for name, split in inputs.splits.items()}

    def origins(self) -> Mapping[str, Origin]:
        path = Path(self.folder) / ANSWERS
        return {str(path): Origin(str(path), files={path.name: files.sha256_file(path)})}

    def identity(self, task: TaskData) -> dict[str, Any]:
        found = {name: probs.tolist() for name, probs in sorted(self._labels(task.n_classes).items())}
        return {"studied": files.sha256_text(files.canonical(found))}

    def check(self, task: TaskData, seed: int) -> None:
        labels, splits = self._labels(task.n_classes), task.splits(seed)
        for name in LABELLED:
            self._of(labels, name, getattr(splits, name).ids)

    def describe(self) -> str:
        who = f"simulated participants ({self.played})" if self.played else "people"
        return f"{who}, {self.condition}, of {Path(self.folder).name}"

    def measures(self, setting: Setting) -> Iterator[Finding]:
        """How many answers there are, and how many questions were tied, for every task, student and method."""
        answers = self._answers()
        for task in setting.tasks:
            questions, found = self._combined(answers, task.n_classes)
            for student in setting.students:
                values: dict[str, float | None] = {
                    "questions": float(len(questions)),
                    "answers": float(len(answers)),
                    "participants": float(len({answer.participant for answer in answers})),
                    "tied": float(found.tied.sum()),
                }
                sentence = (
                    f"{setting.name}: {len(questions)} questions with {len(answers)} answers of "
                    f"{values['participants']:.0f} {self._who()}, combined by {self.how}; "
                    f"{values['tied']:.0f} tied"
                )
                yield Finding(
                    "study", task.config.title, setting.name, student, None, setting.seeds, values, sentence=sentence
                )

    def _labels(self, n_classes: int) -> dict[str, Float[np.ndarray, " c"]]:
        """The label of every question that was answered."""
        questions, found = self._combined(self._answers(), n_classes)
        probs = found.probs if self.soft else _hard(questions, found)
        return dict(zip(questions, probs.astype(np.float32), strict=True))

    def _answers(self) -> list[Answer]:
        """The answers of this condition that came in time.

        Raises:
          UserError: there are none.
        """
        every = [answer for answer in read_answers(Path(self.folder) / ANSWERS) if answer.is_given]
        found = [a for a in every if (a.condition, a.simulated) == (self.condition, self.played)]
        if not found:
            known = sorted({(answer.condition, answer.simulated) for answer in every})
            listed = ", ".join(f"{name!r}" + (f" with played={kind!r}" if kind else "") for name, kind in known)
            raise UserError(f"{self.folder} has no answers of {self._who()} under {self.condition!r}; it has {listed}")
        return found

    def _who(self) -> str:
        return f"simulated participants ({self.played})" if self.played else "people"

    def _combined(self, answers: Sequence[Answer], n_classes: int) -> tuple[list[str], Aggregated]:
        other = next((answer for answer in answers if answer.n_choices != n_classes), None)
        if other is not None:
            raise UserError(
                f"{self.folder}: question {other.question!r} was shown with {other.n_choices} choices, and the task "
                f"has {n_classes} classes; its answers are no labels of this task"
            )
        questions, number = np.unique([answer.question for answer in answers], return_inverse=True)
        _, person = np.unique([answer.participant for answer in answers], return_inverse=True)
        choices = np.array([answer.choice for answer in answers])
        sure = np.array([answer.confidence for answer in answers])
        return questions.tolist(), aggregate(self.how, Votes(person, number, choices, sure), len(questions), n_classes)

    def _of(
        self, labels: Mapping[str, Float[np.ndarray, " c"]], split: str, ids: Sequence[str]
    ) -> Float[np.ndarray, "n c"]:
        missing = [identifier for identifier in ids if identifier not in labels]
        if missing:
            raise UserError(
                f"{self.folder}: nobody answered {len(missing)} of the {len(ids)} {split} examples under "
                f"{self.condition!r}, {missing[0]!r} among them, and somebody {len(labels)} others; "
                f"TaskConfig(only={str(Path(self.folder) / SHARED)!r}) leaves the task those that were answered under "
                "every condition (`w2s study report` writes that file)"
            )
        return np.stack([labels[identifier] for identifier in ids])


def _hard(questions: Sequence[str], found: Aggregated) -> Float[np.ndarray, "q c"]:
    """1 for the most probable class; of tied ones a hash of the question draws, so that no class is favoured."""
    labels = []
    for question, probs in zip(questions, found.probs, strict=True):
        first = np.flatnonzero(probs >= probs.max() - 1e-12)
        labels.append(int(first[pick(len(first), "tie", question)]))
    return np.eye(found.probs.shape[1])[labels]
