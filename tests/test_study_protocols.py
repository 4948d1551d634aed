"""Who speaks when, what speakers read, and what an assistant named."""

import pytest

from w2s_jax.runtime.errors import UserError
from w2s_jax.study.naming import named_choice
from w2s_jax.study.protocols import PARTICIPANT, Alone, Chat, Consultancy, Debate, Line, Protocol
from w2s_jax.study.questions import Question

ASKED = Question("q1", "It is cold.", "What melts?", ("ice", "lead", "salt"))
ME = Line(PARTICIPANT, "Why?")


def turns(protocol: Protocol, asks: int, most: int = 3) -> list[int]:
    """Who speaks, if the participant writes so often, as often as it may."""
    lines: list[Line] = []
    while True:
        due = protocol.due(lines, 3)
        if due is not None:
            lines.append(Line(due, "..."))
        elif asks and protocol.may_write(lines, 3, most):
            asks -= 1
            lines.append(ME)
        else:
            return [line.speaker for line in lines]


def test_who_speaks_when() -> None:
    assert turns(Alone(), 2) == []
    assert turns(Chat(), 0) == []
    assert turns(Chat(), 2) == [-1, 0, -1, 0]
    assert turns(Chat(), 9) == [-1, 0, -1, 0, -1, 0], "no more than the study's turns"
    assert turns(Consultancy(), 1) == [0, -1, 0]
    assert turns(Debate(rounds=2), 5) == [0, 1, 2, 0, 1, 2]
    assert turns(Debate(rounds=1, asks=True), 2) == [0, 1, 2, -1, 0, 1, 2, -1, 0, 1, 2]
    assert [p.assisted for p in (Alone(), Chat(), Consultancy(), Debate())] == [False, True, True, True]
    with pytest.raises(UserError, match="1 round or more, not 0"):
        Debate(rounds=0)
    with pytest.raises(UserError, match=r"1 round or more, not 1\.5"):
        Debate(rounds=1.5)  # type: ignore[arg-type]


def test_an_assistant_reads_the_question_and_the_dialogue() -> None:
    lines = [ME, Line(0, "Because."), Line(PARTICIPANT, "Sure?")]
    system, *said = Chat().messages(ASKED, (-1,), lines, 0)
    assert system.role == "system"
    assert system.content.endswith("It is cold.\n\nQuestion: What melts?\nA. ice\nB. lead\nC. salt")
    assert said == [("user", "Why?"), ("assistant", "Because."), ("user", "Sure?")]
    assert "It is cold." not in Chat().messages(ASKED, (-1,), lines, 0, passage=False)[0].content


def test_a_consultant_is_told_what_to_argue_for() -> None:
    system, opening = Consultancy().messages(ASKED, (1,), [], 0)
    assert "that the right answer is: B. lead." in system.content
    assert opening.role == "user"


def test_debaters_of_one_round_do_not_read_each_other() -> None:
    debate, sides = Debate(rounds=2), (2, 0, 1)
    first = [Line(0, "first"), Line(1, "second")]
    assert "first" not in str(debate.messages(ASKED, sides, first, 2)), "the third of a round sees nothing of it"
    whole = [*first, Line(2, "third"), Line(0, "again")]
    second = debate.messages(ASKED, sides, whole, 1)
    assert [each.role for each in second] == ["system", "user", "assistant", "user"]
    assert second[1].content == "Debater 1: first"
    assert second[2].content == "second"
    assert second[3].content == "Debater 3: third", "but all of the round before, and nothing of `again`"
    assert "the right answer is: A. ice" in second[0].content


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("I think it is (B).", 1),
        ("The answer is C, surely.", 2),
        ("Answer: A", 0),
        ("B. lead is what melts", 1),
        ("It must be lead.", 1),
        ("Either (A) or (B).", -1),
        ("A good question. I do not know.", -1),
        ("Perhaps ice or salt", -1),
        ("slice and leading", -1),
        ("", -1),
    ],
)
def test_which_choice_is_named(text: str, choice: int) -> None:
    assert named_choice(text, ASKED.choices) == choice


def test_a_longer_choice_is_not_the_shorter_one_in_it() -> None:
    assert named_choice("It was the red fox.", ("fox", "red fox", "hen")) == 1


def test_what_was_suggested() -> None:
    lines = [ME, Line(0, "It is (B)."), ME, Line(0, "Hard to say.")]
    assert Chat().suggested(ASKED, (-1,), lines) == 1, "the last that was named"
    assert Chat().suggested(ASKED, (-1,), [Line(PARTICIPANT, "Is it (B)?")]) == -1, "not what the participant named"
    assert Consultancy().suggested(ASKED, (2,), lines) == 2
    assert Consultancy().suggested(ASKED, (2,), []) == -1
    assert Debate().suggested(ASKED, (2, 0, 1), [Line(0, "x"), Line(1, "(A)")]) == -1
