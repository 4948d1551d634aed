"""What a participant's page is given: nothing but what this participant may see now."""

from typing import Any, NamedTuple

from w2s_jax.study.progress import PRACTICE, Progress
from w2s_jax.study.protocols import PARTICIPANT
from w2s_jax.study.questions import Key

GONE = "The assistant does not answer at the moment. You can ask it again, or answer without it."
OVER = "Time ran out on the last question before you had chosen an option and said how sure you are."
OVER_WITH_AN_ANSWER = "Time ran out on the last question. What you had chosen by then counts as your answer."
STOPPED = "The study is stopped for the moment. Your time is stopped, too. This page goes on by itself."
DECLINED = "You have not agreed to take part. Nothing more is recorded. You can close this page, or change your mind."


class Speaking(NamedTuple):
    """A reply that is being written.

    Attributes:
      name: of the speaker.
      text: as far as it is.
    """

    name: str
    text: str


def view(progress: Progress, now: float, speaking: Speaking | None = None, key: Key | None = None) -> dict[str, Any]:
    """The participant's state as JSON values; the docstring of `study.server` says what they are.

    Args:
      now: seconds since 1970.
      key: only where the study reveals what was right.
    """
    study = progress.study
    found: dict[str, Any] = {
        "version": progress.version,
        "title": study.title,
        "stage": progress.stage,
        "position": progress.position,
        "total": len(progress.session.items),
        "seconds": study.seconds,
    }
    texts = {
        "consent": study.consent,
        "declined": DECLINED,
        "instructions": study.instructions,
        "end": study.farewell,
    }
    if progress.stage in texts:
        return found | {"text": texts[progress.stage].strip()}
    if progress.halted is not None:
        return found | {"stage": "stopped", "text": STOPPED}
    found["condition"] = _condition(progress)
    found["before"] = _before(progress)
    if progress.stage in ("question", "revealed"):
        found |= _question(progress, now, speaking)
    if progress.stage == "revealed" and key is not None:
        found["right"] = key[progress.item(progress.position).question.id]
    return found


def _condition(progress: Progress) -> dict[str, Any]:
    position, items = progress.position, progress.session.items
    name = progress.item(position).condition
    protocol = progress.protocol(position)
    return {
        "name": name,
        "title": protocol.title,
        "text": protocol.explanation(),
        "new": position <= 0 or items[position - 1].condition != name,
        "practice": position == PRACTICE,
    }


def _before(progress: Progress) -> str:
    """What became of the question before, if time ran out."""
    before = progress.asked.get(progress.position - 1)
    if before is None or not before.expired:
        return ""
    return OVER if before.choice is None else OVER_WITH_AN_ANSWER


def _question(progress: Progress, now: float, speaking: Speaking | None) -> dict[str, Any]:
    asked, item = progress.asked[progress.position], progress.item(progress.position)
    protocol, question = progress.protocol(progress.position), item.question
    names = progress.speakers(progress.position)
    return {
        "question": {
            "passage": "" if progress.study.passage == "assistant" else question.passage,
            "question": question.question,
            "choices": list(question.choices),
            "least": 1 / len(question.choices),
        },
        "choice": asked.choice,
        "confidence": asked.confidence,
        "seconds_left": progress.seconds_left(now) if progress.open else 0.0,
        "speakers": list(names),
        "messages": [
            {
                "from": "You" if line.speaker == PARTICIPANT else names[line.speaker],
                "mine": line.speaker == PARTICIPANT,
                "text": line.text,
            }
            for line in asked.lines
        ],
        "writing": None if speaking is None else {"from": speaking.name, "text": speaking.text},
        "may_write": progress.may_write(),
        "writes": protocol.writes,
        "turns_left": max(progress.study.turns - asked.turns, 0) if protocol.writes else 0,
        "notice": GONE if asked.notice else "",
    }
