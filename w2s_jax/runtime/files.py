"""Files that are whole or absent: atomic writes, content hashes, canonical JSON."""

import contextlib
import dataclasses
import errno
import functools
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from w2s_jax.runtime.errors import UserError

P = ParamSpec("P")
T = TypeVar("T")


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yields a temporary path next to `path`; on success it is flushed to disk and renamed over `path`.

    A reader therefore sees the old file or the whole new one, also after `kill -9`.

    Raises:
      UserError: the disk is full, or the folder cannot be written.
    """
    path = Path(path)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        os.close(handle)
    temporary = Path(name)
    try:
        with disk_errors(path):
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.chmod(0o644)
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turns a full disk or a folder that cannot be written, met while writing `path`, into one line."""
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:  # tensorstore's are not OSError
        code = getattr(error, "errno", None)
        if code in (errno.ENOSPC, errno.EDQUOT) or "No space left on device" in str(error):
            raise UserError(f"the disk is full, writing {path}; free some and run the same command again") from error
        if code in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST):
            raise UserError(f"cannot write {path}: {os.strerror(code)}; choose another folder") from error
        raise


def write_text(path: Path, text: str) -> None:
    """Writes `text` as UTF-8, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Writes indented JSON, atomically. NaN and infinities are refused: JSON has none."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Reads JSON.

    Raises:
      UserError: the file is missing or is not whole JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8-sig"))  # Windows programs may begin a file with a mark
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not whole JSON ({error}); delete it and run again") from error


def as_json(value: Any) -> Any:
    """A dataclass, and those in it, as JSON values."""
    return json.loads(json.dumps(dataclasses.asdict(value)))


def version(path: Path) -> tuple[tuple[str, int, int], ...]:
    """Changes whenever a file, or a file of a folder, does: name, size and time of each; empty where there is none."""
    files = sorted(path.iterdir()) if path.is_dir() else [path] if path.is_file() else []
    infos = [file.stat() if file.exists() else file.lstat() for file in files]  # a link may lead to nothing
    return tuple((file.name, info.st_size, info.st_mtime_ns) for file, info in zip(files, infos, strict=True))


def cached(
    maxsize: int, path_of: Callable[[str], str | Sequence[str]] = str
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """A decorator: a function of a file's or folder's name is computed again only when that has changed.

    Args:
      maxsize: how many results are kept.
      path_of: the path in the function's first argument, or all paths that it stands for.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        kept = functools.lru_cache(maxsize)(lambda _, *args, **options: function(*args, **options))

        @functools.wraps(function)
        def looked_up(*args: P.args, **options: P.kwargs) -> T:
            paths = path_of(str(args[0]))
            now = [version(Path(path)) for path in ([paths] if isinstance(paths, str) else paths)]
            return kept(tuple(now), *args, **options)  # type: ignore[arg-type]

        looked_up.cache_clear = kept.cache_clear  # type: ignore[attr-defined]
        return looked_up

    return decorate


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text, so the text can be hashed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def sha256_text(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def sha256_file(path: Path) -> str:
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def git_hash(path: Path) -> str:
    """The SHA-1 that git knows a file's content by."""
    digest = hashlib.sha1(f"blob {Path(path).stat().st_size}\0".encode(), usedforsecurity=False)
    with Path(path).open("rb") as handle:
        while chunk := handle.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
