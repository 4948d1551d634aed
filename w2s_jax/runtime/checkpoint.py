"""Orbax checkpoints with a manifest of hashes: a checkpoint is whole and unedited, or it is refused.

Parameters, optimizer state and anything else are separate Orbax items, so that a later stage can restore the
parameters alone. With several processes, all of them save and restore together, each its own pieces of the arrays;
process 0 alone renames folders and writes the manifest.
"""

import contextlib
import copy
import math
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import numpy as np

from w2s_jax.runtime import files, processes
from w2s_jax.runtime.errors import UserError

MANIFEST = "manifest.json"
ITEMS = "items"  # where they are written before all are there
SLACK = 2**24  # bytes read at once, besides the largest array


def save(folder: Path, items: Mapping[str, Any], meta: Mapping[str, Any]) -> None:
    """Writes each pytree of `items` with Orbax and `meta` as JSON; `folder` appears only when all of it is on disk.

    Args:
      folder: replaced if it exists. The old checkpoint stays until the new one is whole.
      items: name -> pytree of arrays.
      meta: JSON values (step, best score, ...).
    """
    with Saver(folder) as saver:
        saver.save(items, meta)


class Saver:
    """Saves one checkpoint after another while training continues: it waits only for the copy off the devices.

    The arrays may be donated as soon as `save` returns. With several processes all of them call the same methods.
    """

    def __init__(self, folder: Path) -> None:
        """Into `folder`, which always holds the last checkpoint that is whole."""
        import orbax.checkpoint as ocp

        self._folder = Path(folder).absolute()
        self._checkpointer = ocp.AsyncCheckpointer(ocp.CompositeCheckpointHandler())
        self._thread = ThreadPoolExecutor(1)
        self._unfinished: Future[None] | None = None

    def save(self, items: Mapping[str, Any], meta: Mapping[str, Any]) -> None:
        """Begins to write what the function `save` writes, after the checkpoint before it is whole."""
        import orbax.checkpoint as ocp

        self.wait()
        partial = _sibling(self._folder, "partial")
        processes.lead(lambda: _empty(partial))
        trees = {name: ocp.args.StandardSave(tree) for name, tree in items.items()}
        with processes.together(), files.disk_errors(self._folder):
            self._checkpointer.save(partial / ITEMS, args=ocp.args.Composite(**trees))
        self._unfinished = self._thread.submit(self._complete, copy.deepcopy(dict(meta)))

    def wait(self) -> None:
        """Returns when the last checkpoint is whole, in all processes.

        Raises:
          UserError: it could not be written.
        """
        with processes.together():
            self._join()

    def _join(self) -> None:
        if self._unfinished is not None:
            unfinished, self._unfinished = self._unfinished, None
            unfinished.result()

    def _complete(self, meta: dict[str, Any]) -> None:
        with files.disk_errors(self._folder):
            self._checkpointer.wait_until_finished()  # Orbax waits for the other processes too
            if processes.is_leader():
                _finish(self._folder, meta)

    def __enter__(self) -> "Saver":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if error is None:
                self.wait()
            else:  # perhaps of this process alone
                self._join()
        finally:
            self._checkpointer.close()
            self._thread.shutdown()


def _empty(partial: Path) -> None:
    shutil.rmtree(partial, ignore_errors=True)
    with files.disk_errors(partial):
        partial.mkdir(parents=True)


def _finish(folder: Path, meta: Mapping[str, Any]) -> None:
    """Hashes what was saved, and replaces the previous checkpoint with it."""
    partial, previous = _sibling(folder, "partial"), _sibling(folder, "previous")
    for item in (partial / ITEMS).iterdir():
        item.rename(partial / item.name)
    (partial / ITEMS).rmdir()
    hashes = {str(path.relative_to(partial)): files.sha256_file(path) for path in _files(partial)}
    files.write_json(partial / MANIFEST, {"meta": dict(meta), "files": hashes})
    shutil.rmtree(previous, ignore_errors=True)
    if folder.exists():
        folder.rename(previous)
    partial.rename(folder)
    shutil.rmtree(previous, ignore_errors=True)


def exists(folder: Path) -> bool:
    """Whether there is a whole checkpoint, here or in the copy kept while it was being replaced."""
    return _whole(folder) is not None


def meta(folder: Path) -> dict[str, Any]:
    """The JSON values saved with the checkpoint."""
    return files.read_json(_found(folder) / MANIFEST)["meta"]


def restore(folder: Path, abstract: Mapping[str, Any]) -> dict[str, Any]:
    """Restores the named items, each straight into the shapes, dtypes and shardings of its abstract pytree.

    Args:
      abstract: item name -> pytree of arrays or `jax.ShapeDtypeStruct`. Items not named are not read.

    Raises:
      UserError: a file is missing, truncated or edited, or the shapes are of another model.
    """
    return _restored(Path(processes.lead(lambda: _verified(folder))), abstract)


def _restored(found: Path, abstract: Mapping[str, Any]) -> dict[str, Any]:
    import orbax.checkpoint as ocp

    restored = {}
    largest = max((math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(abstract)), default=0)
    at_once: Any = (largest + SLACK) / 1e9  # else the host may hold all of it as well as the devices; Orbax says int
    with processes.together(), ocp.StandardCheckpointer(restore_concurrent_gb=at_once) as checkpointer:
        for name, tree in abstract.items():
            target = jax.tree.map(_abstract, tree)
            _compare(found / name, target)
            try:
                restored[name] = checkpointer.restore(found / name, target)
            except (ValueError, KeyError, FileNotFoundError) as error:
                raise UserError(f"checkpoint {found / name} is of another model or optimizer: {error}") from error
    return restored


def _compare(item: Path, wanted: Any) -> None:
    """Raises:
    UserError: an array was saved with another shape. Orbax would notice while it reads, and leave the rest half read.
    """
    saved = _shapes(_tree(item))
    for path, shape in _shapes(wanted).items():
        if saved.get(path, shape) != shape:
            raise UserError(
                f"checkpoint {item} is of another model or optimizer: {path} has the shape {saved[path]}, "
                f"which should be {shape}"
            )


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    """By path, a random key being the numbers that are saved."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        jax.tree_util.keystr(keys, simple=True, separator="/"): jax.eval_shape(jax.random.key_data, leaf).shape
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        else tuple(leaf.shape)
        for keys, leaf in leaves
    }


def load(folder: Path, name: str) -> Any:
    """One item as it was saved, on the host: nested dicts of numpy arrays. Waits for no other process.

    Raises:
      UserError: a file is missing, truncated or edited.
    """
    import orbax.checkpoint as ocp

    found = Path(_verified(folder))
    with _alone() as checkpointer:
        tree = _tree(found / name)
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
        return checkpointer.restore(found / name, restore_args=as_numpy)


def load_sharded(folder: Path, name: str, shardings: Any) -> Any:
    """One item as it was saved, nested dicts of arrays, each straight onto its devices.

    Args:
      shardings: a nested dict of shardings, for whatever the item holds and perhaps more.

    Raises:
      UserError: a file is missing, truncated or edited.
    """
    found = Path(processes.lead(lambda: _verified(folder)))
    tree = _tree(found / name)
    by_path = dict(jax.tree_util.tree_leaves_with_path(shardings))
    shapes = jax.tree_util.tree_map_with_path(
        lambda keys, leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=by_path[keys]), tree
    )
    return _restored(found, {name: shapes})[name]


def _tree(item: Path) -> Any:
    """The shapes and dtypes that were saved. A checkpointer would want metadata of a step too."""
    import orbax.checkpoint as ocp

    found: Any = ocp.PyTreeCheckpointHandler().metadata(item)
    return found.tree


@contextlib.contextmanager
def _alone() -> Iterator[Any]:
    """A checkpointer that waits for no other process."""
    import orbax.checkpoint as ocp

    alone = ocp.options.MultiprocessingOptions(
        primary_host=jax.process_index(),
        active_processes={jax.process_index()},
        barrier_sync_key_prefix=f"load{jax.process_index()}",
    )
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=alone)
    with ocp.Checkpointer(handler, multiprocessing_options=alone) as checkpointer:
        yield checkpointer


def verify(folder: Path) -> None:
    """Compares every file with the manifest's SHA-256.

    Raises:
      UserError: naming the first file that is missing, truncated or edited.
    """
    manifest = files.read_json(Path(folder) / MANIFEST)["files"]
    for name, expected in manifest.items():
        path = Path(folder) / name
        if not path.exists():
            raise UserError(f"checkpoint file {path} is missing; delete {folder} and run the same command again")
        if files.sha256_file(path) != expected:
            raise UserError(
                f"checkpoint file {path} was truncated or edited; delete {folder} and run the same command again"
            )


def remove(folder: Path) -> None:
    """Deletes the checkpoint and whatever an interrupted save left next to it."""
    folder = Path(folder)
    for path in (folder, _sibling(folder, "partial"), _sibling(folder, "previous")):
        shutil.rmtree(path, ignore_errors=True)


def _abstract(leaf: Any) -> Any:
    if isinstance(leaf, jax.Array):
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)
    return leaf


def _sibling(folder: Path, suffix: str) -> Path:
    return folder.with_name(f"{folder.name}.{suffix}")


def _whole(folder: Path) -> Path | None:
    folder = Path(folder).absolute()
    candidates = (folder, _sibling(folder, "previous"))
    return next((path for path in candidates if (path / MANIFEST).exists()), None)


def _found(folder: Path) -> Path:
    whole = _whole(folder)
    if whole is None:
        raise UserError(f"no checkpoint in {folder}")
    return whole


def _verified(folder: Path) -> str:
    found = _found(folder)
    verify(found)
    return str(found)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())
