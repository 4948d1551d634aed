"""Tables of two replies of which one is preferred, each to be scored by itself."""

from collections.abc import Iterable
from typing import Any

from w2s_jax.data.example import Example, coin, digest
from w2s_jax.data.records import Record, is_absent
from w2s_jax.data.tables import columns, extras, messages
from w2s_jax.data.tables.base import KINDS, Kind, Layout
from w2s_jax.data.tables.table import Table
from w2s_jax.runtime.errors import UserError


@KINDS.register
class Comparison(Kind):
    """`chosen` and `rejected`, right after `prompt` if there is one; each is text or a list of messages."""

    name = "comparisons"
    needs = "chosen and rejected"
    takes = ("chosen", "rejected", "prompt", *extras.NAMES)

    def fits(self, table: Table) -> bool:
        return not table.has("text") and table.has("chosen") and table.has("rejected")

    def layout(self, table: Table) -> Layout:
        if table.options.classes:
            raise UserError("a comparison has no classes to list: its label is the better reply's place")
        chosen, rejected, prompt = (table.column(name) for name in ("chosen", "rejected", "prompt"))
        there = extras.columns_of(table)
        assert chosen is not None
        assert rejected is not None

        def format(record: Record) -> Iterable[Example]:
            before = columns.value_at(record, prompt) if prompt and columns.has(record, prompt) else None
            opening = "" if _nothing(before) else messages.flatten(before)
            good, bad = (_whole(columns.value_at(record, name), before, opening) for name in (chosen, rejected))
            if good != bad:
                yield _example(record, good, bad, opening, there)

        words = "a pair of texts to compare, " + ", ".join(
            repr(name) for name in (prompt, chosen, rejected) if name is not None
        )
        return Layout(format, 2, (), 2, (words, *extras.words(there)))


def _example(record: Record, good: str, bad: str, opening: str, there: dict[str, str]) -> Example:
    texts = tuple(sorted((good, bad)))  # so that both ways of one pair are seen to contradict each other
    texts = texts[::-1] if coin(*texts) else texts
    group = digest(opening) if opening else digest(*texts)
    more = extras.extra(record, there, digest(*texts), group)
    return Example(more.id, texts, texts.index(good), more.group, more.difficulty)


def _whole(reply: Any, prompt: Any, opening: str) -> str:
    """A reply after its prompt. A conversation that begins with the prompt is whole already."""
    text = messages.flatten(reply)
    if not messages.is_conversation(reply) or not opening:
        return opening + text
    asked = opening if messages.is_conversation(prompt) else messages.flatten([{"role": "user", "content": prompt}])
    return text if text.startswith(asked) else asked + text


def _nothing(value: Any) -> bool:
    return not isinstance(value, list) and is_absent(value)
