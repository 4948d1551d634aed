"""A table as a kind of table sees it: its columns, what the user says of them, and its records."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from w2s_jax.data.records import Record, brief
from w2s_jax.data.tables import columns
from w2s_jax.data.tables.options import TableOptions
from w2s_jax.runtime.errors import UserError

LOOK_AT = 100  # records at the beginning; later ones are kept only where they have other columns

Read = Callable[[], Iterator[Record]]


@dataclass(frozen=True)
class Table:
    """A table of which the first records were looked at.

    Attributes:
      read: gives all its records, each time it is called.
      first: some of them, with every column that there is.
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
          UserError: it holds no record, or only empty ones.
        """
        first: list[Record] = []
        known: set[tuple[str, ...]] = set()
        for record in read():
            names = tuple(record)
            if len(first) < LOOK_AT or (names not in known and len(known) < LOOK_AT):
                first.append(record)
            known.add(names)
        present = list(dict.fromkeys(name for record in first for name in record))
        if not present:
            raise UserError("its records hold nothing" if first else "it holds no record")
        return cls(read, options, first, present)

    def column(self, what: str) -> str | None:
        """The column that holds something, as the user says, or by its name; None if there is none.

        Names are compared without regard to case, and this package's own name goes before all others.

        Raises:
          UserError: several columns may be meant.
        """
        said = self.options.columns.get(what)
        if said is not None:
            self.use(said)
            return said
        own, *others = columns.NAMES[what]
        found = self._called(own) or [name for other in others for name in self._called(other)]
        if len(found) > 1:
            raise UserError(
                f"{' and '.join(map(brief, found))} may both hold the {what}; say which: "
                f"columns={{{what!r}: {brief(found[0])}}}"
            )
        self.used.update(found)
        return found[0] if found else None

    def use(self, path: str) -> None:
        """Notes that a column is read, or the one that the value is inside of."""
        self.used.add(path if path in self.present else path.partition(".")[0])

    def holds(self, path: str) -> bool:
        """Whether there is such a column, or value inside of one."""
        return any(columns.has(record, path) for record in self.first)

    def several(self, path: str) -> list[str]:
        """The columns that a user lists as `a, b`; none if one of them is not there."""
        names = [name.strip() for name in path.split(",")]
        return names if len(names) > 1 and all(map(self.holds, names)) else []

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
