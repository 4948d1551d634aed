"""Every method over tasks, each of which counts once: median PGR, mean difference from the first method, tests."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from w2s_jax import metrics
from w2s_jax.evaluation.results import Across, Median, Summary
from w2s_jax.metrics import PairedTests

LEAST_TASKS = 5  # of a median's interval: from the least to the greatest of four covers 87.5% at best


def over_tasks(summaries: Sequence[Summary]) -> tuple[Across, ...]:
    """Every method of every pair of models over tasks; empty where there is one task only."""
    grouped: dict[tuple[str, str], dict[str, dict[str, Summary]]] = {}
    for summary in summaries:
        methods = grouped.setdefault((summary.supervisor, summary.student), {})
        methods.setdefault(summary.method, {})[summary.task] = summary
    if len({summary.task for summary in summaries}) < 2:
        return ()
    found = []
    for pair, methods in grouped.items():
        baseline = next(iter(methods.values()))
        found += [
            _over_tasks(pair, method, of_method, None if of_method is baseline else baseline)
            for method, of_method in methods.items()
        ]
    return _adjusted_over_tasks(found)


def _adjusted_over_tasks(found: Sequence[Across]) -> tuple[Across, ...]:
    """Each test's p-values, adjusted by themselves."""
    tests = [PairedTests(None, None, None) if each.tests is None else each.tests for each in found]
    adjusted = [PairedTests(*row) for row in zip(*map(metrics.holm, zip(*tests, strict=True)), strict=True)]
    return tuple(
        each if each.tests is None else dataclasses.replace(each, p_holm=holm.wilcoxon, tests_holm=holm)
        for each, holm in zip(found, adjusted, strict=True)
    )


def _over_tasks(
    pair: tuple[str, str], method: str, ours: Mapping[str, Summary], theirs: Mapping[str, Summary] | None
) -> Across:
    median = _median(ours, "accuracy")
    shared = [] if theirs is None else [task for task in ours if task in theirs]
    gains = np.round([_student(ours[task]) - _student((theirs or {})[task]) for task in shared], 12)
    supervisor, student = pair
    return Across(
        supervisor,
        student,
        method,
        () if median is None else median.tasks,
        None if median is None else median.value,
        None if median is None else median.low,
        None if median is None else median.high,
        difference=float(gains.mean()) if shared else None,
        better=int((gains > 0).sum()),
        worse=int((gains < 0).sum()),
        tests=metrics.paired_tests(gains) if shared else None,
        p_holm=None,
        auroc=_median(ours, "auroc"),
        tests_holm=None,
    )


def _median(summaries: Mapping[str, Summary], statistic: str) -> Median | None:
    pgr = {task: value for task, s in summaries.items() if (value := s.pgr[statistic].value) is not None}
    if not pgr:
        return None
    values = np.array(list(pgr.values()))
    low = high = None
    if len(values) >= LEAST_TASKS:
        _, low, high = metrics.median_interval(values)
    return Median(float(np.median(values)), low, high, tuple(pgr))


def _student(summary: Summary) -> float:
    return summary.scores["accuracy"]["student"].value
