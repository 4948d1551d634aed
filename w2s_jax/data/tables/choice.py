"""Tables of questions with several answers of which one is right."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from w2s_jax.data.example import Example, digest
from w2s_jax.data.records import Record, as_whole, is_absent, where
from w2s_jax.data.tables import columns, extras
from w2s_jax.data.tables.base import KINDS, Kind, Layout
from w2s_jax.data.tables.table import Table
from w2s_jax.runtime.errors import UserError

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

# Answers as columns of their own, where no column lists them.
SPREAD = (
    ("A", "B", "C", "D"),
    ("A", "B", "C"),
    ("choice0", "choice1", "choice2", "choice3"),
    ("answer0", "answer1", "answer2", "answer3"),
    ("answerA", "answerB", "answerC"),
    ("option_a", "option_b", "option_c", "option_d"),
    ("sol1", "sol2"),
)

# What the column of the right answer may say, each read as the place of an answer.
HOW = {
    "letter": "the letter of the right answer",
    "text": "the right answer itself",
    "from 0": "its number, counted from 0",
    "from 1": "its number, counted from 1",
}


class Question(NamedTuple):
    """A record's answers, and the letters that the record gives them."""

    choices: list[str]
    letters: list[str]
    answer: Any


@KINDS.register
class Choice(Kind):
    """`question`, `choices` and `answer`: each answer scored by itself, or all shown with letters; K-way accuracy."""

    name = "questions with several answers"
    needs = "a question, choices and the answer"
    takes = ("question", "choices", "answer", "context", *extras.NAMES)

    def fits(self, table: Table) -> bool:
        return (
            not table.has("text")
            and table.column("question") is not None
            and (table.column("choices") is not None or _spread(table) is not None)
            and table.column("answer") is not None
        )

    def layout(self, table: Table) -> Layout:
        if table.options.classes:
            raise UserError("a question has no classes to list: its label is the right answer's place")
        reader = _Reader(table)
        how, count = reader.how()
        there = extras.columns_of(table)
        letters = table.options.choices == "letters"

        def format(record: Record) -> Iterable[Example]:
            found = reader.question(record)
            if is_absent(found.answer):
                return
            label = _places(found)[how]
            asked, above = reader.asked(record), reader.above(record)
            texts: Any = tuple(f"{above}Question: {asked}\nAnswer: {choice}" for choice in found.choices)
            if letters:
                listed = "\n".join(
                    f"{letter}. {choice}" for letter, choice in zip(LETTERS, found.choices, strict=False)
                )
                texts = f"{above}Question: {asked}\n{listed}\nAnswer:"
            more = extras.extra(record, there, digest(above, asked, *found.choices), digest(above or asked))
            yield Example(more.id, texts, label, more.group, more.difficulty)

        shown = "shown together, with letters" if letters else "each scored by itself"
        words = (f"questions from {reader.question_column!r}, {count} answers, {shown}; right: {HOW[how]}",)
        names = tuple(LETTERS[:count]) if letters else ()
        return Layout(format, count, names, 1 if letters else count, (*words, *extras.words(there)))


class _Reader:
    """Reads the parts of a question out of a record."""

    def __init__(self, table: Table) -> None:
        question, answer = table.column("question"), table.column("answer")
        assert question is not None
        assert answer is not None
        self.question_column, self._answer = question, answer
        self._choices, self._spread = table.column("choices"), _spread(table)
        self._context = table.column("context")
        self._read = table.read

    def asked(self, record: Record) -> str:
        return columns.text_at(record, self.question_column).strip()

    def above(self, record: Record) -> str:
        """What is shown above the question."""
        if self._context is None or is_absent(columns.value_at(record, self._context)):
            return ""
        return f"{columns.text_at(record, self._context).strip()}\n"

    def question(self, record: Record) -> Question:
        answer = columns.value_at(record, self._answer) if columns.has(record, self._answer) else None
        if self._choices is None:
            assert self._spread is not None
            return Question([columns.shown(record, name) for name in self._spread], list(LETTERS), answer)
        value = columns.value_at(record, self._choices)
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except json.JSONDecodeError as error:
                raise UserError(f'choices {value!r} are not a list; write them as JSON: ["one", "two"]') from error
        letters: Any = list(LETTERS)
        if isinstance(value, Mapping) and "text" in value:
            value, letters = value["text"], value.get("label", letters)
        if not isinstance(value, list) or len(value) < 2:
            raise UserError(f"choices must be a list of two or more answers, not {value!r}")
        if isinstance(value[0], Mapping):  # one object for each answer
            letters = [str(each.get("label", letter)) for each, letter in zip(value, LETTERS, strict=False)]
            value = [each.get("text") for each in value]
        return Question([columns.as_text(each, "choices") for each in value], list(map(str, letters)), answer)

    def how(self) -> tuple[str, int]:
        """What the column of the right answer says, the same in all records; and how many answers each has.

        Raises:
          UserError: no way of reading it fits all records, or several do and they do not agree.
        """
        ways: dict[str, None] = dict.fromkeys(HOW)
        count, first, same = 0, "", dict.fromkeys(((a, b) for a in HOW for b in HOW), True)
        for number, record in enumerate(self._read(), start=1):
            here = where(record, number)
            try:
                found = self.question(record)
            except UserError as error:
                raise UserError(f"{here}: {error}") from error
            if is_absent(found.answer):
                continue
            count, first = count or len(found.choices), first or here
            if len(found.choices) != count:
                raise UserError(f"{here} has {len(found.choices)} answers, and {first} has {count}; want equally many")
            places = _places(found)
            fitting = {way: None for way in ways if way in places}
            if not fitting:
                wanted = "; ".join(HOW[way] for way in ways)
                raise UserError(f"{here}: answer {found.answer!r} is none of the {count}; up to there it was {wanted}")
            ways = fitting
            for a in ways:
                for b in ways:
                    same[a, b] = same[a, b] and places[a] == places[b]
        if not count:
            raise UserError(f"no record says in {self._answer!r} which answer is right")
        if set(ways) == {"from 0", "from 1"}:
            ways = {"from 0": None}  # never the first or the last one: read as nearly all tables count
        doubtful = [way for way in ways if not same[next(iter(ways)), way]]
        if doubtful:
            raise UserError(
                f"column {self._answer!r} may be {' or '.join(HOW[way] for way in ways)}; write letters, as A"
            )
        return next(iter(ways)), count


def _places(question: Question) -> dict[str, int]:
    """The place of the right answer by each way of reading that fits."""
    found: dict[str, int] = {}
    said, number = question.answer, as_whole(question.answer)
    count = len(question.choices)
    if isinstance(said, str):
        letters = question.letters[:count]
        if said.strip() in letters:
            found["letter"] = letters.index(said.strip())
        if question.choices.count(said) == 1:
            found["text"] = question.choices.index(said)
    if number is not None and not isinstance(said, bool):
        if 0 <= number < count:
            found["from 0"] = number
        if 1 <= number <= count:
            found["from 1"] = number - 1
    return found


def _spread(table: Table) -> list[str] | None:
    return next((found for names in SPREAD if (found := table.called(names)) is not None), None)
