"""What a record may say besides its text and label: its id, its group, how difficult it is."""

from collections.abc import Mapping
from typing import NamedTuple

from w2s_jax.data.records import Record, as_number, brief, is_absent
from w2s_jax.data.tables import columns
from w2s_jax.data.tables.table import Table
from w2s_jax.runtime.errors import UserError

NAMES = ("id", "group", "difficulty")


class Extra(NamedTuple):
    id: str
    group: str
    difficulty: float


def extra(record: Record, where: Mapping[str, str], identifier: str, group: str) -> Extra:
    """A record's id, group and difficulty. A value that is null or blank is as if it were not there.

    Args:
      where: the column of each of `NAMES` that there is.
      identifier, group: where the record says none.

    Raises:
      UserError: the difficulty is no number, or the id or group is a list or an object.
    """
    values = {name: columns.value_at(record, path) for name, path in where.items() if columns.has(record, path)}
    known = {name: value for name, value in values.items() if not is_absent(value)}
    for name in ("id", "group"):
        if isinstance(known.get(name), list | dict):
            raise UserError(f"{name} {brief(known[name])} must be text or a number")
    difficulty = as_number(known.get("difficulty", 0.0))
    if difficulty is None:
        said = brief(known["difficulty"])
        raise UserError(f"difficulty {said} is not a number; leave it out where it is not known, or rename the column")
    return Extra(str(known.get("id", identifier)), str(known.get("group", group)), difficulty)


def columns_of(table: Table) -> dict[str, str]:
    """The column of each of `NAMES` that a table has."""
    found = {name: table.column(name) for name in NAMES}
    return {name: column for name, column in found.items() if column is not None}


def words(where: Mapping[str, str]) -> tuple[str, ...]:
    """For people: `id, group from 'topic'`."""
    if not where:
        return ()
    said = ", ".join(name if name == column else f"{name} from {column!r}" for name, column in where.items())
    return (f"also {said}",)
