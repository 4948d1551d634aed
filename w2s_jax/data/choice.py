"""Questions with several answers, as rows of one question and one answer."""

from collections.abc import Iterable, Sequence

from w2s_jax.data.example import Example, digest, pick


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
