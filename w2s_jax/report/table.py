"""The final tables, for a terminal and as Markdown."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from w2s_jax.evaluation.oversight import AUDITED, Audit, Decomposition, Sandwich
from w2s_jax.evaluation.results import Comparison, Mean, Results, Summary
from w2s_jax.metrics import PGR

LEGEND = (
    "Means over seeds ± standard error, on the test split. PGR = (student - supervisor) / (ceiling - supervisor), "
    "with its 95% interval over seeds and examples. agree: how often the student predicts what its supervisor does, "
    "where that is right and where it is wrong."
)
COLUMNS = ("model", "accuracy", "AUROC", "PGR [95%]", "PGR of AUROC [95%]", "agree: right", "wrong")
MOST_CLASSES = 10  # whose shares are written out
WIDTH = 100  # of a terminal, at least, for every number to stay on one line
STOPPING_COLUMNS = ("student", "kept", "best on weak labels", "last", "best on ground truth (cheating)")
STOPPING_LEGEND = "Accuracy on validation against ground truth, and PGR there, by what chose the step"
MORE_COLUMNS = (
    *("model", "PGR ± sd of seeds", "ECE", "sweep", "EOE", "CDR"),
    *("weak ECE", "weak EOE", "weak CDR", "CAPA"),
)
MORE_LEGEND = (
    "PGR of each seed between fixed baselines (means over all seeds). Calibration error (ECE in ten bins; sweep: in as "
    "many equally full ones as keep accuracy from falling with confidence), signed over-confidence (EOE) and confident "
    "disagreement (CDR, above .95) against ground truth, and against weak labels. CAPA: similarity with the supervisor "
    "beyond what accuracy makes (0: chance)"
)
Row = tuple[str, ...]


class Block(NamedTuple):
    """One task and pair of models.

    Attributes:
      rows: under `COLUMNS`.
      notes: why a PGR is undefined, and how the methods compare.
      stopping: under `STOPPING_COLUMNS`: the student's validation accuracy by what chose its step; empty where no
        student was evaluated more than once.
      more: under `MORE_COLUMNS`: fixed baselines, calibration and similarity; empty in results that lack them.
    """

    title: str
    rows: list[Row]
    notes: list[str]
    stopping: list[Row]
    more: list[Row]


def blocks(found: Results) -> Iterator[Block]:
    """A block for each task and pair of models, in the order of the results."""
    for key, group in groupby(found.summaries, lambda s: (s.task, s.supervisor, s.student)):
        summaries = list(group)
        rows = [_model_row(summaries[0], "supervisor")]
        rows += [_student_row(summary) for summary in summaries]
        rows.append(_model_row(summaries[0], "ceiling"))
        compared = [c for c in found.comparisons if (c.task, c.supervisor, c.student) == key]
        notes = _undefined(summaries) + [_comparison(c) for c in compared]
        notes += [sandwich(each) for each in found.sandwiches if (each.task, each.assisted, each.student) == key]
        notes += [audit(each) for each in found.audits if (each.task, each.errors, each.student) == key]
        parted = (each for each in found.decompositions if (each.task, each.decomposed, each.student) == key)
        notes += map(decomposition, parted)
        stopping = [_stopping_row(summary) for summary in summaries if len(summary.curve) > 1]
        more = [_more_row(summaries[0], "supervisor"), *(_more_row(summary, "student") for summary in summaries)]
        more.append(_more_row(summaries[0], "ceiling"))
        yield Block(_title(summaries), rows, notes, stopping, more if summaries[0].over_confidence else [])


def tables(found: Results, width: int = WIDTH) -> Iterator[Any]:
    """Renderables for rich; in fewer columns than `WIDTH` cells fold between numbers."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    for block in blocks(found):
        title = Text(f"\n{block.title}", style="bold")
        table = Table(box=SIMPLE_HEAD, title=title, title_justify="left", padding=(0, 1, 0, 0))
        for index, column in enumerate(COLUMNS):
            table.add_column(column, no_wrap=index > 0 and width >= WIDTH, overflow="fold")
        for row in block.rows:
            table.add_row(*map(Text, row))
        yield table
        yield from (Text(note) for note in block.notes)
    yield Text(f"\n{LEGEND}", style="dim")


def markdown(found: Results, lead: Sequence[str] = ()) -> str:
    """The same tables, when training stopped, calibration, and what made them, after the paragraphs `lead`."""
    parts = [f"# {found.name}", *lead, LEGEND]
    for block in blocks(found):
        parts += [f"## {block.title}", markdown_table(COLUMNS, block.rows)]
        if block.notes:
            parts.append("\n".join(f"- {note}" for note in block.notes))
        if block.stopping:
            parts += [
                f"{STOPPING_LEGEND}:",
                markdown_table(STOPPING_COLUMNS, block.stopping),
            ]
        if block.more:
            parts += [f"{MORE_LEGEND}:", markdown_table(MORE_COLUMNS, block.more)]
    parts += ["## Made by", markdown_table(("what", "value"), made_rows(found))]
    return "\n\n".join(parts) + "\n"


def made_rows(found: Results) -> list[Row]:
    """What made the results, in words."""
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
        sizes = ", ".join(f"{name} {size}" for name, size in task.sizes.items())
        balance = " / ".join(f"{share:.2f}" for share in task.test_balance[:MOST_CLASSES])
        balance += " / ..." if task.n_classes > MOST_CLASSES else ""
        rows.append((f"task {task.name}", f"{task.n_classes} classes ({balance} of test); {sizes}"))
    return rows


def mean(value: Mean | None) -> str:
    """`0.812 ± 0.004`."""
    if value is None:
        return "-"
    return f"{value.value:.3f}" if value.standard_error is None else f"{value.value:.3f} ± {value.standard_error:.3f}"


def share(value: float | None) -> str:
    """`0.812`, or `-`."""
    return "-" if value is None else f"{value:.3f}"


def pgr(value: PGR) -> str:
    """`0.58 [0.51, 0.66]`, or `undefined`."""
    if value.value is None:
        return "undefined"
    low = "-∞" if value.low is None else f"{value.low:.2f}"
    high = "∞" if value.high is None else f"{value.high:.2f}"
    return f"{value.value:.2f} [{low}, {high}]"


def sandwich(found: Sandwich) -> str:
    """What advice is worth, in a line."""
    order = [
        f"{name} {found.accuracy[name]:.3f}" for name in ("unassisted", "model", "expert") if name in found.accuracy
    ]
    holds = {None: "the model was not asked", True: "a sandwich", False: "no sandwich"}[found.holds]
    line = (
        f"assisted {found.accuracy['assisted']:.3f} beside {found.unassisted} ({', '.join(order)}: {holds}; simulated "
        f"non-expert and expert): (assisted - unassisted) / (expert - unassisted) = {pgr(found.recovered)}; advice "
        f"misled {share(found.misled)} of the rows right without it, and righted {share(found.corrected)} of the wrong"
    )
    if found.argued_wrong is not None:
        right, wrong = share(found.argued_right), share(found.argued_wrong)
        line += f"; accuracy {right} where right was argued for, {wrong} where wrong"
    if not found.policy:
        return line
    said = {name: share(value) for name, value in found.policy.items()}
    return (
        f"{line}; its reward model ({said['accuracy']} accurate) changed {said['changed']} of the arguments, "
        f"which raised the mean reward of those for the right class from {said['right_first']} to "
        f"{said['right']} and for the wrong one from {said['wrong_first']} to {said['wrong']}"
    )


def audit(found: Audit) -> str:
    """What an overseer sees of a policy, in a line."""
    seen = ", ".join(
        f"{name} {share(found.score[name])} of {share(found.accuracy[name])}"
        for name in ("honest", "expert", "taught", "policy")
    )
    return (
        f"{found.method}, as {found.overseer} scores it, of its accuracy: {seen}; AUROC of its doubt for wrong answers "
        f"{share(found.auroc['policy'])} (taught {share(found.auroc['taught'])}); of these {AUDITED:.0%} audited rows "
        f"hold {share(found.caught['policy'])} (taught {share(found.caught['taught'])})"
    )


def decomposition(found: Decomposition) -> str:
    """What taking rows apart is worth, in a line."""
    said = found.accuracy
    line = (
        f"{found.method}: labels of parts {share(said['parts'])} accurate, {found.queries:.2f} of them a row, of rows "
        f"that they are put together to {share(said['decomposed'])}, student {share(said['student'])}"
    )
    if found.pgr is None:
        return line
    beside = f"beside {found.flat}, of whole rows {share(said['flat'])}"
    return f"{line}; {beside}: (student - flat) / (ceiling - flat) = {pgr(found.pgr)}"


def _title(summaries: Sequence[Summary]) -> str:
    first = summaries[0]
    counts = {len(summary.seeds) for summary in summaries}
    seeds = "1 seed" if counts == {1} else f"{' or '.join(map(str, sorted(counts)))} seeds"
    return f"{first.task}: {first.supervisor} -> {first.student}, {seeds}"


def _model_row(summary: Summary, role: str) -> Row:
    return (role, mean(summary.accuracy.get(role)), _value(summary.auroc.get(role)), "", "", "", "")


def _student_row(summary: Summary) -> Row:
    return (
        summary.method,
        mean(summary.accuracy.get("student")),
        _value(summary.auroc.get("student")),
        pgr(summary.pgr["accuracy"]),
        pgr(summary.pgr["auroc"]),
        share(summary.agreement.where_right),
        share(summary.agreement.where_wrong),
    )


def _stopping_row(summary: Summary) -> Row:
    def cell(name: str) -> str:
        pgr = summary.stopping_pgr.get(name)
        return mean(summary.stopping.get(name)) + ("" if pgr is None else f", PGR {pgr:.2f}")

    return (summary.method, *map(cell, ("selected", "weak", "last", "best")))


def _more_row(summary: Summary, role: str) -> Row:
    def signed(value: Mean | None) -> str:
        return "" if value is None else f"{value.value:+.3f}"

    def plain(value: Mean | None) -> str:
        return "" if value is None else share(value.value)

    student, fixed = role == "student", summary.fixed_pgr
    spread = "" if fixed is None or fixed.deviation is None else f" ± {fixed.deviation:.2f}"
    weak = summary.against_weak if student else {}
    return (
        summary.method if student else role,
        f"{fixed.value:.2f}{spread}" if student and fixed else "",
        plain(summary.calibration_error.get(role)),
        plain(summary.sweep_calibration_error.get(role)),
        signed(summary.over_confidence.get(role)),
        plain(summary.confident_disagreement.get(role)),
        plain(weak.get("calibration_error")),
        signed(weak.get("over_confidence")),
        plain(weak.get("confident_disagreement")),
        signed(summary.similarity.get(role)),
    )


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
    return (
        f"{pair}: {comparison.difference:+.3f} [{comparison.low:+.3f}, {comparison.high:+.3f}], "
        f"p = {comparison.p:.2g} (Holm {comparison.p_holm:.2g})"
    )


def _value(value: Mean | None) -> str:
    return share(None if value is None else value.value)


def markdown_table(header: Sequence[str], rows: Sequence[Row]) -> str:
    """A table of Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
