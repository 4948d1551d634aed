"""What a study asks: questions without their key, and the key apart, from any task."""

import random
from collections.abc import Mapping
from typing import NamedTuple

from w2s_jax.data.questions import LETTERS
from w2s_jax.data.task_config import TaskConfig
from w2s_jax.data.task_data import TaskData
from w2s_jax.runtime.errors import UserError

MOST = 10  # choices


class Question(NamedTuple):
    """A question as a participant sees it. It does not say which choice is right.

    Attributes:
      id: that of the task's example.
      passage: shown above the question; empty where there is none.
      choices: 2 to 10, in the order of their letters.
      group: questions on one passage or subject share it.
    """

    id: str
    passage: str
    question: str
    choices: tuple[str, ...]
    group: str = ""


Key = Mapping[str, int]  # the place of each question's right choice


def read(task: TaskConfig, options: int | None = None) -> tuple[list[Question], Key]:
    """Every question of a task, sorted by id, and the key.

    Args:
      options: keep the right choice and so many less one of the others, drawn by a hash of the question; None is all.

    Raises:
      UserError: the task cannot be read, or has too many or too few choices.
    """
    data = TaskData(task)
    asked, found, key = data.questions, [], {}
    for example in data.examples:
        parts = asked[example.id]
        question, label = Question(example.id, *parts, group=example.group), example.label
        if not 2 <= len(question.choices) <= MOST:
            raise UserError(f"question {example.id!r} has {len(question.choices)} choices; a study takes 2 to {MOST}")
        if options is not None:
            question, label = fewer(question, label, options)
        found.append(question)
        key[example.id] = label
    return sorted(found), key


def fewer(question: Question, label: int, options: int) -> tuple[Question, int]:
    """The question with so many of its choices, the right one among them, and the right one's new place.

    >>> asked, label = fewer(Question("q1", "", "What melts?", ("fog", "ice", "lime")), 1, 2)
    >>> len(asked.choices), asked.choices[label]
    (2, 'ice')
    """
    if not 2 <= options <= len(question.choices):
        raise UserError(f"options={options}, but question {question.id!r} has {len(question.choices)} choices")
    draw = random.Random(f"options {question.id}")
    others = [place for place in range(len(question.choices)) if place != label]
    kept = sorted([label, *draw.sample(others, options - 1)])
    return question._replace(choices=tuple(question.choices[place] for place in kept)), kept.index(label)


def written(question: Question, *, passage: bool = True) -> str:
    """The question with its choices and their letters, as a model reads it."""
    listed = "\n".join(f"{letter}. {choice}" for letter, choice in zip(LETTERS, question.choices, strict=False))
    above = f"{question.passage}\n\n" if passage and question.passage else ""
    return f"{above}Question: {question.question}\n{listed}"
