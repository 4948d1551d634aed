"""Conversations as text: lists of messages, in the forms that chat data sets have them."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from w2s_jax.data.formats.json import from_cell
from w2s_jax.data.records import brief
from w2s_jax.runtime.errors import UserError

# Who speaks, as people's data sets call them -> as the text names them.
SPEAKERS = {
    "user": "Human",
    "human": "Human",
    "prompter": "Human",
    "assistant": "Assistant",
    "gpt": "Assistant",
    "model": "Assistant",
    "bot": "Assistant",
    "system": "System",
    "developer": "System",
}

_WRITTEN = re.compile(r"\s*(\[\s*)?\{\s*['\"](role|from|content|value)['\"]\s*:")  # messages in a cell


def is_conversation(value: Any) -> bool:
    """Whether a value is a list of messages."""
    return isinstance(value, list) and bool(value) and all(isinstance(each, Mapping) for each in value)


def found(value: Any) -> Any:
    """A list of messages, also of a single one or of those that a text spells as JSON, as in a .csv; else the value.

    Raises:
      UserError: a text begins as a list of messages, and is none.
    """
    if isinstance(value, str) and _WRITTEN.match(value) is not None:
        try:
            value = from_cell(value)
        except ValueError as error:
            raise UserError(f"{brief(value)} begins as a list of messages, and is none: {error}") from error
    is_one = isinstance(value, Mapping) and value.keys() & {"role", "from"} and value.keys() & {"content", "value"}
    return [value] if is_one else value


def flatten(value: Any) -> str:
    """A conversation as text, each message after a blank line and the speaker's name; text stays as it is.

    This is the form of Anthropic's HH dialogues. No model's chat template is applied, so that all models of an
    experiment read the same text.

    >>> flatten([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}])
    '\\n\\nHuman: Hi\\n\\nAssistant: Hello!'

    Raises:
      UserError: it is neither text nor messages, or a message has no known speaker or no text.
    """
    if isinstance(value, str):
        return value
    if not is_conversation(value):
        raise UserError(f"{brief(value)} stands where text, or a list of messages with `role` and `content`, should")
    return "".join(f"\n\n{_speaker(message)}: {_content(message)}" for message in value)


def _speaker(message: Mapping[str, Any]) -> str:
    name = message.get("role", message.get("from"))
    if not isinstance(name, str) or name.lower() not in SPEAKERS:
        raise UserError(f"a message's role must be one of {', '.join(SPEAKERS)}, not {brief(name)}")
    return SPEAKERS[name.lower()]


def _content(message: Mapping[str, Any]) -> str:
    content = message.get("content", message.get("value"))
    if isinstance(content, Sequence) and not isinstance(content, str):
        parts = [part.get("text") if isinstance(part, Mapping) else None for part in content]
        content = None if None in parts else "".join(map(str, parts))
    if not isinstance(content, str):
        raise UserError(f"a message's content must be text, not {brief(message.get('content', message.get('value')))}")
    return content.strip()
