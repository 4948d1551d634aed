"""Which question a participant sees under which condition, and when: counterbalanced, and the same for the same seed.

Questions are drawn once, into one block for each condition, so that several people answer each question. Participants
take the conditions in different orders, and the blocks change places between conditions: after `2 * conditions**2`
participants (half as many for an even number of conditions) every block has met every condition in every order equally
often, and after `2 * conditions` every condition has stood in every place, after every other, equally often.
"""

import random
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from w2s_jax.runtime.errors import UserError
from w2s_jax.study.config import Study
from w2s_jax.study.protocols import Protocol
from w2s_jax.study.questions import Question


class Item(NamedTuple):
    """One question of one participant.

    Attributes:
      condition: its name.
      sides: the choice that each speaker argues for; -1 for none.
      seed: of what is drawn on it.
    """

    condition: str
    question: Question
    sides: tuple[int, ...]
    seed: int


class Session(NamedTuple):
    """All questions of one participant.

    Attributes:
      participant: `p001`.
      practice: before the others; None is none.
      items: in order.
    """

    participant: str
    practice: Item | None
    items: tuple[Item, ...]


def name(number: int) -> str:
    """What the participant of a number from 0 is called: `p001`."""
    return f"p{number + 1:03d}"


def session(study: Study, blocks: Sequence[Sequence[Question]], number: int) -> Session:
    """The questions of a participant.

    Args:
      blocks: as `draw_blocks` has them.
      number: of the participant, from 0.
    """
    conditions = list(study.conditions)
    count = len(conditions)
    orders = balanced_orders(count)
    turn = (number + number // len(orders)) % count
    items = []
    for place in orders[number % len(orders)]:
        block = list(blocks[(place + turn) % count])
        random.Random(f"order {study.seed} {number} {place}").shuffle(block)
        items += [_item(study, conditions[place], question, number) for question in block]
    practice = None if study.practice is None else _item(study, study.practice_condition, study.practice, number)
    return Session(name(number), practice, tuple(items))


def _item(study: Study, condition: str, question: Question, number: int) -> Item:
    protocol: Protocol = study.conditions[condition]
    draw = random.Random(f"item {study.seed} {number} {condition} {question.id}")
    sides = protocol.sides(len(question.choices), draw)
    return Item(condition, question, sides, draw.randrange(2**31))


def draw_blocks(study: Study, questions: Sequence[Question]) -> list[list[Question]]:
    """As many blocks of different questions as there are conditions.

    A group, such as the questions on one passage, is in one block at most, and a block takes from as many groups as it
    can, so that nobody reads a passage alone and again with an assistant.

    Raises:
      UserError: there are too few groups or questions.
    """
    draw = random.Random(f"questions {study.seed}")
    groups: dict[str, list[Question]] = defaultdict(list)
    for question in sorted(questions):
        groups[question.group or question.id].append(question)
    shuffled = draw.sample(sorted(groups), len(groups))
    count = len(study.conditions)
    if len(shuffled) < count:
        raise UserError(
            f"the task has {len(shuffled)} groups of questions; {count} conditions need {count}, as no group is in two"
        )
    blocks = []
    for number in range(count):
        mine = [draw.sample(groups[group], len(groups[group])) for group in shuffled[number::count]]
        rounds = range(max(map(len, mine)))
        block = [group[place] for place in rounds for group in mine if place < len(group)]
        if len(block) < study.questions:
            raise UserError(
                f"{count} conditions of {study.questions} questions need {count * study.questions} questions in "
                f"different groups; condition {list(study.conditions)[number]!r} gets {len(block)}: ask fewer"
            )
        blocks.append(block[: study.questions])
    return blocks


def balanced_orders(count: int) -> list[tuple[int, ...]]:
    """Orders of so many conditions in which each stands in every place, and directly after each other, equally often.

    A Williams design: a Latin square for an even count, and two for an odd one.

    >>> balanced_orders(2)
    [(0, 1), (1, 0)]

    Source: Williams 1949, Experimental designs balanced for the estimation of residual effects of treatments.
    """
    zigzag = [0]
    for step in range(1, count):
        zigzag.append((step + 1) // 2 if step % 2 else count - step // 2)
    square = [tuple((place + row) % count for place in zigzag) for row in range(count)]
    return square if count % 2 == 0 or count == 1 else square + [row[::-1] for row in square]
