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
from w2s_jax.data.records import Row, listing

_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_LOOK_AT = 20  # rows that must be equally wide for a sign to be what stands between values

HEADLESS = "if the first line is an example and not names, say places: columns={'text': '#1', 'label': '#2'}"


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
    """Commas; or semicolons, tabs or bars, as spreadsheets of many countries write; some have a line that says so."""

    name = "CSV"
    suffixes = (".csv",)

    def delimiter(self, path: Path) -> str:
        with text.open_text(path) as handle:
            first = next((line for line in handle if line.strip()), "")
        if _says_delimiter(first):
            return first[4]
        present = [sign for sign in ",;\t|" if sign in first]
        return next(
            (sign for sign in present if _width(path, sign, csv.QUOTE_MINIMAL, _LOOK_AT) > 1), (*present, ",")[0]
        )


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
                if line.strip():
                    widths.add(len(values))
                if '"' in line:
                    well = [_QUOTED.fullmatch(value) is not None for value in values if '"' in value]
                    bare, quoted = bare or not all(well), quoted or any(well)
        if bare and len(widths) > 1 and _width(path, delimiter, csv.QUOTE_MINIMAL):  # values of several lines
            return csv.QUOTE_MINIMAL
        return csv.QUOTE_MINIMAL if quoted and not bare else csv.QUOTE_NONE


def _says_delimiter(line: str) -> bool:
    """Whether it is the line by which Excel says what stands between values."""
    return re.fullmatch(r"sep=.[\r\n]*", line, re.IGNORECASE) is not None


def _width(path: Path, delimiter: str, quoting: int, rows: int | None = None) -> int:
    """How many columns every row has; 0 if not all have equally many."""
    try:
        with text.open_text(path) as handle:
            some = itertools.islice(_reader(handle, delimiter, quoting), rows)
            widths = {len(row) for row in some if row}
    except csv.Error:
        return 0
    return widths.pop() if len(widths) == 1 else 0


def _reader(lines: Any, delimiter: str, quoting: int) -> Any:
    return csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=True)  # type: ignore[arg-type]


def _rows(path: Path, delimiter: str, quoting: int, columns: Sequence[str]) -> Iterator[Row]:
    with text.open_text(path) as handle:
        rows = _numbered(_reader(text.lines(handle), delimiter, quoting))
        first = next(
            ((line, row) for line, row in rows if not (line == 1 and _says_delimiter(delimiter.join(row)))), None
        )
        if first is None:
            return
        names, is_header = _names(first[1], columns)
        repeated = [name for name, count in Counter(names).items() if count > 1]
        if repeated:
            raise ValueError(f"two columns are called {repeated[0]!r}; {HEADLESS}")
        for line, values in rows if is_header else itertools.chain([first], rows):
            yield _row(names, values, line)


def _numbered(rows: Any) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not blank, each with the line where it begins."""
    while True:
        line = rows.line_num + 1
        try:
            row = next(rows, None)
        except csv.Error as error:
            if "unexpected end" in str(error):
                raise ValueError(f"line {line}: a quotation mark is opened and never closed") from error
            raise ValueError(
                f"line {line}: {error}; a quotation mark inside a quoted value is written twice"
            ) from error
        if row is None:
            return
        if row:
            yield line, row


def _names(first: list[str], columns: Sequence[str]) -> tuple[list[str], bool]:
    """The columns' names, and whether the file's first line gives them."""
    if tuple(columns) == NUMBERED:
        return [f"#{place}" for place in range(1, len(first) + 1)], False
    names = [" ".join(name.split()) for name in first]
    if columns and columns[0] not in names:
        return list(columns), False
    return [name or f"#{place}" for place, name in enumerate(names, start=1)], True


def _row(names: list[str], values: list[str], line: int) -> Row:
    """A record. What follows its last column may be blank, as where lines end with a delimiter."""
    if len(values) < len(names) or any(value.strip() for value in values[len(names) :]):
        raise ValueError(
            f"line {line} has {len(values)} columns, not {len(names)} ({listing(names, 8)}); values that hold a "
            "delimiter stand in quotation marks"
        )
    return Row(dict(zip(names, values, strict=False)), f"line {line}")
