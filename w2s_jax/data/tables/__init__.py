"""Tables of people's own: what is in one, and the examples of its records. One module for each kind.

base.py        what a kind of table is; `KINDS`; `understand`, which finds a table's kind
table.py       a table of which the first records were looked at
options.py     what a user says about a table: columns, text, classes
columns.py     which columns hold what; renaming; text made of several columns
classes.py     what labels of any spelling mean
extras.py      ids, groups and difficulties
labelled.py    texts with a label, or with the probability of each class
choice.py      questions with several answers of which one is right
comparison.py  two replies of which one is preferred
messages.py    conversations as text
"""

from w2s_jax.data.tables import choice, comparison, labelled  # in this order a table is tried as each
from w2s_jax.data.tables.base import KINDS, Kind, Layout, understand
from w2s_jax.data.tables.labelled import labelled_text
from w2s_jax.data.tables.options import TableOptions
from w2s_jax.runtime.registry import discover

discover(__name__, __path__)  # a new kind of table needs no line here

__all__ = ["KINDS", "Kind", "Layout", "TableOptions", "choice", "comparison", "labelled", "labelled_text", "understand"]
