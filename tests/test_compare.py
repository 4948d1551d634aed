"""Two students, supervisors or methods of a run, beside each other."""

import json

import numpy as np
import pytest

from tests.test_experiment import quiet
from tests.test_methods import arrays, vision
from w2s_jax import compare, config, metrics, runner
from w2s_jax.errors import UserError
from w2s_jax.train.learner import Learner


def cell(rng: np.random.Generator, right: dict[str, float], labels: np.ndarray) -> metrics.Cell:
    def said(share: float) -> np.ndarray:
        return np.eye(2)[np.where(rng.random(len(labels)) < share, labels, 1 - labels)]

    return metrics.Cell(**{role: said(share) for role, share in right.items()}, labels=labels)


def test_pgr_of_two_students_in_the_same_resamples():
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


def test_pgr_intervals_are_those_of_an_independent_bootstrap():
    """One seed, no groups: rows drawn with replacement, both PGRs of each draw."""
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 300)
    a = cell(rng, {"supervisor": 0.6, "student": 0.75, "ceiling": 0.95}, labels)
    b = cell(rng, {"supervisor": 0.6, "student": 0.7, "ceiling": 0.9}, labels)
    rows = rng.integers(0, 300, (4000, 300))

    def drawn(each: metrics.Cell) -> np.ndarray:
        weak, student, ceiling = (
            (getattr(each, role).argmax(1) == labels)[rows].mean(1) for role in ("supervisor", "student", "ceiling")
        )
        return (student - weak) / (ceiling - weak)

    found = metrics.paired_pgr([a], [b], resamples=4000)
    low, high = np.quantile(drawn(a) - drawn(b), [0.025, 0.975])
    assert (found.low, found.high) == (pytest.approx(low, abs=0.03), pytest.approx(high, abs=0.03))


def test_pgr_undefined_for_one_is_undefined_for_the_difference():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200)
    a = cell(rng, {"supervisor": 0.6, "student": 0.8, "ceiling": 0.95}, labels)
    b = cell(rng, {"supervisor": 0.7, "student": 0.7, "ceiling": 0.7}, labels)
    found = metrics.paired_pgr([a], [b])
    assert found.value is None
    assert "not apart" in found.reason


def test_the_command(tmp_path, capsys):
    path = arrays(tmp_path)
    probe = {"parameters": "probe", "epochs": 20}
    students = {"three": Learner(f"{path}:dino", **probe), "one": Learner(f"{path}:alexnet", **probe)}
    plan = vision(path, tmp_path / "runs", students=students)
    with pytest.raises(UserError, match="no cell of 'vision' is done for both 'three' and 'one'; run it first"):
        compare.compare(plan, runner.open_store(plan), "students", "three", "one")
    results, failures = runner.run(plan, quiet())
    assert not failures
    (found,) = compare.compare(plan, runner.open_store(plan), "students", "three", "one")
    means = {each.student: each.accuracy["student"].value for each in results.summaries}
    assert found.names == {"task": plan.tasks[0].title, "supervisor": "alexnet", "method": "naive"}
    assert found.seeds == (0, 1)
    assert found.accuracy.value == pytest.approx(means["three"] - means["one"])
    assert found.accuracy_holm == found.accuracy.p
    for a, b, message in (("thre", "one", "did you mean 'three'"), ("one", "one", "'one' beside itself")):
        with pytest.raises(UserError, match=message):
            compare.compare(plan, runner.open_store(plan), "students", a, b)


def test_the_command_prints_a_table_and_json(tmp_path, capsys, monkeypatch):
    path = arrays(tmp_path)
    (tmp_path / "small.py").write_text(
        "from w2s_jax.config import *\nfrom w2s_jax.train.learner import Learner\n"
        f"probe = Learner({str(path) + ':dino'!r}, parameters='probe', epochs=5)\n"
        f"task = TaskConfig({str(path)!r}, supervisor=30, transfer=60, validation=30, test=60, balance=False)\n"
        f"experiment = Experiment('small', (task,), {{'given': Given({str(path) + ':alexnet'!r})}}, {{'dino': probe}}, "
        "seeds=(0,))\n"
    )
    from w2s_jax.cli import main

    plan = config.load(str(tmp_path / "small.py"))
    monkeypatch.chdir(tmp_path)
    runner.run(plan, quiet())
    assert main(["compare", str(tmp_path / "small.py"), "methods", "confidence", "naive"]) == 0
    shown = capsys.readouterr().out
    assert "confidence less naive" in shown
    assert "given, dino, 1 seed" in shown
    assert main(["compare", str(tmp_path / "small.py"), "methods", "confidence", "naive", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["names"]["student"] == "dino"
    assert main(["compare", str(tmp_path / "small.py"), "methods", "conf", "naive"]) == 2
