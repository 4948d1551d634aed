"""The user's own files."""

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from w2s_jax.data import formats
from w2s_jax.data.formats.base import suffix_of
from w2s_jax.data.sources.files import FileSource, Found
from w2s_jax.runtime import files
from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.origin import Origin

# What `datasets` and others lay beside data, and is none.
METADATA = (
    "state.json",
    "dataset_info.json",
    "dataset_infos.json",
    "dataset_dict.json",
    "metadata.json",
    "dataset-metadata.json",
    "croissant.json",
)


@dataclass(frozen=True)
class Local(FileSource):
    """The user's own file, a folder of them, or a pattern such as `data/*.parquet`.

    Of a folder every data file is read, also in folders inside it; of one that `datasets` saved, those that its
    `state.json` names. Metadata, hidden files and files of other suffixes are none.

    Attributes:
      path: .jsonl, .json, .csv, .tsv (each also .gz, .bz2, .xz or .zst), .parquet, .arrow.
      columns: names for a .csv or .tsv file without a header; see `formats.read`.
    """

    kind = "file"

    path: str
    columns: tuple[str, ...] = ()

    def find(self, at_most: int | None) -> Found:
        try:
            paths = data_files(self.path, self.columns)
            found = {name: files.sha256_file(path) for name, path in paths.items()}
        except OSError as error:  # of a file or folder that may not be read
            raise UserError(f"{self.path} cannot be read: {error}") from error
        return Found(paths, Origin(self.path, files=found))

    def describe(self) -> str:
        return self.path


def data_files(reference: str, columns: Sequence[str] = ()) -> dict[str, Path]:
    """The data files of a path, a folder or a pattern, by name.

    Args:
      columns: of files without a header; see `formats.read`.

    Raises:
      UserError: there are none, or files of a folder hold different things.
    """
    path = Path(reference)
    if path.is_file():
        formats.of(path)
        return {path.name: path}
    if path.is_dir():
        found, root = list(_inside(path)), path
        if not found:
            raise UserError(f"{path} holds no data file: none that ends with one of {', '.join(formats.suffixes())}")
    elif glob.has_magic(reference):
        found = [Path(name) for name in sorted(glob.glob(reference, recursive=True)) if Path(name).is_file()]
        root = Path(*_until(path.parts))
        if not found:
            raise UserError(f"no file matches {reference!r}")
    else:
        raise UserError(f"{reference} does not exist")
    _check_alike(reference, found, columns)
    return {each.relative_to(root).as_posix(): each for each in found}


def _until(parts: Sequence[str]) -> Iterator[str]:
    for part in parts:
        if glob.has_magic(part):
            return
        yield part


def _inside(folder: Path) -> Iterator[Path]:
    """The data files of a folder, in order."""
    named = _named_by_state(folder)
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            if path.is_symlink() and path.resolve() in (folder.resolve(), *folder.resolve().parents):
                continue  # it leads back to where it stands
            yield from _inside(path)
        elif named is None and path.name not in METADATA and suffix_of(path) in formats.suffixes():
            yield path
    for name in named or ():
        if not (folder / name).is_file():
            raise UserError(f"{folder / 'state.json'} names {name}, which is not there")
        yield folder / name


def _named_by_state(folder: Path) -> list[str] | None:
    """The files that make up what `datasets.save_to_disk` wrote; None for another folder."""
    state: Any = files.read_json(folder / "state.json") if (folder / "state.json").is_file() else None
    listed = state.get("_data_files") if isinstance(state, dict) else None
    if not isinstance(listed, list):
        return None
    names = [each.get("filename") if isinstance(each, dict) else None for each in listed]
    if not all(isinstance(name, str) for name in names):
        raise UserError(f"{folder / 'state.json'} names no files, though it says that it does")
    return [str(name) for name in names]


def _check_alike(reference: str, found: Sequence[Path], columns: Sequence[str]) -> None:
    """Refuses files that share no column: one of them is no data."""
    known = {path: _columns(str(path), tuple(columns)) for path in found} if len(found) > 1 else {}
    first = next((path for path in found if known.get(path)), None)
    for path, here in known.items():
        if first is not None and here and not known[first] & here:
            pattern = f"{reference.rstrip('/')}/*{first.suffix}" if Path(reference).is_dir() else first
            raise UserError(
                f"{reference}: {first.name} and {path.name} have no column in common; name the files to be read, "
                f"as in '{pattern}'"
            )


@files.cached(maxsize=64)
def _columns(path: str, columns: tuple[str, ...]) -> frozenset[str]:
    """Of a file's first record."""
    return frozenset(next(iter(formats.read(Path(path), columns)), {}))
