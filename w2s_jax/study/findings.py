"""What the answers of a study say: the table of Bowman et al. 2022, with intervals over participants and questions."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from w2s_jax.data import answers as tables
from w2s_jax.data.answers import Answer, ModelAnswer
from w2s_jax.metrics.crossed import DRAWS
from w2s_jax.runtime import files
from w2s_jax.runtime.errors import UserError
from w2s_jax.study import bowman
from w2s_jax.study.design import Design
from w2s_jax.study.found import Findings
from w2s_jax.study.measuring import Measured
from w2s_jax.study.statistics import Numbers


def find(
    answers: Sequence[Answer],
    models: Sequence[ModelAnswer],
    key: Mapping[str, int],
    design: Design,
    *,
    draws: int = DRAWS,
    versions: Mapping[str, str] | None = None,
) -> Findings:
    """What the answers say. People and each kind of simulated participants are measured apart.

    Raises:
      UserError: there are no answers, one is to a question that the key lacks, or nobody answered alone.
    """
    _check(answers, models, key, design)
    their_task = bowman.task_of(design.task)
    if design.expert is None and their_task is not None:
        figure = bowman.published(their_task, "expert").accuracy
        assert figure is not None
        design = dataclasses.replace(design, expert=figure.value, source=f"as published, {bowman.SOURCE}")
    numbers = _numbers(answers, models)
    parts = []
    for played in sorted({answer.simulated for answer in answers}):
        mine = [answer for answer in answers if answer.simulated == played]
        parts.append(Measured.of(played, mine, models, key, design, numbers, draws))
    rows = list(parts[0].people())
    for part in parts[1:]:  # what was published of people stands beside one kind of participants alone
        rows += [dataclasses.replace(row, theirs="") for row in part.people()]
    rows += [*parts[0].models(), *parts[0].expert()]
    return Findings(
        design,
        their_task,
        tuple(rows),
        tuple(each for part in parts for each in part.recovered()),
        tuple(each for part in parts for each in part.sandwiches()),
        tuple(each for part in parts for each in part.reliance()),
        tuple(each for part in parts for each in part.pace()),
        draws,
        tuple(tables.shared(answers)),
        versions or {},
    )


def of_folder(folder: Path, design: Design, *, draws: int = DRAWS) -> Findings:
    """What the tables of a study's folder say.

    Raises:
      UserError: as `find`, or a table cannot be read, or it is no folder.
    """
    folder = Path(folder)
    if folder.is_file():
        raise UserError(f"{folder} is a file; a report is made of a study's folder, as runs/NAME")
    answers, models, key = tables.read_answers(folder), tables.read_models(folder), tables.read_key(folder)
    names = [name for name in (tables.ANSWERS, tables.MODELS, tables.KEY) if (folder / name).exists()]
    versions = {name: files.sha256_file(folder / name) for name in names}
    return find(answers, models, key, design, draws=draws, versions=versions)


def _numbers(answers: Sequence[Answer], models: Sequence[ModelAnswer]) -> Numbers:
    """Participants, questions and groups by number. A question that models alone answered is a group of its own."""
    group_of = {each.question: f"question {each.question}" for each in models}
    group_of |= {each.question: f"group {each.group}" for each in answers}
    groups = _number(group_of.values())
    return Numbers(
        _number(each.participant for each in answers),
        _number(group_of),
        {question: groups[group] for question, group in group_of.items()},
    )


def _number(names: Iterable[str]) -> dict[str, int]:
    return {name: number for number, name in enumerate(sorted(set(names)))}


def _check(answers: Sequence[Answer], models: Sequence[ModelAnswer], key: Mapping[str, int], design: Design) -> None:
    if not answers:
        raise UserError("there are no answers yet")
    asked = [each.question for each in answers] + [each.question for each in models]
    unknown = [question for question in asked if question not in key]
    if unknown:
        raise UserError(
            f"the key lacks {len(set(unknown))} of the questions that were answered, {unknown[0]!r} among them"
        )
    for each in answers:
        if not 0 <= key[each.question] < each.n_choices:
            raise UserError(f"the key of {each.question!r} is {key[each.question]}; it has {each.n_choices} choices")
    conditions = sorted({each.condition for each in answers})
    if design.unassisted not in conditions and len(conditions) > 1:
        raise UserError(
            f"nobody answered under {design.unassisted!r}; the conditions are {', '.join(conditions)}: say which is "
            "without an assistant (--unassisted)"
        )
