"""Text to token ids as each model expects them, without padding or truncation: batching does those by length."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from w2s_jax.models import gguf_tokenizer, hub_files
from w2s_jax.models.families.gguf import Metadata
from w2s_jax.runtime import files
from w2s_jax.runtime.errors import UserError


@dataclass(frozen=True, eq=False)
class TextTokenizer:
    """A `tokenizers.Tokenizer`.

    Attributes:
      fingerprint: SHA-256 of its serialised form.
    """

    inner: Any
    fingerprint: str

    def encode(self, texts: list[str], then: str = "") -> list[list[int]]:
        """Token ids with the special tokens the model expects around a text: [CLS] and [SEP], a BOS, or none.

        Args:
          then: what the model writes after each text.
        """
        return [encoding.ids for encoding in self.inner.encode_batch([text + then for text in texts])]

    def cut(self, row: list[int], longest: int, keep: Literal["first", "last"]) -> list[int]:
        """The first or last tokens of a row that is longer.

        Raises:
          UserError: what is around every text leaves no room for it.
        """
        return row[:longest] if keep == "first" else row[-longest:]

    def decode(self, ids: list[int]) -> str:
        return self.inner.decode(ids)

    def spell(self, ids: list[int]) -> str:
        """The text of tokens with the special ones, as a model sees them."""
        return self.inner.decode(ids, skip_special_tokens=False)

    @property
    def vocab_size(self) -> int:
        return self.inner.get_vocab_size()


def from_file(path: Path) -> TextTokenizer:
    """From a `tokenizer.json`.

    Raises:
      UserError: it is not one.
    """
    import tokenizers

    try:
        inner = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:
        raise UserError(f"{path} is not a tokenizer.json: {error}") from error
    return _finished(inner)


def from_gguf(metadata: Metadata) -> TextTokenizer:
    """From a GGUF file's metadata: byte-level BPE, SentencePiece's BPE or BERT's WordPiece.

    Raises:
      UserError: another kind of tokenizer, by name, or one of whose settings one is missing.
    """
    return _finished(gguf_tokenizer.build(metadata))


def from_folder(folder: Path) -> TextTokenizer:
    """From a Hugging Face folder: its `tokenizer.json`, or else what transformers makes of its other files.

    Raises:
      UserError: it holds no tokenizer.
    """
    if (folder / "tokenizer.json").exists():
        return from_file(folder / "tokenizer.json")
    from transformers import AutoTokenizer

    try:
        slow = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        return _finished(slow.backend_tokenizer)
    except Exception as error:
        found = ", ".join(path.name for path in hub_files.tokenizer_files(folder)) or "nothing"
        reason = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise UserError(
            f"{folder} has no tokenizer.json, and transformers cannot make one of {found} ({reason}): save one where "
            "the tokenizer can be loaded, with `AutoTokenizer.from_pretrained(...).save_pretrained`; to read "
            "SentencePiece's and tiktoken's models it needs those packages"
        ) from error


def _finished(inner: Any) -> TextTokenizer:
    inner.no_padding()
    inner.no_truncation()
    return TextTokenizer(inner, files.sha256_text(inner.to_str()))
