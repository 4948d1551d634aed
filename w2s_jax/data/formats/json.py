"""JSON: one object a line, a list of objects, one object that holds such a list, or one that holds columns."""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from w2s_jax.data.formats import text
from w2s_jax.data.formats.base import FORMATS, Format
from w2s_jax.data.records import Row

CONTAINERS = ("data", "examples", "records", "rows", "instances", "items")  # what such a list is called


@FORMATS.register
class Json(Format):
    """What the file holds tells which of the forms it has, not whether it ends with `l`."""

    name = "JSON"
    suffixes = (".jsonl", ".json", ".ndjson")

    def rows(self, path: Path, columns: Sequence[str]) -> Iterator[Row]:
        try:
            with text.open_text(path) as handle:
                yield from _rows(handle)
        except UnicodeDecodeError as error:
            raise text.undecodable(path, error) from error


def _rows(handle: io.TextIOWrapper) -> Iterator[Row]:
    place, first = next(((n, line) for n, line in enumerate(handle, start=1) if line.strip()), (1, ""))
    if first.lstrip().startswith("{") and _parses(first):
        following = next((line for line in handle if line.strip()), None)
        handle.seek(0)
        if following is not None:
            yield from _lines(handle)
            return
    elif first and first.lstrip()[0] not in "[{":
        raise ValueError(f"line {place} is not an object with named values")
    handle.seek(0)
    yield from _whole(handle.read())


def _lines(handle: io.TextIOWrapper) -> Iterator[Row]:
    for number, line in enumerate(handle, start=1):
        if line.strip():
            try:
                value = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"line {number} is not JSON: {error.msg}") from error
            yield _row(value, f"line {number}", line)


def _whole(content: str) -> Iterator[Row]:
    """One value; or several objects, each over several lines."""
    decoder, values, place = json.JSONDecoder(), [], _skip(content, 0)
    while place < len(content):
        try:
            value, end = decoder.raw_decode(content, place)
        except json.JSONDecodeError as error:
            raise ValueError(f"line {error.lineno} is not JSON: {error.msg}") from error
        values.append(value)
        place = _skip(content, end)
    listed = _listed(values[0]) if len(values) == 1 else values
    for number, value in enumerate(listed, start=1):
        yield _row(value, f"record {number}", content)


def _listed(value: Any) -> list[Any]:
    """The records that one value of JSON holds."""
    if not isinstance(value, dict):
        return value if isinstance(value, list) else [value]
    named = [name for name in CONTAINERS if _is_table(value.get(name))]
    if len(named) > 1:
        raise ValueError(f"{' and '.join(map(repr, named))} are both lists of objects; keep the one to be read")
    if named:
        return _inner(value[named[0]])
    return _from_columns(value) or [value]


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, dict) for each in value)


def _inner(records: list[Any]) -> list[Any]:
    """The records; of the Hub's own viewer, which wraps each one, those inside."""
    wrapped = all(isinstance(record.get("row"), dict) and "row_idx" in record for record in records)
    return [record["row"] for record in records] if wrapped else records


def _from_columns(value: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Records of an object of equally long columns, as pandas writes it: lists, or mappings from row numbers."""
    columns = {name: list(column.values()) if isinstance(column, dict) else column for name, column in value.items()}
    as_lists = all(isinstance(column, list) for column in value.values())
    by_row = all(isinstance(column, dict) and list(column) == list(map(str, range(len(column))))
                 for column in value.values())  # fmt: skip
    lengths = {len(column) if isinstance(column, list) else -1 for column in columns.values()}
    # One record whose values are lists, such as its choices, is no table of columns.
    if len(columns) < 2 or len(lengths) > 1 or not (by_row or (as_lists and _scalars(columns))):
        return []
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _scalars(columns: Mapping[str, list[Any]]) -> bool:
    return not any(isinstance(value, dict) for column in columns.values() for value in column)


def _row(value: Any, where: str, source: str) -> Row:
    if not isinstance(value, dict):
        raise ValueError(f"{where} is not an object with named values")
    if "\\ud" in source or "\\uD" in source:
        _check_characters(value, where)
    return Row(value, where)


def _check_characters(value: Any, where: str) -> None:
    """Refuses half a character, which JSON can spell and no file can hold as text."""
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            half = f"\\u{ord(value[error.start]):04x}"
            raise ValueError(f"{where} holds half of a character ({half}, a lone surrogate); remove it") from None
    elif isinstance(value, dict):
        for name, each in value.items():
            _check_characters(name, where)
            _check_characters(each, where)
    elif isinstance(value, list):
        for each in value:
            _check_characters(each, where)


def _parses(line: str) -> bool:
    try:
        json.loads(line)
    except json.JSONDecodeError:
        return False
    return True


def _skip(content: str, place: int) -> int:
    """The next place that is not blank."""
    while place < len(content) and content[place].isspace():
        place += 1
    return place
