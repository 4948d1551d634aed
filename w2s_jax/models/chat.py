"""Texts as messages to a chat model: its tokenizer's own template, rendered by transformers in Jinja's sandbox."""

import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from w2s_jax.models import gguf_files, hub_files
from w2s_jax.models.pretrained import outline
from w2s_jax.models.sources import locate, places
from w2s_jax.models.tokenizer import TextTokenizer
from w2s_jax.runtime import files
from w2s_jax.runtime.errors import UserError

# Some templates tell the date, and results must not depend on the day that they are made: it is that which Llama 3's
# own template tells where it knows no other.
DATE = {"%d": "26", "%b": "Jul", "%B": "July", "%m": "07", "%Y": "2024", "%y": "24", "%A": "Friday", "%a": "Fri"}
TODAY = (
    "{%- macro strftime_now(format) -%}{{ format"
    + "".join(f" | replace('{sign}', '{value}')" for sign, value in DATE.items())
    + " }}{%- endmacro -%}"
)
PROBES = ("a question", "Something else, and longer!")


@dataclass(frozen=True, eq=False)
class ChatTokenizer(TextTokenizer):
    """A tokenizer to which every text is a user's message, after which the model's turn begins.

    The template writes what special tokens there are, so none are added: there is no second BOS.

    Attributes:
      template: in Jinja.
      special: the tokens that it may name, such as `bos_token`.
    """

    template: str
    special: Mapping[str, str]

    def encode(self, texts: list[str], then: str = "") -> list[list[int]]:
        return self.encode_rendered([text + then.lstrip(" ") for text in self.render(texts)])

    def encode_rendered(self, rendered: list[str]) -> list[list[int]]:
        """Token ids of texts that the template wrote."""
        return [encoding.ids for encoding in self.inner.encode_batch(rendered, add_special_tokens=False)]

    def cut(self, row: list[int], longest: int, keep: Literal["first", "last"]) -> list[int]:
        """The message is cut, and what the template writes around it stays."""
        if len(row) <= longest:
            return row
        before, after = self._around
        if longest <= before + after:
            raise UserError(f"max_tokens leaves {longest} tokens, and the chat template alone takes {before + after}")
        if keep == "first":
            return row[: longest - after] + row[len(row) - after :]
        return row[:before] + row[len(row) - (longest - before) :]

    def render(self, texts: list[str]) -> list[str]:
        """Each text in the template, as a user's message.

        Raises:
          UserError: the template refuses it.
        """
        return [self.dialogue([("user", text)]) for text in texts]

    def dialogue(self, messages: Sequence[tuple[str, str]]) -> str:
        """Messages, each a role and its text, in the template, after which the model's turn begins.

        Raises:
          UserError: the template refuses them.
        """
        said = [{"role": role, "content": text} for role, text in messages]
        try:
            return str(self._writer.apply_chat_template(said, tokenize=False, add_generation_prompt=True))
        except Exception as error:  # a template may raise what it likes
            roles = [role for role, _ in messages]
            what = f"a message of a {roles[0]}" if len(roles) == 1 else f"messages of {', '.join(roles)}"
            raise UserError(f"the chat template cannot write {what}: {error}") from error

    @functools.cached_property
    def _writer(self) -> Any:
        from transformers import PreTrainedTokenizerFast

        template = TODAY + self.template
        return PreTrainedTokenizerFast(tokenizer_object=self.inner, chat_template=template, **self.special)

    @functools.cached_property
    def _around(self) -> tuple[int, int]:
        """How many tokens are before a message, and after it."""
        rendered = self.render(list(PROBES))
        before = os.path.commonprefix(rendered)  # noqa: RUF071 (of characters, as is wanted)
        after = os.path.commonprefix([text[::-1] for text in rendered])[::-1]  # noqa: RUF071
        around = self.inner.encode_batch([before, after], add_special_tokens=False)
        return len(around[0].ids), len(around[1].ids)


@files.cached(maxsize=8, path_of=places)
def tokenizer(source: str, plain: TextTokenizer) -> ChatTokenizer:
    """The model's tokenizer with its chat template.

    Raises:
      UserError: it has none.
    """
    found = locate(source)
    if found.config is None:
        metadata = gguf_files.read(*found.weights).header.metadata
        template, special = metadata.get("tokenizer.chat_template"), _gguf_special(metadata)
    else:
        template, special = _of_folder(found.folder)
    if not template:
        raise UserError(f"{source} has no chat template: it is no chat model, or its tokenizer_config.json is missing")
    return ChatTokenizer(plain.inner, plain.fingerprint, template, special)


def fingerprint(source: str) -> str:
    """SHA-256 of the model's chat template, and of the tokens that it names."""
    chat = tokenizer(source, outline(source)[1])
    return files.sha256_text(files.canonical([chat.template, dict(chat.special)]))


def _of_folder(folder: Path) -> tuple[str | None, dict[str, str]]:
    settings: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        path = folder / name
        settings |= files.read_json(path) if path.exists() else {}
    beside = folder / hub_files.CHAT_TEMPLATE
    template = beside.read_text(encoding="utf-8") if beside.exists() else settings.get("chat_template")
    if isinstance(template, list):  # several by name
        template = {each["name"]: each["template"] for each in template}.get("default")
    special = {
        key: value["content"] if isinstance(value, dict) else value
        for key, value in settings.items()
        if key in ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token") and value
    }
    return template, special


def _gguf_special(metadata: Mapping[str, Any]) -> dict[str, str]:
    names = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
    numbers = {key: metadata.get(f"tokenizer.ggml.{name}_token_id") for key, name in names.items()}
    return {key: metadata["tokenizer.ggml.tokens"][number] for key, number in numbers.items() if number is not None}
