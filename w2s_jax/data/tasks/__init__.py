"""Tasks: a source of records and a pure function from a record to labelled texts. One module for each family.

  base.py     what a task is; `TASKS`; `get`, which also makes a task of a table of the user's own (`data.tables`)
  read.py     the examples of a task: `load`, `read_task`
  choice.py   what questions with several answers share, and their `_pairs`, which compare two answers
  the others  a family each: sentiment, language, knowledge, reading, commonsense, ethics, preferences, cities, chess

A task is added with `TASKS.register(Task(...))` in a module of its family, or in a user's own file as
`my_file.py:my_task`.

Every formatter is written so that nothing but the content of a text tells its label: both classes have the same
form, and whatever is decided by chance is decided by a hash of the record, the same on every machine. Formats follow
Burns et al. 2023, App. A.1: multiple choice becomes two examples, (question, candidate) with a right and a wrong
candidate, in one group. The tasks of that paper are those of EleutherAI's `w2s` registry; its formatters are not
followed where they leak the label or separate related examples: OpenBookQA there shows a letter for right answers and
text for wrong ones. Columns, and the data sets' names, are those that registry reads; another copy can be given as
`source`.
"""

from w2s_jax.data.tables import labelled_text
from w2s_jax.data.tasks import (
    cities,
    city_formulas,
    commonsense,
    ethics,
    knowledge,
    language,
    lichess,
    preferences,
    reading,
    sentiment,
)
from w2s_jax.data.tasks.base import TASKS, TEMPLATES, Format, Task, get
from w2s_jax.data.tasks.read import load, read_task
from w2s_jax.runtime.registry import discover

__all__ = [
    "TASKS",
    "TEMPLATES",
    "Format",
    "Task",
    "cities",
    "city_formulas",
    "commonsense",
    "ethics",
    "get",
    "knowledge",
    "labelled_text",
    "language",
    "lichess",
    "load",
    "preferences",
    "read_task",
    "reading",
    "sentiment",
]

discover(__name__, __path__)  # a new file of this folder needs no line here
