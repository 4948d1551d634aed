"""Writes and prints the report of a study: report.json, report.md, report.html, figures, and shared.csv."""

import json
from collections.abc import Iterator
from pathlib import Path

from w2s_jax.data.answers import SHARED
from w2s_jax.report import figures as report_figures
from w2s_jax.report.table import markdown_table
from w2s_jax.runtime import files
from w2s_jax.study import figures, page, sections
from w2s_jax.study.found import Findings

FIGURES = "figures"  # as the page names the folder
SCHEMA = "w2s_jax/study-report/1"


def write(found: Findings, folder: Path) -> list[Path]:
    """Writes the report into the study's folder, and returns its files."""
    folder = Path(folder)
    drawn = figures.draw(found)
    written = [folder / name for name in ("report.md", "report.json", "report.html")]
    files.write_text(written[0], markdown(found))
    files.write_text(written[1], json.dumps({"schema": SCHEMA, **found.as_json()}, indent=1, allow_nan=False) + "\n")
    files.write_text(written[2], page.html(found, drawn))
    written.append(folder / SHARED)
    files.write_text(written[-1], "".join(f"{line}\n" for line in ("id", *map(_quoted, found.shared))))
    return written + report_figures.write(report_figures.Drawn(drawn, {}), folder / FIGURES)


def _quoted(identifier: str) -> str:
    """As a cell of a .csv."""
    escaped = identifier.replace('"', '""')
    return f'"{escaped}"'


def markdown(found: Findings) -> str:
    """The report as Markdown."""
    parts = [f"# {found.design.name}", f"A sandwiching study on questions of {found.design.task}."]
    parts.append("\n".join(f"- {sentence}" for sentence in sections.sentences(found)))
    for section in sections.sections(found):
        parts += [f"## {section.title}", markdown_table(*section.table), section.legend]
    if found.versions:
        rows = [(name, digest) for name, digest in found.versions.items()]
        parts += ["## Provenance", markdown_table(("table", "SHA-256"), rows)]
    return "\n\n".join(parts) + "\n"


def text(found: Findings) -> Iterator[object]:
    """Renderables for rich: the sentences, and every table."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    yield from (Text(f"- {sentence}") for sentence in sections.sentences(found))
    for section in sections.sections(found):
        title = Text(f"\n{section.title}", style="bold")
        printed = Table(box=SIMPLE_HEAD, title=title, title_justify="left", padding=(0, 1, 0, 0))
        for column in section.table.columns:
            printed.add_column(column, overflow="fold")
        for row in section.table.rows:
            printed.add_row(*map(Text, row))
        yield printed
        yield Text(section.legend, style="dim")


def show(found: Findings) -> None:
    """Prints the report on standard output."""
    from rich.console import Console

    from w2s_jax.report.table import WIDTH

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=max(WIDTH, 140))
    for part in text(found):
        console.print(part)
