"""What a person sees while stages run: a live line on a terminal, a plain one every few seconds elsewhere.

Trackers are reached through the reporter, so that what trains knows nothing of them.
"""

import contextlib
import datetime
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.tracking import Tracker, Trackers

PLAIN_SECONDS = 10.0


class Reporter:
    """Writes to standard error, so that standard output holds results alone.

    Attributes:
      trackers: get every step's loss. Whoever runs an experiment starts and finishes them.
    """

    def __init__(
        self,
        console: Console | None = None,
        quiet: bool = False,
        trackers: Sequence[Tracker] = (),
        *,
        verbose: bool = False,
        log_file: Path | None = None,
    ) -> None:
        """
        Args:
          quiet: writes nothing to standard error.
          verbose: also every step, and what libraries log.
          log_file: to which all of it is appended, quiet or not, each line with its time.
        """
        self.console = console or Console(stderr=True, highlight=False, quiet=quiet)
        self._every, self._level = (0.0, logging.DEBUG) if verbose else (PLAIN_SECONDS, logging.INFO)
        self._log_file = log_file
        self._to_file("started")
        self.trackers = Trackers(trackers, self.warn)
        self._live: Progress | None = None
        self._stage = ""
        self._started = self._last = 0.0

    def note(self, text: str) -> None:
        """One line that stays."""
        self.console.print(text, soft_wrap=True, markup=False)
        self._to_file(text)

    def warn(self, text: str) -> None:
        """One line that stays, also where progress is not shown."""
        if self.console.quiet:
            Console(stderr=True, highlight=False).print(text, soft_wrap=True, markup=False)
        self.note(text)

    def _to_file(self, text: str) -> None:
        if self._log_file is None:
            return
        try:
            self._log_file.parent.mkdir(parents=True, exist_ok=True)
            with self._log_file.open("a", encoding="utf-8") as file:
                file.write(f"{datetime.datetime.now().astimezone().isoformat(timespec='seconds')} {text}\n")
        except OSError as error:
            raise UserError(f"the log file {self._log_file} cannot be written: {error.strerror}") from error

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Notes what the modules log, such as which kernel computes attention."""
        logger, handler = logging.getLogger("w2s_jax"), _Notes(self)
        before = logger.level, logger.propagate
        logger.addHandler(handler)
        logger.setLevel(self._level)
        logger.propagate = False  # else absl, which Orbax brings, says it again
        try:
            yield
        finally:
            logger.setLevel(before[0])
            logger.propagate = before[1]
            logger.removeHandler(handler)

    @contextlib.contextmanager
    def stage(self, title: str) -> Iterator[None]:
        """The stage whose steps come next."""
        self._stage = title
        self._started = self._last = time.monotonic()
        if not self._draws:
            self.note(f"{title} ...")
            yield
            return
        self._to_file(f"{title} ...")
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.console, transient=True) as live:
            self._live = live
            live.add_task(title, total=None, detail="preparing")
            try:
                yield
            finally:
                self._live = None

    @property
    def _draws(self) -> bool:
        """Whether a line is drawn again and again: on a terminal; a notebook and a pipe get lines that stay."""
        return self.console.is_terminal and not self.console.is_jupyter and self._every > 0

    def step(self, step: int, total: int, losses: Sequence[float] = ()) -> None:
        """One step of the current stage is done, or of several that train together.

        Args:
          losses: the last that was measured of each; none where nothing is trained.
        """
        shown = f" loss {sum(losses) / len(losses):.4f}" if losses else ""
        detail = f"step {step}/{total}{shown}"
        if self._live is not None:
            self._live.update(self._live.task_ids[0], completed=step, total=total, detail=detail)
            return
        now = time.monotonic()
        if now - self._last >= self._every:
            left = (now - self._started) / step * (total - step)
            self._last = now
            self.note(f"{self._stage}: {detail}, about {left:.0f} s left")


class _Notes(logging.Handler):
    def __init__(self, reporter: Reporter) -> None:
        super().__init__()
        self._reporter = reporter

    def emit(self, record: logging.LogRecord) -> None:
        self._reporter.note(self.format(record))


@contextlib.contextmanager
def counting(title: str) -> Iterator[Callable[[int], None]]:
    """A function to be told how many things are done; every few seconds it says so on standard error."""
    started = last = time.monotonic()
    console = Console(stderr=True, highlight=False)

    def told(count: int) -> None:
        nonlocal last
        if count % 1024 == 0 and time.monotonic() - last > PLAIN_SECONDS:
            last = time.monotonic()
            console.print(f"{title}: {count:,} in {last - started:.0f} s", markup=False, soft_wrap=True)

    yield told


def duration(seconds: float) -> str:
    """Seconds in the largest units that matter: `40 s`, `12 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
