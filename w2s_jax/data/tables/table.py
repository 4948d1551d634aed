"""A table as a kind of table sees it: its columns, what the user says of them, and its records."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from w2s_jax.data.records import Record
from w2s_jax.data.tables import columns
from w2s_jax.data.tables.options import TableOptions
from w2s_jax.runtime.errors import UserError

LOOK_AT = 100  # records whose columns are the table's

Read = Callable[[], Iterator[Record]]


@dataclass(frozen=True)
class Table:
    """A table of which the first records were looked at.

    Attributes:
      read: gives all its records, each time it is called.
      first: some of them.
      present: their columns.
      used: those that were asked for.
    """

    read: Read
    options: TableOptions
    first: Sequence[Record]
    present: Sequence[str]
    used: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, read: Read, options: TableOptions) -> "Table":
        """Looks at a table.

        Raises:
          UserError: it holds no record.
        """
        first = list(itertools.islice(read(), LOOK_AT))
        if not first:
            raise UserError("it holds no record")
        return cls(read, options, first, list(dict.fromkeys(name for record in first for name in record)))

    def column(self, what: str) -> str | None:
        """The column that holds something, as the user says, or by its name; None if there is none.

        Names are compared without regard to case, and this package's own name goes before all others.

        Raises:
          UserError: several columns may be meant.
        """
        said = self.options.columns.get(what)
        if said is not None:
            self.used.add(said if said in self.present else said.partition(".")[0])
            return said
        own, *others = columns.NAMES[what]
        found = self._called(own) or [name for other in others for name in self._called(other)]
        if len(found) > 1:
            raise UserError(
                f"{' and '.join(map(repr, found))} may both hold the {what}; say which: "
                f"columns={{{what!r}: {found[0]!r}}}"
            )
        self.used.update(found)
        return found[0] if found else None

    def called(self, names: Sequence[str]) -> list[str] | None:
        """The columns of exactly these names, whatever their case; None if one is missing."""
        found = [self._called(name) for name in names]
        if not all(found):
            return None
        self.used.update(each[0] for each in found)
        return [each[0] for each in found]

    def has(self, what: str) -> bool:
        """Whether the user, or this package's own name for it, says where it is."""
        return what in self.options.columns or bool(self._called(columns.NAMES[what][0]))

    def _called(self, name: str) -> list[str]:
        return [each for each in self.present if each.strip().lower() == name.lower()]
