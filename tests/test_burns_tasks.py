"""The tasks of Burns et al. on records in each source's own format, and that no shape tells a label."""

import pytest

from w2s_jax.data import tasks
from w2s_jax.runtime.errors import UserError

BURNS = [
    "anli_r2",
    "boolq",
    "cola",
    "cosmos_qa",
    "dream",
    "ethics_deontology",
    "ethics_justice",
    "ethics_virtue",
    "ethics_utilitarianism",
    "hellaswag",
    "mc_taco",
    "multirc",
    "openbookqa",
    "paws",
    "piqa",
    "quail",
    "quartz",
    "sciq",
    "social_i_qa",
    "sst2",
    "twitter_sentiment",
    "wic",
]

# Two records of each source, equal but that right and wrong have changed places.
CHOICE = {
    "cosmos_qa": lambda right, wrong: {
        "id": "1",
        "context": "We packed the car at dawn.",
        "question": "Why so early?",
        "answer0": wrong,
        "answer1": right,
        "answer2": "None of the above choices .",
        "answer3": wrong,
        "label": 1,
    },
    "dream": lambda right, wrong: {
        "id": 0,
        "dialogue_id": "d",
        "dialogue": ["W: Coffee?", "M: Tea, please."],
        "question": "What does the man want?",
        "choice": [wrong, right],
        "answer": right,
    },
    "hellaswag": lambda right, wrong: {
        "ind": 4,
        "activity_label": "Cooking",
        "ctx": "She heats the pan. She",
        "endings": [wrong, wrong, right, wrong],
        "source_id": "video~1",
        "label": "2",
    },
    "openbookqa": lambda right, wrong: {
        "id": "7",
        "question_stem": "Ice becomes water by",
        "choices": {"text": [wrong, right], "label": ["A", "B"]},
        "answerKey": "B",
    },
    "piqa": lambda right, wrong: {"goal": "Dry a wet shoe", "sol1": right, "sol2": wrong, "label": 0},
    "quail": lambda right, wrong: {
        "id": "f1_0",
        "context_id": "f1",
        "context": "Ana left early.",
        "question": "Who left?",
        "answers": [wrong, "not enough information", right, wrong],
        "correct_answer_id": 2,
    },
    "quartz": lambda right, wrong: {
        "id": "Q1",
        "question": "More sun makes the lake",
        "choices": {"text": [right, wrong], "label": ["A", "B"]},
        "answerKey": "A",
        "para": "Sun warms water.",
        "para_id": "P1",
    },
    "sciq": lambda right, wrong: {
        "question": "What melts?",
        "correct_answer": right,
        "distractor1": wrong,
        "distractor2": wrong,
        "distractor3": wrong,
        "support": "Ice melts.",
    },
    "social_i_qa": lambda right, wrong: {
        "context": "Kim lost a key.",
        "question": "What will Kim do?",
        "answerA": wrong,
        "answerB": wrong,
        "answerC": right,
        "label": "3",
    },
}
CHOICE["sciq_with_support"] = CHOICE["sciq"]

# name: record -> (label, what the text must hold, the group's content)
PLAIN = {
    "anli_r2": [
        ({"uid": "a", "premise": "It rained.", "hypothesis": "It was wet.", "label": 0}, 1),
        ({"uid": "b", "premise": "It rained.", "hypothesis": "It was a Monday.", "label": 1}, 0),
        ({"uid": "c", "premise": "It rained.", "hypothesis": "It was dry.", "label": 2}, 0),
    ],
    "ethics_deontology": [
        ({"label": 1, "scenario": "Could you feed the cat?", "excuse": "No, because you have no cat."}, 1),
        ({"label": 0, "scenario": "Could you feed the cat?", "excuse": "No, because cats are blue."}, 0),
    ],
    "ethics_justice": [
        ({"label": 1, "scenario": "I deserve a refund because it broke."}, 1),
        ({"label": 0, "scenario": "I deserve a refund because I sneezed."}, 0),
    ],
    "ethics_virtue": [
        ({"label": 1, "scenario": "Lee shared his bread. [SEP] generous"}, 1),
        ({"label": 0, "scenario": "Lee shared his bread. [SEP] cruel"}, 0),
    ],
    "mc_taco": [
        ({"sentence": "He slept.", "question": "How long?", "answer": "8 hours", "label": "yes", "category": "x"}, 1),
        ({"sentence": "He slept.", "question": "How long?", "answer": "8 years", "label": 0, "category": 2}, 0),
    ],
    "multirc": [
        ({"paragraph": "Ann ran home.", "question": "Who ran?", "answer": "Ann", "idx": {}, "label": 1}, 1),
        ({"paragraph": "Ann ran home.", "question": "Who ran?", "answer": "Bob", "idx": {}, "label": 0}, 0),
    ],
    "paws": [
        ({"id": 1, "sentence1": "Dogs chase cats .", "sentence2": "cats chase Dogs .", "label": 0}, 0),
        ({"id": 2, "sentence1": "cats chase Dogs .", "sentence2": "cats , chase Dogs .", "label": 1}, 1),
    ],
    "twitter_sentiment": [({"text": "what a day", "label": 1}, 1)],
    "amazon_polarity": [({"label": 0, "title": "Broke", "content": "After a day."}, 0)],
    "wic": [
        ({"word": "bank", "sentence1": "River bank.", "sentence2": "Bank loan.", "idx": 0, "label": 0}, 0),
        ({"word": "Bank", "sentence1": "A bank.", "sentence2": "The bank.", "idx": 1, "label": 1}, 1),
    ],
}


def rows(name, record):
    return list(tasks.TASKS[name].format(record))


def test_all_22_are_here():
    assert len(BURNS) == 22
    assert set(BURNS) <= set(tasks.TASKS)


@pytest.mark.parametrize("name", sorted(CHOICE))
def test_a_choice_is_one_right_and_one_wrong_row_of_one_group(name):
    right, wrong = rows(name, CHOICE[name]("the good one", "the bad one"))
    assert (right.label, wrong.label) == (1, 0)
    assert right.group == wrong.group
    assert right.text.replace("the good one", "the bad one") == wrong.text


@pytest.mark.parametrize("name", sorted(CHOICE))
def test_only_content_tells_the_label(name):
    """Right and wrong change places: the same two texts come out, with their labels exchanged."""
    first = {row.text: row.label for row in rows(name, CHOICE[name]("answer one", "answer two"))}
    second = {row.text: row.label for row in rows(name, CHOICE[name]("answer two", "answer one"))}
    assert first == {text: 1 - label for text, label in second.items()}


@pytest.mark.parametrize("name", sorted(PLAIN))
def test_labels_and_groups_of_rows_that_belong_together(name):
    made = [(row, label) for record, label in PLAIN[name] for row in rows(name, record)]
    assert len(made) == len(PLAIN[name])
    assert [row.label for row, _ in made] == [label for _, label in made]
    assert len({row.group for row, _ in made}) == 1
    assert len({row.id for row, _ in made}) == len(made)


@pytest.mark.parametrize("name", ["cosmos_qa", "quail"])
def test_an_answer_that_says_nothing_is_never_shown(name):
    record = CHOICE[name]("right", "wrong")
    assert not any("none of" in row.text.lower() or "not enough" in row.text for row in rows(name, record))
    nothing = {"cosmos_qa": {"label": 2}, "quail": {"correct_answer_id": 1}}[name]
    assert rows(name, {**record, **nothing}) == []


def test_utilitarianism_is_a_coin_and_not_the_order_of_the_columns():
    pairs = [{"baseline": f"I found {i} coins.", "less_pleasant": f"I lost {i} coins."} for i in range(200)]
    made = [row for record in pairs for row in rows("ethics_utilitarianism", record)]
    assert 70 < sum(row.label for row in made) < 130
    for record, row in zip(pairs, made, strict=True):
        assert (row.text.index(record["baseline"]) < row.text.index(record["less_pleasant"])) == row.label
    (swapped,) = rows(
        "ethics_utilitarianism", {"baseline": pairs[0]["less_pleasant"], "less_pleasant": pairs[0]["baseline"]}
    )
    assert swapped.label == made[0].label
    assert swapped.text != made[0].text


def test_rows_without_labels_are_left_out():
    assert rows("anli_r2", {"premise": "p", "hypothesis": "h", "label": -1}) == []
    assert rows("hellaswag", {**CHOICE["hellaswag"]("a", "b"), "label": ""}) == []
    assert rows("piqa", {**CHOICE["piqa"]("a", "b"), "label": -1}) == []
    assert rows("wic", {"word": "w", "sentence1": "a", "sentence2": "b", "label": -1}) == []


def test_bad_records_are_one_line():
    with pytest.raises(UserError, match=r"\[SEP\]"):
        rows("ethics_virtue", {"label": 1, "scenario": "no separator"})
    with pytest.raises(UserError, match="answer 9 is none of the 4 options"):
        rows("cosmos_qa", {**CHOICE["cosmos_qa"]("a", "b"), "label": 9})
    with pytest.raises(UserError, match="answer 'Z' is none of A, B"):
        rows("openbookqa", {**CHOICE["openbookqa"]("a", "b"), "answerKey": "Z"})


def test_a_comparison_is_two_whole_dialogues_and_which_is_better():
    opening = "\n\nHuman: Hi\n\nAssistant:"
    made = []
    for number in range(100):
        record = {"chosen": f"{opening} good {number}", "rejected": f"{opening} bad {number}"}
        (row,) = rows("hh_pairs", record)
        assert isinstance(row.text, tuple)
        assert row.text[row.label].endswith(f"Assistant: good {number}")
        assert row.text[1 - row.label].endswith(f"Assistant: bad {number}")
        (shown,) = rows("hh", record)
        assert (shown.label, shown.id, shown.group) == (row.label, row.id, row.group)
        made.append(row.label)
    assert 30 < sum(made) < 70
