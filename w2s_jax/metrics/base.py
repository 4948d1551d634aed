"""What a metric is: a pure function of probabilities and labels, registered once for results, report and docs."""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, SupportsFloat

import numpy as np
from jaxtyping import Float, Integer, Shaped

from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.registry import Registry

Probs = Float[np.ndarray, "n c"]
Labels = Integer[np.ndarray, " n"]
Groups = Shaped[np.ndarray, " n"]

_BETTER = {"higher": "higher", "lower": "lower", "zero": "0"}
_SHOWN = {"main": "main table", "second": "second table", "results": "results.json only"}


@dataclass(frozen=True, kw_only=True)
class MetricFacts:
    """A metric's description: results keep it, so that their report needs no code.

    Attributes:
      name: in the results: `calibration_error`.
      title: of its column: `ECE`.
      formula: what it is, in one phrase without a full stop.
      better: higher or lower; `zero` is a signed metric that is best at 0.
      shown: in the report's main table, in its second one, or in the results only.
      against_weak: whether the second table also shows it for the student with weak labels in place of ground truth.
      standard_error: whether the main table shows its standard error over seeds.
    """

    name: str
    title: str
    formula: str
    better: Literal["higher", "lower", "zero"]
    shown: Literal["main", "second", "results"] = "second"
    against_weak: bool = False
    standard_error: bool = False


@dataclass(frozen=True, kw_only=True)
class Metric(MetricFacts):
    """A metric that every model is measured by.

    >>> METRICS.register(Metric(name="sharpness", title="sharpness", formula="mean of the largest probability",
    ...                         better="higher", function=lambda probs, targets: float(probs.max(axis=-1).mean())))

    Attributes:
      function: (probabilities [N, C], soft labels [N, C]) -> value, None where it is undefined. Ground truth comes as
        one-hot labels, weak labels as the supervisor's probabilities.
    """

    function: Callable[[Probs, Probs], SupportsFloat | None]

    def facts(self) -> MetricFacts:
        """The same without the function."""
        return MetricFacts(**{field.name: getattr(self, field.name) for field in dataclasses.fields(MetricFacts)})


METRICS: Registry[Metric] = Registry("metric")


def measured(probs: Probs, targets: Probs) -> dict[str, float | None]:
    """Every registered metric of one model, by name; None where it is undefined or not finite."""
    return {name: _finite(metric.function(probs, targets)) for name, metric in METRICS.items()}


def facts() -> tuple[MetricFacts, ...]:
    """Every registered metric in words."""
    return tuple(metric.facts() for metric in METRICS.values())


def markdown() -> str:
    """A Markdown table of every registered metric."""
    rows = [("metric", "column", "better", "shown in", "formula"), ("---",) * 5]
    for each in METRICS.values():
        shown = _SHOWN[each.shown] + (", also against weak labels" if each.against_weak else "")
        rows.append((f"`{each.name}`", each.title, _BETTER[each.better], shown, each.formula))
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)


def _finite(value: SupportsFloat | None) -> float | None:
    number = math.nan if value is None else float(value)
    return number if math.isfinite(number) else None


def hard(labels: Labels | Probs) -> Labels:
    """Labels as class numbers [N]; of soft ones the class of the largest probability."""
    return labels if labels.ndim == 1 else np.argmax(labels, axis=-1)


def backing(probs: Probs, labels: Labels | Probs) -> Float[np.ndarray, " n"]:
    """How far labels back each prediction: 1 or 0, or the probability that soft labels give it."""
    check(probs, hard(labels))
    predicted = np.argmax(probs, axis=-1)
    if labels.ndim == 1:
        return (predicted == labels).astype(np.float64)
    return np.take_along_axis(labels, predicted[:, None], axis=-1)[:, 0].astype(np.float64)


def check(probs: np.ndarray, labels: np.ndarray) -> None:
    """Refuses what is not probabilities [N, C] with class numbers [N].

    Raises:
      UserError: shapes do not fit, there are no examples, or a value is out of its range.
    """
    if probs.ndim != 2 or labels.shape != probs.shape[:1]:
        raise UserError(f"probabilities {probs.shape} and labels {labels.shape} do not fit; want [N, C] and [N]")
    if not len(labels):
        raise UserError("there are no examples to measure on")
    if not ((probs >= 0) & (probs <= 1.001)).all():
        raise UserError("probabilities must be numbers from 0 to 1; some are not")
    if labels.min() < 0 or labels.max() >= probs.shape[1]:
        raise UserError(f"labels go from {labels.min()} to {labels.max()}; with {probs.shape[1]} classes want 0 and up")
