"""Which question a participant sees under which condition: different ones, counterbalanced, the same for a seed."""

import dataclasses
from collections import Counter
from itertools import pairwise, product
from pathlib import Path

import pytest

from tests import study_site
from w2s_jax.runtime.errors import UserError
from w2s_jax.study import assignment
from w2s_jax.study.protocols import Alone, Chat, Consultancy, Debate
from w2s_jax.study.questions import Question

QUESTIONS = [Question(f"q{n:02d}", "", f"{n}?", ("yes", "no", "perhaps"), f"g{n // 2}") for n in range(60)]
PROTOCOLS = {"alone": Alone(), "chat": Chat(), "consultancy": Consultancy(), "debate": Debate()}


def sessions(folder: Path, conditions: int, participants: int, seed: int = 0) -> list[assignment.Session]:
    made = study_site.study(folder, conditions=dict(list(PROTOCOLS.items())[:conditions]), questions=4, seed=seed)
    blocks = assignment.draw_blocks(made, QUESTIONS)
    return [assignment.session(made, blocks, number) for number in range(participants)]


@pytest.mark.parametrize("conditions", [1, 2, 3, 4])
def test_each_participant_sees_every_question_once(tmp_path: Path, conditions: int) -> None:
    every = sessions(tmp_path, conditions, 12)
    asked = {item.question for item in every[0].items}
    assert len(asked) == 4 * conditions
    for session in every:
        assert {item.question for item in session.items} == asked
        assert Counter(item.condition for item in session.items) == dict.fromkeys(list(PROTOCOLS)[:conditions], 4)
        changes = sum(a.condition != b.condition for a, b in pairwise(session.items))
        assert changes == conditions - 1, "a condition's questions follow one another"
    assert len({session.participant for session in every}) == 12


@pytest.mark.parametrize("conditions", [2, 3, 4])
def test_conditions_stand_in_every_place_after_every_other(conditions: int) -> None:
    orders = assignment.balanced_orders(conditions)
    for place in range(conditions):
        counts = Counter(order[place] for order in orders)
        assert set(counts.values()) == {len(orders) // conditions}
    followed = Counter(pair for order in orders for pair in pairwise(order))
    pairs = {pair for pair in product(range(conditions), repeat=2) if pair[0] != pair[1]}
    assert set(followed) == pairs
    assert len(set(followed.values())) == 1


@pytest.mark.parametrize(("conditions", "participants"), [(2, 4), (3, 18), (4, 16)])
def test_every_question_meets_every_condition_in_every_order_equally_often(
    tmp_path: Path, conditions: int, participants: int
) -> None:
    met: Counter[tuple[str, str, str]] = Counter()
    for session in sessions(tmp_path, conditions, participants):
        order = ">".join(dict.fromkeys(item.condition for item in session.items))
        met.update((item.question.id, item.condition, order) for item in session.items)
    orders = len(assignment.balanced_orders(conditions))
    assert len(met) == 4 * conditions * conditions * orders
    assert set(met.values()) == {1}


def test_a_group_is_under_one_condition_only(tmp_path: Path) -> None:
    for session in sessions(tmp_path, 3, 6):
        under: dict[str, set[str]] = {}
        for item in session.items:
            under.setdefault(item.question.group, set()).add(item.condition)
        assert all(len(conditions) == 1 for conditions in under.values())
        assert len(under) == 12, "where there are groups enough, each gives one question"


def test_the_seed_decides_all(tmp_path: Path) -> None:
    assert sessions(tmp_path, 4, 8) == sessions(tmp_path, 4, 8)
    assert sessions(tmp_path, 4, 8) == sessions(tmp_path, 4, 9)[:8], "more participants change nothing for the others"
    other = sessions(tmp_path, 4, 8, seed=1)
    assert {item.question for item in other[0].items} != {item.question for item in sessions(tmp_path, 4, 1)[0].items}


def test_sides_are_drawn_evenly_and_without_the_key(tmp_path: Path) -> None:
    items = [item for session in sessions(tmp_path, 4, 200) for item in session.items]
    argued = Counter(item.sides for item in items if item.condition == "consultancy")
    assert set(argued) == {(0,), (1,), (2,)}
    assert min(argued.values()) > 0.28 * sum(argued.values()), "800 draws: 1/3 with a standard error of .017"
    assert {tuple(sorted(item.sides)) for item in items if item.condition == "debate"} == {(0, 1, 2)}
    assert {item.sides for item in items if item.condition == "alone"} == {()}
    assert {item.sides for item in items if item.condition == "chat"} == {(-1,)}


def test_too_few_questions_or_groups(tmp_path: Path) -> None:
    made = study_site.study(tmp_path, questions=40)
    with pytest.raises(UserError, match="2 conditions of 40 questions need 80 questions in different groups"):
        assignment.draw_blocks(made, QUESTIONS)
    alike = [question._replace(group="one") for question in QUESTIONS]
    with pytest.raises(UserError, match="the task has 1 groups of questions; 2 conditions need 2"):
        assignment.draw_blocks(made, alike)
    alone = dataclasses.replace(made, conditions={"alone": Alone()})
    assert len(assignment.draw_blocks(alone, alike)[0]) == 40
