"""What a participant may do, and the event that it makes: pure functions of where the participant is."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from w2s_jax.study.progress import Progress

LONGEST = 4000  # characters of a message
SIMULATED = 100  # characters of what plays a participant


class Refused(Exception):
    """It cannot be done, or not now; one line says why, for whoever reads the page.

    Attributes:
      status: as HTTP has it: 400 for what never means anything, 409 for what comes too late or too early.
    """

    def __init__(self, why: str, status: int = 400) -> None:
        super().__init__(why)
        self.status = status


class Made(NamedTuple):
    """The event that an action makes, not yet recorded."""

    kind: str
    body: Mapping[str, Any]


def event_of(progress: Progress, action: Mapping[str, Any]) -> Made:
    """The event that a participant's action makes.

    Args:
      action: `do`, and what it needs; the docstring of `study.server` lists them.

    Raises:
      Refused: it means nothing, or cannot be done now.
    """
    do = action.get("do")
    if not isinstance(do, str) or do not in _ACTIONS:
        raise Refused(f"'do' is one of: {', '.join(_ACTIONS)}")
    stages, make = _ACTIONS[do]
    if progress.halted is not None and do not in _ALWAYS:
        raise Refused("The study is stopped for the moment.", 409)
    if progress.stage not in stages:
        raise Refused(f"This cannot be done now: {do} while {progress.stage}.", 409)
    if "position" in action and action["position"] != progress.position:
        raise Refused("This question is over.", 409)
    return make(progress, action)


def _consent(progress: Progress, action: Mapping[str, Any]) -> Made:
    agree, simulated = action.get("agree"), action.get("simulated", "")
    if not isinstance(agree, bool):
        raise Refused("'agree' is true or false")
    if not isinstance(simulated, str) or len(simulated) > SIMULATED:
        raise Refused(f"'simulated' is a name of at most {SIMULATED} characters; empty for a person")
    return Made("consented", {"agree": agree, "simulated": simulated})


def _plain(kind: str) -> Callable[[Progress, Mapping[str, Any]], Made]:
    """An action without anything to say."""
    return lambda progress, action: Made(kind, {})


def _here(kind: str) -> Callable[[Progress, Mapping[str, Any]], Made]:
    """An action on the question that is next or open."""
    return lambda progress, action: Made(kind, {"position": progress.position})


def _choose(progress: Progress, action: Mapping[str, Any]) -> Made:
    choice, confidence = action.get("choice"), action.get("confidence")
    return Made("chose", _chosen(progress, choice, confidence))


def _answer(progress: Progress, action: Mapping[str, Any]) -> Made:
    choice, confidence = action.get("choice"), action.get("confidence")
    if choice is None:
        raise Refused("Please choose one of the options.")
    if confidence is None:
        raise Refused("Please say how sure you are.")
    return Made("answered", _chosen(progress, choice, confidence))


def _chosen(progress: Progress, choice: object, confidence: object) -> dict[str, Any]:
    """A choice and a confidence that are in range, or None."""
    count = len(progress.item(progress.position).question.choices)
    if choice is not None and (not isinstance(choice, int) or isinstance(choice, bool) or not 0 <= choice < count):
        raise Refused(f"'choice' is a whole number from 0 to {count - 1}")
    if confidence is not None:
        if not isinstance(confidence, int | float) or isinstance(confidence, bool):
            raise Refused("'confidence' is a number")
        if not 1 / count - 1e-6 <= confidence <= 1:  # NaN is not
            raise Refused(f"'confidence' is a probability from 1/{count} to 1")
        confidence = max(float(confidence), 1 / count)
    return {"position": progress.position, "choice": choice, "confidence": confidence}


def _say(progress: Progress, action: Mapping[str, Any]) -> Made:
    text = action.get("text")
    if not isinstance(text, str) or not text.strip():
        raise Refused("Please write something.")
    if len(text) > LONGEST:
        raise Refused(f"Please write at most {LONGEST:,} characters.")
    asked = progress.open
    assert asked is not None
    if action.get("said", len(asked.lines)) != len(asked.lines) or not progress.may_write():
        raise Refused("You cannot write now.", 409)
    return Made("said", {"position": progress.position, "text": text.strip()})


def _retry(progress: Progress, action: Mapping[str, Any]) -> Made:
    asked = progress.open
    assert asked is not None
    if not asked.notice:
        raise Refused("There is nothing to try again.", 409)
    return Made("retried", {"position": progress.position})


_ALWAYS = ("away", "back")
_ACTIONS: Mapping[str, tuple[tuple[str, ...], Callable[[Progress, Mapping[str, Any]], Made]]] = {
    "consent": (("consent", "declined"), _consent),
    "begin": (("instructions",), _plain("begun")),
    "start": (("ready",), _here("shown")),
    "choose": (("question",), _choose),
    "say": (("question",), _say),
    "retry": (("question",), _retry),
    "answer": (("question",), _answer),
    "next": (("revealed",), _here("went_on")),
    "pause": (("ready",), _plain("paused")),
    "resume": (("paused",), _plain("resumed")),
    "away": (("question",), _here("away")),
    "back": (("question",), _here("back")),
}
