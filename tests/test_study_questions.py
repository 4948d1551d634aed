"""What a study asks, from any task, with the key apart; and configs that mean nothing."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests import study_site
from w2s_jax.data import tasks
from w2s_jax.data.task_config import TaskConfig
from w2s_jax.runtime.errors import UserError
from w2s_jax.study import config, questions
from w2s_jax.study.protocols import Alone, Chat
from w2s_jax.study.questions import Question


def test_a_table_of_questions(tmp_path: Path) -> None:
    table = TaskConfig(str(study_site.write_questions(tmp_path / "q.jsonl", 8)))
    asked, key = questions.read(table)
    assert len(asked) == len(key) == 8
    for each in asked:
        place = int(each.question.removeprefix("What melts first in story ").partition("?")[0])
        assert each.passage.startswith(f"Passage {place}:")
        assert each.choices == tuple(f"{name} {place}" for name in ("ice", "lead", "salt", "wax"))
        assert key[each.id] == place % 4


def test_two_classes_of_a_text_are_choices() -> None:
    asked, key = questions.read(TaskConfig("cities", pool=20))
    by_id = {each.id: each for each in asked}
    assert {each.choices for each in asked} == {("No", "Yes")}
    assert set(key.values()) == {0, 1}
    assert all(each.passage.startswith("The city of ") for each in by_id.values())


def test_cities_with_four_countries() -> None:
    asked, key = questions.read(TaskConfig("city_choices"))
    assert len(asked) == 1500
    assert all(len(set(each.choices)) == 4 for each in asked)
    right = Counter(each.choices[key[each.id]] for each in asked)
    shown = Counter(choice for each in asked for choice in each.choices)
    assert shown == {country: 4 * count for country, count in right.items()}, "a country alone says nothing"
    places = Counter(key.values())
    assert min(places.values()) > 330, "1,500 hashes: 375 with a standard deviation of 17"
    true = {example.text for example in tasks.load("cities") if example.label}
    for each in asked:
        city = each.question.removeprefix("In which country is the city of ").removesuffix("?")
        assert f"The city of {city} is in {each.choices[key[each.id]]}." in true


def test_fewer_choices_keep_the_right_one(tmp_path: Path) -> None:
    table = TaskConfig(str(study_site.write_questions(tmp_path / "q.jsonl", 24)))
    every = {each.id: each for each in questions.read(table)[0]}
    labels = questions.read(table)[1]
    asked, key = questions.read(table, options=2)
    assert {len(each.choices) for each in asked} == {2}
    for each in asked:
        assert each.choices[key[each.id]] == every[each.id].choices[labels[each.id]]
    assert set(key.values()) == {0, 1}, "the right one is not always in one place"
    assert len({each.choices[1 - key[each.id]].split()[0] for each in asked}) > 2, "nor the wrong one always the same"
    with pytest.raises(UserError, match=r"options=5, but question .* has 4 choices"):
        questions.read(table, options=5)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "a/b"}, "study name 'a/b' must be letters"),
        ({"conditions": {}}, "has no conditions"),
        ({"conditions": {"alone": "alone"}}, "condition 'alone' is a protocol"),
        ({"conditions": [Alone()]}, "conditions are names and protocols"),
        ({"conditions": {"": Alone()}}, "a condition's name is a text, not ''"),
        ({"conditions": {1: Alone()}}, "a condition's name is a text, not 1"),
        ({"name": 3}, "study name 3 must be letters"),
        ({"title": 5}, "title must be a text for participants, not 5"),
        ({"consent": ""}, "consent must be a text for participants, not ''"),
        ({"farewell": None}, "farewell must be a text"),
        ({"reveal": "no"}, "reveal must be True or False, not 'no'"),
        ({"expert": "0.9"}, "an expert's accuracy is above 0 and at most 1, not '0.9'"),
        ({"source": None}, "source of a study is a text, not None"),
        ({"options": "2"}, "options must be 2 to 10"),
        ({"practice": "How many?"}, r"practice is a Question\(...\)"),
        ({"conditions": {"alone": Alone(), "chat": Chat()}, "assistant": None}, "'chat' needs an assistant"),
        ({"assistant": "gemma"}, "assistant is an object of a kind"),
        ({"questions": 0}, "questions must be a whole number, 1 or more, not 0"),
        ({"seconds": 2.5}, "seconds must be a whole number"),
        ({"options": 1}, "options must be 2 to 10"),
        ({"passage": "nobody"}, "unknown reader of the passage 'nobody'"),
        ({"practice": Question("p", "", "?", ("one",))}, "the practice question has 1 choices"),
        ({"task": "cities"}, "a study's task is a TaskConfig"),
    ],
)
def test_what_means_nothing_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        study_site.study(tmp_path, **changes)


def test_a_config_names_a_study(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("study = 3\n")
    with pytest.raises(UserError, match=r"'study' in .* must be a Study, not a int"):
        config.load(str(tmp_path / "mine.py"))
