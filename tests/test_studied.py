"""A study's answers as a supervisor: their labels, what is refused, and a student that learns from them."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from tests import tiny as make
from w2s_jax import serialize
from w2s_jax.config import Experiment, Method
from w2s_jax.data.answers import ANSWERS, Answer, read_answers, write_answers
from w2s_jax.data.task_config import TaskConfig
from w2s_jax.data.task_data import TaskData
from w2s_jax.runtime.errors import UserError
from w2s_jax.supervisors import Given, Studied
from w2s_jax.train.learner import Learner
from w2s_jax.train.optimizer import OptimizerConfig

ACCURACY = {"alone": 0.6, "chat": 0.85}


def answer(question, choice, **changes):
    return Answer("p001", "", "alone", question, question, 0, 2, choice, 0.8, 9.0, 4.0, 0.0, 0, 0, -1)._replace(
        **changes
    )


def studied(folder, examples, people=3, seed=0):
    """Three people answer every example under both conditions: as often right as `ACCURACY` says."""
    rng, rows = np.random.default_rng(seed), []
    classes = 1 + max(example.label for example in examples)
    for place, example in enumerate(examples):
        for number, condition in enumerate(ACCURACY):
            for person in range(people):
                right = rng.random() < ACCURACY[condition]
                choice = example.label if right else int(example.label + rng.integers(1, classes)) % classes
                name = f"p{number * people + person + 1:03d}"
                sure = float(rng.uniform(0.5, 1))
                changes = {"participant": name, "condition": condition, "position": place, "confidence": sure}
                rows.append(answer(example.id, choice, n_choices=classes, **changes))
    write_answers(folder / ANSWERS, rows)
    return rows


@pytest.fixture
def plan(tmp_path):
    """The tiny experiment with probes, whose supervisors are a study's people, and a model."""
    plan = make.probes(tmp_path, methods={"naive": Method()})
    (task,) = plan.tasks
    folder = tmp_path / "study"
    folder.mkdir()
    studied(folder, TaskData(task).examples)
    kinds = {name: Studied(str(folder), name) for name in ACCURACY}
    students = {"strong": plan.students["strong"]}
    return dataclasses.replace(plan, supervisors={**kinds, **plan.supervisors}, students=students)


def test_conditions_stand_beside_a_model_supervisor(tmp_path):
    """A task that the student is good at, with three classes: it beats people alone, and PGR says by how much."""
    path = make.arrays(tmp_path)
    task = TaskConfig(str(path), supervisor=30, transfer=60, validation=30, test=60, balance=False)
    studied(tmp_path, TaskData(task).examples)
    heads = OptimizerConfig(learning_rate=1e-2)
    plan = Experiment(
        name="studied",
        tasks=(task,),
        supervisors={**{name: Studied(str(tmp_path), name) for name in ACCURACY}, "alexnet": Given(f"{path}:alexnet")},
        students={"dino": Learner(f"{path}:dino", parameters="probe", epochs=30, optimizer=heads)},
        methods={"naive": Method()},
        seeds=(0, 1),
        out=str(tmp_path / "runs"),
    )
    results = make.run(plan)
    rows = {summary.supervisor: summary for summary in results.summaries}
    assert list(rows) == ["alone", "chat", "alexnet"]
    scores = {name: rows[name].scores["accuracy"] for name in rows}
    # Of three with .6, others spread over two classes, the majority is right with .71, of three with .85 with .94.
    assert scores["alone"]["supervisor"].value == pytest.approx(0.71, abs=0.1)
    assert scores["chat"]["supervisor"].value == pytest.approx(0.94, abs=0.06)
    assert scores["alone"]["student"].value > scores["alone"]["supervisor"].value + 0.1
    assert rows["alone"].pgr["accuracy"].value > 0.5
    assert scores["alone"]["ceiling"] == scores["chat"]["ceiling"]
    sentences = [finding.sentence for finding in results.findings if finding.kind == "study"]
    assert re.fullmatch(
        r"alone: 200 questions with 600 answers of 3 people, combined by majority; \d+ tied", sentences[0]
    )
    assert serialize.experiment(serialize.to_json(plan)) == plan


def test_the_student_learns_what_people_said(plan):
    (stage, *_) = (
        stage for stage in make.stages(plan, "supervisor") if stage.supervisor.describe() == "people, chat, of study"
    )
    found = stage.make(make.session(plan))
    rows = [each for each in studied_rows(plan) if each.condition == "chat"]
    for name in ("transfer", "validation", "test"):
        for place, identifier in enumerate(getattr(stage.splits, name).ids):
            said = [each.choice for each in rows if each.question == identifier]
            expected = np.array([said.count(0), said.count(1)]) / len(said)
            np.testing.assert_allclose(np.exp(found.logits[name][place]), np.maximum(expected, 1e-7), atol=1e-6)


def studied_rows(plan):
    return read_answers(Path(plan.supervisors["chat"].folder))


def test_each_way_to_combine_is_another_supervisor(plan):
    folder = plan.supervisors["chat"].folder
    kinds = [
        Studied(folder, "chat", how, soft=soft)
        for how in ("majority", "product", "dawid-skene")
        for soft in (True, False)
    ]
    task = TaskData(plan.tasks[0])
    keys = [str(kind.identity(task)) for kind in kinds]
    assert len(set(keys[::2])) == 3
    assert keys[0] != keys[1]
    hard = kinds[1]._labels(2)
    assert {tuple(sorted(probs.tolist())) for probs in hard.values()} == {(0.0, 1.0)}


def test_a_tie_is_drawn_and_favours_no_class(tmp_path):
    questions = [f"q{number}" for number in range(200)]
    rows = [answer(q, k, participant=f"p{k + 1:03d}") for q in questions for k in (0, 1)]
    write_answers(tmp_path / ANSWERS, rows)
    hard = Studied(str(tmp_path), "alone", soft=False)._labels(2)
    assert 70 < sum(probs[0] for probs in hard.values()) < 130
    assert Studied(str(tmp_path), "alone")._labels(2)["q0"].tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("rows", "kind", "message"),
    [
        ([answer("a", 0)], {}, "nobody answered 1 of the 2 test examples under 'alone', 'b' among them"),
        ([answer("a", 0), answer("b", -1, confidence=0.5)], {}, "nobody answered 1 of the 2 test"),
        ([answer("a", 0, n_choices=4)], {}, "'a' was shown with 4 choices, and the task has 2 classes"),
        ([answer("a", 0)], {"condition": "chat"}, "no answers of people under 'chat'; it has 'alone'"),
        (
            [answer("a", 0, simulated="tiny")],
            {},
            "no answers of people under 'alone'; it has 'alone' with played='tiny'",
        ),
        ([answer("a", 0)], {"played": "tiny"}, r"no answers of simulated participants \(tiny\) under 'alone'"),
    ],
)
def test_what_is_not_answered_is_refused_in_one_line(tmp_path, rows, kind, message):
    write_answers(tmp_path / ANSWERS, rows)
    supervisor = Studied(str(tmp_path), **{"condition": "alone", **kind})
    with pytest.raises(UserError, match=message):
        supervisor._of(supervisor._labels(2), "test", ["a", "b"])


def test_it_never_gets_the_truth_of_what_it_labels(plan):
    """`simulated` means that to the pipeline; participants may be simulated all the same."""
    assert not Studied("study", "alone", played="tiny").simulated
    for stage in make.stages(plan, "supervisor"):
        assert all(split.labels is None for split in stage.shown.predict.values())


def test_an_unknown_way_to_combine_is_refused():
    with pytest.raises(UserError, match="unknown way to combine answers 'mean'"):
        Studied("study", "alone", "mean")


def test_a_run_says_before_it_starts_what_nobody_answered(plan, tmp_path):
    (task,) = plan.tasks
    examples = TaskData(task).examples
    studied(tmp_path / "study", examples[:120])
    with pytest.raises(UserError, match=r"nobody answered \d+ of the \d+ \w+ examples .*TaskConfig\(only="):
        make.run(plan)
    only = tmp_path / "shared.csv"
    only.write_text("".join(f'"{name}"\n' for name in ["id", *(example.id for example in examples[:120])]))
    named = dataclasses.replace(task, only=str(only), shrink=True, balance=False)
    data = TaskData(named)
    assert {example.id for example in data.examples} == {example.id for example in examples[:120]}
    assert "40 left out, as they are not named" in data.reading.describe()
    chat = {"chat": plan.supervisors["chat"]}
    results = make.run(dataclasses.replace(plan, tasks=(named,), supervisors=chat, seeds=(0,)))
    assert [cell.supervisor for cell in results.cells] == ["chat"]


def test_only_may_be_the_answers_themselves(plan, tmp_path):
    folder = plan.supervisors["chat"].folder
    (task,) = plan.tasks
    studied(tmp_path / "study", TaskData(task).examples[:50])
    assert len(TaskData(dataclasses.replace(task, only=f"{folder}/{ANSWERS}")).examples) == 50
    (tmp_path / "none.csv").write_text("id\nnobody\n")
    with pytest.raises(UserError, match=r"none.csv names none of the 160 examples"):
        _ = TaskData(TaskConfig(task.name, only=str(tmp_path / "none.csv"))).examples
