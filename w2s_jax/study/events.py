"""What is recorded of a study. Everything else follows from it.

Events of a participant, by kind, with what their body holds (a `position` of -1 is the practice question):

  consented  agree; simulated: what plays the participant, empty for a person
  begun      the instructions were read
  shown      position: the question was opened, and its time began
  chose      position, choice, confidence: a choice before the answer; each may be None
  said       position, text: a message of the participant
  replied    position, speaker, text, cut: a reply; `cut` if time ran out over it
  gone       position, speaker, why: the assistant does not answer
  retried    position: the participant asks it again
  answered   position, choice, confidence
  expired    position, choice, confidence: time ran out; choice is -1 and confidence None if there was no answer by then
  went_on    position: what was right was read, where a study reveals it
  paused, resumed                   by the participant, between questions
  away, back position: the page was hidden, and shown again

Events of the study, whose participant is empty: `opened` (the server started), `stopped` and `resumed` (by the
researcher).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Event(NamedTuple):
    """Something that happened.

    Attributes:
      number: 1, 2, ... in the order in which they were recorded.
      at: seconds since 1970 by the server's clock.
      participant: `p001`; empty for the study itself.
    """

    number: int
    at: float
    participant: str
    kind: str
    body: Mapping[str, Any]
