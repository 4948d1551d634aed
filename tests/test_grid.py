"""Methods over tasks: the statistics against closed forms, and a page that stays readable with many of them."""

import dataclasses
import itertools

import numpy as np
import pytest
from scipy import stats

from tests import synthetic
from w2s_jax import metrics
from w2s_jax.evaluation import storage
from w2s_jax.evaluation.across import over_tasks
from w2s_jax.evaluation.results import Mean
from w2s_jax.report import figures, html_page
from w2s_jax.report.figures import agreement, pgr_heat_map, scaling, style

TASKS, METHODS = ("a", "b", "c", "d", "e"), ("naive", "better", "worse")


def summaries(tasks=TASKS, methods=METHODS, pairs=(("weak", "strong"),)):
    """Students of known accuracy between a supervisor at .6 and a ceiling at .8; task e has no gap."""
    made = []
    template = synthetic.three_tasks().summaries[0]
    for (supervisor, student), (place, task), method in itertools.product(pairs, enumerate(tasks), methods):
        gain = {"naive": 0.08, "worse": 0.02}.get(method, 0.10) + 0.01 * place
        defined = task != "e"
        recovered = dataclasses.replace(
            template.pgr["accuracy"],
            value=gain / 0.2 if defined else None,
            low=gain / 0.2 - 0.1 if defined else None,
            high=gain / 0.2 + 0.1 if defined else None,
            reason=None if defined else "ceiling and supervisor are not apart",
        )
        accuracy = {"supervisor": 0.6, "student": 0.6 + gain, "ceiling": 0.8}
        made.append(
            dataclasses.replace(
                template,
                task=task,
                supervisor=supervisor,
                student=student,
                method=method,
                scores=template.scores | {"accuracy": {role: Mean(value, 0.01) for role, value in accuracy.items()}},
                pgr={"accuracy": recovered, "auroc": recovered},
            )
        )
    return made


def with_accuracy(summary, means):
    return dataclasses.replace(summary, scores=summary.scores | {"accuracy": summary.scores["accuracy"] | means})


def test_every_task_counts_once():
    found = {each.method: each for each in over_tasks(summaries())}
    gains = 0.08 + 0.01 * np.arange(4)
    assert found["naive"].tasks == TASKS[:4], "a task without a gap has no PGR"
    assert found["naive"].median_pgr == pytest.approx(np.median(gains / 0.2))
    assert (found["naive"].low, found["naive"].high) == (None, None), "four tasks are too few for an interval"
    more = {each.method: each for each in over_tasks(summaries(tasks=("a", "b", "c", "d", "f", "g")))}
    assert 0.4 <= more["naive"].low < more["naive"].median_pgr < more["naive"].high <= 0.65
    assert found["naive"].difference is None
    assert (found["better"].better, found["better"].worse) == (5, 0)
    assert (found["worse"].better, found["worse"].worse) == (0, 5)
    assert found["better"].difference == pytest.approx(0.02)


def test_tests_over_tasks_are_scipys():
    rng = np.random.default_rng(0)
    made = summaries()
    noisy = [with_accuracy(s, {"student": Mean(float(rng.uniform(0.6, 0.8)), 0.01)}) for s in made]
    found = {each.method: each for each in over_tasks(noisy)}
    students = {m: np.array([s.scores["accuracy"]["student"].value for s in noisy if s.method == m]) for m in METHODS}
    gains = students["better"] - students["naive"]
    assert found["better"].tests.t == pytest.approx(stats.ttest_1samp(gains, 0).pvalue)
    assert found["better"].tests.wilcoxon == pytest.approx(stats.wilcoxon(gains).pvalue)
    p = sorted(found[m].tests.wilcoxon for m in ("better", "worse"))
    assert sorted(found[m].p_holm for m in ("better", "worse")) == pytest.approx(
        [min(1, 2 * p[0]), max(2 * p[0], p[1])]
    )


def test_each_test_is_adjusted_by_itself():
    made = summaries(methods=("naive", "better", "worse", "third"))
    found = [each for each in over_tasks(made) if each.tests is not None]
    for name in ("t", "wilcoxon", "sign"):
        p = [getattr(each.tests, name) for each in found]
        adjusted = [getattr(each.tests_holm, name) for each in found]
        if None not in p:
            assert adjusted == pytest.approx(metrics.holm(p))
        else:
            assert [value is None for value in adjusted] == [value is None for value in p]
    assert [each.p_holm for each in found] == [each.tests_holm.wilcoxon for each in found]
    naive = over_tasks(made)[0]
    assert naive.auroc.tasks == naive.tasks
    assert naive.auroc.value == pytest.approx(naive.median_pgr)  # these made-up PGRs are the same for both


def test_one_task_has_nothing_over_tasks():
    assert over_tasks(summaries(tasks=("a",))) == ()


def grown(count):
    """Results of many methods, with across as a run writes it."""
    methods = ("naive", *(f"method {i}" for i in range(count - 1)))
    made = tuple(summaries(methods=methods))
    base = synthetic.three_tasks()
    return dataclasses.replace(base, summaries=made, comparisons=(), across=over_tasks(made))


def test_many_methods_are_colours_with_their_numbers():
    found = grown(20)
    figure = pgr_heat_map.heat_map([found])
    assert len(figure.rows) == 100
    by_cell = {(row[3], row[4]): row for row in figure.rows}
    assert by_cell["naive", "a"][5] == pytest.approx(0.4)
    assert by_cell["naive", "e"][5] is None
    assert "not apart" in by_cell["naive", "e"][8]
    assert list(figures.across([found])) == ["methods", "pgr", "pgr_intervals", "agreement"]
    assert list(figures.across([grown(3)])) == ["methods", "pgr", "agreement"], "a few have a row each"


def test_a_cell_that_two_runs_have_is_there_for_both():
    run = grown(20)
    other = tuple(
        dataclasses.replace(s, pgr={"accuracy": dataclasses.replace(s.pgr["accuracy"], value=0.9)})
        for s in run.summaries
    )
    figure = pgr_heat_map.heat_map([run, dataclasses.replace(run, name="other", summaries=other)])
    (axis,) = figure.image.axes
    names = [label.get_text() for label in axis.get_yticklabels()]
    assert (len(names), names[0], names[20]) == (40, "synthetic: naive", "other: naive")
    assert sum(text.get_text() == "0.90" for text in axis.texts) == 100


SIZES = {"small": 92 * 10**6, "large": 218 * 10**6}


def against_size(methods, supervisors=("weak",)):
    """Results of two students for each supervisor; what their drawn lines are called does not matter."""
    names = ("naive", *(f"method {i}" for i in range(methods - 1)))
    pairs = tuple(itertools.product(supervisors, SIZES))
    made = tuple(summaries(tasks=("a", "b"), methods=names, pairs=pairs))
    base = synthetic.three_tasks()
    return dataclasses.replace(
        base, summaries=made, comparisons=(), across=over_tasks(made), parameters=SIZES, cells=()
    )


@pytest.mark.parametrize(
    ("methods", "supervisors"), [(31, ("weak",)), (31, ("v", "w", "weak")), (9, tuple("abcdefgh"))]
)
def test_students_stand_at_their_size_however_many_lines_there_are(methods, supervisors):
    run = against_size(methods, supervisors)
    whole = np.log(SIZES["large"] / SIZES["small"])
    for figure in (scaling.scaling([run]), scaling.pgr_scaling([run]), agreement.agreement([run])):
        for axis in figure.image.axes:
            lines = [line for line in axis.lines if line.get_marker() not in ("None", "D")]
            assert lines
            for line in lines:
                (small, large), limits = np.log(line.get_xdata()), np.log(axis.get_xlim())
                assert abs(small - np.log(SIZES["small"])) <= 0.0301 * whole
                assert abs(large - np.log(SIZES["large"])) <= 0.0301 * whole
                assert limits[0] < small < large < limits[1]


def test_every_method_against_size_is_told_apart_and_the_caption_names_the_others():
    figure = scaling.scaling([against_size(31)])
    drawn = {row[3] for row in figure.rows}
    lines = [line for line in figure.image.axes[0].lines if line.get_marker() not in ("None", "D")]
    looks = {(line.get_color(), line.get_marker()) for line in lines}
    assert len(drawn) == len(lines) == len(looks) == len(style.COLOURS)
    assert "25 of 31 methods (method 5; " in figure.caption
    assert all(f"method {i}" in figure.caption for i in range(5, 30))
    figure = scaling.pgr_scaling([against_size(31, ("v", "w", "weak"))])
    lines = [line for line in figure.image.axes[0].lines if line.get_marker() != "None"]
    assert len({(line.get_color(), line.get_marker()) for line in lines}) == len(lines) == 12
    assert "27 of 31 methods" in figure.caption
    assert "2 of 8 supervisors (g; h)" in scaling.scaling([against_size(2, tuple("abcdefgh"))]).caption
    assert "Left out" not in scaling.scaling([against_size(4)]).caption


def test_where_colours_stand_for_pgr_its_intervals_are_folded_below():
    run = grown(20)
    figure = figures.across([run])["pgr_intervals"]
    (axis,) = figure.image.axes
    bars = [list(line.get_xdata()) for line in axis.lines if line.get_marker() == "None"]
    first = run.summaries[0].pgr["accuracy"]
    assert [first.low, first.high] in [pytest.approx(bar) for bar in bars]
    assert "the first 6 of 20 methods" in figure.caption
    page = html_page.html([run], figures.draw([run]))
    assert page.count(f"<details><summary>{figure.folded}</summary><figure>") == 1


def test_a_page_of_many_methods_begins_with_the_ranking_and_folds_the_rest():
    run = grown(20)
    page = html_page.html([run], figures.draw([run]))
    assert page.index("median PGR [95%]") < page.index("<details>")
    assert page.count("<details><summary>") == 5 + 1 + 1 + 1  # tasks, intervals, columns, config
    assert "http" not in page.replace("http://www.w3.org", "")


def test_across_survives_a_file(tmp_path):
    found = grown(4)
    storage.save(found, tmp_path)
    assert storage.load(tmp_path).across == found.across
