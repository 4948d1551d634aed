"""The report of a study as one HTML file, which fetches nothing and holds no script."""

import importlib.resources
from collections.abc import Mapping
from html import escape

from w2s_jax.report import figures as report_figures
from w2s_jax.report import html_page, story
from w2s_jax.report.figures import Figure
from w2s_jax.study import sections
from w2s_jax.study.found import Findings

# Names of rows are long here: they may break, and leave room for the numbers on a phone.
NARROW = """.numbers tbody th { white-space: normal; min-width: 6.5rem; max-width: 16rem; }
@media (max-width: 30rem) { .numbers tbody th { max-width: 34vw; overflow-wrap: anywhere; padding-right: .6rem; } }
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def html(found: Findings, drawn: Mapping[str, Figure]) -> str:
    """The whole page; links to the figures' files lead into the folder beside it."""
    name = escape(found.design.name)
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sections.sentences(found))
    shown = report_figures.Drawn(dict(drawn), {})
    parts = [f"<ul>{items}</ul>"]
    parts += [html_page.as_figure(shown.stem(name, None), figure, f"{name}-") for name, figure in drawn.items()]
    for section in sections.sections(found):
        rows = [story.Ranking("", section.table.rows)]
        parts.append(f"<h2>{escape(section.title)}</h2>")
        parts.append(html_page.numbers(section.table.columns, rows, section.legend))
    hashes = "".join(f"<li>{escape(table)}: {digest}</li>" for table, digest in found.versions.items())
    parts.append(f"<details><summary>Tables that were read (SHA-256)</summary><ul>{hashes}</ul></details>")
    style = importlib.resources.files("w2s_jax.view").joinpath("static", "view.css").read_text(encoding="utf-8")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{name} - w2s study</title><link rel="icon" href="data:,"><style>\n{style}{NARROW}</style></head>\n'
        f"<body>\n<header><h1>Sandwiching study: {name}</h1>"
        f'<p class="quiet">Questions of {escape(found.design.task)}.</p></header>\n'
        f'<main id="panel-report">{"".join(parts)}</main>\n</body>\n</html>\n'
    )
