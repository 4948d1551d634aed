"""The stages of a run, and what has become of each: read from the folders that the run writes, while it goes on."""

import functools
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from w2s_jax.evaluation.results import Results
from w2s_jax.pipeline import graph
from w2s_jax.pipeline.store import MANIFEST, Store
from w2s_jax.runtime import files
from w2s_jax.runtime.tracking import JsonLines

QUIET_SECONDS = 120.0  # without a step, after which the next one begins another count of its speed


class Last(NamedTuple):
    """The last step of a stage that a log has, and when the first and the last came."""

    step: int
    of: int | None
    loss: float | None
    began: float
    at: float
    first: int


def has_begun(folder: Path) -> bool:
    """Whether a folder is of a run that was started."""
    return (folder / graph.FILE).exists()


def stages(folder: Path, store: Store, results: Results | None) -> list[dict[str, Any]]:
    """Every stage, each after those it needs.

    Returns:
      For each: `name` of its folder; `title`; `needs`, the names of the stages that it reads; `state`: done, running,
      stopped, failed or to do; `seconds` that it took; `step`, `steps`, `loss` and `left` (seconds) where it is
      running; `error`, the last lines of what failed.
    """
    known = _known(folder, store, results)
    steps = _steps(folder)
    return [_stage(store, name, each, steps.get(name)) for name, each in known.items()]


def _known(folder: Path, store: Store, results: Results | None) -> dict[str, Mapping[str, Any]]:
    """The graph as the run wrote it; of results without one, the stages that cells name."""
    if has_begun(folder):
        return {each["name"]: each for each in files.read_json(folder / graph.FILE)}
    found: dict[str, Mapping[str, Any]] = {}
    for cell in results.cells if results else ():
        titles = {"supervisor": cell.supervisor, "ceiling": cell.student, "student": f"{cell.student}, {cell.method}"}
        for role in ("supervisor", "ceiling", "student"):
            if role in cell.stages:
                title = f"{role} {titles[role]}, {cell.task}, seed {cell.seed}"
                needs = [cell.stages["supervisor"]] if role == "student" else []
                found.setdefault(cell.stages[role], {"name": cell.stages[role], "title": title, "needs": needs})
    return found


def _stage(store: Store, name: str, known: Mapping[str, Any], last: Last | None) -> dict[str, Any]:
    shown = {**known, "state": "to do"}
    if store.done(name):
        return {**shown, "state": "done", "seconds": _seconds(store.folder(name) / MANIFEST)}
    if store.failed(name).exists():
        return {**shown, "state": "failed", "error": store.failed(name).read_text(encoding="utf-8", errors="replace")}
    running = store.claimed(name)
    if running or last is not None or store.started(name):
        shown["state"] = "running" if running else "stopped"
    if last is not None:
        shown |= {"step": last.step, "steps": last.of, "loss": last.loss}
        made = last.step - last.first
        if running and last.of is not None and made > 0:
            shown["left"] = (last.at - last.began) / made * (last.of - last.step)
    return shown


@functools.lru_cache(maxsize=4096)
def _seconds(manifest: Path) -> float | None:
    """That a stage took, if its manifest says so."""
    found = files.read_json(manifest)
    made = found.get("made") if isinstance(found, dict) else None
    seconds = made.get("seconds") if isinstance(made, dict) else None
    return seconds if isinstance(seconds, float | int) else None


def _steps(folder: Path) -> dict[str, Last]:
    """The last step of each stage: of the run's own log, and of the sweep's that it was a part of."""
    found: dict[str, Last] = {}
    for path in (folder / JsonLines.FILE, folder.parent / JsonLines.FILE):
        for line in _lines(path):
            name, step = line["stage"], line["step"]
            before = found.get(name)
            began, first = line["time"], step
            if before is not None and line["time"] - before.at <= QUIET_SECONDS:
                began, first = before.began, before.first
            loss = line.get("loss")
            finite = loss if isinstance(loss, float | int) and math.isfinite(loss) else None
            found[name] = Last(step, line.get("steps"), finite, began, line["time"], first)
    return found


def _lines(path: Path) -> list[dict[str, Any]]:
    """The steps in a log; its last line may be half written."""
    if not path.exists():
        return []
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict) and value.get("event") == "log" and {"stage", "step", "time"} <= value.keys():
            found.append(value)
    return found
