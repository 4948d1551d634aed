"""Questions with several answers, as rows of one question and one answer, or of two answers to compare."""

from collections.abc import Callable, Iterable, Sequence

from w2s_jax.data.example import Example, coin, digest, pick
from w2s_jax.data.sources import Record


def candidates(
    question: str, right: str, wrong: Sequence[str], *, context: str = "", group: str = "", ask: str = "Question"
) -> Iterable[Example]:
    """One row with the right answer and one with a wrong one, in one group (Burns et al. 2023, A.1).

    Both rows have one shape, and which wrong answer is shown is decided by a hash of the question. Wrong answers equal
    to the right one do not count.

    Args:
      context: shown above the question.
      group: what related questions share; empty is the question itself.
      ask: what stands before the question.
    """
    wrong = [answer for answer in wrong if answer.strip() != right.strip()]
    if not wrong:
        return
    above = f"{context.strip()}\n" if context else ""
    for answer, label in ((right, 1), (wrong[pick(len(wrong), question, right)], 0)):
        text = f"{above}{ask}: {question.strip()}\nAnswer: {answer.strip()}"
        yield Example(digest(text), text, label, digest(group or question))


def compared(format: Callable[[Record], Iterable[Example]]) -> Callable[[Record], Iterable[Example]]:
    """The format's two rows of each question as one comparison, each answer to be scored by itself.

    Which answer stands first is decided by a hash of both; the label is the right one's place.
    """

    def pairs(record: Record) -> Iterable[Example]:
        rows = list(format(record))
        for right, wrong in zip(rows[::2], rows[1::2], strict=True):
            label = coin(right.id, wrong.id)
            texts = tuple(str(row.text) for row in ((wrong, right) if label else (right, wrong)))
            yield Example(digest(right.id, wrong.id), texts, label, right.group)

    return pairs
