"""JSON: one object a line, a list of objects, one object that holds such a list, or one that holds columns."""

import ast
import contextlib
import io
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from w2s_jax.data.formats import text
from w2s_jax.data.formats.base import FORMATS, Format
from w2s_jax.data.records import Row

CONTAINERS = ("data", "examples", "records", "rows", "instances", "items", "questions")  # what a list is called
SPLITS = ("train", "validation", "valid", "val", "dev", "test")  # or several lists, read one after another
DEEPEST = 50  # values inside values


@FORMATS.register
class Json(Format):
    """What the file holds tells which of the forms it has, not whether it ends with `l`."""

    name = "JSON"
    suffixes = (".jsonl", ".json", ".ndjson")

    def rows(self, path: Path, columns: Sequence[str]) -> Iterator[Row]:
        try:
            with text.open_text(path) as handle:
                by_line = _is_by_line(handle)
            with text.open_text(path) as handle:
                yield from _lines(handle) if by_line else _whole(handle.read())
        except UnicodeDecodeError as error:
            raise text.undecodable(path, error) from error


def from_cell(content: str) -> Any:
    """A list or an object in a cell of a table: as JSON, or as Python prints it.

    >>> from_cell('["one", 2]'), from_cell("['one', None]")
    (['one', 2], ['one', None])

    Raises:
      ValueError: it is neither.
    """
    try:
        found = _Decoder().decode(content)
    except json.JSONDecodeError:
        try:
            found = ast.literal_eval(content.strip())
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
            raise ValueError("neither JSON nor a list as Python prints it") from error
    except RecursionError as error:
        raise ValueError(_DEEP) from error
    _check(found)
    return found


class _Decoder(json.JSONDecoder):
    """Marks objects that hold a name twice.

    Attributes:
      is_doubtful: whether there was one.
    """

    def __init__(self) -> None:
        super().__init__(object_pairs_hook=self._object)
        self.is_doubtful = False

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) == len(pairs):
            return made
        self.is_doubtful = True
        names = [name for name, _ in pairs]
        return _Twice(made, next(name for name in names if names.count(name) > 1))


class _Twice(dict[str, Any]):
    def __init__(self, values: Mapping[str, Any], name: str) -> None:
        super().__init__(values)
        self.name = name


_DEEP = f"values inside values, more than {DEEPEST} deep"


def _check(value: Any, depth: int = 0) -> None:
    """Refuses half a character, which JSON can spell and no file can hold; a name twice; and values too deep inside."""
    if depth > DEEPEST:
        raise ValueError(_DEEP)
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            half = f"\\u{ord(value[error.start]):04x}"
            raise ValueError(f"half of a character ({half}, a lone surrogate); remove it") from None
    elif isinstance(value, dict):
        if isinstance(value, _Twice):
            raise ValueError(f"one object holds {value.name!r} twice")
        for name, each in value.items():
            _check(name, depth)
            _check(each, depth + 1)
    elif isinstance(value, list):
        for each in value:
            _check(each, depth + 1)


def _is_by_line(handle: io.TextIOWrapper) -> bool:
    first = next((line for line in handle if line.strip()), "")
    return first.lstrip().startswith("{") and _is_whole(first) and any(line.strip() for line in handle)


def _is_whole(line: str) -> bool:
    """Whether a line is a value of its own, of whatever worth."""
    try:
        json.loads(line)
    except json.JSONDecodeError:
        return False
    except (ValueError, RecursionError):
        return True
    return True


def _lines(handle: io.TextIOWrapper) -> Iterator[Row]:
    decoder = _Decoder()
    for number, line in enumerate(handle, start=1):
        if line.strip():
            with _line(number):
                value = decoder.decode(line)
            yield _row(value, f"line {number}", line, decoder)


def _whole(content: str) -> Iterator[Row]:
    """A list; or one object; or several of them, each of which may be of several lines."""
    decoder = _Decoder()
    values = _values(content, decoder)
    head = list(itertools.islice(values, 2))
    if len(head) == 1 and content.startswith("{", _skip(content, 0)):
        ((line, whole, _),) = head
        records = _listed(whole)
        for number, record in enumerate(records, start=1):
            yield _row(record, f"line {line}" if record is whole else f"record {number}", content, decoder)
        return
    for line, value, source in itertools.chain(head, values):
        yield _row(value, f"line {line}", source, decoder)


def _values(content: str, decoder: _Decoder) -> Iterator[tuple[int, Any, str]]:
    """The values of a list, or those that follow each other: each one's line, itself, and how it is written."""
    place, line, counted = _skip(content, 0), 1, 0
    is_list = content.startswith("[", place)
    place = _skip(content, place + is_list)
    while place < len(content) and not (is_list and content[place] == "]"):
        line, counted = line + content.count("\n", counted, place), place
        with _line(line):
            value, end = decoder.raw_decode(content, place)
        yield line, value, content[place:end]
        place = _skip(content, end)
        if content.startswith(",", place):
            place = _skip(content, place + 1)
        elif is_list and not content.startswith("]", place):
            raise ValueError(f"line {line} is not JSON: no ',' or ']' after the value that begins there")
    if is_list and _skip(content, place + 1) != len(content):
        raise ValueError(f"line {line} is not JSON: the list does not end with the file")


@contextlib.contextmanager
def _line(number: int) -> Iterator[None]:
    """Says at which line something is no JSON; of a value of several lines, where it begins."""
    try:
        yield
    except json.JSONDecodeError as error:
        raise ValueError(f"line {max(number, error.lineno)} is not JSON: {error.msg}") from error
    except RecursionError as error:
        raise ValueError(f"line {number}: {_DEEP}") from error
    except ValueError as error:  # such as a number of too many digits
        raise ValueError(f"line {number}: {error}") from error


def _listed(value: dict[str, Any]) -> list[Any]:
    """The records that one object holds."""
    if isinstance(value, _Twice):
        _check(value)
    tables = {name: value[name] for name in (*CONTAINERS, *SPLITS) if _is_table(value.get(name))}
    if len(tables) > 1 and not all(name in SPLITS for name in tables):
        raise ValueError(f"{' and '.join(map(repr, tables))} are both lists of objects; keep the one to be read")
    if tables:
        return [record for table in tables.values() for record in _inner(table)]
    return _from_columns(value) or _from_names(value) or [value]


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, dict) for each in value)


def _inner(records: list[Any]) -> list[Any]:
    """The records; of the Hub's own viewer, which wraps each one, those inside."""
    wrapped = all(isinstance(record.get("row"), dict) and "row_idx" in record for record in records)
    return [record["row"] for record in records] if wrapped else records


def _from_columns(value: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Records of an object of equally long columns, as pandas writes it in several ways."""
    names, rows = value.get("columns"), value.get("data")
    if isinstance(names, list) and isinstance(rows, list):
        if all(isinstance(row, list) and len(row) == len(names) for row in rows):
            return [dict(zip(map(str, names), row, strict=True)) for row in rows]
        return []
    columns = {name: list(column.values()) if isinstance(column, dict) else column for name, column in value.items()}
    as_lists = all(isinstance(column, list) for column in value.values())
    by_row = all(isinstance(column, dict) and all(map(str.isdecimal, column)) for column in value.values())
    same = len({tuple(column) for column in value.values()}) == 1 if by_row else as_lists
    lengths = {len(column) if isinstance(column, list) else -1 for column in columns.values()}
    # One record whose values are lists, such as its choices, is no table of columns.
    if len(columns) < 2 or len(lengths) > 1 or not same or not (by_row or _scalars(columns)):
        return []
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _from_names(value: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Records of an object of records by their names, which become their ids, if they are more than numbers."""
    records = [record for record in value.values() if isinstance(record, dict)]
    if len(records) < max(2, len(value)) or not set.intersection(*map(set, records)):
        return []
    numbered = all(map(str.isdecimal, value))
    return records if numbered else [{"id": name, **record} for name, record in value.items()]


def _scalars(columns: Mapping[str, list[Any]]) -> bool:
    return not any(isinstance(value, dict) for column in columns.values() for value in column)


def _row(value: Any, where: str, source: str, decoder: _Decoder) -> Row:
    if not isinstance(value, dict):
        raise ValueError(f"{where} is not an object with named values")
    is_deep = source.count("{") + source.count("[") > DEEPEST
    if is_deep or decoder.is_doubtful or "\\ud" in source or "\\uD" in source:
        try:
            _check(value)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
    return Row(value, where)


def _skip(content: str, place: int) -> int:
    """The next place that is not blank."""
    while place < len(content) and content[place].isspace():
        place += 1
    return place
