"""Published figures stand beside what was measured, and never among it."""

import dataclasses
from pathlib import Path

import pytest

from tests import synthetic
from tests import tiny as make
from w2s_jax import config, serialize
from w2s_jax.config import Published
from w2s_jax.evaluation.published import beside
from w2s_jax.evaluation.results import Results
from w2s_jax.report import story
from w2s_jax.runtime import packaged
from w2s_jax.runtime.errors import UserError

SOURCE = "A paper, table 1"


def with_published(found: Results, *figures: Published) -> Results:
    return dataclasses.replace(found, config={**found.config, "published": serialize.to_json(list(figures))})


def test_each_figure_stands_beside_what_it_names() -> None:
    found = synthetic.three_tasks()
    naive, confidence = found.summaries[:2]
    figures = (
        Published(0.5, SOURCE, task="cities", method="naive"),
        Published(0.6, SOURCE, metric="accuracy", role="ceiling", task="cities", method="confidence"),
        Published(0.9, SOURCE, "plot", method="naive", note="of 22 tasks"),
        Published(0.1, SOURCE, task="coin flips", method="naive"),
    )
    pgr, accuracy, median, undefined = beside(with_published(found, *figures))
    expected = naive.pgr["accuracy"]
    assert expected.value is not None
    assert (pgr.measured, pgr.low, pgr.high) == (expected.value, expected.low, expected.high)
    assert pgr.difference == pytest.approx(expected.value - 0.5)
    assert pgr.in_words() == f"{expected.value - 0.5:+.3f} [{expected.low - 0.5:+.3f}, {expected.high - 0.5:+.3f}]"
    assert accuracy.measured == confidence.scores["accuracy"]["ceiling"].value
    defined = [s.pgr["accuracy"].value for s in found.summaries if s.method == "naive"]
    values = [value for value in defined if value is not None]
    assert len(values) == 2
    assert median.measured == pytest.approx(sum(values) / 2)
    assert (median.low, median.over) == (None, 2)
    assert undefined.in_words() == "not measured", "a PGR that is undefined"
    rows = story.published(with_published(found, *figures))
    assert rows[0][:2] == ("PGR: cities, naive", "0.5")
    assert rows[2][2].endswith(", median of 2")
    assert rows[2][4] == "A paper, table 1, read off a plot (of 22 tasks)"
    assert rows[3][2:4] == ("not measured", "")
    text = "\n".join(story.markdown(with_published(found, *figures)))
    assert "Published figures, beside these" in text
    assert "Published figures" not in "\n".join(story.markdown(found))


def test_figures_are_part_of_an_experiment(tmp_path: Path) -> None:
    plan = make.experiment(tmp_path)
    kept = dataclasses.replace(plan, published=(Published(0.5, SOURCE, method="naive"),))
    assert serialize.experiment(serialize.to_json(kept)) == kept
    with pytest.raises(UserError, match="'read', of a 'plot' or 'recalled', not 'guessed'"):
        Published(0.5, SOURCE, "guessed")  # type: ignore[arg-type]
    for value in ("0.3", float("nan"), float("inf"), True, None):
        with pytest.raises(UserError, match="a finite number"):
            Published(value, SOURCE)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="the task of a published figure is a name"):
        Published(0.5, SOURCE, task=["a"])  # type: ignore[arg-type]
    with pytest.raises(UserError, match="`published` is a tuple of Published"):
        dataclasses.replace(plan, published=Published(0.5, SOURCE))  # type: ignore[arg-type]


def test_methods_share_a_supervisor_and_a_ceiling() -> None:
    found = synthetic.three_tasks()
    figures = [
        Published(0.6, SOURCE, metric="accuracy", role=role, task="cities") for role in ("supervisor", "ceiling")
    ]
    for each, figure in zip(beside(with_published(found, *figures)), figures, strict=True):
        assert (each.over, each.measured) == (1, found.summaries[0].scores["accuracy"][figure.role].value)
        assert each.low is not None


def test_paper_configs_hold_their_figures() -> None:
    configs = {name: config.load(str(path)) for name, path in packaged.experiments().items() if "/" in name}
    counts = {name: len(each.published) for name, each in configs.items() if each.published}
    assert counts == {
        "anthropic2026/chat": 8,
        "burns2023/nlp": 2,
        "burns2023/vision": 7,
        "eleuther2024/blog": 5,
        "openai/sweep": 24,
    }
    for experiment in configs.values():
        known = {
            "task": [task.title for task in experiment.tasks],
            "supervisor": experiment.supervisors,
            "student": experiment.students,
            "method": experiment.methods,
        }
        for each in experiment.published:
            named = {kind: getattr(each, kind) for kind in known}
            assert all(name is None or name in known[kind] for kind, name in named.items()), each
