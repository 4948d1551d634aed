"""Other people's tables as results: accuracies between fixed baselines, and predictions measured as our own."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from tests import synthetic
from w2s_jax import api, cli, metrics, report, view
from w2s_jax.evaluation import compare, imported, storage, summarise
from w2s_jax.runtime.errors import UserError


def write(path: Path, rows: list[dict]) -> Path:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, columns)
        writer.writeheader()
        writer.writerows(rows)
    return path


def reached(role: str, seed: int, accuracy: float, method: str = "", **names: str) -> dict:
    known = {"task": "chat", "supervisor": "small", "student": "large", "method": method}
    known |= {"student": ""} if role == "supervisor" else {"supervisor": ""} if role == "ceiling" else {}
    return {**known, **names, "seed": seed, "role": role, "accuracy": accuracy}


def cached(seed: int = 0) -> list[dict]:
    """A table as Anthropic's automated researcher has: 16 seeds of baselines, 5 of each method."""
    rng = np.random.default_rng(seed)
    rows = [reached("supervisor", s, round(rng.normal(0.528, 0.012), 4)) for s in range(42, 58)]
    rows += [reached("ceiling", s, round(rng.normal(0.7325, 0.0085), 4)) for s in range(42, 58)]
    rows += [reached("student", s, round(rng.normal(0.570, 0.02), 4), "vanilla") for s in range(42, 47)]
    rows += [reached("student", s, round(rng.normal(0.576, 0.02), 4), "confident only") for s in range(42, 47)]
    return rows


def test_accuracies_between_fixed_baselines_with_more_seeds_than_the_method(tmp_path):
    """As they count it: every seed's student between the means of all 16 seeds, mean and standard deviation."""
    rows = cached()
    found = imported.results(write(tmp_path / "aar.csv", rows), "aar")
    of = {role: np.array([r["accuracy"] for r in rows if r["role"] == role]) for role in ("supervisor", "ceiling")}
    weak, strong = of["supervisor"].mean(), of["ceiling"].mean()
    for summary in found.summaries:
        student = np.array([r["accuracy"] for r in rows if r["method"] == summary.method])
        each = (student - weak) / (strong - weak)
        assert (summary.fixed_pgr.value, summary.fixed_pgr.deviation) == pytest.approx((each.mean(), each.std(ddof=1)))
        assert summary.pgr["accuracy"].value == pytest.approx(each.mean())
        assert summary.pgr["accuracy"].over == "seeds"
        assert summary.pgr["accuracy"].low < each.mean() < summary.pgr["accuracy"].high
        assert summary.seeds == tuple(range(42, 47))
        assert (summary.fixed_pgr.supervisor_seeds, summary.fixed_pgr.student_seeds) == (16, 5)
    (comparison,) = found.comparisons
    a, b = (np.array([r["accuracy"] for r in rows if r["method"] == m]) for m in ("confident only", "vanilla"))
    assert (comparison.difference, comparison.over) == (pytest.approx((a - b).mean()), "seeds")
    assert comparison.p == pytest.approx(metrics.paired_tests(a - b).t)
    assert len(found.cells) == 10
    assert found.cells[0].scores["accuracy"]["supervisor"] == rows[0]["accuracy"]


def test_imported_results_are_saved_reported_and_compared_beside_others(tmp_path, capsys):
    table = write(tmp_path / "aar.csv", cached())
    assert cli.main(["import", str(table), "--out", str(tmp_path / "runs")]) == 0
    printed = capsys.readouterr().out
    assert "confident only against vanilla, accuracy: " in printed
    assert "over seeds alone, p = " in printed
    folder = tmp_path / "runs" / "aar"
    assert api.load_results(folder) == storage.load(folder)
    storage.save(synthetic.three_tasks(3), tmp_path / "runs" / "ours")
    page = view.bundle([folder, tmp_path / "runs" / "ours"], tmp_path / "page")[0].read_text()
    assert "confident only" in page
    assert "coin flips" in page
    assert cli.main(["compare", str(folder), "methods", "confident only", "vanilla", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["seeds"] == list(range(42, 47))
    assert found["accuracy"]["over"] == "seeds"
    assert found["pgr"]["reason"] == "it needs predictions, not accuracies alone"


def predictions(items) -> list[dict]:
    rows = []
    for item in items:
        cell, test = item.cell, item.predictions
        names = {"task": cell.task, "supervisor": cell.supervisor, "student": cell.student, "method": cell.method}
        for role in metrics.ROLES:
            if role != "student" and cell.method != "naive":
                continue
            for index, (probs, label) in enumerate(zip(getattr(test, role), test.labels, strict=True)):
                group = f"{cell.seed} {index}" if test.groups is None else str(test.groups[index])
                rows.append(
                    {**names, "seed": cell.seed, "role": role, "id": f"{cell.seed} {index:04d}", "group": group}
                    | {"probs": json.dumps(probs.tolist()), "label": int(label)}
                )
    return rows


def test_predictions_are_measured_as_our_own(tmp_path):
    items = [
        synthetic.cell(0.7, skill, 0.9, n=120, seed=seed, method=name)
        for name, skill in {"naive": 0.78, "better": 0.85}.items()
        for seed in range(3)
    ]
    table = write(tmp_path / "theirs.csv", predictions(items))
    found = imported.results(table, "theirs")
    summaries, comparisons, _ = summarise.summarise(items)
    for ours, theirs in zip(summaries, found.summaries, strict=True):
        assert theirs.scores["accuracy"]["student"] == pytest.approx(ours.scores["accuracy"]["student"])
        assert theirs.pgr["accuracy"].value == pytest.approx(ours.pgr["accuracy"].value)
        assert theirs.agreement == pytest.approx(ours.agreement)
        assert (theirs.curve, theirs.stopping) == ((), {})
    assert found.comparisons[0].difference == pytest.approx(comparisons[0].difference)
    assert found.comparisons[0].p is not None
    assert found.tasks[0].sizes == {"test": 120}
    (compared,) = compare.compare_imported(table, "methods", "better", "naive")
    assert compared.accuracy.value == pytest.approx(comparisons[0].difference)
    assert compared.pgr.value is not None
    assert storage.load(storage.save(found, tmp_path / "run").parent) == found
    assert report.write(found, tmp_path / "run")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[0].update(role="teacher"), "row 1: role 'teacher' is none of supervisor, student, ceiling"),
        (lambda rows: rows[0].update(accuracy="high"), "accuracy 'high' is no number from 0 to 1"),
        (lambda rows: rows[0].update(accuracy=52.8), "accuracy '52.8' is no number from 0 to 1"),
        (lambda rows: rows[0].update(supervisor=""), "a supervisor's row needs task, supervisor"),
        (lambda rows: rows.append(rows[0]), "supervisor chat, small, seed 42 is there twice"),
        (
            lambda rows: rows.__setitem__(slice(0, 16), []),
            "has no supervisor for the student chat, small",
        ),
        (lambda rows: rows.__setitem__(slice(32, None), []), "has no student's row"),
        (lambda rows: [row.pop("seed") for row in rows], "no column 'seed'"),
    ],
)
def test_a_bad_table_is_one_line(tmp_path, change, message):
    rows = cached()
    change(rows)
    with pytest.raises(UserError, match=message):
        imported.results(write(tmp_path / "bad.csv", rows), "bad")


def test_predictions_must_be_of_the_same_examples(tmp_path):
    rows = predictions([synthetic.cell(0.7, 0.8, 0.9, n=20)])
    path = write(tmp_path / "bad.csv", [row for row in rows if row["role"] != "ceiling" or row["id"] != "0 0003"])
    with pytest.raises(UserError, match="1 examples of student and ceiling are not the same"):
        imported.results(path, "bad")
    twice = [*rows, next(row for row in rows if row["role"] == "ceiling")]
    with pytest.raises(UserError, match=r"example '0 0000' of ceiling .* is there twice"):
        imported.results(write(tmp_path / "twice.csv", twice), "bad")
