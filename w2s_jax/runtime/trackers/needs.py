"""What several trackers share: the package that each needs, and results as rows."""

import importlib
from collections.abc import Mapping
from typing import Any

from w2s_jax.runtime.errors import UserError

COLUMNS = (
    *("task", "supervisor", "student", "method", "seeds"),
    *("supervisor_accuracy", "accuracy", "ceiling_accuracy", "pgr", "pgr_low", "pgr_high"),
)


def package(name: str, extra: str) -> Any:
    """A package that an extra installs.

    Raises:
      UserError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UserError(f"--track {extra} needs {error.name}: `pip install 'w2s-jax[{extra}]'`") from error


def rows(results: Mapping[str, Any] | None) -> list[tuple[Any, ...]]:
    """A row under `COLUMNS` for each (task, supervisor, student, method): of a run's results, or of several by name."""
    if results is None:
        return []
    runs = [results] if "summaries" in results else list(results.values())
    return [_row(summary) for run in runs for summary in run["summaries"]]


def _row(summary: Mapping[str, Any]) -> tuple[Any, ...]:
    names = (summary[name] for name in COLUMNS[:4])
    accuracy = summary["scores"]["accuracy"]
    reached = (accuracy[role]["value"] if role in accuracy else None for role in ("supervisor", "student", "ceiling"))
    pgr = summary["pgr"]["accuracy"]
    return (*names, len(summary["seeds"]), *reached, pgr["value"], pgr["low"], pgr["high"])
