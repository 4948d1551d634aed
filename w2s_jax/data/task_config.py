"""Which task an experiment is on, and how many examples each split gets."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from w2s_jax.data.tables.options import Choices, TableOptions
from w2s_jax.runtime import errors
from w2s_jax.runtime.errors import UserError

Duplicates = Literal["merge", "keep", "error"]
Empty = Literal["error", "drop"]


@dataclass(frozen=True)
class TaskConfig:
    """A task and the sizes of its splits, counted in examples.

    Attributes:
      name: a name from `w2s tasks`; a table of your own: a .jsonl, .json, .csv, .tsv, .parquet or .arrow file, a folder
        or pattern of them, or `hf:org/name:FILES` (docs/how-to/own-data.md says what such tables may hold); a .npz file
        of arrays; or `my_file.py:my_task`.
      source: read instead of the task's own source, in its format: `hub`, `tfds` or `mirror`, where `w2s tasks` lists
        it; a local file or folder, `tfds:glue/cola:train`, or `hf:org/name@revision:data/*.parquet`.
      pool: how many examples all seeds draw their splits from; None is the whole task. With cached features the pool is
        what has to be computed. Of a source that has many more records, only a sample is fetched and read.
      supervisor: the split that the supervisor is trained on, with ground truth.
      transfer: weak labels for the student, ground truth for the ceiling.
      validation: for choosing a checkpoint; weak labels for the student.
      test: where everything is measured.
      balance: drop examples of the larger classes, so that chance is 1 / classes (Burns et al. 2023, A.1).
      easy: the supervisor learns only from examples of at most this difficulty, and all others are harder (Burns et
        al. 2023, App. C: easy-to-hard generalization).
      shrink: where the task has too few examples for the splits, or its groups do not fill them, make all four smaller
        in proportion.
      duplicates: examples of one content, such as one that several people labelled. `merge` makes them one with the
        majority's label; where they do not agree, supervisor and ceiling learn each class's share; without a majority
        they are left out. `keep` keeps each, all in one split. `error` refuses them. The run says how many there were.
      empty: examples without text are refused, or dropped, and the run says how many.
      only: a table whose column `id` (or `question`) names the examples that the task has; the others are left out, and
        the run says how many. So a study's questions are a task.
      columns: of a table: what is to be read -> the column that holds it, as {"text": "review", "label": "stars"}.
        `a.b` is the value b inside a, `a.0` the first of a list; `#2` is the second column of a file whose first line
        gives no names.
      text: of a table: makes the text of several columns, as "{premise}\n{hypothesis}".
      classes: of a table: its labels in order, the first being class 0, or names for the labels 0, 1, ...
        By default whole numbers from 0 are class numbers, and other labels are names, in sorted order.
      choices: of questions with several answers, a table's or those of a task `..._choices`: each answer scored by
        itself (`candidates`), or all shown with letters, of which one is to be given (`letters`).

    Raises:
      UserError: `shrink` together with `easy`, or no such way to treat duplicates, empty texts or choices.
    """

    name: str = "cities"
    source: str | None = None
    pool: int | None = None
    supervisor: int = 1000
    transfer: int = 1000
    validation: int = 200
    test: int = 500
    balance: bool = True
    easy: float | None = None
    shrink: bool = False
    duplicates: Duplicates = "merge"
    empty: Empty = "error"
    only: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    text: str = ""
    classes: tuple[str, ...] = ()
    choices: Choices = "candidates"

    def __post_init__(self) -> None:
        if self.shrink and self.easy is not None:
            raise UserError("shrink counts examples, not easy ones; where `easy` is set, give sizes that fit")
        if self.duplicates not in get_args(Duplicates):
            raise errors.unknown("way to treat duplicates", self.duplicates, get_args(Duplicates))
        if self.empty not in get_args(Empty):
            raise errors.unknown("way to treat empty texts", self.empty, get_args(Empty))
        _ = self.table  # refuses what means nothing

    def __hash__(self) -> int:
        return hash((self.name, self.source, self.pool, self.text, self.classes, self.only))  # a mapping has none

    @property
    def table(self) -> TableOptions:
        """What the user says about a table."""
        return TableOptions(self.columns, self.text, self.classes, self.choices)

    @property
    def title(self) -> str:
        """What results call it."""
        return self.name if self.easy is None else f"{self.name}, easy to hard"
