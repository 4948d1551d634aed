"""What a kind of table is, and which kind a table is."""

import abc
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from w2s_jax.data.example import Example
from w2s_jax.data.formats.delimited import HEADLESS
from w2s_jax.data.records import Record, brief, listing
from w2s_jax.data.tables import columns
from w2s_jax.data.tables.options import TableOptions
from w2s_jax.data.tables.table import Read, Table
from w2s_jax.runtime import errors
from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.registry import Registry


@dataclass(frozen=True)
class Layout:
    """How a table was understood.

    Attributes:
      format: the examples of one record; none for one without a label.
      n_classes: 2 or more.
      answers: the classes' names; empty where they are numbers from 0.
      candidates: texts of an example, where each is scored by itself; else 1.
      words: what was found, for people: which column holds what, and which classes there are.
    """

    format: Callable[[Record], Iterable[Example]]
    n_classes: int
    answers: tuple[str, ...]
    candidates: int
    words: tuple[str, ...]


class Kind(abc.ABC):
    """One kind of table. A subclass with `@KINDS.register` is one.

    Attributes:
      name: of the kind.
      needs: what it is known by, for people.
      takes: what the user may say where it stands: keys of `TableOptions.columns`.
    """

    name: ClassVar[str]
    needs: ClassVar[str]
    takes: ClassVar[tuple[str, ...]]

    @abc.abstractmethod
    def fits(self, table: Table) -> bool:
        """Whether a table is of this kind."""

    @abc.abstractmethod
    def layout(self, table: Table) -> Layout:
        """How a table of this kind is read.

        Raises:
          UserError: a record that does not fit; it says which.
        """


KINDS: Registry[type[Kind]] = Registry("kind of table")


def understand(read: Read, options: TableOptions) -> Layout:
    """How a table is read, from its columns and what the user says about them.

    Args:
      read: gives its records from the first one on, each time it is called.

    Raises:
      UserError: it is of no kind, a column is in doubt or not there, or a record does not fit.
    """
    table = Table.of(read, options)
    kinds = [kind() for kind in KINDS.values()]
    _check_columns(table, kinds)
    for kind in kinds:
        if kind.fits(table):
            _check_options(kind, options)
            table.used.clear()  # of what other kinds asked for
            found = kind.layout(table)
            unused = sorted(set(table.present) - table.used)
            return found if not unused else replace(found, words=(*found.words, f"not read: {listing(unused)}"))
    known = {what: column for what in ("text", "label") if (column := table.column(what)) is not None}
    there = "".join(f"; the {what} is {brief(column)}" for what, column in known.items())
    free = next((name for name in table.present if name not in known.values()), table.present[0])
    lacking = "label" if "text" in known or options.text else "text"
    wanted = "; or ".join(kind.needs for kind in kinds)
    raise UserError(
        f"its columns are {_quoted(columns.paths(table.first[0]))}; want {wanted}{there}; say which column is which: "
        f"columns={{{lacking!r}: {brief(free)}, ...}}{_headless(table.present)}"
    )


def _check_columns(table: Table, kinds: Sequence[Kind]) -> None:
    known = sorted({name for kind in kinds for name in kind.takes})
    said = [*table.options.columns.items(), *(("text", path) for path in columns.fields_of(table.options.text))]
    for name, path in said:
        if name not in known:
            raise errors.unknown("key of columns", name, known)
        if not table.holds(path) and not (name == "choices" and table.several(path)):
            there = _quoted(columns.paths(table.first[0]))
            raise UserError(f"there is no column {path!r}; there are: {there}{_headless(table.present)}")


def _check_options(kind: Kind, options: TableOptions) -> None:
    for name in options.columns:
        if name not in kind.takes:
            raise UserError(f"these are {kind.name}, which have no {name!r} but: {', '.join(kind.takes)}")
    if options.choices != TableOptions.choices and "choices" not in kind.takes:
        raise UserError(f"these are {kind.name}; choices={options.choices!r} is for questions with several answers")


def _quoted(names: Sequence[str]) -> str:
    return listing(map(brief, names))


def _headless(names: Sequence[str]) -> str:
    """A hint where the first line of a text table seems to be an example."""
    looks_so = any(name.strip().isdigit() or len(name) > 40 or " " in name.strip() for name in names)
    return f"; {HEADLESS}" if looks_so and not names[0].startswith("#") else ""


def line(what: str, *names: str) -> str:
    """`text from 'review'`, for people."""
    return f"{what} from {' and '.join(map(brief, names))}"
