"""What a task is; the registry of tasks; and a task of a table of the user's own."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from w2s_jax.data import sources, tables
from w2s_jax.data.example import Example
from w2s_jax.data.formats.base import NUMBERED
from w2s_jax.data.formulas import Parts
from w2s_jax.data.questions import LETTERS
from w2s_jax.data.records import Record
from w2s_jax.data.sources import SOURCES, Local, Source
from w2s_jax.data.tables import TableOptions
from w2s_jax.runtime import errors
from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.registry import Registry

Format = Callable[[Record], Iterable[Example]]

LETTERED = (  # of texts that end with `Answer:`
    "{text}",
    "The following is a multiple-choice question.\n\n{text}",
    "Give the letter of the right answer.\n\n{text}",
)
TEMPLATES = ("{text}\nAnswer:", "{text}\nIs this right?", "Question: {text}\nThe answer is")
SOURCE_NAMES = ("hub", "mirror", "tfds")  # that no file is called by
CONVERTED = "refs/convert/parquet"  # the Hub's own conversion, where the repository itself holds a script


@dataclass(frozen=True)
class Card:
    """What a data set's own page states.

    Attributes:
      licence: "unknown" where the page says so, "not stated" where it says nothing.
      records: with a label, some of them rounded; None where nobody counted.
    """

    licence: str = ""
    records: int | None = None


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
      letters: the same examples as one text with all candidates, of which a letter is to be given; None where there is
        no such form.
      other_sources: by the name that a config calls them, as `tfds`; their records are of the same format.
      card: what the data's own page states of it.
      layout: how a table of the user's own was understood, in words.
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
    letters: Format | None = None
    other_sources: Mapping[str, Source] = field(default_factory=dict)
    card: Card = Card()
    layout: tuple[str, ...] = ()

    def in_letters(self) -> "Task":
        """The same task with its answers shown together.

        Raises:
          UserError: it is no task of questions with several answers.
        """
        if self.letters is None:
            able = ", ".join(sorted(name for name, task in TASKS.items() if task.letters is not None))
            raise UserError(f"task {self.name!r} has no questions with several answers to show; {able} have")
        names = tuple(LETTERS[: self.n_classes])
        return dataclasses.replace(self, format=self.letters, candidates=1, answers=names, templates=LETTERED)

    @property
    def sources(self) -> dict[str, Source]:
        """Every source by the name that a config calls it, the task's own first."""
        return {self.source.kind: self.source, **self.other_sources}

    def source_of(self, reference: str | None) -> Source:
        """The task's own source, another one that it names, or one from a word that `sources.parse` understands.

        Raises:
          UserError: the task has no such source.
        """
        if reference is None:
            return self.source
        if reference in self.sources:
            return self.sources[reference]
        if reference in SOURCE_NAMES:
            raise UserError(f"task {self.name!r} has no source {reference!r}; it has: {', '.join(self.sources)}")
        return sources.parse(reference, self.columns)


TASKS: Registry[Task] = Registry("task")


def get(name: str, options: TableOptions | None = None, at_most: int | None = None) -> Task:
    """A task by name, or that of a table of the user's own: a file, a folder, a pattern, or `hf:org/name:FILES`.

    >>> get("cities").description
    'is the city in the country?'

    Args:
      options: what the user says about a table.
      at_most: about how many records of a table decide what it is, if it has many more and its classes are listed;
        None is all.

    Raises:
      UserError: no such task or file, or a table that cannot be understood.
    """
    options = options or TableOptions()
    if name in TASKS:
        if options.text or options.classes:
            raise UserError(f"task {name!r} has its own text and classes; of these options it takes `columns` alone")
        return TASKS[name] if options.choices == TableOptions.choices else TASKS[name].in_letters()
    if not _is_table(name):
        raise errors.unknown("task", name, TASKS)
    source = sources.parse(name, NUMBERED if options.is_numbered else ())
    # Labels that nobody lists are those of all records: a sample may lack one, and shift the numbers of the others.
    looked_at = at_most if options.classes else None
    try:
        found = tables.understand(lambda: source.open(looked_at).records, options)
    except UserError as error:
        raise UserError(str(error) if name in str(error) else f"{name}: {error}") from error
    title = Path(name).name if isinstance(source, Local) else name
    task = Task(title, "your own table", source, found.format, found.n_classes, answers=found.answers)
    templates = LETTERED if options.choices == "letters" else TEMPLATES
    return dataclasses.replace(task, candidates=found.candidates, layout=found.words, templates=templates)


def _is_table(name: str) -> bool:
    """Whether a name stands for a table, rather than for a task that is not there."""
    prefix, colon, _ = name.partition(":")
    path = Path(name)
    return bool(colon and prefix in SOURCES) or path.exists() or bool(path.suffix) or "/" in name or "*" in name
