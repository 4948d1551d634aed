"""Which files of a Hub repository, or of a folder laid out like one, are the model."""

import functools
import logging
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from w2s_jax.models import sentences
from w2s_jax.models.families import quantization
from w2s_jax.runtime import files, hub
from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.hub import Repository

CONFIG = "config.json"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
ADAPTER, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"  # of PEFT
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
BESIDE = ("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth", "scaler.pt")  # what trainers leave
FOREIGN = (".h5", ".msgpack", ".ot", ".npz", ".onnx", ".nemo", ".tflite")  # other frameworks' weights
SHOWN = 3  # names in a message

# tokenizer.json says all there is; without it, transformers makes a tokenizer of the others.
TOKENIZER = "tokenizer.json"
CHAT_TEMPLATE = "chat_template.jinja"
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
_SHARD = re.compile(r"(?P<name>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.safetensors")


def fetch(name: str, revision: str) -> Path:
    """The folder of a Hub model, with its config, tokenizer and weights, or of an adapter, at one commit.

    Raises:
      UserError: as `hub.repository`, or the repository holds no weights that can be read.
    """
    repository = hub.repository(name, revision, "model")
    there, inside, wanted = set(repository.listing), "", []
    if sentences.MODULES in there:
        wanted = [sentences.MODULES, *(each for each in sentences.ABOUT if each in there)]
        found = sentences.modules(hub.fetch(repository, wanted)[sentences.MODULES])
        inside = f"{found.model}/" if found.model else ""
        wanted += found.wanted[1:]
    if ADAPTER in there:
        if ADAPTER_WEIGHTS not in there:
            raise no_adapter(there, repository.describe())
        wanted += [ADAPTER, ADAPTER_WEIGHTS]
    names = {each.removeprefix(inside) for each in there if each.startswith(inside)}
    parts = [each for each in (TOKENIZER, CHAT_TEMPLATE, *TOKENIZER_PARTS) if each in names]
    if ADAPTER not in there or CONFIG in names:
        parts = [*_model(repository, inside, names, ADAPTER in there), *parts]
    wanted += [inside + each for each in parts]
    top = min(wanted, key=lambda each: each.count("/"))
    return hub.fetch(repository, wanted)[top].parents[top.count("/")]


def _model(repository: Repository, inside: str, names: Collection[str], has_adapter: bool) -> list[str]:
    """The config and the weights among a repository's files, of which those of one folder are looked at."""
    if CONFIG not in names:
        raise UserError(f"{repository.describe()} has no {inside}{CONFIG}; {repository.holds()}")
    if not repository.is_listed and not (TOKENIZER in names and {INDEX, WEIGHTS} & set(names)) and not has_adapter:
        raise UserError(
            f"{repository.describe()}: the Hub cannot be reached, and the cache does not hold the whole model: "
            f"{repository.holds()}"
        )
    quantization.scales(settings(hub.fetch(repository, [inside + CONFIG])[inside + CONFIG]))  # before gigabytes
    if INDEX in names:
        return [CONFIG, INDEX, *indexed(hub.fetch(repository, [inside + INDEX])[inside + INDEX])]
    if has_adapter and not holds_weights(names):
        return [CONFIG]
    return [CONFIG, *among(names, repository.describe())]


def no_adapter(names: Collection[str], where: str) -> UserError:
    """The line for an adapter whose tensors are not there, or are a pickle."""
    pickled = ADAPTER_WEIGHTS.replace(".safetensors", ".bin")
    if pickled in names:
        return UserError(
            f"{where} has only {pickled}: reading a pickle can run anything, so it is refused; save the adapter as "
            "safetensors"
        )
    return UserError(f"{where} has an {ADAPTER} and no {ADAPTER_WEIGHTS}")


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a folder: those that its index names, or else those that hold the model.

    Raises:
      UserError: there is none, or no telling which; for a folder with only pickled weights it says why those are not
        read.
    """
    if (folder / INDEX).exists():
        named = [folder / name for name in indexed(folder / INDEX)]
        missing = [path.name for path in named if not path.exists() and not path.is_symlink()]
        if missing:
            raise UserError(f"{folder / INDEX} names {missing[0]}, which is not there")
    else:
        named = [folder / name for name in among({path.name for path in folder.iterdir()}, str(folder))]
    known = [*named, folder / ADAPTER_WEIGHTS]
    others = sorted(path.name for path in folder.glob("*.safetensors") if path not in known)
    if others:
        say(f"{folder}: {', '.join(others)} left out; the model is {', '.join(path.name for path in named)}")
    return named


@functools.cache  # once, however often a model is looked up
def say(text: str) -> None:
    """A warning that is given once in a process."""
    _LOG.warning(text)


def settings(config: Path) -> Mapping[str, Any]:
    """The contents of a config.json.

    Raises:
      UserError: it is not whole, or holds no settings.
    """
    content = files.read_json(config)
    if not isinstance(content, dict):
        raise UserError(f"{config} holds no settings; give the model's own {CONFIG}")
    return content


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


def holds_weights(names: Collection[str]) -> bool:
    """Whether there is a safetensors file of a whole model among these."""
    return any(name.endswith(".safetensors") and "/" not in name and name != ADAPTER_WEIGHTS for name in names)


def among(names: Collection[str], where: str) -> list[str]:
    """The files of weights among these: the only one, or all the shards of a model without an index.

    Raises:
      UserError: there is none, or there is no telling which are the model.
    """
    found = sorted(name for name in names if holds_weights([name]))
    if WEIGHTS in found:
        return [WEIGHTS]
    shards = [match for match in map(_SHARD.fullmatch, found) if match]
    if found and len(shards) == len(found) and len({(match["name"], match["count"]) for match in shards}) == 1:
        name, count = shards[0]["name"], int(shards[0]["count"])
        for number in range(1, count + 1):
            wanted = f"{name}-{number:05d}-of-{count:05d}.safetensors"
            if wanted not in found:
                raise UserError(f"{where}: {found[0]} is one of {count} files, and {wanted} is not there")
        return found
    if len(found) == 1:
        return found
    if found:
        raise UserError(f"{where} has {some(found)}, and no {INDEX} that says which are the model")
    pickled = sorted(name for name in names if Path(name).suffix in PICKLES and "/" not in name and name not in BESIDE)
    if pickled:
        raise UserError(
            f"{where} has only {some(pickled)}: reading a pickle can run anything, so it is refused; save the "
            "model as safetensors"
        )
    quantized = gguf_among(names)
    if quantized:
        raise UserError(f"{where} has no {WEIGHTS}, but {some(quantized)}: give such a file by its own path")
    others = sorted(name for name in names if name.endswith(FOREIGN) and "/" not in name)
    raise UserError(
        f"{where} has no *.safetensors file" + (f", but {some(others)}: save it as safetensors" if others else "")
    )


def gguf_among(names: Iterable[str]) -> list[str]:
    """The GGUF files that hold a language model, not only what reads images for one."""
    return sorted(name for name in names if name.endswith(".gguf") and "mmproj" not in name)


def check_index(index: Path, stored: Collection[str]) -> None:
    """That an index, if there is one, names only tensors that its files hold.

    Raises:
      UserError: it names another one: index and files are of two models.
    """
    if index.exists():
        missing = sorted(set(files.read_json(index)["weight_map"]) - set(stored))
        if missing:
            raise UserError(f"{index} names {some(missing)}, which none of its files holds: save the model again")


def some(names: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
