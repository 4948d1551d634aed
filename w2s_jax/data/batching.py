"""Padded batches of few shapes, each a pure function of its number, so that resuming is trivial."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from w2s_jax.data.tokens import Tokens


class Batch(NamedTuple):
    """Rows of one length, each of one text or of K candidates.

    Attributes:
      tokens: int32, right-padded with 0, which is a real token too: only `lengths` says what is padding.
      lengths: int32, real tokens of each text; 0 for a padding row.
      rows: int32, index of each row in the split; -1 for a padding row.
    """

    tokens: Int[np.ndarray, "b *k t"]
    lengths: Int[np.ndarray, "b *k"]
    rows: Int[np.ndarray, " b"]


def bucket(length: int) -> int:
    """The padded length: multiples of 4 up to 32, of 8 up to 64, of 16 up to 128, and so on.

    A long row is so padded by a fifth at most, and the shapes, each of which compiles once, grow with the logarithm of
    the longest text.

    >>> [bucket(n) for n in (1, 11, 17, 33, 100, 129)]
    [4, 12, 20, 40, 112, 160]
    """
    unit = 4
    while length > unit * 8:
        unit *= 2
    return -(-length // unit) * unit


class TrainBatches:
    """Every epoch a fresh permutation, from (seed, epoch) alone. The last batch of an epoch may hold padding rows."""

    def __init__(self, tokens: Tokens, batch_size: int, *, seed: int, epochs: int) -> None:
        self.tokens, self.batch_size, self.seed, self.epochs = tokens, batch_size, seed, epochs
        self.steps_per_epoch = -(-len(tokens) // batch_size)
        self._permuted: tuple[int, np.ndarray] = (-1, np.empty(0))

    def __len__(self) -> int:
        return self.epochs * self.steps_per_epoch

    def __getitem__(self, step: int) -> Batch:
        if not 0 <= step < len(self):
            raise IndexError(f"step {step} of {len(self)}")
        epoch, index = divmod(step, self.steps_per_epoch)
        if epoch != self._permuted[0]:
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self.tokens))
            self._permuted = (epoch, order)
        rows = self._permuted[1][index * self.batch_size : (index + 1) * self.batch_size]
        return pad(self.tokens, rows, self.batch_size)

    def padding_share(self) -> float:
        """The fraction of the first epoch's positions that hold no token, in [0, 1)."""
        return padding_share(self[step] for step in range(self.steps_per_epoch))


class EvalBatches:
    """Every row once, neighbours in length together, so that little is padded; `rows` says which is which."""

    def __init__(self, tokens: Tokens, batch_size: int) -> None:
        self.tokens, self.batch_size = tokens, batch_size
        self._order = np.argsort(_by_row(tokens).max(axis=1), kind="stable")

    def __len__(self) -> int:
        return -(-len(self.tokens) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, len(self.tokens), self.batch_size):
            yield pad(self.tokens, self._order[start : start + self.batch_size], self.batch_size)


def pad(tokens: Tokens, rows: Int[np.ndarray, " n"], batch_size: int) -> Batch:
    """The rows as one batch of `batch_size`, filled up with padding rows."""
    k = tokens.candidates
    lengths = np.zeros((batch_size, k), np.int32)
    lengths[: len(rows)] = _by_row(tokens)[rows]
    padded = np.zeros((batch_size, k, bucket(int(lengths.max()))), np.int32)
    for position, row in enumerate(rows.tolist()):
        for candidate in range(k):
            padded[position, candidate, : lengths[position, candidate]] = tokens[row * k + candidate]
    numbers = np.full(batch_size, -1, np.int32)
    numbers[: len(rows)] = rows
    return Batch(padded[:, 0], lengths[:, 0], numbers) if k == 1 else Batch(padded, lengths, numbers)


def _by_row(tokens: Tokens) -> Int[np.ndarray, "n k"]:
    return tokens.lengths.reshape(-1, tokens.candidates)


def padding_share(batches: Iterable[Batch]) -> float:
    """The fraction of the batches' positions that hold no token, in [0, 1)."""
    real = positions = 0
    for batch in batches:
        real += int(batch.lengths.sum())
        positions += batch.tokens.size
    return 1.0 - real / positions
