"""A one-shot evaluator: who works on a method gets no labels but the supervisor's, and few scores.

`seal` splits a finished run into a worker's folder (texts and weak labels) and a vault (truth and fixed baselines),
which belongs on another machine or account than the worker's. `score` is the only way from one to the other. Searching
over scores of one test set is how automated researchers overfit it, so the vault counts them, and keeps a ledger.

Source: Anthropic's automated weak-to-strong researcher (2026), whose workers have no labels and a remote scoring
service; PGR there has fixed baselines, the means of supervisor and ceiling over many seeds.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from w2s_jax import metrics
from w2s_jax.config import Experiment
from w2s_jax.data import formats, records
from w2s_jax.data.task_data import Tasks
from w2s_jax.pipeline import graph
from w2s_jax.pipeline.graph import CellStages
from w2s_jax.pipeline.store import Store
from w2s_jax.runtime import files
from w2s_jax.runtime.errors import UserError
from w2s_jax.supervisors.given import answer

SCHEMA = "w2s_jax/vault/1"
VAULT, LEDGER, WORKER = "vault.json", "ledger.jsonl", "worker.parquet"
SPLITS = ("transfer", "validation", "test")


class Score(NamedTuple):
    """A submission on one task, against ground truth.

    Attributes:
      accuracy: mean over seeds.
      standard_error: of it, over seeds; None for one seed.
      pgr: with fixed baselines; None where it is undefined.
      reason: why; None where it is defined.
      supervisor, ceiling: the fixed baselines.
    """

    task: str
    accuracy: float
    standard_error: float | None
    auroc: float | None
    supervisor: float
    ceiling: float
    pgr: float | None
    reason: str | None


def seal(plan: Experiment, store: Store, worker: Path, vault: Path, budget: int = 1) -> None:
    """Writes a worker's table and the vault of a run whose supervisors and ceilings are finished.

    Args:
      worker: a new folder; its `worker.parquet` has task, seed, split, id, text (two for a comparison) and `weak`, the
        supervisor's probabilities.
      vault: a new folder with the test split's truth.
      budget: how many different submissions may ever be scored.

    Raises:
      UserError: several pairs of models, a folder that is there already, or a stage that is not done.
    """
    if len(plan.supervisors) > 1 or len(plan.students) > 1:
        raise UserError("a vault has one supervisor and one student, whose ceiling is fixed; seal one pair at a time")
    if budget < 1:
        raise UserError(f"the budget must be 1 or more, not {budget}")
    for folder in (worker, vault):
        if folder.exists():
            raise UserError(f"{folder} exists already; name a new folder")
    cells = {(cell.task, cell.seed): cell for cell in graph.cells(plan, Tasks())}
    missing = [
        cell.stages[role].name
        for cell in cells.values()
        for role in ("supervisor", "ceiling")
        if not store.done(cell.stages[role].name)
    ]
    if missing:
        raise UserError(f"{len(missing)} stages are not done, {missing[0]} among them; run the experiment first")
    of_task = {task.title: [cell for cell in cells.values() if cell.task == task.title] for task in plan.tasks}
    tasks = {title: _baselines(of_task[title], store) for title in of_task}
    _write_worker(worker / WORKER, list(cells.values()), store)
    truth = [_truth(cell) for cell in cells.values()]
    files.write_json(vault / VAULT, {"schema": SCHEMA, "budget": budget, "tasks": tasks, "truth": truth})


def score(vault: Path, submission: Path) -> list[Score]:
    """Scores predictions of every test example of every task and seed, and notes it in the vault's ledger.

    The same file scored again gives what the ledger says, and costs nothing.

    Args:
      submission: a table with `task`, `seed`, `id` and `probs` (class probabilities) or `label` (a class).

    Raises:
      UserError: no such vault, the budget is spent, or an example is missing, foreign or there twice.
    """
    import filelock

    content = files.read_json(vault / VAULT)
    if content.get("schema") != SCHEMA:
        raise UserError(f"{vault} has schema {content.get('schema')!r}; this version reads {SCHEMA!r}")
    if not submission.is_file():
        raise UserError(f"{submission} does not exist")
    digest = files.sha256_file(submission)
    with filelock.FileLock(vault / ".lock"):
        ledger = list(_ledger(vault))
        for entry in ledger:
            if entry["sha256"] == digest:
                return [Score(**each) for each in entry["scores"]]
        if len(ledger) >= content["budget"]:
            raise UserError(
                f"the vault's budget of {content['budget']} submissions is spent; its ledger has the scores"
            )
        found = _scores(content, submission, _submitted(submission))
        lines = [*ledger, {"sha256": digest, "scores": [each._asdict() for each in found]}]
        files.write_text(vault / LEDGER, "".join(json.dumps(line) + "\n" for line in lines))
        return found


def _baselines(cells: Sequence[CellStages], store: Store) -> dict[str, Any]:
    """Supervisor and ceiling over all seeds, and why PGR is undefined if it is."""
    measured = []
    for cell in cells:
        test = cell.stages["student"].splits.test
        assert test.labels is not None
        weak, strong = (
            store.read(cell.stages[role].name).predictions.measurable("test", test.ids)
            for role in ("supervisor", "ceiling")
        )
        measured.append(metrics.Triple(weak, weak, strong, test.labels, np.array(test.groups)))
    means = {
        role: float(np.mean([metrics.accuracy(getattr(cell, role), cell.labels) for cell in measured]))
        for role in ("supervisor", "ceiling")
    }
    n_classes = measured[0].supervisor.shape[1]
    return {**means, "reason": metrics.pgr(measured).reason, "seeds": len(measured), "classes": n_classes}


def _truth(cell: CellStages) -> dict[str, Any]:
    test = cell.stages["student"].splits.test
    assert test.labels is not None
    return {"task": cell.task, "seed": cell.seed, "labels": dict(zip(test.ids, test.labels.tolist(), strict=True))}


def _write_worker(path: Path, cells: Sequence[CellStages], store: Store) -> None:
    import pyarrow
    import pyarrow.parquet

    rows: list[dict[str, Any]] = []
    for cell in cells:
        splits = cell.stages["student"].splits
        weak = store.read(cell.stages["supervisor"].name).predictions
        for name in SPLITS:
            split = getattr(splits, name)
            for identifier, text, probs in zip(split.ids, split.texts, weak.for_split(name, split.ids), strict=True):
                texts = [text] if isinstance(text, str) else list(text)
                row = {"task": cell.task, "seed": cell.seed, "split": name, "id": identifier, "text": texts}
                rows.append({**row, "weak": probs.tolist()})
    with files.atomic(path) as temporary:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), temporary)


def _ledger(vault: Path) -> Iterator[dict[str, Any]]:
    if (vault / LEDGER).exists():
        for line in (vault / LEDGER).read_text(encoding="utf-8").splitlines():
            yield json.loads(line)


def _submitted(path: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """What a submission says of each example, by task and seed."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for record in formats.read(path):
        key = records.text_field(record, "task"), records.class_field(record, "seed")
        rows, identifier = found.setdefault(key, {}), records.text_field(record, "id")
        if identifier in rows:
            raise UserError(f"{path}: example {identifier!r} of {key[0]}, seed {key[1]}, is there twice")
        rows[identifier] = record
    return found


def _scores(content: Any, path: Path, submitted: dict[tuple[str, int], dict[str, Any]]) -> list[Score]:
    reached: dict[str, list[tuple[float, float | None]]] = {name: [] for name in content["tasks"]}
    for part in content["truth"]:
        task, seed, truth = part["task"], part["seed"], part["labels"]
        given = submitted.pop((task, seed), {})
        if set(given) != set(truth):
            missing, foreign = len(set(truth) - set(given)), len(set(given) - set(truth))
            raise UserError(
                f"task {task!r}, seed {seed}: of {len(truth)} test examples {missing} are missing, "
                f"and {foreign} are given that are none of them"
            )
        labels = np.array(list(truth.values()))
        classes = content["tasks"][task]["classes"]
        probs = np.stack([answer(path, name, given[name], classes) for name in truth])
        reached[task].append((metrics.accuracy(probs, labels), metrics.auroc(probs, labels)))
    if submitted:
        raise UserError(f"the vault has no task and seed {next(iter(submitted))}")
    return [_summary(task, content["tasks"][task], found) for task, found in reached.items()]


def _summary(task: str, baselines: Any, found: Sequence[tuple[float, float | None]]) -> Score:
    accuracies = np.array([accuracy for accuracy, _ in found])
    areas = [area for _, area in found if area is not None]
    weak, strong, reason = baselines["supervisor"], baselines["ceiling"], baselines["reason"]
    spread = None if len(accuracies) < 2 else float(accuracies.std(ddof=1) / np.sqrt(len(accuracies)))
    return Score(
        task,
        float(accuracies.mean()),
        spread,
        float(np.mean(areas)) if len(areas) == len(found) else None,
        weak,
        strong,
        metrics.pgr_of(weak, float(accuracies.mean()), strong) if reason is None else None,
        reason,
    )
