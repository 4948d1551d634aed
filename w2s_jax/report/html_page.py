"""Tables and figures of any set of finished runs as HTML, the first tab of `w2s view`."""

import json
import re
import urllib.parse
from collections.abc import Sequence
from html import escape

from w2s_jax.evaluation.results import Results
from w2s_jax.report import figures, story, table
from w2s_jax.report.figures import Figure, drawing, selection, style

FIGURES = "figures"  # the folder, beside the page, of the figures' files


def html(runs: Sequence[Results], drawn: figures.Drawn) -> str:
    """A part of a page: each run's story first, then figures, then the tables of every task and pair of models."""
    across = [as_figure(drawn.stem(name, None), figure, f"all-{name}") for name, figure in drawn.across.items()]
    parts: list[str] = []
    if len(runs) > 1:
        parts += [_links(runs), *(f"<h2>{escape(run.name)}</h2>{_story(run)}" for run in runs), quiet(story.LEGEND)]
        parts += ["<h2>Over all runs</h2>" if across else "", *across]
    else:
        parts += [_story(runs[0]), quiet(story.LEGEND), "<h2>Figures</h2>" if drawing.available() else "", *across]
    parts.append("" if drawing.available() else "<p>There are no figures: they need matplotlib.</p>")
    for i, run in enumerate(runs):
        parts.append(_details(run, f"run{i}", drawn, several=len(runs) > 1))
    parts += ["<h2>Provenance</h2>", *(_made(run) for run in runs)]
    return "\n".join(filter(None, parts))


def _links(runs: Sequence[Results]) -> str:
    links = "".join(f'<li><a href="#run{i}">{escape(run.name)}</a></li>' for i, run in enumerate(runs))
    return f"<nav><ul>{links}</ul></nav>"


def _story(found: Results) -> str:
    """What was found, in sentences and one table."""
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in story.sentences(found))
    parts = [f"<ul>{items}</ul>", numbers(story.COLUMNS, story.rankings(found), "Methods over tasks.")]
    published = story.published(found)
    if published:
        shown = [story.Ranking("", published)]
        parts.append(numbers(story.PUBLISHED_COLUMNS, shown, "What was published for these, and what was measured."))
    return "\n".join(parts)


def _details(found: Results, anchor: str, all_drawn: figures.Drawn, *, several: bool) -> str:
    """A run's own figures, and the tables of every task and pair of models, folded where there are many."""
    parts = [f'<h2 id="{anchor}">{escape(found.name)}</h2>'] if several else []
    drawn = all_drawn.of_run[found.name]
    parts += [as_figure(all_drawn.stem(name, found.name), figure, f"{anchor}-{name}") for name, figure in drawn.items()]
    if drawn and all(len(summary.curve) < 2 for summary in found.summaries):
        parts.append(quiet("There are no learning curves: every student was evaluated once, as probes are."))
    parts += ["<h2>Each task and pair of models</h2>" if not several else "<h3>Each task and pair of models</h3>"]
    explained = "".join(f"<li>{escape(line)}</li>" for line in table.columns(found.metrics))
    parts += [quiet(table.LEGEND), f"<details><summary>What the columns are</summary><ul>{explained}</ul></details>"]
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
    return numbers(shown.columns, [story.Ranking("", shown.rows)], caption)


def _made(found: Results) -> str:
    rows = "".join(f'<tr><th scope="row">{escape(k)}</th><td>{escape(v)}</td></tr>' for k, v in table.made_rows(found))
    config = escape(json.dumps(found.config, indent=1))
    return (
        f'<h3>{escape(found.name)}</h3>\n<div class="wide"><table class="made"><tbody>{rows}</tbody></table></div>\n'
        f"<details><summary>Config</summary><pre>{config}</pre></details>"
    )


def numbers(columns: Sequence[str], groups: Sequence[story.Ranking], caption: str) -> str:
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
        f"{quiet(caption)}"
    )


def quiet(text: str) -> str:
    return f'<p class="quiet">{escape(text)}</p>'


def as_figure(stem: str, figure: Figure, prefix: str) -> str:
    kinds = {".svg": "SVG", ".pdf": "PDF", ".png": "PNG", ".csv": "its numbers"}
    links = ", ".join(
        f'<a href="{FIGURES}/{escape(urllib.parse.quote(stem))}{suffix}">{kind}</a>' for suffix, kind in kinds.items()
    )
    label = escape(f"{figure.caption} {figure.alt}")
    drawing = _inline(figures.svg(figure), f"{prefix}-").replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
    caption = f"<figcaption>{escape(figure.caption)} Files: {links}.</figcaption>"
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
