"""Labels and features from elsewhere: arrays of one file, and tables that people or programs filled in."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from tests import tiny as make
from w2s_jax.config import Experiment, Method
from w2s_jax.data.task_config import TaskConfig
from w2s_jax.data.task_data import TaskData
from w2s_jax.runtime.errors import UserError
from w2s_jax.supervisors import Advised, Ensemble, Errors, Given, given
from w2s_jax.train.learner import Learner
from w2s_jax.train.optimizer import OptimizerConfig

HEADS = OptimizerConfig(learning_rate=1e-2)


def vision(path: Path, out: Path, **changes: object) -> Experiment:
    """DINO learns AlexNet's labels, both from one file."""
    fields: dict = {
        "name": "vision",
        "tasks": (TaskConfig(str(path), supervisor=30, transfer=60, validation=30, test=60, balance=False),),
        "supervisors": {"alexnet": Given(f"{path}:alexnet")},
        "students": {"dino": Learner(f"{path}:dino", parameters="probe", epochs=30, optimizer=HEADS)},
        "methods": {"naive": Method()},
        "seeds": (0, 1),
        "out": str(out),
    }
    return Experiment(**{**fields, **changes})


def test_given_features_and_probabilities_of_any_number_of_classes(tmp_path):
    path = make.arrays(tmp_path)
    plan = vision(path, tmp_path / "runs")
    results = make.run(plan)
    supervisor, student = (
        np.mean([cell.scores["accuracy"][role] for cell in results.cells]) for role in ("supervisor", "student")
    )
    assert 0.7 < supervisor < 0.9
    assert student > supervisor
    with np.load(path) as content:
        said, labels = content["alexnet"].argmax(axis=1), content["labels"]
    rows = [int(text[1:]) for text in make.cells(plan)[0].stages["student"].splits.test.texts]
    expected = (said[rows] == labels[rows]).mean()
    assert results.cells[0].scores["accuracy"]["supervisor"] == pytest.approx(expected)


def test_equal_tasks_of_two_names_are_both_measured(tmp_path):
    first = make.arrays(tmp_path)
    second = tmp_path / "again.npz"
    second.write_bytes(first.read_bytes())
    (task,) = vision(first, tmp_path).tasks
    tasks = (task, dataclasses.replace(task, name=str(second)))
    assert len(make.run(vision(first, tmp_path / "runs", tasks=tasks)).cells) == 4


def test_arrays_of_each_tasks_own_file(tmp_path):
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
    paths = [
        make.arrays(folder, seed=seed).rename(folder / f"{folder.name}.npz") for seed, folder in enumerate(folders)
    ]
    (task,) = vision(paths[0], tmp_path).tasks
    learner = Learner(":dino", parameters="probe", epochs=30, optimizer=HEADS)
    short = vision(
        paths[0],
        tmp_path / "runs",
        tasks=tuple(dataclasses.replace(task, name=str(path)) for path in paths),
        supervisors={
            "given": Given(":alexnet"),
            "ensemble": Ensemble((learner, learner)),
            "errors": Errors(learner),
        },
        students={"dino": learner},
    )
    whole = vision(paths[1], tmp_path / "runs")
    keys = {(cell.task, cell.supervisor, cell.seed): cell.stages["student"].key for cell in make.cells(short)}
    for cell in make.cells(whole):
        assert keys[cell.task, "given", cell.seed] == cell.stages["student"].key
    assert len(set(keys.values())) == len(keys) == 2 * 3 * 2
    assert len(make.run(short).cells) == len(keys)
    judged = dataclasses.replace(short, supervisors={"judge": Advised(learner, Learner("smollm2-135m"), "debate")})
    with pytest.raises(UserError, match="holds features; a judge of transcripts needs a model that reads them"):
        make.run(judged)
    with pytest.raises(UserError, match=r"':alexnet' is an array of the task's own .npz file, which 'cities' is not"):
        make.stages(dataclasses.replace(short, tasks=(TaskConfig("cities"),)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"supervisors": {"x": Given("missing.npz:a")}}, "missing.npz does not exist"),
        ({"supervisors": {"x": Given("{path}:nothing")}}, "has no array 'nothing'; it holds: labels, dino, alexnet"),
        ({"supervisors": {"x": Given("{path}:dino")}}, "must be probabilities"),
        ({"students": {"x": Learner("{path}:dino", parameters="full")}}, "only a probe can learn from"),
    ],
)
def test_bad_arrays_are_one_line(tmp_path, change, message):
    path = make.arrays(tmp_path)
    ((field, makers),) = change.items()
    fixed = {
        name: dataclasses.replace(maker, **{key: value.format(path=path)})
        for name, maker in makers.items()
        for key, value in [("probs", maker.probs) if isinstance(maker, Given) else ("model", maker.model)]
    }
    with pytest.raises(UserError, match=message):
        make.run(vision(path, tmp_path / "runs", **{field: fixed}))


def people(plan, reference):
    """The stage of a supervisor whose labels are a table's."""
    plan = dataclasses.replace(plan, supervisors={"people": Given(str(reference))}, methods={"naive": Method()})
    return plan, make.cells(plan)[0].stages["supervisor"]


def written(path: Path, rows: list[dict]) -> Path:
    """A table of answers, in the format of its suffix; what is None is an empty cell."""
    if path.suffix == ".csv":
        columns = list(dict.fromkeys(column for row in rows for column in row))
        quoted = [
            ",".join('"{}"'.format("" if row.get(column) is None else row[column]) for column in columns)
            for row in rows
        ]
        path.write_text("\n".join([",".join(columns), *quoted]) + "\n")
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
@pytest.mark.parametrize("how", ["label", "probs", "probs, or else a label"])
def test_answers_are_the_supervisors_labels(tiny, tmp_path, how, suffix):
    splits = make.stages(tiny)[0].splits
    named = {name: getattr(splits, name) for name in ("transfer", "validation", "test")}
    ids = [identifier for split in named.values() for identifier in split.ids]
    positive = {identifier: index % 7 / 7 for index, identifier in enumerate(ids)}
    rows, expected = [], {}
    for place, (identifier, p) in enumerate(positive.items()):
        hard = how == "label" or (how != "probs" and place % 2 == 0)
        expected[identifier] = float(p > 0.5) if hard else p
        probs = [1 - p, p]
        answer = {"probs": None, "label": int(p > 0.5)} if hard else {"probs": probs, "label": None}
        empty = {key: value for key, value in answer.items() if value is not None or how not in ("label", "probs")}
        rows.append({"id": identifier, **empty})
    plan, stage = people(tiny, written(tmp_path / f"answers.{suffix}", rows))
    found = stage.make(make.session(plan))
    for name in named:
        p = [expected[identifier] for identifier in named[name].ids]
        np.testing.assert_allclose(np.exp(found.logits[name][:, 1]), np.maximum(p, 1e-7), atol=1e-6)
    path = Path(stage.supervisor.probs)
    path.write_text(path.read_text() + "\n")
    assert people(tiny, path)[1].key != stage.key, "other answers are another supervisor"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"id": "a", "label": 1}], "lacks an answer for 1 of 2 examples, 'b' among them"),
        ([{"id": "a", "label": 1}, {"id": "a", "label": 1}], "'a' is there twice"),
        ([{"id": "a", "label": 2}], "label 2 of 'a' is none of the 2"),
        ([{"id": "a", "probs": [0.5, 0.6]}], "'a': probs must be two or more numbers"),
        ([{"id": "a", "probs": [1.5, -0.5]}], "'a': probs must be two or more numbers"),
        ([{"id": "a", "probs": [1.0]}], "'a': probs must be two or more numbers"),
        ([{"id": "a", "probs": "very likely"}], "'a': probs must be two or more numbers"),
        ([{"id": "a", "probs": "0.2 0.8"}], "'a': probs must be two or more numbers"),
        ([{"id": "a", "probs": None, "label": None}], "'a' has neither a label nor probs nor p"),
        ([{"id": "a", "probs": [0.2, 0.3, 0.5]}], "'a' has 3 probabilities; the task has 2 classes"),
        ([{"id": "a", "p": 1.2}], "'a': p must be the probability of class 1, from 0 to 1"),
        ([{"id": "a", "probs": [0.9, 0.1], "p": 0.9}], "contradict each other; give one of them"),
        ([{"id": "a", "label": "good"}], "'a': label 'good' is not a whole number"),
        ([{"id": "a", "probs": [0.9, 0.1], "label": 1}], "label and probs of 'a' contradict each other"),
    ],
)
@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_bad_answers_are_one_line(tmp_path, rows, message, suffix):
    file = written(tmp_path / f"answers.{suffix}", rows)
    with pytest.raises(UserError, match=message):
        given.read(str(file), ["a", "b"], 2)


@pytest.mark.parametrize("how", ["probs", "p", "a list in a cell", "as Python prints it"])
@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_one_file_holds_soft_labels_to_learn_from_and_those_of_a_supervisor(tmp_path, how, suffix):
    positive = {f"id {n}": (n % 10) / 9 for n in range(60)}
    spell = {"a list in a cell": json.dumps, "as Python prints it": str}.get(how, lambda probs: probs)
    rows = [
        {"id": name, "text": f"text of {name}", **({"p": p} if how == "p" else {"probs": spell([1 - p, p])})}
        for name, p in positive.items()
    ]
    path = tmp_path / f"answers.{suffix}"
    if suffix == "parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        written(path, rows)
    task = TaskData(TaskConfig(str(path), shrink=True, balance=False))
    splits = task.splits(0)
    for name in ("supervisor", "transfer", "validation", "test"):
        split = getattr(splits, name)
        expected = np.array([[1 - positive[each], positive[each]] for each in split.ids])
        np.testing.assert_allclose(split.shares, expected, rtol=1e-6)
        np.testing.assert_array_equal(split.labels, expected.argmax(axis=1))
        found = given.labels_of(str(path), split.without_truth(), 2)
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(("label", "expected"), [("1.0", 1), (" 1", 1), ("TRUE", 1), (True, 1), (0.0, 0), ("false", 0)])
def test_labels_of_people_in_every_spelling(tmp_path, label, expected):
    for suffix in ("jsonl", "csv"):
        (found,) = given.read(str(written(tmp_path / f"a.{suffix}", [{"id": "a", "label": label}])), ["a"], 2)
        assert found.tolist() == [1 - expected, expected]


def test_a_label_may_be_one_of_the_answers_that_were_offered(tmp_path):
    rows = [{"id": name, "answers": ["ham", "spam"], "label": label} for name, label in (("a", "spam"), ("b", 0))]
    found = given.read(str(written(tmp_path / "a.jsonl", rows)), ["a", "b"], 2)
    np.testing.assert_array_equal(found, [[0, 1], [1, 0]])


def test_label_and_probs_that_agree_are_the_probs(tmp_path):
    rows = [{"id": "a", "p": 0.7, "label": 1}, {"id": "b", "probs": [0.5, 0.5], "label": 0}]
    for suffix in ("jsonl", "csv"):
        found = given.read(str(written(tmp_path / f"a.{suffix}", rows)), ["b", "a"], 2)
        np.testing.assert_allclose(found, [[0.5, 0.5], [0.3, 0.7]], rtol=1e-6)
