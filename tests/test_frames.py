"""Results as tidy tables: what the cells hold, what the stages predicted, and nothing else."""

import dataclasses
import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests import synthetic
from tests import tiny as make
from w2s_jax import api, metrics
from w2s_jax.config import Experiment
from w2s_jax.data.task_config import TaskConfig
from w2s_jax.evaluation import frames, storage
from w2s_jax.evaluation.results import Results
from w2s_jax.runtime.errors import UserError


@pytest.fixture(scope="module")
def found() -> Results:
    run = synthetic.three_tasks(2)
    return dataclasses.replace(run, parameters={run.cells[0].student: 135})


def rows_of(found: Results) -> list[dict]:
    frame = found.to_frame()
    return frame.to_pylist() if hasattr(frame, "to_pylist") else frame.to_dict("records")


def test_a_row_for_each_cell_and_role_holds_its_scores(found: Results) -> None:
    rows = rows_of(found)
    assert len(rows) == 3 * len(found.cells)
    for row, (cell, role) in zip(rows, ((c, r) for c in found.cells for r in metrics.ROLES), strict=True):
        key = (row["task"], row["supervisor"], row["student"], row["method"], row["seed"], row["role"])
        assert key == (cell.task, cell.supervisor, cell.student, cell.method, cell.seed, role)
        assert {name: row[name] for name in metrics.METRICS} == {name: cell.scores[name][role] for name in cell.scores}
        assert row["stage"] == cell.stages[role]


@pytest.mark.skipif(importlib.util.find_spec("pandas") is not None, reason="pandas has NaN in place of null")
def test_what_belongs_to_the_student_is_null_for_the_others(found: Results) -> None:
    (weak, student, ceiling), cell, summary = rows_of(found)[:3], found.cells[0], found.summaries[0]
    assert student["weak_calibration_error"] == cell.against_weak["calibration_error"]
    assert student["agree_where_wrong"] == cell.agreement.where_wrong
    pgr = summary.pgr["accuracy"]
    assert (student["pgr"], student["pgr_low"], student["pgr_high"]) == (pgr.value, pgr.low, pgr.high)
    assert student["pgr_auroc"] == summary.pgr["auroc"].value
    assert (student["parameters"], weak["parameters"]) == (135, None)
    assert (weak["similarity"], ceiling["similarity"]) == (None, cell.similarity["ceiling"])
    for row in (weak, ceiling):
        assert {row[name] for name in row if name.startswith(("weak_", "pgr", "agree"))} == {None}
    undefined = [row for row in rows_of(found) if row["task"] == "coin flips" and row["role"] == "student"]
    assert {row["pgr"] for row in undefined} == {None}


def test_columns_are_there_and_typed_even_where_all_is_null() -> None:
    run = synthetic.of([synthetic.cell(0.5, 0.5, 0.5)])
    cell = run.cells[0]
    none = dict.fromkeys(metrics.ROLES)
    empty = dataclasses.replace(cell, scores=cell.scores | {"confident_disagreement": none})
    schema = frames.to_table(dataclasses.replace(run, cells=(empty,))).schema
    assert str(schema.field("confident_disagreement").type) == "double"
    assert str(schema.field("parameters").type) == "int64"


def test_with_pandas_it_is_a_pandas_frame(found: Results) -> None:
    pd = pytest.importorskip("pandas")
    frame = found.to_frame()
    assert isinstance(frame, pd.DataFrame)
    students = frame[frame.role == "student"]
    mean = students.groupby(["task", "method"]).accuracy.mean()
    for summary in found.summaries:
        assert mean[summary.task, summary.method] == pytest.approx(summary.scores["accuracy"]["student"].value)


# ---- Every example's predictions

PAIRS = """
from w2s_jax.data import sources, tasks

pairs = tasks.get("{folder}/pairs.jsonl")
three = tasks.Task("three", "", sources.Local("{folder}/three.jsonl"), tasks.labelled_text, 3)
"""


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Experiment, Results]:
    """A tiny run of probes, of two students and two seeds, and what it gave."""
    plan = make.probes(tmp_path_factory.mktemp("probed"))
    return plan, api.run(plan, quiet=True)


def test_a_row_for_each_cell_and_example_holds_what_the_stages_predicted(probed: tuple[Experiment, Results]) -> None:
    plan, found = probed
    table = frames.predictions_table(storage.load(Path(plan.out) / plan.name))
    rows = table.to_pylist()
    assert len(rows) == len(found.cells) * 40
    assert table.equals(frames.predictions_table(found))
    planned = api.Planned([plan])
    lines = {line["id"]: line for line in map(json.loads, Path(plan.tasks[0].name).read_text().splitlines())}
    for place, (cell, stages) in enumerate(zip(found.cells, planned.cells[0], strict=True)):
        of_cell = rows[40 * place :][:40]
        names = [(row["task"], row["supervisor"], row["student"], row["method"], row["seed"]) for row in of_cell]
        assert set(names) == {(cell.task, cell.supervisor, cell.student, cell.method, cell.seed)}
        ids = [row["id"] for row in of_cell]
        assert tuple(ids) == stages.stages["student"].splits.test.ids
        assert [(row["text"], row["truth"]) for row in of_cell] == [(lines[i]["text"], lines[i]["label"]) for i in ids]
        for role in metrics.ROLES:
            probs = planned.store.read(cell.stages[role]).predictions.for_split("test", ids)
            assert [row[f"p_{role}"] for row in of_cell] == probs[:, 1].tolist()
            assert [row[f"predicted_{role}"] for row in of_cell] == probs.argmax(axis=1).tolist()
            right = np.mean([row[f"predicted_{role}"] == row["truth"] for row in of_cell])
            assert right == pytest.approx(cell.scores["accuracy"][role])


def test_results_give_pandas_or_pyarrow(probed: tuple[Experiment, Results]) -> None:
    frame = probed[1].predictions()
    if importlib.util.find_spec("pandas"):
        assert len(frame) == 8 * 40
    else:
        assert frame.equals(frames.predictions_table(probed[1]))


def test_several_classes_and_candidates_are_lists(tmp_path: Path) -> None:
    plan = make.probes(tmp_path, seeds=(0,))
    reviews = [json.loads(line) for line in Path(plan.tasks[0].name).read_text().splitlines()]
    pairs = [
        {"chosen": one["text"], "rejected": two["text"]} for one, two in zip(reviews[::2], reviews[1::2], strict=True)
    ]
    three = [{**line, "label": place % 3} for place, line in enumerate(reviews)]
    for name, lines in (("pairs", pairs), ("three", three)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "mine.py").write_text(PAIRS.format(folder=tmp_path))
    sizes = {"supervisor": 16, "transfer": 16, "validation": 8, "test": 12, "balance": False}
    tasks = tuple(TaskConfig(f"{tmp_path}/mine.py:{name}", **sizes) for name in ("three", "pairs"))
    found = api.run(dataclasses.replace(plan, tasks=tasks), quiet=True)
    rows = frames.predictions_table(found).to_pylist()
    of_three, of_pairs = ([row for row in rows if row["task"] == task.title] for task in tasks)
    assert {len(row["text"]) for row in of_three} == {1}
    assert {len(row["text"]) for row in of_pairs} == {2}
    assert {len(row["p_student"]) for row in of_three} == {3}
    assert {len(row["p_student"]) for row in of_pairs} == {2}
    assert all(int(np.argmax(row["p_student"])) == row["predicted_student"] for row in rows)


def test_what_is_gone_or_another_task_now_is_one_line(probed: tuple[Experiment, Results], tmp_path: Path) -> None:
    plan, found = probed
    moved = tmp_path / "moved"
    shutil.copytree(plan.out, moved)
    assert frames.predictions_table(found, moved).equals(frames.predictions_table(found))
    shutil.rmtree(moved / "stages" / found.cells[0].stages["student"])
    with pytest.raises(UserError, match=r"student-.*does not exist"):
        found.predictions(moved)
    with pytest.raises(UserError, match="does not say what task 'cities' is"):
        synthetic.three_tasks(1).predictions(moved)
    lines = [json.loads(line) for line in Path(plan.tasks[0].name).read_text().splitlines()]
    for key, change in (("text", lambda text: f"{text} film"), ("label", lambda label: 1 - label)):
        path = tmp_path / f"{key}.jsonl"
        path.write_text("".join(json.dumps({**line, key: change(line[key])}) + "\n" for line in lines))
        task = dict(found.config["tasks"][0], source=str(path))
        other = dataclasses.replace(found, config={**found.config, "tasks": [task]})
        with pytest.raises(UserError, match=r"is not what .* was measured on"):
            other.predictions()
