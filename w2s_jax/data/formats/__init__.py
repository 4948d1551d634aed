"""Files as records: one module for each format, and `read`, which knows them by their suffixes.

base.py       what a format is; `FORMATS`; `of`, the format of a file; what a file is, whatever its name says
text.py       opening compressed text of any common encoding
delimited.py  .csv and .tsv
json.py       .json, .jsonl and .ndjson
columnar.py   .parquet, and Arrow's own .arrow, .feather and .ipc, with the class names that `datasets` writes there
"""

from w2s_jax.data.formats.base import FORMATS, NUMBERED, Format, count, of, read, suffixes
from w2s_jax.runtime.registry import discover

discover(__name__, __path__)  # a new format of this folder needs no line here

__all__ = ["FORMATS", "NUMBERED", "Format", "count", "of", "read", "suffixes"]
