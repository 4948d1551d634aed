"""Formulas, and the task that is made of them."""

import itertools
import re
from collections import Counter, defaultdict

import numpy as np
import pytest

from w2s_jax.data import formulas, tasks
from w2s_jax.data.formulas import AtLeast, Atom, Not, atoms, parse, probability, truth, write
from w2s_jax.data.task_config import TaskConfig
from w2s_jax.data.task_data import TaskData
from w2s_jax.runtime.errors import UserError

A, B, C = (Atom(name) for name in ("a.", "It's (not) b and c.", "or"))


def drawn(rng, depth):
    """A formula by chance, of any shape that can be written."""
    kind = int(rng.integers(4)) if depth else 0
    if kind == 0:
        return (A, B, C)[rng.integers(3)]
    if kind == 1:
        return Not(drawn(rng, depth - 1))
    parts = tuple(drawn(rng, depth - 1) for _ in range(rng.integers(2, 5)))
    return AtLeast(int(rng.integers(1, len(parts) + 1)), parts)


def test_a_formula_is_read_as_it_was_written():
    rng = np.random.default_rng(0)
    trees = [drawn(rng, 4) for _ in range(500)]
    assert len(set(trees)) > 200
    for tree in trees:
        assert parse(write(tree)) == tree
    assert write(AtLeast(1, (A, Not(AtLeast(3, (A, Not(B), C))), AtLeast(2, (A, B, C))))) == (
        f'any of ("a.", not all of ("a.", not "{B.text}", "or"), at least 2 of ("a.", "{B.text}", "or"))'
    )
    assert parse(' all of ("a.",not not "or" ) ') == AtLeast(2, (A, Not(Not(C))))


def test_probability_is_the_share_of_worlds_by_brute_force():
    """Of 8 equally likely worlds an atom with p = k / 8 is true in k, whatever the others are."""
    rng = np.random.default_rng(1)
    share = {A.text: 1, B.text: 4, C.text: 7}
    worlds = [
        dict(zip(share, (x < k for x, k in zip(world, share.values(), strict=True)), strict=True))
        for world in itertools.product(range(8), repeat=3)
    ]
    for _ in range(30):
        tree = drawn(rng, 3)
        expected = np.mean([truth(tree, world) for world in worlds])
        assert probability(tree, {name: k / 8 for name, k in share.items()}) == pytest.approx(expected, abs=1e-12)


def test_probability_in_closed_form():
    p = {A.text: 0.9, B.text: 0.6, C.text: 0.2}
    assert probability(AtLeast(3, (A, B, C)), p) == pytest.approx(0.9 * 0.6 * 0.2)
    assert probability(AtLeast(1, (A, B)), p) == pytest.approx(1 - 0.1 * 0.4)
    assert probability(Not(AtLeast(1, (A, B))), p) == pytest.approx(0.1 * 0.4)
    two = 0.9 * 0.6 * 0.8 + 0.9 * 0.4 * 0.2 + 0.1 * 0.6 * 0.2 + 0.9 * 0.6 * 0.2
    assert probability(AtLeast(2, (A, B, C)), p) == pytest.approx(two)
    assert probability(AtLeast(1, (A, Not(A))), p) == 1
    assert probability(AtLeast(2, (A, Not(A))), p) == 0
    both = AtLeast(2, (AtLeast(1, (A, B)), AtLeast(1, (A, C))))
    assert probability(both, p) == pytest.approx(0.9 + 0.1 * 0.6 * 0.2), "a is one event"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "statement is missing"),
        ("not", "statement is missing"),
        ('any of ("a", )', "statement is missing"),
        ('any of ("a", "b"', "bracket is missing"),
        ('any of ("a" "b")', "bracket is missing"),
        ('any of ("a")', "at least 1 of 1"),
        ('at least 3 of ("a", "b")', "at least 3 of 2"),
        ('"a" "b"', "'\"b\"' is one too many"),
        ("Lagos is in Nigeria.", "no formula: 'Lagos"),
        ('not "', "no formula"),
    ],
)
def test_what_is_no_formula_is_refused(text, message):
    with pytest.raises(UserError, match=message):
        parse(text)


def test_what_cannot_be_written_or_put_together_is_refused():
    for text in ('the "Big Apple"', ""):
        with pytest.raises(UserError, match="no double quote"):
            write(AtLeast(1, (A, Atom(text))))
    many = AtLeast(1, tuple(Atom(str(i)) for i in range(formulas.MOST_ATOMS + 1)))
    with pytest.raises(UserError, match="at most 12"):
        atoms(many)


@pytest.fixture(scope="module")
def task():
    return TaskData(TaskConfig("city_formulas")).examples


@pytest.fixture(scope="module")
def true():
    return {example.text: bool(example.label) for example in tasks.load("cities")}


def test_a_formula_of_true_parts_is_its_label(task, true):
    assert len(task) > 2200
    for example in task:
        tree = parse(example.text)
        assert truth(tree, true) == example.label
        assert probability(tree, true) == example.label, "perfect labels of parts give perfect labels of the whole"


def test_no_shape_tells_the_label_and_all_ways_of_being_true_are_equally_frequent(task, true):
    """Labels that are independent fair coins, as an unsure judge's are, must be put together to a fair coin."""
    ways, shapes = Counter(), defaultdict(list)
    for example in task:
        tree = parse(example.text)
        ways[tuple(true[name] for name in atoms(tree))] += 1
        shape = re.sub('"[^"]+"', "", example.text)
        shapes[shape].append(example.label)
        assert probability(tree, dict.fromkeys(atoms(tree), 0.5)) == pytest.approx(0.5)
    assert all(abs(np.mean(labels) - 0.5) < 0.01 for labels in shapes.values())
    assert len(ways) == 8
    assert all(abs(count / len(task) - 1 / 8) < 4 * np.sqrt(7 / 64 / len(task)) for count in ways.values())


def test_words_alone_hardly_tell_the_label(task):
    """Words are counted wherever they stand, in half of the blocks; the other half is read."""
    linear = pytest.importorskip("sklearn.linear_model")
    words = pytest.importorskip("sklearn.feature_extraction.text")
    groups = sorted({example.group for example in task})
    first = set(np.random.default_rng(0).permutation(groups)[: len(groups) // 2])
    half = np.array([example.group in first for example in task])
    labels = np.array([example.label for example in task])
    features = words.CountVectorizer().fit_transform([example.text for example in task])
    learned = linear.LogisticRegression(max_iter=500).fit(features[half], labels[half])
    assert learned.score(features[~half], labels[~half]) < 0.55


def test_no_city_is_in_two_splits_and_a_judge_learns_as_many_labels_of_parts_as_of_whole_texts():
    task = TaskData(TaskConfig("city_formulas", supervisor=500, transfer=1000, validation=100, test=500))
    for seed in range(3):
        whole, of_parts = task.splits(seed), task.parts.splits(seed)
        cities = {}
        for name in ("supervisor", "transfer", "validation", "test"):
            split, judged = getattr(whole, name), getattr(of_parts, name)
            found = list(dict.fromkeys(part for text in split.texts for part in atoms(parse(text))))
            assert list(judged.texts) == (found[: len(split)] if name == "supervisor" else found)
            assert set(judged.groups) <= set(split.groups)
            cities[name] = {text.split(" is in ")[0] for text in found}
        assert sum(map(len, cities.values())) == len(set.union(*cities.values()))
        assert len(of_parts.supervisor) == len(whole.supervisor) == 500
        assert abs(of_parts.supervisor.labels.mean() - 0.5) < 0.1
