"""TensorFlow Datasets, prepared and read without TensorFlow."""

import contextlib
import difflib
import functools
import importlib.util
import io
import logging
import os
import pkgutil
import re
import socket
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np
from jaxtyping import Bool

from w2s_jax.data.records import Record
from w2s_jax.data.sources import tfrecord, without_tensorflow
from w2s_jax.data.sources.base import SOURCES, Opened, Source
from w2s_jax.data.sources.files import chosen
from w2s_jax.runtime import errors, files
from w2s_jax.runtime.errors import Interrupted, UserError
from w2s_jax.runtime.origin import Origin

NAMESPACES = ("huggingface", "kubric", "robotics")  # what TFDS knows before a name's colon
_FORMATS = ("array_record", "tfrecord")
_VERSION = re.compile(r"(\d+|\*)(\.(\d+|\*)){2}(/.*)?")
_NO_BUILDERS = ("core", "datasets", "proto", "scripts", "testing")
_AT_ONCE = 256  # records of an array_record file
_ELSEWHERE = "a folder that was prepared elsewhere is read from TFDS_DATA_DIR as it is"


class Shard(NamedTuple):
    """The part of a file that belongs to a split: `size` records from `first` on, of the `total` that it holds."""

    path: str
    first: int
    size: int
    total: int


class Prepared(NamedTuple):
    """A split of a data set in the folder of TFDS.

    Attributes:
      name: with its version, as `glue/cola/2.0.0`.
      split: as it was asked for.
      format: of its files, `array_record` or `tfrecord`.
      size: how many records it has.
      shards: where they are, in order.
      features: TFDS's, which knows how a record is encoded.
    """

    name: str
    split: str
    format: str
    size: int
    shards: Sequence[Shard]
    features: Any


@dataclass(frozen=True)
class Tfds(Source):
    """A TFDS data set. What is not yet in TFDS's folder, `TFDS_DATA_DIR`, is downloaded and prepared there.

    Attributes:
      name: as `glue/cola`, `glue/cola:2.0.0` or `huggingface:org__name/config`.
      split: as `train`, `train+validation` or `train[:100]`.
    """

    kind = "tfds"

    name: str
    split: str = "train"

    def records(self) -> Iterator[Record]:
        return self.open().records

    def open(self, at_most: int | None = None) -> Opened:
        prepared = self.prepare()
        name, _, version = prepared.name.rpartition("/")
        # Without hashes of files: those of equal records differ each time that TFDS prepares them.
        origin = Origin(f"TFDS {name}:{self.split}", version)
        is_whole = at_most is None or prepared.size <= at_most
        share = 1.0 if at_most is None or is_whole else at_most / prepared.size
        return Opened(_read(prepared, share), origin, prepared.size, is_whole)

    def describe(self) -> str:
        return f"TFDS {self.name}"

    def prepare(self) -> Prepared:
        """The split, downloaded and prepared if need be.

        Raises:
          UserError: there is no such data set or split, or it cannot be prepared here.
        """
        builder = _builder(self.name)
        name = builder.info.full_name
        try:
            split = builder.info.splits[self.split]
        except (ValueError, KeyError, NotImplementedError, AssertionError) as error:
            known = ", ".join(builder.info.splits)
            raise UserError(f"TFDS {name} has no split {self.split!r} ({_line(error)}); it has: {known}") from error
        format = builder.info.file_format.value
        if format not in _FORMATS:
            raise UserError(f"TFDS {name} is prepared as {format}; one of {', '.join(_FORMATS)} can be read")
        shards = [Shard(os.fspath(p.filename), p.skip, p.take, p.examples_in_shard) for p in split.file_instructions]
        return Prepared(name, self.split, format, split.num_examples, shards, builder.info.features)


@SOURCES.register
def tfds(reference: str) -> Source:
    """The source of `tfds:glue/cola:train`, without its prefix; without a split, of `train`."""
    return Tfds(*split_reference(reference))


def split_reference(reference: str) -> tuple[str, str]:
    """A data set's name, which may hold colons itself, and the split.

    >>> split_reference("huggingface:org__name/config:1.0.0:train[:100]+test")
    ('huggingface:org__name/config:1.0.0', 'train[:100]+test')
    >>> split_reference("piqa")
    ('piqa', 'train')
    """
    parts = re.split(r":(?![^\[]*\])", reference)  # not at the colons in brackets
    length = 1
    if len(parts) > 1 and (parts[0] in NAMESPACES or ("/" in parts[1] and not _VERSION.fullmatch(parts[1]))):
        length = 2
    if len(parts) > length and _VERSION.fullmatch(parts[length]):
        length += 1
    if len(parts) > length + 1 or not all(parts[:length]):
        raise UserError(f"'tfds:{reference}' is not tfds:NAME or tfds:NAME:SPLIT, as tfds:glue/cola:train[:100]")
    return ":".join(parts[:length]), "".join(parts[length:]) or "train"


def _builder(name: str) -> Any:
    """TFDS's builder of a data set that is prepared, now if it was not before."""
    try:
        importlib.import_module("tensorflow_datasets")
    except ImportError as error:
        raise UserError("TFDS sources need `pip install 'w2s-jax[tfds]'`") from error
    _register_builders()
    with _quietly(), _one_line(f"TFDS cannot find {name!r}"):
        builder = _find(name)
    if builder.info.initialized:
        return builder
    full_name, root = builder.info.full_name, os.fspath(builder.data_dir_root)
    if "://" in root:
        raise UserError(f"{root} holds no {full_name}; TFDS prepares data sets in a local folder alone")
    failing = f"TFDS cannot prepare {full_name!r}"
    with _locked(Path(root)), _quietly(), _one_line(failing), files.disk_errors(Path(root)):
        builder = _find(name)
        if not builder.info.initialized:
            builder = _find(name, file_format="array_record")
            builder.download_and_prepare()
    return builder


def _find(name: str, **keywords: Any) -> Any:
    """TFDS's builder of this name, by its code, or by what its folder holds."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core import naming

    try:
        base, options = naming.parse_builder_name_kwargs(name)
    except ValueError as error:
        raise UserError(f"{name!r} is no name of TFDS; names are as glue/cola or glue/cola:2.0.0") from error
    code = None
    if base.namespace is None:
        with contextlib.suppress(tfds.core.DatasetNotFoundError):
            code = tfds.builder_cls(str(base))
            without_tensorflow.lend(sys.modules[code.__module__])
    if base.namespace == "huggingface" and importlib.util.find_spec("datasets") is None:
        raise UserError(f"{name!r} needs `pip install datasets`; hf:ORG/NAME reads the Hub's files without")
    if base.namespace in (None, "huggingface"):  # others stay where they are
        keywords["data_dir"] = os.environ.get("TFDS_DATA_DIR")
    try:
        return tfds.builder(name, **keywords)
    except tfds.core.DatasetNotFoundError as error:
        near = difflib.get_close_matches(base.name, tfds.list_builders(with_community_datasets=False), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ", and its folder holds none of that name"
        raise UserError(f"TFDS has no data set {name!r}{hint}") from error
    except ValueError as error:
        if code is not None and options.get("config", "") not in ("", *code.builder_configs):
            raise errors.unknown(f"config of TFDS {base}", options["config"], code.builder_configs) from error
        raise


@functools.cache
def _register_builders() -> None:
    """Lets TFDS know all of its data sets. It stops by itself at the first one whose requirements are not installed."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core import shuffle
    from tensorflow_datasets.core.download import downloader, extractor

    with contextlib.redirect_stdout(io.StringIO()):  # it prints what is not installed
        for module in pkgutil.iter_modules(tfds.__path__, f"{tfds.__name__}."):
            if module.ispkg and module.name.rpartition(".")[2] not in _NO_BUILDERS:
                with contextlib.suppress(Exception):
                    importlib.import_module(module.name)
    without_tensorflow.lend(extractor, downloader, shuffle)
    downloader.MAX_RETRIES = 5  # with ten, it takes minutes to see that there is no network
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """What TFDS prints goes to the error stream, and its warnings nowhere: the error that follows says it better."""
    loggers = [logging.getLogger(name) for name in ("absl", "urllib3")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process prepares, others wait for it."""
    import filelock

    with files.disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / ".w2s.lock").acquire()
    with lock:
        yield


def _read(prepared: Prepared, share: float) -> Iterator[Record]:
    for number, shard in enumerate(prepared.shards):
        wanted = np.zeros(shard.total, dtype=bool)
        name = f"{prepared.name} {prepared.split} {number}"
        wanted[shard.first : shard.first + shard.size] = share == 1 or chosen(name, shard.size, share)
        read = _read_array_record if prepared.format == "array_record" else _read_tfrecord
        for data in read(shard.path, wanted):
            try:
                record = _plain(prepared.features.deserialize_example_np(data))
            except Exception as error:
                raise UserError(f"{shard.path} holds a record that is no {prepared.name}: {_line(error)}") from error
            yield record


def _read_tfrecord(path: str, wanted: Bool[np.ndarray, " n"]) -> Iterator[bytes]:
    from etils import epath  # also gs://

    with _one_line(f"cannot read {path}"), epath.Path(path).open("rb") as file:
        yield from tfrecord.read(file, path, wanted)


def _read_array_record(path: str, wanted: Bool[np.ndarray, " n"]) -> Iterator[bytes]:
    try:
        from array_record.python.array_record_data_source import ArrayRecordDataSource
    except ImportError as error:
        raise UserError("an array_record file needs `pip install 'w2s-jax[tfds]'`") from error
    with _one_line(f"cannot read {path}"):
        source = ArrayRecordDataSource([path])
        if len(source) != len(wanted):
            raise UserError(f"{path} is damaged: it holds {len(source)} records, not {len(wanted)}")
        places = np.flatnonzero(wanted).tolist()
        for start in range(0, len(places), _AT_ONCE):
            yield from source.__getitems__(places[start : start + _AT_ONCE])


@contextlib.contextmanager
def _one_line(what: str) -> Iterator[None]:
    """Whatever TFDS, or a library under it, raises, as one line."""
    try:
        yield
    except (UserError, Interrupted):
        raise
    except Exception as error:
        raise UserError(f"{what}: {_why(error)}") from error


def _why(error: BaseException) -> str:
    """What lies under an error, if that is known, and what to do about it."""
    import requests
    import tensorflow_datasets as tfds

    cause: BaseException | None = error
    while cause is not None:
        text = str(cause)
        if isinstance(cause, ImportError):
            return _missing(cause)
        if isinstance(cause, requests.RequestException):
            host = urlsplit(getattr(cause.request, "url", None) or "").hostname or "the network"
            return f"no connection to {host} ({type(cause).__name__}); {_ELSEWHERE}"
        if found := re.match(r"Failed to get url (\S+)\. HTTP code: (\d+)", text):
            return f"{found[1]} answers HTTP {found[2]}; {_ELSEWHERE}"
        if found := re.match(r"Artifact (\S+), .* has wrong checksum", text):
            return f"{found[1]} is not the file that TFDS {tfds.__version__} knows: another checksum; {_ELSEWHERE}"
        if isinstance(cause, socket.gaierror | ConnectionError):
            return f"no connection to the network ({_line(cause)}); {_ELSEWHERE}"
        cause = cause.__cause__ or cause.__context__
    return _line(error)


def _missing(error: ImportError) -> str:
    if error.name == "tensorflow":
        return f"that needs TensorFlow: `pip install 'w2s-jax[tfds-prepare]'`; {_ELSEWHERE}"
    if "gcsfs" in str(error):
        return "gs:// needs `pip install gcsfs`"
    if error.name:
        return f"it needs `pip install {error.name.partition('.')[0]}`"
    return _line(error)


def _line(error: BaseException) -> str:
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return re.sub(r"^Failed to construct dataset .*}\": ", "", line)


def _plain(value: Any) -> Any:
    """What TFDS gives (bytes, arrays, nested) as Python values."""
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list) else value
