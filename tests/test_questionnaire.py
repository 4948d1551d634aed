"""What people are asked: every example that a supervisor labels, once, and never its truth."""

import dataclasses
import json

import pytest

from tests import tiny as make
from w2s_jax import cli
from w2s_jax.data.task_config import TaskConfig
from w2s_jax.pipeline import questionnaire
from w2s_jax.runtime.errors import UserError
from w2s_jax.stages.supervise import LABELLED


def test_every_example_to_label_is_asked_once_and_the_truth_is_not_there(tmp_path):
    plan = make.experiment(tmp_path, seeds=(0, 1))
    asked = tmp_path / "asked.jsonl"
    count = questionnaire.write(plan, asked, None, make.quiet())
    lines = [json.loads(line) for line in asked.read_text().splitlines()]
    wanted = {
        (identifier, text)
        for stage in make.stages(plan, "supervisor")
        for name in LABELLED
        for split in [getattr(stage.splits, name)]
        for identifier, text in zip(split.ids, split.texts, strict=True)
    }
    assert {(line["id"], line["text"]) for line in lines} == wanted
    assert count == len(lines) == len(wanted)
    assert all(set(line) == {"task", "id", "text", "answers"} for line in lines)
    assert [line["id"] for line in lines] != sorted(line["id"] for line in lines)
    with pytest.raises(UserError, match="exists already"):
        questionnaire.write(plan, asked, None, make.quiet())
    with pytest.raises(UserError, match="supervisor with an advisor"):
        questionnaire.write(plan, tmp_path / "more.jsonl", "weak", make.quiet())


def test_the_command_writes_the_file(tmp_path, capsys):
    make.reviews(tmp_path / "reviews.jsonl")
    config = tmp_path / "people.py"
    config.write_text(
        "from w2s_jax import Experiment, Given, Learner, TaskConfig\n"
        f"task = TaskConfig({str(tmp_path / 'reviews.jsonl')!r}, supervisor=2, transfer=32, validation=16, test=40)\n"
        "experiment = Experiment('people', (task,), {'people': Given('answers.jsonl')}, {'a': Learner()}, seeds=(0,))\n"
    )
    assert cli.main(["ask", str(config), "--to", str(tmp_path / "asked.jsonl")]) == 0
    assert "wrote 88 examples" in capsys.readouterr().out


def test_questions_with_several_answers_come_in_parts(tmp_path):
    choices = [[f"ice {n}", f"fog {n}", f"oak {n}"] for n in range(120)]
    rows = [
        {"passage": f"Tale {n}.", "question": "What melts?", "choices": each, "answer": n % 3}
        for n, each in enumerate(choices)
    ]
    path = tmp_path / "asked_of.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = TaskConfig(str(path), supervisor=3, transfer=30, validation=15, test=30)
    plan = dataclasses.replace(make.experiment(tmp_path, seeds=(0,)), tasks=(task,))
    questionnaire.write(plan, tmp_path / "asked.jsonl", None, make.quiet())
    lines = [json.loads(line) for line in (tmp_path / "asked.jsonl").read_text().splitlines()]
    assert len(lines) == 75
    known = {row["passage"]: row for row in rows}
    for line in lines:
        row = known[line["passage"]]
        assert (line["question"], line["choices"]) == (row["question"], row["choices"])
        assert "answer" not in line
        assert "label" not in line
