"""What the researcher sees while a study goes on. There is no accuracy: the server has no key, and who looks at results
while they come decides with them when to stop.
"""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from w2s_jax.data.answers import Answer
from w2s_jax.study import export
from w2s_jax.study.live import Live, Room

LATEST = 100  # answers that are shown


def overview(live: Live, folder: Path) -> dict[str, Any]:
    """Who is where, the latest answers, and each condition's numbers so far, as JSON values.

    Args:
      folder: of the study.
    """
    now = live.now()
    rows = export.answers(room.progress for room in live.rooms.values())
    return {
        "title": live.study.title,
        "name": live.study.name,
        "stopped": live.stopped,
        "total": live.study.questions * len(live.study.conditions),
        "answers": len(rows),
        "people": [_person(room, now) for room in live.rooms.values()],
        "latest": [_shown(row) for row in rows[: -LATEST - 1 : -1]],
        "table": [_so_far(name, [row for row in rows if row.condition == name]) for name in live.study.conditions],
        "folder": str(folder),
        "files": [name for name in export.FILES if (folder / name).is_file()],
    }


def _person(room: Room, now: float) -> dict[str, Any]:
    progress, asked = room.progress, room.progress.open
    waits = progress.stage in ("ready", "paused", "question", "revealed")
    return {
        "participant": progress.session.participant,
        "simulated": progress.simulated,
        "stage": progress.stage,
        "position": progress.position,
        "answered": sum(each.ended is not None for position, each in progress.asked.items() if position >= 0),
        "condition": progress.item(progress.position).condition if waits else "",
        "seconds_left": None if asked is None else round(progress.seconds_left(now)),
        "online": bool(room.streams),
        "quiet": None if progress.last is None else round(now - progress.last),
        "notice": "" if asked is None else asked.notice,
    }


def _shown(answer: Answer) -> dict[str, Any]:
    return answer._asdict() | {"confidence": answer.confidence if answer.is_given else None}


def _so_far(name: str, rows: Sequence[Answer]) -> dict[str, Any]:
    given = [row for row in rows if row.is_given]
    return {
        "condition": name,
        "answers": len(rows),
        "expired": len(rows) - len(given),
        "confidence": statistics.fmean(row.confidence for row in given) if given else None,
        "seconds": statistics.median(row.seconds for row in rows) if rows else None,
        "turns": statistics.fmean(row.turns for row in rows) if rows else None,
        "changes": statistics.fmean(row.changes for row in rows) if rows else None,
    }
