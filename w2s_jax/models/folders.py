"""A model's folder on disk: which of its files are the model, and one line where they are something else."""

import re
from dataclasses import dataclass
from pathlib import Path

from w2s_jax.models import hub_files, sentences
from w2s_jax.models.config import ModelConfig
from w2s_jax.models.pooling import Pooling
from w2s_jax.runtime.errors import UserError

LFS, PAGES = b"version https://git-lfs", (b"<!doctype", b"<html")


@dataclass(frozen=True)
class Files:
    """Where a model's files are.

    Attributes:
      config: config.json; None where a .gguf file holds it, and the config itself for an .onnx file.
      folder: of the tokenizer's files, if there are any.
      pooling: what its sentence-transformers modules say; None where there are none.
      adapter: the folder of a PEFT adapter, which is merged into the weights.
      more: by name what else decides what the model is.
    """

    weights: tuple[Path, ...]
    config: Path | ModelConfig | None
    folder: Path
    pooling: Pooling | None = None
    adapter: Path | None = None
    more: tuple[tuple[str, Path], ...] = ()

    def all(self) -> list[tuple[str, Path]]:
        """Every file that decides what the model is, by name."""
        paths = [*self.weights, *([self.config] if isinstance(self.config, Path) else [])]
        if self.config is None:
            paths += [path for path in [self.folder / hub_files.TOKENIZER] if path.exists()]  # beside a .gguf file
        else:
            paths += hub_files.tokenizer_files(self.folder)
        return [*((path.name, path) for path in paths), *self.more]


def model(folder: Path) -> Files:
    """The files of a folder with config.json and safetensors, which sentence-transformers may have saved.

    Raises:
      UserError: it is no such folder; it says what it is as far as that can be seen, and what to do.
    """
    pooling: Pooling | None = None
    more: tuple[tuple[str, Path], ...] = ()
    inner = folder
    if (folder / sentences.MODULES).is_file():
        found = sentences.modules(folder / sentences.MODULES)
        inner = folder / found.model
        if found.pooling:
            pooling = sentences.pooling(folder / found.pooling / "config.json")
        for line in sentences.left_out(folder, found):
            hub_files.say(f"{folder}: {line}")
        more = tuple((name, folder / name) for name in found.wanted)
    if inner.is_dir() and not any((inner / name).is_file() for name in (hub_files.WEIGHTS, hub_files.INDEX)):
        _refuse_shards(inner)
    config = inner / hub_files.CONFIG
    if not config.is_file():
        raise UserError(f"{inner} has no {hub_files.CONFIG}{_instead(inner)}")
    _check(config)
    weights = hub_files.weight_files(inner)
    for path in (*weights, *hub_files.tokenizer_files(inner)):
        _check(path)
    return Files(tuple(weights), config, inner, pooling, more=more)


def has_model(folder: Path) -> bool:
    """Whether a folder holds a model's weights, and not only an adapter."""
    return hub_files.holds_weights([path.name for path in folder.iterdir()])


def refuse_file(path: Path) -> UserError:
    """The line for a file that was given as a model."""
    if path.name == hub_files.CONFIG or path.suffix == ".safetensors":
        return UserError(f"{path} is a file of a model; give its folder, {path.parent}")
    with path.open("rb") as file:
        if file.read(4) == b"GGUF":  # Ollama calls its files by their hashes
            return UserError(f"{path} is a GGUF file by another name: link to it as NAME.gguf, and give that")
    return UserError(f"{path} is a file; give a model's folder, a .gguf file or a Hub id")


def require_tokenizer(files: Files) -> None:
    """That there is something to make a tokenizer of.

    Raises:
      UserError: there is not.
    """
    if isinstance(files.config, Path) and not hub_files.tokenizer_files(files.folder):
        base = hub_files.settings(files.config).get("_name_or_path")
        of = f" of {base!r}, which {hub_files.CONFIG} names" if base else " of the model that it was made from"
        raise UserError(
            f"{files.folder} has no tokenizer: copy tokenizer.json{of} there, or save it there with "
            "`tokenizer.save_pretrained`"
        )


def modules_inside(folder: Path) -> list[Path]:
    """The folders of a sentence-transformers folder's modules; of another folder none."""
    if not (folder / sentences.MODULES).is_file():
        return []
    return sorted(inner for inner in folder.iterdir() if inner.is_dir())


def _check(path: Path) -> None:
    """That a file is there, and is not what stands for it elsewhere.

    Raises:
      UserError: it is a link to nothing, a pointer of Git LFS, or a web page.
    """
    if path.is_symlink() and not path.exists():
        raise UserError(
            f"{path} is a link to nothing ({path.readlink()}): copy the file itself (`cp -L`), or fetch it again"
        )
    try:
        with path.open("rb") as file:
            start = file.read(64).lstrip().lower()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    if start.startswith(LFS):
        raise UserError(f"{path} is a pointer of Git LFS, not the file: run `git lfs pull` in the repository")
    if start.startswith(PAGES):
        raise UserError(f"{path} is a web page, not the file: download it again, from its /resolve/ address")


def _instead(folder: Path) -> str:
    """What a folder without a config.json is, as far as it can be seen."""
    if not folder.is_dir():
        return "; there is no such folder"
    snapshots = sorted(folder.glob("snapshots/*"), key=lambda path: path.stat().st_mtime)
    if snapshots:
        return f"; it is a cache of the Hub: give {snapshots[-1]}, or the model's id"
    quantized = hub_files.gguf_among(path.name for path in folder.iterdir())
    if quantized:
        return f", but {hub_files.some(quantized)}: give one of these files"
    if [*folder.glob("*/*.ocdbt"), *folder.glob("*.ocdbt")]:
        return ", but a checkpoint of Orbax: this package's own stages become folders with `w2s export`"
    inside = sorted((path.parent.name for path in folder.glob(f"*/{hub_files.CONFIG}")), key=_by_number)
    if inside:
        return f"; give one of its folders: {hub_files.some(inside[-hub_files.SHOWN :])}"
    if (folder / "params.json").is_file() and [*folder.glob("consolidated*")]:
        return (
            ", but params.json: this is the original format of Meta or Mistral; use the model in Hugging Face's "
            "format, or convert it with transformers' script"
        )
    if hub_files.holds_weights([path.name for path in folder.iterdir()]):
        return f", though weights: copy {hub_files.CONFIG} and the tokenizer of the model that was trained there"
    return ""


def _refuse_shards(folder: Path) -> None:
    """Raises:
    UserError: the weights are pieces that a distributed trainer saved.
    """
    fsdp = sorted(path.name for path in folder.glob("pytorch_model_fsdp*") if path.is_dir())
    if fsdp:
        raise UserError(
            f"{folder} holds shards of FSDP ({fsdp[0]}), not a model: run `accelerate merge-weights {folder / fsdp[0]} "
            f"{folder}`, which writes model.safetensors"
        )
    if (folder / "zero_to_fp32.py").is_file() or [*folder.glob("global_step*")]:
        raise UserError(
            f"{folder} holds shards of DeepSpeed, not a model: run `python {folder / 'zero_to_fp32.py'} {folder} OUT "
            f"--safe_serialization`, and copy {hub_files.CONFIG} and the tokenizer to OUT"
        )
    pieces = [*folder.glob("*.distcp"), *folder.glob("*/*.distcp")]
    if pieces:
        where = pieces[0].parent
        raise UserError(
            f"{folder} holds shards of torch.distributed.checkpoint ({pieces[0].name}), not a model: run `python -m "
            f"torch.distributed.checkpoint.format_utils dcp_to_torch {where} model.pt`, load that into the model, and "
            "call `save_pretrained`"
        )


def _by_number(name: str) -> tuple[int, str]:
    return int((re.findall(r"\d+", name) or ["0"])[-1]), name
