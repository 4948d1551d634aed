"""Models as they lie on the Hub: tiny ones of random weights, with every file that stands beside real ones."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors.numpy import load_file, save

from tests import tiny

Files = dict[str, bytes]

PICKLE = b"\x80\x04N."  # None, which nobody reads


def published(folder: Path, seed: int = 0) -> Files:
    """The files of a model in one piece: config, tokenizer and weights."""
    tiny.llama(folder, seed=seed)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def in_shards(files: Mapping[str, bytes], folder: Path, count: int) -> Files:
    """The same model with its weights in several files, and the index that names them."""
    tensors = load_file(folder / "model.safetensors")
    names = [f"model-{k + 1:05d}-of-{count:05d}.safetensors" for k in range(count)]
    where = {name: names[place % count] for place, name in enumerate(sorted(tensors))}
    shards = {file: save({name: tensors[name] for name in tensors if where[name] == file}) for file in names}
    index = {"metadata": {"total_size": sum(map(len, shards.values()))}, "weight_map": where}
    rest = {name: content for name, content in files.items() if name != "model.safetensors"}
    return {**rest, **shards, "model.safetensors.index.json": json.dumps(index).encode()}


def gpt2(folder: Path, seed: int = 0) -> Files:
    """One file of weights beside pickles and other frameworks' files, as openai-community/gpt2 has them."""
    others = ("pytorch_model.bin", "tf_model.h5", "rust_model.ot", "64.tflite", "flax_model.msgpack")
    beside = {"README.md": b"# GPT-2\n", "vocab.json": b"{}", "merges.txt": b"", "generation_config.json": b"{}"}
    return published(folder, seed) | dict.fromkeys(others, PICKLE) | beside | {"onnx/decoder_model.onnx": b"onnx"}


def llama3(folder: Path, seed: int = 0) -> Files:
    """Shards and their index beside Meta's own file, as meta-llama/Meta-Llama-3-8B has them."""
    whole = in_shards(published(folder, seed), folder, 4)
    return whole | {"original/consolidated.00.pth": PICKLE, "original/tokenizer.model": b"model", "LICENSE": b"terms"}


def mistral(folder: Path, seed: int = 0) -> Files:
    """Shards beside the same weights in one file under other names, as Mistral's repositories have them."""
    files = published(folder, seed)
    other = {f"layers.{name}": tensor + 1 for name, tensor in load_file(folder / "model.safetensors").items()}
    return in_shards(files, folder, 2) | {"consolidated.safetensors": save(other), "params.json": b"{}"}


def pythia_step(folder: Path) -> Files:
    """Pickled weights alone, as some revisions of EleutherAI's Pythia have them."""
    files = published(folder)
    del files["model.safetensors"]
    return files | {"pytorch_model.bin": PICKLE}


def as_named(models: Sequence[str], folder: Path) -> dict[str, Files]:
    """A tiny model of its own under each of these names, in the layout that the named one has."""
    made = {}
    for seed, name in enumerate(models):
        layout = gpt2 if "gpt2" in name else llama3
        made[name] = layout(folder / str(seed), seed)
    return made
