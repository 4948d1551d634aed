"""The final tables, for a terminal and as Markdown."""

import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from w2s_jax.evaluation.results import Comparison, Mean, Results, Summary
from w2s_jax.metrics import MetricFacts, PairedDifference, in_words

LEGEND = (
    "Means over seeds ± standard error, on the test split. PGR = (student - supervisor) / (ceiling - supervisor), "
    "with its 95% interval over seeds and examples, or, of one seed, over examples alone. agree: how often the student "
    "predicts what its supervisor does, "
    "where that is right and where it is wrong."
)
MOST_CLASSES = 10  # whose fractions are written out
WIDTH = 100  # of what is not a terminal
LEAST_NAME = 10  # columns of a terminal for a model's name, of which a longer one folds: supervisor
STOPPING_COLUMNS = ("student", "kept", "best on weak labels", "last", "best on ground truth (cheating)")
SECOND_LEGEND = "PGR between fixed baselines, and other metrics"
STOPPING_LEGEND = "Accuracy on validation against ground truth, and PGR there, by what chose the step"
Row = tuple[str, ...]


class Table(NamedTuple):
    """Columns, and rows of as many cells."""

    columns: Row
    rows: list[Row]


class Block(NamedTuple):
    """One task and pair of models.

    Attributes:
      main: accuracy, PGR and agreement of supervisor, students and ceiling.
      notes: why a PGR is undefined, how the methods compare, and what supervisors measured of themselves.
      stopping: the student's validation accuracy by what chose its step; no rows where no student was evaluated more
        than once.
      second: PGR between fixed baselines, and the other metrics.
    """

    title: str
    main: Table
    notes: list[str]
    stopping: Table
    second: Table


def blocks(found: Results) -> Iterator[Block]:
    """A block for each task and pair of models, in the order of the results."""
    for key, group in groupby(found.summaries, lambda s: (s.task, s.supervisor, s.student)):
        summaries = list(group)
        first, metrics = summaries[0], found.metrics
        compared = [c for c in found.comparisons if (c.task, c.supervisor, c.student) == key]
        findings = [f for f in found.findings if f.sentence and (f.task, f.supervisor, f.student) == key]
        models = [(first, "supervisor"), *((s, "student") for s in summaries), (first, "ceiling")]
        yield Block(
            _title(summaries),
            Table(_main_columns(metrics), [_main_row(*model, metrics) for model in models]),
            _undefined(summaries) + [_comparison(c) for c in compared] + [f.sentence for f in findings],
            Table(STOPPING_COLUMNS, [_stopping_row(s) for s in summaries if len(s.curve) > 1]),
            Table(_second_columns(metrics), [_second_row(*model, metrics) for model in models]),
        )


def tables(found: Results, width: int = WIDTH) -> Iterator[Any]:
    """Renderables for rich; where the numbers need more than `width` columns, cells fold between them."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as Printed
    from rich.text import Text

    for block in blocks(found):
        title = Text(f"\n{block.title}", style="bold")
        printed = Printed(box=SIMPLE_HEAD, title=title, title_justify="left", padding=(0, 1, 0, 0))
        fits = _needed(block.main) <= width
        for index, column in enumerate(block.main.columns):
            printed.add_column(column, no_wrap=index > 0 and fits, overflow="fold")
        for row in block.main.rows:
            printed.add_row(*map(Text, row))
        yield printed
        yield from (Text(note) for note in block.notes)
    yield Text(f"\n{LEGEND}", style="dim")


def _needed(table: Table) -> int:
    """Columns of a terminal for every number to stay on one line."""
    longest = [max(map(len, cells)) for cells in zip(table.columns, *table.rows, strict=True)]
    return LEAST_NAME + sum(longest[1:]) + 2 * len(longest) + 1


def markdown(found: Results, lead: Sequence[str] = ()) -> str:
    """The same tables, when training stopped, calibration, and their provenance, after the paragraphs `lead`."""
    parts = [f"# {found.name}", *lead, LEGEND]
    for block in blocks(found):
        parts += [f"## {block.title}", markdown_table(*block.main)]
        if block.notes:
            parts.append("\n".join(f"- {note}" for note in block.notes))
        if block.stopping.rows:
            parts += [f"{STOPPING_LEGEND}:", markdown_table(*block.stopping)]
        parts += [f"{SECOND_LEGEND}:", markdown_table(*block.second)]
    parts += ["## Columns", "\n".join(f"- {column}" for column in columns(found.metrics))]
    parts += ["## Provenance", markdown_table(("what", "value"), made_rows(found))]
    return "\n\n".join(parts) + "\n"


def columns(metrics: Sequence[MetricFacts]) -> list[str]:
    """What the columns of the two tables of metrics are, in a line each."""
    lines = [f"{each.title}: {each.formula}." for each in metrics if each.shown != "results"]
    lines.append("PGR ± sd of seeds: PGR of each seed between fixed baselines, which are means over all seeds.")
    if any(each.against_weak for each in metrics):
        lines.append("weak: of the student, with weak labels in place of ground truth.")
    lines.append("CAPA: similarity with the supervisor beyond what their accuracies imply; 0 is chance.")
    return lines


def made_rows(found: Results) -> list[Row]:
    """The provenance of the results, in words."""
    made = found.made
    devices = made.get("devices", [])
    packages = ", ".join(f"{name} {version}" for name, version in made.get("packages", {}).items() if version)
    rows: list[Row] = [
        ("command", str(made.get("command", ""))),
        ("date", str(made.get("date", ""))),
        ("hardware", f"{made.get('hardware', '')}; {len(devices)} x {devices[0] if devices else 'no device'}"),
        ("time of this command", f"{made.get('seconds', 0):.0f} s"),
        ("peak memory", f"{made.get('peak_memory_bytes', 0) / 2**30:.1f} GiB"),
        ("w2s_jax", f"{made.get('w2s_jax', '')} ({made.get('git') or 'not a checkout'})"),
        ("python", str(made.get("python", ""))),
        ("packages", packages),
    ]
    rows.append(("seeds", ", ".join(map(str, sorted({cell.seed for cell in found.cells})))))
    for task in found.tasks:
        if not task.sizes:
            rows.append((f"task {task.name}", "accuracies alone, imported from a table"))
            continue
        sizes = ", ".join(f"{name} {size}" for name, size in task.sizes.items())
        balance = " / ".join(f"{share:.2f}" for share in task.test_balance[:MOST_CLASSES])
        balance += " / ..." if task.n_classes > MOST_CLASSES else ""
        read = "" if task.reading is None else f"; of {task.reading.describe()}"
        rows.append((f"task {task.name}", f"{task.n_classes} classes ({balance} of test); {sizes}{read}"))
    return rows


def mean(value: Mean | None) -> str:
    """`0.812 ± 0.004`."""
    if value is None:
        return "-"
    return f"{value.value:.3f}" if value.standard_error is None else f"{value.value:.3f} ± {value.standard_error:.3f}"


def number(value: float | None) -> str:
    """`0.812`, or `-`."""
    return "-" if value is None else f"{value:.3f}"


def _title(summaries: Sequence[Summary]) -> str:
    first = summaries[0]
    counts = {len(summary.seeds) for summary in summaries}
    seeds = "1 seed" if counts == {1} else f"{' or '.join(map(str, sorted(counts)))} seeds"
    return f"{first.task}: {first.supervisor} -> {first.student}, {seeds}"


def _main_columns(metrics: Sequence[MetricFacts]) -> Row:
    titles = [each.title for each in metrics if each.shown == "main"]
    return ("model", *titles, "PGR [95%]", "PGR of AUROC [95%]", "agree: right", "wrong")


def _main_row(summary: Summary, role: str, metrics: Sequence[MetricFacts]) -> Row:
    scores = [
        mean(value) if each.standard_error else _value(value, each) or "-"
        for each in metrics
        if each.shown == "main"
        for value in (summary.scores[each.name].get(role),)
    ]
    if role != "student":
        return (role, *scores, "", "", "", "")
    agreement = summary.agreement
    return (
        summary.method,
        *scores,
        in_words(summary.pgr["accuracy"]),
        in_words(summary.pgr["auroc"]),
        number(agreement.where_right),
        number(agreement.where_wrong),
    )


def _second_columns(metrics: Sequence[MetricFacts]) -> Row:
    titles = [each.title for each in metrics if each.shown == "second"]
    weak = [f"weak {each.title}" for each in metrics if each.against_weak]
    return ("model", "PGR ± sd of seeds", *titles, *weak, "CAPA")


def _second_row(summary: Summary, role: str, metrics: Sequence[MetricFacts]) -> Row:
    student, fixed, similarity = role == "student", summary.fixed_pgr, summary.similarity.get(role)
    spread = "" if fixed is None or fixed.deviation is None else f" ± {fixed.deviation:.2f}"
    weak = summary.against_weak if student else {}
    return (
        summary.method if student else role,
        f"{fixed.value:.2f}{spread}" if student and fixed else "",
        *(_value(summary.scores[each.name].get(role), each) for each in metrics if each.shown == "second"),
        *(_value(weak.get(each.name), each) for each in metrics if each.against_weak),
        "" if similarity is None else f"{similarity.value:+.3f}",
    )


def _value(value: Mean | None, metric: MetricFacts) -> str:
    """Without its error, signed where 0 is best; empty where it is undefined."""
    if value is None:
        return ""
    return f"{value.value:+.3f}" if metric.better == "zero" else f"{value.value:.3f}"


def _stopping_row(summary: Summary) -> Row:
    def cell(name: str) -> str:
        pgr = summary.stopping_pgr.get(name)
        return mean(summary.stopping.get(name)) + ("" if pgr is None else f", PGR {pgr:.2f}")

    return (summary.method, *map(cell, ("selected", "weak", "last", "best")))


def _undefined(summaries: Sequence[Summary]) -> list[str]:
    """Where PGR is undefined, once for all methods that have the same reason."""
    reasons: dict[str, list[str]] = {}
    for name, statistic in (("accuracy", "accuracy"), ("AUROC", "auroc")):
        for summary in summaries:
            reason = summary.pgr[statistic].reason
            if reason:
                reasons.setdefault(f"PGR of {name} is undefined: {reason}", []).append(summary.method)
    return [f"{', '.join(methods)}: {reason}" for reason, methods in reasons.items()]


def _comparison(comparison: Comparison) -> str:
    pair = f"{comparison.method} against {comparison.baseline}, accuracy"
    if comparison.difference is None:
        return f"{pair}: undefined: {comparison.reason}"
    return f"{pair}: {in_words_with_p(comparison.difference, comparison)}"


def in_words_with_p(value: float, found: Comparison | PairedDifference, holm: float | None = None) -> str:
    """`+0.010 [+0.002, +0.018], p = 0.02 (Holm 0.06)`, or that one seed has no p-value."""
    holm = found.p_holm if isinstance(found, Comparison) else holm
    low = "-∞" if found.low is None or math.isinf(found.low) else f"{found.low:+.3f}"
    high = "∞" if found.high is None or math.isinf(found.high) else f"{found.high:+.3f}"
    over = "" if found.over == "seeds and examples" else f" over {found.over} alone"
    p = "one seed has no p-value" if found.p is None or holm is None else f"p = {found.p:.2g} (Holm {holm:.2g})"
    return f"{value:+.3f} [{low}, {high}]{over}, {p}"


def markdown_table(header: Sequence[str], rows: Sequence[Row]) -> str:
    """A table of Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
