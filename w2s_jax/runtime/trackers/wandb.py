"""`--track wandb`: one run of Weights & Biases for a run of ours, continued whenever that resumes."""

import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from w2s_jax.runtime import files
from w2s_jax.runtime.trackers import needs
from w2s_jax.runtime.tracking import TRACKERS

IDENTITY = ".wandb_id"


class WandB:
    """Logs curves as `STAGE/loss` over `STAGE/step`; then a table, the figures, and the run's files as an artifact.

    The project is WANDB_PROJECT, or `w2s_jax`; the other variables of W&B hold too, such as WANDB_MODE=offline.
    """

    def __init__(self) -> None:
        self._package = needs.package("wandb", "wandb")
        self._run: Any = None
        self._folder = Path()
        self._known: set[str] = set()

    def start(self, run: str, config: Mapping[str, Any], folder: Path) -> None:
        path = folder / IDENTITY
        if not path.exists():
            files.write_text(path, secrets.token_hex(8))
        self._folder = folder
        self._run = self._package.init(
            project=os.environ.get("WANDB_PROJECT", "w2s_jax"),
            name=run,
            id=path.read_text(encoding="utf-8"),
            resume="allow",
            dir=str(folder),
            config=dict(config),
        )

    def log(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        if stage not in self._known:
            self._known.add(stage)
            self._run.define_metric(f"{stage}/*", step_metric=f"{stage}/step")
        shown = {f"{stage}/{name}": value for name, value in values.items() if name != "steps"}
        self._run.log({**shown, f"{stage}/step": step})

    def finish(self, results: Mapping[str, Any] | None, written: Sequence[Path]) -> None:
        try:
            self._log_results(results, written)
        finally:
            self._run.finish(exit_code=0 if written else 1)

    def _log_results(self, results: Mapping[str, Any] | None, written: Sequence[Path]) -> None:
        rows = needs.rows(results)
        if rows:
            self._run.log(
                {"results": self._package.Table(columns=list(needs.COLUMNS), data=[list(row) for row in rows])}
            )
        figures = {f"figures/{path.stem}": self._package.Image(str(path)) for path in written if path.suffix == ".png"}
        if figures:
            self._run.log(figures)
        if written:
            artifact = self._package.Artifact(f"run-{self._run.id}", type="w2s_jax")
            for path in (*written, self._folder / "log.jsonl"):
                artifact.add_file(str(path), name=path.relative_to(self._folder).as_posix())
            self._run.log_artifact(artifact)


TRACKERS.register(WandB, "wandb")
