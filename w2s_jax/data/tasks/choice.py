"""Questions with several answers, as examples of one question and one answer, of two answers to compare, or of all."""

import dataclasses
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from w2s_jax.data.example import Example, Question, coin, digest, pick
from w2s_jax.data.questions import each_alone, with_letters
from w2s_jax.data.records import Record, field, text_field
from w2s_jax.data.tasks.base import TASKS, TEMPLATES, Format, Task
from w2s_jax.data.tokens import Text
from w2s_jax.runtime.errors import UserError

# Such an answer tells by itself how likely it is: it is never shown, and questions that it answers are left out.
_SAYS_NOTHING = re.compile(r"none of the above|not enough information", re.IGNORECASE)


class Keyed(NamedTuple):
    """A question with its right answer.

    Attributes:
      label: the place of the right one among the choices.
      group: what related questions share.
      difficulty: as the source rates it.
    """

    question: Question
    label: int
    group: str
    difficulty: float = 0.0


def candidates(
    question: str, right: str, wrong: Sequence[str], *, context: str = "", group: str = "", ask: str = "Question"
) -> Iterable[Example]:
    """One example with the right answer and one with a wrong one, in one group (Burns et al. 2023, A.1).

    Both have the same form, and which wrong answer is shown is decided by a hash of the question. Wrong answers equal
    to the right one do not count.

    >>> [(example.text, example.label) for example in candidates("What melts?", "ice", ["fog"])]
    [('Question: What melts?\\nAnswer: ice', 1), ('Question: What melts?\\nAnswer: fog', 0)]

    Args:
      context: shown above the question.
      group: what related questions share; empty is the question itself.
      ask: what stands before the question.
    """
    wrong = [answer for answer in wrong if answer.strip() != right.strip()]
    if not wrong:
        return
    above = f"{context.strip()}\n" if context else ""
    for answer, label in ((right, 1), (wrong[pick(len(wrong), question, right)], 0)):
        text = f"{above}{ask}: {question.strip()}\nAnswer: {answer.strip()}"
        yield Example(digest(text), text, label, digest(group or question))


def numbered(record: Record, answers: Sequence[str], label: int, context: str) -> Iterable[Example]:
    """A `question` on a context whose right answer is given by number; -1 is a record without labels."""
    if label < 0:
        return
    check_place(label, answers)
    if _SAYS_NOTHING.search(answers[label]):
        return
    wrong = [answer for answer in answers if not _SAYS_NOTHING.search(answer)]
    yield from candidates(text_field(record, "question"), answers[label], wrong, context=context, group=context)


def check_place(label: int, answers: Sequence[str]) -> None:
    """Refuses the place of an answer that is not there."""
    if not 0 <= label < len(answers):
        raise UserError(f"answer {label} is none of the {len(answers)} options")


def lettered(record: Record, question: str, context: str = "", group: str = "") -> Iterable[Example]:
    """A question whose `choices` are a table of texts and letters, and whose right answer is given by letter."""
    choices: Any = field(record, "choices")
    texts, letters = list(choices["text"]), list(choices["label"])
    key = text_field(record, "answerKey")
    if not key:
        return
    if key not in letters:
        raise UserError(f"answer {key!r} is none of {', '.join(letters)}")
    yield from candidates(question, texts[letters.index(key)], texts, context=context, group=group)


def compared(format: Callable[[Record], Iterable[Example]]) -> Callable[[Record], Iterable[Example]]:
    """The format's two examples of each question as one comparison, each answer to be scored by itself.

    Which answer comes first is decided by a hash of both; the label is the right one's place.
    """

    def pairs(record: Record) -> Iterable[Example]:
        examples = list(format(record))
        for right, wrong in zip(examples[::2], examples[1::2], strict=True):
            label = coin(right.id, wrong.id)
            texts = tuple(str(example.text) for example in ((wrong, right) if label else (right, wrong)))
            yield Example(digest(right.id, wrong.id), texts, label, right.group)

    return pairs


def register_with_pairs(task: Task) -> None:
    """Registers a task, and `{name}_pairs`, in which a right and a wrong answer are compared, each scored by itself.

    Args:
      task: one whose records give a right and a wrong answer each, in this order.
    """
    TASKS.register(task)
    TASKS.register(
        dataclasses.replace(
            task,
            name=f"{task.name}_pairs",
            description=f"{task.name}, the right or the wrong answer? each scored by itself",
            format=compared(task.format),
            answers=(),
            templates=TEMPLATES,
            parts=None,
            candidates=2,
        )
    )


def register_with_choices(task: Task, keyed: Callable[[Record], Iterable[Keyed]], count: int) -> None:
    """Registers a task and its `_pairs`, and `{name}_choices`, in which all answers of a question are candidates.

    A question whose right answer stands among its choices twice has no one right place, and is left out.

    Args:
      keyed: the questions of a record, with the right answer's place; none where it is not known.
      count: choices of each question.
    """
    register_with_pairs(task)
    TASKS.register(
        dataclasses.replace(
            task,
            name=f"{task.name}_choices",
            description=f"{task.name}, which of {count} answers? each scored by itself, or all shown with letters",
            format=_examples(keyed, count, each_alone),
            n_classes=count,
            answers=(),
            templates=TEMPLATES,
            parts=None,
            candidates=count,
            letters=_examples(keyed, count, with_letters),
        )
    )


def _examples(keyed: Callable[[Record], Iterable[Keyed]], count: int, written: Callable[[Question], Text]) -> Format:
    def format(record: Record) -> Iterable[Example]:
        for asked, label, group, difficulty in keyed(record):
            check_place(label, asked.choices)
            if len(asked.choices) != count:
                raise UserError(f"a question has {len(asked.choices)} options; all of this task's have {count}")
            if asked.choices.count(asked.choices[label]) == 1:
                name = digest(asked.passage, asked.question, *asked.choices)
                yield Example(name, written(asked), label, group, difficulty, question=asked)

    return format
