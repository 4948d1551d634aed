"""Examples as questions for people, and tasks of several answers."""

import dataclasses
import doctest
import json

import numpy as np
import pytest

from tests import tiny as make
from w2s_jax import api
from w2s_jax.data import questions, tasks
from w2s_jax.data.example import Example, Question
from w2s_jax.data.questions import question_of
from w2s_jax.data.task_config import TaskConfig
from w2s_jax.data.task_data import TaskData
from w2s_jax.evaluation import frames
from w2s_jax.runtime.errors import UserError


def jsonl(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def test_docstrings():
    assert doctest.testmod(questions).failed == 0


ROWS = [
    {"question": f"Question {n}?\nAnswer: this", "choices": [f"yes {n}", f"no {n}", "Question: no"], "answer": n % 3}
    for n in range(9)
]


@pytest.mark.parametrize("choices", ["candidates", "letters"])
@pytest.mark.parametrize("passage", ["", "A passage.\nQuestion: of two lines."])
def test_a_file_of_choices_keeps_its_parts(tmp_path, choices, passage):
    """Even where a passage, a question or an answer looks like what stands around it in a text."""
    rows = [{**row, "passage": passage} if passage else row for row in ROWS]
    data = TaskData(TaskConfig(jsonl(tmp_path / "own.jsonl", rows), choices=choices))
    labels = {example.id: example.label for example in data.examples}
    found = {(asked, labels[name]) for name, asked in data.questions.items()}
    assert found == {(Question(passage, row["question"], tuple(row["choices"])), row["answer"]) for row in rows}


def test_rotated_answers_are_shown_as_they_are_scored(tmp_path):
    rows = [{"question": f"Q{n}", "choices": ["right", "b", "c", "d"], "answer": 0} for n in range(20)]
    data = TaskData(TaskConfig(jsonl(tmp_path / "own.jsonl", rows)))
    asked = data.questions
    assert len({example.label for example in data.examples}) > 1
    assert all(asked[example.id].choices[example.label] == "right" for example in data.examples)


def test_a_text_is_asked_about_with_the_classes_as_answers():
    data = TaskData(TaskConfig("cities"))
    example = data.examples[0]
    assert data.questions[example.id] == Question(example.text, "Is the city in the country?", ("No", "Yes"))
    unnamed = Example("1", "Rain.", 0, "1")
    assert question_of(unnamed, "your own table", ("wet", "dry")).question == "Which is right?"


def test_candidates_come_apart_where_they_differ():
    dialogue = "Human: Hello.\n\nAssistant: Hi.\n\nHuman: Which metal?\n\nAssistant: "
    found = question_of(Example("1", (f"{dialogue}Tin.", f"{dialogue}Tin or iron."), 0, "1"), "which is better?", ())
    assert found == Question(dialogue.removesuffix("Assistant: ").strip(), "Which is right?", ("Tin.", "Tin or iron."))
    pair = question_of(Example("1", ("Question: Q?\nAnswer: an ox", "Question: Q?\nAnswer: an owl"), 0, "1"), "", ())
    assert pair == Question("Question: Q?", "Which is right?", ("an ox", "an owl"))
    assert question_of(tasks.load("cities_pairs")[0], "", ()).choices == tasks.load("cities_pairs")[0].text


MMLU = {"subject": "history", "choices": ["a", "b", "c", "d"], "answer": 2}
PASSAGE = "This question refers to the following information.\n{}\nBy whom it was written"


def test_mmlu_with_all_its_answers():
    """Questions on one passage are one group; a question without one is its own."""
    read = tasks.get("mmlu_choices").format
    first, second, third = (
        one
        for asked in (PASSAGE.format("Two\nlines."), "Who?\nNobody", PASSAGE.format("Two lines.") + ", and when?")
        for one in read({**MMLU, "question": asked})
    )
    assert first.question == Question("Two\nlines.", "By whom it was written", ("a", "b", "c", "d"))
    assert first.text[first.label] == "Two\nlines.\nQuestion: By whom it was written\nAnswer: c"
    assert first.group == third.group != second.group
    assert second.question.question == "Who?\nNobody"
    (lettered,) = tasks.get("mmlu_choices", TaskConfig(choices="letters").table).format({**MMLU, "question": "Who?"})
    assert lettered.text == "Question: Who?\nA. a\nB. b\nC. c\nD. d\nAnswer:"
    twice = {**MMLU, "question": "Who?", "choices": ["c", "b", "c ", "d"]}
    assert list(read(twice)) == []
    with pytest.raises(UserError, match="a question has 3 options; all of this task's have 4"):
        list(read({**MMLU, "question": "Who?", "choices": ["a", "b", "c"]}))
    with pytest.raises(UserError, match="answer 4 is none of the 4 options"):
        list(read({**MMLU, "question": "Who?", "answer": 4}))


def in_articles(labelled=True):
    """The original JSON lines of QuALITY: questions inside of articles, right answers counted from 1."""
    gold = [{"gold_label": 3, "writer_label": 3}, {"gold_label": 1, "writer_label": 2}] if labelled else [{}, {}]
    return {
        "article_id": "1",
        "set_unique_id": "1_X",
        "article": "A long tale. ",
        "questions": [
            {"question": f"Q{n}?", "question_unique_id": f"1_X_{n}", "options": list("abcd"), "difficult": n, **known}
            for n, known in enumerate(gold)
        ],
    }


def on_the_hub():
    """The same questions as the Hub has them: one record each, right answers counted from 0."""
    return [
        {"article": "A long tale. ", "question": f"Q{n}?", "options": list("abcd"), "answer": place, "hard": bool(n)}
        for n, place in enumerate((2, 0))
    ]


@pytest.mark.parametrize("name", ["quality", "quality_pairs", "quality_choices"])
def test_both_layouts_of_quality_give_the_same_examples(tmp_path, name):
    nested = tasks.load(name, jsonl(tmp_path / "original.jsonl", [in_articles(), in_articles(labelled=False)]))
    flat = tasks.load(name, jsonl(tmp_path / "hub.jsonl", on_the_hub()))
    assert nested == flat
    assert len(flat) == (4 if name == "quality" else 2)
    with pytest.raises(UserError, match="has no column 'answer'"):
        tasks.load(name, jsonl(tmp_path / "other.jsonl", [{"article": "A.", "question": "Q?", "options": ["a", "b"]}]))


def test_quality_with_all_its_answers(tmp_path):
    path = jsonl(tmp_path / "original.jsonl", [in_articles(), in_articles(labelled=False)])
    first, second = sorted(tasks.load("quality_choices", path), key=lambda one: one.text)
    assert first.question == Question("A long tale.", "Q0?", tuple("abcd"))
    assert [(one.label, one.difficulty) for one in (first, second)] == [(2, 0.0), (0, 1.0)]
    assert first.group == second.group
    assert first.text[2] == "A long tale.\nQuestion: Q0?\nAnswer: c"


def test_letters_are_for_questions_with_several_answers():
    letters = TaskConfig(choices="letters").table
    asked = tasks.get("quality_choices", letters)
    assert (asked.answers, asked.candidates, asked.templates[0]) == (("A", "B", "C", "D"), 1, "{text}")
    with pytest.raises(UserError, match="task 'cities' has no questions with several answers to show; mmlu_choices, q"):
        tasks.get("cities", letters)


@pytest.mark.parametrize("choices", ["candidates", "letters"])
def test_a_run_of_four_choices_is_measured_as_scikit_learn_does(tmp_path, choices):
    sklearn = pytest.importorskip("sklearn.metrics")
    words = ["good", "bad", "poor", "great"]
    rows = [
        {"question": f"the film was {n}", **dict(zip("ABCD", words[n % 4 :] + words[: n % 4], strict=True))}
        for n in range(200)
    ]
    path = jsonl(tmp_path / "mmlu.jsonl", [{**row, "answer": "DCBA"[n % 4]} for n, row in enumerate(rows)])
    task = TaskConfig("mmlu_choices", path, supervisor=40, transfer=40, validation=12, test=80, choices=choices)
    plan = dataclasses.replace(make.probes(tmp_path, seeds=(0,)), tasks=(task,))
    results = api.run(plan, quiet=True)
    cell, rows = results.cells[0], frames.predictions_table(results).to_pylist()[:80]
    truth, probs = (np.array([row[name] for row in rows]) for name in ("truth", "p_student"))
    assert probs.shape == (80, 4)
    assert {row["student"] for row in rows} == {cell.student}
    assert cell.scores["accuracy"]["student"] == sklearn.accuracy_score(truth, probs.argmax(axis=1))
    area = np.mean([sklearn.roc_auc_score(truth == k, probs[:, k]) for k in range(4)])
    assert cell.scores["auroc"]["student"] == pytest.approx(area, abs=1e-6)
