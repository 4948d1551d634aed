"""The tables of a study, and what is refused."""

import math

import pyarrow
import pyarrow.parquet
import pytest

from tests import study_tables
from w2s_jax.data import answers as tables
from w2s_jax.data.answers import ModelAnswer, read_answers, read_key, read_models, shared, write_answers, write_models
from w2s_jax.runtime.errors import UserError


@pytest.fixture(scope="module")
def made():
    return study_tables.drawn(participants=4, questions=12)


def test_what_is_written_is_what_is_read(made, tmp_path):
    late = made.answers[0]._replace(choice=-1, confidence=math.nan, read_seconds=math.nan)
    written = made._replace(answers=[late, *made.answers[1:]]).write(tmp_path)
    first, *rest = read_answers(written)
    assert math.isnan(first.confidence)
    assert math.isnan(first.read_seconds)
    known = {"confidence": 0.0, "read_seconds": 0.0}
    assert first._replace(**known) == late._replace(**known)
    assert not first.is_given
    assert rest == made.answers[1:]
    assert read_models(written) == made.models
    assert read_key(written) == made.key
    columns = pyarrow.parquet.read_table(written / tables.ANSWERS).column_names
    assert columns == list(tables.Answer._fields)
    assert "label" not in columns


def test_a_study_without_models_has_none(made, tmp_path):
    write_answers(tmp_path / tables.ANSWERS, made.answers)
    assert read_models(tmp_path) == []
    with pytest.raises(UserError, match=r"key.parquet does not exist"):
        read_key(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"choice": 4}, "choice must be from 0 to 3, or -1 for none, not 4"),
        ({"suggested": -2}, "suggested must be from 0 to 3"),
        ({"confidence": 0.1}, "confidence must be from 1/4 to 1, not 0.1"),
        ({"confidence": math.nan}, "confidence must be from 1/4 to 1, not nan"),
        ({"n_choices": 1, "choice": 0, "suggested": -1}, "n_choices must be 2 or more"),
        ({"seconds": -1.0}, "seconds must be 0 or more"),
        ({"seconds": math.nan}, "seconds must be 0 or more"),
        ({"seconds": math.inf}, "seconds must be 0 or more, not inf"),
        ({"read_seconds": -1.0}, "read_seconds must be from 0 to seconds"),
        ({"away_seconds": 1e6}, "away_seconds must be from 0 to seconds"),
        ({"away_seconds": math.nan}, "away_seconds must be from 0 to seconds"),
        ({"condition": ""}, "condition is empty"),
        ({"participant": "p002"}, "an answer to a question is there twice"),
        ({"simulated": "a model"}, "as a person and as simulated"),
    ],
)
def test_bad_answers_are_one_line(made, tmp_path, change, message):
    first = made.answers[0]._replace(**change)
    with pytest.raises(UserError, match=message):
        write_answers(tmp_path / "a.parquet", [first, *made.answers[1:]])


def test_tables_of_something_else_are_refused(tmp_path):
    path = tmp_path / tables.ANSWERS
    pyarrow.parquet.write_table(pyarrow.table({"question": ["a"]}), path)
    with pytest.raises(UserError, match="lacks the columns participant, simulated"):
        read_answers(path)
    path.write_text("no table")
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        read_answers(path)
    for probs in ((0.5, 0.6), (1.0,), (1.5, -0.5)):
        with pytest.raises(UserError, match="must be two or more probabilities with sum 1"):
            write_models(path, [ModelAnswer("zero-shot", "a", probs)])
    for label in (None, "B"):
        pyarrow.parquet.write_table(pyarrow.table({"question": ["a"], "label": [label]}), tmp_path / tables.KEY)
        with pytest.raises(UserError, match="holds something that is no right answer"):
            read_key(tmp_path)


def test_shared_questions_were_answered_in_time_under_every_condition(made):
    questions = {answer.question for answer in made.answers}
    assert shared(made.answers) == sorted(questions)
    late = [
        answer._replace(choice=-1) if (answer.question, answer.condition) == ("q003", "chat") else answer
        for answer in made.answers
    ]
    assert shared(late) == sorted(questions - {"q003"})
