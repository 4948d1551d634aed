"""Tables of questions with several answers of which one is right."""

import itertools
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from w2s_jax.data.example import Example, Question, digest, pick
from w2s_jax.data.formats.json import from_cell
from w2s_jax.data.questions import LETTERS, each_alone, with_letters
from w2s_jax.data.records import ClassNumber, Record, as_whole, brief, is_absent, only, where
from w2s_jax.data.tables import columns, extras
from w2s_jax.data.tables.base import KINDS, Kind, Layout
from w2s_jax.data.tables.table import Table
from w2s_jax.runtime.errors import UserError

# Answers as columns of their own, where no column lists them: `A`, `B`; `option_a`; `choice0`; `ending 1`; `opa`.
_SPREAD = re.compile(r"(|answer|choice|ending|op|opt|option|sol)[ _-]?([a-z]|\d)", re.IGNORECASE)

# What the column of the right answer may say, each read as the place of an answer.
HOW = {
    "letter": "the letter of the right answer",
    "text": "the right answer itself",
    "from 0": "its number, counted from 0",
    "from 1": "its number, counted from 1",
}


class Listed(NamedTuple):
    """A record's answers, and the place of the right one by each way of `HOW` that fits."""

    choices: list[str]
    places: dict[str, int]


@KINDS.register
class Choice(Kind):
    """`question`, `choices` and `answer`: each answer scored by itself, or all shown with letters; K-way accuracy."""

    name = "questions with several answers"
    needs = "a question, choices and the answer"
    takes = ("question", "choices", "answer", "context", *extras.NAMES)

    def fits(self, table: Table) -> bool:
        is_other = table.options.text or (table.has("text") and table.has("label"))
        return (
            ("question" in table.options.columns or not is_other)
            and table.column("question") is not None
            and (table.column("choices") is not None or bool(_spread(table)))
            and table.column("answer") is not None
        )

    def layout(self, table: Table) -> Layout:
        if table.options.classes:
            raise UserError("a question has no classes to list: its label is the right answer's place")
        reader = _Reader(table)
        how, count, in_one_place = reader.how()
        there = extras.columns_of(table)
        letters = table.options.choices == "letters"
        if letters and count > len(LETTERS):
            raise UserError(f"{count} answers are more than there are letters; choices='candidates' needs none")

        def format(record: Record) -> Iterable[Example]:
            found = reader.listed(record)
            if found is None:
                return
            asked, above = reader.asked(record), reader.above(record)
            choices, label = found.choices, found.places[how]
            if in_one_place:
                turn = pick(count, asked, *choices)
                choices, label = [*choices[turn:], *choices[:turn]], (label - turn) % count
            question = Question(above, asked, tuple(choices))
            texts: Any = with_letters(question) if letters else each_alone(question)
            if not (asked or above) or not all(choice.strip() for choice in found.choices):
                texts = ""  # nothing is asked, or an answer says nothing
            line = f"{above}\n" if above else ""
            more = extras.extra(record, there, digest(line, asked, *found.choices), digest(line or asked))
            yield Example(more.id, texts, label, more.group, more.difficulty, question=question)

        shown = "shown together, with letters" if letters else "each scored by itself"
        words = f"questions from {brief(reader.column)}, {count} answers, {shown}; right: {HOW[how]}"
        words += "; as it always stands in one place, answers are rotated by a hash" if in_one_place else ""
        names = tuple(LETTERS[:count]) if letters else ()
        return Layout(format, count, names, 1 if letters else count, (words, *extras.words(there)))


class _Reader:
    """Reads the parts of a question out of a record.

    Attributes:
      column: of the question.
    """

    def __init__(self, table: Table) -> None:
        question, answer = table.column("question"), table.column("answer")
        assert question is not None
        assert answer is not None
        self.column, self._answer = question, answer
        self._choices, self._spread = table.column("choices"), _spread(table)
        self._context = table.column("context")
        self._read = table.read

    def asked(self, record: Record) -> str:
        return columns.text_at(record, self.column).strip()

    def above(self, record: Record) -> str:
        """What is shown above the question."""
        return "" if self._context is None else columns.text_at(record, self._context).strip()

    def listed(self, record: Record) -> Listed | None:
        """A record's answers; None if it does not say which is right."""
        answer = only(columns.value_at(record, self._answer)) if columns.has(record, self._answer) else None
        if is_absent(answer):
            return None
        choices, letters = self._choices_of(record)
        places = _places(answer, choices, letters)
        return None if not places and as_whole(answer) == -1 else Listed(choices, places)

    def _choices_of(self, record: Record) -> tuple[list[str], list[str]]:
        """A record's answers, and the letters that it gives them."""
        if self._spread:
            return [columns.text_at(record, name) for name in self._spread], list(LETTERS)
        assert self._choices is not None
        value, letters = columns.value_at(record, self._choices), None
        if isinstance(value, str):
            try:
                value = from_cell(value)
            except ValueError as error:
                raise UserError(f'choices {brief(value)} are not a list; write them as JSON: ["one", "two"]') from error
        if isinstance(value, Mapping) and isinstance(value.get("text"), list):
            value, letters = value["text"], value.get("label")
        elif isinstance(value, Mapping):  # by their letters; Arrow fills in those that only other records have
            there = {letter: choice for letter, choice in value.items() if not is_absent(choice)}
            value, letters = list(there.values()), list(there)
        elif isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value):
            value, letters = [each.get("text") for each in value], [each.get("label", each.get("id")) for each in value]
        if not isinstance(value, list) or len(value) < 2:
            raise UserError(f"choices must be a list of two or more answers, not {brief(value)}")
        if not isinstance(letters, list) or len(letters) != len(value):
            letters = list(LETTERS)
        return [columns.as_text(each, "choices") for each in value], list(map(str, letters))

    def how(self) -> tuple[str, int, bool]:
        """What the column of the right answer says, the same in all records; how many answers each has; and whether the
        right one is always in one place.

        Raises:
          UserError: no way of reading it fits all records, or several do and they do not agree.
        """
        ways: dict[str, None] = dict.fromkeys(HOW)
        count, first, same = 0, "", dict.fromkeys(((a, b) for a in HOW for b in HOW), True)
        taken: dict[str, set[int]] = {way: set() for way in HOW}
        for number, record in enumerate(self._read(), start=1):
            here = where(record, number)
            try:
                found = self.listed(record)
            except UserError as error:
                raise UserError(f"{here}: {error}") from error
            if found is None:
                continue
            count, first = count or len(found.choices), first or here
            if len(found.choices) != count:
                raise UserError(
                    f"{here} has {len(found.choices)} answers, and {first} has {count}; all questions of a table need "
                    "equally many: leave answers out, or make a table for each number"
                )
            places = found.places
            fitting = {way: None for way in ways if way in places}
            if not fitting:
                wanted = "; or ".join(HOW[way] for way in ways)
                said = brief(columns.value_at(record, self._answer))
                raise UserError(
                    f"{here}: answer {said} is none of the {count}: want {wanted}, as in the records before"
                )
            ways = fitting
            for a in ways:
                taken[a].add(places[a])
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
        way = next(iter(ways))
        return way, count, len(taken[way]) == 1


def _places(said: Any, choices: list[str], letters: list[str]) -> dict[str, int]:
    """The place of the right answer by each way of reading that fits."""
    found: dict[str, int] = {}
    count, number = len(choices), as_whole(said)
    if isinstance(said, ClassNumber):  # always from 0
        return {"from 0": int(said)} if said < count else {}
    if isinstance(said, str):
        shown, spelled = said.strip(), [letter.strip().upper() for letter in letters[:count]]
        letter = shown.strip("().:").strip().upper()
        if letter in spelled:
            found["letter"] = spelled.index(letter)
        plain = [choice.strip() for choice in choices]
        if plain.count(shown) == 1:
            found["text"] = plain.index(shown)
    if number is not None and not isinstance(said, bool):
        if 0 <= number < count:
            found["from 0"] = number
        if 1 <= number <= count:
            found["from 1"] = number - 1
    return found


def _spread(table: Table) -> list[str]:
    """The columns of the answers, as the user lists them or by their names; none where one column lists them."""
    said = table.options.columns.get("choices")
    if said is not None:
        names = [] if table.holds(said) else table.several(said)
        for name in names:
            table.use(name)
        return names
    if table.column("choices") is not None:
        return []
    kinds: dict[str, dict[str, str]] = {}
    for name in table.present:
        found = _SPREAD.fullmatch(name.strip())
        if found is not None:
            kinds.setdefault(found[1].lower(), {})[found[2].upper()] = name
    for named in kinds.values():
        for signs in (LETTERS, "0123456789", "123456789"):
            names = [named[sign] for sign in itertools.takewhile(named.__contains__, signs)]
            if len(names) > 1:
                table.used.update(names)
                return names
    return []
