"""The model alone: its letters' probabilities are those that reading the whole prompt at once gives."""

import dataclasses

import numpy as np
import pytest

from tests import letter_models, study_site
from w2s_jax import cli
from w2s_jax.data.answers import read_key, read_models
from w2s_jax.runtime.errors import UserError
from w2s_jax.study import assignment, opening, questions, unaided
from w2s_jax.study.questions import Question, written
from w2s_jax.study.unaided import Shot, Unaided
from w2s_jax.train.learner import Learner
from w2s_jax.train.writing import Writer

ASKED = [
    Question("1", "the film was good", "What melts ?", ("good", "bad", "film", "plot"), "g1"),
    Question("2", "", "the plot was ?", ("awful", "poor", "great", "fine"), "g2"),
    Question("3", "a very bad film", "What was ?", ("plot", "the", "a", "not"), "g3"),
]
OTHERS = [
    Shot(Question(f"o{i}", "", f"What was {word} ?", ("a", "the", "is", "was"), f"h{i % 3}"), i % 4)
    for i, word in enumerate(["good", "bad", "fine", "poor", "great"])
]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return letter_models.letters(tmp_path_factory.mktemp("unaided"))


@pytest.fixture(scope="module")
def after(model):
    return letter_models.oracle(model)


def arm(found, name):
    return [np.array(each.probs) for each in found if each.arm == name]


def test_zero_shot_and_few_shot(model, after):
    kind = Unaided(model, shots=3, samples=0, max_tokens=512)
    found = unaided.answers(kind, ASKED, OTHERS)
    assert [(each.arm, each.question) for each in found] == [
        (arm, question.id) for arm in ("zero-shot", "few-shot") for question in ASKED
    ]
    expected = [after(f"{written(question)}\nAnswer:") for question in ASKED]
    np.testing.assert_allclose(arm(found, "zero-shot"), expected, atol=1e-4)
    shots = unaided.base.draw_shots(kind, OTHERS, 4)
    assert sorted(shot.question.group for shot in shots) == ["h0", "h1", "h2"], "of each group one"
    before = "".join(f"{written(shot.question)}\nAnswer: {'ABCD'[shot.label]}\n\n" for shot in shots)
    expected = [after(f"{before}{written(question)}\nAnswer:") for question in ASKED]
    np.testing.assert_allclose(arm(found, "few-shot"), expected, atol=1e-4)
    assert unaided.base.draw_shots(dataclasses.replace(kind, seed=1), OTHERS, 4) != shots


def test_best_of_n_is_the_most_confident_of_the_samples(model, after):
    kind = Unaided(model, shots=0, samples=4, tokens=6, seed=9, max_tokens=512)
    thinking = [f"{written(question)}\nThinking:" for question in ASKED]
    chains = [
        Writer(Learner(model, max_tokens=512))(thinking, tokens=6, temperature=1.0, seed=9 + sample)
        for sample in range(4)
    ]
    samples = [
        [after(f"{prompt} {chain}\nAnswer:") for prompt, chain in zip(thinking, said, strict=True)] for said in chains
    ]
    expected = [max(each, key=np.max) for each in zip(*samples, strict=True)]
    found = unaided.answers(kind, ASKED, [])
    np.testing.assert_allclose(arm(found, "best-of-n"), expected, atol=1e-4)
    assert any(not np.allclose(best, first) for best, first in zip(expected, samples[0], strict=True))


def test_calibrated_letters_are_equally_probable_over_the_questions(model):
    found = unaided.answers(Unaided(model, shots=0, samples=0, calibrate=True, max_tokens=512), ASKED, [])
    plain = unaided.answers(Unaided(model, shots=0, samples=0, max_tokens=512), ASKED, [])
    ratio = np.array(arm(plain, "zero-shot")) / np.mean(arm(plain, "zero-shot"), axis=0)
    np.testing.assert_allclose(arm(found, "zero-shot"), ratio / ratio.sum(axis=1, keepdims=True), atol=1e-5)


def test_examples_are_of_groups_that_the_study_does_not_ask(tmp_path, model, monkeypatch):
    study = study_site.study(tmp_path, questions=4)
    config = tmp_path / "config.py"
    config.write_text(
        f"from pathlib import Path\nfrom tests import study_site\nfrom w2s_jax.study.unaided import Unaided\n"
        f"study = study_site.study(Path({str(tmp_path)!r}), questions=4)\n"
        f"unaided = Unaided({model!r}, shots=2, samples=1, tokens=3, max_tokens=512)\n"
    )
    used = []
    ask = unaided.answers
    monkeypatch.setattr(
        unaided.base, "answers", lambda kind, asked, others, tell: used.append(others) or ask(kind, asked, others, tell)
    )
    assert cli.main(["study", "models", str(config)]) == cli.OK
    found = read_models(study.folder)
    opening.open_study(study).close()
    key = read_key(study.folder)
    assert [each.arm for each in found] == [name for name in ("zero-shot", "few-shot", "best-of-n") for _ in range(8)]
    assert {each.question for each in found} == set(key)
    every, labels = questions.read(study.task)
    asked = {question.id for block in assignment.draw_blocks(study, every) for question in block}
    assert {shot.question.id for shot in used[0]} == {each.id for each in every} - asked
    assert all(shot.label == labels[shot.question.id] for shot in used[0])


def test_what_cannot_be(model):
    with pytest.raises(UserError, match=r"8 examples need as many questions of 4 choices .* the task has 5"):
        unaided.answers(Unaided(model, shots=8, samples=0), ASKED, OTHERS)
    for options in ({"shots": -1}, {"samples": -1}, {"tokens": 0}, {"temperature": 0}, {"max_tokens": 0}):
        with pytest.raises(UserError):
            Unaided(model, **options)
