"""A study as frozen data. A config is a short Python file that names one `study`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from w2s_jax.data.task_config import TaskConfig
from w2s_jax.runtime import errors, references
from w2s_jax.runtime.checks import check_count
from w2s_jax.runtime.errors import UserError
from w2s_jax.study.assistants.base import Assistant
from w2s_jax.study.design import Design
from w2s_jax.study.protocols import Protocol
from w2s_jax.study.questions import MOST, Question
from w2s_jax.study.texts import CONSENT, FAREWELL, INSTRUCTIONS

PassageFor = Literal["everyone", "participant", "assistant"]

PRACTICE = Question(
    "practice",
    "A farmer has seventeen sheep. In the night all but nine of them run away through a hole in the fence.",
    "How many sheep are left?",
    ("None", "Eight", "Nine", "Seventeen"),
)


@dataclass(frozen=True)
class Study:
    """Participants answer the same questions under several conditions, each question under one of them.

    Attributes:
      name: of the study's folder, `<out>/<name>/`.
      task: where the questions come from; of its sizes only `pool` is used.
      conditions: name -> protocol, as {"alone": Alone(), "chat": Chat()}; `w2s_jax.study.protocols` has them.
      assistant: who speaks in all conditions but `Alone`; `w2s_jax.study.assistants` has them.
      questions: of each participant in each condition.
      participants: how many links there are.
      seconds: for a question, by the server's clock.
      turns: messages that a participant may write on a question.
      tokens: of a reply of the assistant, at most.
      options: the right choice and so many less one of the wrong ones are shown; None is all. Two make a debate that
        of Khan et al. 2024, where one of two debaters argues for the right choice.
      passage: who reads the passage: everyone, the participant or the assistant alone.
      reveal: tell a participant after each answer which choice was right.
      seed: decides questions, their order, conditions and sides.
      title: what participants see as the name of the study.
      consent, instructions, farewell: texts for participants; an empty line begins a new paragraph.
      practice: a question before the others, whose answer does not count; None is none. It is asked under the first
        assisted condition.
      expert: an expert's accuracy on such questions, for the report; None where nobody knows.
      source: where that is from.
      out: studies' folders are written there.

    Raises:
      UserError: something is missing or does not fit together.

    Example:
      >>> from w2s_jax.study.protocols import Alone
      >>> Study("demo", TaskConfig("mmlu_choices"), {"alone": Alone()}).folder.as_posix()
      'runs/demo'
    """

    name: str
    task: TaskConfig
    conditions: Mapping[str, Protocol]
    assistant: Assistant | None = None
    questions: int = 10
    participants: int = 8
    seconds: int = 300
    turns: int = 10
    tokens: int = 200
    options: int | None = None
    passage: PassageFor = "everyone"
    reveal: bool = False
    seed: int = 0
    title: str = "A study of questions and answers"
    consent: str = CONSENT
    instructions: str = INSTRUCTIONS
    farewell: str = FAREWELL
    practice: Question | None = PRACTICE
    expert: float | None = None
    source: str = "given"
    out: str = "runs"

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.name):
            raise UserError(f"study name {self.name!r} must be letters, digits, '.', '_' and '-'")
        if not isinstance(self.task, TaskConfig):
            raise UserError(f"a study's task is a TaskConfig, not {self.task!r}")
        if not isinstance(self.conditions, Mapping):
            raise UserError(f"conditions are names and protocols, as {{'alone': Alone()}}, not {self.conditions!r}")
        if not self.conditions:
            raise UserError(f"study {self.name!r} has no conditions; give at least one, as {{'alone': Alone()}}")
        for name, protocol in self.conditions.items():
            if not isinstance(name, str) or not name.strip():
                raise UserError(f"a condition's name is a text, not {name!r}")
            if not isinstance(protocol, Protocol):
                raise UserError(f"condition {name!r} is a protocol, as Chat(), not {protocol!r}")
        for name in ("questions", "participants", "seconds", "turns", "tokens"):
            check_count(name, getattr(self, name))
        for name in ("title", "consent", "instructions", "farewell"):
            if not isinstance(getattr(self, name), str) or not getattr(self, name).strip():
                raise UserError(f"{name} must be a text for participants, not {getattr(self, name)!r}")
        if not isinstance(self.reveal, bool):
            raise UserError(f"reveal must be True or False, not {self.reveal!r}")
        if self.options is not None and not (isinstance(self.options, int) and 2 <= self.options <= MOST):
            raise UserError(f"options must be 2 to {MOST}, or None for all, not {self.options!r}")
        if self.passage not in get_args(PassageFor):
            raise errors.unknown("reader of the passage", self.passage, get_args(PassageFor))
        if self.assistant is not None and not isinstance(self.assistant, Assistant):
            raise UserError(f"assistant is an object of a kind in w2s_jax.study.assistants, not {self.assistant!r}")
        assisted = [name for name, protocol in self.conditions.items() if protocol.assisted]
        if assisted and self.assistant is None:
            raise UserError(f"condition {assisted[0]!r} needs an assistant; give the study one")
        _ = self.design  # refuses an expert's accuracy that is none
        if not isinstance(self.practice, Question | None):
            raise UserError(f"practice is a Question(...) of w2s_jax.study.questions, or None, not {self.practice!r}")
        if self.practice is not None and not 2 <= len(self.practice.choices) <= MOST:
            raise UserError(f"the practice question has {len(self.practice.choices)} choices; want 2 to {MOST}")

    @property
    def folder(self) -> Path:
        """Where the study is kept."""
        return Path(self.out) / self.name

    @property
    def design(self) -> Design:
        """What its report must know."""
        plain = [name for name, protocol in self.conditions.items() if not protocol.assisted]
        return Design(self.name, self.task.title, (plain or ["alone"])[0], self.expert, self.source)

    @property
    def practice_condition(self) -> str:
        """The condition of the practice question: the first that is assisted, if one is."""
        assisted = [name for name, protocol in self.conditions.items() if protocol.assisted]
        return (assisted or list(self.conditions))[0]


def load(path: str) -> Study:
    """Reads the `study` of a Python file.

    Raises:
      UserError: no such file, or it names no `study`.
    """
    found: Study = references.named(path, "study", Study)
    return found
