"""The sections of docs/reference/tasks.md: every task with its sources, columns, classes, size, licence and an example.

Examples of tasks of the Hub are made of the invented records that the tests serve in the Hub's own layouts.
"""

import fnmatch
import functools
import itertools
import re
import tempfile
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests import hub_datasets
from w2s_jax.data import formats
from w2s_jax.data.records import Record
from w2s_jax.data.sources import Hub, Source, Tfds, Wheel
from w2s_jax.data.task_data import answers
from w2s_jax.data.tasks import TASKS, Task
from w2s_jax.data.tokens import flatten
from w2s_jax.report import table

MOST_CLASSES = 6
WIDTH = 200  # characters of a line of an example
FORMS = {  # what ends the name of a task that is another one in another form -> a row of that one's section
    "_pairs": ("in pairs", "a right and a wrong answer, each scored by itself"),
    "_choices": (
        "all answers",
        'each scored by itself, or, with `choices="letters"`, all shown and a letter to be given',
    ),
}


def every_task() -> str:
    """A section for every task, but for those that are another one in another form."""
    forms = {name for task in TASKS.values() for name, _, _ in _forms(task)}
    return "\n\n".join(_section(each) for each in TASKS.values() if each.name not in forms)


def _forms(task: Task) -> list[tuple[str, str, str]]:
    """The tasks of which a task's section speaks: name, title and what they are."""
    found = [(f"{task.name}{ending}", *row) for ending, row in FORMS.items()]
    return [each for each in found if each[0] in TASKS and TASKS[each[0]].description.startswith(task.name)]


def _section(task: Task) -> str:
    names, (text, label) = answers(task), _example(task)
    if task.candidates > 1:
        names = tuple(f"candidate {number}" for number in range(task.n_classes))
    listed = ", ".join(f"{number} {name}" for number, name in enumerate(names[:MOST_CLASSES]))
    more = f", ... ({task.n_classes:,})" if task.n_classes > MOST_CLASSES else ""
    rows = [
        ("sources", "<br>".join(f"`{name}`: {_files(source)}" for name, source in task.sources.items())),
        ("columns", ", ".join(f"`{name}`" for name in _columns(task))),
        ("classes", listed + more),
        ("size", f"{task.card.records:,}" if task.card.records else "generated"),
        ("licence", task.card.licence),
    ]
    rows += [(title, f"`{name}`: {what}") for name, title, what in _forms(task)]
    return "\n\n".join(
        (
            f"### {task.name}",
            re.sub(r"(^|\? )([a-z])", lambda found: found[1] + found[2].upper(), task.description),
            table.markdown_table(("", ""), rows),
            f"An example of class {label}, {names[label]}:",
            "\n".join(
                f"    {textwrap.shorten(line, WIDTH, placeholder=' ...')}".rstrip() for line in text.splitlines()
            ),
        )
    )


def _files(source: Source) -> str:
    """What a source reads, in full."""
    if isinstance(source, Hub):
        revision = "" if source.revision == "main" else f" at `{source.revision}`"
        return f"{source.repo}{revision}, {', '.join(f'`{pattern}`' for pattern in source.patterns)}"
    return f"{source.name}, `{source.split}`" if isinstance(source, Tfds) else source.describe()


class _Traced(dict[str, Any]):
    """A record that notes which of its values are looked at."""

    def __init__(self, values: Mapping[str, Any], seen: dict[str, None]) -> None:
        super().__init__(values)
        self._seen = seen

    def __getitem__(self, name: str) -> Any:
        self._seen[name] = None
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        if name in self:
            self._seen[name] = None
        return super().get(name, default)


def _columns(task: Task) -> list[str]:
    """The columns that a task reads of its own source's records."""
    seen: dict[str, None] = {}
    for record in _records(task):
        list(task.format(_Traced(record, seen)))
    return list(seen)


def _example(task: Task) -> tuple[str, int]:
    """Text and label of an example of middling length that a task makes of some records; candidates are apart."""
    examples = [example for record in _records(task) for example in task.format(record)]
    ordered = sorted(examples, key=lambda example: (len("".join(flatten([example.text]))), example.text))
    found = ordered[len(ordered) // 2]
    return "\n---\n".join(flatten([found.text])), found.label


def _records(task: Task) -> list[Record]:
    """Some records of a task's own source, or, where that cannot be had offline, invented ones in its layout."""
    if isinstance(task.source, Hub):
        found = _served(task.source.repo)[task.source.revision]
        name = next(name for name in found if fnmatch.fnmatchcase(name, task.source.patterns[0]))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / Path(name).name
            path.write_bytes(found[name])
            return list(formats.read(path))
    if isinstance(task.source, Wheel):
        return [{"text": "A film that never tires of its own jokes.", "label": 1, "source": task.name}]
    return list(itertools.islice(task.source.records(), 4))


@functools.cache
def _served(repo: str) -> Mapping[str, Mapping[str, bytes]]:
    return dict(hub_datasets.commits(repo, 8))
