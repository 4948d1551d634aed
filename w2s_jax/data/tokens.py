"""Texts as ragged token ids. Lengths are explicit; no id means padding."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int

from w2s_jax.errors import UserError


@runtime_checkable
class Tokenizer(Protocol):
    def encode(self, texts: list[str]) -> list[list[int]]: ...


@dataclass(frozen=True)
class Tokens:
    """Token ids of N texts, one after another: text i is `ids[offsets[i]:offsets[i + 1]]`."""

    ids: Int[np.ndarray, " total"]
    offsets: Int[np.ndarray, " n_plus_1"]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> Int[np.ndarray, " length"]:
        return self.ids[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> Int[np.ndarray, " n"]:
        return np.diff(self.offsets)


def encode(
    tokenizer: Tokenizer, texts: Sequence[str], *, max_tokens: int, too_long: Literal["error", "truncate"] = "error"
) -> Tokens:
    """Tokenises; an empty text becomes one token, so that there is a last token to read.

    Args:
      max_tokens: the longest text allowed.
      too_long: refuse longer ones, or keep their first `max_tokens` tokens.

    Raises:
      UserError: some texts are longer and `too_long` is "error"; it says how many and the longest.
    """
    rows = [row or [0] for row in tokenizer.encode(list(texts))]
    lengths = np.array([len(row) for row in rows], np.int64)
    longer = int(np.sum(lengths > max_tokens))
    if longer and too_long == "error":
        raise UserError(
            f"{longer} of {len(rows)} texts are longer than max_tokens={max_tokens} (the longest has "
            f"{lengths.max()}); raise max_tokens, or set too_long='truncate' to keep the first {max_tokens} tokens"
        )
    rows = [row[:max_tokens] for row in rows]
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    ids = np.fromiter((token for row in rows for token in row), np.int32, count=int(offsets[-1]))
    return Tokens(ids, offsets)
