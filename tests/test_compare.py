"""Two students, supervisors or methods of a run, compared with each other."""

import dataclasses
import json

import numpy as np
import pytest

from tests import tiny as make
from tests.test_given import vision
from w2s_jax import api, cli, metrics
from w2s_jax.evaluation import compare
from w2s_jax.runtime.errors import UserError
from w2s_jax.supervisors import Given
from w2s_jax.train.learner import Learner


def cell(rng: np.random.Generator, right: dict[str, float], labels: np.ndarray) -> metrics.Triple:
    def said(share: float) -> np.ndarray:
        return np.eye(2)[np.where(rng.random(len(labels)) < share, labels, 1 - labels)]

    return metrics.Triple(**{role: said(share) for role, share in right.items()}, labels=labels)


def test_pgr_of_two_students_on_the_same_examples():
    rng = np.random.default_rng(0)
    labels = [rng.integers(0, 2, 400) for _ in range(4)]
    a = [cell(rng, {"supervisor": 0.6, "student": 0.8, "ceiling": 0.9}, each) for each in labels]
    b = [cell(rng, {"supervisor": 0.6, "student": 0.65, "ceiling": 0.8}, each) for each in labels]
    found = metrics.paired_pgr(a, b)
    assert found.value == pytest.approx(metrics.pgr(a).value - metrics.pgr(b).value)
    assert found.low < found.value < found.high
    assert found.p < 0.05
    assert metrics.paired_pgr(b, a).value == pytest.approx(-found.value)
    same = metrics.paired_pgr(a, a)
    assert (same.value, same.low, same.high, same.p) == (0, 0, 0, 1)


def test_intervals_of_two_pgrs_are_those_of_an_independent_bootstrap():
    """One seed, no groups, many examples: examples drawn with replacement, both PGRs of each draw."""
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 1000)
    a = cell(rng, {"supervisor": 0.6, "student": 0.75, "ceiling": 0.95}, labels)
    other = a.student.copy()
    other[:60] = np.eye(2)[1 - labels[:60]]
    worse = a.ceiling.copy()
    worse[100:160] = np.eye(2)[1 - labels[100:160]]
    rows = rng.integers(0, 1000, (4000, 1000))

    def drawn(each: metrics.Triple) -> np.ndarray:
        weak, student, ceiling = (
            (getattr(each, role).argmax(1) == labels)[rows].mean(1) for role in ("supervisor", "student", "ceiling")
        )
        return (student - weak) / (ceiling - weak)

    for b in (dataclasses.replace(a, student=other), dataclasses.replace(a, student=other, ceiling=worse)):
        found = metrics.paired_pgr([a], [b])
        low, high = np.quantile(drawn(a) - drawn(b), [0.025, 0.975])
        assert (found.low, found.high) == (pytest.approx(low, abs=0.01), pytest.approx(high, abs=0.01))
        assert found.p is None


def test_two_students_of_one_gap_differ_in_pgr_as_surely_as_in_accuracy():
    rng = np.random.default_rng(2)
    a = [cell(rng, {"supervisor": 0.6, "student": 0.75, "ceiling": 0.95}, rng.integers(0, 2, 200)) for _ in range(4)]
    b = [dataclasses.replace(each, student=each.supervisor) for each in a]
    assert metrics.paired_pgr(a, b).p == pytest.approx(metrics.paired_difference(a, b).p)


def test_pgr_undefined_for_one_is_undefined_for_the_difference():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200)
    a = cell(rng, {"supervisor": 0.6, "student": 0.8, "ceiling": 0.95}, labels)
    b = cell(rng, {"supervisor": 0.7, "student": 0.7, "ceiling": 0.7}, labels)
    found = metrics.paired_pgr([a], [b])
    assert found.value is None
    assert "not apart" in found.reason


def test_every_axis_of_a_run(tmp_path):
    path = make.arrays(tmp_path)
    probe = {"parameters": "probe", "epochs": 20}
    students = {"three": Learner(f"{path}:dino", **probe), "one": Learner(f"{path}:alexnet", **probe)}
    supervisors = {"given": Given(f"{path}:alexnet"), "probe": Learner(f"{path}:dino", **probe)}
    plan = vision(path, tmp_path / "runs", students=students, supervisors=supervisors)
    with pytest.raises(UserError, match="'vision' holds no two finished cells that differ only in 'three' and 'one'"):
        compare.compare(plan, api.open_store(plan), "students", "three", "one")
    results = make.run(plan)
    means = {(each.supervisor, each.student): each.scores["accuracy"]["student"].value for each in results.summaries}
    found = compare.compare(plan, api.open_store(plan), "students", "three", "one")
    for each, supervisor in zip(found, supervisors, strict=True):
        assert each.names == {"task": plan.tasks[0].title, "supervisor": supervisor, "method": "naive"}
        assert each.seeds == (0, 1)
        assert each.accuracy.value == pytest.approx(means[supervisor, "three"] - means[supervisor, "one"])
    assert [each.accuracy_holm for each in found] == metrics.holm([each.accuracy.p for each in found])
    defined = [each for each in found if each.pgr.value is not None]
    assert [each.pgr_holm for each in defined] == metrics.holm([each.pgr.p for each in defined])
    assert all(each.pgr_holm is None for each in found if each.pgr.value is None)
    found = compare.compare(plan, api.open_store(plan), "supervisors", "probe", "given")
    assert [each.names["student"] for each in found] == ["three", "one"]
    assert found[0].accuracy.value == pytest.approx(means["probe", "three"] - means["given", "three"])
    for a, b, message in (("thre", "one", "did you mean 'three'"), ("one", "one", "'one' compared with itself")):
        with pytest.raises(UserError, match=message):
            compare.compare(plan, api.open_store(plan), "students", a, b)


def test_the_command_prints_a_table_and_json(tmp_path, capsys, monkeypatch):
    path = make.arrays(tmp_path)
    (tmp_path / "small.py").write_text(
        "from w2s_jax import Experiment, Given, Learner, TaskConfig\n"
        f"probe = Learner({str(path) + ':dino'!r}, parameters='probe', epochs=5)\n"
        f"task = TaskConfig({str(path)!r}, supervisor=30, transfer=60, validation=30, test=60, balance=False)\n"
        f"experiment = Experiment('small', (task,), {{'given': Given({str(path) + ':alexnet'!r})}}, {{'dino': probe}}, "
        "seeds=(0,))\n"
    )
    monkeypatch.chdir(tmp_path)
    make.run(api.load_experiment(str(tmp_path / "small.py")))
    assert cli.main(["compare", str(tmp_path / "small.py"), "methods", "confidence", "naive"]) == 0
    shown = capsys.readouterr().out
    assert "confidence minus naive" in shown
    assert "given, dino, 1 seed" in shown
    assert cli.main(["compare", str(tmp_path / "small.py"), "methods", "confidence", "naive", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["names"]["student"] == "dino"
    assert cli.main(["compare", str(tmp_path / "small.py"), "methods", "conf", "naive"]) == 2
