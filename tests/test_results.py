"""Results: what is measured, what is written, and that nothing else is read."""

import dataclasses
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sklearn_metrics

from tests import synthetic
from w2s_jax import metrics
from w2s_jax.evaluation import one_cell, results, storage, summarise
from w2s_jax.evaluation.one_cell import Measured
from w2s_jax.evaluation.results import Results
from w2s_jax.runtime.errors import UserError


@pytest.fixture(scope="module")
def found() -> Results:
    return synthetic.three_tasks()


@pytest.fixture(scope="module")
def naive() -> list[Measured]:
    return [synthetic.cell(0.70, 0.78, 0.85, seed=seed) for seed in range(3)]


@pytest.mark.parametrize("role", metrics.ROLES)
def test_scores_are_those_of_scikit_learn(naive: list[Measured], role: str) -> None:
    cell, predictions = naive[0].cell, naive[0].predictions
    probs, labels = getattr(predictions, role), predictions.labels
    assert cell.scores["accuracy"][role] == sklearn_metrics.accuracy_score(labels, probs.argmax(-1))
    assert cell.scores["auroc"][role] == pytest.approx(sklearn_metrics.roc_auc_score(labels, probs[:, 1]))
    assert cell.scores["log_loss"][role] == pytest.approx(sklearn_metrics.log_loss(labels, probs))


def test_agreement_is_split_by_whether_the_supervisor_is_right(naive: list[Measured]) -> None:
    cell, predictions = naive[0].cell, naive[0].predictions
    weak, strong = predictions.supervisor.argmax(-1), predictions.student.argmax(-1)
    right = weak == predictions.labels
    assert cell.agreement.overall == pytest.approx((weak == strong).mean())
    assert cell.agreement.where_right == pytest.approx((weak == strong)[right].mean())
    assert cell.agreement.where_wrong == pytest.approx((weak == strong)[~right].mean())


def test_the_curve_is_measured_against_weak_labels_and_ground_truth() -> None:
    labels, weak = np.array([0, 1, 1, 0]), np.array([0, 1, 0, 1])
    curve = np.eye(2)[np.stack([labels, weak])]
    cell = one_cell.measure(
        names={"task": "t", "supervisor": "a", "student": "b", "method": "naive", "seed": 0},
        stages={},
        test=synthetic.cell(0.7, 0.8, 0.9, n=20).predictions,
        weak_validation=np.eye(2)[weak],
        ceiling_validation=np.eye(2)[[0, 1, 1, 1]],
        truth_validation=labels,
        steps=[10, 20],
        curve=curve,
        selected=1,
    ).cell
    assert [(p.step, p.truth_accuracy, p.weak_accuracy) for p in cell.curve] == [(10, 1.0, 0.5), (20, 0.5, 1.0)]
    assert [(p.truth_auroc, p.weak_auroc) for p in cell.curve] == [(1.0, 0.5), (0.5, 1.0)]
    assert (cell.selected_step, cell.best_truth_step) == (20, 10)


def test_what_chooses_the_step_has_its_three_numbers_and_their_pgr(naive: list[Measured]) -> None:
    labels, weak = np.array([0, 1, 1, 0]), np.array([0, 1, 0, 1])
    steps = [np.array(right) for right in ([0, 1, 1, 1], [0, 1, 0, 1], [1, 0, 1, 1])]
    cell = one_cell.measure(
        names={"task": "t", "supervisor": "a", "student": "b", "method": "naive", "seed": 0},
        stages={},
        test=synthetic.cell(0.7, 0.8, 0.9, n=20).predictions,
        weak_validation=np.eye(2)[weak],
        ceiling_validation=np.eye(2)[labels],
        truth_validation=labels,
        steps=[10, 20, 30],
        curve=np.eye(2)[np.stack(steps)],
        selected=2,
    ).cell
    assert cell.stopping == results.Stopping(weak=0.5, last=0.25, best=0.75, supervisor=0.5, ceiling=1.0)
    (summary,), *_ = summarise.summarise(naive)
    assert None not in [item.cell.stopping for item in naive]
    for name in ("weak", "last", "best"):
        three = [
            np.mean([getattr(item.cell.stopping, each) for item in naive]) for each in ("supervisor", name, "ceiling")
        ]
        assert summary.stopping[name].value == pytest.approx(three[1])
        assert summary.stopping_pgr[name] == pytest.approx((three[1] - three[0]) / (three[2] - three[0]))
    assert summary.stopping["best"].value >= max(summary.stopping[name].value for name in ("weak", "last", "selected"))


def test_fixed_baselines_are_means_over_every_seed_of_the_run() -> None:
    naive = [synthetic.cell(0.7, 0.78, 0.85, seed=seed) for seed in range(5)]
    other = [synthetic.cell(0.7, 0.81, 0.85, seed=seed, method="confidence") for seed in (3, 1)]
    (_, summary), *_ = summarise.summarise([*naive, *other])
    weak, ceiling = (np.mean([i.cell.scores["accuracy"][role] for i in naive]) for role in ("supervisor", "ceiling"))
    each = [(item.cell.scores["accuracy"]["student"] - weak) / (ceiling - weak) for item in other]
    assert summary.fixed_pgr is not None
    assert (summary.fixed_pgr.supervisor, summary.fixed_pgr.ceiling) == pytest.approx((weak, ceiling))
    assert summary.fixed_pgr.value == pytest.approx(np.mean(each))
    assert (summary.fixed_pgr.supervisor_seeds, summary.fixed_pgr.student_seeds) == (5, len(summary.seeds))
    assert summary.fixed_pgr.deviation == pytest.approx(np.std(each, ddof=1))


def test_where_pgr_is_undefined_so_are_the_others(found: Results) -> None:
    (flips,) = (s for s in found.summaries if (s.task, s.method) == ("coin flips", "naive"))
    assert flips.fixed_pgr is None
    assert set(flips.stopping_pgr.values()) == {None}


def test_students_are_scored_against_weak_labels_too(naive: list[Measured]) -> None:
    cell, predictions = naive[0].cell, naive[0].predictions
    weak = predictions.supervisor.argmax(-1)
    assert cell.against_weak["accuracy"] == cell.agreement.overall
    assert cell.against_weak["auroc"] == pytest.approx(sklearn_metrics.roc_auc_score(weak, predictions.student[:, 1]))
    expected = metrics.confident_disagreement(predictions.student, predictions.supervisor)
    assert cell.against_weak["confident_disagreement"] == expected
    sure = predictions.student.max(-1)
    backed = np.take_along_axis(predictions.supervisor, predictions.student.argmax(-1)[:, None], 1)[:, 0]
    assert cell.against_weak["over_confidence"] == pytest.approx(np.mean(sure - backed))
    truth = {name: by_role["student"] for name, by_role in cell.scores.items()}
    assert truth["over_confidence"] == pytest.approx(sure.mean() - truth["accuracy"])
    assert -1 <= (cell.similarity["student"] or 0) <= 1
    (summary,), *_ = summarise.summarise(naive)
    assert summary.scores["over_confidence"]["student"].value == pytest.approx(
        np.mean([item.cell.scores["over_confidence"]["student"] for item in naive])
    )


@pytest.mark.slow
def test_a_sure_difference_passes_holm_among_many() -> None:
    skills = {"naive": 0.72, "sure": 0.95, **{f"method {'x' * i}": 0.72 for i in range(60)}}
    cells = [
        synthetic.cell(0.7, skill, 0.95, n=200, steps=(9,), seed=seed, method=name)
        for name, skill in skills.items()
        for seed in range(5)
    ]
    _, comparisons, _ = summarise.summarise(cells)
    (sure,) = (c for c in comparisons if c.method == "sure")
    assert sure.p is not None
    assert sure.p_holm == pytest.approx(61 * sure.p)
    assert sure.p_holm < 0.05


def test_one_seed_has_intervals_over_examples_and_no_p_value() -> None:
    cells = [synthetic.cell(0.7, skill, 0.95, method=name) for name, skill in {"naive": 0.75, "better": 0.9}.items()]
    (naive, _), (comparison,), _ = summarise.summarise(cells)
    assert naive.pgr["accuracy"].over == comparison.over == "examples"
    assert comparison.difference is not None
    assert (comparison.p, comparison.p_holm, comparison.tests) == (None, None, None)
    assert comparison.low < comparison.difference < comparison.high


def test_a_summary_is_the_mean_over_seeds_and_its_standard_error(naive: list[Measured]) -> None:
    (summary,), *_ = summarise.summarise(naive)
    accuracies = [item.cell.scores["accuracy"]["student"] for item in naive]
    assert summary.seeds == (0, 1, 2)
    assert summary.scores["accuracy"]["student"].value == pytest.approx(np.mean(accuracies))
    assert summary.scores["accuracy"]["student"].standard_error == pytest.approx(stats.sem(accuracies))
    weak, student, ceiling = (summary.scores["accuracy"][role].value for role in metrics.ROLES)
    assert summary.pgr["accuracy"].value == pytest.approx((student - weak) / (ceiling - weak))


def test_one_seed_has_no_standard_error(naive: list[Measured]) -> None:
    (summary,), *_ = summarise.summarise(naive[:1])
    assert summary.scores["accuracy"]["student"].standard_error is None


def test_pgr_is_undefined_with_its_reason_or_negative(found: Results) -> None:
    by_task = {summary.task: summary.pgr["accuracy"] for summary in found.summaries}
    assert by_task["coin flips"].value is None
    assert "not apart" in (by_task["coin flips"].reason or "")
    assert by_task["negations"].value is not None
    assert by_task["negations"].value < 0


def test_pooled_reliability_counts_every_seed(naive: list[Measured]) -> None:
    (summary,), *_ = summarise.summarise(naive)
    bins = summary.reliability["student"]
    counts = np.sum([item.cell.reliability["student"].counts for item in naive], axis=0)
    assert bins.counts == tuple(counts)
    probs = np.concatenate([item.predictions.student for item in naive])
    labels = np.concatenate([item.predictions.labels for item in naive])
    last = probs.max(-1) > 0.9
    assert bins.accuracy[-1] == pytest.approx((probs.argmax(-1) == labels)[last].mean())
    assert bins.confidence[0] is None


def test_the_mean_curve_has_the_steps_that_all_seeds_reached() -> None:
    measured = [
        synthetic.cell(0.7, 0.8, 0.9, seed=seed, steps=steps) for seed, steps in enumerate([(10, 20, 30), (10, 20)])
    ]
    (summary,), *_ = summarise.summarise(measured)
    assert [point.step for point in summary.curve] == [10, 20]
    expected = np.mean([item.cell.curve[1].truth_accuracy for item in measured])
    assert summary.curve[1].truth_accuracy == pytest.approx(expected)
    last = np.mean([item.cell.curve[-1].truth_accuracy for item in measured])
    assert summary.stopping["last"].value == pytest.approx(last)


def test_methods_are_compared_with_the_first_and_adjusted_together(found: Results) -> None:
    assert [(c.method, c.baseline) for c in found.comparisons] == [("confidence", "naive")] * 3
    for comparison in found.comparisons:
        of_task = [s for s in found.summaries if s.task == comparison.task]
        accuracy = {s.method: s.scores["accuracy"]["student"].value for s in of_task}
        assert comparison.difference == pytest.approx(accuracy["confidence"] - accuracy["naive"])
    p = [c.p for c in found.comparisons if c.p is not None]
    adjusted = [c.p_holm for c in found.comparisons if c.p_holm is not None]
    order = np.argsort(p)
    assert adjusted[order[0]] == pytest.approx(min(1, 3 * p[order[0]]))
    assert np.array(adjusted)[order].tolist() == sorted(adjusted)


def test_only_seeds_that_both_methods_have_are_compared() -> None:
    naive = [synthetic.cell(0.7, 0.78, 0.85, seed=seed) for seed in (0, 1, 2)]
    other = [synthetic.cell(0.7, 0.81, 0.85, seed=seed, method="confidence") for seed in (2, 1)]
    _, (comparison,), _ = summarise.summarise([*naive, *other])
    assert comparison.seeds == (1, 2)
    accuracy = {(i.cell.method, i.cell.seed): i.cell.scores["accuracy"]["student"] for i in [*naive, *other]}
    each = [accuracy["confidence", seed] - accuracy["naive", seed] for seed in (1, 2)]
    assert comparison.difference == pytest.approx(np.mean(each))


def test_methods_without_a_common_seed_say_so() -> None:
    measured = [synthetic.cell(0.7, 0.8, 0.9, seed=0), synthetic.cell(0.7, 0.8, 0.9, seed=1, method="confidence")]
    _, (comparison,), _ = summarise.summarise(measured)
    assert (comparison.difference, comparison.p_holm) == (None, None)
    assert comparison.reason == "the two methods have no seed in common"


def test_results_come_back_from_json_as_they_were(found: Results, tmp_path: Path) -> None:
    storage.save(found, tmp_path)
    assert storage.load(tmp_path) == found


def test_the_json_is_plain_and_names_every_field(found: Results, tmp_path: Path) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    value = json.loads(storage.save(found, tmp_path).read_text(), parse_constant=refuse)
    assert value["schema"] == "w2s_jax/results/3"
    assert set(value["cells"][0]["agreement"]) == {"overall", "where_right", "where_wrong"}
    assert set(value["summaries"][0]["pgr"]["accuracy"]["gap"]) == {"value", "low", "high"}


def test_an_open_end_of_an_interval_is_null(tmp_path: Path) -> None:
    measured = [synthetic.cell(0.70, 0.78, 0.85, n=40, seed=seed) for seed in range(3)]
    summaries, *_ = summarise.summarise(measured)
    open_ended = dataclasses.replace(summaries[0].pgr["accuracy"], value=1.0, low=-math.inf, high=math.inf)
    bounded = metrics.bounded(open_ended)
    assert (bounded.value, bounded.low, bounded.high) == (1.0, None, None)


def test_documentation_names_every_field() -> None:
    text = (Path(__file__).parent.parent / "docs" / "reference" / "results-schema.md").read_text()
    documented = set(re.findall(r"`(\w+)`", text))
    kinds = (results.Results, results.Cell, results.Summary, results.Comparison, results.TaskFacts, results.Across)
    for kind in (*kinds, metrics.Finding, metrics.MetricFacts):
        assert {field.name for field in dataclasses.fields(kind)} <= documented
    assert metrics.markdown() in text


def test_a_folder_without_results_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no results.json; give the folder of a finished run"):
        storage.load(tmp_path)


def _change(value: Any, path: list[Any], change: Any) -> Any:
    for step in path[:-1]:
        value = value[step]
    if change is None:
        del value[path[-1]]
    else:
        value[path[-1]] = change


@pytest.mark.parametrize(
    ("path", "change", "message"),
    [
        (["schema"], "w2s_jax/results/99", "has schema 'w2s_jax/results/99'; this version reads 'w2s_jax/results/3'"),
        (["schema"], None, "has schema None"),
        (["cells", 0, "seed"], None, r"required field missing @ results.cells\[0\].seed"),
        (["cells", 0, "seed"], "0", r"@ results.cells\[0\].seed"),
        (["cells", 0, "seed"], True, r"@ results.cells\[0\].seed"),
        (["cells", 0, "task"], 3, r"@ results.cells\[0\].task"),
        (["cells", 0, "scores", "accuracy", "student"], "0.5", r"scores\['accuracy'\]\['student'\]"),
        (["cells", 0, "agreement", "overall"], None, r"required field missing @ results.cells\[0\].agreement"),
        (["summaries", 1, "seed"], 1, r"extra fields found \(seed\) @ results.summaries\[1\]"),
        (["summaries"], None, "required field missing @ results.summaries"),
    ],
)
def test_reading_is_strict(found: Results, tmp_path: Path, path: list[Any], change: Any, message: str) -> None:
    file = storage.save(found, tmp_path)
    value = json.loads(file.read_text())
    _change(value, path, change)
    file.write_text(json.dumps(value))
    with pytest.raises(UserError, match=message) as error:
        storage.load(tmp_path)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ['{"schema": "w2s_jax/resu', "[]", "null"])
def test_a_file_that_is_not_results_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / storage.FILE).write_text(text)
    with pytest.raises(UserError, match=r"results.json"):
        storage.load(tmp_path)
