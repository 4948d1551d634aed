"""What a task is; the registry of tasks, and how their examples are loaded."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from w2s_jax.data import sources
from w2s_jax.data.example import Example, Reading
from w2s_jax.data.formulas import Parts
from w2s_jax.data.sources import Record, Source
from w2s_jax.data.task_config import Duplicates
from w2s_jax.data.tasks.own import compares, own_row
from w2s_jax.runtime import files
from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.registry import Registry

Format = Callable[[Record], Iterable[Example]]

TEMPLATES = ("{text}\nAnswer:", "{text}\nIs this right?", "Question: {text}\nThe answer is")
CONVERTED = "refs/convert/parquet"  # the Hub's own conversion, where the repository itself holds a script


@dataclass(frozen=True)
class Task:
    """A classification task.

    Attributes:
      name: what it is called in a config.
      description: the question that it asks.
      source: where its records come from.
      format: the examples of one record; none for a record that is of no use, such as an unlabelled one.
      n_classes: 2 or more.
      columns: names of a local file's columns, where the source's own files have no header.
      answers: names of the classes when a model is asked about them or given them; empty is No and Yes, or numbers.
      templates: prompts that such an answer follows, the first where one is enough; each holds `{text}`.
      parts: how its texts come apart into those of another task; None where they do not. Both have two classes.
      candidates: texts of an example; more than 1 where each is scored by itself. Only `w2s plan`, which reads no
        data, asks.
    """

    name: str
    description: str
    source: Source
    format: Format
    n_classes: int = 2
    columns: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    templates: tuple[str, ...] = TEMPLATES
    parts: Parts | None = None
    candidates: int = 1


TASKS: Registry[Task] = Registry("task")


def get(name: str) -> Task:
    """A task by name, or that of a local file with `text` and `label`, or with `chosen` and `rejected`.

    >>> get("cities").description
    'is the city in the country?'

    Raises:
      UserError: no such task or file.
    """
    if name not in TASKS and name.removesuffix(".gz").endswith(sources.SUFFIXES):
        return Task(Path(name).name, "your own file", sources.Local(name), own_row, candidates=_candidates(name))
    return TASKS.find(name)


@files.cached(maxsize=32)  # a task may be looked up often
def _candidates(path: str) -> int:
    """Texts of an example of the user's own file, by its first record."""
    return 2 if Path(path).is_file() and compares(next(iter(sources.Local(path).records()), {})) else 1


def load(name: str, source: str | None = None) -> list[Example]:
    """The examples of a task. `source` is read instead of the task's own; see `sources.parse`."""
    return load_task(get(name), source)


def load_task(task: Task, source: str | None = None) -> list[Example]:
    """The task's examples as `read_task` gives them by default."""
    return read_task(task, source)[0]


def read_task(task: Task, source: str | None = None, duplicates: Duplicates = "merge") -> tuple[list[Example], Reading]:
    """The task's examples, sorted by id, and what became of its records.

    Args:
      duplicates: examples of one content, such as one that several people labelled: `merge` makes them one, with the
        majority's label and, where they do not agree, each class's share as its soft label; without a majority they
        are left out. `keep` keeps each, in one group. `error` refuses them.

    Raises:
      UserError: the source cannot be read, lacks a column, gives no example, or gives two texts one id.
    """
    origin = task.source if source is None else sources.parse(source, task.columns)
    found: dict[str, list[Example]] = {}
    records = unlabelled = 0
    for record in origin.records():
        given = _formatted(task, record, origin)
        records += 1
        unlabelled += not given
        for example in given:
            alike = found.setdefault(example.id, [])
            if alike and alike[0].text != example.text:
                raise UserError(f"{origin.describe()}: two different texts have the id {example.id!r}")
            alike.append(example)
    labelled = sum(map(len, found.values()))
    repeated = labelled - len(found)
    if repeated and duplicates == "error":
        name = next(name for name, alike in found.items() if len(alike) > 1)
        raise UserError(
            f"task {task.name!r}: {repeated:,} of {labelled:,} examples repeat the content of another, that of "
            f"{name!r} among them; duplicates='merge' makes them one, duplicates='keep' keeps all"
        )
    each = [_kept(alike) if duplicates == "keep" else _merged(alike, task.n_classes) for alike in found.values()]
    examples = sorted(example for some in each for example in some)
    if not examples:
        raise UserError(f"task {task.name!r}: {origin.describe()} gives no labelled example")
    contradictory = sum(len(alike) for alike, some in zip(found.values(), each, strict=True) if not some)
    merged = labelled - contradictory - len(examples)
    return examples, Reading(records, unlabelled, labelled, merged, contradictory, 0, len(examples))


def _kept(alike: list[Example]) -> list[Example]:
    """Each with an id of its own, in the first one's group; their order does not matter."""
    first, *others = sorted(alike)
    return [first, *(each._replace(id=f"{first.id} ({n})", group=first.group) for n, each in enumerate(others, 2))]


def _merged(alike: list[Example], n_classes: int) -> list[Example]:
    """One example with the majority's label; none where there is no majority."""
    votes = Counter(example.label for example in alike)
    label, most = votes.most_common(1)[0]
    if sum(count == most for count in votes.values()) > 1:
        return []
    one = min(example for example in alike if example.label == label)
    if len(votes) > 1:
        one = one._replace(shares=tuple(votes[k] / len(alike) for k in range(max(n_classes, *votes))))
    return [one]


def _formatted(task: Task, record: Record, origin: Source) -> list[Example]:
    try:
        return list(task.format(record))
    except UserError as error:
        raise UserError(f"task {task.name!r}, {origin.describe()}: {error}") from error
