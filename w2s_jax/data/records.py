"""Records as every source gives them, named values, and how a task reads a value out of one."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from w2s_jax.runtime.errors import UserError

Record = Mapping[str, Any]

_WIDE = 100  # characters of a value in a message


class Row(dict[str, Any]):
    """A record that knows where it stands.

    Attributes:
      where: in its file, as `line 3`; or also which file.
    """

    __slots__ = ("where",)

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        super().__init__(values)
        self.where = where


class ClassNumber(int):
    """The number of a class whose name its file tells.

    Attributes:
      name: of the class.
    """

    name: str

    def __new__(cls, number: int, name: str) -> "ClassNumber":
        made = super().__new__(cls, number)
        made.name = name
        return made


def where(record: Record, number: int) -> str:
    """Where a record stands: as it says itself, or its number, from 1."""
    return getattr(record, "where", None) or f"record {number}"


def is_absent(value: Any) -> bool:
    """Whether a value says nothing: null, not a number, or blank text, as an empty cell of a table is."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, float) and math.isnan(value))


def only(value: Any) -> Any:
    """The one value of a list of one; None for an empty list; every other value as it is."""
    return value if not isinstance(value, list) or len(value) > 1 else value[0] if value else None


def brief(value: Any) -> str:
    """A value for people: on one line, and not too long for it."""
    shown = repr(value)
    return shown if len(shown) <= _WIDE else f"{shown[: _WIDE - 3]}..."


def listing(names: Iterable[Any], most: int = 10) -> str:
    """Names for people, one after another, on one line."""
    shown = [name if name.isprintable() else repr(name) for name in map(str, names)]
    return ", ".join(name[:_WIDE] for name in shown[:most]) + (f", ... ({len(shown)})" if len(shown) > most else "")


def field(record: Record, *names: str) -> Any:
    """The first of these columns that the record has.

    Raises:
      UserError: it has none; the message names those it has.
    """
    for name in names:
        if name in record:
            return record[name]
    raise UserError(f"a record has no column {' or '.join(map(repr, names))}; it has: {listing(record)}")


def text_field(record: Record, *names: str) -> str:
    """The first of these columns that the record has, which must hold text."""
    value = field(record, *names)
    if not isinstance(value, str):
        raise UserError(f"{brief(value)} stands where text should, in a record with: {listing(record)}")
    return value


def class_field(record: Record, *names: str) -> int:
    """The first of these columns that the record has, as a class number; yes or no may be written true or false."""
    value = field(record, *names)
    label = as_whole(value)
    if label is None:
        raise UserError(f"label {brief(value)} is not a whole number; number the classes 0, 1, ...")
    return label


def list_field(record: Record, *names: str) -> list[Any]:
    """The first of these columns that the record has, which must hold a list."""
    value = field(record, *names)
    if not isinstance(value, list | tuple):
        raise UserError(f"{brief(value)} stands where a list should, in a record with: {listing(record)}")
    return list(value)


def as_whole(value: Any) -> int | None:
    """The whole number that a value is, however it is written; None if it is none.

    >>> [as_whole(value) for value in (1, "1", "1.0", " 1", True, "FALSE", 0.5, "one")]
    [1, 1, 1, 1, 1, 0, None, None]
    """
    if isinstance(value, bool | int):
        return int(value)
    try:
        if isinstance(value, str):
            text = value.strip().lower()
            if text in ("true", "false"):
                return int(text == "true")
            if "_" in text:  # Python's own way of writing numbers
                return None
            return int(text) if text.lstrip("+-").isdecimal() else _whole(float(text))
        return _whole(float(value))
    except (TypeError, ValueError, OverflowError):
        return None


def as_number(value: Any) -> float | None:
    """The finite number that a value is, however it is written; None if it is none.

    >>> [as_number(value) for value in (1, "1.5", "hard", None)]
    [1.0, 1.5, None, None]
    """
    try:
        number = float(value.replace("_", "?") if isinstance(value, str) else value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _whole(number: float) -> int | None:
    return int(number) if number.is_integer() else None
