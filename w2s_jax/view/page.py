"""The document: a report that needs no script, and the tabs that the script fills."""

from collections.abc import Mapping
from html import escape
from pathlib import Path

from w2s_jax.report import figures, html_page
from w2s_jax.view.content import Content

STATIC = Path(__file__).with_name("static")
TABS = {"report": "Report", "grid": "Grid", "cell": "Cell", "examples": "Examples", "stages": "Stages"}
# Nothing is fetched from elsewhere, and no text of a data set can become a script.
POLICY = (
    "default-src 'none'; script-src 'self' file:; style-src 'self' 'unsafe-inline' file:; img-src 'self' data: file:; "
    "connect-src 'none'; base-uri 'none'; form-action 'none'"
)


def index(content: Content, drawn: figures.Drawn, *, live: bool) -> str:
    """The page's HTML.

    Args:
      live: it is served, so that stages can be asked for again and again.
    """
    runs = content.finished
    names = [run.name for run in content.runs]
    title = names[0] if len(names) == 1 else f"{len(names)} runs"
    going = [name for name in names if name not in {run.name for run in runs}]
    notes = "".join(f"<p>{escape(name)} has no results yet: see its stages.</p>" for name in going)
    report = html_page.html(runs, drawn) if runs else ""
    links = "".join(f'<a href="#{name}" id="tab-{name}">{label}</a>' for name, label in TABS.items())
    panels = f'<section id="panel-report" aria-labelledby="tab-report">{notes}{report}</section>'
    others = [name for name in TABS if name != "report"]  # the script fills and shows them
    panels += "".join(f'<section id="panel-{name}" aria-labelledby="tab-{name}" hidden></section>' for name in others)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)} - w2s</title>"
        '<link rel="stylesheet" href="view.css"><link rel="icon" href="data:,">'
        '<script src="charts.js" defer></script><script src="view.js" defer></script></head>\n'
        f'<body data-live="{"yes" if live else "no"}" data-version="{content.version}">\n'
        f"<header><h1>Weak-to-strong generalization: {escape(title)}</h1>"
        f'<nav aria-label="Views">{links}</nav></header>\n<main>{panels}</main>\n</body>\n</html>\n'
    )


def static() -> Mapping[str, bytes]:
    """The script and the styles, by the names of their files."""
    return {path.name: path.read_bytes() for path in sorted(STATIC.iterdir()) if path.suffix in (".js", ".css")}
