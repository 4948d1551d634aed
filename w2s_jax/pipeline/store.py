"""The folders of finished stages: one each, claimed by one process at a time, complete or absent.

<root>/<role>-<task>-s<seed>-<key>/
    manifest.json        written last: the stage is done; holds every other file's SHA-256 and what made it
    predictions.parquet  one row per example and split (and predictions.json, its own manifest)
    history.json         training losses, evaluation steps and scores
    curve.npy            validation probabilities at each evaluation, float32 [E, N, C]
    params/              the selected parameters (Orbax), if they are kept
    progress/            a checkpoint of work that is not finished
    jobs.json            the names of the stages that it trains together with, while that is not finished
    jobs-<hash>/         a checkpoint of them, in the folder of the first
    failed.txt           the last lines of the error, where the stage failed
"""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from w2s_jax.data import predictions as predictions_table
from w2s_jax.data.predictions import Predictions
from w2s_jax.runtime import checkpoint, files, processes
from w2s_jax.runtime.errors import UserError
from w2s_jax.train.loop import History

SCHEMA = "w2s_jax/stage/2"
MANIFEST, PREDICTIONS, HISTORY, CURVE = "manifest.json", "predictions.parquet", "history.json", "curve.npy"
JOBS, LOCK = "jobs.json", ".lock"


class Finished(NamedTuple):
    """A stage as read back from its folder."""

    predictions: Predictions
    history: History
    manifest: dict[str, Any]


class Store:
    """The folder of all stages. Several processes, on several machines, may share one."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        # Beside the stages lies what they share.
        self.features, self.transcripts = self.root.parent / "features", self.root.parent / "transcripts"

    @classmethod
    def beside_runs(cls, out: str | Path) -> "Store":
        """The stages of all runs that write to this folder, and share them."""
        return cls(Path(out) / "stages")

    def folder(self, name: str) -> Path:
        return self.root / name

    def done(self, name: str) -> bool:
        return (self.folder(name) / MANIFEST).exists()

    def started(self, name: str) -> bool:
        return checkpoint.exists(self.progress([name])) or bool(self.begun(name))

    def progress(self, names: Sequence[str]) -> Path:
        """Where unfinished work of a stage is checkpointed, or of several that train together."""
        if len(names) == 1:
            return self.folder(names[0]) / "progress"
        return self.folder(names[0]) / f"jobs-{files.sha256_text(files.canonical(list(names)))[:12]}"

    def begin(self, names: Sequence[str]) -> None:
        """Notes that these stages train together, so that they do whenever the work is resumed."""
        for name in names:
            files.write_json(self.folder(name) / JOBS, list(names))

    def begun(self, name: str) -> list[str]:
        """The stages that this one began to train together with, itself included; empty if it did not."""
        path = self.folder(name) / JOBS
        return list(files.read_json(path)) if path.exists() else []

    def end(self, names: Sequence[str]) -> None:
        """Forgets the unfinished work of stages that trained together."""
        for name in names:
            (self.folder(name) / JOBS).unlink(missing_ok=True)
            for left in self.folder(name).glob("jobs-*"):
                checkpoint.remove(left)

    def failed(self, name: str) -> Path:
        """Where the last lines of a stage's error are kept, if it failed."""
        return self.folder(name) / "failed.txt"

    @contextlib.contextmanager
    def claim(self, name: str) -> Iterator[bool]:
        """Whether this process now owns the stage; False at once if another does. A killed owner owns nothing."""
        import filelock

        folder = self.folder(name)
        with files.disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / LOCK)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def claimed(self, name: str) -> bool:
        """Whether a process owns the stage now: it is making it."""
        if not (self.folder(name) / LOCK).exists():
            return False
        with self.claim(name) as free:
            return not free

    def write(
        self,
        name: str,
        predictions: Predictions,
        history: History,
        identity: dict[str, Any],
        made: dict[str, Any],
        params: Any = None,
    ) -> None:
        """Writes a finished stage; the manifest comes last.

        Of several processes, which all call it, process 0 writes, and each its own pieces of `params`.
        """
        folder = self.folder(name)
        if params is not None:
            checkpoint.save(folder / "params", {"params": params}, {})
        processes.lead(lambda: self._write(name, predictions, history, identity, made))

    def _write(
        self, name: str, predictions: Predictions, history: History, identity: dict[str, Any], made: dict[str, Any]
    ) -> None:
        folder = self.folder(name)
        predictions_table.write_predictions(folder / PREDICTIONS, predictions, provenance=identity)
        files.write_json(
            folder / HISTORY,
            {
                "losses": history.losses,
                "evaluated": history.evaluated,
                "scores": history.scores,
                "best": history.best,
            },
        )
        with files.atomic(folder / CURVE) as temporary, temporary.open("wb") as handle:
            np.save(handle, history.probs, allow_pickle=False)
        hashes = {path: files.sha256_file(folder / path) for path in (PREDICTIONS, HISTORY, CURVE)}
        files.write_json(folder / MANIFEST, {"schema": SCHEMA, "identity": identity, "files": hashes, "made": made})
        checkpoint.remove(self.progress([name]))
        self.failed(name).unlink(missing_ok=True)

    def params(self, name: str) -> Any:
        """The parameters that a finished stage kept, as they were saved.

        Raises:
          UserError: it kept none.
        """
        return checkpoint.load(self._params(name), "params")

    def params_sharded(self, name: str, shardings: Any) -> Any:
        """The same, read straight onto devices.

        Args:
          shardings: of each parameter, and perhaps of more.
        """
        return checkpoint.load_sharded(self._params(name), "params", shardings)

    def _params(self, name: str) -> Path:
        folder = self.folder(name) / "params"
        if not checkpoint.exists(folder):
            raise UserError(f"{self.folder(name)} kept no parameters; delete it and run the same command again")
        return folder

    def read(self, name: str) -> Finished:
        """Reads a finished stage.

        Raises:
          UserError: naming the file that is missing, truncated or edited.
        """
        folder = self.folder(name)
        manifest = files.read_json(folder / MANIFEST)
        if manifest.get("schema") != SCHEMA:
            raise UserError(f"{folder / MANIFEST} has schema {manifest.get('schema')!r}; this version reads {SCHEMA!r}")
        for file, expected in manifest["files"].items():
            path = folder / file
            if not path.exists() or files.sha256_file(path) != expected:
                problem = "was truncated or edited" if path.exists() else "is missing"
                raise UserError(f"{path} {problem}; delete {folder} and run the same command again")
        history = files.read_json(folder / HISTORY)
        probs = np.load(folder / CURVE, allow_pickle=False)
        return Finished(
            predictions_table.read_predictions(folder / PREDICTIONS),
            History(history["losses"], history["evaluated"], history["scores"], probs, history["best"]),
            manifest,
        )

    def version(self, name: str) -> list[tuple[str, int, int]]:
        """Changes whenever what a finished stage is read from does."""
        folder = self.folder(name)
        return [each for file in (MANIFEST, PREDICTIONS, HISTORY, CURVE) for each in files.version(folder / file)]

    def predictions_hash(self, name: str) -> str:
        """SHA-256 of the stage's predictions file, as its manifest says."""
        return files.read_json(self.folder(name) / MANIFEST)["files"][PREDICTIONS]
