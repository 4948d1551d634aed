"""A participant that does what is written beforehand: for tests, and to try a study out without a model."""

from dataclasses import dataclass
from typing import Literal

from w2s_jax.data.answers import NO_CHOICE
from w2s_jax.runtime import files
from w2s_jax.runtime.checks import check_range
from w2s_jax.runtime.errors import UserError
from w2s_jax.study.naming import named_choice
from w2s_jax.study.participants.base import Answered, Mind, Participant, Seen


@dataclass(frozen=True)
class Script(Participant):
    """Asks what is given, and answers by chance, or as it was last told.

    >>> Script(("Which one is it?",)).describe()
    'script: 1 message, guesses'

    Attributes:
      messages: what it writes on a question, one after another, where it may write.
      answers: `guesses` a choice by the hash of the question; `follows` takes the one choice that was last named to
        it, and guesses where none was.
      confidence: in what it takes; of a guess it is 1 / number of choices.

    Raises:
      UserError: a message is empty, or a value is none of these.
    """

    messages: tuple[str, ...] = ()
    answers: Literal["guesses", "follows"] = "guesses"
    confidence: float = 0.8

    def __post_init__(self) -> None:
        if not all(isinstance(each, str) and each.strip() for each in self.messages):
            raise UserError(f"a script's messages have some text each; they are {self.messages!r}")
        if self.answers not in ("guesses", "follows"):
            raise UserError(f"answers must be 'guesses' or 'follows', not {self.answers!r}")
        check_range("confidence", self.confidence, 0.1, 1)

    def describe(self) -> str:
        count = len(self.messages)
        return f"script: {count} message{'s' * (count != 1)}, {self.answers}"

    def open(self) -> Mind:
        return _Following(self)


class _Following(Mind):
    def __init__(self, script: Script) -> None:
        self._script = script

    async def message(self, seen: Seen) -> str:
        written = sum(each.mine for each in seen.messages)
        return self._script.messages[written] if written < len(self._script.messages) else ""

    async def answer(self, seen: Seen) -> Answered:
        least = 1 / len(seen.choices)
        if self._script.answers == "follows":
            told = [named_choice(each.text, seen.choices) for each in seen.messages if not each.mine]
            named = [choice for choice in told if choice != NO_CHOICE]
            if named:
                return Answered(named[-1], max(self._script.confidence, least))
        guess = int(files.sha256_text(f"guess {seen.passage} {seen.question}")[:8], 16) % len(seen.choices)
        return Answered(guess, least)

    async def close(self) -> None:
        pass
