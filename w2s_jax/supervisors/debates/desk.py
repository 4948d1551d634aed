"""The models that a debate needs, each loaded once: they write, and say what a judge would answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float

from w2s_jax.stages.base import SessionView, Stage
from w2s_jax.supervisors.debates.debaters import Debater, Opening, Speaker
from w2s_jax.supervisors.debates.protocols import Cue, Protocol
from w2s_jax.supervisors.transcripts import Transcript
from w2s_jax.train.finetune import softmax
from w2s_jax.train.learner import Learner
from w2s_jax.train.prompting import Asking
from w2s_jax.train.writing import Writer

TEMPLATE = "{text}\nAnswer:"


@dataclass
class Desk:
    """What debaters write with.

    Attributes:
      answers: what the two classes are called.
      trained: the stages that trained debaters, by debater; of every other one the published model writes.
    """

    session: SessionView
    answers: Sequence[str]
    trained: Mapping[Debater, Stage] = field(default_factory=dict)
    _writers: dict[tuple[Learner, Debater | None], Writer] = field(default_factory=dict)
    _judges: dict[Learner, Asking] = field(default_factory=dict)

    def write(self, debater: Speaker, prompts: Sequence[str], trained: Debater | None = None) -> list[str]:
        """How the debater's model continues each prompt, up to its line's end.

        Args:
          trained: whose trained parameters write; None is the published ones.

        Raises:
          UserError: as `Writer`.
        """
        key = learner, _ = debater.learner, trained
        if key not in self._writers:
            whole = replace(learner, read_layer=None)
            start = None if trained is None else self.session.pretrained(whole, self.trained[trained])
            self._writers[key] = Writer(learner, self.session.mesh, start)
        return self._writers[key](prompts, tokens=debater.tokens, temperature=debater.temperature, seed=debater.seed)

    def prefer(self, judge: Learner, openings: Sequence[Opening], said: Sequence[str]) -> Float[np.ndarray, " n"]:
        """How probable a judge finds the class that is argued for, after each argument, in [0, 1]."""
        if judge not in self._judges:
            learner = replace(judge, read_layer=None)
            self._judges[judge] = Asking(learner, self.session.pretrained(learner, None), mesh=self.session.mesh)
        read = [f"{opening.prompt} {words}" for opening, words in zip(openings, said, strict=True)]
        logits = self._judges[judge].logits(read, [], [f" {each}" for each in self.answers], template=TEMPLATE)
        return softmax(logits)[np.arange(len(read)), [opening.answer for opening in openings]]


def heading(cue: Cue, answers: Sequence[str]) -> str:
    """What a turn begins with."""
    return cue.heading if cue.answer < 0 else cue.heading.replace("{answer}", answers[cue.answer])


def spoken(said: Transcript, cues: Sequence[Cue], answers: Sequence[str]) -> str:
    """What was said so far, as it follows its text."""
    return "".join(f"{heading(cue, answers)} {each.argument}" for each, cue in zip(said, cues, strict=False))


def transcript_of(text: str, said: Transcript, protocol: Protocol, answers: Sequence[str], swapped: bool) -> str:
    """A text with what was said of it."""
    return text + spoken(said, protocol.cues(text, swapped=swapped), answers)
