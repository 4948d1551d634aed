"""What took long to find out, kept in the cache's folder for the next process."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from w2s_jax.runtime import files
from w2s_jax.runtime.downloads import cache_folder
from w2s_jax.runtime.errors import UserError

T = TypeVar("T")
LARGE = 1 << 26  # bytes; hashing as many takes a tenth of a second
SETTLED_SECONDS = 2.0


def known(kind: str, key: Any, find: Callable[[], T]) -> T:
    """The JSON value that `find` gives, or gave an earlier process for the same key.

    Args:
      key: all that decides the value, as JSON values.
    """
    path = cache_folder() / "facts" / f"{kind}-{files.sha256_text(files.canonical(key))}.json"
    with contextlib.suppress(UserError, KeyError, TypeError, OSError):
        found: T = files.read_json(path)["value"]
        return found
    value = find()
    with contextlib.suppress(UserError, OSError):  # a cache that cannot be written is none
        files.write_json(path, {"value": value})
    return value


def sha256(path: Path) -> str:
    """Of a file. A large one is hashed again only when its size or the times of its content or name have changed."""
    info = path.stat()
    unsettled = time.time() - max(info.st_mtime, info.st_ctime) < SETTLED_SECONDS  # it may change within a clock's tick
    if info.st_size < LARGE or unsettled:
        return files.sha256_file(path)
    key = [str(path.resolve()), info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino]
    return known("sha256", key, lambda: files.sha256_file(path))
