"""The report of a study: what it says, for whom, and that it holds nothing that could run or be fetched."""

import csv
import json
import re
from html.parser import HTMLParser

import pytest

from tests import study_tables
from tests.browser import needs_browser, show
from w2s_jax import cli
from w2s_jax.study import figures, page, report, sections
from w2s_jax.study.design import Design, write_design
from w2s_jax.study.findings import find

NASTY = '<script>alert("x")</script>'


@pytest.fixture(scope="module")
def tables():
    people, simulated = study_tables.drawn(), study_tables.drawn(simulated="tiny <b>", participants=3)
    answers = [answer._replace(condition=NASTY) if answer.condition == "chat" else answer for answer in people.answers]
    return people._replace(answers=[*answers, *simulated.answers])


@pytest.fixture(scope="module")
def found(tables):
    return find(tables.answers, tables.models, tables.key, Design(NASTY, "mmlu_choices"), draws=200)


@pytest.fixture(scope="module")
def written(tables, tmp_path_factory):
    folder = tables.write(tmp_path_factory.mktemp("study"))
    write_design(folder, Design(NASTY, "mmlu_choices"))
    assert cli.main(["study", "report", str(folder), "--expert", "0.95", "--source", "two doctors"]) == cli.OK
    return folder


class Tags(HTMLParser):
    """Every tag of a page, with its attributes."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def test_the_command_writes_every_form(written, capsys):
    names = {path.name for path in written.iterdir()}
    assert {"report.md", "report.json", "report.html", "figures", "shared.csv"} <= names
    stems = {path.stem for path in (written / "figures").iterdir()}
    assert stems == {"accuracy", "session"}
    told = json.loads((written / "report.json").read_text())
    assert (told["schema"], told["design"]["expert"]) == (report.SCHEMA, 0.95)
    assert told["design"]["source"] == "two doctors"
    assert len(told["versions"]) == 3
    with (written / "shared.csv").open() as file:
        assert [each["id"] for each in csv.DictReader(file)] == told["shared"]
    text = (written / "report.md").read_text()
    assert "two doctors" in text
    assert cli.main(["study", "report", str(written)]) == cli.OK
    assert "Is it a sandwich?" in capsys.readouterr().out


def test_a_second_report_of_the_same_answers_is_the_same(written):
    names = ("report.md", "report.json", "report.html", "figures/accuracy.png", "figures/session.svg")
    assert cli.main(["study", "report", str(written), "--expert", "0.95"]) == cli.OK
    before = {name: (written / name).read_bytes() for name in names}
    assert cli.main(["study", "report", str(written), "--expert", "0.95"]) == cli.OK
    assert before == {name: (written / name).read_bytes() for name in before}


def test_what_is_said_agrees_with_the_table(found):
    said = sections.sentences(found)
    assert said[0].startswith("10 people gave 600 answers: 300 under 'alone'")
    assert said[1] == (
        "3 simulated participants (tiny <b>), not people, gave 180 answers: 90 under 'alone', 90 under 'chat'."
    )
    share = next(each for each in found.recovered if not each.played)
    assert any(f"share of the gap recovered {share.share.value:.2f}" in line for line in said)
    told = {(each.model, each.played): each.told for each in found.sandwiches}
    for (model, played), answer in told.items():
        who = f"simulated participants ({played})" if played else "people"
        lines = [line for line in said if f"{model} model" in line and who in line]
        assert len(lines) == 1
        assert lines[0].startswith("A sandwich:") == (answer == "yes")


def test_simulated_participants_are_named_in_every_row_of_theirs(found):
    for section in sections.sections(found):
        names = [row[0] for row in section.table.rows]
        assert any("simulated: tiny <b>" in name for name in names), section.title
    for figure in figures.draw(found).values():
        assert any("simulated: tiny <b>" in str(row[0]) for row in figure.rows)
    assert "Simulated participants are not people" in figures.accuracy(found).caption


def test_published_figures_are_a_column_that_says_whose_they_are(found):
    first, *_ = sections.sections(found)
    assert first.table.columns[-1] == "published, MMLU (CE)"
    column = {row[0]: row[-1] for row in first.table.rows}
    assert column["alone"] == "0.572 (0.06)"
    assert column["alone (simulated: tiny <b>)"] == "-"
    assert column["expert"] == "0.900"
    assert "none of them was measured here" in first.legend
    assert "Bowman et al. 2022" in first.legend


def test_the_page_escapes_all_and_fetches_nothing(found):
    html = page.html(found, figures.draw(found))
    tags = Tags(html).found
    assert not {"script", "iframe", "object", "form", "b"} & {tag for tag, _ in tags}
    assert NASTY not in html
    assert html.count("&lt;script&gt;") > 3
    for tag, attributes in tags:
        assert not any(name.startswith("on") for name in attributes), tag
        for name in ("src", "href", "xlink:href"):
            target = attributes.get(name) or ""
            assert target == "" or target.startswith(("#", "data:", "figures/")), target
    assert "url(http" not in html
    policy = next(attributes["content"] for tag, attributes in tags if "http-equiv" in attributes)
    assert policy.startswith("default-src 'none'")
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(set(ids)) == len(ids)


def test_markdown_tables_keep_their_columns(found):
    for block in re.findall(r"(?:^\|.*\n)+", report.markdown(found), re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1


def test_figures_hold_what_the_table_holds(found):
    drawn = figures.draw(found)
    assert [row[2:5] for row in drawn["accuracy"].rows] == [tuple(row.accuracy) for row in found.rows]
    assert len(drawn["session"].rows) == sum(len(each.quarters) for each in found.pace)


def test_a_folder_without_a_study_is_one_line(tmp_path, capsys):
    config = tmp_path / "study.py"
    config.write_text("study = None")
    assert cli.main(["study", "report", str(config)]) == cli.BAD_INPUT
    assert "study.py is a file; a report is made of a study's folder" in capsys.readouterr().err
    config.unlink()
    assert cli.main(["study", "report", str(tmp_path)]) == cli.BAD_INPUT
    assert "answers.parquet does not exist" in capsys.readouterr().err


@needs_browser
def test_a_browser_shows_it(written):
    shown = show((written / "report.html").as_uri())
    assert "Is it a sandwich?" in shown.text
    assert NASTY in shown.text, "as text"
    assert len(shown.of("svg")) == 2
