"""Other people's results as ours: a table of accuracies, or of predictions, becomes `Results`.

One row says what one model reached, or what it predicts for one test example:

    task, supervisor, student, method, seed, role, accuracy
    task, supervisor, student, method, seed, role, id, probs, label, group

`role` is supervisor, student or ceiling. A supervisor's row needs no student and method, a ceiling's no supervisor and
method: it then serves all. `probs` are class probabilities (in a .csv a JSON list), `label` is the truth, and `group`,
which may be left out, says which examples belong together. From accuracies alone intervals are over seeds, and the
three roles may have different seeds; from predictions they are over seeds and examples, as for our own runs.
"""

import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from w2s_jax import metrics
from w2s_jax.data import records, sources
from w2s_jax.data.probabilities import probabilities
from w2s_jax.evaluation import across, one_cell, summarise
from w2s_jax.evaluation.one_cell import Measured
from w2s_jax.evaluation.results import Bins, Cell, Comparison, Mean, Results, Summary, TaskFacts
from w2s_jax.evaluation.summarise import Summarised
from w2s_jax.metrics import PGR, ROLES, Agreement, Triple
from w2s_jax.runtime import files, provenance
from w2s_jax.runtime.errors import UserError

TABLE = "imported"  # the copy of the table in a run's folder, with the suffix of the original
KEYS = {"supervisor": ("task", "supervisor"), "student": ("task", "supervisor", "student", "method")}
KEYS["ceiling"] = ("task", "student")
_NO_BINS = Bins((), (), (), ())
_NOT_TOLD = "the imported table has accuracies alone"


class Row(NamedTuple):
    """One row of the table, checked.

    Attributes:
      key: the names that matter for its role.
      content: the record.
    """

    role: str
    key: tuple[str, ...]
    seed: int
    content: Mapping[str, Any]


def read(path: Path) -> list[Row]:
    """The rows of a .csv, .jsonl or .parquet table.

    Raises:
      UserError: no such file, a column is missing, a role is none of the three, or a cell is empty.
    """
    rows = []
    for number, record in enumerate(sources.Local(str(path)).records(), 1):
        role = str(records.field(record, "role"))
        if role not in ROLES:
            raise UserError(f"{path}, row {number}: role {role!r} is none of {', '.join(ROLES)}")
        key = tuple(str(records.field(record, name) or "") for name in KEYS[role])
        if not all(key):
            raise UserError(f"{path}, row {number}: a {role}'s row needs {', '.join(KEYS[role])}")
        rows.append(Row(role, key, records.class_field(record, "seed"), record))
    if not rows:
        raise UserError(f"{path} has no rows")
    return rows


def has_predictions(rows: Sequence[Row]) -> bool:
    """Whether the table is of predictions; else it is of accuracies."""
    return "probs" in rows[0].content


def results(path: Path, name: str) -> Results:
    """The results that a table holds.

    Raises:
      UserError: as `read`, or a row is there twice, no number, or lacks its supervisor or ceiling.
    """
    rows = read(path)
    if has_predictions(rows):
        found = measured(path, rows)
        cells = tuple(item.cell for item in found)
        summarised = summarise.summarise(found)
    else:
        cells, summarised = _of_accuracies(path, rows)
        found = []
    return Results(
        name=name,
        config={"imported": path.name, "sha256": files.sha256_file(path)},
        made=provenance.made(),
        tasks=tuple(_facts(task, found) for task in dict.fromkeys(cell.task for cell in cells)),
        metrics=metrics.facts(),
        cells=cells,
        **summarised._asdict(),
        across=across.over_tasks(summarised.summaries),
        parameters={},
    )


def items(path: Path) -> list[Measured]:
    """Every student and seed of a table, for a comparison; from accuracies alone without predictions."""
    rows = read(path)
    if has_predictions(rows):
        return measured(path, rows)
    return [Measured(cell, None) for cell in _of_accuracies(path, rows)[0]]


def keep(path: Path, folder: Path) -> Path:
    """A copy of the table in the run's folder, so that its methods can be compared later."""
    copy = folder / f"{TABLE}{''.join(path.suffixes[-1:])}"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, copy)
    return copy


def kept(folder: Path) -> Path | None:
    """The table of an imported run; None for one of our own."""
    return next(iter(sorted(folder.glob(f"{TABLE}.*"))), None)


# ---- Accuracies


Accuracies = dict[tuple[str, tuple[str, ...]], dict[int, float]]  # by role and key, then by seed


def accuracies(path: Path, rows: Iterable[Row]) -> Accuracies:
    """The accuracy of every model and seed.

    Raises:
      UserError: a row is there twice, or is no number from 0 to 1.
    """
    found: Accuracies = {}
    for row in rows:
        each = found.setdefault((row.role, row.key), {})
        what = f"{path}: {row.role} {', '.join(row.key)}, seed {row.seed}"
        if row.seed in each:
            raise UserError(f"{what} is there twice")
        try:
            each[row.seed] = float(records.field(row.content, "accuracy"))
        except (TypeError, ValueError):
            each[row.seed] = math.nan
        if not 0 <= each[row.seed] <= 1:
            raise UserError(f"{what}: accuracy {row.content['accuracy']!r} is no number from 0 to 1")
    return found


def between(path: Path, known: Mapping[tuple[str, tuple[str, ...]], Any], key: tuple[str, ...]) -> tuple[Any, Any]:
    """What is known of a student's supervisor and ceiling.

    Raises:
      UserError: the table lacks one of them.
    """
    task, supervisor, student, _ = key
    ends = known.get(("supervisor", (task, supervisor))), known.get(("ceiling", (task, student)))
    for name, end in zip(("supervisor", "ceiling"), ends, strict=True):
        if end is None:
            raise UserError(f"{path} has no {name} for the student {', '.join(key)}")
    return ends


def _of_accuracies(path: Path, rows: Sequence[Row]) -> tuple[tuple[Cell, ...], Summarised]:
    known = accuracies(path, rows)
    students = [key for role, key in known if role == "student"]
    if not students:
        raise UserError(f"{path} has no student's row")
    cells: list[Cell] = []
    summaries: list[Summary] = []
    comparisons: dict[bool, list[Comparison]] = {True: [], False: []}  # with the first method, and without it
    before: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for key in students:
        weak, strong = between(path, known, key)
        reached = known["student", key]
        cells += [_cell(key, seed, {"supervisor": weak, "student": reached, "ceiling": strong}) for seed in reached]
        summaries.append(_summary(key, {"supervisor": weak, "student": reached, "ceiling": strong}))
        earlier = before.setdefault(key[:3], [])
        for place, other in enumerate(earlier):
            comparisons[place == 0].append(_comparison(key, other[3], reached, known["student", other]))
        earlier.append(key)
    compared = (summarise.adjusted(comparisons[first]) for first in (True, False))
    return tuple(cells), Summarised(tuple(summaries), *compared)


def _cell(key: tuple[str, ...], seed: int, by_role: Mapping[str, Mapping[int, float]]) -> Cell:
    scores: dict[str, dict[str, float | None]] = {
        name: {role: by_role[role].get(seed) if name == "accuracy" else None for role in ROLES}
        for name in metrics.METRICS
    }
    task, supervisor, student, method = key
    return Cell(
        task,
        supervisor,
        student,
        method,
        seed,
        scores=scores,
        against_weak=dict.fromkeys(metrics.METRICS),
        agreement=Agreement(None, None, None),
        similarity={"student": None, "ceiling": None},
        reliability=dict.fromkeys(ROLES, _NO_BINS),
        curve=(),
        selected_step=None,
        best_truth_step=None,
        stopping=None,
        stages={},
    )


def _summary(key: tuple[str, ...], by_role: Mapping[str, Mapping[int, float]]) -> Summary:
    values = {role: np.array(list(by_role[role].values())) for role in ROLES}
    each = [values[role] for role in ROLES]
    fixed = metrics.fixed_pgr(*each)
    scores: dict[str, dict[str, Mean]] = {name: {} for name in metrics.METRICS}
    scores["accuracy"] = {role: summarise.mean(each.tolist()) for role, each in values.items()}
    nothing = PGR(None, None, None, _NOT_TOLD, over="seeds")
    task, supervisor, student, method = key
    return Summary(
        task,
        supervisor,
        student,
        method,
        tuple(by_role["student"]),
        scores=scores,
        against_weak={},
        pgr={"accuracy": metrics.bounded(metrics.pgr_of_seeds(*each)), "auroc": nothing},
        fixed_pgr=fixed if fixed.value is not None else None,
        agreement=Agreement(None, None, None),
        similarity={},
        reliability=dict.fromkeys(ROLES, _NO_BINS),
        curve=(),
        stopping={},
        stopping_pgr={},
    )


def _comparison(
    key: tuple[str, ...], baseline: str, ours: Mapping[int, float], theirs: Mapping[int, float]
) -> Comparison:
    seeds = tuple(seed for seed in theirs if seed in ours)
    found = metrics.paired_seeds([ours[seed] for seed in seeds], [theirs[seed] for seed in seeds])
    return summarise.compared((key[0], key[1], key[2]), key[3], baseline, seeds, found)


# ---- Predictions


def measured(path: Path, rows: Sequence[Row]) -> list[Measured]:
    """Every student and seed with the predictions of its three models.

    Raises:
      UserError: an example is there twice or missing, or a label or probabilities are not what they should be.
    """
    known: dict[tuple[str, tuple[str, ...]], dict[int, dict[str, Mapping[str, Any]]]] = {}
    for row in rows:
        examples = known.setdefault((row.role, row.key), {}).setdefault(row.seed, {})
        identifier = str(records.field(row.content, "id"))
        if identifier in examples:
            what = f"{row.role} {', '.join(row.key)}, seed {row.seed}"
            raise UserError(f"{path}: example {identifier!r} of {what}, is there twice")
        examples[identifier] = row.content
    found = []
    for key in [key for role, key in known if role == "student"]:
        weak, strong = between(path, known, key)
        for seed, examples in known["student", key].items():
            by_role = {"supervisor": weak.get(seed), "student": examples, "ceiling": strong.get(seed)}
            test = _triple(path, f"{', '.join(key)}, seed {seed}", by_role)
            found.append(one_cell.on_test(dict(zip(KEYS["student"], key, strict=True)) | {"seed": seed}, {}, test))
    if not found:
        raise UserError(f"{path} has no student's row")
    return found


def _triple(path: Path, what: str, by_role: Mapping[str, Mapping[str, Mapping[str, Any]] | None]) -> Triple:
    student = by_role["student"]
    assert student is not None
    names = sorted(student)
    labels = np.array([records.class_field(student[name], "label") for name in names])
    probs = {}
    for role, examples in by_role.items():
        if examples is None or set(examples) != set(names):
            missing = len(names) if examples is None else len(set(names) ^ set(examples))
            raise UserError(f"{path}: {what}: {missing} examples of student and {role} are not the same")
        wrong = [
            n for n, label in zip(names, labels, strict=True) if records.class_field(examples[n], "label") != label
        ]
        if wrong:
            raise UserError(f"{path}: {what}: student and {role} have different labels of example {wrong[0]!r}")
        probs[role] = np.array([_probs(path, what, name, examples[name]) for name in names], np.float64)
    groups = np.array([str(student[name].get("group") or name) for name in names])
    return Triple(**probs, labels=labels, groups=groups)


def _probs(path: Path, what: str, name: str, record: Mapping[str, Any]) -> Float[np.ndarray, " c"]:
    try:
        found = probabilities(record)
    except UserError as error:
        raise UserError(f"{path}: {what}: {name!r}: {error}") from error
    if found is None:
        raise UserError(f"{path}: {what}: example {name!r} has neither probs nor p")
    return found


def _facts(task: str, found: Sequence[Measured]) -> TaskFacts:
    tests = [item.predictions for item in found if item.cell.task == task and item.predictions is not None]
    if not tests:
        return TaskFacts(task, {}, 0, ())
    labels, n_classes = tests[0].labels, tests[0].student.shape[1]
    balance = np.bincount(labels, minlength=n_classes) / len(labels)
    return TaskFacts(task, {"test": len(labels)}, n_classes, tuple(balance.tolist()))
