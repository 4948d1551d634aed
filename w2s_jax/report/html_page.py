"""One HTML page over any set of finished runs: it needs no network, follows light and dark, and reads well aloud."""

import base64
import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from w2s_jax.evaluation import storage
from w2s_jax.evaluation.results import Results
from w2s_jax.report import figures, story, table
from w2s_jax.report.figures import Figure, drawing, selection, style

STYLE = """
:root { color-scheme: light dark;
  --ink: #1b1b1b; --paper: #ffffff; --quiet: #5f6368; --line: #d5d8dc; --link: #0b57a4; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --paper: #16181b; --quiet: #a3a8ae; --line: #3b4046; --link: #8ab8ea; }
  svg { filter: brightness(1.3); }
}
body { margin: 0 auto; max-width: 66rem; padding: 1.5rem 1rem 4rem; color: var(--ink); background: var(--paper);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.3rem; margin-top: 3rem; } h3 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
h1, h2, h3 { line-height: 1.25; overflow-wrap: anywhere; }
a { color: var(--link); }
.wide { overflow-x: auto; }
.quiet, figcaption { color: var(--quiet); font-size: .875rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .5rem 0; }
th, td { padding: .3rem .8rem .3rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
.numbers th, .numbers td { white-space: nowrap; }
.numbers thead th { white-space: normal; vertical-align: bottom; }
.numbers th { font-weight: 600; } .numbers tbody th { font-weight: 400; }
.numbers th.group { font-weight: 600; padding-top: .8rem; }
.numbers th:first-child { position: sticky; left: 0; background: var(--paper); }
.made td { overflow-wrap: anywhere; }
figure { margin: 1.5rem 0; } figcaption { max-width: 44rem; }
svg { display: block; }
@media (min-width: 50rem) { svg { zoom: 1.35; max-width: 100%; height: auto; } }
pre { overflow-x: auto; font-size: .8rem; }
"""


def load(folders: Sequence[Path]) -> list[Results]:
    """The finished runs in these folders, each once; runs of the same name go by their folders.

    Raises:
      UserError: a folder has no results.json, or one that this version cannot read.
    """
    unique = list(dict.fromkeys(Path(folder).resolve() for folder in folders))
    return _named_apart([storage.load(folder) for folder in unique], unique)


def html(runs: Sequence[Results], drawn: figures.Drawn) -> str:
    """The page's text: each run's story first, then figures, then the tables of every task and pair of models."""
    title = runs[0].name if len(runs) == 1 else f"{len(runs)} runs"
    across = [_figure(name, figure, "all") for name, figure in drawn.across.items()]
    parts = [f"<h1>Weak-to-strong generalization: {escape(title)}</h1>"]
    if len(runs) > 1:
        parts += [_links(runs), *(f"<h2>{escape(run.name)}</h2>{_story(run)}" for run in runs), _quiet(story.LEGEND)]
        parts += ["<h2>Over all runs</h2>" if across else "", *across]
    else:
        parts += [_story(runs[0]), _quiet(story.LEGEND), "<h2>Figures</h2>" if drawing.available() else "", *across]
    parts.append("" if drawing.available() else "<p>There are no figures: they need matplotlib.</p>")
    for i, run in enumerate(runs):
        parts.append(_details(run, f"run{i}", drawn.of_run[run.name], several=len(runs) > 1))
    parts += ["<h2>Provenance</h2>", *(_made(run) for run in runs)]
    return _document(title, "\n".join(filter(None, parts)))


def _named_apart(runs: Sequence[Results], folders: Sequence[Path]) -> list[Results]:
    if len({run.name for run in runs}) == len(runs):
        return list(runs)
    return [dataclasses.replace(run, name=str(folder)) for run, folder in zip(runs, folders, strict=True)]


def _document(title: str, body: str) -> str:
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)} - w2s</title><style>{STYLE}</style>"
    )
    return f'<!DOCTYPE html>\n<html lang="en">\n<head>{head}</head>\n<body>\n{body}\n</body>\n</html>\n'


def _links(runs: Sequence[Results]) -> str:
    links = "".join(f'<li><a href="#run{i}">{escape(run.name)}</a></li>' for i, run in enumerate(runs))
    return f"<nav><ul>{links}</ul></nav>"


def _story(found: Results) -> str:
    """What was found, in sentences and one table."""
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in story.sentences(found))
    return f"<ul>{items}</ul>\n{_numbers(story.COLUMNS, story.rankings(found), 'Methods over tasks.')}"


def _details(found: Results, anchor: str, drawn: Mapping[str, Figure], *, several: bool) -> str:
    """A run's own figures, and the tables of every task and pair of models, folded where there are many."""
    parts = [f'<h2 id="{anchor}">{escape(found.name)}</h2>'] if several else []
    parts += [_figure(name, figure, anchor) for name, figure in drawn.items()]
    if drawn and all(len(summary.curve) < 2 for summary in found.summaries):
        parts.append(_quiet("There are no learning curves: every student was evaluated once, as probes are."))
    parts += ["<h2>Each task and pair of models</h2>" if not several else "<h3>Each task and pair of models</h3>"]
    explained = "".join(f"<li>{escape(line)}</li>" for line in table.columns(found.metrics))
    parts += [_quiet(table.LEGEND), f"<details><summary>What the columns are</summary><ul>{explained}</ul></details>"]
    folded = selection.many([found])
    for block in table.blocks(found):
        title, body = escape(block.title), _block(block)
        parts.append(f"<details><summary>{title}</summary>{body}</details>" if folded else f"<h3>{title}</h3>{body}")
    return "\n".join(parts)


def _block(block: table.Block) -> str:
    parts = [_table(block.main, "Test split")]
    if block.notes:
        parts.append(f"<ul>{''.join(f'<li>{escape(note)}</li>' for note in block.notes)}</ul>")
    if block.stopping.rows:
        parts.append(_table(block.stopping, table.STOPPING_LEGEND))
    parts.append(_table(block.second, table.SECOND_LEGEND))
    return "\n".join(parts)


def _table(shown: table.Table, caption: str) -> str:
    return _numbers(shown.columns, [story.Ranking("", shown.rows)], caption)


def _made(found: Results) -> str:
    rows = "".join(f'<tr><th scope="row">{escape(k)}</th><td>{escape(v)}</td></tr>' for k, v in table.made_rows(found))
    config = escape(json.dumps(found.config, indent=1))
    return (
        f'<h3>{escape(found.name)}</h3>\n<div class="wide"><table class="made"><tbody>{rows}</tbody></table></div>\n'
        f"<details><summary>Config</summary><pre>{config}</pre></details>"
    )


def _numbers(columns: Sequence[str], groups: Sequence[story.Ranking], caption: str) -> str:
    """A table, whose groups of rows have a heading each where there are several."""
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    bodies = []
    for title, rows in groups:
        span = f'<th scope="rowgroup" class="group" colspan="{len(columns)}">{escape(title)}</th>'
        heading = f"<tr>{span}</tr>" if title else ""
        lines = "".join(
            f'<tr><th scope="row">{escape(name)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in cells)}</tr>'
            for name, *cells in rows
        )
        bodies.append(f"<tbody>{heading}{lines}</tbody>")
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(caption)}"><table class="numbers">'
        f"<thead><tr>{head}</tr></thead>{''.join(bodies)}</table></div>"
        f"{_quiet(caption)}"
    )


def _quiet(text: str) -> str:
    return f'<p class="quiet">{escape(text)}</p>'


def _figure(name: str, figure: Figure, prefix: str) -> str:
    data = base64.b64encode(figures.numbers(figure).encode()).decode()
    link = f'<a download="{escape(name)}.csv" href="data:text/csv;base64,{data}">Numbers as CSV</a>'
    label = escape(f"{figure.caption} {figure.alt}")
    drawing = _inline(figures.svg(figure), f"{prefix}-{name}-").replace(
        "<svg", f'<svg role="img" aria-label="{label}"', 1
    )
    caption = f"<figcaption>{escape(figure.caption)} {link}</figcaption>"
    shown = f'<figure><div class="wide" tabindex="0">{drawing}</div>{caption}</figure>'
    return f"<details><summary>{escape(figure.folded)}</summary>{shown}</details>" if figure.folded else shown


def _inline(svg: str, prefix: str) -> str:
    """Fit for HTML: no prolog or metadata, ids of its own on the page, ink and paper in the colours of the page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg)
    svg = re.sub(r'\bid="', f'id="{prefix}', svg)
    svg = re.sub(r'href="#', f'href="#{prefix}', svg).replace("url(#", f"url(#{prefix}")
    return svg.replace(style.INK, "currentColor").replace(style.PAPER, "var(--paper)").strip()
