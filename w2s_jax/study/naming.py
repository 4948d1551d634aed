"""Which choice a text names."""

import re
from collections.abc import Sequence

from w2s_jax.data.answers import NO_CHOICE
from w2s_jax.data.questions import LETTERS


def named_choice(text: str, choices: Sequence[str]) -> int:
    """The one choice that a text names, by letter or by its words; -1 if it names none or several.

    >>> named_choice("I think it is (B), because it melts.", ("lead", "ice"))
    1
    """
    letter = f"([{LETTERS[: len(choices)]}])"
    forms = (
        rf"\b(?:[Aa]nswer|[Oo]ption|[Cc]hoice)(?: is| would be|:)? ?\(?{letter}\b",
        rf"\({letter}\)",
        rf"\b{letter}[.:]\s",
    )
    by_letter = re.findall("|".join(forms), f"{text} ")
    named = {LETTERS.index(letter) for found in by_letter for letter in found if letter}
    if not named:
        plain = text.casefold()
        whole = {
            place
            for place, choice in enumerate(choices)
            if choice.strip() and re.search(rf"(?<!\w){re.escape(choice.strip().casefold())}(?!\w)", plain)
        }
        named = {
            place for place in whole if not any(_within(choices[place], choices[each]) for each in whole - {place})
        }
    return named.pop() if len(named) == 1 else NO_CHOICE


def _within(choice: str, other: str) -> bool:
    """Whether a choice is a part of a longer one, so that who says the longer one does not mean it."""
    return choice.casefold() != other.casefold() and choice.casefold() in other.casefold()
