"""Questions with several answers: as texts for models, and any example as a question for people."""

import re
from collections.abc import Sequence

from w2s_jax.data.example import Example, Question

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

_LABELLED = re.compile(r"[A-Z][a-z]+: ")  # what stands before each answer of a pair, such as `Answer: `


def each_alone(asked: Question) -> tuple[str, ...]:
    """A text for each choice, to be scored by itself.

    >>> each_alone(Question("", "What melts?", ("ice", "fog")))
    ('Question: What melts?\\nAnswer: ice', 'Question: What melts?\\nAnswer: fog')
    """
    return tuple(f"{_stem(asked)}\nAnswer: {choice}" for choice in asked.choices)


def with_letters(asked: Question) -> str:
    """One text with all choices, of which a letter is to be given.

    >>> with_letters(Question("", "What melts?", ("ice", "fog")))
    'Question: What melts?\\nA. ice\\nB. fog\\nAnswer:'
    """
    listed = [f"{letter}. {choice}" for letter, choice in zip(LETTERS, asked.choices, strict=False)]
    return "\n".join([_stem(asked), *listed, "Answer:"])


def question_of(example: Example, asks: str, answers: Sequence[str]) -> Question:
    """What people are asked instead of being shown the text that a model reads.

    An example that was made of a question keeps it. Of other candidates the passage is what all begin with, up to the
    last full line; of a text it is the text, and the choices are the classes.

    >>> example = Example("1", "Graz is in Peru.", 0, "Graz")
    >>> question_of(example, "is the city in the country?", ("No", "Yes"))
    Question(passage='Graz is in Peru.', question='Is the city in the country?', choices=('No', 'Yes'))

    Args:
      asks: what the task asks, in words; anything that is no question stands for `Which is right?`.
      answers: what the classes are called; candidates need none.
    """
    if example.question is not None:
        return example.question
    question = asks[: asks.find("?") + 1]
    if isinstance(example.text, str):
        return Question(example.text, f"{question[:1].upper()}{question[1:]}" or "Which is right?", tuple(answers))
    passage, choices = _apart(example.text)
    return Question(passage, "Which is right?", choices)


def _stem(asked: Question) -> str:
    above = f"{asked.passage}\n" if asked.passage else ""
    return f"{above}Question: {asked.question}"


def _apart(candidates: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """What all candidates begin with, in whole lines, and what each adds."""
    first, last = min(candidates), max(candidates)  # whatever these two begin with, all do
    shared = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    lines = first.rfind("\n", 0, shared) + 1
    added = [each[lines:].strip() for each in candidates]
    word = _LABELLED.match(added[0])
    if word is not None and all(each.startswith(word[0]) for each in added):
        added = [each[len(word[0]) :] for each in added]
    return candidates[0][:lines].strip(), tuple(added)
