"""The Hugging Face Hub: which commit a name stands for, what it holds, and exactly the files that are wanted.

A name is resolved once in a process, so that everything is read from one commit. Nothing that is fetched is executed.
"""

import contextlib
import errno
import fnmatch
import functools
import glob
import logging
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from w2s_jax.runtime import downloads, files
from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.origin import Origin

Kind = Literal["dataset", "model"]
MOST_SHOWN = 12  # files of a repository in a message

_LOG = logging.getLogger(__name__)
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHARD = re.compile(r"(?P<split>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<suffix>\.[A-Za-z0-9.]+)")
_Key = tuple[str, str, str]  # kind, repository, revision
_RESOLVED: dict[_Key, str] = {}  # what this process looked up -> commit
_READ: dict[_Key, str] = {}  # what it read last -> commit
_PINNED: dict[_Key, str] = {}  # what a lock says -> commit
_LISTINGS: dict[_Key, tuple[str, ...]] = {}  # kind, repository, commit -> files


@dataclass(frozen=True)
class Repository:
    """A repository at one commit.

    Attributes:
      listing: its files, in order; offline those that are in the cache, if no listing is.
      is_listed: whether `listing` holds all of them.
    """

    name: str
    kind: Kind
    revision: str
    commit: str
    listing: tuple[str, ...]
    is_listed: bool

    def matching(self, patterns: Sequence[str]) -> list[str]:
        """The files that match any of the patterns, in which `*` also stands for `/`, as on the Hub.

        Raises:
          UserError: a pattern that no file matches; it says what is there.
        """
        if not self.is_listed and any(glob.has_magic(pattern) for pattern in patterns):
            raise self.unlisted()
        for pattern in patterns:
            if not any(fnmatch.fnmatchcase(name, pattern) for name in self.listing):
                raise UserError(f"{self.describe()} has no file {pattern!r}; {self.holds()}")
        return [name for name in self.listing if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]

    def unlisted(self) -> UserError:
        """The error where nobody can say whether the cache holds all files that are meant."""
        return UserError(
            f"{self.describe()}: the Hub cannot be reached, and what the commit holds is not known, so the cache may "
            "lack some of it; read it once with network, or name its files without wildcards"
        )

    def describe(self) -> str:
        """`Hub data set 'org/name' at 'main' (commit 2c94ad3e1aaf)`."""
        at = "" if self.revision == self.commit else f" at {self.revision!r}"
        return f"Hub {_WORD[self.kind]} {self.name!r}{at} (commit {self.commit[:12]})"

    def holds(self) -> str:
        """What it holds, in a few words."""
        shown = ", ".join(self.listing[:MOST_SHOWN]) or "nothing"
        more = len(self.listing) - MOST_SHOWN
        where = "it holds" if self.is_listed else "the Hub cannot be reached, and the cache holds"
        return f"{where}: {shown}" + (f" and {more} more files" if more > 0 else "")

    def origin(self, paths: Mapping[str, Path]) -> Origin:
        """These of its files as what was read."""
        hashes = {name: _hash(path) for name, path in paths.items()}
        return Origin(f"Hub {self.name}", self.commit, hashes)


_WORD = {"dataset": "data set", "model": "model"}


def repository(name: str, revision: str = "main", kind: Kind = "dataset") -> Repository:
    """A repository at the commit that a branch, a tag or a commit stands for.

    Without network it is the commit that the cache knows by this name, with a warning.

    Raises:
      UserError: no such repository or revision, no right to read it, or no network and nothing in the cache.
    """
    key = kind, name, revision
    if key not in _PINNED and key not in _RESOLVED:
        _RESOLVED[key] = _resolve(name, revision, kind)
    commit = _READ[key] = _PINNED.get(key) or _RESOLVED[key]
    with _errors(name, revision, kind):
        listing = _listing(name, commit, kind)
    if listing is not None:
        return Repository(name, kind, revision, commit, listing, True)
    folder = _cached_folder(name, commit, kind)
    if folder is None:
        raise _unreachable(name, revision, kind)
    return Repository(name, kind, revision, commit, tuple(_inside(folder)), False)


def fetch(repository: Repository, names: Sequence[str]) -> dict[str, Path]:
    """These files of a repository, from the cache or the Hub.

    Raises:
      UserError: the connection broke, or a file is not in the cache and there is no network; what has arrived is kept.
    """
    import huggingface_hub as hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    folder = _cached_folder(repository.name, repository.commit, repository.kind)
    if folder is None or not all((folder / name).is_file() for name in names):
        with _errors(repository.name, repository.revision, repository.kind):
            try:
                folder = Path(
                    hub.snapshot_download(
                        repository.name,
                        revision=repository.commit,
                        allow_patterns=[glob.escape(name) for name in names],
                        repo_type=repository.kind,
                    )
                )
            except LocalEntryNotFoundError as error:
                gone = [name for name in names if folder is None or not (folder / name).is_file()]
                raise UserError(
                    f"{repository.describe()}: {', '.join(gone[:3])} cannot be fetched, for the Hub cannot be reached, "
                    "and the cache does not hold it; run again with network"
                ) from error
        _check_content(folder, names)
    _remember(repository)
    return {name: folder / name for name in names}


def commits(names: Collection[str]) -> list[tuple[str, str, str, str]]:
    """Kind, repository, revision and commit of what this process read of these repositories."""
    return sorted((*key, commit) for key, commit in _READ.items() if key[1] in names)


def pin(pins: Iterable[tuple[str, str, str, str]]) -> None:
    """From now on these revisions are these commits, wherever their branches are, and no others are pinned.

    Args:
      pins: kind, repository, revision and commit.

    Raises:
      UserError: one of them is pinned to two commits.
    """
    found: dict[_Key, str] = {}
    for kind, name, revision, commit in pins:
        if found.setdefault((kind, name, revision), commit) != commit:
            raise UserError(f"two locks pin Hub {name!r} at {revision!r} to two commits; run their experiments apart")
    _PINNED.clear()
    _PINNED.update(found)


def pinned() -> dict[tuple[str, str, str], str]:
    """The commit of each kind, repository and revision that is pinned."""
    return dict(_PINNED)


def check_shards(repository: Repository, names: Sequence[str]) -> None:
    """Refuses part of a split that is stored in several files, as a cache holds it after an interrupted download.

    Raises:
      UserError: a shard `NAME-00001-of-00003.parquet` is there, and others of its split are not.
    """
    for split, shards in shards_of(names).items():
        found = _SHARD.fullmatch(shards[0])
        if found and len(shards) != int(found["count"]):
            raise UserError(
                f"{repository.describe()}: {len(shards)} of {int(found['count'])} files {split}-* are there; "
                f"{repository.holds()}"
            )


def shards_of(names: Sequence[str]) -> dict[str, list[str]]:
    """Files by the split that they are shards of; a file that is none is alone.

    >>> shards_of(["a/test.parquet", "a/train-00000-of-00002.parquet", "a/train-00001-of-00002.parquet"])
    {'a/test.parquet': ['a/test.parquet'], 'a/train': ['a/train-00000-of-00002.parquet', 'a/train-00001-of-00002.parquet']}
    """  # noqa: E501
    splits: dict[str, list[str]] = {}
    for name in names:
        found = _SHARD.fullmatch(name)
        splits.setdefault(found["split"] if found else name, []).append(name)
    return splits


def _resolve(name: str, revision: str, kind: Kind) -> str:
    if _COMMIT.fullmatch(revision):
        return revision
    import huggingface_hub as hub

    with _errors(name, revision, kind):
        try:
            found = hub.HfApi().repo_info(name, revision=revision, repo_type=kind).sha
            assert found is not None
            return found
        except Exception as error:
            if not _is_offline(error):
                raise
            commit = _cached_commit(name, revision, kind)
            if commit is None:
                raise _unreachable(name, revision, kind) from error
            _LOG.warning(
                "the Hub cannot be reached: %s %s is read from the cache, at commit %s", _WORD[kind], name, commit[:12]
            )
            return commit


def _listing(name: str, commit: str, kind: Kind) -> tuple[str, ...] | None:
    """All files of a commit, from what was written down before or from the Hub; None without network."""
    import huggingface_hub as hub

    key = kind, name, commit
    written = downloads.cache_folder() / "hub" / _folder(name, kind).name / f"{commit}.json"
    if key not in _LISTINGS and written.is_file():
        with contextlib.suppress(UserError):  # one that is not whole is written anew
            _LISTINGS[key] = tuple(files.read_json(written))
    if key in _LISTINGS:
        return _LISTINGS[key]
    try:
        tree = hub.HfApi().list_repo_tree(name, recursive=True, revision=commit, repo_type=kind)
        found = sorted(entry.path for entry in tree if isinstance(entry, hub.hf_api.RepoFile))
    except Exception as error:
        if not _is_offline(error):
            raise
        return _listed_by_others(name, commit, kind)
    _LISTINGS[key] = tuple(found)
    with contextlib.suppress(UserError):  # a cache that cannot be written is still read
        files.write_json(written, found)
    return tuple(found)


def _listed_by_others(name: str, commit: str, kind: Kind) -> tuple[str, ...] | None:
    """The files of a commit as huggingface_hub wrote them down when it fetched some of them; newer ones do."""
    import huggingface_hub as hub

    cached = getattr(hub, "get_cached_repo_tree", None)
    if cached is None:
        return None
    try:
        return tuple(sorted(entry.path for entry in cached(name, revision=commit, repo_type=kind)))
    except Exception:  # it has an error of its own where it did not
        return None


def _remember(repository: Repository) -> None:
    """Writes down which commit the revision is, as the Hub's own cache does, for later runs without network.

    A pinned commit is not what its branch is now.
    """
    key = repository.kind, repository.name, repository.revision
    if not _COMMIT.fullmatch(repository.revision) and key not in _PINNED:
        if _cached_commit(*key[1:], repository.kind) == repository.commit:
            return
        path = _folder(repository.name, repository.kind) / "refs" / repository.revision
        with contextlib.suppress(UserError):
            files.write_text(path, repository.commit)


def _cached_commit(name: str, revision: str, kind: Kind) -> str | None:
    path = _folder(name, kind) / "refs" / revision
    return path.read_text().strip() if path.is_file() else None


def _cached_folder(name: str, commit: str, kind: Kind) -> Path | None:
    folder = _folder(name, kind) / "snapshots" / commit
    return folder if folder.is_dir() else None


def _folder(name: str, kind: Kind) -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE).expanduser() / "--".join([f"{kind}s", *name.split("/")])


def _inside(folder: Path) -> Iterator[str]:
    yield from sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _hash(path: Path) -> str:
    """SHA-256 of a file as it is now.

    Raises:
      UserError: the cache knows it by another hash.
    """
    blob = path.resolve()
    found = _sha256(blob, blob.stat().st_mtime_ns, blob.stat().st_size)
    if path.is_symlink() and len(blob.name) == 64 and found != blob.name:
        raise UserError(f"cached file {path} was truncated or edited; delete it and run again")
    return found


@functools.lru_cache(maxsize=1024)
def _sha256(path: Path, time: int, size: int) -> str:
    return files.sha256_file(path)


def _check_content(folder: Path, names: Sequence[str]) -> None:
    """Compares what was downloaded with the hash that the Hub knows it by, and removes it where that is another.

    Raises:
      UserError: it is another.
    """
    for path in (folder / name for name in names):
        blob = path.resolve()
        if not path.is_symlink() or not blob.is_file() or not re.fullmatch(r"[0-9a-f]{40}([0-9a-f]{24})?", blob.name):
            continue
        if files.sha256_file(blob) != blob.name and files.git_hash(blob) != blob.name:
            blob.unlink()
            path.unlink()
            raise UserError(f"{path.name} arrived damaged, and was removed; run the same command again")


def _is_offline(error: Exception) -> bool:
    """Whether the Hub could not be reached, as opposed to what it answered."""
    return isinstance(error, ConnectionError | TimeoutError) or type(error).__name__ in (
        "OfflineModeIsEnabled",
        "ConnectError",
        "ConnectTimeout",
        "ReadTimeout",
        "PoolTimeout",
        "ProxyError",
        "NetworkError",
    )


def _unreachable(name: str, revision: str, kind: Kind) -> UserError:
    return UserError(
        f"the Hub cannot be reached, and the cache does not hold {_WORD[kind]} {name!r} at {revision!r}; fetch it "
        f"where there is network, or use a local folder or file instead"
    )


@contextlib.contextmanager
def _errors(name: str, revision: str, kind: Kind) -> Iterator[None]:
    """Whatever the Hub or the network refuses, as one line."""
    try:
        from huggingface_hub import errors as hub_errors
    except ImportError as error:
        raise UserError("reading from the Hub needs `pip install huggingface_hub`") from error
    word: Any = _WORD[kind]
    try:
        yield
    except UserError:
        raise
    except hub_errors.GatedRepoError as error:
        raise UserError(
            f"Hub {word} {name!r} is gated: accept its terms on its page, then `hf auth login`, or set HF_TOKEN to "
            "a token that may read it"
        ) from error
    except hub_errors.RevisionNotFoundError as error:
        raise UserError(f"Hub {word} {name!r} has no revision {revision!r}") from error
    except hub_errors.RepositoryNotFoundError as error:
        raise UserError(
            f"Hub has no {word} {name!r}, or it is private; then `hf auth login`, or set HF_TOKEN"
        ) from error
    except hub_errors.HFValidationError as error:
        raise UserError(f"{name!r} is no name of a Hub {word}; want 'org/name'") from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _DISK:
            with files.disk_errors(_folder(name, kind)):
                raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"cannot read {word} {name!r} from the Hub ({reason}); files that arrived whole are kept: run the same "
            "command again"
        ) from error
