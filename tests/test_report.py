"""Tables, figures and the page show what the results hold."""

import csv
import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests import synthetic
from w2s_jax import metrics, report, view
from w2s_jax.evaluation import frames, storage
from w2s_jax.evaluation.results import Mean, Results
from w2s_jax.metrics import PGR, Finding, in_words
from w2s_jax.report import figures, html_page, story, table
from w2s_jax.report.figures import curves as curves_figure
from w2s_jax.report.figures import drawing, methods, selection, style
from w2s_jax.runtime import references
from w2s_jax.runtime.errors import UserError
from w2s_jax.view.page import TABS

FIGURES = ("methods", "pgr", "agreement", "accuracy", "curves", "reliability")
needs_matplotlib = pytest.mark.skipif(not figures.available(), reason="matplotlib is not installed")


@pytest.fixture(scope="module")
def found() -> Results:
    return synthetic.three_tasks()


@pytest.fixture(scope="module")
def grown() -> Results:
    return synthetic.scaling(tasks=("cities",), seeds=1)


def page_of(run: Results) -> str:
    return html_page.html([run], figures.draw([run]))


def page(folders: list[Path], out: Path) -> list[Path]:
    """The page as files, without the script and its data."""
    return [path for path in view.bundle(folders, out) if path.name == "index.html" or path.parent.name == "figures"]


def _words(text: str) -> str:
    return re.sub(r"\s+", " ", text)


# ---- Tables


def test_the_table_holds_the_numbers(found: Results) -> None:
    summary = found.summaries[1]
    block = next(table.blocks(found))
    assert block.title == "cities: minilm-l6 -> smollm2-135m, 3 seeds"
    assert [row[0] for row in block.main.rows] == ["supervisor", "naive", "confidence", "ceiling"]
    row = dict(zip(block.main.columns, block.main.rows[2], strict=True))
    student, pgr = summary.scores["accuracy"]["student"], summary.pgr["accuracy"]
    assert student.standard_error is not None
    assert None not in (pgr.value, pgr.low, pgr.high)
    assert row["accuracy"] == f"{student.value:.3f} ± {student.standard_error:.3f}"
    assert row["AUROC"] == f"{summary.scores['auroc']['student'].value:.3f}"
    assert row["PGR [95%]"] == f"{pgr.value:.2f} [{pgr.low:.2f}, {pgr.high:.2f}]"
    assert row["agree: right"] == f"{summary.agreement.where_right:.3f}"
    assert row["wrong"] == f"{summary.agreement.where_wrong:.3f}"


def test_fixed_baselines_calibration_and_similarity_have_a_table(found: Results) -> None:
    block, summary = next(table.blocks(found)), found.summaries[1]
    assert [row[0] for row in block.second.rows] == ["supervisor", "naive", "confidence", "ceiling"]
    row = dict(zip(block.second.columns, block.second.rows[2], strict=True))
    assert summary.fixed_pgr is not None
    assert row["PGR ± sd of seeds"] == f"{summary.fixed_pgr.value:.2f} ± {summary.fixed_pgr.deviation:.2f}"
    assert row["EOE"] == f"{summary.scores['over_confidence']['student'].value:+.3f}"
    assert row["weak ECE"] == f"{summary.against_weak['calibration_error'].value:.3f}"
    assert row["CAPA"] == f"{summary.similarity['student'].value:+.3f}"
    stopped = dict(zip(block.stopping.columns, block.stopping.rows[1], strict=True))
    best = f"{table.mean(summary.stopping['best'])}, PGR {summary.stopping_pgr['best']:.2f}"
    assert stopped["best on ground truth (cheating)"] == best


def test_undefined_pgr_says_why(found: Results) -> None:
    _, coin_flips, _ = table.blocks(found)
    assert coin_flips.main.rows[1][3] == "undefined"
    assert coin_flips.notes[0].startswith("naive, confidence: PGR of accuracy is undefined: ceiling and supervisor")


def test_a_student_below_its_supervisor_has_negative_pgr(found: Results) -> None:
    *_, negations = table.blocks(found)
    assert negations.main.rows[1][3].startswith("-0.")


def test_comparisons_are_shown_with_interval_and_p(found: Results) -> None:
    comparison = found.comparisons[0]
    note = next(table.blocks(found)).notes[-1]
    assert note.startswith(f"confidence against naive, accuracy: {comparison.difference:+.3f} [")
    assert f"(Holm {comparison.p_holm:.2g})" in note


@pytest.mark.parametrize(
    ("pgr", "text"),
    [
        (PGR(0.5, 0.25, 1.125, None), "0.50 [0.25, 1.12]"),
        (PGR(-0.5, None, 0.1, None), "-0.50 [-∞, 0.10]"),
        (PGR(0.5, -0.001, None, None), "0.50 [-0.00, ∞]"),
        (PGR(None, None, None, "why"), "undefined"),
    ],
)
def test_pgr_as_text(pgr: PGR, text: str) -> None:
    assert in_words(pgr) == text


def test_means_as_text() -> None:
    assert [table.mean(value) for value in (Mean(0.5, 0.01), Mean(0.5, None), None)] == ["0.500 ± 0.010", "0.500", "-"]


def test_printed_tables_fit_a_hundred_columns_with_every_number_whole(
    found: Results, capsys: pytest.CaptureFixture[str]
) -> None:
    renamed = tuple(dataclasses.replace(s, method=f"my_very_long_loss_name_{s.method}") for s in found.summaries)
    report.show(dataclasses.replace(found, summaries=renamed))
    printed = capsys.readouterr().out
    assert max(len(line) for line in printed.splitlines()) <= 100
    assert "…" not in printed
    for block in table.blocks(found):
        for row in block.main.rows:
            assert all(cell in printed for cell in row[1:])


def test_a_narrow_terminal_folds_between_numbers_and_not_within(
    found: Results, capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.console import Console

    for width in (72, 80, 99):
        console = Console(width=width)
        for part in table.tables(found, width):
            console.print(part)
        printed = capsys.readouterr().out
        assert max(len(line) for line in printed.splitlines()) <= width
        words = set(printed.split())
        for block in table.blocks(found):
            assert {word for row in block.main.rows for cell in row for word in cell.split()} <= words


def test_markdown_holds_tables_notes_and_what_made_it(found: Results) -> None:
    text = table.markdown(found)
    for block in table.blocks(found):
        assert f"## {block.title}" in text
        for row in (*block.main.rows, *block.stopping.rows, *block.second.rows):
            assert f"| {' | '.join(row)} |" in text
        assert all(note in text for note in block.notes)
    assert "best on ground truth (cheating)" in text
    for made in ("w2s run configs/synthetic.py", "0123456789ab", "jax 0.10.2", "Some CPU, 2 cores", "12 s", "0, 1, 2"):
        assert made in text


def test_a_bar_in_a_name_does_not_break_the_markdown(found: Results) -> None:
    renamed = tuple(dataclasses.replace(s, method="a|b") for s in found.summaries)
    assert "| a\\|b |" in table.markdown(dataclasses.replace(found, summaries=renamed))


def test_what_a_supervisor_measured_of_itself_is_below_its_table(found: Results, tmp_path: Path) -> None:
    where = ("negations", "minilm-l6", "smollm2-135m")
    finding = Finding("sandwich", *where, None, (0, 1, 2), {"misled": 0.1, "model": None}, sentence="Advice helps.")
    silent = dataclasses.replace(finding, kind="audit", sentence="")
    run = dataclasses.replace(found, findings=(finding, silent))
    storage.save(run, tmp_path)
    assert storage.load(tmp_path).findings == run.findings
    *others, negations = table.blocks(run)
    assert negations.notes[-1] == "Advice helps."
    assert not any("Advice helps." in note for block in others for note in block.notes)
    assert "- Advice helps." in table.markdown(run)


OWN_METRIC = """
from w2s_jax.metrics import METRICS, Metric

def sharpness(probs, targets):
    return float(probs.max(axis=-1).mean())

own = METRICS.register(Metric(
    name="sharpness", title="sharp", formula="mean of the largest probability", better="higher", shown={shown!r},
    against_weak=True, function=sharpness,
))
"""


@pytest.mark.parametrize("shown", ["main", "second"])
def test_a_users_own_metric_is_in_results_frame_report_and_docs(
    shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.py").write_text(OWN_METRIC.format(shown=shown))
    with monkeypatch.context() as patch:
        patch.setattr(metrics.METRICS, "_items", dict(metrics.METRICS))
        references.named(str(tmp_path / "own.py"), "own", metrics.Metric)
        measured = [synthetic.cell(0.7, 0.8, 0.9, seed=seed) for seed in range(2)]
        report.write(synthetic.of(measured), tmp_path)
        assert "| `sharpness` | sharp | higher |" in metrics.markdown()
    assert "sharpness" not in metrics.METRICS, "a report needs no code: it has the column all the same"
    run = storage.load(tmp_path)
    expected = [float(item.predictions.student.max(axis=-1).mean()) for item in measured]
    assert [cell.scores["sharpness"]["student"] for cell in run.cells] == expected
    assert [cell.against_weak["sharpness"] for cell in run.cells] == expected
    assert expected[0] in frames.to_table(run)["sharpness"].to_pylist()
    (block,) = table.blocks(run)
    where = block.main if shown == "main" else block.second
    row = dict(zip(where.columns, where.rows[1], strict=True))
    assert row["sharp"] == f"{sum(expected) / 2:.3f}"
    assert "weak sharp" in block.second.columns
    for text in ((tmp_path / "report.md").read_text(), page_of(run)):
        assert "sharp: mean of the largest probability." in text


# ---- Figures


OWN_FIGURE = """
from w2s_jax.report.figures import FIGURES, AcrossFigure, Figure, RunFigure
from w2s_jax.report.figures.style import panels

def draw(found):
    image, (axis,) = panels(1)
    axis.plot([0, 1])
    return Figure("My caption.", "A line.", ("y",), [(0,), (1,)], image)

own = FIGURES.register(RunFigure("own", draw))
FIGURES.register(AcrossFigure("own_across", lambda runs: draw(runs) if len(runs) > 1 else None))
"""


@needs_matplotlib
def test_a_users_own_figure_is_in_the_report(found: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures.FIGURES, "_items", {})
    (tmp_path / "own.py").write_text(OWN_FIGURE)
    references.named(str(tmp_path / "own.py"), "own", figures.RunFigure)
    names = [path.name for path in report.write(found, tmp_path)]
    assert names == ["results.json", "report.md", "own.png", "own.svg", "own.pdf", "own.csv"]
    assert (tmp_path / "own.csv").read_text() == "y\n0\n1\n"
    assert "My caption." in page_of(found)
    assert list(found.plot()) == ["own"]
    both = figures.draw([found, dataclasses.replace(found, name="other")])
    assert list(both.across) == ["own_across"]
    assert [list(drawn) for drawn in both.of_run.values()] == [["own"], ["own"]]


@needs_matplotlib
def test_results_plot_the_figures_of_the_report(found: Results) -> None:
    from matplotlib.figure import Figure

    drawn = found.plot()
    assert tuple(drawn) == FIGURES
    assert all(isinstance(figure, Figure) for figure in drawn.values())


@needs_matplotlib
def test_every_figure_is_made_of_the_results_and_is_the_same_again(found: Results, tmp_path: Path) -> None:
    first, again = report.write(found, tmp_path / "first"), report.write(found, tmp_path / "again")
    names = ["results.json", "report.md"]
    names += [f"{name}{end}" for name in FIGURES for end in (".png", ".svg", ".pdf", ".csv")]
    assert [path.name for path in first] == names
    for one, two in zip(first, again, strict=True):
        assert one.read_bytes() == two.read_bytes()
        assert one.stat().st_size > 200
    for path in first:
        if path.suffix == ".svg":
            ElementTree.parse(path)


@needs_matplotlib
def test_plotted_numbers_are_those_of_the_results(found: Results, tmp_path: Path) -> None:
    report.write(found, tmp_path)
    with (tmp_path / "accuracy.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["task"] == "cities"]
    cell = found.cells[0]
    (plotted,) = (row for row in rows if row["model"] == "naive" and row["seed"] == "0")
    assert float(plotted["accuracy"]) == cell.scores["accuracy"]["student"]
    (ceiling,) = (row for row in rows if row["role"] == "ceiling" and row["seed"] == "mean")
    interval = found.summaries[0].pgr["accuracy"].ceiling
    assert interval is not None
    assert [float(ceiling[name]) for name in ("accuracy", "low", "high")] == pytest.approx(list(interval))


@needs_matplotlib
def test_lines_lie_where_the_results_say(grown: Results) -> None:
    scaling = figures.across([grown])["scaling"]
    lines = [line.get_xydata().tolist() for line in scaling.image.axes[0].lines]
    naive = [s for s in grown.summaries if (s.supervisor, s.method) == ("70m", "naive")]
    (drawn,) = (
        line for line in lines if [y for _, y in line] == [s.scores["accuracy"]["student"].value for s in naive]
    )
    assert [x for x, _ in drawn] == pytest.approx([grown.parameters[s.student] for s in naive], rel=0.1)
    assert [[grown.parameters[s.student], s.scores["accuracy"]["ceiling"].value] for s in naive] in lines


@needs_matplotlib
def test_students_of_unknown_size_stand_in_their_order(grown: Results) -> None:
    unknown = dataclasses.replace(grown, parameters={})
    scaling = figures.across([unknown])["scaling"]
    axis = scaling.image.axes[0]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["160m", "410m", "1b", "1.4b"]


@needs_matplotlib
def test_students_of_the_same_size_stand_beside_each_other(grown: Results) -> None:
    same = dataclasses.replace(grown, parameters=dict.fromkeys(grown.parameters, 10**8))
    scaling = figures.across([same])["scaling"]
    assert scaling.image.axes[0].get_xlabel() == "student"
    assert "up to the layer that is read" not in scaling.caption
    assert "up to the layer that is read" in _words(figures.across([grown])["scaling"].caption)


@needs_matplotlib
def test_each_of_several_runs_has_its_median_over_tasks() -> None:
    run = synthetic.scaling(seeds=1)
    other = dataclasses.replace(run, name="other")
    figure = figures.across([run, other])["pgr_scaling"]
    titles = [axis.get_title() for axis in figure.image.axes]
    assert titles[:2] == ["scaling: median over 2 tasks", "other: median over 2 tasks"]
    assert titles[2:4] == ["scaling: cities", "scaling: reviews"]
    rows = [dict(zip(figure.columns, row, strict=True)) for row in figure.rows]
    shown = {(r["supervisor"], r["student"], r["method"]): r["pgr"] for r in rows if r["task"].startswith("other: med")}
    across = {(each.supervisor, each.student, each.method): each.median_pgr for each in run.across}
    assert shown
    assert shown == {key: across[key] for key in shown}


@needs_matplotlib
def test_agreement_with_a_supervisor_that_is_never_wrong_is_drawn(grown: Results) -> None:
    perfect = tuple(dataclasses.replace(s, agreement=s.agreement._replace(where_wrong=None)) for s in grown.summaries)
    figure = figures.across([dataclasses.replace(grown, summaries=perfect)])["agreement"]
    assert {row[-1] for row in figure.rows} == {None}


@needs_matplotlib
def test_one_student_for_each_supervisor_has_its_agreement_by_task(found: Results) -> None:
    figure = figures.across([found])["agreement"]
    (axis,) = figure.image.axes
    assert [label.get_text().split("\n")[0] for label in axis.get_yticklabels()] == [
        "cities",
        "coin flips",
        "negations",
    ]
    for hollow, part in ((False, "where_right"), (True, "where_wrong")):
        dots = [line for line in axis.lines if line.get_marker() != "None"]
        shown = [float(dot.get_xdata()[0]) for dot in dots if (dot.get_markerfacecolor() == style.PAPER) == hollow]
        assert shown == [getattr(summary.agreement, part) for summary in found.summaries]


@needs_matplotlib
def test_pgr_against_size_has_its_numbers_and_the_median_over_tasks() -> None:
    run = synthetic.scaling(seeds=2)
    figure = figures.across([run])["pgr_scaling"]
    assert [axis.get_title() for axis in figure.image.axes] == ["median over 2 tasks", "cities", "reviews"]
    rows = [dict(zip(figure.columns, row, strict=True)) for row in figure.rows]
    across = {(each.supervisor, each.student, each.method): each.median_pgr for each in run.across}
    summaries = {(s.task, s.supervisor, s.student, s.method): s.pgr["accuracy"].value for s in run.summaries}
    for row in rows:
        key = (row["supervisor"], row["student"], row["method"])
        assert row["pgr"] == (across[key] if row["task"].startswith("median") else summaries[row["task"], *key])
        assert row["student_parameters"] == run.parameters[row["student"]]


@needs_matplotlib
def test_methods_stand_side_by_side_with_every_task(found: Results) -> None:
    figure = methods.compare([found])
    assert figure is not None
    rows = [dict(zip(figure.columns, row, strict=True)) for row in figure.rows]
    for comparison in found.comparisons:
        (row,) = (r for r in rows if (r["task"], r["method"]) == (comparison.task, comparison.method))
        assert (row["accuracy_difference"], row["p_holm"]) == (comparison.difference, comparison.p_holm)
    right = figure.image.axes[1]
    filled = [line for line in right.lines if line.get_marker() == "o" and line.get_markerfacecolor() != style.PAPER]
    assert len(filled) == sum(c.p_holm is not None and c.p_holm < 0.05 for c in found.comparisons)
    diamonds = [float(line.get_xdata()[0]) for line in right.lines if line.get_marker() == "D"]
    assert diamonds == [each.difference for each in found.across if each.difference is not None]
    assert methods.compare([synthetic.of([synthetic.cell(0.7, 0.8, 0.9)])]) is None
    both = methods.compare([found, dataclasses.replace(found, name="other")])
    assert both is not None
    labels = [label.get_text() for label in both.image.axes[0].get_yticklabels()]
    assert labels == ["synthetic: naive", "synthetic: confidence", "other: naive", "other: confidence"]


def test_of_many_summaries_figures_show_the_widest_pair_of_each_task() -> None:
    run = synthetic.scaling(tasks=("a", "b"), seeds=1)
    assert len(run.summaries) == 32
    shown, note = selection.selected(run.summaries)
    assert {(s.task, s.supervisor, s.student) for s in shown} == {("a", "70m", "1.4b"), ("b", "70m", "1.4b")}
    assert "Of 32" in note
    assert selection.selected(synthetic.three_tasks(1).summaries)[1] == ""


def test_the_story_counts_what_was_run_what_is_undefined_and_what_is_sure(found: Results) -> None:
    ran, recovered, compared = story.sentences(found)
    assert ran == (
        "3 tasks (cities, coin flips, negations), 1 pair of models, 2 methods (naive, confidence), 3 seeds: 18 cells."
    )
    assert recovered.startswith("PGR of accuracy is defined in 4 of 6 (task, pair, method)")
    assert recovered.endswith("Undefined in 2 (2: the gap's interval reaches 0).")
    sure = [c for c in found.comparisons if c.p_holm is not None and c.p_holm < 0.05]
    assert f"{sum((c.difference or 0) > 0 for c in sure)} surely better" in compared
    assert f"{3 - len(sure)} not told apart" in compared
    (ranking,) = story.rankings(found)
    assert ranking.pair == "minilm-l6 -> smollm2-135m"
    naive, confidence = (dict(zip(story.COLUMNS, row, strict=True)) for row in ranking.rows)
    assert (naive["tasks"], naive["accuracy"]) == ("2 of 3", "")
    (across,) = (each for each in found.across if each.method == "confidence")
    assert confidence["accuracy"] == f"{across.difference:+.3f}"
    assert confidence["median PGR [95%]"] == f"{across.median_pgr:.2f}"


def test_one_seed_is_said_to_have_no_p_value() -> None:
    run = synthetic.of([synthetic.cell(0.7, 0.8, 0.95), synthetic.cell(0.7, 0.9, 0.95, method="confidence")])
    (block,) = table.blocks(run)
    assert block.title.endswith("1 seed")
    assert block.notes[-1].endswith("] over examples alone, one seed has no p-value")
    *_, untested = story.sentences(run)
    assert untested == "1 comparison of one seed: no p-value, for one seed says nothing of others."


def test_the_story_tells_of_cells_that_are_missing_and_of_one_task() -> None:
    cells = [synthetic.cell(0.7, 0.8, 0.9, seed=seed) for seed in range(3)]
    cells += [synthetic.cell(0.7, 0.8, 0.9, seed=0, method="confidence")]
    run = synthetic.of(cells)
    assert "2 cells missing" in story.sentences(run)[0]
    ((_, (naive, _)),) = story.rankings(run)
    assert naive[1] == in_words(run.summaries[0].pgr["accuracy"])


@needs_matplotlib
@pytest.mark.slow
def test_the_page_has_its_figures_beside_it_as_files(found: Results, tmp_path: Path) -> None:
    for name in ("one", "two"):
        storage.save(dataclasses.replace(found, name=name), tmp_path / name)
    _, *files = page([tmp_path / "one"], tmp_path / "page")
    assert {path.parent for path in files} == {tmp_path / "page" / "figures"}
    assert {path.name for path in files} == {
        f"{name}{end}" for name in FIGURES for end in (".png", ".svg", ".pdf", ".csv")
    }
    first, *files = page([tmp_path / "one", tmp_path / "two"], tmp_path / "both")
    names = {path.name for path in files}
    assert {"one_accuracy.png", "two_accuracy.png", "methods.csv"} <= names
    assert all(path.stat().st_size for path in (first, *files))


@needs_matplotlib
def test_curves_mark_the_step_that_ground_truth_would_have_chosen(found: Results) -> None:
    curves = figures.of_run(found)["curves"]
    crosses = [tuple(line.get_xydata()[0]) for line in curves.image.axes[0].lines if line.get_marker() == "x"]
    cells = [cell for cell in found.cells if cell.task == "cities"]
    assert None not in [cell.stopping for cell in cells]
    assert set(crosses) == {(cell.best_truth_step, cell.stopping.best) for cell in cells if cell.stopping}


@needs_matplotlib
def test_curves_mark_the_step_that_the_weak_labels_chose() -> None:
    chosen = synthetic.cell(0.7, 0.8, 0.9, selected=1).cell
    run = synthetic.of([synthetic.cell(0.7, 0.8, 0.9, selected=1)])
    curves = figures.of_run(run)["curves"]
    rings = [line for line in curves.image.axes[0].lines if line.get_markerfacecolor() == "none"]
    assert [ring.get_xydata().tolist() for ring in rings] == [[[50.0, chosen.curve[1].truth_accuracy]]]
    kept = [dict(zip(curves.columns, row, strict=True)) for row in curves.rows if row[-1]]
    assert {(row["step"], row["against"]) for row in kept} == {(50, "ground truth"), (50, "weak labels")}


@needs_matplotlib
def test_a_probe_evaluated_once_has_no_curves() -> None:
    once = synthetic.of([synthetic.cell(0.7, 0.8, 0.9, steps=(100,))])
    assert list(figures.of_run(once)) == ["accuracy", "reliability"]
    assert figures.across([once]) == {}


@needs_matplotlib
def test_a_probe_beside_finetuned_students_has_no_curve_and_the_caption_says_so() -> None:
    cells = [synthetic.cell(0.7, 0.8, 0.9), synthetic.cell(0.7, 0.8, 0.9, steps=(3,), method="probe")]
    figure = curves_figure.curves(synthetic.of(cells))
    assert figure is not None
    assert figure.caption.endswith("Left out are students that were evaluated once: probe.")
    assert {dict(zip(figure.columns, row, strict=True))["method"] for row in figure.rows} == {"naive"}
    assert figure.image.axes[0].get_xlim()[0] > 3


@needs_matplotlib
def test_the_same_cell_in_two_runs_is_told_apart(found: Results) -> None:
    pgr = figures.across([found, dataclasses.replace(found, name="other")])["pgr"]
    assert {row[0] for row in pgr.rows} >= {"synthetic: cities", "other: cities"}


def test_without_matplotlib_there_are_tables_and_no_figures(
    found: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(drawing, "available", lambda: False)
    assert [path.name for path in report.write(found, tmp_path)] == ["results.json", "report.md"]
    assert re.fullmatch(r"no figures: they need matplotlib.*\n", capsys.readouterr().err)
    with pytest.raises(UserError, match=r"they need matplotlib, which `pip install 'w2s-jax\[plot\]'` adds"):
        found.plot()
    (whole,) = page([tmp_path], tmp_path / "page")
    text = whole.read_text()
    assert "they need matplotlib" in text
    assert "<svg" not in text
    assert "0.51 [" in text or "0.50 [" in text


# ---- The page


class Page(HTMLParser):
    """Checks that every element is closed in order, and collects what the page refers to."""

    VOID = ("meta", "br", "hr", "img", "link", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.drawings: list[dict[str, str | None]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.stack

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.stack.append(tag)
        self._look(tag, dict(attrs))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._look(tag, dict(attrs))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def _look(self, tag: str, attributes: dict[str, str | None]) -> None:
        self.ids += [attributes["id"]] if attributes.get("id") else []
        self.references += [
            value for name, value in attributes.items() if name in ("href", "xlink:href", "src") and value
        ]
        if tag == "svg":
            self.drawings.append(attributes)


@needs_matplotlib
def test_the_page_is_whole_and_needs_no_network(found: Results, grown: Results, tmp_path: Path) -> None:
    for name, run in (("found", found), ("grown", grown)):
        storage.save(run, tmp_path / name)
    out = tmp_path / "out"
    text = page([tmp_path / "found", tmp_path / "grown"], out)[0].read_text()
    read = Page(text)
    assert not re.search(r"https?:|@import|url\((?!#)|//[a-z]", text)
    files = [each for each in read.references if not each.startswith(("#", "data:,"))]
    assert files
    assert all((out / file).exists() for file in files)
    assert len(read.ids) == len(set(read.ids))
    inner = {reference[1:] for reference in read.references if reference.startswith("#")} - set(TABS)
    inner |= set(re.findall(r"url\(#([^)]+)\)", text))
    assert inner <= set(read.ids)
    for run in (found, grown):
        for block in table.blocks(run):
            assert block.title in read.text
            assert all(cell in read.text for row in block.main.rows for cell in row)
            assert all(note in read.text for note in block.notes)
    assert "w2s run configs/synthetic.py" in read.text


@needs_matplotlib
def test_figures_on_the_page_have_words_for_those_who_cannot_see_them(found: Results) -> None:
    drawings = Page(page_of(found)).drawings
    assert len(drawings) == len(FIGURES)
    assert all(drawing["role"] == "img" for drawing in drawings)
    words = " ".join(drawing["aria-label"] or "" for drawing in drawings)
    assert f"naive {found.summaries[0].scores['accuracy']['student'].value:.3f}" in words


def test_names_cannot_break_the_page(found: Results) -> None:
    hostile = '</style><script>alert("1")</script>'
    changed = tuple(dataclasses.replace(s, method=hostile, task=hostile) for s in found.summaries[:1])
    text = page_of(dataclasses.replace(found, name=hostile, summaries=changed, comparisons=(), cells=()))
    assert "<script" not in text
    assert hostile in Page(text).text


@pytest.mark.slow
def test_runs_of_the_same_name_go_by_their_folders(found: Results, tmp_path: Path) -> None:
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        storage.save(found, folder)
    text = page([*folders, folders[0]], tmp_path / "page")[0].read_text()
    headings = re.findall(r'<h2 id="run\d">(.*?)</h2>', text)
    assert headings == [str(folder.resolve()) for folder in folders]


def test_a_folder_that_is_no_run_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no results.json"):
        page([tmp_path], tmp_path / "page")
    assert not (tmp_path / "page").exists()
