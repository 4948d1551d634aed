"""The graph of stages: what is shared, what a student can see, what survives a kill, and what is refused."""

import dataclasses
import io
import json
import multiprocessing
import os
import pickle
import shutil
import signal
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from rich.console import Console

from tests import tiny as make
from tests.tiny import tiny  # noqa: F401
from w2s_jax import cli
from w2s_jax.config import Method, TaskConfig
from w2s_jax.data import predictions as predictions_table
from w2s_jax.data.splits import Split
from w2s_jax.pipeline import experiment, inputs, materials, runner
from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.progress import Reporter
from w2s_jax.runtime.sharding import make_mesh
from w2s_jax.train import loop
from w2s_jax.train.optimizer import OptimizerConfig


def quiet():
    return Reporter(Console(file=io.StringIO()))


def run(plan):
    results, failures = runner.run(plan, quiet())
    assert failures == []
    assert results is not None
    return results


def bits(plan):
    """Every stage's predictions and history, as bytes."""
    store = runner.open_store(plan)
    return {
        stage.folder: [
            (store.folder(stage.folder) / name).read_bytes()
            for name in ("predictions.parquet", "history.json", "curve.npy")
        ]
        for stage in experiment.stages(plan)
    }


def test_it_runs_end_to_end(tiny):  # noqa: F811
    results = run(tiny)
    assert [cell.method for cell in results.cells] == ["naive", "confidence"]
    assert {cell.stages["ceiling"] for cell in results.cells} == {results.cells[0].stages["ceiling"]}
    cell = results.cells[0]
    stage = next(stage for stage in experiment.stages(tiny) if stage.role == "ceiling")
    predictions = runner.open_store(tiny).read(stage.folder).predictions
    test = materials.splits(stage.task, 0).test
    right = predictions.for_split("test", test.ids).argmax(-1) == test.labels
    assert cell.scores["accuracy"]["ceiling"] == pytest.approx(right.mean())
    assert cell.scores["accuracy"]["ceiling"] > 0.6, "random features of words must do better than chance"


def test_equal_stages_are_made_once_whatever_they_are_called(tiny):  # noqa: F811
    run(tiny)
    store = runner.open_store(tiny)
    before = {
        stage.folder: (store.folder(stage.folder) / "manifest.json").stat().st_mtime_ns
        for stage in experiment.stages(tiny)
    }
    renamed = dataclasses.replace(
        tiny,
        name="other",
        methods={"a": tiny.methods["naive"], "b": tiny.methods["confidence"]},
        students={"renamed": tiny.students["strong"]},
    )
    assert [cell.method for cell in run(renamed).cells] == ["a", "b"]
    after = {name: (store.folder(name) / "manifest.json").stat().st_mtime_ns for name in before}
    assert after == before
    assert len(list(store.root.iterdir())) == len(before)


@pytest.mark.parametrize(
    ("change", "remade"),
    [
        (lambda e: dataclasses.replace(e, seeds=(1,)), 4),
        (lambda e: _student(e, epochs=1), 3),
        (lambda e: _student(e, loop=dataclasses.replace(e.students["strong"].loop, checkpoint_seconds=9.0)), 0),
        (
            lambda e: dataclasses.replace(
                e, methods={"m": dataclasses.replace(e.methods["confidence"], options={"alpha": 0.75})}
            ),
            1,
        ),
        (
            lambda e: dataclasses.replace(
                e, methods={"m": dataclasses.replace(e.methods["confidence"], options={"alpha": 0.5})}
            ),
            0,
        ),
    ],
)
def test_a_stage_is_the_hash_of_what_decides_its_bits(tiny, change, remade):  # noqa: F811
    before = {stage.key for stage in experiment.stages(tiny)}
    after = {stage.key for stage in experiment.stages(change(tiny))}
    assert len(after - before) == remade


def _student(plan, **changes):
    return dataclasses.replace(plan, students={"strong": dataclasses.replace(plan.students["strong"], **changes)})


def test_changed_weights_or_data_change_the_stages(tmp_path):
    first = {stage.key for stage in experiment.stages(make.experiment(tmp_path / "a"))}
    assert first == {stage.key for stage in experiment.stages(make.experiment(tmp_path / "b"))}, "paths do not count"
    plan = make.experiment(tmp_path / "c")
    make.llama(tmp_path / "c" / "strong", seed=2)
    assert len({stage.key for stage in experiment.stages(plan)} - first) == 3
    plan = make.experiment(tmp_path / "d")
    file = tmp_path / "d" / "reviews.jsonl"
    file.write_text(file.read_text().replace("good", "film"))
    assert not {stage.key for stage in experiment.stages(plan)} & first


def test_a_student_is_given_no_ground_truth(tiny):  # noqa: F811
    run(tiny)
    store = runner.open_store(tiny)
    for stage in experiment.stages(tiny):
        given = inputs.stage_inputs(stage, lambda needed: store.read(needed.folder).predictions)
        splits = [given.train.split, given.validation.split, *given.predict.values()]
        assert all(isinstance(split, Split) and split.labels is None for split in splits)
        if stage.role == "student":
            weak = store.read(stage.teacher.folder).predictions
            np.testing.assert_array_equal(given.train.targets, weak.for_split("transfer", given.train.split.ids))
            assert set(given.train.targets.ravel()) - {0.0, 1.0}, "weak labels are soft"


def test_a_students_bits_do_not_depend_on_ground_truth(tiny, monkeypatch):  # noqa: F811
    """The labels of transfer, validation and test are scrambled after the supervisor is done: no student changes."""
    run(tiny)
    expected = bits(tiny)
    store = runner.open_store(tiny)
    students = [stage for stage in experiment.stages(tiny) if stage.role == "student"]
    for stage in students:
        shutil.rmtree(store.folder(stage.folder))
    honest = materials.splits

    def scrambled(task, seed):
        found = honest(task, seed)
        flip = {
            name: dataclasses.replace(getattr(found, name), labels=1 - getattr(found, name).labels)
            for name in ("transfer", "validation", "test")
        }
        return dataclasses.replace(found, **flip)

    monkeypatch.setattr(materials, "splits", scrambled)
    assert runner.run_stages(students, store, quiet(), make_mesh()) == []
    monkeypatch.undo()
    assert {name: content for name, content in bits(tiny).items() if "student" in name} == {
        name: content for name, content in expected.items() if "student" in name
    }


def test_student_and_ceiling_see_the_same_rows_in_the_same_order(tiny):  # noqa: F811
    student, ceiling = (next(s for s in experiment.stages(tiny) if s.role == role) for role in ("student", "ceiling"))
    assert experiment.stage_splits(student).train.ids == experiment.stage_splits(ceiling).train.ids
    assert student.seed == ceiling.seed
    supervisor = experiment.stage_splits(student.teacher)
    assert not set(supervisor.train.ids) & set(experiment.stage_splits(student).train.ids)


def _run_in_process(plan):
    jax.config.update("jax_num_cpu_devices", 8)  # as in this process: the same bits need the same devices
    runner.run(plan, quiet())


@pytest.mark.slow
@pytest.mark.parametrize("delay", [1.5, 3.0, 5.0])
def test_killed_at_any_moment_the_same_command_ends_with_the_same_bits(tmp_path, delay):
    expected = make.experiment(tmp_path / "a")
    run(expected)
    plan = make.experiment(tmp_path / "b", checkpoint_seconds=0)
    process = multiprocessing.get_context("spawn").Process(target=_run_in_process, args=(plan,))
    process.start()
    started = Path(plan.out) / "stages"
    while not started.exists():
        time.sleep(0.05)
    time.sleep(delay)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    run(plan)
    assert bits(plan) == bits(expected)


@pytest.mark.slow
def test_killed_inside_each_stage_it_goes_on_from_the_checkpoint(tmp_path, monkeypatch):
    expected = make.experiment(tmp_path / "a")
    run(expected)
    plan = make.experiment(tmp_path / "b", checkpoint_seconds=0)
    save, saves = loop._save, []

    class Killed(BaseException):
        pass

    def save_and_die(*args):
        save(*args)
        saves.append(args)
        if len(saves) % 4 == 3:
            raise Killed

    monkeypatch.setattr(loop, "_save", save_and_die)
    for _ in range(20):
        try:
            run(plan)
            break
        except Killed:
            pass
    else:
        pytest.fail("it never came to an end")
    assert len(saves) > 10
    assert bits(plan) == bits(expected)


@pytest.mark.slow
def test_two_processes_on_one_folder_share_the_work(tmp_path):
    expected = make.experiment(tmp_path / "a")
    run(expected)
    plan = make.experiment(tmp_path / "b", seeds=(0,))
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_run_in_process, args=(plan,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert bits(plan) == bits(expected)


def test_a_damaged_stage_is_named_and_refused(tiny):  # noqa: F811
    run(tiny)
    folder = runner.open_store(tiny).folder(experiment.stages(tiny)[0].folder)
    for file in ("predictions.parquet", "history.json", "curve.npy", "manifest.json"):
        content = (folder / file).read_bytes()
        flipped = bytearray(content)
        flipped[len(content) // 2] ^= 1
        edited = b'{"schema": "another"}' if file == "manifest.json" else bytes(flipped)
        for damaged in (content[: len(content) // 2], edited):
            (folder / file).write_bytes(damaged)
            with pytest.raises(UserError, match=file):
                run(tiny)
        (folder / file).write_bytes(content)
    run(tiny)


def test_a_student_made_from_other_labels_is_refused(tiny):  # noqa: F811
    """The supervisor's file is replaced, manifest and all, after the student has learned from it."""
    run(tiny)
    supervisor, student = experiment.stages(tiny)[:2]
    store = runner.open_store(tiny)
    folder = store.folder(supervisor.folder)
    predictions = store.read(supervisor.folder).predictions
    flipped = predictions._replace(probs=predictions.probs[:, ::-1], logits=predictions.logits[:, ::-1])
    predictions_table.write_predictions(folder / "predictions.parquet", flipped, {})
    manifest = json.loads((folder / "manifest.json").read_text())
    from w2s_jax.runtime import files

    manifest["files"]["predictions.parquet"] = files.sha256_file(folder / "predictions.parquet")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=student.folder):
        run(tiny)


def test_a_stage_that_fails_does_not_stop_the_rest(tiny):  # noqa: F811
    broken = dataclasses.replace(
        tiny,
        supervisors={
            "broken": dataclasses.replace(
                tiny.supervisors["weak"], optimizer=OptimizerConfig("sgd", 1e30, clip_norm=None)
            ),
            "weak": tiny.supervisors["weak"],
        },
    )
    results, failures = runner.run(broken, quiet())
    assert {failure.stage.role for failure in failures} == {"supervisor", "student"}
    assert any("not finite" in failure.reason for failure in failures)
    assert [cell.supervisor for cell in results.cells] == ["weak", "weak"]


@pytest.mark.parametrize("parameters", ["probe", *make.slow("head", "lora")])
def test_other_ways_to_train_run_through_the_same_graph(tiny, parameters):  # noqa: F811
    results = run(_student(tiny, parameters=parameters, read_layer=1))
    assert len(results.cells) == 2


THREE_CLASSES = """
from w2s_jax.data.example import Example
from w2s_jax.data.sources import BuiltIn
from w2s_jax.data.tasks import Task

WORDS, FILLER = ["good", "film", "bad"], "the a was is very not plot".split()


def rows():
    for i in range(180):
        yield {"i": i, "label": i % 3}


def format(row):
    i, label = row["i"], row["label"]
    text = " ".join([WORDS[label], FILLER[i % 7], FILLER[i // 7 % 7], "a " * (i // 49)])
    yield Example(str(i), text, label, str(i))


task = Task("mine", "which word?", BuiltIn(rows, "here"), format, n_classes=3)
"""


def test_a_users_own_task_of_three_classes_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = make.experiment(tmp_path)
    (tmp_path / "mine.py").write_text(THREE_CLASSES)
    task = TaskConfig("mine.py:task", supervisor=33, transfer=33, validation=15, test=30)
    results = run(dataclasses.replace(plan, tasks=(task,)))
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
