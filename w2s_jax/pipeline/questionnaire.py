"""What people, or any program, are to label to be the supervisor; `supervisors.given` reads their answers.

An interactive judge (Khan et al. 2402.06782; Bowman et al. 2211.03540): people are given texts, with an advisor's
transcripts if they are to see some, and never the truth.
"""

import json
from pathlib import Path

from w2s_jax.config import Experiment
from w2s_jax.data.task_data import Tasks
from w2s_jax.pipeline.session import Session
from w2s_jax.pipeline.store import Store
from w2s_jax.runtime import errors, files
from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.progress import Reporter
from w2s_jax.stages.supervise import LABELLED
from w2s_jax.supervisors import Advised, supervisor, transcripts


def write(experiment: Experiment, path: Path, advised: str | None, reporter: Reporter) -> int:
    """Writes a line of JSON for every example that a supervisor labels, in an order that says nothing.

    A line has `task`, `id`, `text` and `answers`, by class; who answers adds `label` (a class) or `probs`. A question
    with several answers also has its `passage`, `question` and `choices`, by class.

    Args:
      advised: the supervisor whose advisor's transcripts follow the texts; None shows none.

    Returns:
      How many examples there are.

    Raises:
      UserError: the file exists, or the experiment has no such supervisor with an advisor.
    """
    if path.exists():
        raise UserError(f"{path} exists already; name a new file")
    kinds = {name: supervisor(each) for name, each in experiment.supervisors.items()}
    advisors = {name: each for name, each in kinds.items() if isinstance(each, Advised)}
    if advised is not None and advised not in advisors:
        raise errors.unknown("supervisor with an advisor", advised, advisors)
    tasks = Tasks()
    session = Session(Store.beside_runs(experiment.out), reporter, tasks=tasks)
    lines: dict[tuple[str, str], str] = {}
    for config in experiment.tasks:
        task = tasks[config]
        parts = {each.id: each.question._asdict() for each in task.examples if each.question is not None}
        for seed in experiment.seeds:
            for split in (getattr(task.splits(seed), name) for name in LABELLED):
                texts = list(split.texts)
                if advised is not None:
                    maker = advisors[advised].debating
                    transcripts.check(maker, texts, task.answers)
                    said = transcripts.transcripts(maker, texts, task.answers, session)
                    shuffled = advisors[advised].shuffled
                    texts = transcripts.with_transcripts(maker, texts, said, task.answers, shuffled)
                for identifier, text in zip(split.ids, texts, strict=True):
                    line = {"task": config.title, "id": identifier, "text": text, "answers": task.answers}
                    line |= parts.get(identifier, {})
                    lines.setdefault((config.title, identifier), json.dumps(line, ensure_ascii=False))
    ordered = [lines[key] for key in sorted(lines, key=lambda key: files.sha256_text(files.canonical(list(key))))]
    files.write_text(path, "".join(f"{line}\n" for line in ordered))
    return len(ordered)
