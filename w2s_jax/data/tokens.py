"""Texts as ragged token ids. Lengths are explicit; no id means padding."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int

from w2s_jax.runtime.errors import UserError

# What a model reads: one text, or the candidates that one scalar head is to score.
Text = str | tuple[str, ...]


@runtime_checkable
class Tokenizer(Protocol):
    def encode(self, texts: list[str]) -> list[list[int]]: ...

    def cut(self, row: list[int], longest: int, keep: Literal["first", "last"]) -> list[int]: ...


@dataclass(frozen=True)
class Tokens:
    """Token ids of N examples of K candidates, one after another: text i is `ids[offsets[i]:offsets[i + 1]]`.

    Attributes:
      candidates: K, texts of an example; 1 where an example is one text.
    """

    ids: Int[np.ndarray, " total"]
    offsets: Int[np.ndarray, " n_texts_plus_1"]
    candidates: int = 1

    def __len__(self) -> int:
        """N, the examples."""
        return (len(self.offsets) - 1) // self.candidates

    def __getitem__(self, text: int) -> Int[np.ndarray, " length"]:
        return self.ids[self.offsets[text] : self.offsets[text + 1]]

    @property
    def lengths(self) -> Int[np.ndarray, " n_texts"]:
        """Of each text."""
        return np.diff(self.offsets)


def encode(
    tokenizer: Tokenizer,
    texts: Sequence[Text],
    *,
    max_tokens: int,
    too_long: Literal["error", "truncate"] = "error",
    keep: Literal["first", "last"] = "first",
) -> Tokens:
    """Tokenises; an empty text becomes one token, so that there is a last token to read.

    Args:
      max_tokens: the longest text allowed.
      too_long: refuse longer ones, or keep their first (or last, as `keep` says) `max_tokens` tokens.

    Raises:
      UserError: some texts are longer and `too_long` is "error"; it says how many and the longest. Or rows have
        different numbers of candidates.
    """
    candidates = {1 if isinstance(text, str) else len(text) for text in texts}
    if len(candidates) > 1:
        raise UserError(f"every example must have equally many candidates; found examples with {sorted(candidates)}")
    rows = [row or [0] for row in tokenizer.encode(flatten(texts))]
    lengths = np.array([len(row) for row in rows], np.int64)
    longer = int(np.sum(lengths > max_tokens))
    if longer and too_long == "error":
        raise UserError(
            f"{longer} of {len(rows)} texts are longer than max_tokens={max_tokens} (the longest has "
            f"{lengths.max()}); raise max_tokens, or set too_long='truncate' to keep the {keep} {max_tokens} tokens"
        )
    rows = [tokenizer.cut(row, max_tokens, keep) for row in rows]
    return ragged(rows, candidates.pop() if candidates else 1)


def ragged(rows: Sequence[Sequence[int]], candidates: int = 1) -> Tokens:
    """Token ids of texts, or of examples of several candidates, one after another."""
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    ids = np.fromiter((token for row in rows for token in row), np.int32, count=int(offsets[-1]))
    return Tokens(ids, offsets, candidates)


def flatten(texts: Sequence[Text]) -> list[str]:
    """Every candidate of every example as a text of its own."""
    return [part for text in texts for part in ((text,) if isinstance(text, str) else text)]
