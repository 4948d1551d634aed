"""Text to token ids as each model expects them, without padding or truncation: batching does those by length."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from w2s_jax.models import families
from w2s_jax.models.families.gguf import Metadata
from w2s_jax.runtime import files
from w2s_jax.runtime.errors import UserError

# llama.cpp's names for how a BPE tokenizer cuts text into words, and whether each digit stands alone.
PRE_TOKENIZERS = {"smollm": True, "gpt-2": False}


@dataclass(frozen=True, eq=False)
class TextTokenizer:
    """A `tokenizers.Tokenizer`.

    Attributes:
      fingerprint: SHA-256 of its serialised form.
    """

    inner: Any
    fingerprint: str

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Token ids with the special tokens the model expects around a text: [CLS] and [SEP], a BOS, or none."""
        return [encoding.ids for encoding in self.inner.encode_batch(texts)]

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
    """From a GGUF file's metadata: byte-level BPE, or Gemma's SentencePiece.

    Raises:
      UserError: another kind of tokenizer, by name.
    """
    from tokenizers import AddedToken, processors

    kind, pre = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre")
    sentencepiece = kind == "llama"
    if kind not in families.of_gguf(metadata).gguf_tokenizers or (kind == "gpt2" and pre not in PRE_TOKENIZERS):
        raise UserError(f"GGUF tokenizer {kind!r} ({pre!r}) is not implemented; put a tokenizer.json next to the file")
    tokens = metadata["tokenizer.ggml.tokens"]
    if sentencepiece:
        inner = _sentencepiece(tokens)
    else:
        inner = _byte_level(tokens, metadata["tokenizer.ggml.merges"], PRE_TOKENIZERS[str(pre)])
    types = list(zip(tokens, metadata["tokenizer.ggml.token_type"], strict=True))
    inner.add_special_tokens([AddedToken(token, special=True, normalized=False) for token, type in types if type == 3])
    if sentencepiece:
        whole = [token for token, type in types if type == 4 and inner.token_to_id(token) is not None]
        inner.add_tokens([AddedToken(token, special=False, normalized=False) for token in whole])
    if metadata.get("tokenizer.ggml.add_bos_token", False):
        first = metadata["tokenizer.ggml.bos_token_id"]
        inner.post_processor = processors.TemplateProcessing(
            single=f"{tokens[first]} $A", special_tokens=[(tokens[first], first)]
        )
    return _finished(inner)


def _byte_level(tokens: list[str], merges: list[str], single_digits: bool) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    vocabulary = {token: index for index, token in enumerate(tokens)}
    pairs = [(first, second) for first, _, second in (merge.partition(" ") for merge in merges)]
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=pairs))
    digits = [pre_tokenizers.Digits(individual_digits=True)] if single_digits else []
    inner.pre_tokenizer = pre_tokenizers.Sequence([*digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    inner.decoder = decoders.ByteLevel()
    return inner


def _sentencepiece(tokens: list[str]) -> Any:
    """The file lists no merges: every split of a token into two is one, and they rank as the tokens are listed."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    # Runs of spaces are listed as they are, though the text that they are found in is already spelled with ▁.
    spelled = [token if token.strip(" ") else "▁" * len(token) for token in tokens]
    vocabulary = {token: index for index, token in enumerate(spelled)}
    merges = [
        (token[:cut], token[cut:])
        for token in spelled
        for cut in range(len(token) - 1, 0, -1)
        if token[:cut] in vocabulary and token[cut:] in vocabulary
    ]
    bpe = models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    inner = Tokenizer(bpe)
    inner.normalizer = normalizers.Replace(" ", "▁")
    inner.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    inner.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return inner


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
        raise UserError(f"{folder} has no tokenizer.json, and transformers cannot make one: {error}") from error


def _finished(inner: Any) -> TextTokenizer:
    inner.no_padding()
    inner.no_truncation()
    return TextTokenizer(inner, files.sha256_text(inner.to_str()))
