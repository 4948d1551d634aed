"""The examples of a task, and what became of its records."""

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path

from w2s_jax.data import records as data_records
from w2s_jax.data.example import Example
from w2s_jax.data.reading import Reading
from w2s_jax.data.records import Record
from w2s_jax.data.sources import Source
from w2s_jax.data.tables.columns import renamed
from w2s_jax.data.task_config import TaskConfig
from w2s_jax.data.tasks.base import Task, get
from w2s_jax.data.tokens import flatten
from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.progress import counting


def load(name: str, source: str | None = None) -> list[Example]:
    """The examples of a task, by name. `source` is read instead of the task's own; see `Task.source_of`."""
    return read_task(get(name), TaskConfig(name, source))[0]


def read_task(task: Task, config: TaskConfig, at_most: int | None = None) -> tuple[list[Example], Reading]:
    """The task's examples, sorted by id, and what became of its records.

    Args:
      config: from which source, and what becomes of duplicates and empty texts; splits are not drawn here.
      at_most: about how many records are read of a source that has many more; None is all.

    Raises:
      UserError: the source cannot be read, lacks a column, gives no example, or gives two texts one id.
    """
    origin = task.source_of(config.source)
    try:
        opened = origin.open(at_most)
    except UserError as error:
        others = [name for name, source in task.sources.items() if source != origin]
        hint = f"; the task can also be read from: {', '.join(others)}, as with source={others[0]!r}" if others else ""
        raise UserError(f"task {task.name!r}: {error}{hint}") from error
    read = _Collected(task, origin, config)
    # A table's own format knows where its columns are; the records of other tasks are renamed.
    rename = renamed({} if task.layout else config.columns)
    with counting(f"reading {task.name}") as count:
        for record in opened.records:
            read.add(record, rename)
            count(read.records)
    repeated = read.labelled - len(read.by_id)
    if repeated and config.duplicates == "error":
        name = next(name for name, alike in read.by_id.items() if len(alike) > 1)
        raise UserError(
            f"task {task.name!r}: {repeated:,} of {read.labelled:,} examples repeat the content of another, that of "
            f"{name!r} among them; duplicates='merge' makes them one, duplicates='keep' keeps all"
        )
    keep = config.duplicates == "keep"
    each = [_kept(alike) if keep else _merged(alike, task.n_classes) for alike in read.by_id.values()]
    examples = sorted(example for some in each for example in some)
    if not examples:
        raise UserError(f"task {task.name!r}: {origin.describe()} gives no labelled example")
    contradictory = sum(len(alike) for alike, some in zip(read.by_id.values(), each, strict=True) if not some)
    return examples, Reading(
        records=read.records,
        unlabelled=read.unlabelled,
        labelled=read.labelled,
        merged=read.labelled - contradictory - len(examples),
        contradictory=contradictory,
        outside_pool=0,
        examples=len(examples),
        empty=read.empty,
        origin=opened.origin,
        available=None if opened.is_whole else opened.available,
        is_sample=not opened.is_whole,
        layout=task.layout,
    )


@dataclass
class _Collected:
    """Examples by id, and how many records gave them."""

    task: Task
    origin: Source
    config: TaskConfig
    by_id: dict[str, list[Example]] = field(default_factory=dict)
    records: int = 0
    unlabelled: int = 0
    labelled: int = 0
    empty: int = 0

    def add(self, record: Record, rename: Callable[[Record], Record]) -> None:
        self.records += 1
        given = self._formatted(record, rename)
        self.unlabelled += not given
        for example in given:
            if not all(text.strip() for text in flatten([example.text])):
                if self.config.empty == "error":
                    raise self._error(record, "the text is empty; empty='drop' leaves such examples out")
                self.empty += 1
                continue
            self.labelled += 1
            alike = self.by_id.setdefault(example.id, [])
            if alike and alike[0].text != example.text:
                raise self._error(record, f"two different texts have the id {data_records.brief(example.id)}")
            alike.append(example)

    def _formatted(self, record: Record, rename: Callable[[Record], Record]) -> list[Example]:
        try:
            return list(self.task.format(rename(record)))
        except UserError as error:
            raise self._error(record, str(error)) from error
        except Exception as error:  # of a formatter, at a record that is not what it expects
            if self.task.layout:  # tables check every value; this is a fault of ours
                raise
            last = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(last.filename).name}, line {last.lineno}"
            raise self._error(record, f"{type(error).__name__}: {error} ({place})") from error

    def _error(self, record: Record, reason: str) -> UserError:
        here = data_records.where(record, self.records)
        return UserError(f"task {self.task.name!r}, {self.origin.describe()}, {here}: {reason}")


def _kept(alike: list[Example]) -> list[Example]:
    """Each with an id of its own, in the first one's group; their order does not matter."""
    first, *others = sorted(alike)
    return [first, *(each._replace(id=f"{first.id} ({n})", group=first.group) for n, each in enumerate(others, 2))]


def _merged(alike: list[Example], n_classes: int) -> list[Example]:
    """One example with the label that most of them give; none where two labels are given equally often."""
    if len(alike) == 1:
        return alike
    shares = tuple(sum(map(_share, alike, repeat(k))) / len(alike) for k in range(_count(alike, n_classes)))
    label = shares.index(max(shares))
    if shares.count(max(shares)) > 1:
        return []
    one = min((example for example in alike if example.label == label), default=None)
    if one is None:  # of soft labels, none of which is the one that they give together
        one = min(alike)._replace(label=label)
    return [one._replace(shares=shares if max(shares) < 1 else None)]


def _share(example: Example, label: int) -> float:
    return float(example.label == label) if example.shares is None else example.shares[label]


def _count(alike: list[Example], n_classes: int) -> int:
    return max(n_classes, *(example.label + 1 for example in alike))
