"""Which columns of a table hold what."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from w2s_jax.data.records import Record, Row, brief, is_absent, listing
from w2s_jax.data.tables import messages
from w2s_jax.runtime.errors import UserError

_FIELD = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")

# What each thing is called in the tables that people have. The first name is this package's own.
NAMES: Mapping[str, tuple[str, ...]] = {
    "text": ("text", "sentence", "review", "content", "tweet", "comment", "statement", "claim", "document", "message",
             "body", "input", "messages", "conversation", "conversations"),
    "label": ("label", "labels", "class", "category", "target", "sentiment", "gold_label", "gold", "kind", "stars",
              "rating", "intent", "emotion", "y", "output"),
    "probs": ("probs", "probabilities", "soft_label", "soft_labels"),
    "p": ("p",),
    "question": ("question",),
    "choices": ("choices", "options", "answers", "endings"),
    "answer": ("answer", "answer_index", "answer_idx", "correct", "correct_answer", "correct_option", "answerKey",
               "answer_key", "gold", "label"),
    "context": ("context", "passage", "article", "premise"),
    "prompt": ("prompt", "question", "instruction"),
    "chosen": ("chosen",),
    "rejected": ("rejected",),
    "id": ("id",),
    "group": ("group",),
    "difficulty": ("difficulty",),
}  # fmt: skip

# Texts that come in two parts: each becomes a line of one text. Texts with one first part are a group.
TOGETHER = (
    ("premise", "hypothesis"),
    ("sentence1", "sentence2"),
    ("question1", "question2"),
    ("text1", "text2"),
    ("text_a", "text_b"),
    ("passage", "question"),
    ("question", "sentence"),
    ("question", "answer"),
    ("query", "passage"),
    ("query", "document"),
    ("claim", "evidence"),
    ("prompt", "response"),
    ("prompt", "completion"),
)
TITLED = ("title", "content")  # two parts, too, but texts of one title need have nothing else in common


def value_at(record: Record, path: str) -> Any:
    """The value of a column, or, as `a.b`, one inside another; `a.0` is the first one of a list.

    Raises:
      UserError: the record has none; the message names those it has.
    """
    if path in record:
        return record[path]
    value: Any = record
    for name in path.split("."):
        inside = _inside(value)
        if name not in inside:
            raise UserError(f"a record has no column {path!r}; it has: {listing(paths(record))}")
        value = inside[name]
    return value


def _inside(value: Any) -> Mapping[str, Any]:
    """What is inside a value, by name; of a list, by number."""
    if isinstance(value, list):
        return {str(number): each for number, each in enumerate(value)}
    return value if isinstance(value, Mapping) else {}


def paths(record: Record) -> list[str]:
    """The names of a record's values, with those inside others as `a.b`; of a list of such, of its first."""
    found = []
    for name, value in record.items():
        first = {"0": value[0]} if isinstance(value, list) and value and isinstance(value[0], Mapping) else value
        inner = paths(first) if isinstance(first, Mapping) else []
        found += [f"{name}.{each}" for each in inner] or [name]
    return found


def has(record: Record, path: str) -> bool:
    """Whether `value_at` finds a value."""
    try:
        value_at(record, path)
    except UserError:
        return False
    return True


def renamed(columns: Mapping[str, str]) -> Callable[[Record], Record]:
    """A function that gives a record with these values also under these names; every other value stays."""

    def rename(record: Record) -> Record:
        if not columns:
            return record
        found = {name: value_at(record, path) for name, path in columns.items()}
        rest = {name: value for name, value in record.items() if name not in columns}
        return Row({**rest, **found}, getattr(record, "where", ""))

    return rename


def template(text: str) -> Callable[[Record], str]:
    """A function that fills `{column}` of a text from a record; `{{` is a brace. Nothing but blanks gives no text.

    A backslash and an n, as a command line has them, are a line break.

    >>> template("{premise}\\n{hypothesis}")({"premise": "It rains.", "hypothesis": "It is wet."})
    'It rains.\\nIt is wet.'

    Raises:
      UserError: it names no column, or, when it is filled, one that the record lacks or that is no text.
    """
    names, text = fields_of(text), text.replace("\\n", "\n")
    if not names:
        raise UserError(f"text {text!r} names no column; want one or more, as in '{{premise}}\\n{{hypothesis}}'")

    def fill(record: Record) -> str:
        parts = {name: text_at(record, name) for name in names}
        if not any(part.strip() for part in parts.values()):
            return ""
        return _FIELD.sub(lambda found: found[0][0] if found[1] is None else parts[found[1]], text)

    return fill


def fields_of(text: str) -> list[str]:
    """The columns that a template names."""
    return [found[1] for found in _FIELD.finditer(text) if found[1] is not None]


def text_at(record: Record, path: str) -> str:
    """The text of a column.

    Raises:
      UserError: there is no such column, or it holds no text.
    """
    return as_text(value_at(record, path), path)


def as_text(value: Any, column: str) -> str:
    """A value as text: text itself, a number as Python writes it, messages one after another; nothing is no text.

    Raises:
      UserError: it is none of these.
    """
    value = messages.found(value)
    if isinstance(value, str):
        return value
    if is_absent(value) or value == []:
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return str(value)
    if messages.is_conversation(value):
        return messages.flatten(value)
    raise UserError(f"{brief(value)} stands in column {column!r} where text should")
