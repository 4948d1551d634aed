"""What the labels of a table mean, however they are written."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from w2s_jax.data.records import Record, as_whole, is_absent, where
from w2s_jax.data.tables import columns
from w2s_jax.runtime.errors import UserError

MOST = 1000  # classes of a table, unless the user lists them
_SHOWN = 8


@dataclass(frozen=True)
class Classes:
    """The classes of a table.

    Attributes:
      names: of the classes in order; empty where labels are the numbers 0 .. n - 1.
      number: of each label, as it is written or as the whole number that it is.
      counts: labelled records of each class.
      unlabelled: records without a label, or with label -1.
    """

    names: tuple[str, ...]
    number: Mapping[str | int, int]
    counts: tuple[int, ...]
    unlabelled: int

    def __len__(self) -> int:
        return len(self.counts)

    def label(self, value: Any) -> int | None:
        """The class that a label means; None if it says that there is none.

        Raises:
          UserError: it is no class.
        """
        if is_absent(value):
            return None
        for key in _spellings(value):
            if key in self.number:
                return self.number[key]
        if as_whole(value) == -1:
            return None
        raise UserError(f"label {value!r} is none of the classes {_short(list(self.number))}")

    def words(self) -> str:
        """`classes 0 = 'ham' (4,827), 1 = 'spam' (747)`."""
        shown = [
            f"{number}{f' = {self.names[number]!r}' if self.names else ''} ({count:,})"
            for number, count in enumerate(self.counts[: 2 * _SHOWN])
        ]
        more = f", and {len(self) - len(shown)} more" if len(self) > len(shown) else ""
        without = f"; {self.unlabelled:,} records have no label" if self.unlabelled else ""
        return f"classes {', '.join(shown)}{more}{without}"


def classes_of(records: Iterable[Record], column: str, given: Sequence[str] = ()) -> Classes:
    """The classes of a table.

    Numbers from 0 up without a gap are class numbers, however they are written (`1`, `1.0`, ` 1`, `TRUE`), and -1 is
    no label. All other labels are names, and are numbered in sorted order.

    Args:
      column: that holds the labels.
      given: the labels in order, as the user says.

    Raises:
      UserError: a label that is not among those given; numbers beside names; names that differ only in case; fewer
        than two classes, or more than `MOST`.
    """
    labels = _Labels()
    for number, record in enumerate(records, start=1):
        labels.add(
            columns.value_at(record, column) if columns.has(record, column) else None, where(record, number), column
        )
        if len(labels.counts) > MOST and not given:
            raise UserError(f"column {column!r} holds more than {MOST:,} different labels; is it the label?")
    return _given(given, labels) if given else _found(labels, column)


@dataclass
class _Labels:
    """The labels of a table: how often each is there, and where it is first."""

    counts: Counter[Any] = field(default_factory=Counter)
    first: dict[Any, str] = field(default_factory=dict)
    unlabelled: int = 0

    def add(self, value: Any, where: str, column: str) -> None:
        if is_absent(value):
            self.unlabelled += 1
            return
        key: Any = as_whole(value)
        if key is None and isinstance(value, str):
            key = value.strip()
        if key is None:
            raise UserError(
                f"{where}: label {value!r} of column {column!r} is no class: want a whole number or a name; for the "
                "probability of each class, call the column probs, or p"
            )
        self.first.setdefault(key, where)
        self.counts[key] += 1

    def at(self, key: Any) -> str:
        """A label and where it is first, for people."""
        return f"{str(key)!r} ({self.first[key]})"


def _found(labels: _Labels, column: str) -> Classes:
    """Classes of labels of which the user says nothing."""
    counts, unlabelled = Counter(labels.counts), labels.unlabelled
    if -1 in counts and len(counts) > 2:  # as the field marks records without a label
        unlabelled += counts.pop(-1)
    names = sorted(key for key in counts if isinstance(key, str))
    numbers = sorted(key for key in counts if not isinstance(key, str))
    if names and numbers:
        raise UserError(
            f"column {column!r} holds numbers, such as {labels.at(numbers[0])}, and names, such as "
            f"{labels.at(names[0])}; if all are meant, list them: classes=({_short([*map(str, numbers), *names])})"
        )
    if len(counts) < 2:
        only = f"only {str(next(iter(counts)))!r}" if counts else "no label at all"
        raise UserError(f"column {column!r} holds {only}; there is nothing to learn")
    if numbers and numbers == list(range(len(numbers))):
        return Classes((), {number: number for number in numbers}, tuple(counts[n] for n in numbers), unlabelled)
    _check_case(names, labels)
    ordered: list[Any] = numbers or names
    number_of = {label: place for place, label in enumerate(ordered)}
    return Classes(tuple(map(str, ordered)), number_of, tuple(counts[label] for label in ordered), unlabelled)


def _given(given: Sequence[str], labels: _Labels) -> Classes:
    """The classes that the user lists."""
    number = {key: place for place, name in enumerate(given) for key in _spellings(name)}
    strange = [key for key in labels.counts if key not in number and key != -1]
    if strange:
        raise UserError(f"label {labels.at(strange[0])} is none of the classes {_short(list(given))}")
    totals, unlabelled = [0] * len(given), labels.unlabelled
    for key, count in labels.counts.items():
        if key in number:
            totals[number[key]] += count
        else:
            unlabelled += count
    return Classes(tuple(given), number, tuple(totals), unlabelled)


def _spellings(value: Any) -> list[str | int]:
    whole = as_whole(value)
    return [*([] if whole is None else [whole]), *([value.strip()] if isinstance(value, str) else [])]


def _check_case(names: Sequence[str], labels: _Labels) -> None:
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            raise UserError(
                f"labels {labels.at(other)} and {labels.at(name)} differ only in case; write them alike, or list both "
                "as classes"
            )


def _short(labels: Sequence[Any]) -> str:
    shown = ", ".join(map(repr, labels[:_SHOWN]))
    return shown + (f", ... ({len(labels)})" if len(labels) > _SHOWN else "")
