"""Tables of two replies of which one is preferred, each to be scored by itself."""

from collections.abc import Iterable, Sequence
from typing import Any

from w2s_jax.data.example import Example, coin, digest
from w2s_jax.data.records import Record
from w2s_jax.data.tables import columns, extras, messages
from w2s_jax.data.tables.base import KINDS, Kind, Layout, line
from w2s_jax.data.tables.table import Table
from w2s_jax.runtime.errors import UserError

_REPLY = "\n\nAssistant:"


@KINDS.register
class Comparison(Kind):
    """`chosen` and `rejected`, after `prompt` if there is one; each is text or a list of messages."""

    name = "comparisons"
    needs = "chosen and rejected"
    takes = ("chosen", "rejected", "prompt", *extras.NAMES)

    def fits(self, table: Table) -> bool:
        return not table.options.text and not table.has("text") and table.has("chosen") and table.has("rejected")

    def layout(self, table: Table) -> Layout:
        if table.options.classes:
            raise UserError("a comparison has no classes to list: its label is the better reply's place")
        chosen, rejected, prompt = (table.column(name) for name in ("chosen", "rejected", "prompt"))
        there = extras.columns_of(table)
        assert chosen is not None
        assert rejected is not None

        def format(record: Record) -> Iterable[Example]:
            asked = columns.value_at(record, prompt) if prompt and columns.has(record, prompt) else None
            replies = [columns.value_at(record, name) for name in (chosen, rejected)]
            good, bad = _after(asked, replies)
            if good != bad:
                yield _example(record, good, bad, columns.as_text(asked, "prompt"), there)

        words = line("two texts to compare", *(name for name in (prompt, chosen, rejected) if name is not None))
        return Layout(format, 2, (), 2, (words, *extras.words(there)))


def _example(record: Record, good: str, bad: str, opening: str, there: dict[str, str]) -> Example:
    texts = tuple(sorted((good, bad)))  # so that both ways of one pair are seen to contradict each other
    texts = texts[::-1] if coin(*texts) else texts
    # One dialogue may be compared at several of its turns.
    turn, *_ = good.split(_REPLY)
    shared = turn if good.startswith(turn + _REPLY) and bad.startswith(turn + _REPLY) else opening
    more = extras.extra(record, there, digest(*texts), digest(shared) if shared.strip() else digest(*texts))
    return Example(more.id, texts, texts.index(good), more.group, more.difficulty)


def _after(prompt: Any, replies: Sequence[Any]) -> list[str]:
    """Two replies after their prompt, unless both repeat it; one that says nothing is no text.

    Text follows text on a line of its own, unless there is a blank between them. Where the prompt or the replies are
    messages, all are: the prompt is the user's, and a reply the assistant's.
    """
    prompt, *replies = (messages.found(value) for value in (prompt, *replies))
    texts = [columns.as_text(reply, "chosen or rejected") for reply in replies]
    opening = columns.as_text(prompt, "prompt")
    if not opening.strip():
        return texts
    if any(map(messages.is_conversation, (prompt, *replies))):
        opening = _said("user", prompt, opening)
        texts = [_said("assistant", reply, text) for reply, text in zip(replies, texts, strict=True)]
    if all(text.startswith(opening) for text in texts):
        return texts
    glued = not opening[-1].isspace()
    return [text and opening + ("\n" if glued and not text[0].isspace() else "") + text for text in texts]


def _said(role: str, value: Any, text: str) -> str:
    """What somebody says, in the form of messages; nothing stays nothing."""
    is_message = messages.is_conversation(value) or not text.strip()
    return text if is_message else messages.flatten([{"role": role, "content": text}])
