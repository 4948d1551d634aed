"""`--track trackio`: a run in trackio's local database, continued whenever ours resumes."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from w2s_jax.runtime.trackers import needs
from w2s_jax.runtime.tracking import TRACKERS


class Trackio:
    """Logs curves as `STAGE/loss`, then a table and the figures; look with `trackio show`.

    The project is TRACKIO_PROJECT, or `w2s_jax`.
    """

    def __init__(self) -> None:
        self._package = needs.package("trackio", "trackio")

    def start(self, run: str, config: Mapping[str, Any], folder: Path) -> None:
        project = os.environ.get("TRACKIO_PROJECT", "w2s_jax")
        self._package.init(project=project, name=run, config=dict(config), resume="allow", embed=False)

    def log(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        shown = {f"{stage}/{name}": value for name, value in values.items() if name != "steps"}
        self._package.log(shown, step=step)

    def finish(self, results: Mapping[str, Any] | None, written: Sequence[Path]) -> None:
        try:
            rows = [list(row) for row in needs.rows(results)]
            if rows:
                self._package.log({"results": self._package.Table(columns=list(needs.COLUMNS), data=rows)})
            for path in written:
                if path.suffix == ".png":
                    self._package.log({f"figures/{path.stem}": self._package.Image(str(path))})
        finally:
            self._package.finish()  # which writes what waits


TRACKERS.register(Trackio, "trackio")
