"""What a run found, in sentences and one table: what was run, medians over tasks, and what is undefined and why."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from w2s_jax.evaluation.published import Beside, beside
from w2s_jax.evaluation.results import Across, Comparison, Results, Summary
from w2s_jax.metrics import PGR, in_words
from w2s_jax.report import table

SURE = 0.05  # adjusted p, below which a difference is called sure
COLUMNS = (
    *("method", "median PGR [95%]", "of AUROC", "tasks", "accuracy", "better / worse", "surely"),
    "p: t, Wilcoxon, sign",
)
LEGEND = (
    "Each task counts once, with its mean over seeds. Median PGR is over the tasks where it is defined, with its "
    "interval over them; of fewer than five tasks there is none. Accuracy is the mean difference from the "
    "first method, and better / worse counts tasks by its sign; surely counts those whose difference passes Holm's "
    "correction at .05 for all comparisons of the run. The p-values are over tasks, each test's after Holm for all "
    "methods and pairs; over n tasks neither Wilcoxon's nor the sign test's can be below 2 / 2^n before it."
)


class Ranking(NamedTuple):
    """The methods of one pair of models: a row for each under `COLUMNS`."""

    pair: str
    rows: list[table.Row]


def sentences(found: Results) -> list[str]:
    """What was run, how much of the gap is recovered, and which methods differ; nulls and failures included."""
    return [_what_ran(found), _recovered(found.summaries), *_compared(found.comparisons)]


PUBLISHED_COLUMNS = ("of", "published", "measured", "measured - published [95%]", "source")


def published(found: Results) -> list[table.Row]:
    """The figures that the config says were published, under `PUBLISHED_COLUMNS`; none where it says none."""
    return [published_row(each) for each in beside(found)]


def published_row(each: Beside) -> table.Row:
    """A figure under `PUBLISHED_COLUMNS`."""
    told = each.published
    names = [name for name in (told.task, told.supervisor, told.student, told.method) if name is not None]
    metric = {"pgr": "PGR", "pgr_auroc": "PGR of AUROC"}.get(told.metric, f"{told.metric} of the {told.role}")
    median = f", median of {each.over}" if each.over > 1 else ""
    how = {"read": "", "plot": ", read off a plot", "recalled": ", recalled"}[told.how]
    measured = "not measured" if each.measured is None else f"{each.measured:.3f}{median}"
    difference = "" if each.measured is None else each.in_words()
    source = f"{told.source}{how}" + (f" ({told.note})" if told.note else "")
    return (f"{metric}: {', '.join(names) or 'all'}", f"{told.value:g}", measured, difference, source)


def rankings(found: Results) -> list[Ranking]:
    """The methods of every pair of models, over tasks; of a single task, that one's PGR."""
    pairs = dict.fromkeys((s.supervisor, s.student) for s in found.summaries)
    over = {(each.supervisor, each.student, each.method): each for each in found.across}
    made = []
    for pair in pairs:
        summaries = [s for s in found.summaries if (s.supervisor, s.student) == pair]
        rows = []
        for method in dict.fromkeys(s.method for s in summaries):
            of_method = [s for s in summaries if s.method == method]
            compared = [c for c in found.comparisons if (c.supervisor, c.student, c.method) == (*pair, method)]
            rows.append(_row(over.get((*pair, method)), of_method, compared))
        made.append(Ranking(f"{pair[0]} -> {pair[1]}", rows))
    return made


def markdown(found: Results) -> list[str]:
    """The sentences and the tables, as paragraphs."""
    parts = ["\n".join(f"- {sentence}" for sentence in sentences(found))]
    rows = published(found)
    if rows:
        parts += ["**Published figures, beside these**", table.markdown_table(PUBLISHED_COLUMNS, rows)]
    for ranking in rankings(found):
        parts += [f"**{ranking.pair}**", table.markdown_table(COLUMNS, ranking.rows)]
    return [*parts, LEGEND]


def _what_ran(found: Results) -> str:
    keys = dict.fromkeys((s.task, s.supervisor, s.student) for s in found.summaries)
    tasks = list(dict.fromkeys(task for task, *_ in keys))
    methods = list(dict.fromkeys(s.method for s in found.summaries))
    seeds = {cell.seed for cell in found.cells}
    named = f" ({', '.join(methods)})" if len(methods) <= 6 else ""
    pairs = _count(len({key[1:] for key in keys}), "pair")
    text = (
        f"{_count(len(tasks), 'task')} ({', '.join(tasks)}), {pairs} of models, "
        f"{_count(len(methods), 'method')}{named}, {_count(len(seeds), 'seed')}: {_count(len(found.cells), 'cell')}."
    )
    missing = len(keys) * len(methods) * len(seeds) - len(found.cells)
    return f"{text} {_count(missing, 'cell')} missing: a stage failed, or was not run." if missing > 0 else text


def _recovered(summaries: Sequence[Summary]) -> str:
    found = [s.pgr["accuracy"] for s in summaries]
    defined = [pgr for pgr in found if pgr.value is not None]
    above = sum(pgr.low is not None and pgr.low > 0 for pgr in defined)
    below = sum(pgr.high is not None and pgr.high < 0 for pgr in defined)
    text = f"PGR of accuracy is defined in {len(defined)} of {len(found)} (task, pair, method)"
    if defined:
        neither = len(defined) - above - below
        text += f": its 95% interval is above 0 in {above}, below 0 in {below}, and holds 0 in {neither}"
    reasons = Counter(_reason(s) for s in summaries if s.pgr["accuracy"].value is None)
    why = "; ".join(f"{count}: {reason}" for reason, count in reasons.most_common())
    return f"{text}. Undefined in {sum(reasons.values())} ({why})." if reasons else f"{text}."


def _reason(summary: Summary) -> str:
    pgr: PGR = summary.pgr["accuracy"]
    if pgr.gap is None:
        return pgr.reason or "not measured"
    if summary.supervisor == summary.student:
        return "a model that supervises itself"
    if pgr.gap.high < 0:
        return "the ceiling is surely below the supervisor"
    return "the gap's interval reaches 0" if pgr.gap.low <= 0 else "the gap is sure, but below the least that counts"


def _compared(comparisons: Sequence[Comparison]) -> list[str]:
    if not comparisons:
        return []
    signs = Counter(map(_sure, comparisons))
    found = [
        f"Compared with {comparisons[0].baseline}, on the same seeds and examples, after Holm's correction for "
        f"{_count(len(comparisons), 'comparison')}: {signs[1]} surely better, {signs[-1]} surely worse, {signs[0]} not "
        "told apart."
    ]
    untested = sum(c.p is None and c.difference is not None for c in comparisons)
    if untested:
        found.append(f"{_count(untested, 'comparison')} of one seed: no p-value, for one seed says nothing of others.")
    return found


def _sure(comparison: Comparison) -> int:
    """1: better, -1: worse, 0: not told apart."""
    if comparison.p_holm is None or comparison.difference is None or comparison.p_holm >= SURE:
        return 0
    return 1 if comparison.difference > 0 else -1


def _row(across: Across | None, summaries: Sequence[Summary], compared: Sequence[Comparison]) -> table.Row:
    signs = Counter(map(_sure, compared))
    surely = f"{signs[1]} / {signs[-1]}" if compared else ""
    if across is None:
        pgr, auroc = (in_words(summaries[0].pgr[name]) for name in ("accuracy", "auroc"))
        defined = sum(s.pgr["accuracy"].value is not None for s in summaries)
        gain = f"{compared[0].difference:+.3f}" if compared and compared[0].difference is not None else ""
        return (summaries[0].method, pgr, auroc, f"{defined} of 1", gain, "", surely, "")
    gain = "" if across.difference is None else f"{across.difference:+.3f}"
    record = "" if across.difference is None else f"{across.better} / {across.worse}"
    auroc = "-" if across.auroc is None else _median(across.auroc.value, across.auroc.low, across.auroc.high)
    median = _median(across.median_pgr, across.low, across.high)
    tasks = f"{len(across.tasks)} of {len(summaries)}"
    return (across.method, median, auroc, tasks, gain, record, surely, _p_values(across))


def _median(value: float | None, low: float | None, high: float | None) -> str:
    text = "-" if value is None else f"{value:.2f}"
    return text if low is None or high is None else f"{text} [{low:.2f}, {high:.2f}]"


def _p_values(across: Across) -> str:
    if across.tests_holm is None:
        return ""
    return ", ".join("-" if p is None else f"{p:.2g}" for p in across.tests_holm)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
