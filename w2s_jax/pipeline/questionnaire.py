"""People, or any program, as the supervisor: what they are to label, and what they answered.

An interactive judge (Khan et al. 2402.06782; Bowman et al. 2211.03540): `write` gives them texts, with an advisor's
transcripts if they are to see some, and never the truth; `Given("answers.csv")` is the supervisor that they are.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from w2s_jax.config import Advised, Experiment
from w2s_jax.data import sources
from w2s_jax.pipeline import materials
from w2s_jax.runtime import errors, files
from w2s_jax.runtime.errors import UserError
from w2s_jax.supervisors import advice
from w2s_jax.train.loop import Progress

SPLITS = ("transfer", "validation", "test")


def write(plan: Experiment, path: Path, advised: str | None, progress: Progress) -> int:
    """Writes a line of JSON for every row that a supervisor of the plan labels, in an order that says nothing.

    A line has `task`, `id`, `text` and `answers`, by class; who answers adds `label` (a class) or `probs`.

    Args:
      advised: the supervisor whose advisor's transcripts follow the texts; None shows none.

    Returns:
      How many rows there are.

    Raises:
      UserError: the file exists, or the plan has no such supervisor with an advisor.
    """
    if path.exists():
        raise UserError(f"{path} exists already; name a new file")
    makers = {name: maker for name, maker in plan.supervisors.items() if isinstance(maker, Advised)}
    if advised is not None and advised not in makers:
        raise errors.unknown("supervisor with an advisor", advised, makers)
    lines: dict[tuple[str, str], str] = {}
    for task in plan.tasks:
        n_classes = materials.named_task(task.name).n_classes
        answers = materials.answers(task, n_classes)
        for seed in plan.seeds:
            splits = materials.splits(task, seed)
            for split in (getattr(splits, name) for name in SPLITS):
                texts = list(split.texts)
                if advised is not None:
                    maker, root = makers[advised], Path(plan.out) / "transcripts"
                    advice.check(maker, texts, answers)
                    said = advice.transcripts(maker, texts, answers, root, progress)
                    texts = advice.with_transcripts(maker, texts, said, answers)
                for identifier, text in zip(split.ids, texts, strict=True):
                    row = {"task": task.title, "id": identifier, "text": text, "answers": answers}
                    lines.setdefault((task.title, identifier), json.dumps(row, ensure_ascii=False))
    ordered = [lines[key] for key in sorted(lines, key=lambda key: files.sha256_text(files.canonical(list(key))))]
    files.write_text(path, "".join(f"{line}\n" for line in ordered))
    return len(ordered)


def read(path: str, ids: Sequence[str], n_classes: int) -> Float[np.ndarray, "n c"]:
    """What was answered of these rows, as class probabilities; a `label` is certain.

    Args:
      path: a .jsonl, .csv or .parquet table with `id`, and `label` or `probs`; other rows and columns do not matter.

    Raises:
      UserError: a row has no answer, two, or one that is no class and no probabilities.
    """
    found: dict[str, np.ndarray] = {}
    for record in sources.Local(path).records():
        identifier = sources.text_field(record, "id")
        if identifier in found:
            raise UserError(f"{path}: {identifier!r} is there twice")
        found[identifier] = _answer(path, identifier, record, n_classes)
    missing = [identifier for identifier in ids if identifier not in found]
    if missing:
        raise UserError(f"{path} lacks an answer for {len(missing)} of {len(ids)} rows, {missing[0]!r} among them")
    return np.stack([found[identifier] for identifier in ids])


def _answer(path: str, identifier: str, record: sources.Record, n_classes: int) -> Float[np.ndarray, " c"]:
    if record.get("probs") is None:
        label = sources.class_field(record, "label")
        if not 0 <= label < n_classes:
            raise UserError(f"{path}: label {label} of {identifier!r} is none of the {n_classes} classes")
        return np.eye(n_classes, dtype=np.float32)[label]
    probs = np.asarray(record["probs"], np.float32)
    if probs.shape != (n_classes,) or not (probs >= 0).all() or abs(probs.sum() - 1) > 1e-3:
        raise UserError(f"{path}: probs of {identifier!r} must be {n_classes} numbers, not negative, with sum 1")
    return probs / probs.sum()
