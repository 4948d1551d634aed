"""What a user says about a table of their own, where that cannot be found out from the table."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from w2s_jax.data.tables.columns import fields_of
from w2s_jax.runtime import errors
from w2s_jax.runtime.errors import UserError

Choices = Literal["candidates", "letters"]


@dataclass(frozen=True)
class TableOptions:
    """How a table is to be read.

    Attributes:
      columns: what is to be read -> the column that holds it, as {"text": "review", "label": "stars"}. `a.b` is the
        value b inside the value a, and `a.0` the first one of a list; `#2` is the second column of a file whose first
        line gives no names.
      text: makes the text of several columns, as "{premise}\\n{hypothesis}"; empty is the column of the text alone.
      classes: the labels in order, the first being class 0; empty is every label of the table, sorted.
      choices: of questions with several answers, whether each answer is scored by itself, or all are shown with a
        letter each and the letter is to be given.

    Raises:
      UserError: two classes are one, or there is no such way to show choices.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    text: str = ""
    classes: tuple[str, ...] = ()
    choices: Choices = "candidates"

    def __post_init__(self) -> None:
        if not isinstance(self.columns, Mapping) or not all(isinstance(each, str) for each in self.columns.values()):
            raise UserError(f"columns must say which is which, as {{'text': 'review'}}, not {self.columns!r}")
        if isinstance(self.classes, str) or not all(isinstance(name, str) for name in self.classes):
            raise UserError(f"classes must be several names in quotes, as ('0', '1'), not {self.classes!r}")
        if len(set(self.classes)) < len(self.classes) or len(self.classes) == 1:
            raise UserError(f"classes must be two or more different labels, not {', '.join(self.classes)}")
        if self.choices not in get_args(Choices):
            raise errors.unknown("way to show choices", self.choices, get_args(Choices))

    @property
    def is_numbered(self) -> bool:
        """Whether columns are called by their place."""
        return any(re.fullmatch(r"#\d+", column) for column in (*self.columns.values(), *fields_of(self.text)))
