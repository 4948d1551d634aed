"""A vault: the worker's table holds no truth, a score is that of the truth, and scores are counted."""

import dataclasses
import json

import numpy as np
import pyarrow.parquet
import pytest

from tests import tiny as make
from w2s_jax import api, cli
from w2s_jax.evaluation import sealed
from w2s_jax.runtime.errors import UserError


@pytest.fixture(scope="module")
def run(probe_folder):
    """A finished run of one pair of probes, and its results."""
    plan = make.probes(probe_folder, seeds=(0,))
    plan = dataclasses.replace(plan, students={"strong": plan.students["strong"]})
    return plan, make.run(plan)


@pytest.fixture
def vault(run, tmp_path):
    """The experiment, its results, and a folder with a vault of two submissions."""
    plan, results = run
    sealed.seal(plan, api.open_store(plan), tmp_path / "worker", tmp_path / "vault", budget=2)
    return plan, results, tmp_path


def splits(plan):
    return make.stages(plan)[0].splits


def submission(path, plan, accuracy_of):
    """Hard labels of the test split; `accuracy_of` turns true ones into those that are said."""
    test = splits(plan).test
    rows = [
        {"task": plan.tasks[0].title, "seed": 0, "id": name, "label": int(accuracy_of(label, place))}
        for place, (name, label) in enumerate(zip(test.ids, test.labels, strict=True))
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_worker_gets_texts_and_weak_labels_and_no_truth(vault):
    plan, _, folder = vault
    table = pyarrow.parquet.read_table(folder / "worker" / sealed.WORKER).to_pylist()
    drawn = splits(plan)
    assert {row["split"] for row in table} == {"transfer", "validation", "test"}
    assert set(table[0]) == {"task", "seed", "split", "id", "text", "weak"}
    assert [row["text"] for row in table if row["split"] == "test"] == [[text] for text in drawn.test.texts]
    assert np.allclose([sum(row["weak"]) for row in table], 1, atol=1e-5)


def test_a_score_is_that_of_the_truth_between_the_runs_own_baselines(vault):
    plan, results, folder = vault
    wrong = 7
    path = submission(folder / "s.jsonl", plan, lambda label, place: 1 - label if place < wrong else label)
    (found,) = sealed.score(folder / "vault", path)
    n = len(splits(plan).test)
    scores = results.cells[0].scores["accuracy"]
    assert found.accuracy == pytest.approx(1 - wrong / n)
    assert found.supervisor == pytest.approx(scores["supervisor"])
    assert found.ceiling == pytest.approx(scores["ceiling"])
    if found.reason is None:
        assert found.pgr == pytest.approx((found.accuracy - found.supervisor) / (found.ceiling - found.supervisor))
    else:
        assert found.pgr is None


def test_scores_are_counted_and_the_same_file_costs_nothing(vault):
    plan, _, folder = vault
    first = submission(folder / "a.jsonl", plan, lambda label, place: label)
    second = submission(folder / "b.jsonl", plan, lambda label, place: 0)
    third = submission(folder / "c.jsonl", plan, lambda label, place: 1)
    once = sealed.score(folder / "vault", first)
    sealed.score(folder / "vault", second)
    assert sealed.score(folder / "vault", first) == once
    with pytest.raises(UserError, match="budget of 2 submissions is spent"):
        sealed.score(folder / "vault", third)


def test_a_submission_that_is_not_whole_is_refused_and_costs_nothing(vault):
    plan, _, folder = vault
    whole = submission(folder / "a.jsonl", plan, lambda label, place: label).read_text().splitlines()
    for lines, message in (
        (whole[:-1], "test examples 1 are missing"),
        ([*whole, whole[0]], "is there twice"),
        ([*whole[:-1], whole[-1].replace('"label": ', '"label": 7')], "label 7. of .* is none of the 2 classes"),
        ([*whole, whole[0].replace('"seed": 0', '"seed": 5')], "no task and seed"),
    ):
        bad = folder / "bad.jsonl"
        bad.write_text("\n".join(lines) + "\n")
        with pytest.raises(UserError, match=message):
            sealed.score(folder / "vault", bad)
    assert not (folder / "vault" / sealed.LEDGER).exists()


def test_nothing_is_sealed_before_its_baselines_are_there(run, tmp_path):
    plan = dataclasses.replace(run[0], out=str(tmp_path / "elsewhere"))
    with pytest.raises(UserError, match="run the experiment first"):
        sealed.seal(plan, api.open_store(plan), tmp_path / "worker", tmp_path / "vault")


def test_the_command_line_seals_once_and_scores(vault, capsys):
    plan, _, folder = vault
    assert cli.main(["score", str(folder / "vault"), str(submission(folder / "a.jsonl", plan, lambda y, _: y))]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == 1.0
    with pytest.raises(UserError, match="exists already"):
        sealed.seal(plan, api.open_store(plan), folder / "worker", folder / "other")


@pytest.mark.parametrize("how", ["probs", "probs, or else a label"])
def test_a_table_of_comma_separated_values_may_hold_probs(vault, how):
    """As JSON lists; where their cell is empty the label counts."""
    plan, _, folder = vault
    test = splits(plan).test
    lines = ["task,seed,id,probs,label"]
    for place, (name, label) in enumerate(zip(test.ids, test.labels.tolist(), strict=True)):
        said = 1 - label if place < 5 else label
        probs = '"[0.8, 0.2]"' if said == 0 else '"[0.2, 0.8]"'
        answer = f",{said}" if how != "probs" and place % 2 else f"{probs},"
        lines.append(f"{plan.tasks[0].title},0,{name},{answer}")
    (folder / "s.csv").write_text("\n".join(lines) + "\n")
    (found,) = sealed.score(folder / "vault", folder / "s.csv")
    assert found.accuracy == pytest.approx(1 - 5 / len(test))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (",", "has neither a label nor probs"),
        ('"[0.8, 0.2]",1', "label and probs of .* contradict each other"),
        ('"[0.8, 0.1]",', "probs must be two or more numbers"),
        ("0.8,", "probs must be two or more numbers"),
    ],
)
def test_answers_that_are_none_are_one_line_and_cost_nothing(vault, answer, message):
    plan, _, folder = vault
    lines = [f"{plan.tasks[0].title},0,{name},{answer}" for name in splits(plan).test.ids]
    (folder / "s.csv").write_text("\n".join(["task,seed,id,probs,label", *lines]) + "\n")
    with pytest.raises(UserError, match=message):
        sealed.score(folder / "vault", folder / "s.csv")
    assert not (folder / "vault" / sealed.LEDGER).exists()
