"""Batches and tokens: every row once an epoch, a batch is a function of its number, and padding is told by lengths."""

from collections import Counter

import numpy as np
import pytest

from w2s_jax.data.batching import SHORT, EvalBatches, TrainBatches, bucket, room
from w2s_jax.data.tokens import Tokens, encode
from w2s_jax.runtime.errors import UserError


class Letters:
    """One token a letter; "!" is token 0, as in GPT-2."""

    def encode(self, texts):
        return [[ord(letter) - ord("!") for letter in text] for text in texts]

    def cut(self, row, longest, keep):
        return row[:longest] if keep == "first" else row[-longest:]


def make_tokens(rows=53, longest=70, seed=0):
    rng = np.random.default_rng(seed)
    return encode(Letters(), ["!" * rng.integers(1, longest + 1) for _ in range(rows)], max_tokens=longest)


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_encode_is_ragged():
    tokens = encode(Letters(), ["abc", "!", "de"], max_tokens=3)
    assert len(tokens) == 3
    assert tokens.lengths.tolist() == [3, 1, 2]
    assert tokens.ids.dtype == np.int32
    assert [tokens[i].tolist() for i in range(3)] == Letters().encode(["abc", "!", "de"])


def test_empty_text_is_one_token():
    assert encode(Letters(), ["", "a"], max_tokens=2).lengths.tolist() == [1, 1]


def test_texts_that_are_too_long_are_counted_or_cut():
    with pytest.raises(UserError, match=r"2 of 3 texts are longer than max_tokens=2 \(the longest has 4\)"):
        encode(Letters(), ["abc", "a", "abcd"], max_tokens=2)
    cut = encode(Letters(), ["abc", "a", "abcd"], max_tokens=2, too_long="truncate")
    assert cut.lengths.tolist() == [2, 1, 2]
    assert cut[2].tolist() == Letters().encode(["ab"])[0]


def test_every_row_once_an_epoch_in_another_order():
    tokens = make_tokens()
    batches = TrainBatches(tokens, 8, seed=3, epochs=3)
    assert len(batches) == 3 * batches.steps_per_epoch == 21
    orders = []
    for epoch in range(3):
        rows = np.concatenate([batches[epoch * 7 + step].rows for step in range(7)])
        orders.append(rows[rows >= 0].tolist())
        assert sorted(orders[-1]) == list(range(53))
    assert orders[0] != orders[1] != orders[2]


def test_batch_is_a_function_of_its_number():
    tokens = make_tokens()
    forward, backward = (TrainBatches(tokens, 8, seed=3, epochs=3) for _ in range(2))
    seen = {step: backward[step] for step in reversed(range(len(backward)))}
    assert all(same(forward[step], seen[step]) for step in range(len(forward)))
    other = TrainBatches(tokens, 8, seed=4, epochs=3)
    assert not np.array_equal(forward[0].rows, other[0].rows)
    longer = TrainBatches(tokens, 8, seed=3, epochs=9)
    assert same(forward[20], longer[20])


def test_batches_end():
    batches = TrainBatches(make_tokens(), 8, seed=3, epochs=2)
    assert len(list(batches)) == len(batches)
    with pytest.raises(IndexError):
        batches[-1]


@pytest.mark.parametrize("kind", ["train", "eval"])
def test_rows_hold_their_tokens_and_padding_is_told_by_lengths_alone(kind):
    tokens = make_tokens()
    batches = TrainBatches(tokens, 8, seed=0, epochs=1) if kind == "train" else EvalBatches(tokens, 8)
    for batch in batches:
        assert batch.tokens.dtype == batch.lengths.dtype == batch.rows.dtype == np.int32
        longest = int(batch.lengths.max())
        pieces = 8 if kind == "eval" else (2 if longest <= SHORT else 4)
        assert batch.tokens.shape == (8, bucket(longest, pieces))
        for row, length, padded in zip(batch.rows, batch.lengths, batch.tokens, strict=True):
            assert length == (0 if row < 0 else tokens.lengths[row])
            if row >= 0:
                np.testing.assert_array_equal(padded[:length], tokens[int(row)])
            assert not padded[length:].any()


def test_eval_has_every_row_once_and_pads_little():
    tokens = make_tokens(rows=400)
    batches = EvalBatches(tokens, 16)
    assert len(list(batches)) == len(batches) == 25
    assert Counter(int(row) for batch in batches for row in batch.rows) == Counter(range(400))
    places = sum(batch.tokens.size for batch in batches)
    assert 1 - tokens.lengths.sum() / places < 0.15


@pytest.mark.parametrize(
    ("rows", "ways", "size"),
    [(16, 1, 64), (500, 1, 64), (16, 8, 64), (65, 8, 128), (300, 8, 512), (9999, 8, 512), (16, 64, 64), (16, 3, 66)],
)
def test_over_many_devices_few_rows_are_a_small_batch(rows, ways, size):
    batches = EvalBatches(make_tokens(rows), 64, ways)
    assert {len(batch.rows) for batch in batches} == {size}
    assert Counter(int(row) for batch in batches for row in batch.rows if row >= 0) == Counter(range(rows))


def test_over_many_devices_batches_are_of_few_sizes():
    sizes = {EvalBatches(make_tokens(rows, longest=1), 64, 64).batch_size for rows in range(1, 5000, 37)}
    assert sizes == {64, 128, 256, 512, 1024, 2048, 4096}
    assert {EvalBatches(make_tokens(rows, longest=1), 64, 48).batch_size % 48 for rows in range(1, 5000, 37)} == {0}


@pytest.mark.parametrize(("ways", "microbatches"), [(1, 1), (4, 1), (1, 4), (2, 2)])
def test_little_of_a_packed_epoch_is_padding_however_it_is_cut(ways, microbatches):
    lengths = np.random.default_rng(0).lognormal(3.0, 0.7, 640).astype(int) + 1
    tokens = Tokens(np.zeros(lengths.sum(), np.int32), np.concatenate([[0], np.cumsum(lengths)]))
    batches = TrainBatches(tokens, 32, seed=0, epochs=1, ways=ways, microbatches=microbatches)
    padded = sum(batch.tokens.size for batch in batches)
    assert batches.padding_share() <= 0.10 < 0.5 < 1 - lengths.sum() / padded
    assert Counter(int(row) for batch in batches for row in batch.rows) == Counter(range(640))
    alone = TrainBatches(tokens, 32, seed=0, epochs=1)
    assert all(sorted(one.rows) == sorted(other.rows) for one, other in zip(batches, alone, strict=True))


def test_a_group_has_room_for_its_rows():
    lengths = np.array([1, 20, 3, 40, 5, 60, 7, 80])
    assert room(lengths) == bucket(216, 12) == 224
    assert room(lengths, ways=2) == bucket(152, 12)
    assert room(lengths, microbatches=2) == bucket(200, 12)
    assert room(lengths, ways=2, microbatches=2) == bucket(140, 12)
    assert room(lengths.reshape(4, 2), ways=2) == bucket(152, 12)


def test_buckets_are_few_and_fit():
    shapes = [bucket(length) for length in range(1, 2049)]
    assert all(shape >= length for length, shape in enumerate(shapes, start=1))
    assert shapes == sorted(shapes)
    assert len(set(shapes)) < 35
    assert max((shape - length) / shape for length, shape in enumerate(shapes, start=1) if length > 16) < 0.3
