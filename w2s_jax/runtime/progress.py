"""What a person sees while stages run: a live line on a terminal, a plain one every few seconds elsewhere.

Trackers see the same through the reporter, so that what trains knows nothing of them.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from w2s_jax.runtime.tracking import Tracker, Trackers

PLAIN_SECONDS = 10.0


class Reporter:
    """Writes to standard error, so that standard output holds results alone.

    Attributes:
      trackers: get every step's loss. Whoever runs an experiment starts and finishes them.
    """

    def __init__(self, console: Console | None = None, quiet: bool = False, trackers: Sequence[Tracker] = ()) -> None:
        self.console = console or Console(stderr=True, highlight=False, quiet=quiet)
        self.trackers = Trackers(trackers, self.note)
        self._live: Progress | None = None
        self._stage = self._tracked = ""
        self._started = self._last = 0.0

    def note(self, text: str) -> None:
        """One line that stays."""
        self.console.print(text, soft_wrap=True, markup=False)

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Notes what the modules log, such as which kernel computes attention."""
        logger, handler = logging.getLogger("w2s_jax"), _Notes(self)
        before = logger.level, logger.propagate
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False  # else absl, which Orbax brings, says it again
        try:
            yield
        finally:
            logger.setLevel(before[0])
            logger.propagate = before[1]
            logger.removeHandler(handler)

    @contextlib.contextmanager
    def stage(self, title: str, tracked: str | None = None) -> Iterator[None]:
        """The stage whose steps come next.

        Args:
          tracked: what trackers call it, the same whenever the run resumes; None is the title.
        """
        self._stage, self._tracked = title, title if tracked is None else tracked
        self._started = self._last = time.monotonic()
        if not self.console.is_terminal:
            self.note(f"{title} ...")
            yield
            return
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

    def step(self, step: int, total: int, losses: Sequence[float]) -> None:
        """One step of the current stage is done.

        Args:
          losses: of the stage's steps that were measured so far, from the first; empty where nothing is trained.
        """
        self.trackers.losses(self._tracked, losses)
        shown = f" loss {losses[-1]:.4f}" if losses else ""
        detail = f"step {step}/{total}{shown}"
        if self._live is not None:
            self._live.update(self._live.task_ids[0], completed=step, total=total, detail=detail)
            return
        now = time.monotonic()
        if now - self._last > PLAIN_SECONDS:
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
