"""Which files of a Hub repository, or of a folder laid out like one, are the model."""

import functools
import logging
from collections.abc import Collection
from pathlib import Path

from w2s_jax.runtime import files, hub
from w2s_jax.runtime.errors import UserError

CONFIG = "config.json"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")

# tokenizer.json says all there is; without it, transformers makes a tokenizer of the others.
TOKENIZER = "tokenizer.json"
TOKENIZER_PARTS = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tokenizer.model",
    "spiece.model",
    "spm.model",
    "sentencepiece.bpe.model",
    "bpe.codes",
)

_LOG = logging.getLogger(__name__)


def fetch(name: str, revision: str) -> Path:
    """The folder of a Hub model, with its config, tokenizer and weights, at one commit.

    Raises:
      UserError: as `hub.repository`, or the repository holds no weights that can be read.
    """
    repository = hub.repository(name, revision, "model")
    there = set(repository.listing)
    if CONFIG not in there:
        raise UserError(f"{repository.describe()} has no {CONFIG}; {repository.holds()}")
    if not repository.is_listed and not (TOKENIZER in there and there & {INDEX, WEIGHTS}):
        raise UserError(
            f"{repository.describe()}: the Hub cannot be reached, and the cache does not hold the whole model: "
            f"{repository.holds()}"
        )
    wanted = [CONFIG, *(each for each in (TOKENIZER, *TOKENIZER_PARTS) if each in there)]
    if INDEX in there:
        wanted += [INDEX, *indexed(hub.fetch(repository, [INDEX])[INDEX])]
    else:
        wanted.append(single(there, repository.describe()))
    return hub.fetch(repository, wanted)[CONFIG].parent


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a folder: those that its index names, or else the one that holds the model.

    Raises:
      UserError: there is none, or no telling which; for a folder with only pickled weights it says why those are not
        read.
    """
    if (folder / INDEX).exists():
        named = [folder / name for name in indexed(folder / INDEX)]
        missing = [path.name for path in named if not path.exists()]
        if missing:
            raise UserError(f"{folder / INDEX} names {missing[0]}, which is not there")
    else:
        named = [folder / single({path.name for path in folder.iterdir()}, str(folder))]
    others = sorted(path.name for path in folder.glob("*.safetensors") if path not in named)
    if others:
        _say(f"{folder}: {', '.join(others)} left out; the model is {', '.join(path.name for path in named)}")
    return named


@functools.cache  # once, however often a model is looked up
def _say(text: str) -> None:
    _LOG.warning(text)


def tokenizer_files(folder: Path) -> list[Path]:
    """The files that decide how a folder's model reads text."""
    if (folder / TOKENIZER).exists():
        return [folder / TOKENIZER]
    return [folder / name for name in TOKENIZER_PARTS if (folder / name).exists()]


def indexed(index: Path) -> list[str]:
    """The weight files that an index names.

    Raises:
      UserError: it names none.
    """
    content = files.read_json(index)
    named = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(named, dict) or not named or not all(isinstance(name, str) for name in named.values()):
        raise UserError(f"{index} has no `weight_map` from tensors to files")
    return sorted(set(named.values()))


def single(names: Collection[str], where: str) -> str:
    """The one file of weights among these.

    Raises:
      UserError: there is none, or there are several.
    """
    found = sorted(name for name in names if name.endswith(".safetensors") and "/" not in name)
    if WEIGHTS in found:
        return WEIGHTS
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(f"{where} has {', '.join(found)}, and no {INDEX} that says which are the model")
    pickled = sorted(name for name in names if Path(name).suffix in PICKLES and "/" not in name)
    if pickled:
        raise UserError(
            f"{where} has only {', '.join(pickled)}: reading a pickle can run anything, so it is refused; save the "
            "model as safetensors"
        )
    quantized = sorted(name for name in names if name.endswith(".gguf"))
    if quantized:
        raise UserError(f"{where} has no {WEIGHTS}, but {quantized[0]}: download that file, and name it")
    raise UserError(f"{where} has no *.safetensors file")
