"""Transcripts: what advisors say of each text, how it is kept, and who reads it (Lang et al. 2501.13124)."""

import contextlib
import dataclasses
import hashlib
import json

import numpy as np
import pytest

from tests import tiny as make
from w2s_jax.data import tasks
from w2s_jax.pipeline.session import Session
from w2s_jax.pipeline.store import Store
from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.progress import Reporter
from w2s_jax.stages.base import model_fingerprint
from w2s_jax.supervisors import Advised, transcripts
from w2s_jax.train.learner import Learner
from w2s_jax.train.writing import Writer

PROMPTS = ["the film was good", "a plot", "very bad film not good the", "awful", "was"]
ANSWERS = ("No", "Yes")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(make.llama(tmp_path_factory.mktemp("advisor"), seed=3))


def debating(model, **options):
    return Advised(Learner(model), Learner(model), **{"tokens": 4, **options}).debating


def written(maker, texts, root):
    return transcripts.transcripts(maker, texts, ANSWERS, Session(Store(root / "stages"), Reporter(quiet=True)))


def kept(root):
    return sorted(root.glob("transcripts/*/*.jsonl"))


def test_a_debate_argues_both_ways_and_a_hash_says_who_begins(model, tmp_path):
    texts = [f"{first} {second}" for first in make.WORDS for second in make.WORDS]
    maker = debating(model, turns=2)
    said = written(maker, texts, tmp_path)
    firsts = [said[text][0].answer for text in texts]
    assert all(
        [each.answer for each in said[text]] == [first, 1 - first] * 2
        for text, first in zip(texts, firsts, strict=True)
    )
    assert 0.4 < np.mean(firsts) < 0.6
    opening = texts[0] + f"\nThe answer is {ANSWERS[firsts[0]]} because"
    assert said[texts[0]][0].argument == Writer(Learner(model))([opening], tokens=4)[0]
    reply = f"{opening} {said[texts[0]][0].argument}\nThe answer is {ANSWERS[1 - firsts[0]]} because"
    assert said[texts[0]][1].argument == Writer(Learner(model))([reply], tokens=4)[0]
    shown = transcripts.with_transcripts(maker, texts[:1], said, ANSWERS)[0]
    assert shown.startswith(f"{reply} {said[texts[0]][1].argument}")


def test_a_consultant_is_right_half_of_the_time_whatever_is_true():
    """Its class is a function of the text; of the true statements of any task about half are defended."""
    examples = tasks.load("cities")
    right = np.array([transcripts.consulted(each.text) == each.label for each in examples])
    labels = np.array([each.label for each in examples])
    for label in (0, 1):
        assert abs(right[labels == label].mean() - 0.5) < 4 * 0.5 / np.sqrt((labels == label).sum())


def test_transcripts_are_written_once_and_an_edited_file_is_refused(model, tmp_path, monkeypatch):
    monkeypatch.setattr(transcripts, "PART", 2)
    maker = debating(model, protocol="consultancy")
    assert debating(model, protocol="consultancy", shuffled=True) == maker, "the control reads the same ones"
    first = written(maker, PROMPTS[:3], tmp_path)
    more = written(maker, PROMPTS, tmp_path)
    assert {text: more[text] for text in PROMPTS[:3]} == first
    lines = [json.loads(line) for file in kept(tmp_path) for line in file.read_text().splitlines()]
    assert sorted(line["text"] for line in lines) == sorted(PROMPTS)

    def refuse(*_):
        raise AssertionError("nothing is missing")

    monkeypatch.setattr(transcripts, "Writer", refuse)
    other = Learner(model, parameters="probe", epochs=9)
    assert written(Advised(other, other, "consultancy", tokens=4).debating, PROMPTS, tmp_path) == more
    with pytest.raises(AssertionError):
        written(dataclasses.replace(maker, seed=1), PROMPTS, tmp_path)
    file = kept(tmp_path)[0]
    file.chmod(0o644)
    file.write_text(file.read_text()[:-10])
    with pytest.raises(UserError, match="truncated or edited"):
        written(maker, PROMPTS, tmp_path)


def test_where_transcripts_lie_and_what_a_line_holds_is_as_it_was(model, tmp_path):
    """Those of earlier versions are found again: these names and values decide the folder, and no others."""
    written(debating(model, turns=2), PROMPTS[:1], tmp_path)
    what = {
        "advisor": {"model": model_fingerprint(model), "max_tokens": 512, "too_long": "error", "dtype": "float32"},
        "protocol": "debate",
        "turns": 2,
        "tokens": 4,
        "temperature": 0.0,
        "seed": 0,
        "heading": "\nThe answer is {answer} because",
        "answers": ["No", "Yes"],
    }
    digest = hashlib.sha256(json.dumps(what, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    (file,) = kept(tmp_path)
    assert file.parent.name == digest[:16]
    (row,) = map(json.loads, file.read_text().splitlines())
    assert [sorted(each) for each in row["said"]] == [["answer", "argument"]] * 4


def test_shuffled_examples_read_each_others_transcripts(model, tmp_path):
    maker = debating(model)
    said = written(maker, PROMPTS, tmp_path)
    own = transcripts.with_transcripts(maker, PROMPTS, said, ANSWERS)
    shown = transcripts.with_transcripts(maker, PROMPTS, said, ANSWERS, shuffled=True)
    parts = [[row.removeprefix(text) for text, row in zip(PROMPTS, rows, strict=True)] for rows in (own, shown)]
    assert all(each.startswith("\nThe answer is") for each in parts[1])
    assert sorted(parts[0]) == sorted(parts[1])
    assert all(mine != theirs for mine, theirs in zip(*parts, strict=True))


def test_an_encoder_and_a_task_of_three_classes_are_refused_before_anything_is_computed(model):
    with pytest.raises(UserError, match="two classes"):
        transcripts.check(debating(model), ["a"], ("A", "B", "C"))
    with pytest.raises(UserError, match="two classes"):
        transcripts.check(debating(model), [("a", "b")], ANSWERS)
    short = debating(model, turns=2, tokens=4)
    need = 1 + 4 * 5 + 4 * 4  # the text, four headings, and all that is written
    for most in (need, need - 1):
        less = dataclasses.replace(short, advisor=Learner(model, max_tokens=most))
        with contextlib.nullcontext() if most == need else pytest.raises(UserError, match="longer than max_tokens"):
            transcripts.check(less, ["good"], ANSWERS)


def test_an_advisor_that_writes_nothing_is_refused(model, tmp_path, monkeypatch):
    monkeypatch.setattr(Writer, "__call__", lambda _, prompts, **options: [""] * len(prompts))
    texts = [f"{first} {second}" for first in make.WORDS for second in make.WORDS]
    with pytest.raises(UserError, match="try another `heading`"):
        written(debating(model), texts, tmp_path)
    assert not kept(tmp_path)
