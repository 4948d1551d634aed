"""Tables of texts with a label, or with the probability of each class."""

from collections.abc import Callable, Iterable

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
    Example(id='7', text='a fine film', label=1, group='g', difficulty=0.0, shares=None)
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
        return _has_text(table) and table.column("label") is not None

    def layout(self, table: Table) -> Layout:
        text, words = _text(table)
        column = table.column("label")
        assert column is not None
        classes = classes_of(table.read(), column, table.options.classes)
        there = extras.columns_of(table)

        def format(record: Record) -> Iterable[Example]:
            label = classes.label(columns.value_at(record, column)) if columns.has(record, column) else None
            if label is not None:
                content = text(record)
                more = extras.extra(record, there, digest(content), digest(content))
                yield Example(more.id, content, label, more.group, more.difficulty)

        words = f"{words}, {line('label', column)}"
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
        text, words = _text(table)
        probs, p = table.column("probs") or "probs", table.column("p") or "p"
        there = extras.columns_of(table)
        n_classes = _count(table, probs, p)

        def format(record: Record) -> Iterable[Example]:
            found = probabilities(record, probs, p)
            if found is None:
                return
            if len(found) != n_classes:
                raise UserError(f"{len(found)} probabilities; those of the records before are {n_classes}")
            content, shares = text(record), tuple(found.tolist())
            if shares.count(max(shares)) == 1:  # where two are equal, no class is the label
                more = extras.extra(record, there, digest(content), digest(content))
                label = shares.index(max(shares))
                yield Example(more.id, content, label, more.group, more.difficulty, shares)

        words = f"{words}, label and each class's share from {' and '.join(map(repr, _used(table)))}"
        return Layout(format, n_classes, table.options.classes, 1, (words, *extras.words(there)))


def _used(table: Table) -> list[str]:
    return [column for what in ("probs", "p") if (column := table.column(what)) is not None]


def _count(table: Table, probs: str, p: str) -> int:
    for number, record in enumerate(table.read(), start=1):
        try:
            found = probabilities(record, probs, p)
        except UserError as error:
            raise UserError(f"{where(record, number)}: {error}") from error
        if found is not None:
            named = len(table.options.classes)
            if named and named != len(found):
                raise UserError(f"{named} classes are listed; {where(record, number)} has {len(found)} probabilities")
            return len(found)
    raise UserError("no record has probabilities")


def _has_text(table: Table) -> bool:
    return bool(table.options.text) or _pair(table) is not None or table.column("text") is not None


def _text(table: Table) -> tuple[Callable[[Record], str], str]:
    """How a record's text is read, and where from, for people."""
    if table.options.text:
        table.used.update(path.partition(".")[0] for path in columns.fields_of(table.options.text))
        return columns.template(table.options.text), f"text made as {table.options.text!r}"
    pair = _pair(table)
    if pair is not None:
        return columns.template("\n".join(f"{{{name}}}" for name in pair)), line("text", " and ".join(pair))
    column = table.column("text")
    assert column is not None
    return lambda record: columns.text_at(record, column), line("text", column)


def _pair(table: Table) -> list[str] | None:
    """Two columns that together are the text, unless the table has or the user names one."""
    if table.has("text"):
        return None
    return next((found for pair in columns.TOGETHER if (found := table.called(pair)) is not None), None)
