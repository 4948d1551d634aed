"""Splits: disjoint, whole groups, balanced, the same on every machine, and different for every seed."""

import dataclasses
import random
from collections import Counter

import numpy as np
import pytest

from w2s_jax.data.example import Example
from w2s_jax.data.splits import SplitSizes, draw_pool, fitting, make_splits
from w2s_jax.runtime.errors import UserError

NAMES = ("supervisor", "transfer", "validation", "test")
SIZES = SplitSizes(supervisor=40, transfer=40, validation=10, test=20)


def singles(count, positive=0.5):
    labels = (np.random.default_rng(1).random(count) < positive).astype(int)
    return [Example(f"id{i:04d}", f"text {i}", int(labels[i]), f"group {i}") for i in range(count)]


def families(count):
    """Groups of one to five rows, of either class."""
    rng = np.random.default_rng(2)
    return [
        Example(f"id{i:04d}-{j}", f"text {i} {j}", int(rng.integers(2)), f"group {i}")
        for i in range(count)
        for j in range(rng.integers(1, 6))
    ]


def parts(splits):
    return {name: getattr(splits, name) for name in NAMES}


def test_sizes_and_rows_are_those_of_the_examples():
    examples = {example.id: example for example in singles(300)}
    splits = make_splits(list(examples.values()), SIZES, seed=0)
    for name, part in parts(splits).items():
        assert len(part) == len(set(part.ids)) == getattr(SIZES, name)
        assert part.labels.dtype == np.int32
        rows = zip(part.ids, part.texts, part.labels.tolist(), part.groups, strict=True)
        assert all(examples[row[0]][:4] == row for row in rows)


def test_no_group_and_no_text_is_in_two_splits():
    examples = families(120)
    twins = [Example(f"twin{i}", examples[i].text, examples[i].label, f"twin group {i}") for i in range(0, 200, 5)]
    for seed in range(5):
        splits = make_splits(examples + twins, SIZES, seed)
        for column in ("ids", "groups", "texts"):
            where = Counter(value for part in parts(splits).values() for value in set(getattr(part, column)))
            assert max(where.values()) == 1, column


def test_groups_joined_by_a_chain_of_texts_stay_together():
    chain = [Example(f"{i}{end}", f"shared {i + (end == 'b')}", i % 2, f"g{i}") for i in range(30) for end in "ab"]
    splits = make_splits(chain + singles(300), SIZES, seed=0)
    holders = [name for name, part in parts(splits).items() if any(text.startswith("shared") for text in part.texts)]
    assert len(holders) <= 1


@pytest.mark.parametrize("make", [lambda: singles(1000, positive=0.3), lambda: families(300)])
def test_every_split_has_equally_many_of_each_class(make):
    for part in parts(make_splits(make(), SIZES, seed=3)).values():
        assert part.labels.mean() == 0.5


def test_three_classes_are_balanced():
    examples = [example._replace(label=i % 3) for i, example in enumerate(singles(300))]
    splits = make_splits(examples, SplitSizes(30, 30, 9, 12), seed=0, n_classes=3)
    assert splits.n_classes == 3
    for part in parts(splits).values():
        assert len(set(np.bincount(part.labels, minlength=3))) == 1


def test_without_balance_the_classes_are_as_they_come():
    shares = [make_splits(singles(1000, 0.2), SIZES, s, balance=False).supervisor.labels.mean() for s in range(10)]
    assert 0.1 < np.mean(shares) < 0.3


def test_order_of_the_source_does_not_matter():
    examples = families(120)
    shuffled = random.Random(0).sample(examples, len(examples))
    assert make_splits(examples, SIZES, 7).transfer.ids == make_splits(shuffled, SIZES, 7).transfer.ids


def test_seed_changes_which_examples_are_drawn():
    """Over many seeds every example is drawn about equally often: no seed takes the first rows (METHODS 2.1, bug 6)."""
    examples = singles(300)
    drawn, tested = Counter(), Counter()
    for seed in range(200):
        splits = make_splits(examples, SIZES, seed)
        drawn.update(splits.supervisor.ids)
        tested.update(splits.test.ids)
    for counts, size in ((drawn, 40), (tested, 20)):
        expected = 200 * size / 300
        shares = np.array([counts[example.id] for example in examples]) / expected
        assert 0.9 < shares[:150].mean() / shares[150:].mean() < 1.1
        assert shares.min() > 0.1
    assert make_splits(examples, SIZES, 0).test.ids != make_splits(examples, SIZES, 1).test.ids


def test_draws_are_pinned():
    """The same rows on every machine and in every version: a change here changes every result."""
    splits = make_splits(singles(300), SIZES, seed=0)
    assert splits.test.ids[:4] == ("id0130", "id0091", "id0213", "id0202")
    assert splits.supervisor.fingerprint[:16] == "171c9808f6449bbb"


def test_fingerprint_sees_every_column():
    part = make_splits(singles(300), SIZES, seed=0).test
    changed = [
        part.without_truth(),
        type(part)(part.ids, part.texts, 1 - part.labels, part.groups),
        type(part)(part.ids, ("other", *part.texts[1:]), part.labels, part.groups),
        type(part)(part.ids[::-1], part.texts, part.labels, part.groups),
    ]
    assert len({part.fingerprint, *(other.fingerprint for other in changed)}) == 5
    assert make_splits(singles(300), SIZES, seed=0).test.fingerprint == part.fingerprint


def test_without_truth_has_no_labels():
    part = make_splits(singles(300), SIZES, seed=0).transfer
    blind = part.without_truth()
    assert blind.labels is None
    assert (blind.ids, blind.texts, blind.groups) == (part.ids, part.texts, part.groups)
    assert part.labels is not None


@pytest.mark.parametrize(
    ("examples", "sizes", "message"),
    [
        ([], SIZES, "the task has no examples"),
        (
            [example._replace(label=1) for example in singles(300)],
            SIZES,
            r"examples of 1 of its 2 classes alone \(\[1\]\)",
        ),
        ([*singles(300), Example("x", "x", 2, "x")], SIZES, r"1 labels are not in 0..1, 2 of example 'x'"),
        ([*singles(300), singles(1)[0]], SIZES, "ids are not unique"),
        (singles(100), SIZES, r"the splits need 110 examples; the task has 100 \(\d+ when balanced\), so supervisor"),
        (singles(200, 0.1), SIZES, r"the task has 200 \(\d+ when balanced\)"),
        (singles(300), SIZES._replace(test=0), "the test split must be a positive multiple of the 2 classes, not 0"),
        (singles(300), SIZES._replace(validation=7), "the validation split must be .* not 7"),
    ],
)
def test_what_cannot_be_split_is_one_line(examples, sizes, message):
    with pytest.raises(UserError, match=message) as caught:
        make_splits(examples, sizes, seed=0)
    assert "\n" not in str(caught.value)


def test_pool_is_whole_groups_whatever_the_order():
    examples = families(120)
    pool = draw_pool(examples, 100)
    assert 90 < len(pool) <= 100
    sizes = Counter(example.group for example in examples)
    assert all(count == sizes[group] for group, count in Counter(example.group for example in pool).items())
    assert sorted(draw_pool(examples[::-1], 100)) == sorted(pool)
    assert sorted(pool) != sorted(examples[: len(pool)])


def test_easy_examples_are_the_supervisors_and_harder_ones_everyone_elses():
    rng = np.random.default_rng(3)
    examples = [example._replace(difficulty=float(rng.integers(5))) for example in families(300)]
    of = {example.id: example for example in examples}
    splits = make_splits(examples, SIZES, seed=0, easy=2)
    assert max(of[row].difficulty for row in splits.supervisor.ids) == 2
    for name in ("transfer", "validation", "test"):
        assert min(of[row].difficulty for row in getattr(splits, name).ids) == 3
    held = [{*part.groups} for part in parts(splits).values()]
    assert sum(map(len, held)) == len(set().union(*held))
    with pytest.raises(UserError, match="supervisor would get 0 of 40"):
        make_splits(examples, SIZES, seed=0, easy=-1)


def test_more_classes_than_examples_where_nothing_is_balanced():
    examples = [Example(f"id{i:03d}", f"text {i}", i * 7 % 50, f"group {i}") for i in range(120)]
    splits = make_splits(examples, SIZES, seed=0, balance=False, n_classes=1000)
    assert len(splits.supervisor) == 40
    assert splits.n_classes == 1000


def test_candidates_of_two_rows_are_never_in_two_splits():
    rows = [Example(str(i), (f"good {i // 3}", f"bad {i}"), i % 2, str(i)) for i in range(300)]
    made = make_splits(rows, SplitSizes(80, 80, 20, 60), 0)
    texts = [{text for pair in getattr(made, name).texts for text in pair} for name in SplitSizes._fields]
    assert sum(map(len, texts)) == len(set().union(*texts))


def test_splits_shrink_in_proportion_to_what_a_task_has():
    rows = [Example(str(i), f"text {i}", int(i % 5 == 0), str(i // 2)) for i in range(1000)]  # 400 when balanced
    sizes = SplitSizes(400, 400, 40, 160)
    for balance, usable in ((True, 400), (False, 1000)):
        fitted = fitting(rows, sizes, [0, 1], balance)
        assert 0.9 * usable < sum(fitted) <= 0.95 * usable
        assert np.allclose(np.array(fitted) / sum(fitted), np.array(sizes) / sum(sizes), atol=0.01)
        made = make_splits(rows, fitted, 0, balance)
        assert len(made.transfer) == fitted.transfer
    assert fitting(rows, SplitSizes(100, 100, 20, 60), [0], True) == SplitSizes(100, 100, 20, 60)


def test_splits_shrink_until_whole_groups_fill_them():
    """Few large groups: by counts alone the sizes would fit, but a group that is begun is used up."""
    rows = [
        Example(f"{g} {i}", f"text {g} {i}", int(g % 7 == i % 7), f"group {g}") for g in range(12) for i in range(25)
    ]
    sizes = SplitSizes(100, 100, 40, 60)
    fitted = fitting(rows, sizes, range(6))
    for seed in range(6):
        made = make_splits(rows, fitted, seed)
        assert [len(getattr(made, name)) for name in NAMES] == list(fitted)
    with pytest.raises(UserError, match="make the splits smaller, as shrink=True does"):
        make_splits(rows, sizes, 0)
    with pytest.raises(UserError, match="splits of 2 examples cannot be filled: the task has too few groups"):
        fitting([row._replace(group="one") for row in rows], sizes, [0])


def test_examples_whose_annotators_do_not_agree_keep_their_shares():
    rows = [
        Example(f"{i:03d}", f"text {i}", i % 2, f"group {i}", shares=(0.25, 0.75) if i == 7 else None)
        for i in range(110)
    ]
    made = make_splits(rows, SIZES, 0)
    (split,) = (part for part in parts(made).values() if part.shares is not None)
    place = split.ids.index("007")
    assert split.shares[place].tolist() == [0.25, 0.75]
    others = np.delete(np.arange(len(split)), place)
    np.testing.assert_array_equal(split.shares[others], np.eye(2)[split.labels[others]])
    assert split.take(np.array([place], np.int32)).shares.tolist() == [[0.25, 0.75]]
    assert split.without_truth().shares is None
    assert split.fingerprint != dataclasses.replace(split, shares=None).fingerprint
