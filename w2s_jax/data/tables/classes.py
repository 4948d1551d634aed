"""What the labels of a table mean, however they are written."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from w2s_jax.data.records import ClassNumber, Record, as_number, as_whole, brief, is_absent, listing, only, where
from w2s_jax.data.tables import columns
from w2s_jax.runtime.errors import UserError

MOST = 1000  # classes of a table, unless the user lists them
FEW = 20  # classes of which each may have a single record
_SHOWN = 8
_WANTED = "want a whole number or a name; for the probability of each class, call the column probs, or p"


@dataclass(frozen=True)
class Classes:
    """The classes of a table.

    Attributes:
      names: of the classes in order; empty where labels are the numbers 0 .. n - 1.
      number: of each label, as it is written or as the whole number that it is; None where it means that there is none.
      counts: labelled records of each class.
      unlabelled: records without a label.
    """

    names: tuple[str, ...]
    number: Mapping[str | int, int | None]
    counts: tuple[int, ...]
    unlabelled: int

    def __len__(self) -> int:
        return len(self.counts)

    def label(self, value: Any) -> int | None:
        """The class that a label means; None if it says that there is none.

        Raises:
          UserError: it is no class.
        """
        value = only(value)
        if is_absent(value):
            return None
        for key in _spellings(value):
            if key in self.number:
                return self.number[key]
        if _means_none(value):
            return None
        raise UserError(f"label {brief(value)} is none of the classes {_short(self.names or self.number)}")

    def words(self) -> str:
        """`classes 0 = 'ham' (4,827), 1 = 'spam' (747)`."""
        shown = [
            f"{number}{f' = {brief(self.names[number])}' if self.names else ''} ({count:,})"
            for number, count in enumerate(self.counts[: 2 * _SHOWN])
        ]
        more = f", and {len(self) - len(shown)} more" if len(self) > len(shown) else ""
        none = [str(key) for key, number in self.number.items() if number is None]
        such = f", such as {none[0]!r}, which is a class if `classes` lists it" if none else ""
        without = f"; {self.unlabelled:,} records have no label{such}" if self.unlabelled else ""
        return f"classes {', '.join(shown)}{more}{without}"


def classes_of(records: Iterable[Record], column: str, given: Sequence[str] = ()) -> Classes:
    """The classes of a table.

    Whole numbers, however they are written (`1`, `1.0`, ` 1`, `TRUE`), are classes in their order, and numbered anew
    where they are not those from 0 up without a gap. All other labels are names, in sorted order, or in that of the
    numbers to which the file gives these names. A label of -1 beside numbers from 0 is none, as is `-` beside names.

    Args:
      column: that holds the labels.
      given: the labels in order, as the user says; or names for those that are numbers from 0.

    Raises:
      UserError: a label that is not among those given; numbers beside names; names that differ only in case; fewer
        than two classes, or so many that they are none.
    """
    labels = _Labels(column)
    for number, record in enumerate(records, start=1):
        labels.add(columns.value_at(record, column) if columns.has(record, column) else None, where(record, number))
        if len(labels.counts) > MOST and not given:
            raise UserError(f"column {column!r} holds more than {MOST:,} different labels; is it the label?")
    return _given(given, labels) if given else _found(labels)


@dataclass
class _Labels:
    """The labels of a table: how often each is there, where it is first, and its place if the file says its name."""

    column: str
    counts: Counter[str | int] = field(default_factory=Counter)
    first: dict[str | int, str] = field(default_factory=dict)
    places: dict[str | int, int] = field(default_factory=dict)
    unlabelled: int = 0

    def add(self, value: Any, where: str) -> None:
        value = only(value)
        if is_absent(value):
            self.unlabelled += 1
            return
        spellings = _spellings(value)
        if not spellings:
            raise UserError(f"{where}: label {brief(value)} of column {self.column!r} is no class: {_WANTED}")
        key = spellings[0]
        self.counts[key] += 1
        self.first.setdefault(key, where)
        if isinstance(value, ClassNumber):
            self.places[key] = int(value)

    def at(self, key: str | int) -> str:
        """A label and where it is first, for people."""
        return f"{brief(str(key))} ({self.first[key]})"


def _spellings(value: Any) -> list[str | int]:
    """What a label may be known by, its name first."""
    name = value.name if isinstance(value, ClassNumber) else str(value).lower() if isinstance(value, bool) else value
    whole = as_whole(value)
    return [*([name.strip()] if isinstance(name, str) else []), *([] if whole is None else [whole])]


def _means_none(key: Any) -> bool:
    """Whether a label says that there is none, where it is no class."""
    return key == "-" or as_whole(key) == -1


def _found(labels: _Labels) -> Classes:
    """Classes of labels of which the user says nothing."""
    wholes = {key: as_whole(key) for key in labels.counts}
    none: list[str | int]
    if labels.places or None in wholes.values():
        none = [key for key in wholes if _means_none(key) and key not in labels.places and "+" not in wholes]
        none = none if len(wholes) > len(none) + 1 else []
        ordered = _names([key for key in wholes if key not in none], labels)
        number = {key: place for place, key in enumerate(ordered)}
        names = tuple(map(str, ordered))
    else:
        numbers = sorted({whole for whole in wholes.values() if whole is not None})
        none = [-1] if len(numbers) > 2 and numbers == list(range(-1, len(numbers) - 1)) else []
        numbers = [whole for whole in numbers if whole not in none]
        number = {whole: place for place, whole in enumerate(numbers)}
        names = () if numbers == list(range(len(numbers))) else tuple(map(str, numbers))
    found = _counted(names, {**number, **dict.fromkeys(none)}, labels)
    if len(found) < 2:
        there = f"only {brief(str(next(iter(labels.counts))))}" if labels.counts else "no label at all"
        raise UserError(f"column {labels.column!r} holds {there}; there is nothing to learn")
    if len(found) > FEW and sum(found.counts) < 2 * len(found):
        raise UserError(
            f"column {labels.column!r} holds {len(found):,} different labels in {sum(found.counts):,} records; is it "
            "the label? if so, list them as classes"
        )
    return found


def _names(keys: Sequence[str | int], labels: _Labels) -> list[str | int]:
    """Labels that are names, in order."""
    numbers = [key for key in keys if key not in labels.places and as_number(key) is not None]
    words = [key for key in keys if key not in numbers]
    if words and numbers:
        raise UserError(
            f"column {labels.column!r} holds numbers, such as {labels.at(numbers[0])}, and names, such as "
            f"{labels.at(words[0])}; if all are meant, list them: classes=({_short([*numbers, *words])})"
        )
    if numbers:
        part = next(key for key in numbers if as_whole(key) is None)
        raise UserError(f"label {labels.at(part)} of column {labels.column!r} is no class: {_WANTED}")
    seen: dict[str, str | int] = {}
    for name in words:
        other = seen.setdefault(str(name).casefold(), name)
        if other != name and not labels.places:
            raise UserError(
                f"labels {labels.at(other)} and {labels.at(name)} differ only in case; write them alike, or list both "
                "as classes"
            )
    return sorted(words, key=lambda name: (labels.places.get(name, 0), str(name)))


def _given(given: Sequence[str], labels: _Labels) -> Classes:
    """The classes that the user lists."""
    number: dict[str | int, int | None] = {}
    for place, name in enumerate(given):
        number.update(dict.fromkeys(_spellings(name), place))
    if all(as_whole(name) is None for name in given):  # names of numbers
        number.update({place: place for place in range(len(given))})
    numbers = {as_whole(key) for key in labels.counts}
    if -1 in numbers and -1 not in number and len(numbers) == len(given) > 2:
        raise UserError(
            f"the labels are {_short(sorted(map(str, labels.counts)))}, so -1 seems to be one of the {len(given)} "
            "classes; list the labels themselves: classes=('-1', '0', ...)"
        )
    for key in labels.counts:
        if key not in number and as_whole(key) not in number and labels.places.get(key) not in number:
            if not _means_none(key):
                raise UserError(f"label {labels.at(key)} is none of the classes {_short(given)}")
            number[key] = None
    return _counted(tuple(given), number, labels)


def _counted(names: tuple[str, ...], number: Mapping[str | int, int | None], labels: _Labels) -> Classes:
    totals: Counter[int | None] = Counter({None: labels.unlabelled})
    for key, count in labels.counts.items():
        known = (key, as_whole(key), labels.places.get(key))
        totals[next(number[each] for each in known if each is not None and each in number)] += count
    n_classes = len(names) or len({place for place in number.values() if place is not None})
    return Classes(names, number, tuple(totals[place] for place in range(n_classes)), totals[None])


def _short(labels: Iterable[Any]) -> str:
    return listing([brief(str(label)) for label in labels], _SHOWN)
