"""Trackers follow a run: what it is, every step of every stage, and what came out.

A tracker is a class with the three methods of `Tracker`, registered in `TRACKERS` or in a user's own file, and is named
by `w2s run CONFIG --track my_tracker.py:Mine`. The built-in `jsonl` always writes `log.jsonl` into the run's folder;
`tensorboard`, `wandb` and `trackio` are in `runtime.trackers`.
"""

import contextlib
import json
import operator
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Protocol, runtime_checkable

from w2s_jax.runtime import files
from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.registry import Registry


@runtime_checkable
class Tracker(Protocol):
    """What follows a run. Of several processes that train together, only the first has trackers.

    A tracker that raises while a run is going is reported and dropped; the run continues without it.
    """

    def start(self, run: str, config: Mapping[str, Any], folder: Path) -> None:
        """Before anything is trained; an exception here stops the run.

        Args:
          run: the experiment's name; of a sweep, all names joined by `+`.
          config: the experiment's fields as JSON values; of a sweep, those of each experiment by its name.
          folder: where results are written; of a sweep, the folder that holds those of the experiments.
        """

    def log(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """What was measured at one step of training.

        The steps of a stage come in order, and none comes twice, also when the run resumes. Nothing here was measured
        against ground truth that the stage does not learn from.

        Args:
          stage: the name of its folder in `stages`, which results.json gives for every cell and role.
          step: counted from 1.
          values: `loss`; `steps`, how many the stage has; `learning_rate`; `gradient_norm`, before clipping;
            `tokens_per_second`, real ones; `padding_share` of the places that were computed; `mfu`, model FLOP/s as a
            share of the devices' peak, where that is known; and, where the model was evaluated after this step,
            `validation_accuracy`, `validation_auroc` or `validation_log_loss` against the labels that the stage learns
            from. Of probes and of steps that an earlier process took, only some of these are known.
        """

    def finish(self, results: Mapping[str, Any] | None, written: Sequence[Path]) -> None:
        """After everything, also when the run was stopped or failed.

        Args:
          results: the content of results.json; of a sweep, of each experiment by its name; None if there is none.
          written: results.json, the report and its figures.
        """


TRACKERS = Registry[Callable[[], Tracker]]("tracker")


class Trackers:
    """Several trackers as one, none of which can stop a run once it has started. Before that they get nothing."""

    def __init__(self, trackers: Sequence[Tracker], note: Callable[[str], None]) -> None:
        """
        Args:
          note: told, in one line, of a tracker that failed and is dropped.
        """
        self._trackers, self._note = list(trackers), note
        self._logged: dict[str, int] = {}  # the last step of each stage that trackers were told

    @contextlib.contextmanager
    def run(self, name: str, config: Mapping[str, Any], folder: Path) -> Iterator[None]:
        """Starts every tracker, and finishes them without results if the body ends before it calls `finish`.

        Raises:
          UserError: a tracker cannot start.
        """
        waiting, self._trackers = self._trackers, []
        if waiting:
            self._logged = last_steps(folder / JsonLines.FILE)
        try:
            for tracker in waiting:
                _start(tracker, name, config, folder)
                self._trackers.append(tracker)
            yield
        finally:
            self.finish(None, ())

    def logged(self, stage: str) -> int:
        """The last step of a stage that was logged, by an earlier process perhaps; 0 before the first."""
        return self._logged.get(stage, 0)

    def log(self, stage: str, steps: Iterable[tuple[int, Mapping[str, float]]]) -> None:
        """Logs what was measured at steps of a stage, in order, but for those that were logged before."""
        for step, values in steps:
            if step > self.logged(stage):
                self._logged[stage] = step
                self._tell(operator.methodcaller("log", stage, step, values))

    def finish(self, results: Mapping[str, Any] | None, written: Sequence[Path]) -> None:
        """Finishes every tracker; they get nothing afterwards."""
        self._tell(lambda tracker: tracker.finish(results, written))
        self._trackers = []

    def _tell(self, tell: Callable[[Tracker], None]) -> None:
        for tracker in list(self._trackers):
            try:
                tell(tracker)
            except Exception as error:
                self._trackers.remove(tracker)
                self._note(f"tracker {type(tracker).__name__} failed and is dropped: {type(error).__name__}: {error}")


def _start(tracker: Tracker, name: str, config: Mapping[str, Any], folder: Path) -> None:
    try:
        tracker.start(name, config, folder)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"tracker {type(tracker).__name__} cannot start: {type(error).__name__}: {error}") from error


class JsonLines:
    """`log.jsonl` in the run's folder: a JSON object per line, flushed at once.

    A line has `event` and `time` (seconds since 1970). The events are `start` (`run`, `config`), `log` (`stage`,
    `step`, and the values) and `finish` (`written`). A run that resumes appends.
    """

    FILE = "log.jsonl"

    def __init__(self) -> None:
        self._file: IO[str] | None = None

    def start(self, run: str, config: Mapping[str, Any], folder: Path) -> None:
        path = folder / self.FILE
        with files.disk_errors(path):
            folder.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a", encoding="utf-8", buffering=1)
        self._write("start", {"run": run, "config": config})

    def log(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        self._write("log", {"stage": stage, "step": step, **values})

    def finish(self, results: Mapping[str, Any] | None, written: Sequence[Path]) -> None:
        self._write("finish", {"written": [str(path) for path in written]})
        if self._file is not None:
            self._file.close()

    def _write(self, event: str, fields: Mapping[str, Any]) -> None:
        assert self._file is not None
        line = json.dumps({"event": event, "time": round(time.time(), 3), **fields})
        with files.disk_errors(Path(self._file.name)):
            self._file.write(f"{line}\n")


def last_steps(path: Path) -> dict[str, int]:
    """The last step of each stage in a log. A last line that a kill truncated is removed from the file."""
    if not path.exists():
        return {}
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        with path.open("r+b") as file:
            file.truncate(len(whole))
    logged = [line for line in map(json.loads, whole.splitlines()) if line["event"] == "log"]
    return {line["stage"]: line["step"] for line in logged}


TRACKERS.register(JsonLines, "jsonl")
