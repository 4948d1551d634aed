"""The tables that a study of people and assistants leaves behind: answers, the models alone, and, apart, the key.

answers.parquet   one row an answer, anonymous, without the right one
models.parquet    what models alone say of the same questions
key.parquet       the right answers, which the report alone reads
shared.csv        the ids of questions that were answered under every condition, as the report found them
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from w2s_jax.data.example import Example
from w2s_jax.runtime import files
from w2s_jax.runtime.errors import UserError

ANSWERS, MODELS, KEY, SHARED = "answers.parquet", "models.parquet", "key.parquet", "shared.csv"
NO_CHOICE = -1  # time ran out; and a suggestion that nobody knows
_MAY_BE_NONE = ("confidence", "read_seconds")  # empty cells in the table, NaN here
CLOSE = 1e-3  # how far a sum of probabilities may be from 1


class Answer(NamedTuple):
    """What one participant said of one question.

    Attributes:
      participant: an anonymous name, such as `p001`.
      simulated: what plays the participant; empty for a person.
      condition: under which the question was shown, as the study's config names it.
      question: the example's id.
      group: the example's: questions about one passage share it.
      position: the question's place in the participant's session, from 0.
      n_choices: how many answers were offered.
      choice: the one taken, from 0; -1 where time ran out without one.
      confidence: the probability that the participant gives to it, from 1 / n_choices to 1; NaN where there is none.
      seconds: from when the question was shown until it was answered.
      read_seconds: of these, those before the participant first chose, wrote or answered; NaN where nothing was done.
      away_seconds: of these, those for which the page was hidden.
      turns: messages that the participant wrote.
      changes: of mind, before the answer was final.
      suggested: the choice that the assistant last argued for or named, from 0; -1 where there is none.
    """

    participant: str
    simulated: str
    condition: str
    question: str
    group: str
    position: int
    n_choices: int
    choice: int
    confidence: float
    seconds: float
    read_seconds: float
    away_seconds: float
    turns: int
    changes: int
    suggested: int

    @property
    def is_given(self) -> bool:
        """Whether the participant chose something in time."""
        return self.choice != NO_CHOICE


class ModelAnswer(NamedTuple):
    """What a model alone says of one question: `probs`, of each choice, by one way of asking it, the `arm`."""

    arm: str
    question: str
    probs: tuple[float, ...]


def write_answers(path: Path, answers: Iterable[Answer]) -> None:
    """Writes the table of answers; the same answers give the same rows.

    Raises:
      UserError: an answer is none.
    """
    rows = list(answers)
    _check_answers(path, rows)
    columns = {name: [getattr(row, name) for row in rows] for name in Answer._fields}
    for name in _MAY_BE_NONE:
        columns[name] = [None if math.isnan(value) else value for value in columns[name]]
    _write(path, columns, Answer.__annotations__)


def read_answers(path: Path) -> list[Answer]:
    """The answers of a study, in the order of the file.

    Args:
      path: the table, or the study's folder.

    Raises:
      UserError: there is no such table, it lacks a column, or an answer is none.
    """
    path = _table(path, ANSWERS)
    columns = _read(path, Answer._fields)
    for name in _MAY_BE_NONE:
        columns[name] = [math.nan if value is None else value for value in columns[name]]
    holes = [name for name, values in columns.items() if None in values]
    if holes:
        raise UserError(f"{path} has empty cells in {', '.join(holes)}")
    try:
        answers = [
            Answer(**{name: Answer.__annotations__[name](value) for name, value in row.items()})
            for row in _rows(columns)
        ]
    except (TypeError, ValueError) as error:
        raise UserError(f"{path} holds something that is no answer: {error}") from error
    _check_answers(path, answers)
    return answers


def write_models(path: Path, said: Iterable[ModelAnswer]) -> None:
    """Writes what models alone say.

    Raises:
      UserError: something is no probabilities.
    """
    import pyarrow

    rows = list(said)
    _check_models(path, rows)
    columns = {name: [getattr(row, name) for row in rows] for name in ("arm", "question")}
    probs = pyarrow.array([list(row.probs) for row in rows], pyarrow.list_(pyarrow.float64()))
    _write(path, {**columns, "probs": probs}, {"arm": str, "question": str})


def read_models(path: Path) -> list[ModelAnswer]:
    """What models alone say of a study's questions; nothing where the folder has no such table.

    Args:
      path: the table, or the study's folder.

    Raises:
      UserError: the table lacks a column, or holds something that is no probabilities.
    """
    if Path(path).is_dir() and not (Path(path) / MODELS).exists():
        return []
    path = _table(path, MODELS)
    columns = _read(path, ModelAnswer._fields)
    try:
        rows = [
            ModelAnswer(str(arm), str(question), tuple(map(float, probs)))
            for arm, question, probs in zip(*(columns[name] for name in ModelAnswer._fields), strict=True)
        ]
    except (TypeError, ValueError) as error:
        raise UserError(f"{path} holds something that is no probabilities: {error}") from error
    _check_models(path, rows)
    return rows


def write_key(path: Path, examples: Iterable[Example]) -> None:
    """Writes the right answers of a study's questions."""
    labels = {example.id: example.label for example in examples}
    _write(path, {"question": list(labels), "label": list(labels.values())}, {"question": str, "label": int})


def read_key(path: Path) -> dict[str, int]:
    """The right answers, by question.

    Args:
      path: the table, or the study's folder.

    Raises:
      UserError: there is no such table, it lacks a column, a question is there twice, or a label is no number.
    """
    path = _table(path, KEY)
    columns = _read(path, ("question", "label"))
    _refuse_twice(path, columns["question"], "a question")
    try:
        return {
            str(question): int(label) for question, label in zip(columns["question"], columns["label"], strict=True)
        }
    except (TypeError, ValueError) as error:
        raise UserError(f"{path} holds something that is no right answer: {error}") from error


def shared(answers: Iterable[Answer]) -> list[str]:
    """The questions that somebody answered in time under every condition, of people and of each kind of simulated
    participants: on these, conditions can be compared as supervisors."""
    by_arm: dict[tuple[str, str], set[str]] = {}
    for answer in answers:
        questions = by_arm.setdefault((answer.condition, answer.simulated), set())
        if answer.is_given:
            questions.add(answer.question)
    return sorted(set.intersection(*by_arm.values())) if by_arm else []


def _table(path: Path, name: str) -> Path:
    path = Path(path)
    found = path / name if path.is_dir() else path
    if not found.is_file():
        raise UserError(f"{found} does not exist; a study's folder is written by `w2s study serve` and `simulate`")
    return found


def _read(path: Path, wanted: Sequence[str]) -> dict[str, list[Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.ParquetFile(path).read()
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path} cannot be read as Parquet: {error}") from error
    missing = [name for name in wanted if name not in table.column_names]
    if missing:
        raise UserError(f"{path} lacks the columns {', '.join(missing)}; it has {', '.join(table.column_names)}")
    return {name: table[name].to_pylist() for name in wanted}


def _write(path: Path, columns: Mapping[str, Any], kinds: Mapping[str, Any]) -> None:
    import pyarrow
    import pyarrow.parquet

    types = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64()}
    arrays = [pyarrow.array(each, types[kinds[name]]) if name in kinds else each for name, each in columns.items()]
    with files.atomic(Path(path)) as temporary:
        pyarrow.parquet.write_table(pyarrow.table(arrays, names=list(columns)), temporary)


def _rows(columns: Mapping[str, Sequence[Any]]) -> Iterable[dict[str, Any]]:
    return (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))


def _check_answers(path: Path, answers: Sequence[Answer]) -> None:
    for each in answers:
        problem = _problem(each)
        if problem:
            raise UserError(f"{path}: the answer of {each.participant!r} to {each.question!r}: {problem}")
    _refuse_twice(path, [(each.participant, each.question) for each in answers], "an answer to a question")
    kinds = {(each.participant, each.simulated) for each in answers}
    _refuse_twice(path, [participant for participant, _ in kinds], "a participant, as a person and as simulated,")


def _problem(each: Answer) -> str | None:
    for name in ("participant", "condition", "question", "group"):
        if not getattr(each, name):
            return f"{name} is empty"
    if each.n_choices < 2:
        return f"n_choices must be 2 or more, not {each.n_choices}"
    for name in ("choice", "suggested"):
        if not NO_CHOICE <= getattr(each, name) < each.n_choices:
            return f"{name} must be from 0 to {each.n_choices - 1}, or -1 for none, not {getattr(each, name)}"
    for name in ("position", "seconds", "turns", "changes"):
        if not 0 <= getattr(each, name) < math.inf:
            return f"{name} must be 0 or more, not {getattr(each, name)}"
    for name in ("read_seconds", "away_seconds"):
        never = name in _MAY_BE_NONE and math.isnan(getattr(each, name))
        if not never and not 0 <= getattr(each, name) <= each.seconds + CLOSE:
            return f"{name} must be from 0 to seconds, {each.seconds:g}, not {getattr(each, name):g}"
    if each.is_given and not 1 / each.n_choices - CLOSE <= each.confidence <= 1 + CLOSE:
        return f"confidence must be from 1/{each.n_choices} to 1, not {each.confidence:g}"
    return None


def _check_models(path: Path, said: Sequence[ModelAnswer]) -> None:
    for each in said:
        total = sum(each.probs)
        if len(each.probs) < 2 or min(each.probs) < 0 or not abs(total - 1) <= CLOSE:
            raise UserError(f"{path}: {each.arm} of {each.question!r} must be two or more probabilities with sum 1")
    _refuse_twice(path, [(each.arm, each.question) for each in said], "an arm's answer to a question")


def _refuse_twice(path: Path, names: Sequence[Any], what: str) -> None:
    if len(set(names)) < len(names):
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise UserError(f"{path}: {what} is there twice: {twice!r}")
