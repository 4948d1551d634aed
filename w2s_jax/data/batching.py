"""Batches of few shapes, each a pure function of its number, so that resuming is trivial."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from einops import rearrange
from jaxtyping import Int

from w2s_jax.data.tokens import Tokens

SHORT = 64  # tokens


class Batch(NamedTuple):
    """Examples padded to one length, each of one text or of K candidates.

    Attributes:
      tokens: int32, right-padded with 0, which is a real token too: only `lengths` says what is padding.
      lengths: int32, real tokens of each text; 0 for a padding example.
      rows: int32, index of each example in the split; -1 for a padding example.
    """

    tokens: Int[np.ndarray, "b *k t"]
    lengths: Int[np.ndarray, " b *k"]
    rows: Int[np.ndarray, " b"]


def bucket(length: int, pieces: int = 8) -> int:
    """The padded length: a multiple of 4 up to 4 `pieces`, of 8 up to twice that, and so on.

    With 8 pieces a long row is so padded by a fifth at most, and the shapes, each of which compiles once, grow with the
    logarithm of the longest text.

    >>> [bucket(n) for n in (1, 11, 17, 33, 100, 129)]
    [4, 12, 20, 40, 112, 160]
    """
    unit = 4
    while length > unit * pieces:
        unit *= 2
    return -(-length // unit) * unit


def room(lengths: Int[np.ndarray, " b *k"], ways: int = 1, microbatches: int = 1) -> int:
    """Places for the real tokens of a batch's rows, packed: as many as the fullest of its groups needs, and up to a
    sixth more, so that few shapes compile.

    Args:
      ways: contiguous shards of the rows, one for each device.
      microbatches: pieces of each shard, interleaved.
    """
    groups = lengths.reshape(ways, -1, microbatches, *lengths.shape[1:])
    totals = groups.swapaxes(1, 2).reshape(ways * microbatches, -1).sum(axis=1)
    return bucket(int(totals.max()), pieces=12)


class TrainBatches:
    """Every epoch a fresh permutation, from (seed, epoch) alone. The last batch of an epoch may hold padding examples.

    Its rows are meant to be packed. Where they are split into groups (see `room`), these hold about equally many
    tokens.
    """

    def __init__(
        self, tokens: Tokens, batch_size: int, *, seed: int, epochs: int, ways: int = 1, microbatches: int = 1
    ) -> None:
        self.tokens, self.batch_size, self.seed, self.epochs = tokens, batch_size, seed, epochs
        self.ways, self.microbatches = ways, microbatches
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
        return pad(self.tokens, self._dealt(rows), self.batch_size, packed=True)

    def _dealt(self, rows: Int[np.ndarray, " n"]) -> Int[np.ndarray, " b"]:
        """The rows, and -1 up to the batch's size, so placed that each group holds about as many tokens.

        The longest first, each goes to the group that has fewest tokens and is not full.
        """
        rows = np.pad(rows, (0, self.batch_size - len(rows)), constant_values=-1)
        groups = self.ways * self.microbatches
        if groups == 1:
            return rows
        totals = np.where(rows < 0, 0, _by_row(self.tokens).sum(axis=1)[rows])
        dealt: list[list[int]] = [[] for _ in range(groups)]
        held = np.zeros(groups, np.int64)
        for index in np.argsort(-totals, kind="stable"):
            full = [len(group) * groups == self.batch_size for group in dealt]
            group = int(np.argmin(np.where(full, np.iinfo(np.int64).max, held)))
            dealt[group].append(rows[index])
            held[group] += totals[index]
        return rearrange(np.array(dealt, np.int32), "(w m) j -> (w j m)", w=self.ways)

    def padding_share(self) -> float:
        """The fraction of the first epoch's places that hold no token, in [0, 1), with rows packed."""
        batches = [self[step] for step in range(self.steps_per_epoch)]
        return 1.0 - sum(int(each.lengths.sum()) for each in batches) / sum(map(self.places, batches))

    def places(self, batch: Batch) -> int:
        """How many places a batch's tokens take, packed."""
        return self.ways * self.microbatches * room(batch.lengths, self.ways, self.microbatches)


class EvalBatches:
    """Every row once, neighbours in length together, so that little is padded; `rows` says which is which.

    A batch is sharded over `ways` devices: of few rows it is as large as on one device, `most`; of many, two, four
    and so on times that, so that few shapes compile, up to `most` for each device.
    """

    def __init__(self, tokens: Tokens, most: int, ways: int = 1, count: int | None = None) -> None:
        """Args:
        count: rows that the batch's size is chosen for; None is as many as there are.
        """
        count = len(tokens) if count is None else count
        self.tokens, self.batch_size = tokens, ways * -(-most // ways)
        while self.batch_size < min(count, ways * most):
            self.batch_size = min(2 * self.batch_size, ways * most)
        self._order = np.argsort(_by_row(tokens).max(axis=1), kind="stable")

    def __len__(self) -> int:
        return -(-len(self.tokens) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, len(self.tokens), self.batch_size):
            yield pad(self.tokens, self._order[start : start + self.batch_size], self.batch_size)


def pad(tokens: Tokens, rows: Int[np.ndarray, " n"], batch_size: int, packed: bool = False) -> Batch:
    """The rows, of which -1 are padding examples, as one batch of `batch_size`, filled up with more of these.

    Args:
      packed: the rows are meant to be: only attention, a small part of the work on short ones, meets their padding.
        So they have few lengths, a quarter of the others' up to `SHORT` tokens, and half of them above.
    """
    k = tokens.candidates
    numbers = np.full(batch_size, -1, np.int32)
    numbers[: len(rows)] = rows
    real = np.flatnonzero(numbers >= 0)
    lengths = np.zeros((batch_size, k), np.int32)
    lengths[real] = _by_row(tokens)[numbers[real]]
    longest = max(int(lengths.max()), 1)
    pieces = 8 if not packed else (2 if longest <= SHORT else 4)
    padded = np.zeros((batch_size, k, bucket(longest, pieces)), np.int32)
    for position in real.tolist():
        for candidate in range(k):
            padded[position, candidate, : lengths[position, candidate]] = tokens[int(numbers[position]) * k + candidate]
    return Batch(padded[:, 0], lengths[:, 0], numbers) if k == 1 else Batch(padded, lengths, numbers)


def stack(batches: Sequence[Batch | None], count: int) -> Batch:
    """Batches of one size, those of jobs that train together, along a new first axis, padded to the longest of them.

    Args:
      batches: None is one of padding examples alone, as are those that are lacking.
      count: how many there shall be.
    """
    real = [batch for batch in batches if batch is not None]
    length = max(batch.tokens.shape[-1] for batch in real)
    tokens = np.zeros((count, *real[0].tokens.shape[:-1], length), np.int32)
    lengths = np.zeros((count, *real[0].lengths.shape), np.int32)
    rows = np.full((count, *real[0].rows.shape), -1, np.int32)
    for place, batch in enumerate(batches):
        if batch is not None:
            tokens[place, ..., : batch.tokens.shape[-1]] = batch.tokens
            lengths[place], rows[place] = batch.lengths, batch.rows
    return Batch(tokens, lengths, rows)


def _by_row(tokens: Tokens) -> Int[np.ndarray, "n k"]:
    return tokens.lengths.reshape(-1, tokens.candidates)
