"""Results as a tidy table: what the cells hold, and nothing else."""

import dataclasses
import importlib.util

import pytest

from tests import synthetic
from w2s_jax import metrics
from w2s_jax.evaluation import frames
from w2s_jax.evaluation.results import Results


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
