"""`--track tensorboard`: event files in the run's folder, a run of TensorBoard for each stage."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from w2s_jax.runtime.trackers import needs
from w2s_jax.runtime.tracking import TRACKERS

OPEN = 16  # writers, each of which has a thread
FLUSH_SECONDS = 10


class TensorBoard:
    """Writes `tensorboard/STAGE/` for every stage's curves and `tensorboard/run/` for config, table and figures.

    Look with `tensorboard --logdir runs/NAME/tensorboard`. A kill loses the last ten seconds of a curve at most;
    log.jsonl has them.
    """

    def __init__(self) -> None:
        self._package = needs.package("tensorboardX", "tensorboard")
        self._writers: dict[str, Any] = {}
        self._root = Path()

    def start(self, run: str, config: Mapping[str, Any], folder: Path) -> None:
        self._root = folder / "tensorboard"
        self._writer("run").add_text("config", f"```json\n{json.dumps(config, indent=1)}\n```")

    def log(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            if name != "steps":
                self._writer(stage).add_scalar(name, value, step)

    def finish(self, results: Mapping[str, Any] | None, written: Sequence[Path]) -> None:
        writer = self._writer("run")
        for place, row in enumerate(needs.rows(results)):
            named = dict(zip(needs.COLUMNS, row, strict=True))
            name = " | ".join(str(named[key]) for key in needs.COLUMNS[:4])
            text = "  \n".join(f"{key}: {value}" for key, value in named.items())
            writer.add_text(f"results/{name}", text, place)
        for path in written:
            if path.suffix == ".png":
                writer.add_image(f"figures/{path.stem}", _pixels(path), dataformats="HWC")
        for each in self._writers.values():
            each.close()
        self._writers.clear()

    def _writer(self, name: str) -> Any:
        """Of the last few stages."""
        if name not in self._writers:
            if len(self._writers) >= OPEN:
                self._writers.pop(next(key for key in self._writers if key != "run")).close()
            folder = str(self._root / name)
            self._writers[name] = self._package.SummaryWriter(folder, flush_secs=FLUSH_SECONDS)
        return self._writers[name]


def _pixels(path: Path) -> Any:
    """Of a figure, whose writer brings what reads it."""
    from matplotlib import image

    return image.imread(path)[..., :3]


TRACKERS.register(TensorBoard, "tensorboard")
