"""A judge that reads a debate whose parts are chosen one by one: protocol, debaters, and who judges."""

import functools
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from w2s_jax import models
from w2s_jax.data import arrays
from w2s_jax.data.splits import Split
from w2s_jax.data.task_data import TaskData
from w2s_jax.data.tokens import Text
from w2s_jax.metrics import Finding
from w2s_jax.runtime.errors import UserError
from w2s_jax.stages import cost
from w2s_jax.stages.base import Fit, SoftLabels, Stage
from w2s_jax.stages.cost import Work
from w2s_jax.stages.measuring import Setting
from w2s_jax.stages.supervise import Inputs, Kept, Said, Supervise, Supervisor
from w2s_jax.supervisors import transcripts
from w2s_jax.supervisors.asked import Asked
from w2s_jax.supervisors.debates.debaters import Debater, Opening
from w2s_jax.supervisors.debates.desk import Desk, heading, spoken, transcript_of
from w2s_jax.supervisors.debates.findings import findings_of, is_better
from w2s_jax.supervisors.debates.protocols import Cue, Protocol, Role, TwoSided
from w2s_jax.supervisors.registry import SUPERVISORS
from w2s_jax.supervisors.resolve import supervisor
from w2s_jax.supervisors.transcripts import Argument, Transcript
from w2s_jax.train import reading
from w2s_jax.train.learner import Learner


@SUPERVISORS.register
@dataclass(frozen=True)
class Debated(Supervisor):
    """A judge after a debate: of two sides, with a judge who asks, or of a proposer and a critic.

    Debaters know no truth; a student reads the plain text. Whether a critic is believed is decided by validation: only
    if, asked alone, it classifies better than the judge alone does (arXiv 2605.27483); else its word is left out.

    Attributes:
      judge: a learner, which learns from ground truth with what was said after the texts; or any other supervisor, as
        `Asked`, which reads it zero-shot.
      debaters: one, who speaks for both classes, or two, each of whom has either class equally often.
      protocol: who speaks when.
      swapped: whoever begins otherwise comes second. The mean of both orders is
        `Ensemble((debate, replace(debate, swapped=True)))`.

    Raises:
      UserError: not one debater or two.
    """

    judge: Any
    debaters: tuple[Debater, ...]
    protocol: Protocol = field(default_factory=TwoSided)
    swapped: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.debaters, tuple) or len(self.debaters) not in (1, 2):
            raise UserError("a debate has one debater, who speaks for both classes, or two, in a tuple")

    @functools.cached_property
    def cast(self) -> Mapping[Role, Debater]:
        """Who speaks."""
        return {"first": self.debaters[0], "second": self.debaters[-1], **self.protocol.cast()}

    @property
    def reader(self) -> Supervisor:
        """The judge."""
        return supervisor(self.judge)

    def trains(self) -> Learner | None:
        return self.reader.trains()

    def reads(self) -> Hashable:
        return self

    def models(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.reader.models(), *(each.plain.learner.model for each in self.cast.values()))))

    def appends(self) -> int:
        return sum(self.cast[cue.role].plain.tokens for cue in self.protocol.cues("", swapped=False))

    def needs(self, task: TaskData, seed: int) -> tuple[Stage, ...]:
        critic = self.protocol.critic
        compared = () if critic is None else (Asked(critic.learner), self.reader)
        trainings = (debater.trains(task, seed, self.protocol) for debater in dict.fromkeys(self.debaters))
        return (
            *(Supervise(task, seed, alone) for alone in compared),
            *(stage for stage in trainings if stage is not None),
        )

    def _compared(self, needs: Sequence[Stage]) -> Sequence[Stage]:
        """Of what it needs critic and judge, each alone; none without a critic."""
        return needs[:2] if self.protocol.critic is not None else ()

    def _trained(self, needs: Sequence[Stage]) -> Sequence[Stage]:
        """Of what it needs the stages that train debaters."""
        return needs[len(self._compared(needs)) :]

    def label(self, inputs: Inputs) -> SoftLabels | Fit:
        said = self._held(inputs)
        if self._compared(inputs.needs) and not self._believed(inputs):
            said = {text: self._without_critic(text, each) for text, each in said.items()}

        def read(_: str, split: Split) -> list[Text]:
            return [
                transcript_of(str(text), said[text], self.protocol, inputs.answers, self.swapped)
                for text in split.texts
            ]

        heard = replace(inputs, lesson=inputs.lesson.reread(read), texts=None)
        return self.reader.label(heard)

    def _believed(self, inputs: Inputs) -> bool:
        validation = inputs.lesson.validation
        labels = validation.targets.argmax(axis=1)
        critic, judge = (inputs.read(each, "validation", validation.split.ids) for each in self._compared(inputs.needs))
        return is_better(critic, judge, labels)

    def _without_critic(self, text: Text, said: Transcript) -> Transcript:
        cues = self.protocol.cues(text, swapped=self.swapped)
        return tuple(each for each, cue in zip(said, cues, strict=True) if cue.role != "critic")

    def _held(self, inputs: Inputs) -> dict[Text, Transcript]:
        names = " and ".join(dict.fromkeys(each.plain.learner.model for each in self.cast.values()))
        stages = self._trained(inputs.needs)
        learn = [each for each in dict.fromkeys(self.debaters) if each.trains_itself]

        def begin() -> Callable[[Sequence[str]], list[Transcript]]:
            desk = Desk(inputs.session, inputs.answers, dict(zip(learn, stages, strict=True)))
            return functools.partial(self._hold, desk=desk)

        folder = self._folder(inputs.answers, inputs.session.transcripts, stages)
        return transcripts.kept(folder, inputs.lesson.texts, begin, names, inputs.session)

    def _folder(self, answers: Sequence[str], root: Path, trained: Sequence[Stage]) -> Path:
        """Where what is said is kept: of trained debaters apart for each training."""
        keys = {"trained": [each.key for each in trained]} if trained else {}
        return transcripts.folder_of({**self._said(), "answers": list(answers), **keys}, root)

    def _hold(self, texts: Sequence[str], desk: Desk) -> list[Transcript]:
        """What is said of these texts: at each turn everybody whose turn it is speaks, of all texts together."""
        cues = [self.protocol.cues(text, swapped=self.swapped) for text in texts]
        said: list[Transcript] = [()] * len(texts)
        for turn in range(len(cues[0])):
            spoke: dict[int, str] = {}
            for role in dict.fromkeys(each[turn].role for each in cues):
                rows = [row for row, each in enumerate(cues) if each[turn].role == role]
                openings = [_opening(texts[row], said[row], cues[row], desk.answers) for row in rows]
                spoke |= dict(zip(rows, self.cast[role].say(openings, desk), strict=True))
            said = [
                (*before, Argument(cues[row][turn].answer, spoke[row], cues[row][turn].role))
                for row, before in enumerate(said)
            ]
        return said

    def _said(self) -> dict[str, Any]:
        """What decides what is said, besides texts and answers."""
        found = {"debaters": [each.identity() for each in self.debaters], "protocol": self.protocol.identity()}
        return {**found, "swapped": True} if self.swapped else found

    def identity(self, task: TaskData) -> dict[str, Any]:
        return {"debated": self._said(), "judge": self.reader.identity(task)}

    def check(self, task: TaskData, seed: int) -> None:
        learner = self.trains()
        if learner is not None and arrays.is_array(learner.model):
            raise UserError(f"{learner.model} holds features; a judge of debates needs a model that reads them")
        if len(task.answers) != 2 or not all(isinstance(text, str) for text in task.texts):
            raise UserError("a debate needs a task of two classes whose examples are one text each")
        self.reader.check(task, seed)
        if self.reader.needs(task, seed):
            raise UserError(
                f"{self.reader.describe()} reads other stages and no debate; an Ensemble of debates has several judges"
            )
        headings = "".join(heading(cue, task.answers) for cue in self.protocol.cues("", swapped=False))
        for each in self.cast.values():
            if models.outline(each.plain.learner.model)[0].is_encoder:
                raise UserError(f"{each.plain.learner.model} is an encoder, which writes nothing; choose a decoder")
            room = self.appends() + each.drafts * each.plain.tokens
            around = headings + (each.scaffold + headings if each.drafts else "")
            reading.encode_prompts(each.plain.learner, [f"{text}{around}" for text in task.texts], room)

    def describe(self) -> str:
        who = " against ".join(each.describe() for each in self.debaters)
        order = ", swapped" if self.swapped else ""
        return f"{self.reader.describe()} after a {self.protocol.describe()} by {who}{order}"

    def work(self, task: TaskData, seed: int) -> Iterator[Work]:
        tokens, before = 0.0, 0
        cues = self.protocol.cues("", swapped=False)
        for cue in cues:
            speaker = self.cast[cue.role]
            before += speaker.plain.tokens
            learner = replace(speaker.plain.learner, parameters="full")
            tokens += speaker.writes * cost.reading(learner, task.texts, len(task.texts), before)
        yield Work(tokens, ("debates", repr(self._said()), task.config))

    def shows(self, stage: Supervise, kept: Kept) -> dict[Text, list[Said]]:
        folder = self._folder(stage.task.answers, kept.transcripts, self._trained(stage.own_needs))
        said = transcripts.read(folder)
        return {
            text: [Said(_title(each, stage.task.answers), each.argument) for each in said[str(text)]]
            for text in stage.shown.predict["test"].texts
            if str(text) in said
        }

    def measures(self, setting: Setting) -> Iterator[Finding]:
        """What the debate does to the judge: persuasion, order, whether its critic is believed, and Elo."""
        yield from findings_of(self, setting)


def _opening(text: str, said: Transcript, cues: Sequence[Cue], answers: Sequence[str]) -> Opening:
    """What whoever's turn it now is continues."""
    cue = cues[len(said)]
    return Opening(text + spoken(said, cues, answers) + heading(cue, answers), cue.answer)


def _title(said: Argument, answers: Sequence[str]) -> str:
    if said.answer < 0:
        return f"the {said.speaker} asks"
    what = "speaks on" if said.speaker == "critic" else "argues for"
    return f"{said.speaker}, {what} {answers[said.answer]}"
