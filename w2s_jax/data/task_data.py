"""A task in memory: its examples, and the splits that each seed draws from them."""

import contextlib
import functools
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path

import numpy as np

from w2s_jax.data import arrays, formulas, sources, tasks
from w2s_jax.data import splits as data_splits
from w2s_jax.data.example import Example, Question
from w2s_jax.data.formulas import Tree
from w2s_jax.data.questions import question_of
from w2s_jax.data.reading import Reading
from w2s_jax.data.records import field
from w2s_jax.data.splits import Split, Splits, SplitSizes
from w2s_jax.data.task_config import TaskConfig
from w2s_jax.data.tasks import Task
from w2s_jax.data.tokens import Text
from w2s_jax.runtime import references
from w2s_jax.runtime.errors import UserError

# Records that are read for a pool, of a source that has many more: so many, and so many more for each of its examples.
LEAST_RECORDS, RECORDS_PER_EXAMPLE = 50_000, 4
ANNOTATED = 0.05  # of examples that repeat the content of another: more are annotations, fewer are chance


def definition_of(config: TaskConfig) -> Task:
    """A registered task, one of the user's own Python file, or that of a table or of arrays.

    Raises:
      UserError: no such task or file.
    """
    name = config.name
    reference = references.split(name)
    if name.endswith(arrays.SUFFIX) or reference is not None:
        _refuse_table(config, "arrays" if reference is None else "a task of your own Python")
    if name.endswith(arrays.SUFFIX):
        n_classes = 1 + max(example.label for example in arrays.examples(name))
        return Task(Path(name).name, "your own arrays", sources.Local(name), lambda record: (), max(n_classes, 2))
    if reference is not None:
        return references.named(*reference, kind=Task)
    return tasks.get(name, config.table, None if config.pool is None else _at_most(config.pool))


def _refuse_table(config: TaskConfig, what: str) -> None:
    """Refuses what is said of a table where there is none."""
    said = [name for name in ("text", "classes") if getattr(config, name)]
    said += ["choices"] if config.choices != TaskConfig.choices else []
    if config.name.endswith(arrays.SUFFIX):
        said += [name for name in ("columns", "source") if getattr(config, name)]
    if said:
        raise UserError(f"{config.name} is {what}, which takes no {', '.join(said)}")


def _is_annotated(reading: Reading) -> bool:
    """Whether a sample tears annotations of one content apart, so that the majority of those read may be another."""
    share = reading.records / (reading.available or reading.records)
    return reading.repeated > ANNOTATED * share * reading.labelled


def named(path: str) -> frozenset[str]:
    """The ids that a table names in its column `id`, or, where it has none, `question`.

    Raises:
      UserError: the table cannot be read, or has neither.
    """
    return frozenset(
        str(field(record, "id" if "id" in record else "question")) for record in sources.Local(path).records()
    )


def _at_most(pool: int) -> int:
    """How many records are read for a pool."""
    return LEAST_RECORDS + RECORDS_PER_EXAMPLE * pool


# While a stage is made: it was given what it may see before.
_CLOSED: ContextVar[bool] = ContextVar("closed", default=False)


@contextlib.contextmanager
def closed() -> Iterator[None]:
    """No task gives examples or splits: what is computed here depends on nothing but what it was given."""
    token = _CLOSED.set(True)
    try:
        yield
    finally:
        _CLOSED.reset(token)


def _check_open() -> None:
    assert not _CLOSED.get(), "a stage that is being made asks for examples that its hash does not cover"


class TaskData:
    """The examples of one `TaskConfig`. Everything is read on first use, and once."""

    def __init__(self, config: TaskConfig) -> None:
        self.config = config
        self._splits: dict[int, Splits] = {}

    @functools.cached_property
    def definition(self) -> Task:
        """What the task is, as opposed to its examples."""
        return definition_of(self.config)

    @property
    def n_classes(self) -> int:
        return self.definition.n_classes

    @property
    def answers(self) -> tuple[str, ...]:
        """What the classes are called when a model is asked or told about them."""
        return answers(self.definition)

    @property
    def examples(self) -> tuple[Example, ...]:
        """All examples, or whole groups drawn from them until there are `pool`, the same for every seed.

        Raises:
          AssertionError: the task is closed.
        """
        _check_open()
        return self._read[0]

    @property
    def reading(self) -> Reading:
        """What became of the source's records."""
        return self._read[1]

    @functools.cached_property
    def _read(self) -> tuple[tuple[Example, ...], Reading]:
        config = self.config
        if config.name.endswith(arrays.SUFFIX):
            found = arrays.examples(config.name)
            reading = Reading(len(found), 0, len(found), 0, 0, 0, len(found), origin=arrays.origin(config.name))
            found, reading = self._named(found, reading)
        elif config.pool is None:
            found, reading = self._named(*tasks.read_task(self.definition, config))
        else:
            return self._read_pool(config.pool)
        return (tuple(found), reading) if config.pool is None else self._pooled(found, reading, config.pool)

    def _read_pool(self, pool: int) -> tuple[tuple[Example, ...], Reading]:
        """The pool, from as many records as it needs."""
        at_most, before = _at_most(pool), -1
        while True:
            found, reading = self._named(*tasks.read_task(self.definition, self.config, at_most))
            drawn = self._pooled(found, reading, pool)
            enough = drawn[1].examples >= data_splits.USABLE * pool and not _is_annotated(reading)
            if not reading.is_sample or enough or reading.records == before:
                return drawn
            at_most, before = 4 * at_most, reading.records

    def _named(self, found: list[Example], reading: Reading) -> tuple[list[Example], Reading]:
        """The examples that `only` names, or all.

        Raises:
          UserError: it names none of them.
        """
        if not self.config.only:
            return found, reading
        names = named(self.config.only)
        kept = [example for example in found if example.id in names]
        if not kept:
            raise UserError(f"{self.config.only} names none of the {len(found)} examples of task {self.config.name!r}")
        return kept, replace(reading, unnamed=len(found) - len(kept), examples=len(kept))

    def _pooled(self, found: list[Example], reading: Reading, pool: int) -> tuple[tuple[Example, ...], Reading]:
        drawn = data_splits.draw_pool(found, pool, self.n_classes if self.config.balance else None)
        return tuple(drawn), replace(reading, outside_pool=len(found) - len(drawn), examples=len(drawn))

    @property
    def texts(self) -> tuple[Text, ...]:
        """Every text that any seed can draw.

        Raises:
          AssertionError: the task is closed.
        """
        _check_open()
        return self._texts

    @functools.cached_property
    def _texts(self) -> tuple[Text, ...]:
        return tuple(example.text for example in self.examples)

    @property
    def questions(self) -> dict[str, Question]:
        """Every example as people are asked it, by the example's id; without the answer.

        Raises:
          AssertionError: the task is closed.
        """
        asks = self.definition.description
        return {example.id: question_of(example, asks, self.answers) for example in self.examples}

    def splits(self, seed: int) -> Splits:
        """The four splits that a seed draws.

        Raises:
          AssertionError: the task is closed.
        """
        _check_open()
        if seed not in self._splits:
            self._splits[seed] = self._draw(seed)
        return self._splits[seed]

    def _draw(self, seed: int) -> Splits:
        config = self.config
        sizes = SplitSizes(config.supervisor, config.transfer, config.validation, config.test)
        if config.shrink:  # for some seeds besides this one, so that all are about equally large
            seeds = dict.fromkeys((*range(5), seed))
            sizes = data_splits.fitting(self.examples, sizes, list(seeds), config.balance, self.n_classes)
        return data_splits.make_splits(list(self.examples), sizes, seed, config.balance, self.n_classes, config.easy)

    @functools.cached_property
    def trees(self) -> dict[Text, Tree]:
        """The formula of every text that any seed can draw.

        Raises:
          UserError: the texts are not formulas.
        """
        parts = getattr(self.definition, "parts", None)
        if parts is None:
            known = ", ".join(sorted(name for name, each in tasks.TASKS.items() if each.parts is not None))
            raise UserError(
                f"the texts of task {self.config.name!r} do not come apart; those of {known} do: see data.tasks.Task"
            )
        return {text: parts.tree(str(text)) for text in self.texts}

    @functools.cached_property
    def parts(self) -> "PartsData":
        """The statements that the texts are formulas of, as a task.

        Raises:
          UserError: the texts are not formulas, or the two tasks have not both two classes.
        """
        _ = self.trees
        parts = self.definition.parts
        assert parts is not None
        sizes = {name: getattr(self.config, name) for name in SplitSizes._fields}
        found = PartsData(TaskConfig(parts.task, **sizes), self)
        if {self.n_classes, found.n_classes} != {2}:
            raise UserError(f"task {self.config.name!r} and its parts', {parts.task!r}, must both have two classes")
        return found


class PartsData(TaskData):
    """The statements that another task's texts are formulas of. Each split holds those of the other's split."""

    def __init__(self, config: TaskConfig, whole: TaskData) -> None:
        super().__init__(config)
        self.whole = whole

    @functools.cached_property
    def _read(self) -> tuple[tuple[Example, ...], Reading]:
        found, reading = tasks.read_task(self.definition, self.config)
        return tuple(found), reading

    @functools.cached_property
    def _texts(self) -> tuple[Text, ...]:
        return tuple(sorted({text for tree in self.whole.trees.values() for text in formulas.atoms(tree)}))

    def _draw(self, seed: int) -> Splits:
        """The different statements of each split's texts; for the supervisor at most as many as it has texts."""
        whole = self.whole.splits(seed)
        return Splits(
            self._statements(whole.supervisor, len(whole.supervisor)),
            self._statements(whole.transfer),
            self._statements(whole.validation),
            self._statements(whole.test),
            whole.n_classes,
        )

    def _statements(self, split: Split, most: int | None = None) -> Split:
        groups: dict[str, str] = {}
        for text, group in zip(split.texts, split.groups, strict=True):
            for atom in formulas.atoms(self.whole.trees[text]):
                groups.setdefault(atom, group)
        unknown = next((atom for atom in groups if atom not in self._known), None)
        if unknown is not None:
            raise UserError(
                f"a part of task {self.whole.config.name!r} is no text of task {self.config.name!r}: {unknown!r}"
            )
        found = [self._known[atom] for atom in list(groups)[:most]]
        labels = np.array([example.label for example in found], np.int32)
        return Split(tuple(e.id for e in found), tuple(groups)[:most], labels, tuple(groups.values())[:most])

    @functools.cached_property
    def _known(self) -> dict[Text, Example]:
        return {example.text: example for example in self.examples}


def answers(definition: Task) -> tuple[str, ...]:
    """What a task's classes are called: as it says, else No and Yes, or their numbers."""
    default = ("No", "Yes") if definition.n_classes == 2 else tuple(map(str, range(definition.n_classes)))
    return definition.answers or default


class Tasks:
    """The tasks of one run, each read once."""

    def __init__(self) -> None:
        self._known: dict[TaskConfig, TaskData] = {}

    def __getitem__(self, config: TaskConfig) -> TaskData:
        return self._known.setdefault(config, TaskData(config))
