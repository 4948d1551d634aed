"""Whole experiments: from a config to results, with one's own task, and with a profile of what trains."""

import dataclasses
import pickle
from pathlib import Path

import pytest

from tests import tiny as make
from w2s_jax import api, cli
from w2s_jax.config import Method
from w2s_jax.data.task_config import TaskConfig
from w2s_jax.runtime.errors import UserError
from w2s_jax.supervisors import Given


def test_it_runs_end_to_end(finished):
    results = finished.results
    assert [cell.method for cell in results.cells] == ["naive", "confidence", "probed"]
    (ceiling,) = make.stages(finished.experiment, "ceiling")
    assert {cell.stages["ceiling"] for cell in results.cells} == {ceiling.name}
    predictions, test = make.read(finished.experiment)(ceiling), ceiling.splits.test
    right = predictions.for_split("test", test.ids).argmax(-1) == test.labels
    accuracy = results.cells[0].scores["accuracy"]["ceiling"]
    assert accuracy == pytest.approx(right.mean())
    assert accuracy > 0.6, "random features of words must do better than chance"
    assert {state for _, state in api.Planned([finished.experiment]).status()} == {"done"}


def test_run_returns_results_or_raises_for_the_first_stage_that_failed(probe_folder):
    plan = make.probes(probe_folder, seeds=(0,))
    found = api.run(plan, quiet=True)
    assert api.load_results(Path(plan.out) / plan.name) == found
    with pytest.raises(UserError, match=r"nowhere\.csv does not exist"):
        api.run(dataclasses.replace(plan, supervisors={"people": Given("nowhere.csv")}), quiet=True)


THREE_CLASSES = """
from w2s_jax.data.example import Example
from w2s_jax.data.sources import BuiltIn
from w2s_jax.data.tasks import Task

WORDS, FILLER = ["good", "film", "bad"], "the a was is very not plot".split()


def records():
    for i in range(180):
        yield {"i": i, "label": i % 3}


def format(record):
    i, label = record["i"], record["label"]
    text = " ".join([WORDS[label], FILLER[i % 7], FILLER[i // 7 % 7], "a " * (i // 49)])
    yield Example(str(i), text, label, str(i))


task = Task("mine", "which word?", BuiltIn(records, "here"), format, n_classes=3)
"""


def test_a_users_own_task_of_three_classes_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(THREE_CLASSES)
    task = TaskConfig("mine.py:task", supervisor=33, transfer=33, validation=15, test=30)
    plan = make.probes(tmp_path, tasks=(task,), seeds=(0,), methods={"naive": Method()})
    strong = dataclasses.replace(plan.students["strong"], epochs=50)
    results = make.run(dataclasses.replace(plan, students={"strong": strong}))
    assert results.tasks[0].n_classes == 3
    assert results.tasks[0].test_balance == pytest.approx([1 / 3] * 3)
    assert results.cells[0].scores["accuracy"]["ceiling"] > 0.5


def test_what_trains_is_profiled_if_asked(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    probe = dataclasses.replace(make.experiment(tmp_path).supervisors["weak"], parameters="probe")
    plan = make.experiment(tmp_path, supervisors={"weak": probe}, methods={"naive": Method()}, out="runs")
    (tmp_path / "config.py").write_text("import pickle\nexperiment = pickle.load(open('plan.pickle', 'rb'))\n")
    (tmp_path / "plan.pickle").write_bytes(pickle.dumps(plan))
    assert cli.main(["run", "config.py", "--profile"]) == cli.OK
    traces = sorted(Path("runs/tiny/profile").rglob("*.xplane.pb"))
    assert [path.parts[3].split("-")[0] for path in traces] == ["ceiling", "student"], "a probe takes no steps"
    said = capsys.readouterr().err.replace("\n", "")
    assert all(str(Path(*path.parts[:4])) in said for path in traces)
