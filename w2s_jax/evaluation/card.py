"""Cards of what is exported: what a model learned from, how good that was, and what it is not for."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from w2s_jax.evaluation.results import Cell, Results, Summary
from w2s_jax.metrics import PGR, in_words
from w2s_jax.models.catalogue import MODELS

ROLES = {
    "supervisor": "a weak supervisor, finetuned on ground truth",
    "student": "a strong student, finetuned on the labels of a weak supervisor",
    "ceiling": "a strong ceiling, finetuned on ground truth",
}


class Subject(NamedTuple):
    """The stage that a card is of.

    Attributes:
      name: of its folder.
      manifest: as the store keeps it.
      base: the model that it started from, as a config names it.
      cells: of a run's results, those that it answers, with its role in them; none of a stage by itself.
      results: that those are of.
    """

    name: str
    manifest: Mapping[str, Any]
    base: str
    cells: Sequence[tuple[str, Cell]]
    results: Results | None


def subject(name: str, manifest: Mapping[str, Any], base: str, results: Results | None) -> Subject:
    """What a run's results say of a stage."""
    cells = results.cells if results else ()
    answers = [(role, cell) for cell in cells for role, stage in cell.stages.items() if stage == name]
    return Subject(name, manifest, base, answers, results)


def model_card(of: Subject, *, adapters: bool) -> str:
    """A README.md with the front matter that the Hub reads."""
    licence = MODELS[of.base].licence if of.base in MODELS else None
    front = ["---", "library_name: " + ("peft" if adapters else "transformers")]
    if re.fullmatch(r"[\w.-]+/[\w.-]+", of.base) and not Path(of.base).exists():
        front.append(f"base_model: {of.base}")
    if licence == "Apache-2.0":
        front.append("license: apache-2.0")
    front += ["tags:", "- weak-to-strong-generalization", "- w2s_jax", "---"]
    role = of.cells[0][0] if of.cells else of.manifest["identity"]["stage"]
    parts = ["\n".join(front), f"# {of.name}", f"This is {ROLES.get(role, role)}, made with w2s_jax from {of.base}."]
    parts += _measured(of)
    parts += _learned(of)
    limits = (
        "It was trained for an experiment on weak-to-strong generalization, on one task, and was not tested for "
        "anything else. Its labels, and what it learned from them, may be wrong in ways that the figures above do not "
        "show."
    )
    terms = licence or "not known here: ask whoever published it"
    parts += ["## Limits", limits, "## Licence of the base model", f"{terms}."]
    return _public("\n\n".join(parts)) + "\n"


def _measured(of: Subject) -> Iterator[str]:
    if of.results is None or not of.cells:
        return
    yield "## How good it is"
    yield "Accuracy on the test split against ground truth, of this seed; PGR over all seeds of the run."
    header = ("task", "seed", "supervisor", "method", "weak labels", "this model", "ceiling", "PGR [95%]")
    rows = [_row(of.results, role, cell) for role, cell in of.cells]
    lines = [header, ["---"] * len(header), *dict.fromkeys(rows)]
    yield "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _public(text: str) -> str:
    """Without the folders of whoever made it."""
    return re.sub(r"(?<![\w.:/])/[^\s,;'\"`]*/", "", text)


def _row(results: Results, role: str, cell: Cell) -> tuple[str, ...]:
    accuracy = {name: "-" if value is None else f"{value:.3f}" for name, value in cell.scores["accuracy"].items()}
    if role != "student":
        return (
            cell.task,
            str(cell.seed),
            cell.supervisor if role == "supervisor" else "",
            "",
            "",
            accuracy[role],
            "",
            "",
        )
    pgr: PGR = next(s for s in results.summaries if _is_of(s, cell)).pgr["accuracy"]
    words = in_words(pgr) if pgr.reason is None else f"undefined: {pgr.reason}"
    figures = (accuracy["supervisor"], accuracy["student"], accuracy["ceiling"], words)
    return (cell.task, str(cell.seed), cell.supervisor, cell.method, *figures)


def _is_of(summary: Summary, cell: Cell) -> bool:
    names = ("task", "supervisor", "student", "method")
    return all(getattr(summary, name) == getattr(cell, name) for name in names)


def _learned(of: Subject) -> Iterator[str]:
    identity, made = of.manifest["identity"], of.manifest["made"]
    rows = [
        ("stage", of.name),
        ("seed", str(identity.get("seed"))),
        ("training examples (SHA-256)", str(identity.get("train"))),
        ("validation examples (SHA-256)", str(identity.get("validation"))),
        *((f"labels of {name} (SHA-256)", sha256) for name, sha256 in made.get("read", {}).items()),
        ("weights of the base model (SHA-256)", str(identity["learner"]["model"])),
        ("command", str(made.get("command", ""))),
        ("date", str(made.get("date", ""))),
        ("w2s_jax", f"{made.get('w2s_jax', '')} ({made.get('git') or 'not a checkout'})"),
    ]
    if of.results is not None:
        for task in of.results.tasks:
            sizes = ", ".join(f"{name} {size}" for name, size in task.sizes.items())
            rows.append((f"task {task.name}", f"{sizes}, {task.n_classes} classes"))
            origin = None if task.reading is None else task.reading.origin
            if origin is not None:
                rows.append((f"source of {task.name}", origin.describe()))
    yield "## What it was made from"
    yield "\n".join(["| what | value |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)])


def data_card(results: Results, columns: Mapping[str, Mapping[str, str]]) -> str:
    """The README.md of a folder of predictions and weak labels.

    Args:
      columns: of each configuration, what its columns are.
    """
    front = ["---", "tags:", "- weak-to-strong-generalization", "configs:"]
    for name in columns:
        front += [f"- config_name: {name}", "  data_files:", "  - split: train", f"    path: {name}.parquet"]
    front.append("---")
    parts = ["\n".join(front), f"# {results.name}: predictions and weak labels"]
    parts.append("Of an experiment on weak-to-strong generalization, made with w2s_jax. Texts belong to their sources.")
    for name, of in columns.items():
        lines = [f"- `{column}`: {what}" for column, what in of.items()]
        parts += [f"## {name}", "\n".join(lines)]
    made = [f"- {task.name}: {', '.join(f'{k} {v}' for k, v in task.sizes.items())}" for task in results.tasks]
    for task in results.tasks:
        origin = None if task.reading is None else task.reading.origin
        made += [f"- source of {task.name}: {origin.describe()}"] if origin is not None else []
    parts += ["## Tasks", "\n".join(made), "## Made by", f"`{results.made.get('command', '')}`"]
    return _public("\n\n".join(parts)) + "\n"
