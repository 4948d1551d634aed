"""People as the supervisor: what they are asked, and what becomes of their answers."""

import dataclasses
import json

import numpy as np
import pytest

from tests import tiny as make
from w2s_jax import cli
from w2s_jax.config import Given, Method
from w2s_jax.pipeline import experiment, materials, questionnaire
from w2s_jax.pipeline import make as making
from w2s_jax.runtime.errors import UserError


@pytest.fixture
def plan(tmp_path):
    return make.experiment(tmp_path, seeds=(0, 1))


def quiet(*_):
    pass


def supervisor(plan, reference):
    plan = dataclasses.replace(plan, supervisors={"people": Given(reference)}, methods={"naive": Method()})
    return next(experiment.cells(plan)).stages["supervisor"]


def test_every_row_to_label_is_asked_once_and_the_truth_is_not_there(plan, tmp_path):
    asked = tmp_path / "asked.jsonl"
    count = questionnaire.write(plan, asked, None, quiet)
    rows = [json.loads(line) for line in asked.read_text().splitlines()]
    wanted = {
        (identifier, text)
        for seed in plan.seeds
        for name in questionnaire.SPLITS
        for split in [getattr(materials.splits(plan.tasks[0], seed), name)]
        for identifier, text in zip(split.ids, split.texts, strict=True)
    }
    assert {(row["id"], row["text"]) for row in rows} == wanted
    assert count == len(rows) == len(wanted)
    assert all(set(row) == {"task", "id", "text", "answers"} for row in rows)
    with pytest.raises(UserError, match="exists already"):
        questionnaire.write(plan, asked, None, quiet)
    with pytest.raises(UserError, match="supervisor with an advisor"):
        questionnaire.write(plan, tmp_path / "more.jsonl", "weak", quiet)


@pytest.mark.parametrize("how", ["label", "probs"])
def test_answers_are_the_supervisors_labels(plan, tmp_path, how):
    asked, answered = tmp_path / "asked.jsonl", tmp_path / "answered.jsonl"
    questionnaire.write(plan, asked, None, quiet)
    rows = [json.loads(line) for line in asked.read_text().splitlines()]
    positive = {row["id"]: index % 7 / 7 for index, row in enumerate(rows)}
    for row in rows:
        p = positive[row["id"]]
        row |= {"label": int(p > 0.5)} if how == "label" else {"probs": [1 - p, p]}
    answered.write_text("".join(json.dumps(row) + "\n" for row in rows))
    stage = supervisor(plan, str(answered))
    given = making.given_labels(stage, str(answered))
    for name, probs in given.items():
        p = np.array([positive[identifier] for identifier in getattr(materials.splits(plan.tasks[0], 0), name).ids])
        np.testing.assert_allclose(probs[:, 1], p > 0.5 if how == "label" else p, atol=1e-6)
    before = stage.key
    answered.write_text(answered.read_text() + "\n")
    experiment._stage.cache_clear()
    assert supervisor(plan, str(answered)).key != before, "other answers are another supervisor"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (['{"id": "a", "label": 1}'], "lacks an answer for 1 of 2 rows, 'b' among them"),
        (['{"id": "a", "label": 1}', '{"id": "a", "label": 1}'], "'a' is there twice"),
        (['{"id": "a", "label": 2}'], "label 2 of 'a' is none of the 2"),
        (['{"id": "a", "probs": [0.5, 0.6]}'], "probs of 'a' must be 2 numbers"),
        (['{"id": "a", "probs": [1.0]}'], "probs of 'a' must be 2 numbers"),
    ],
)
def test_bad_answers_are_one_line(tmp_path, lines, message):
    file = tmp_path / "answers.jsonl"
    file.write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match=message):
        questionnaire.read(str(file), ["a", "b"], 2)


def test_the_command_writes_the_file(tmp_path, capsys):
    make.reviews(tmp_path / "reviews.jsonl")
    config = tmp_path / "people.py"
    config.write_text(
        "from w2s_jax.config import Experiment, Given, TaskConfig\nfrom w2s_jax.train.learner import Learner\n"
        f"task = TaskConfig({str(tmp_path / 'reviews.jsonl')!r}, supervisor=2, transfer=32, validation=16, test=40)\n"
        "experiment = Experiment('people', (task,), {'people': Given('answers.jsonl')}, {'a': Learner()}, seeds=(0,))\n"
    )
    assert cli.main(["ask", str(config), "--to", str(tmp_path / "asked.jsonl")]) == 0
    assert "wrote 88 examples" in capsys.readouterr().out
