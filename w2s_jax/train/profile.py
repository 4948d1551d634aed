"""A trace of a few training steps, as XProf and Perfetto read it."""

from pathlib import Path
from types import TracebackType
from typing import Any

import jax

WARM_UP = 3  # steps that are not traced, for what is compiled in them
STEPS = 3


class Profile:
    """Within it, JAX's profiler is on from `before` the first of a stage's traced steps until `after` the last.

    Where fewer than `WARM_UP + STEPS` steps remain, the last ones are traced.
    """

    def __init__(self, folder: Path | None, first: int, total: int) -> None:
        """Steps `first` to `total`, traced into `folder`; None traces nothing."""
        start = first + min(WARM_UP, max(total - first - STEPS, 0))
        self._steps = range(0) if folder is None else range(start, min(start + STEPS, total))
        self._folder, self._on = folder, False

    def before(self, step: int, state: Any) -> None:
        """A step comes next, which waits for `state`."""
        if step in self._steps[:1]:
            jax.block_until_ready(state)
            jax.profiler.start_trace(str(self._folder))
            self._on = True

    def after(self, step: int, made: Any) -> None:
        """A step was started, of which `made` comes."""
        if step in self._steps[-1:]:
            jax.block_until_ready(made)
            self._stop()

    def __enter__(self) -> "Profile":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._on:
            self._on = False
            jax.profiler.stop_trace()
