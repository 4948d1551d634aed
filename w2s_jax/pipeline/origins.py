"""Where everything that stages read comes from; and a lock, which says what a later run must find there."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from w2s_jax import models
from w2s_jax.data import arrays
from w2s_jax.runtime import files, hub
from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.origin import Origin
from w2s_jax.stages.base import Stage

SCHEMA = "w2s_jax/lock/1"


def models_of(stages: Iterable[Stage]) -> dict[str, Origin]:
    """Where each model of these stages comes from, by the name that a config gives it."""
    named = dict.fromkeys(name for stage in stages for name in stage.models() if not name.startswith(":"))
    return {name: _array(name) if arrays.is_array(name) else models.origin(name) for name in named}


def _array(reference: str) -> Origin:
    return arrays.origin(reference.rpartition(":")[0])


def tasks_of(stages: Iterable[Stage]) -> dict[str, Origin]:
    """Where the records of each task of these stages come from, by its title."""
    read = {stage.task.config.title: stage.task.reading.origin for stage in stages}
    given = {name: origin for stage in stages for name, origin in stage.origins().items()}
    return {title: origin for title, origin in {**read, **given}.items() if origin is not None}


def facts(stage: Stage) -> dict[str, Any]:
    """Where a stage's task and model come from, as JSON values for its manifest."""
    found = {"tasks": tasks_of([stage]), "models": models_of([stage])}
    return {key: {name: files.as_json(origin) for name, origin in each.items()} for key, each in found.items()}


@dataclass(frozen=True)
class Lock:
    """What an experiment read.

    Attributes:
      hub: kind, repository, revision and commit of everything that was read from the Hub.
      tasks, models: by title and by name.
    """

    hub: tuple[tuple[str, str, str, str], ...] = ()
    tasks: Mapping[str, Origin] = field(default_factory=dict)
    models: Mapping[str, Origin] = field(default_factory=dict)

    @classmethod
    def of(cls, stages: Iterable[Stage]) -> "Lock":
        """What these stages read; everything is fetched."""
        stages = list(stages)
        tasks, named = tasks_of(stages), models_of(stages)
        repositories = {each.name.removeprefix("Hub ") for each in (*tasks.values(), *named.values())}
        return cls(tuple(hub.commits(repositories)), tasks, named)

    def open_ends(self) -> list[str]:
        """The tasks of which neither a version nor a file is known, so that nobody can see whether they change."""
        return [name for name, origin in self.tasks.items() if not origin.version and not origin.files]

    def check(self, stages: Iterable[Stage]) -> None:
        """Compares what stages read with this lock.

        Raises:
          UserError: a task or model is not in it, or is not what it was.
        """
        stages = list(stages)
        for word, found, known in (("task", tasks_of(stages), self.tasks), ("model", models_of(stages), self.models)):
            for name, origin in found.items():
                if name not in known:
                    raise UserError(f"the lock has no {word} {name!r}; write it again: w2s lock CONFIG")
                _compare(f"{word} {name!r}", origin, known[name])


def pin(locks: Iterable[Lock]) -> None:
    """From now on, names of the Hub stand for the commits of these locks, and of no others.

    Raises:
      UserError: two locks contradict each other.
    """
    before = hub.pinned()
    hub.pin(each for lock in locks for each in lock.hub)
    if hub.pinned() != before:
        models.forget()  # what was read of other commits


def write(lock: Lock, path: Path) -> None:
    """Writes a lock as JSON."""
    files.write_json(path, {"schema": SCHEMA, **files.as_json(lock)})


def read(path: Path) -> Lock:
    """Reads a lock.

    Raises:
      UserError: it is none of this version.
    """
    none = UserError(f"{path} is no lock of schema {SCHEMA}; write one: w2s lock CONFIG")
    if not path.is_file():
        raise UserError(f"{path} is no file; write a lock: w2s lock CONFIG")
    try:
        value: Any = files.read_json(path)
    except UserError as error:
        raise none from error
    try:
        if value["schema"] != SCHEMA:
            raise UserError(f"{path} has schema {value['schema']!r}; this version reads {SCHEMA!r}")
        origins = [{name: Origin(**each) for name, each in value[key].items()} for key in ("tasks", "models")]
        pins = []
        for kind, name, revision, commit in value["hub"]:
            pins.append((str(kind), str(name), str(revision), str(commit)))
        return Lock(tuple(pins), *origins)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise none from error


def _compare(what: str, found: Origin, locked: Origin) -> None:
    again = "restore it, or write the lock again: w2s lock CONFIG"
    if (found.name, found.version) != (locked.name, locked.version):
        raise UserError(f"{what} is {found.describe()}; the lock has {locked.describe()}; {again}")
    # Of one commit or version, another pool may need more of the files, or fewer.
    names = found.files.keys() & locked.files.keys() if found.version else found.files.keys() | locked.files.keys()
    for name in sorted(names):
        here, there = (each.get(name, "") for each in (found.files, locked.files))
        if not here or not there:
            raise UserError(f"{what}: {name} is {'new' if here else 'gone'} since the lock was written; {again}")
        if here != there:
            raise UserError(f"{what}: {name} has SHA-256 {here[:12]}; the lock has {there[:12]}; {again}")
