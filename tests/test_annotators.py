"""Several people's answers as one label, against plain loops and a known construction."""

import math
from collections import Counter

import numpy as np
import pytest

from w2s_jax.data.annotators import Votes, aggregate, dawid_skene, majority, product
from w2s_jax.runtime.errors import UserError


def crowd(seed=0, questions=600, classes=3, each=5):
    """Answers of eight annotators whose confusions are known: good, fair, and two who mostly say class 0."""
    rng = np.random.default_rng(seed)

    def confusion(right):
        return np.full((classes, classes), (1 - right) / (classes - 1)) + np.eye(classes) * (
            right - (1 - right) / (classes - 1)
        )

    lazy = np.tile([0.9, 0.05, 0.05], (classes, 1))
    true = [confusion(0.9)] * 2 + [confusion(0.6)] * 4 + [lazy] * 2
    labels = rng.choice(classes, questions, p=[0.2, 0.3, 0.5])
    rows = [
        (person, question, rng.choice(classes, p=true[person][labels[question]]))
        for question in range(questions)
        for person in rng.choice(len(true), each, replace=False)
    ]
    annotator, question, choice = map(np.array, zip(*rows, strict=True))
    return Votes(annotator, question, choice, rng.uniform(0.4, 1, len(rows))), labels, np.array(true)


def slow_dawid_skene(votes, n_questions, n_classes, steps):
    """The paper's two steps, one number at a time, as the first author's might write it."""
    said = list(zip(votes.annotator.tolist(), votes.question.tolist(), votes.choice.tolist(), strict=True))
    people, classes = range(int(votes.annotator.max()) + 1), range(n_classes)
    probs = []
    for question in range(n_questions):
        counts = Counter(choice for _, q, choice in said if q == question)
        probs.append([counts[k] / sum(counts.values()) for k in classes])
    for _ in range(steps):
        prior = [sum(row[k] for row in probs) / n_questions for k in classes]
        confusion = []
        for person in people:
            mine = [(q, choice) for a, q, choice in said if a == person]
            smoothing = 1 / n_classes
            table = []
            for k in classes:
                row = [sum(probs[q][k] for q, choice in mine if choice == said_class) for said_class in classes]
                total = sum(row) + n_classes * smoothing
                table.append([(value + smoothing) / total for value in row])
            confusion.append(table)
        probs = []
        for question in range(n_questions):
            odds = []
            for k in classes:
                value = prior[k]
                for person, q, choice in said:
                    if q == question:
                        value *= confusion[person][k][choice]
                odds.append(value)
            probs.append([value / sum(odds) for value in odds])
    return np.array(probs), np.array(prior), np.array(confusion)


def test_dawid_skene_is_that_of_plain_loops():
    votes, _, _ = crowd(questions=25, each=4)
    expected = slow_dawid_skene(votes, 25, 3, steps=12)
    found = dawid_skene(votes, 25, 3, steps=12)
    for ours, theirs in zip((found.probs, found.prior, found.confusion), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-10)


def test_dawid_skene_finds_a_known_construction():
    votes, labels, true = crowd(questions=2000)
    found = dawid_skene(votes, len(labels), 3)
    assert found.converged
    assert np.all(np.diff(found.objective) > -1e-8)
    np.testing.assert_allclose(found.confusion, true, atol=0.1)
    np.testing.assert_allclose(found.confusion[:2], true[:2], atol=0.05)
    np.testing.assert_allclose(found.prior, [0.2, 0.3, 0.5], atol=0.03)
    right = (found.probs.argmax(axis=1) == labels).mean()
    assert right > (majority(votes, len(labels), 3).argmax(axis=1) == labels).mean() + 0.05
    # Knowing all confusions and the prior, no rule is better than Bayes'; EM comes close to it.
    logs = np.tile(np.log([0.2, 0.3, 0.5]), (len(labels), 1))
    np.add.at(logs, votes.question, np.log(true[votes.annotator, :, votes.choice]))
    assert right > (logs.argmax(axis=1) == labels).mean() - 0.02
    sure = found.probs.max(axis=1).mean()
    assert abs(sure - right) < 0.04


def test_one_answer_a_question_teaches_nothing_and_stays():
    votes = Votes(np.zeros(3, int), np.arange(3), np.array([0, 1, 2]), np.full(3, 0.7))
    found = dawid_skene(votes, 3, 3)
    np.testing.assert_array_equal(found.probs.argmax(axis=1), [0, 1, 2])


def test_majority_and_product_are_those_of_plain_loops():
    votes, labels, _ = crowd(questions=40)
    for ours, combine in ((majority, "count"), (product, "multiply")):
        found = ours(votes, len(labels), 3)
        for question in range(len(labels)):
            mine = np.flatnonzero(votes.question == question)
            score = [0.0 if combine == "count" else 1.0] * 3
            for row in mine:
                for k in range(3):
                    sure = min(votes.confidence[row], 0.99)
                    given = sure if votes.choice[row] == k else (1 - sure) / 2
                    score[k] = score[k] + (votes.choice[row] == k) if combine == "count" else score[k] * given
            np.testing.assert_allclose(found[question], np.array(score) / sum(score), atol=1e-12)


def test_certainty_counts_as_99_percent():
    """Two who are fairly sure outvote one who claims to be certain, and not one who is only very sure of two others."""
    certain = Votes(np.arange(3), np.zeros(3, int), np.array([0, 1, 1]), np.array([1.0, 0.95, 0.95]))
    (found,) = product(certain, 1, 2)
    odds = (0.01 * 0.95 * 0.95) / (0.99 * 0.05 * 0.05)
    assert found[1] == pytest.approx(odds / (1 + odds))
    assert math.isfinite(np.log(found).sum())


def test_ties_are_said():
    votes = Votes(np.arange(4), np.array([0, 0, 1, 1]), np.array([0, 2, 1, 1]), np.array([0.6, 0.8, 0.7, 0.7]))
    counted = aggregate("majority", votes, 2, 3)
    assert counted.tied.tolist() == [True, False]
    np.testing.assert_allclose(counted.probs[0], [0.5, 0, 0.5])
    assert aggregate("product", votes, 2, 3).tied.tolist() == [False, False]
    even = votes._replace(confidence=np.full(4, 0.7))
    assert aggregate("product", even, 2, 3).tied.tolist() == [True, False]


@pytest.mark.parametrize(
    ("how", "questions", "classes", "message"),
    [
        ("average", 2, 3, "unknown way to combine answers 'average'"),
        ("majority", 3, 3, "1 of 3 questions have no answer"),
        ("majority", 2, 2, "choices go from 0 to 2; there are 2 classes"),
    ],
)
def test_bad_votes_are_one_line(how, questions, classes, message):
    votes = Votes(np.arange(2), np.arange(2), np.array([0, 2]), np.full(2, 0.6))
    with pytest.raises(UserError, match=message):
        aggregate(how, votes, questions, classes)
