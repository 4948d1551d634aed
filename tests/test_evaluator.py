"""A vault: the worker's table holds no truth, a score is that of the truth, and scores are counted."""

import dataclasses
import json

import numpy as np
import pyarrow.parquet
import pytest

from tests import tiny as make
from tests.test_experiment import run
from w2s_jax import cli
from w2s_jax.evaluation import sealed as evaluator
from w2s_jax.pipeline import materials, runner
from w2s_jax.runtime.errors import UserError
from w2s_jax.train.learner import Learner


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of linear heads."""
    folder = tmp_path_factory.mktemp("run")
    plan = make.experiment(folder)
    heads = {"parameters": "probe", "epochs": 2}
    plan = dataclasses.replace(
        plan,
        supervisors={"weak": Learner(str(folder / "weak"), **heads)},
        students={"strong": Learner(str(folder / "strong"), **heads)},
    )
    return plan, run(plan)


@pytest.fixture
def sealed(finished, tmp_path):
    """The experiment, its results, and a folder with a vault of two submissions."""
    plan, results = finished
    evaluator.seal(plan, runner.open_store(plan), tmp_path / "worker", tmp_path / "vault", budget=2)
    return plan, results, tmp_path


def submission(path, plan, accuracy_of):
    """Hard labels of the test split; `accuracy_of` turns true ones into those that are said."""
    test = materials.splits(plan.tasks[0], 0).test
    rows = [
        {"task": plan.tasks[0].title, "seed": 0, "id": name, "label": int(accuracy_of(label, place))}
        for place, (name, label) in enumerate(zip(test.ids, test.labels, strict=True))
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_worker_gets_texts_and_weak_labels_and_no_truth(sealed):
    plan, _, folder = sealed
    table = pyarrow.parquet.read_table(folder / "worker" / evaluator.WORKER).to_pylist()
    splits = materials.splits(plan.tasks[0], 0)
    assert {row["split"] for row in table} == {"transfer", "validation", "test"}
    assert set(table[0]) == {"task", "seed", "split", "id", "text", "weak"}
    assert [row["text"] for row in table if row["split"] == "test"] == [[text] for text in splits.test.texts]
    assert np.allclose([sum(row["weak"]) for row in table], 1, atol=1e-5)


def test_a_score_is_that_of_the_truth_between_the_runs_own_baselines(sealed):
    plan, results, folder = sealed
    wrong = 7
    path = submission(folder / "s.jsonl", plan, lambda label, place: 1 - label if place < wrong else label)
    (found,) = evaluator.score(folder / "vault", path)
    n = len(materials.splits(plan.tasks[0], 0).test)
    scores = results.cells[0].scores
    assert found.accuracy == pytest.approx(1 - wrong / n)
    assert found.supervisor == pytest.approx(scores["accuracy"]["supervisor"])
    assert found.ceiling == pytest.approx(scores["accuracy"]["ceiling"])
    if found.reason is None:
        assert found.pgr == pytest.approx((found.accuracy - found.supervisor) / (found.ceiling - found.supervisor))
    else:
        assert found.pgr is None


def test_scores_are_counted_and_the_same_file_costs_nothing(sealed):
    plan, _, folder = sealed
    first = submission(folder / "a.jsonl", plan, lambda label, place: label)
    second = submission(folder / "b.jsonl", plan, lambda label, place: 0)
    third = submission(folder / "c.jsonl", plan, lambda label, place: 1)
    once = evaluator.score(folder / "vault", first)
    evaluator.score(folder / "vault", second)
    assert evaluator.score(folder / "vault", first) == once
    with pytest.raises(UserError, match="budget of 2 submissions is spent"):
        evaluator.score(folder / "vault", third)


def test_a_submission_that_is_not_whole_is_refused_and_costs_nothing(sealed):
    plan, _, folder = sealed
    whole = submission(folder / "a.jsonl", plan, lambda label, place: label).read_text().splitlines()
    for lines, message in (
        (whole[:-1], "test examples 1 are missing"),
        ([*whole, whole[0]], "is there twice"),
        ([*whole[:-1], whole[-1].replace('"label": ', '"label": 7')], "must be a class below 2"),
        ([*whole, whole[0].replace('"seed": 0', '"seed": 5')], "no task and seed"),
    ):
        bad = folder / "bad.jsonl"
        bad.write_text("\n".join(lines) + "\n")
        with pytest.raises(UserError, match=message):
            evaluator.score(folder / "vault", bad)
    assert not (folder / "vault" / evaluator.LEDGER).exists()


def test_nothing_is_sealed_before_its_baselines_are_there(finished, tmp_path):
    plan = dataclasses.replace(finished[0], out=str(tmp_path / "elsewhere"))
    with pytest.raises(UserError, match="run the experiment first"):
        evaluator.seal(plan, runner.open_store(plan), tmp_path / "worker", tmp_path / "vault")


def test_the_command_line_seals_once_and_scores(sealed, capsys):
    plan, _, folder = sealed
    assert cli.main(["score", str(folder / "vault"), str(submission(folder / "a.jsonl", plan, lambda y, _: y))]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == 1.0
    with pytest.raises(UserError, match="exists already"):
        evaluator.seal(plan, runner.open_store(plan), folder / "worker", folder / "other")
