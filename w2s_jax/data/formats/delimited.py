"""Tables as text: .csv and .tsv, as spreadsheets, pandas and the field's own data sets write them."""

import csv
import itertools
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from w2s_jax.data.formats import text
from w2s_jax.data.formats.base import FORMATS, NUMBERED, Format
from w2s_jax.data.records import Row

_QUOTED = re.compile(r'"(?:[^"]|"")*"')


class _Delimited(Format):
    def rows(self, path: Path, columns: Sequence[str]) -> Iterator[Row]:
        csv.field_size_limit(sys.maxsize)
        try:
            delimiter = self.delimiter(path)
            yield from _rows(path, delimiter, self.quoting(path, delimiter), columns)
        except UnicodeDecodeError as error:
            raise text.undecodable(path, error) from error

    def delimiter(self, path: Path) -> str:
        """What stands between two values."""
        raise NotImplementedError

    def quoting(self, path: Path, delimiter: str) -> int:
        """What a quotation mark means, as the csv module counts it."""
        return csv.QUOTE_MINIMAL


@FORMATS.register
class Csv(_Delimited):
    """Commas; or semicolons or tabs, where the first line has no comma, as spreadsheets of many countries write."""

    name = "CSV"
    suffixes = (".csv",)

    def delimiter(self, path: Path) -> str:
        with text.open_text(path) as handle:
            first = handle.readline()
        return next((sign for sign in ",;\t" if sign in first), ",")


@FORMATS.register
class Tsv(_Delimited):
    """Tabs. The field's own files hold bare quotation marks; files of spreadsheets and pandas quote their values."""

    name = "TSV"
    suffixes = (".tsv",)

    def delimiter(self, path: Path) -> str:
        return "\t"

    def quoting(self, path: Path, delimiter: str) -> int:
        widths: set[int] = set()
        bare = quoted = False
        with text.open_text(path) as handle:
            for line in handle:
                values = line.rstrip("\r\n").split(delimiter)
                widths.add(len(values))
                if '"' in line:
                    well = [_QUOTED.fullmatch(value) is not None for value in values if '"' in value]
                    bare, quoted = bare or not all(well), quoted or any(well)
        if not quoted:
            return csv.QUOTE_NONE
        if bare and len(widths) > 1 and _is_table(path, delimiter):  # values of several lines
            return csv.QUOTE_MINIMAL
        return csv.QUOTE_NONE if bare else csv.QUOTE_MINIMAL


def _is_table(path: Path, delimiter: str) -> bool:
    """Whether it has equally many columns everywhere when quotation marks are read as such."""
    try:
        with text.open_text(path) as handle:
            return len({len(row) for row in _reader(handle, delimiter, csv.QUOTE_MINIMAL) if row}) == 1
    except csv.Error:
        return False


def _reader(handle: Any, delimiter: str, quoting: int) -> Any:
    return csv.reader(handle, delimiter=delimiter, quoting=quoting, strict=True)  # type: ignore[arg-type]


def _rows(path: Path, delimiter: str, quoting: int, columns: Sequence[str]) -> Iterator[Row]:
    with text.open_text(path) as handle:
        rows = _reader(handle, delimiter, quoting)
        try:
            first = next((row for row in rows if row), None)
            if first is None:
                return
            names, is_header = _names(first, columns)
            repeated = [name for name, count in Counter(names).items() if count > 1]
            if repeated:
                raise ValueError(f"two columns are called {repeated[0]!r}")
            for values in rows if is_header else itertools.chain([first], rows):
                if values:
                    yield _row(names, values, rows.line_num)
        except csv.Error as error:
            hint = "; a quotation mark inside a quoted value is written twice" if '"' in str(error) else ""
            raise ValueError(f"line {rows.line_num}: {error}{hint}") from error


def _names(first: list[str], columns: Sequence[str]) -> tuple[list[str], bool]:
    """The columns' names, and whether the file's first line gives them."""
    if tuple(columns) == NUMBERED:
        return [f"#{place}" for place in range(1, len(first) + 1)], False
    names = [name.strip() for name in first]
    if columns and columns[0] not in names:
        return list(columns), False
    return [name or f"#{place}" for place, name in enumerate(names, start=1)], True


def _row(names: list[str], values: list[str], line: int) -> Row:
    if len(values) != len(names):
        shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
        raise ValueError(f"line {line} has {len(values)} columns, not {len(names)} ({shown})")
    return Row(dict(zip(names, values, strict=True)), f"line {line}")
