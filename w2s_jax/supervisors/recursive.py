"""Recursive reward modelling: the arguments that a judge reads are chosen by the last level's reward model.

Leike et al. 2018 (arXiv 1811.07871, section 3.2): agents trained with one reward model help to evaluate the next. Here
the agent is an advisor, and its policy best-of-n (Stiennon et al. 2020, arXiv 2009.01325; of arguments: Khan et al.
2024, arXiv 2402.06782): of several samples it gives the argument that the reward model finds most persuasive.
"""

import functools
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Bool, Float, Int

from w2s_jax import losses, metrics
from w2s_jax.data.predictions import Predictions
from w2s_jax.data.splits import Split, Splits
from w2s_jax.data.task_data import TaskData
from w2s_jax.data.tokens import Text
from w2s_jax.metrics import Finding
from w2s_jax.runtime.errors import UserError
from w2s_jax.stages import checks, cost
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
from w2s_jax.stages.measuring import Setting
from w2s_jax.stages.supervise import Inputs, Kept, Said, Supervise, Supervisor
from w2s_jax.stages.truth import TRUTH_LOSS, adapted, on_truth
from w2s_jax.supervisors import transcripts
from w2s_jax.supervisors.advised import Advised, sandwiches
from w2s_jax.supervisors.registry import SUPERVISORS
from w2s_jax.supervisors.transcripts import Debating, Transcript
from w2s_jax.train.learner import Learner

Sampled = Sequence[Mapping[Text, Transcript]]  # each text's transcript, by candidate
CANDIDATES = "candidates"  # the split of the arguments that a reward model rates


@SUPERVISORS.register
@dataclass(frozen=True)
class Recursive(Supervisor):
    """Recursive reward modelling (Leike et al. 1811.07871): a judge reads arguments that a reward model chose.

    At level 0 it is `advised` itself. The judge's labels of the transfer split, never ground truth, then teach
    `reward_model`, which reads the same transcripts; of `candidates` sampled arguments each side of the next level's
    transcripts gives the one by which the reward model finds its class most probable (best-of-n: Stiennon et al.
    2009.01325, Khan et al. 2402.06782); the judge learns anew with those; and so on, level after level.

    Attributes:
      advised: the judge, its advisor and the protocol, of one turn and sampled. Candidate i is what the advisor says at
        `seed + i`; the first is what level 0 shows. `shuffled` is the control: the judge, and no reward model, has
        another example's chosen transcript at this level.
      reward_model: a fresh one learns at every level.
      level: how many reward models, one after another, choose for the judge.
      candidates: of each argument.

    Raises:
      UserError: a level below 1, fewer than two candidates, several turns, or a temperature of 0, at which all
        candidates are one.
    """

    advised: Advised
    reward_model: Learner
    level: int = 1
    candidates: int = 4

    asks = True

    def __post_init__(self) -> None:
        if self.level < 1 or self.candidates < 2:
            raise UserError(
                "a recursive supervisor needs level 1 or more (0 is its `advised`), and 2 candidates or more"
            )
        if self.advised.turns != 1:
            raise UserError(f"a recursive supervisor's sides speak once, not in {self.advised.turns} turns")
        if self.advised.temperature == 0:
            raise UserError("a recursive supervisor's advisor must sample: at temperature 0 all candidates are one")

    @property
    def debating(self) -> Debating:
        return self.advised.debating

    @property
    def sampling(self) -> tuple[Debating, ...]:
        """The advisors whose transcripts hold each side's candidates; level 0 shows the first."""
        plain = self.debating
        return tuple(replace(plain, seed=plain.seed + place) for place in range(self.candidates))

    def trains(self) -> Learner:
        return self.advised.judge

    def reads(self) -> Hashable:
        return self

    def appends(self) -> int:
        return self.advised.appends()

    def needs(self, task: TaskData, seed: int) -> tuple[Stage, ...]:
        return (RewardModel(task, seed, replace(self, advised=replace(self.advised, shuffled=False))),)

    def label(self, inputs: Inputs) -> Fit:
        (chooser,) = inputs.needs
        assert isinstance(chooser, RewardModel)
        sampled = sample(self, inputs.lesson.texts, inputs.answers, inputs.session)
        said = chooser.chosen(inputs.session, sampled)

        def read(_: str, split: Split) -> list[Text]:
            return transcripts.with_transcripts(self.debating, split.texts, said, inputs.answers, self.advised.shuffled)

        return inputs.fit(inputs.lesson.reread(read), reread=True)

    def identity(self, task: TaskData) -> dict[str, Any]:
        rated = {"level": self.level, "candidates": self.candidates}
        return {"recursive": rated, **self.advised.identity(task)}

    def learners(self) -> tuple[Learner, ...]:
        return self.advised.judge, self.reward_model

    def check(self, task: TaskData, seed: int) -> None:
        self.advised.check(task, seed)

    def describe(self) -> str:
        return f"{self.advised.describe()}, level {self.level}"

    def work(self, task: TaskData, seed: int) -> Iterator[Work]:
        yield from (transcripts.work(each, task) for each in self.sampling)

    def shows(self, stage: Supervise, kept: Kept) -> dict[Text, list[Said]]:
        (chooser,) = stage.own_needs
        sampled = [transcripts.stored(each, stage.task.answers, kept.transcripts) for each in self.sampling]
        said = chosen(self, chooser.shown.predict[CANDIDATES], kept.read(chooser), sampled)
        return self.advised.arguments(stage, said)

    def measures(self, setting: Setting) -> Iterator[Finding]:
        """A sandwich with the same judge without advice, and what the choice of arguments changed."""

        def policies(task: TaskData, seeds: Sequence[int]) -> list[dict[str, float]]:
            return [self._policy(setting, task, seed) for seed in seeds]

        return sandwiches(setting, self.advised, self.advised.shuffled, policies)

    def _policy(self, setting: Setting, task: TaskData, seed: int) -> dict[str, float]:
        chooser = setting.stage(task, setting.name, seed).needs[0]
        rated, test = setting.read(chooser), task.splits(seed).test
        assert test.labels is not None
        reward = rewards(self, candidates(self, [test]), rated)
        argued = np.array([transcripts.speakers(self.advised.protocol, str(text)) for text in test.texts])
        return policy(rated.for_split("test", test.ids), test.labels, reward, argued == test.labels[:, None])


@dataclass(frozen=True, eq=False)
class RewardModel(Stage):
    """The student of the level below, which reads its transcripts, and whose ratings choose the next level's.

    Attributes:
      recursive: the supervisor whose judge reads what it chooses.
    """

    role = "reward-model"
    task: TaskData
    seed: int
    recursive: Recursive

    @property
    def learner(self) -> Learner:
        return on_task(self.recursive.reward_model, self.task)

    @functools.cached_property
    def teacher(self) -> Supervise:
        """The supervisor of the level below."""
        level = self.recursive.level - 1
        below: Supervisor = replace(self.recursive, level=level) if level else self.recursive.advised
        return Supervise(self.task, self.seed, below)

    @functools.cached_property
    def body(self) -> Stage | None:
        return adapted(self.task, self.seed, self.recursive.reward_model)

    @property
    def needs(self) -> tuple[Stage, ...]:
        return (self.teacher, *self.teacher.own_needs, *(() if self.body is None else (self.body,)))

    def sees(self, splits: Splits) -> Shown:
        rated = candidates(self.recursive, (splits.supervisor, splits.transfer, splits.validation, splits.test))
        validation = splits.validation.without_truth()
        predict = {"validation": validation, "test": splits.test.without_truth(), CANDIDATES: rated}
        return Shown(splits.transfer.without_truth(), validation, predict)

    @property
    def group(self) -> Group | None:
        return fit_group(self, TRUTH_LOSS, {}, self.recursive)

    @property
    def asks(self) -> bool:
        return True

    def own_identity(self) -> dict[str, Any]:
        return {"supervisor": self.recursive.identity(self.task), "learner": learner_identity(self.learner)}

    def check(self, mesh: Mesh | None) -> None:
        checks.learner(self.task, self.learner, mesh)
        checks.loss(self.task, self.learner, TRUTH_LOSS, losses.cross_entropy, {})

    def make(self, session: SessionView) -> Fit:
        shown, maker, answers = self.shown, self.recursive, self.answers
        weak = session.read(self.teacher)
        train, validation = (
            Labelled(split, weak.for_split(name, split.ids))
            for name, split in (("transfer", shown.train), ("validation", shown.validation))
        )
        lesson = Lesson(train, validation, shown.predict)
        sampled = sample(maker, lesson.texts, answers, session)
        said = self._read_by(session, sampled)

        def read(name: str, split: Split) -> list[Text]:
            if name == CANDIDATES:
                return readings(maker, split, said, sampled, answers)
            return transcripts.with_transcripts(maker.debating, split.texts, said, answers)

        return on_truth(self.learner, answers, lesson.reread(read), None)

    def _read_by(self, session: SessionView, sampled: Sampled) -> Mapping[Text, Transcript]:
        """The transcripts that this reward model and its teacher read: the first ones, or those chosen below."""
        for below in self.teacher.own_needs:
            assert isinstance(below, RewardModel)
            return below.chosen(session, sampled)
        return sampled[0]

    def chosen(self, session: SessionView, sampled: Sampled) -> dict[Text, Transcript]:
        """Each text's transcript as its ratings decide."""
        return chosen(self.recursive, self.shown.predict[CANDIDATES], session.read(self), sampled)

    def describe(self) -> str:
        return f"reward model {self.recursive.reward_model.model} for level {self.recursive.level}"

    def work(self) -> Iterator[Work]:
        maker, texts = self.recursive, self.task.texts
        yield from maker.work(self.task, self.seed)
        readings = 1 + maker.debating.sides * (maker.candidates - 1)  # its own transcript, and each with one change
        yield from cost.finetuning(self.learner, texts, *self.shown.sizes, maker.appends())
        shared = self.task.config, maker, "rated", self.body and self.body.key
        yield from cost.features(self.learner, texts, shared, maker.appends(), readings)


def sample(maker: Recursive, texts: Sequence[Text], answers: Sequence[str], session: SessionView) -> Sampled:
    """Each candidate's transcript of every text."""
    return [transcripts.transcripts(each, texts, answers, session) for each in maker.sampling]


def candidates(maker: Recursive, parts: Sequence[Split]) -> Split:
    """An example, with an id of its own, for every candidate of every side of every text; it has no labels.

    The order is that of a table [texts, sides, candidates]. An id ends with the numbers of side and candidate.
    """
    names = [f"{side}.{candidate}" for side in range(maker.debating.sides) for candidate in range(maker.candidates)]
    return Split(
        tuple(f"{identifier}#{name}" for part in parts for identifier in part.ids for name in names),
        tuple(text for part in parts for text in part.texts for _ in names),
        None,
        tuple(group for part in parts for group in part.groups for _ in names),
    )


def readings(
    maker: Recursive, rows: Split, said: Mapping[Text, Transcript], sampled: Sampled, answers: Sequence[str]
) -> list[Text]:
    """What a reward model reads to rate the candidates: its own transcript of the text with one argument replaced.

    Args:
      rows: those of `candidates`, n sides candidates of them.
      said: each text's transcript as the reward model knows it.

    Returns:
      As many texts.
    """
    read: list[Text] = []
    for identifier, text in zip(rows.ids, rows.texts, strict=True):
        side, candidate = map(int, identifier.rpartition("#")[2].split("."))
        changed = (*said[text][:side], sampled[candidate][text][side], *said[text][side + 1 :])
        read.append(str(text) + transcripts.spoken(changed, maker.debating, answers))
    return read


def rewards(maker: Recursive, rows: Split, rated: Predictions) -> Float[np.ndarray, "n sides candidates"]:
    """Each candidate's reward, in [0, 1]: how probable the reward model finds its class once it was argued so.

    Args:
      rows: those of `candidates`.
      rated: the reward model's predictions.

    Raises:
      UserError: it rated others.
    """
    shape = -1, maker.debating.sides, maker.candidates
    argued = [transcripts.speakers(maker.advised.protocol, str(text)) for text in _texts(maker, rows)]
    probs = rated.for_split(CANDIDATES, rows.ids)
    return np.take_along_axis(probs.reshape(*shape, 2), np.array(argued)[:, :, None, None], axis=3)[..., 0]


def best(rewards: Float[np.ndarray, "n sides candidates"]) -> Int[np.ndarray, "n sides"]:
    """Each side's candidate of the highest reward; of equal ones the first."""
    return rewards.argmax(axis=2)


def chosen(maker: Recursive, rows: Split, rated: Predictions, sampled: Sampled) -> dict[Text, Transcript]:
    """Each text's transcript at the level that these ratings decide."""
    picks = best(rewards(maker, rows, rated)).tolist()
    return {
        text: tuple(sampled[candidate][text][side] for side, candidate in enumerate(of_text))
        for text, of_text in zip(_texts(maker, rows), picks, strict=True)
    }


def _texts(maker: Recursive, rows: Split) -> tuple[Text, ...]:
    """The n texts whose candidates these are."""
    return rows.texts[:: maker.debating.sides * maker.candidates]


def policy(
    probs: Float[np.ndarray, "n c"],
    labels: Int[np.ndarray, " n"],
    rewards: Float[np.ndarray, "n sides candidates"],
    right: Bool[np.ndarray, "n sides"],
) -> dict[str, float]:
    """What best-of-n under a reward model does: what is optimized, and whether truth is the easier thing to argue.

    Args:
      probs: the reward model's, of texts with its own transcripts.
      rewards: of every candidate; the first is what is said without choice, the highest is what is said.
      right: whether a side argues for the true class.

    Returns:
      Accuracy of the `reward model`; `changed arguments`, the share of arguments that are not the first candidate; the
      mean reward of the arguments for the right class and for the wrong one, of first candidates (`right, first`,
      `wrong, first`) and of chosen ones (`right, chosen`, `wrong, chosen`); NaN where none was argued so.
    """
    first, highest = rewards[..., 0], rewards.max(axis=-1)
    found = {
        "reward model": metrics.accuracy(probs, labels),
        "changed arguments": float((rewards.argmax(axis=-1) > 0).mean()),
    }
    for name, sides in (("right", right), ("wrong", ~right)):
        found[f"{name}, first"], found[f"{name}, chosen"] = float(first[sides].mean()), float(highest[sides].mean())
    return found
