"""A dialogue as the tokens that a decoder reads: in its chat template, or as a plain text of named turns.

Anna was born in Rome. ...

User: Where was she born?
Assistant: In Rome.
User: Are you sure?
Assistant:
"""

import abc
from collections.abc import Sequence
from typing import NamedTuple

from w2s_jax import models
from w2s_jax.models import chat
from w2s_jax.models.chat import ChatTokenizer
from w2s_jax.models.tokenizer import TextTokenizer
from w2s_jax.runtime.errors import UserError
from w2s_jax.study.assistants.base import Message, joined

NAMES = {"user": "User", "assistant": "Assistant"}
PROBE = "what the system says"


class Prompt(NamedTuple):
    """What a decoder reads before it replies: a text, and its tokens."""

    text: str
    ids: list[int]


class Form(abc.ABC):
    """How a model is given dialogues. `one_line`: a newline ends its reply."""

    one_line: bool

    @abc.abstractmethod
    def prompt(self, messages: Sequence[Message]) -> Prompt:
        """A dialogue, after which the assistant's turn begins.

        Raises:
          UserError: it cannot be written in this form.
        """

    @abc.abstractmethod
    def following(self, prompt: Prompt, answer: str) -> int:
        """The token with which an answer of one token follows a prompt.

        Raises:
          UserError: it is several tokens, or changes those before it.
        """


class PlainForm(Form):
    """For models without a chat template, which continue a text; their turn is one line."""

    one_line = True

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self._tokenizer = tokenizer

    def prompt(self, messages: Sequence[Message]) -> Prompt:
        before = "".join(f"{message.content}\n\n" for message in messages if message.role == "system")
        turns = [f"{NAMES[each.role]}: {each.content}\n" for each in messages if each.role != "system"]
        text = f"{before}{''.join(turns)}{NAMES['assistant']}:"
        return Prompt(text, self._tokenizer.encode([text])[0])

    def following(self, prompt: Prompt, answer: str) -> int:
        return _only_one(prompt, answer, self._tokenizer.encode([f"{prompt.text} {answer}"])[0])


class ChatForm(Form):
    """The model's own template. Where that knows no system, what the system says opens the first user's message."""

    one_line = False

    def __init__(self, tokenizer: ChatTokenizer) -> None:
        self._tokenizer = tokenizer
        try:
            self._system = PROBE in tokenizer.dialogue([("system", PROBE), ("user", "a question")])
        except UserError:
            self._system = False

    def prompt(self, messages: Sequence[Message]) -> Prompt:
        begins = next((each.role for each in messages if each.role != "system"), "user")
        if not self._system or begins == "assistant":  # of templates many want a user to begin
            messages = [Message("user", each.content) if each.role == "system" else each for each in messages]
        text = self._tokenizer.dialogue(joined(messages))
        return Prompt(text, self._tokenizer.encode_rendered([text])[0])

    def following(self, prompt: Prompt, answer: str) -> int:
        return _only_one(prompt, answer, self._tokenizer.encode_rendered([prompt.text + answer])[0])


def _only_one(prompt: Prompt, answer: str, whole: list[int]) -> int:
    before = len(prompt.ids)
    if len(whole) != before + 1 or whole[:before] != prompt.ids:
        raise UserError(f"the answer {answer!r} is not one token of this model's after a prompt")
    return whole[-1]


def form(model: str, as_chat: bool | None) -> Form:
    """How a model is given dialogues.

    Args:
      as_chat: in its chat template; None is where it has one.

    Raises:
      UserError: it has none, and `as_chat` is True.
    """
    _, plain = models.outline(model)
    if as_chat is False:
        return PlainForm(plain)
    try:
        return ChatForm(chat.tokenizer(model, plain))
    except UserError:
        if as_chat:
            raise
        return PlainForm(plain)


def fitting(form: Form, messages: Sequence[Message], room: int) -> Prompt:
    """The prompt of a dialogue, without its oldest turns where it is longer than `room` tokens.

    What the system says, a passage among it, stays, and so does the last message: what goes is a message of the user
    and what was replied to it, and so on.

    Raises:
      UserError: what must stay is longer.
    """
    system = [each for each in messages if each.role == "system"]
    turns = [each for each in messages if each.role != "system"]
    while True:
        prompt = form.prompt([*system, *turns])
        if len(prompt.ids) <= room:
            return prompt
        following = [place for place, each in enumerate(turns) if place > 0 and each.role == "user"]
        if not following:
            raise UserError(
                f"the question and the last message are {len(prompt.ids)} tokens, and the assistant reads {room}: give "
                "it more max_tokens, or shorter passages"
            )
        turns = turns[following[0] :]
