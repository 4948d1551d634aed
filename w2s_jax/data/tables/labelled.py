"""Tables of texts with a label, or with the probability of each class."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from w2s_jax.data.example import Example, digest
from w2s_jax.data.probabilities import probabilities
from w2s_jax.data.records import Record, class_field, text_field, where
from w2s_jax.data.tables import columns, extras
from w2s_jax.data.tables.base import KINDS, Kind, Layout, line
from w2s_jax.data.tables.classes import classes_of
from w2s_jax.data.tables.table import Table
from w2s_jax.runtime.errors import UserError


def labelled_text(record: Record) -> Iterable[Example]:
    """A record of `text`, `label` and, if they are there, `group`, `id` and `difficulty`.

    >>> next(iter(labelled_text({"text": "a fine film", "label": 1, "id": 7, "group": "g"})))
    Example(id='7', text='a fine film', label=1, group='g', difficulty=0.0, shares=None, question=None)
    """
    text = text_field(record, "text")
    more = extras.extra(record, {name: name for name in extras.NAMES}, digest(text), digest(text))
    yield Example(more.id, text, class_field(record, "label"), more.group, more.difficulty)


@KINDS.register
class Labelled(Kind):
    """A text and its label, which may be a number or a name."""

    name = "labelled texts"
    needs = "a text and a label"
    takes = ("text", "label", *extras.NAMES)

    def fits(self, table: Table) -> bool:
        meant = {"probs", "p"} & table.options.columns.keys()
        return not meant and _has_text(table) and table.column("label") is not None

    def layout(self, table: Table) -> Layout:
        text = _text(table)
        column = table.column("label")
        assert column is not None
        classes = classes_of(table.read(), column, table.options.classes)
        there = extras.columns_of(table)

        def format(record: Record) -> Iterable[Example]:
            label = classes.label(columns.value_at(record, column)) if columns.has(record, column) else None
            if label is not None:
                content = text.of(record)
                more = extras.extra(record, there, digest(content), text.group(record, content))
                yield Example(more.id, content, label, more.group, more.difficulty)

        words = f"{text.words}, {line('label', column)}"
        return Layout(format, len(classes), classes.names, 1, (words, classes.words(), *extras.words(there)))


@KINDS.register
class Soft(Kind):
    """A text and the probability of each class, instead of a label."""

    name = "texts with probabilities"
    needs = "a text and `probs`, a list of each class's probability, or `p`, that of class 1"
    takes = ("text", "probs", "p", *extras.NAMES)

    def fits(self, table: Table) -> bool:
        return _has_text(table) and any(table.column(what) is not None for what in ("probs", "p"))

    def layout(self, table: Table) -> Layout:
        text = _text(table)
        there = extras.columns_of(table)
        used = {what: column for what in ("probs", "p") if (column := table.column(what)) is not None}
        n_classes = _count(table, used)

        def format(record: Record) -> Iterable[Example]:
            found = _probabilities(record, used)
            if found is None:
                return
            if len(found) != n_classes:
                raise UserError(f"{len(found)} probabilities; those of the records before are {n_classes}")
            shares = tuple(found.tolist())
            if shares.count(max(shares)) == 1:  # where two are equal, no class is the label
                content, label = text.of(record), shares.index(max(shares))
                more = extras.extra(record, there, digest(content), text.group(record, content))
                yield Example(more.id, content, label, more.group, more.difficulty, shares)

        words = f"{text.words}, {line('label and the share of each class', *used.values())}"
        return Layout(format, n_classes, table.options.classes, 1, (words, *extras.words(there)))


def _probabilities(record: Record, used: dict[str, str]) -> Float[np.ndarray, " c"] | None:
    there = {path: columns.value_at(record, path) for path in used.values() if columns.has(record, path)}
    return probabilities(there, **used)


def _count(table: Table, used: dict[str, str]) -> int:
    for number, record in enumerate(table.read(), start=1):
        try:
            found = _probabilities(record, used)
        except UserError as error:
            raise UserError(f"{where(record, number)}: {error}") from error
        if found is not None:
            named = len(table.options.classes)
            if named and named != len(found):
                raise UserError(f"{named} classes are listed; {where(record, number)} has {len(found)} probabilities")
            return len(found)
    raise UserError("no record has probabilities")


class _Text(NamedTuple):
    """Where a table's texts are.

    Attributes:
      of: a record's text.
      words: where it is, for people.
      first: the part that texts of one group share; None where each is a group of its own.
    """

    of: Callable[[Record], str]
    words: str
    first: str | None = None

    def group(self, record: Record, content: str) -> str:
        """What the record's group is called, if the record does not say it."""
        return digest(content if self.first is None else columns.text_at(record, self.first).strip() or content)


def _has_text(table: Table) -> bool:
    return bool(table.options.text) or _pair(table) is not None or table.column("text") is not None


def _text(table: Table) -> _Text:
    if table.options.text:
        for path in columns.fields_of(table.options.text):
            table.use(path)
        return _Text(columns.template(table.options.text), f"text made as {table.options.text!r}")
    pair = _pair(table)
    if pair is not None:
        template = columns.template("\n".join(f"{{{name}}}" for name in pair))
        titled = tuple(name.strip().lower() for name in pair) == columns.TITLED
        return _Text(template, line("text", *pair), None if titled else pair[0])
    column = table.column("text")
    assert column is not None
    return _Text(lambda record: columns.text_at(record, column), line("text", column))


def _pair(table: Table) -> list[str] | None:
    """Two columns that together are the text, unless the table has or the user names one."""
    if table.has("text"):
        return None
    return next(
        (found for pair in (*columns.TOGETHER, columns.TITLED) if (found := table.called(pair)) is not None), None
    )
