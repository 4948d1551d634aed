"""The final tables, for a terminal and as Markdown."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from w2s_jax.metrics import PGR
from w2s_jax.results import Comparison, Mean, Results, Summary

COLUMNS = ("model", "accuracy", "AUROC", "PGR [95%]", "PGR of AUROC [95%]", "agree: right", "wrong")
LEGEND = (
    "Means over seeds ± standard error, on the test split. PGR = (student - supervisor) / (ceiling - supervisor). "
    "agree: how often the student predicts what its supervisor does, where that is right and where it is wrong."
)
Row = tuple[str, ...]


def blocks(found: Results) -> Iterator[tuple[str, list[Row], list[str]]]:
    """For each task and pair of models: a title, rows under `COLUMNS`, and notes."""
    for (task, supervisor, student), group in groupby(found.summaries, lambda s: (s.task, s.supervisor, s.student)):
        summaries = list(group)
        seeds = len(summaries[0].seeds)
        title = f"{task}: {supervisor} -> {student}, {seeds} seed{'s' if seeds > 1 else ''}"
        rows = [_model_row("supervisor", summaries[0], "supervisor")]
        rows += [_student_row(summary) for summary in summaries]
        rows.append(_model_row("ceiling", summaries[0], "ceiling"))
        notes = [
            f"{summary.method}: PGR ({statistic}) is undefined: {pgr.reason}"
            for summary in summaries
            for statistic, pgr in summary.pgr.items()
            if pgr.reason
        ]
        notes += [
            _comparison(comparison)
            for comparison in found.comparisons
            if (comparison.task, comparison.supervisor, comparison.student) == (task, supervisor, student)
        ]
        yield title, rows, notes


def tables(found: Results) -> Iterator[Any]:
    """Renderables for rich."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    for title, rows, notes in blocks(found):
        table = Table(box=SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", padding=(0, 1, 0, 0))
        for column in COLUMNS:
            table.add_column(column, no_wrap=True)
        for row in rows:
            table.add_row(*row)
        yield table
        yield from (Text(note) for note in notes)
    yield Text(f"\n{LEGEND}", style="dim")


def markdown(found: Results) -> str:
    """The same tables, and what made them."""
    parts = [f"# {found.name}", LEGEND]
    for title, rows, notes in blocks(found):
        parts.append(f"## {title}")
        parts.append(_markdown_table(COLUMNS, rows))
        parts += notes
    parts.append("## Made by")
    parts.append(_markdown_table(("what", "value"), made_rows(found)))
    return "\n\n".join(parts) + "\n"


def made_rows(found: Results) -> list[Row]:
    """What made the results, in words."""
    made = found.made
    packages = ", ".join(f"{name} {version}" for name, version in made.get("packages", {}).items() if version)
    rows = [
        ("command", str(made.get("command", ""))),
        ("date", str(made.get("date", ""))),
        ("hardware", f"{made.get('hardware', '')}; {len(made.get('devices', []))} x {_first(made.get('devices'))}"),
        ("time", f"{made.get('seconds', 0):.0f} s"),
        ("peak memory", f"{made.get('peak_memory_bytes', 0) / 2**30:.1f} GiB"),
        ("w2s_jax", f"{made.get('w2s_jax', '')} ({made.get('git') or 'not a checkout'})"),
        ("python", str(made.get("python", ""))),
        ("packages", packages),
    ]
    for task in found.tasks:
        sizes = ", ".join(f"{name} {size}" for name, size in task.sizes.items())
        rows.append((f"task {task.name}", f"{task.n_classes} classes; {sizes}"))
    return rows


def mean(value: Mean | None) -> str:
    """`0.812 ± 0.004`."""
    if value is None:
        return "-"
    return f"{value.value:.3f}" if value.standard_error is None else f"{value.value:.3f} ± {value.standard_error:.3f}"


def pgr(value: PGR) -> str:
    """`0.58 [0.51, 0.66]`, or `undefined`."""
    if value.value is None:
        return "undefined"
    low, high = (("unbounded" if end is None else f"{end:.2f}") for end in (value.low, value.high))
    return f"{value.value:.2f} [{low}, {high}]"


def _model_row(label: str, summary: Summary, role: str) -> Row:
    return (label, mean(summary.accuracy.get(role)), _value(summary.auroc.get(role)), "", "", "", "")


def _student_row(summary: Summary) -> Row:
    agreement = summary.agreement
    return (
        f"student: {summary.method}",
        mean(summary.accuracy.get("student")),
        _value(summary.auroc.get("student")),
        pgr(summary.pgr["accuracy"]),
        pgr(summary.pgr["auroc"]),
        _share(agreement.where_right),
        _share(agreement.where_wrong),
    )


def _comparison(comparison: Comparison) -> str:
    if comparison.difference is None:
        return f"{comparison.method} against {comparison.baseline}: undefined"
    return (
        f"{comparison.method} against {comparison.baseline}, accuracy: {comparison.difference:+.3f} "
        f"[{comparison.low:+.3f}, {comparison.high:+.3f}], p = {comparison.p:.3g} (Holm {comparison.p_holm:.3g})"
    )


def _value(value: Mean | None) -> str:
    return _share(None if value is None else value.value)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _first(values: Sequence[Any] | None) -> str:
    return str(values[0]) if values else "no device"


def _markdown_table(header: Sequence[str], rows: Sequence[Row]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
