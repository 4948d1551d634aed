"""A study's events as tables: answers, messages, and what was done when. Anonymous, and without labels."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from w2s_jax.data.answers import ANSWERS, NO_CHOICE, Answer, write_answers
from w2s_jax.runtime import files
from w2s_jax.study.assignment import Session
from w2s_jax.study.config import Study
from w2s_jax.study.events import Event
from w2s_jax.study.progress import Progress, folded
from w2s_jax.study.protocols import PARTICIPANT

MESSAGES, TIMELINE = "messages.parquet", "timeline.parquet"
FILES = (ANSWERS, MESSAGES, TIMELINE)  # that the researcher's page gives away: not the key

_WHO = {"participant": "string", "simulated": "string", "condition": "string", "question": "string"}
_PLACE = {**_WHO, "group": "string", "position": "int64"}
_COLUMNS: Mapping[str, Mapping[str, str]] = {
    MESSAGES: {
        **_PLACE,
        "number": "int64",
        "speaker": "string",
        "argues_for": "int64",
        "text": "string",
        "cut": "bool",
        "seconds": "float64",
    },
    TIMELINE: {**_PLACE, "kind": "string", "seconds": "float64", "choice": "int64", "confidence": "float64"},
}
Rows = list[dict[str, Any]]


class Tables(NamedTuple):
    """The rows of each file. The practice question is in none."""

    answers: list[Answer]
    messages: Rows
    timeline: Rows


def tables(study: Study, sessions: Sequence[Session], events: Sequence[Event]) -> Tables:
    """What a study's events amount to."""
    known = folded(study, sessions, events)
    return Tables(answers(known.values()), _messages(known, events), _timeline(known, events))


def write(tables: Tables, folder: Path) -> list[Path]:
    """Writes each table as Parquet, atomically."""
    write_answers(folder / ANSWERS, tables.answers)
    _write(folder / MESSAGES, tables.messages)
    _write(folder / TIMELINE, tables.timeline)
    return [folder / name for name in FILES]


def _write(path: Path, rows: Rows) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(column, pa.type_for_alias(kind)) for column, kind in _COLUMNS[path.name].items()])
    with files.atomic(path) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), temporary)


def answers(known: Iterable[Progress]) -> list[Answer]:
    """One for each question of these participants that is over, in the order in which they ended.

    `seconds` are without those for which the study was stopped. `suggested` is what the assistant last argued for or
    named.
    """
    found = []
    for progress in known:
        for position, asked in progress.asked.items():
            if position < 0 or asked.ended is None:
                continue
            item, question = progress.item(position), progress.item(position).question
            answer = Answer(
                **_place(progress, position),
                n_choices=len(question.choices),
                choice=NO_CHOICE if asked.choice is None else asked.choice,
                confidence=math.nan if asked.confidence is None else asked.confidence,
                seconds=asked.seconds(asked.ended),
                read_seconds=math.nan if asked.read is None else asked.read,
                away_seconds=asked.away,
                turns=asked.turns,
                changes=asked.changes,
                suggested=progress.protocol(position).suggested(question, item.sides, asked.lines),
            )
            found.append((asked.ended, answer))
    return [answer for _, answer in sorted(found, key=lambda each: (each[0], each[1].participant))]


def _place(progress: Progress, position: int) -> dict[str, Any]:
    item = progress.item(position)
    return {
        "participant": progress.session.participant,
        "simulated": progress.simulated,
        "condition": item.condition,
        "question": item.question.id,
        "group": item.question.group or item.question.id,
        "position": position,
    }


def _messages(known: Mapping[str, Progress], events: Sequence[Event]) -> Rows:
    rows: Rows = []
    numbers: Counter[tuple[str, int]] = Counter()
    for event in _on_questions(events, known, ("said", "replied")):
        progress, position = known[event.participant], event.body["position"]
        item = progress.item(position)
        speaker = event.body.get("speaker", PARTICIPANT)
        names = progress.speakers(position)
        rows.append(
            {
                **_place(progress, position),
                "number": numbers[event.participant, position],
                "speaker": "participant" if speaker == PARTICIPANT else names[speaker],
                "argues_for": -1 if speaker == PARTICIPANT else item.sides[speaker],
                "text": event.body["text"],
                "cut": event.body.get("cut", False),
                "seconds": event.at - progress.asked[position].shown,
            }
        )
        numbers[event.participant, position] += 1
    return sorted(rows, key=_who)


def _timeline(known: Mapping[str, Progress], events: Sequence[Event]) -> Rows:
    kinds = ("shown", "chose", "said", "replied", "gone", "retried", "answered", "expired", "away", "back")
    rows = [
        {
            **_place(known[event.participant], event.body["position"]),
            "kind": event.kind,
            "seconds": event.at - known[event.participant].asked[event.body["position"]].shown,
            "choice": event.body.get("choice"),
            "confidence": event.body.get("confidence"),
        }
        for event in _on_questions(events, known, kinds)
    ]
    return sorted(rows, key=_who)


def _who(row: Mapping[str, Any]) -> str:
    """What rows are sorted by, so that a session stands together, each in the order in which things happened."""
    return str(row["participant"])


def _on_questions(events: Sequence[Event], known: Mapping[str, Progress], kinds: Sequence[str]) -> Iterable[Event]:
    """The events of these kinds on questions that count."""
    return (
        event for event in events if event.participant in known and event.kind in kinds and event.body["position"] >= 0
    )
