"""What a study's events amount to: states, answers, messages, and what was done when."""

import math
from pathlib import Path

import pytest

from tests import study_site
from w2s_jax.data import answers as tables
from w2s_jax.study import assignment, export, questions
from w2s_jax.study.config import Study
from w2s_jax.study.events import Event
from w2s_jax.study.progress import Progress, folded
from w2s_jax.study.protocols import Chat


class Story:
    """Events one after another, each a second after the last unless it says when."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.now = 100.0

    def tell(self, kind: str, who: str = "p001", after: float = 1.0, **body: object) -> None:
        self.now += after
        self.events.append(Event(len(self.events) + 1, self.now, who, kind, body))


@pytest.fixture
def made(tmp_path: Path) -> tuple[Study, tuple[assignment.Session, ...]]:
    made = study_site.study(tmp_path, conditions={"chat": Chat()}, participants=2)
    blocks = assignment.draw_blocks(made, questions.read(made.task)[0])
    return made, tuple(assignment.session(made, blocks, number) for number in range(2))


@pytest.fixture
def story() -> Story:
    told = Story()
    told.tell("opened", who="")
    told.tell("consented", agree=True, simulated="")
    told.tell("begun")
    told.tell("shown", position=-1)
    told.tell("answered", position=-1, choice=0, confidence=1.0)
    told.tell("shown", position=0)
    told.tell("chose", after=5, position=0, choice=2, confidence=None)
    told.tell("chose", position=0, choice=2, confidence=0.5)
    told.tell("said", position=0, text="Is it (A)?")
    told.tell("replied", position=0, speaker=0, text="No, the answer is (B).", cut=False)
    told.tell("away", position=0)
    told.tell("back", after=3, position=0)
    told.tell("away", position=0)
    told.tell("stopped", who="")
    told.tell("resumed", who="", after=20)
    told.tell("back", position=0)
    told.tell("chose", position=0, choice=1, confidence=0.8)
    told.tell("answered", position=0, choice=3, confidence=0.9)
    told.tell("shown", position=1)
    told.tell("said", position=1, text="Hello?")
    told.tell("gone", position=1, speaker=0, why="no network")
    told.tell("chose", position=1, choice=0, confidence=None)
    told.tell("away", position=1)
    told.tell("expired", after=296, position=1, choice=-1, confidence=None)
    return told


def test_answers(made: tuple[Study, tuple[assignment.Session, ...]], story: Story) -> None:
    study, sessions = made
    one, two = export.answers(folded(study, sessions, story.events).values())
    first = sessions[0].items[0].question
    assert one[:7] == ("p001", "", "chat", first.id, first.group, 0, 4)
    assert (one.choice, one.confidence, one.turns, one.changes, one.suggested) == (3, 0.9, 1, 2, 1)
    assert one.seconds == 5 + 1 + 1 + 1 + 1 + 3 + 1 + 1 + 1 + 1 + 1, (
        "from shown to answered, without 20 s for which it was stopped"
    )
    assert (one.read_seconds, one.away_seconds) == (5, 3 + 1 + 1), "two absences, of which 20 s do not count"
    assert (two.choice, two.turns, two.changes, two.suggested, two.seconds) == (-1, 1, 0, -1, 300)
    assert (two.read_seconds, two.away_seconds) == (1, 296), "until it expired"
    assert math.isnan(two.confidence)


def test_tables_are_written_and_read(
    made: tuple[Study, tuple[assignment.Session, ...]], story: Story, tmp_path: Path
) -> None:
    import pyarrow.parquet as pq

    study, sessions = made
    found = export.tables(study, sessions, story.events)
    assert export.write(found, tmp_path) == [tmp_path / name for name in export.FILES]
    again = tables.read_answers(tmp_path)
    assert [each._replace(confidence=0) for each in again] == [each._replace(confidence=0) for each in found.answers]
    messages = pq.read_table(tmp_path / "messages.parquet").to_pylist()
    told = [(each["position"], each["number"], each["speaker"], each["text"], each["seconds"]) for each in messages]
    assert told == [
        (0, 0, "participant", "Is it (A)?", 7.0),
        (0, 1, "Assistant", "No, the answer is (B).", 8.0),
        (1, 0, "participant", "Hello?", 1.0),
    ]
    timeline = pq.read_table(tmp_path / "timeline.parquet").to_pylist()
    assert [each["kind"] for each in timeline] == [
        event.kind for event in story.events if event.body.get("position", -1) >= 0
    ]
    assert {each["participant"] for each in timeline} == {"p001"}
    export.write(export.tables(study, sessions, []), tmp_path)
    assert tables.read_answers(tmp_path) == [], "a study that has just begun has tables, too"


def test_states_are_the_same_however_often_the_server_starts(
    made: tuple[Study, tuple[assignment.Session, ...]], story: Story
) -> None:
    study, sessions = made
    going = Progress(study, sessions[0])
    for number, event in enumerate(story.events, 1):
        going.apply(event)
        again = folded(study, sessions, story.events[:number])["p001"]
        assert vars(again) == vars(going)
    asked = going.asked[0]
    assert (asked.away, asked.read) == (5.0, 5.0)
    assert (going.stage, going.position) == ("ready", 2)
    other = folded(study, sessions, story.events)["p002"]
    assert (other.stage, other.asked) == ("consent", {}), "others' events are not theirs"
