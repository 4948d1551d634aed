"""Which task an experiment is on, and how many examples each split gets."""

from dataclasses import dataclass
from typing import Literal, get_args

from w2s_jax.runtime import errors
from w2s_jax.runtime.errors import UserError

Duplicates = Literal["merge", "keep", "error"]


@dataclass(frozen=True)
class TaskConfig:
    """A task and the sizes of its splits, counted in examples.

    Attributes:
      name: a name from `w2s tasks`; a local .jsonl, .csv or .parquet file with `text` and `label`, or with `chosen` and
        `rejected` (and `prompt`); a .npz file of arrays; or `my_file.py:my_task`.
      source: read instead of the task's own source, in its format: a local file or folder, `tfds:glue/cola:train`, or
        `hf:org/name@revision:data/*.parquet`.
      pool: how many examples all seeds draw their splits from; None is the whole task. With cached features the pool is
        what has to be computed.
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

    Raises:
      UserError: `shrink` together with `easy`, or no such way to treat duplicates.
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

    def __post_init__(self) -> None:
        if self.shrink and self.easy is not None:
            raise UserError("shrink counts examples, not easy ones; where `easy` is set, give sizes that fit")
        if self.duplicates not in get_args(Duplicates):
            raise errors.unknown("way to treat duplicates", self.duplicates, get_args(Duplicates))

    @property
    def title(self) -> str:
        """What results call it."""
        return self.name if self.easy is None else f"{self.name}, easy to hard"
