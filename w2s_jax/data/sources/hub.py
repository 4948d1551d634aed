"""Data files of a Hub repository; no script of it is run."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from w2s_jax.data import formats
from w2s_jax.data.formats.base import suffix_of
from w2s_jax.data.sources.base import SOURCES, Source
from w2s_jax.data.sources.files import FileSource, Found
from w2s_jax.data.sources.local import METADATA
from w2s_jax.runtime import hub
from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.hub import Repository


@dataclass(frozen=True)
class Hub(FileSource):
    """Data files of a Hub dataset repository.

    Exactly the files that the patterns name are read, whatever else the cache holds of the repository. Where fewer
    records are wanted than a split in several shards holds, only as many shards are fetched as are needed.

    Attributes:
      repo: `org/name`.
      patterns: such as `data/*.parquet`; empty is the only kind of data that the repository holds.
      revision: a branch, a tag, or a commit.
    """

    kind = "hub"

    repo: str
    patterns: tuple[str, ...] = ()
    revision: str = "main"

    def find(self, at_most: int | None) -> Found:
        repository = hub.repository(self.repo, self.revision)
        names = repository.matching(self.patterns) if self.patterns else _only_data(repository)
        hub.check_shards(repository, names)
        if at_most is None:
            paths = hub.fetch(repository, names)
        else:
            paths = hub.fetch(repository, sorted(_enough(repository, names, at_most)))
        return Found(paths, repository.origin(paths), len(paths) == len(names))

    def describe(self) -> str:
        return f"Hub {self.repo}"


@SOURCES.register
def hf(reference: str) -> Source:
    """The source of `hf:org/name@revision:data/*.parquet`, without its prefix; patterns are separated by commas."""
    repo, _, patterns = reference.partition(":")
    repo, _, revision = repo.partition("@")
    return Hub(repo, tuple(patterns.split(",")) if patterns else (), revision or "main")


def _enough(repository: Repository, names: Sequence[str], at_most: int) -> list[str]:
    """The files that hold so many records: one shard of every split, then another one of each, in a fixed order."""
    splits = [sorted(shards, key=_order) for shards in hub.shards_of(names).values()]
    taken: list[str] = []
    for turn in range(max(map(len, splits))):
        taken += [shards[turn] for shards in splits if turn < len(shards)]
        if len(taken) == len(names):
            break
        paths = hub.fetch(repository, taken)
        if sum(map(formats.count, paths.values())) >= at_most:
            break
    return taken


def _order(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def _only_data(repository: Repository) -> list[str]:
    """The repository's data files, if there is no doubt which are meant.

    Raises:
      UserError: there are none, or several folders or formats of them.
    """
    if not repository.is_listed:
        raise repository.unlisted()
    paths = [PurePosixPath(name) for name in repository.listing]
    found = [p for p in paths if suffix_of(p) in formats.suffixes() and p.name not in METADATA and p.name[0] != "."]
    kinds = sorted({f"{path.parent}/*{_ending(path)}".removeprefix("./") for path in found})
    if not kinds:
        raise UserError(f"{repository.describe()} has no data file that can be read; {repository.holds()}")
    if len(kinds) > 1:
        raise UserError(
            f"{repository.describe()} holds several kinds of data: {', '.join(kinds[:12])}; name the files to be read, "
            f"as in hf:{repository.name}:{kinds[0]}"
        )
    return [str(path) for path in found]


def _ending(path: PurePosixPath) -> str:
    """`.csv.gz` of `a.csv.gz`."""
    return suffix_of(path) if path.suffix == suffix_of(path) else f"{suffix_of(path)}{path.suffix}"
