"""A judge that reads a stronger model's arguments about each text: debate and consultancy."""

import itertools
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from w2s_jax import metrics
from w2s_jax.data import arrays
from w2s_jax.data.splits import Split
from w2s_jax.data.task_data import TaskData
from w2s_jax.data.tokens import Text
from w2s_jax.metrics import Finding, in_words
from w2s_jax.runtime.errors import UserError
from w2s_jax.stages.base import Fit
from w2s_jax.stages.cost import Work
from w2s_jax.stages.measuring import Setting
from w2s_jax.stages.supervise import Inputs, Kept, Said, Supervise, Supervisor
from w2s_jax.supervisors import transcripts
from w2s_jax.supervisors.registry import SUPERVISORS
from w2s_jax.supervisors.trained import Trained
from w2s_jax.supervisors.transcripts import Debating, Transcript
from w2s_jax.train.learner import Learner


@SUPERVISORS.register
@dataclass(frozen=True)
class Advised(Supervisor):
    """A supervisor that judges after reading a stronger model's arguments about each text (Lang et al. 2501.13124).

    The advisor writes as it is, once for every text, and knows no truth. The judge learns from ground truth, with the
    transcripts after the texts, and labels with them; a student sees the plain text.

    Attributes:
      advisor: a decoder; of this learner, the model, `max_tokens`, `too_long` and `dtype` count.
      protocol: in a `debate` both answers are argued for, and a hash decides which comes first; in a `consultancy` one,
        which a hash draws, so that it is right half of the time (Khan et al. 2402.06782; Kenton et al. 2407.04622).
      turns: how often each side speaks; it reads all earlier arguments.
      tokens: the most that an argument may have; it also ends with its line.
      temperature: of sampling; 0 takes the most probable token.
      heading: what an argument follows; it holds `{answer}`. It should leave a sentence open: otherwise models, small
        ones above all, end their line at once.
      seed: of sampling, for all seeds of the experiment: several judges of one ensemble read several debates.
      shuffled: the control: every example has another one's transcript.

    Raises:
      UserError: a value out of its range, or a heading without `{answer}`.
    """

    judge: Learner
    advisor: Learner
    protocol: Literal["debate", "consultancy"] = "debate"
    turns: int = 1
    tokens: int = 48
    temperature: float = 0.0
    seed: int = 0
    heading: str = "\nThe answer is {answer} because"
    shuffled: bool = False

    asks = True

    def __post_init__(self) -> None:
        if self.turns < 1 or self.tokens < 1 or self.seed < 0 or not self.temperature >= 0:
            raise UserError("an advisor needs 1 turn or more, 1 token or more, a seed and a temperature of 0 or more")
        if "{answer}" not in self.heading:
            raise UserError(f"an advisor's heading must hold {{answer}}; it is {self.heading!r}")

    def models(self) -> tuple[str, ...]:
        return (self.judge.model, self.advisor.model)

    @property
    def debating(self) -> Debating:
        """What decides the transcripts."""
        return Debating(self.advisor, self.protocol, self.turns, self.tokens, self.temperature, self.seed, self.heading)

    def trains(self) -> Learner:
        return self.judge

    def reads(self) -> Hashable:
        return self

    def appends(self) -> int:
        return self.turns * self.debating.sides * self.tokens

    def label(self, inputs: Inputs) -> Fit:
        written = transcripts.transcripts(self.debating, inputs.lesson.texts, inputs.answers, inputs.session)

        def read(_: str, split: Split) -> list[Text]:
            return transcripts.with_transcripts(self.debating, split.texts, written, inputs.answers, self.shuffled)

        return inputs.fit(inputs.lesson.reread(read), reread=True)

    def identity(self, task: TaskData) -> dict[str, Any]:
        return {"advised": transcripts.identity(self.debating), "shuffled": self.shuffled}

    def check(self, task: TaskData, seed: int) -> None:
        if arrays.is_array(self.judge.model):
            raise UserError(f"{self.judge.model} holds features; a judge of transcripts needs a model that reads them")
        transcripts.check(self.debating, task.texts, task.answers)

    def describe(self) -> str:
        control = "shuffled " if self.shuffled else ""
        return f"{self.judge.model} after a {control}{self.protocol} by {self.advisor.model}"

    def work(self, task: TaskData, seed: int) -> Iterator[Work]:
        yield transcripts.work(self.debating, task)

    def shows(self, stage: Supervise, kept: Kept) -> dict[Text, list[Said]]:
        return self.arguments(stage, transcripts.stored(self.debating, stage.task.answers, kept.transcripts))

    def arguments(self, stage: Supervise, said: Mapping[Text, Transcript]) -> dict[Text, list[Said]]:
        """What the judge reads of each test example, as far as it was said."""
        whose = transcripts.assigned(stage.shown.predict["test"].texts, self.shuffled)
        return {
            text: [Said(f"argues for {stage.task.answers[each.answer]}", each.argument) for each in said[str(of)]]
            for text, of in whose.items()
            if str(of) in said
        }

    def measures(self, setting: Setting) -> Iterator[Finding]:
        """A sandwich with the same judge without advice, where the run has it."""
        return sandwiches(setting, self, self.shuffled)


def sandwiches(
    setting: Setting,
    advised: Advised,
    shuffled: bool,
    policies: "Any" = None,
) -> Iterator[Finding]:
    """A sandwich for every supervisor of the run that is the judge of `advised` alone.

    Args:
      policies: gives, for a task and seeds, what a reward model's choice of arguments changed; None without one.
    """
    alone = [name for name, each in setting.supervisors.items() if each == Trained(advised.judge)]
    for task, unassisted, student in itertools.product(setting.tasks, alone, setting.students):
        yield from _sandwiched(setting, advised, shuffled, task, unassisted, student, policies)


def _sandwiched(
    setting: Setting,
    advised: Advised,
    shuffled: bool,
    task: TaskData,
    unassisted: str,
    student: str,
    policies: Any,
) -> Iterator[Finding]:
    title = task.config.title

    def by_seed(supervisor: str) -> dict[int, metrics.Triple]:
        found = [(key, cell) for key, cell in setting.cells.items() if key[:3] == (title, supervisor, student)]
        return {key.seed: cell for key, cell in found}

    alone, helped = by_seed(unassisted), by_seed(setting.name)
    asked = _zero_shot(setting, advised, student)
    model = {
        key.seed: cell.student
        for key, cell in setting.cells.items()
        if (key.task, key.student, key.method) == (title, student, asked)
    }
    seeds = [seed for seed in setting.seeds if seed in alone and seed in helped and (asked is None or seed in model)]
    if not seeds:
        return
    argues = advised.protocol == "consultancy" and not shuffled
    argued = [
        np.array([transcripts.consulted(text) for text in task.splits(seed).test.texts]) for seed in seeds if argues
    ]
    yield sandwich(
        {"task": title, "supervisor": setting.name, "student": student},
        unassisted,
        seeds,
        [replace(alone[seed], student=helped[seed].supervisor) for seed in seeds],
        [model[seed] for seed in seeds] if asked else [],
        argued,
        policies(task, seeds) if policies else [],
    )


def _zero_shot(setting: Setting, advised: Advised, student: str) -> str | None:
    """The method that asks the advisor itself, where the run has one."""
    if setting.students[student].model != advised.advisor.model:
        return None
    return next((name for name, method in setting.methods.items() if method.learn.zero_shot), None)


def sandwich(
    names: Mapping[str, str],
    unassisted: str,
    seeds: Sequence[int],
    cells: Sequence[metrics.Triple],
    model: Sequence[np.ndarray] = (),
    argued: Sequence[np.ndarray] = (),
    policies: Sequence[Mapping[str, float]] = (),
) -> Finding:
    """A judge alone, the same judge with a stronger model's advice, and an expert (Bowman et al. 2211.03540).

    The non-expert is simulated by a model; so is the expert: the ceiling.

    Args:
      names: task, supervisor (the assisted judge), student (whose ceiling is the expert).
      unassisted: the judge alone, by name.
      cells: for each seed, the judge alone as supervisor, with advice as student, and the expert as ceiling.
      model: for each seed, the advisor's own probabilities [N, C]; empty where it was not asked.
      argued: for each seed, the class that a consultant argues for [N]; empty for a debate.
      policies: for each seed, what `recursive.policy` gives; empty where no reward model chose.

    Returns:
      Values: mean accuracy of `unassisted`, `assisted`, `expert` and, where it was asked, `model`; `misled`, of the
      examples that the judge alone gets right, the share that it gets wrong with advice; `corrected`, of those that it
      alone gets wrong, the share that it gets right with advice; for a consultancy the assisted judge's accuracy where
      the right class is argued for (`argued right`), and where the wrong one is (`argued wrong`; the lower, the more it
      relies on advice); and what `policies` hold, means over seeds. The PGR is
      `(assisted - unassisted) / (expert - unassisted)`.
    """
    labels = np.concatenate([cell.labels for cell in cells])
    alone, helped = (
        np.concatenate([getattr(cell, role).argmax(axis=1) for cell in cells]) == labels
        for role in ("supervisor", "student")
    )
    values: dict[str, float | None] = {}
    for name, role in (("unassisted", "supervisor"), ("assisted", "student"), ("expert", "ceiling")):
        values[name] = float(np.mean([metrics.accuracy(getattr(cell, role), cell.labels) for cell in cells]))
    if model:
        own = [metrics.accuracy(probs, cell.labels) for probs, cell in zip(model, cells, strict=True)]
        values["model"] = float(np.mean(own))
    values |= {"misled": _share(~helped, alone), "corrected": _share(helped, ~alone)}
    if argued:
        truly = np.concatenate(argued) == labels
        values |= {"argued right": _share(helped, truly), "argued wrong": _share(helped, ~truly)}
    for name in policies[0] if policies else ():
        mean = float(np.mean([each[name] for each in policies]))
        values[name] = None if np.isnan(mean) else mean
    pgr = metrics.bounded(metrics.pgr(cells))
    sentence = _sentence(unassisted, values, pgr)
    return Finding("sandwich", **names, method=None, seeds=tuple(seeds), values=values, pgr=pgr, sentence=sentence)


def holds(values: Mapping[str, float | None]) -> bool | None:
    """Whether unassisted < model < expert, without which there is no sandwich; None where the model was not asked."""
    low, middle, high = (values.get(name) for name in ("unassisted", "model", "expert"))
    return None if middle is None or low is None or high is None else low < middle < high


def _share(rows: np.ndarray, among: np.ndarray) -> float | None:
    return float(rows[among].mean()) if among.any() else None


def _sentence(unassisted: str, values: Mapping[str, float | None], pgr: metrics.PGR) -> str:
    def share(name: str) -> str:
        value = values.get(name)
        return "-" if value is None else f"{value:.3f}"

    order = ", ".join(f"{name} {share(name)}" for name in ("unassisted", "model", "expert") if name in values)
    verdict = {None: "the model was not asked", True: "a sandwich", False: "no sandwich"}[holds(values)]
    line = (
        f"assisted {share('assisted')} compared with {unassisted} ({order}: {verdict}; simulated non-expert and "
        f"expert): (assisted - unassisted) / (expert - unassisted) = {in_words(pgr)}; advice misled the judge "
        f"on {share('misled')} of the examples that it gets right alone, and corrected it on {share('corrected')} of "
        "the others"
    )
    if "argued wrong" in values:
        right, wrong = share("argued right"), share("argued wrong")
        line += f"; accuracy {right} where the right answer was argued for, {wrong} where a wrong one was"
    if "changed arguments" in values:
        line += (
            f"; the reward model (accuracy {share('reward model')}) changed {share('changed arguments')} of the "
            f"arguments, which raised the mean reward of those for the right class from {share('right, first')} to "
            f"{share('right, chosen')} and for the wrong one from {share('wrong, first')} to {share('wrong, chosen')}"
        )
    return line
