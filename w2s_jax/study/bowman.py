"""Figures of Bowman et al. 2022, to be shown beside a study's own and never among them."""

from typing import NamedTuple

from w2s_jax.config import Published

SOURCE = "Bowman et al. 2022 (arXiv 2211.03540)"
# Tasks of ours on whose questions theirs were, by what their names begin with.
TASKS = {"mmlu": "MMLU", "quality": "QuALITY"}
NOTE = (
    "a 52B assistant; five crowd-workers a task, 100 questions a condition, others alone than assisted; answers were "
    "revealed after each question"
)
_ROWS: dict[str, dict[str, tuple[float, float | None]]] = {  # accuracy and calibration error, in percent
    "MMLU": {
        "unassisted": (57.2, 6),
        "unassisted, weighted vote": (66.0, 10),
        "zero-shot": (57.2, 6),
        "few-shot": (61.9, 4),
        "best-of-n": (65.6, 16),
        "assisted": (75.4, 12),
        "assisted, weighted vote": (78.0, 18),
        "expert": (90.0, None),
    },
    "QuALITY": {
        "unassisted": (48.6, 17),
        "unassisted, weighted vote": (50.0, 15),
        "zero-shot": (59.2, 7),
        "best-of-n": (66.9, 17),
        "assisted": (76.8, 7),
        "assisted, weighted vote": (86.0, 11),
        "expert": (93.5, None),
    },
}


class Pair(NamedTuple):
    """What was published for one row of the table."""

    accuracy: Published | None
    calibration: Published | None


def task_of(name: str) -> str | None:
    """Which of their two tasks has the questions of ours; None where neither has."""
    base = name.lower().rpartition("/")[2]
    return next((theirs for ours, theirs in TASKS.items() if base.startswith(ours)), None)


def published(task: str | None, row: str) -> Pair:
    """Their figures, as fractions, for a row: `unassisted`, `zero-shot`, `assisted, weighted vote`, ..., `expert`."""
    if task is None or row not in _ROWS[task]:
        return Pair(None, None)
    accuracy, error = _ROWS[task][row]
    note = "an estimate that was published before" if row == "expert" else NOTE
    return Pair(
        Published(round(accuracy / 100, 3), SOURCE, metric="accuracy", task=task, method=row, note=note),
        None
        if error is None
        else Published(round(error / 100, 3), SOURCE, metric="calibration_error", task=task, method=row, note=note),
    )
