"""README and docs: blocks of code run, commands parse, links lead somewhere, no table is out of date."""

import csv
import dataclasses
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from tests import tiny
from w2s_jax import __version__, cli, metrics
from w2s_jax.cli import dispatch
from w2s_jax.data import tasks
from w2s_jax.data.sources import BuiltIn
from w2s_jax.data.tasks import TASKS
from w2s_jax.models import MODELS
from w2s_jax.report.figures import FIGURES
from w2s_jax.runtime import packaged, references

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
README, OWN = ROOT / "README.md", DOCS / "how-to" / "own-data.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
BLOCK = re.compile(r"(<!-- not run: [^>]+ -->\n)?```(python|bash)\n(.*?)```", re.DOTALL)
OUTPUT = re.compile(r"<!-- output: w2s ([^>]+) -->\n```\n(.*?)```", re.DOTALL)
FILE = re.compile(r"# (\w+\.py)\n")

# What stands in for packaged configs, models and tasks: the real ones, but small.
SMALL = """
import dataclasses
from w2s_jax import load_experiment

experiment = load_experiment({real!r})
sizes = dict(pool=None, supervisor=96, transfer=96, validation=32, test=64)
experiment = dataclasses.replace(
    experiment, tasks=tuple(dataclasses.replace(task, **sizes) for task in experiment.tasks[:1]), seeds=(0, 1)
)
"""


class Block(NamedTuple):
    """A block of code; `runs` unless a comment above it says why not."""

    language: str
    code: str
    runs: bool


def blocks(page: Path) -> list[Block]:
    return [Block(language, code, not skip) for skip, language, code in BLOCK.findall(page.read_text())]


def commands(block: Block) -> Iterator[list[str]]:
    """The `w2s` commands of a block, as arguments; others, such as pip and pytest, are not ours to run."""
    for line in block.code.splitlines():
        for part in line.partition("#")[0].split("&&"):
            words = shlex.split(part)
            if words[:1] == ["w2s"]:
                yield words[1:]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).with_suffix("").as_posix()


def is_run(page: Path) -> bool:
    """Whether something of a page is to be run."""
    return any(block.runs and (block.language == "python" or any(commands(block))) for block in blocks(page))


def reviews(count: int) -> list[dict]:
    """Different sentences; the label is whether they hold more good words than bad ones."""
    generator, found = np.random.default_rng(0), {}
    while len(found) < count:
        words = generator.choice(tiny.WORDS, int(generator.integers(4, 9)))
        score = sum(word in tiny.WORDS[:3] for word in words) - sum(word in tiny.WORDS[3:6] for word in words)
        if score:
            found[" ".join(words)] = int(score > 0)
    return [{"text": text, "label": label} for text, label in found.items()]


def write_messages(path: Path) -> None:
    """A table as somebody else's spreadsheet has it."""
    rows = [
        {"message": each["text"], "kind": ("complaint", "praise")[each["label"]], "sender": place % 150}
        for place, each in enumerate(reviews(600))
    ]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="session")
def computed(tmp_path_factory):
    """Stages and features that all pages share, so that none is computed twice."""
    return tmp_path_factory.mktemp("computed")


@pytest.fixture
def folder(tmp_path, monkeypatch, computed):
    """A folder without any results, and with small stand-ins for what the pages name.

    What a page registers is forgotten afterwards.
    """
    (tmp_path / "runs").mkdir()
    for name in ("stages", "features"):
        (computed / name).mkdir(exist_ok=True)
        (tmp_path / "runs" / name).symlink_to(computed / name)
    monkeypatch.chdir(tmp_path)
    for registry in (MODELS, TASKS, FIGURES, metrics.METRICS, cli.COMMANDS):
        monkeypatch.setattr(registry, "_items", dict(registry))
    for name, layers in (("minilm-l6", 1), ("smollm2-135m", 20)):
        del MODELS._items[name]
        tiny.llama(tmp_path / name, layers=layers)
    records = reviews(3600)
    for name in ("cities", "rotten_tomatoes"):
        task = dataclasses.replace(TASKS[name], source=BuiltIn(lambda: records, "made"), format=tasks.labelled_text)
        TASKS._items[name] = task
    (tmp_path / "configs").mkdir()
    small = packaged.configs()
    for name in ("quickstart", "quickstart_probe"):
        small[name] = tmp_path / "configs" / f"{name}.py"
        small[name].write_text(SMALL.format(real=str(ROOT / "configs" / f"{name}.py")))
    monkeypatch.setattr(packaged, "configs", lambda: small)
    return tmp_path


def run(page: Path) -> None:
    """Runs a page's blocks in order, in the current folder."""
    names: dict = {}
    for block in blocks(page):
        if not block.runs:
            continue
        file = FILE.match(block.code)
        if file:
            Path(file[1]).write_text(block.code)
        elif block.language == "python":
            exec(block.code, names)
        else:
            for arguments in commands(block):
                try:
                    code = cli.main(arguments)
                except SystemExit as stop:  # after --fields
                    code = stop.code
                assert code == cli.OK, arguments


def _after_extend(folder, capsys):
    assert (folder / "runs" / "my_measures" / "sharpness.svg").exists()
    references.named("my_command.py", "Hello")
    assert cli.main(["hello", "Ada"]) == cli.OK
    assert "Hello, Ada!" in capsys.readouterr().out


def _after_own_data(folder, capsys):
    found = json.loads((folder / "runs" / "my_messages" / "results.json").read_text())
    assert found["tasks"][0]["classes"] == ["complaint", "praise"]
    assert (folder / "my_messages.lock.json").exists()


def _after_look(folder, capsys):
    assert (folder / "page" / "index.html").exists()


# What pages leave behind, beyond running without an error.
AFTER = {
    "docs/how-to/extend": _after_extend,
    "docs/how-to/own-data": _after_own_data,
    "docs/how-to/look": _after_look,
}


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if is_run(page)], ids=name_of)
def test_every_block_runs(page, folder, computed, capsys):
    write_messages(folder / "messages.csv")
    probe, finished = folder / "runs" / "quickstart_probe", computed / "quickstart_probe"
    runs_it = "w2s run quickstart_probe\n" in page.read_text()
    if runs_it and finished.exists():  # another page ran it: then it is read from disk
        shutil.copytree(finished, probe)
    run(page)
    if runs_it and not finished.exists():
        shutil.copytree(probe, finished)
    if name_of(page) in AFTER:
        AFTER[name_of(page)](folder, capsys)


def test_what_own_data_shows_is_what_is_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_messages(tmp_path / "messages.csv")
    shown = OUTPUT.findall(OWN.read_text())
    assert shown
    for command, output in shown:
        assert cli.main(shlex.split(command)) == cli.OK
        assert capsys.readouterr().out == output


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_parses(page):
    for block in blocks(page):
        for arguments in commands(block):
            options, _ = dispatch.parse(arguments)
            assert options.command == arguments[0]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_that_a_page_writes_are_used(page):
    files = {found[1]: block.code for block in blocks(page) if (found := FILE.match(block.code))}
    for file, code in files.items():
        rest = page.read_text().replace(code, "")
        assert file in rest or re.search(rf"\b{Path(file).stem}[: ]", rest), file


@pytest.mark.parametrize("page", [*PAGES, ROOT / "llms.txt"], ids=name_of)
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        if "://" in target:
            continue
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
            assert anchor in [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings], target


def test_the_readme_begins_with_its_two_commands():
    before, _, after = README.read_text().partition("```bash\n")
    assert len(before.splitlines()) < 12
    first, second = after.splitlines()[:2]
    assert first.startswith("pip install -e '.[plot]' && w2s run configs/quickstart.py")
    assert second.startswith("pip install -e '.[test]' && pytest")


def test_no_table_is_out_of_date():
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "refresh.py", "--check"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr


def test_every_page_is_in_the_site():
    listed = re.findall(r"\S+\.md$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(page.relative_to(DOCS).as_posix() for page in PAGES if page.is_relative_to(DOCS))


def test_lists_are_lists_in_every_markdown():
    """Where a list follows a paragraph without a blank line, GitHub shows a list and the site does not."""
    for page in PAGES:
        text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
        assert not re.search(r"^(?![*#|\d\s-])[^\n]+\n[*-] ", text, re.MULTILINE), page


@pytest.mark.slow
def test_the_site_builds(tmp_path):
    for package in ("mkdocs", "material", "mkdocstrings_handlers"):
        pytest.importorskip(package)
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    for page in PAGES:
        if page.is_relative_to(DOCS):
            html = (tmp_path / page.relative_to(DOCS).with_suffix(".html")).read_text()
            assert not re.search(r"<(script|link|img)[^>]* (src|href)=\"?https?:", html), page
    assert not list(tmp_path.rglob("*.py"))


def test_the_citation_has_this_version():
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text()
