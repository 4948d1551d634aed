"""Results as tidy tables: one row for each cell and role, or one for each cell and test example."""

import functools
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from w2s_jax.data.tokens import flatten
from w2s_jax.evaluation.results import Cell, Results, Summary
from w2s_jax.evaluation.tested import Tested, predicted
from w2s_jax.metrics import ROLES
from w2s_jax.pipeline.store import Store

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def to_frame(found: Results) -> "pd.DataFrame | pa.Table":
    """One row for each cell and role, as a pandas frame where pandas is installed, else as a pyarrow table.

    Columns; what is undefined, or does not belong to a role, is null:
      task, supervisor, student, method, seed, role: which model of which cell. A supervisor and a ceiling that several
        methods share have a row in the cells of each.
      parameters: of the model, where its number is known.
      one for each metric, by its name: against ground truth, on the test split.
      weak_<metric>: of the student, with weak labels in place of ground truth.
      agree, agree_where_right, agree_where_wrong: of the student with its supervisor.
      similarity: CAPA with the supervisor, of student and ceiling.
      pgr, pgr_low, pgr_high, pgr_auroc, pgr_auroc_low, pgr_auroc_high: of the student, over all seeds together, so that
        every seed of a method has the same.
      selected_step, best_truth_step: of the student.
      stage: the model's folder.
    """
    return _as_frame(to_table(found))


def to_table(found: Results) -> "pa.Table":
    """The same as a pyarrow table, whether pandas is installed or not."""
    import pyarrow as pa

    summaries = {(s.task, s.supervisor, s.student, s.method): s for s in found.summaries}
    rows = [
        _row(found, cell, summaries[cell.task, cell.supervisor, cell.student, cell.method], role)
        for cell in found.cells
        for role in ROLES
    ]
    return pa.Table.from_pylist(rows, schema=_schema([metric.name for metric in found.metrics]))


def _schema(metrics: list[str]) -> "pa.Schema":
    import pyarrow as pa

    scores = [*metrics, *(f"weak_{name}" for name in metrics)]
    agreement = ("agree", "agree_where_right", "agree_where_wrong", "similarity")
    pgrs = [f"{name}{end}" for name in ("pgr", "pgr_auroc") for end in ("", "_low", "_high")]
    columns = [
        *((name, pa.string()) for name in ("task", "supervisor", "student", "method")),
        *(("seed", pa.int64()), ("role", pa.string()), ("parameters", pa.int64())),
        *((name, pa.float64()) for name in (*scores, *agreement, *pgrs)),
        *(("selected_step", pa.int64()), ("best_truth_step", pa.int64()), ("stage", pa.string())),
    ]
    return pa.schema(columns)


def _row(found: Results, cell: Cell, summary: Summary, role: str) -> dict[str, Any]:
    model = cell.supervisor if role == "supervisor" else cell.student
    row = {
        **{name: getattr(cell, name) for name in ("task", "supervisor", "student", "method", "seed")},
        "role": role,
        "parameters": found.parameters.get(model),
        **{name: by_role[role] for name, by_role in cell.scores.items()},
        "similarity": cell.similarity.get(role),
        "stage": cell.stages.get(role),
    }
    return row | _of_student(cell, summary) if role == "student" else row


def _of_student(cell: Cell, summary: Summary) -> dict[str, Any]:
    pgrs = {"pgr": summary.pgr["accuracy"], "pgr_auroc": summary.pgr["auroc"]}
    return {
        **{f"weak_{name}": value for name, value in cell.against_weak.items()},
        "agree": cell.agreement.overall,
        "agree_where_right": cell.agreement.where_right,
        "agree_where_wrong": cell.agreement.where_wrong,
        **{name: pgr.value for name, pgr in pgrs.items()},
        **{f"{name}_{end}": getattr(pgr, end) for name, pgr in pgrs.items() for end in ("low", "high")},
        "selected_step": cell.selected_step,
        "best_truth_step": cell.best_truth_step,
    }


def predictions(found: Results, out: str | Path | None = None) -> "pd.DataFrame | pa.Table":
    """One row for each cell and example of its test split, as a pandas frame where pandas is installed.

    Columns:
      task, supervisor, student, method, seed: the cell.
      id, text: of the example; where a task's examples have several texts to compare, `text` is a list.
      truth: the class that is right.
      p_supervisor, p_student, p_ceiling: the probability of class 1; where a task has more than two classes, a list of
        the probabilities of all. The supervisor's are its weak labels.
      predicted_supervisor, predicted_student, predicted_ceiling: the class of the largest probability.

    Args:
      out: the folder that holds `stages`; None is the one that the run wrote to.

    Raises:
      UserError: a stage or the task is not there any more, or is not what was measured.
    """
    return _as_frame(predictions_table(found, out))


def predictions_table(found: Results, out: str | Path | None = None) -> "pa.Table":
    """The same as a pyarrow table, whether pandas is installed or not."""
    import pyarrow as pa

    store = Store.beside_runs(found.config.get("out", "") if out is None else out)
    read = functools.lru_cache(maxsize=256)(store.read)
    tested = Tested(found)
    tests = {(cell.task, cell.seed): tested.split(cell.task, cell.seed) for cell in found.cells}
    listed = any(isinstance(text, tuple) for test in tests.values() for text in test.texts)
    several = any(facts.n_classes > 2 for facts in found.tasks)

    def rows(cell: Cell) -> Iterator[dict[str, Any]]:
        test = tests[cell.task, cell.seed]
        assert test.labels is not None
        probs = {role: predicted(cell, role, test, read(cell.stages[role])) for role in ROLES}
        for row, text in enumerate(flatten([text]) if listed else text for text in test.texts):
            yield {
                **{name: getattr(cell, name) for name in ("task", "supervisor", "student", "method", "seed")},
                **{"id": test.ids[row], "text": text, "truth": int(test.labels[row])},
                **{f"p_{role}": each[row].tolist() if several else float(each[row, 1]) for role, each in probs.items()},
                **{f"predicted_{role}": int(each[row].argmax()) for role, each in probs.items()},
            }

    probability = pa.list_(pa.float32()) if several else pa.float32()
    columns = [
        *((name, pa.string()) for name in ("task", "supervisor", "student", "method")),
        *(("seed", pa.int64()), ("id", pa.string())),
        *(("text", pa.list_(pa.string()) if listed else pa.string()), ("truth", pa.int64())),
        *((f"p_{role}", probability) for role in ROLES),
        *((f"predicted_{role}", pa.int64()) for role in ROLES),
    ]
    return pa.Table.from_pylist([row for cell in found.cells for row in rows(cell)], schema=pa.schema(columns))


def _as_frame(table: "pa.Table") -> "pd.DataFrame | pa.Table":
    return table.to_pandas() if importlib.util.find_spec("pandas") else table
