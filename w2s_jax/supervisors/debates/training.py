"""Debaters trained by a judge's preferences."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from w2s_jax.data.splits import Split, Splits
from w2s_jax.data.task_data import TaskData
from w2s_jax.data.tokens import Text
from w2s_jax.runtime.errors import UserError
from w2s_jax.stages import cost
from w2s_jax.stages.base import (
    Fit,
    Group,
    Labelled,
    Lesson,
    SessionView,
    Shown,
    Stage,
    fit_group,
    learner_identity,
    on_task,
)
from w2s_jax.stages.cost import Work
from w2s_jax.stages.truth import TRUTH_LOSS, on_truth
from w2s_jax.supervisors.debates.debaters import BestOf, Debater, Opening, Speaker
from w2s_jax.supervisors.debates.desk import Desk, heading
from w2s_jax.supervisors.debates.protocols import Protocol
from w2s_jax.supervisors.debates.registry import PARTS
from w2s_jax.train.learner import Learner


@PARTS.register
@dataclass(frozen=True)
class Tuned(Debater):
    """A debater trained by a judge's preferences (DPO, Rafailov et al. 2305.18290): of two of its own first arguments
    for a class, that after which the judge finds the class more probable is preferred. What is true plays no part.

    It is trained for each seed, on the texts of the transfer split, without labels.

    Attributes:
      samples: the untrained debater and the judge; two samples of it make a pair.
      training: how it is trained: the same model, with a `preference`.

    Raises:
      UserError: more samples than two, another model, or no preference.
    """

    samples: BestOf
    training: Learner

    trains_itself = True

    def __post_init__(self) -> None:
        if self.samples.count != 2:
            raise UserError(f"a pair of arguments is the best of 2, not of {self.samples.count}")
        if self.training.preference is None or self.training.model != self.plain.learner.model:
            raise UserError("a debater is tuned from its own model, with a preference=Preference('dpo', beta=...)")

    @property
    def plain(self) -> Speaker:
        return self.samples.debater

    def say(self, openings: Sequence[Opening], desk: Desk) -> list[str]:
        return desk.write(self.plain, [each.prompt for each in openings], trained=self)

    def trains(self, task: TaskData, seed: int, protocol: Protocol) -> "DebaterTraining":
        return DebaterTraining(task, seed, self, protocol)

    def identity(self) -> dict[str, Any]:
        return {"tuned": self.samples.identity(), "training": learner_identity(self.training)}

    def describe(self) -> str:
        preference = self.training.preference
        assert preference is not None
        return f"{self.plain.describe()}, tuned by {preference.score}"


@dataclass(frozen=True, eq=False)
class DebaterTraining(Stage):
    """A debater's parameters after it learned a judge's preferences; it labels nothing."""

    role = "debater"
    keeps = True
    task: TaskData
    seed: int
    tuned: Tuned
    protocol: Protocol

    @property
    def learner(self) -> Learner:
        return on_task(self.tuned.training, self.task)

    @property
    def needs(self) -> tuple[Stage, ...]:
        return ()

    def sees(self, splits: Splits) -> Shown:
        return Shown(splits.transfer.without_truth(), splits.validation.without_truth(), {})

    @property
    def group(self) -> Group | None:
        return fit_group(self, TRUTH_LOSS, {}, (self.tuned, self.protocol))

    @property
    def asks(self) -> bool:
        return True

    def own_identity(self) -> dict[str, Any]:
        return {"debater": self.tuned.identity(), "protocol": self.protocol.identity()}

    def make(self, session: SessionView) -> Fit:
        desk = Desk(session, self.answers)
        parts = [self._pairs(split, desk) for split in (self.shown.train, self.shown.validation)]
        return on_truth(self.learner, (), Lesson(parts[0], parts[1], {}), None)

    def _pairs(self, split: Split, desk: Desk) -> Labelled:
        """Two arguments for each class of each text, where they are not the same, and which is preferred."""
        asked = [
            (row, Opening(str(text) + heading(cue, desk.answers), cue.answer))
            for row, text in enumerate(split.texts)
            for cue in dict.fromkeys(
                each for each in self.protocol.cues(text, swapped=False)[:2] if each.role in ("first", "second")
            )
        ]
        openings = [opening for _, opening in asked]
        one, two = self.tuned.samples.samples(openings, desk)
        rated = np.stack([desk.prefer(self.tuned.samples.judge, openings, each) for each in (one, two)], axis=1)
        kept = [place for place, pair in enumerate(zip(one, two, strict=True)) if all(pair) and pair[0] != pair[1]]
        if not kept:
            raise UserError(f"{self.describe()} has no pair of different arguments: raise the temperature")
        texts: tuple[Text, ...] = tuple(
            (f"{openings[place].prompt} {one[place]}", f"{openings[place].prompt} {two[place]}") for place in kept
        )
        rows = np.array([asked[place][0] for place in kept], np.int32)
        plain = split.take(rows)
        ids = tuple(f"{identifier}#{openings[place].answer}" for identifier, place in zip(plain.ids, kept, strict=True))
        targets = np.eye(2, dtype=np.float32)[rated[kept].argmax(axis=1)]
        return Labelled(replace(plain, ids=ids, texts=texts), targets)

    def describe(self) -> str:
        return f"debater {self.tuned.describe()}"

    def work(self) -> Iterator[Work]:
        sides, (train, validation, _) = 2, self.shown.sizes
        plain, extra = self.tuned.plain, self.tuned.plain.tokens
        whole = replace(plain.learner, parameters="full")
        yield Work(4 * cost.reading(whole, self.task.texts, sides * (train + validation), extra))
        yield from cost.finetuning(self.learner, self.task.texts, 2 * sides * train, 2 * sides * validation, 0, extra)
