"""The arms, from what any model that is asked alone gives: chains of thought, and probabilities of letters."""

import abc
import contextlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from w2s_jax.data.answers import MODELS, ModelAnswer, write_models
from w2s_jax.runtime.checks import check_count, check_range
from w2s_jax.runtime.errors import UserError
from w2s_jax.study import assignment, questions
from w2s_jax.study.config import Study
from w2s_jax.study.questions import Question

ZERO_SHOT, FEW_SHOT, BEST_OF_N = "zero-shot", "few-shot", "best-of-n"
Tell = Callable[[str], None]
Letters = Float[np.ndarray, " k"]  # the probability of each of a question's letters


class Shot(NamedTuple):
    """A question with its right choice, which is shown before others."""

    question: Question
    label: int


Shots = Mapping[int, Sequence[Shot]]  # by the number of choices of the question that they stand before


class Asking(abc.ABC):
    """A model that is ready to be asked."""

    @abc.abstractmethod
    def chains(self, asked: Sequence[Question], sample: int) -> list[str]:
        """A chain of thought about each question; another `sample` is another draw. All are asked before any letters.

        Raises:
          UserError: the model cannot be asked.
        """

    @abc.abstractmethod
    def letters(
        self, asked: Sequence[Question], *, shots: Shots | None = None, chains: Sequence[str] | None = None
    ) -> list[Letters]:
        """How probable each of a question's letters is as the answer, after examples or after a chain of its own.

        Raises:
          UserError: the model cannot be asked.
        """


@dataclass(frozen=True, kw_only=True)
class Alone(abc.ABC):
    """A model, and how it is asked. A kind is a frozen dataclass, checked when made.

    Attributes:
      shots: examples before each question, few-shot; 0 leaves that arm out.
      samples: chains of thought for each question, best-of-n; 0 leaves that arm out.
      tokens: of a chain, at most.
      temperature: of sampling chains.
      seed: of chains, and of which examples are shown.

    Raises:
      UserError: a number is out of range.
    """

    shots: int = 5
    samples: int = 20
    tokens: int = 128
    temperature: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_count("shots", self.shots, 0)
        check_count("samples", self.samples, 0)
        check_count("tokens", self.tokens)
        check_range("temperature", self.temperature, 0.01, 10)

    @abc.abstractmethod
    def open(self, tell: Tell) -> contextlib.AbstractContextManager[Asking]:
        """Gets it ready.

        Args:
          tell: is told, in a line each, of what is not as it should be.

        Raises:
          UserError: it cannot be asked for letters.
        """


def write(study: Study, kind: Alone, tell: Tell = lambda said: None) -> Path:
    """Asks the model all of a study's questions, and writes `models.parquet` into its folder.

    Examples are of the task's other questions, of groups of which the study asks none.

    Raises:
      UserError: the task cannot be read or has too few other questions, or the model cannot be asked.
    """
    every, key = questions.read(study.task, study.options)
    asked = [question for block in assignment.draw_blocks(study, every) for question in block]
    taken = {question.group or question.id for question in asked}
    others = [Shot(each, key[each.id]) for each in every if (each.group or each.id) not in taken]
    path = study.folder / MODELS
    path.parent.mkdir(parents=True, exist_ok=True)
    write_models(path, answers(kind, asked, others, tell))
    return path


def answers(
    kind: Alone, asked: Sequence[Question], others: Sequence[Shot], tell: Tell = lambda said: None
) -> list[ModelAnswer]:
    """What the model says of each question, arm by arm.

    Args:
      others: that examples are taken from; of the same number of choices as a question.
      tell: is told what is being done.

    Raises:
      UserError: there are too few others, or the model cannot be asked: it is an encoder, or a prompt is too long.
    """
    shots = {count: draw_shots(kind, others, count) for count in sorted({len(each.choices) for each in asked})}
    with kind.open(tell) as asking:
        if kind.samples:
            tell(f"{kind.samples} chains of thought of each of {len(asked)} questions ...")
        chains = [asking.chains(asked, sample) for sample in range(kind.samples)]
        tell(f"letters of {len(asked)} questions ...")
        found = {ZERO_SHOT: asking.letters(asked)}
        if kind.shots:
            found[FEW_SHOT] = asking.letters(asked, shots=shots)
        if chains:
            found[BEST_OF_N] = _most_confident([asking.letters(asked, chains=said) for said in chains])
    return [
        ModelAnswer(arm, question.id, tuple(map(float, probs)))
        for arm, rows in found.items()
        for question, probs in zip(asked, rows, strict=True)
    ]


def draw_shots(kind: Alone, others: Sequence[Shot], count: int) -> list[Shot]:
    """Examples with so many choices, of different groups as far as there are.

    Raises:
      UserError: there are too few.
    """
    known: dict[str, list[Shot]] = defaultdict(list)
    for each in others:
        if len(each.question.choices) == count:
            known[each.question.group or each.question.id].append(each)
    draw = np.random.default_rng([kind.seed, count])
    groups = [known[name] for name in draw.permutation(sorted(known))] if known else []
    rounds = range(max(map(len, groups), default=0))
    found = [group[place] for place in rounds for group in groups if place < len(group)][: kind.shots]
    if len(found) < kind.shots:
        raise UserError(
            f"{kind.shots} examples need as many questions of {count} choices that the study does not ask, nor others "
            f"of their group; the task has {len(found)}: give {type(kind).__name__} fewer shots, or the task a larger "
            "pool"
        )
    return found


def _most_confident(samples: Sequence[list[Letters]]) -> list[Letters]:
    """Of each question the sample whose most probable letter is the most probable."""
    return [max(each, key=lambda probs: float(probs.max())) for each in zip(*samples, strict=True)]
