"""The report of a study in words and tables, for a terminal, Markdown and a page alike."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from w2s_jax.config import Published
from w2s_jax.metrics import Interval, in_words
from w2s_jax.report.table import Row as Cells
from w2s_jax.report.table import Table
from w2s_jax.study import bowman
from w2s_jax.study.found import Findings, Recovered, Row, Sandwich, titled

NOT_OURS = "figures of the paper, on its own participants and models; none of them was measured here"


class Section(NamedTuple):
    """A heading, a table, and how to read it."""

    title: str
    table: Table
    legend: str


def sentences(found: Findings) -> list[str]:
    """What was done and what came out, in lines."""
    return [
        *(_took_part(found, played) for played in found.played),
        *(_timeouts(found)),
        *(_is_sandwich(each, found) for each in found.sandwiches),
        *(_recovered(each) for each in found.recovered),
        *_missing(found),
        f"{len(found.shared)} questions were answered in time under every condition (shared.csv).",
    ]


def sections(found: Findings) -> Iterator[Section]:
    """The tables, those that have rows."""
    yield Section("Accuracy and calibration", _main(found), _main_legend(found))
    if found.recovered:
        yield Section("Share of the gap recovered", _shares(found), _SHARES)
    if found.sandwiches:
        yield Section("Is it a sandwich?", _sandwiches(found), _SANDWICH)
    if found.reliance:
        yield Section("Reliance on the assistant", _reliance(found), _RELIANCE)
    yield Section("Time, turns and learning", _pace(found), _PACE)
    yield Section("Accuracy over the session", _quarters(found), "In quarters of the session, by place in it.")


def in_brackets(value: Interval | None, digits: int = 3) -> str:
    """`0.713 [0.648, 0.779]`, or `-`."""
    if value is None:
        return "-"
    return f"{value.value:.{digits}f} [{value.low:.{digits}f}, {value.high:.{digits}f}]"


def signed(value: Interval | None) -> str:
    """`+0.197 [+0.105, +0.288]`, or `-`."""
    return "-" if value is None else f"{value.value:+.3f} [{value.low:+.3f}, {value.high:+.3f}]"


def _took_part(found: Findings, played: str) -> str:
    rows = [row for row in found.rows if row.participants and row.played == played and not row.vote]
    count = max(row.participants for row in rows)
    if played:
        who = f"{count} simulated participant{'s' * (count > 1)} ({played}), not people,"
    else:
        who = "One person" if count == 1 else f"{count} people"
    each = ", ".join(f"{row.answers} under {row.name!r}" for row in rows)
    alone = "; the intervals say nothing of other participants" if count == 1 else ""
    return f"{who} gave {sum(row.answers for row in rows)} answers: {each}{alone}."


def _timeouts(found: Findings) -> list[str]:
    late = [row for row in found.rows if row.timeouts and not row.vote]
    if not late:
        return ["Nobody ran out of time."]
    each = ", ".join(f"{row.timeouts} of {row.answers} under {row.title}" for row in late)
    return [f"Time ran out without an answer: {each}. These count as wrong, and in no vote and no calibration error."]


def _is_sandwich(each: Sandwich, found: Findings) -> str:
    who = f"simulated participants ({each.played})" if each.played else "people"
    what = {
        "yes": f"A sandwich: {who} alone < {each.model} model < expert",
        "no": f"No sandwich with the {each.model} model and {who}",
        "not told apart": f"Whether it is a sandwich with the {each.model} model and {who} cannot be told",
        "not known": f"Whether it is a sandwich with the {each.model} model and {who} is not known: there is no expert",
    }[each.told]
    above = "" if each.above is None else f", expert - model {signed(each.above)}"
    return f"{what}: model - unassisted {signed(each.below)}{above}."


def _recovered(each: Recovered) -> str:
    share = each.share
    said = in_words(share) if share.value is not None else f"undefined: {share.reason}"
    return f"{each.title}: accuracy {signed(each.gain)} above unassisted; share of the gap recovered {said}."


def _missing(found: Findings) -> Iterator[str]:
    if found.design.expert is not None:
        yield f"The expert's accuracy of {found.design.expert:g} was not measured here ({found.design.source})."
    if not any(row.kind == "model" for row in found.rows):
        yield "The models alone were not asked, so nothing says whether it is a sandwich."
    if not any(row.kind == "unassisted" for row in found.rows):
        yield f"Nobody answered under {found.design.unassisted!r}: there is nothing to compare with."


def _main(found: Findings) -> Table:
    columns: Cells = (
        "",
        "accuracy [95%]",
        "calibration error [95%]",
        "confidence",
        "participants",
        "answers",
        "timed out",
    )
    theirs = found.their_task is not None
    columns += (f"published, {found.their_task} (CE)",) if theirs else ()
    return Table(columns, [_main_row(row, found, theirs=theirs) for row in found.rows])


def _main_row(row: Row, found: Findings, *, theirs: bool) -> tuple[str, ...]:
    accuracy = f"{row.accuracy.value:.3f}" if row.over == "nothing" else in_brackets(row.accuracy)
    cells = (
        f"{row.title}{' model' if row.kind == 'model' else ''}",
        accuracy + (f", {row.ties} tied" if row.ties else ""),
        in_brackets(row.calibration),
        "-" if row.confidence is None else f"{row.confidence:.3f}",
        str(row.participants or ""),
        str(row.answers or ""),
        str(row.timeouts) if row.participants else "",
    )
    pair = bowman.published(found.their_task, row.theirs)
    return (*cells, _told(pair.accuracy, pair.calibration)) if theirs else cells


def _told(accuracy: Published | None, calibration: Published | None) -> str:
    if accuracy is None:
        return "-"
    return f"{accuracy.value:.3f}" + ("" if calibration is None else f" ({calibration.value:.2f})")


def _main_legend(found: Findings) -> str:
    text = (
        "Calibration error is over five bins of confidence; it is biased upwards where there are few answers. The "
        "weighted vote is the argmax of the product of all participants' probabilities, with 1 taken as 0.99 and the "
        "rest spread evenly; a tie counts as right in part. Intervals are over participants and questions, those of "
        "models and of single participants over questions alone: a bootstrap of each, "
        f"{found.draws:,} resamples."
    )
    if found.their_task is None:
        return text
    return f"{text} Published: {bowman.SOURCE}, {found.their_task}, {NOT_OURS} ({bowman.NOTE})."


def _shares(found: Findings) -> Table:
    rows: list[Cells] = []
    for each in found.recovered:
        share = in_words(each.share)
        rows.append((each.title, signed(each.gain), share, each.share.reason or ""))
    return Table(("", "assisted - unassisted [95%]", "share recovered [95%]", "why undefined"), rows)


_SHARES = (
    "(assisted - unassisted) / (expert - unassisted); 0 is no help, 1 an expert. Its interval holds all values that a "
    "t-test does not refuse, and may have no end."
)


def _sandwiches(found: Findings) -> Table:
    rows: list[Cells] = [
        (
            titled(each.model, each.played),
            signed(each.below),
            signed(each.above),
            each.told,
        )
        for each in found.sandwiches
    ]
    return Table(("model", "model - unassisted [95%]", "expert - model [95%]", "sandwich"), rows)


_SANDWICH = (
    "unassisted < model < expert: yes where both intervals are above 0, no where one of them is below. Only in a "
    "sandwich does the study say something about oversight of models that know more than their overseers."
)


def _reliance(found: Findings) -> Table:
    columns = (
        *("", "assistant right", "accuracy where it was right", "where it was wrong"),
        *("wrong advice taken", "appropriate", "known", "unknown"),
    )
    rows: list[Cells] = [
        (
            each.title,
            *map(
                in_brackets,
                (each.suggestions, each.where_right, each.where_wrong, each.followed_wrong, each.appropriate),
            ),
            str(each.known),
            str(each.unknown),
        )
        for each in found.reliance
    ]
    return Table(columns, rows)


_RELIANCE = (
    "Of the answers where it is known which choice the assistant last argued for or named. Over-reliance shows in low "
    "accuracy where it was wrong, under-reliance in what accuracy lacks of 1 where it was right. Appropriate: right "
    "advice taken or wrong advice refused."
)


def _pace(found: Findings) -> Table:
    columns = ("", "seconds, mean [95%]", "median", "turns [95%]", "changes of mind", "accuracy per 10 questions [95%]")
    rows: list[Cells] = [
        (
            each.title,
            in_brackets(each.seconds, 1),
            f"{each.median_seconds:.1f}",
            in_brackets(each.turns, 1),
            f"{each.changes:.2f}",
            signed(each.learning),
        )
        for each in found.pace
    ]
    return Table(columns, rows)


_PACE = (
    "Seconds from when a question was shown until it was answered. Turns are the participant's messages. The last "
    "column is learning: by how much accuracy changes over ten questions of the session."
)


def _quarters(found: Findings) -> Table:
    most = max(len(each.quarters) for each in found.pace)
    rows: list[Cells] = [
        (each.title, *_padded([f"{q[2]:.3f} ({q[3]}; {q[0] + 1}-{q[1] + 1})" for q in each.quarters], most))
        for each in found.pace
    ]
    return Table(("", *(f"part {number + 1}" for number in range(most))), rows)


def _padded(cells: Sequence[str], most: int) -> list[str]:
    return [*cells, *[""] * (most - len(cells))]
