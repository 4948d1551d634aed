"""Finished stages as Hugging Face folders."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from w2s_jax import models
from w2s_jax.evaluation import storage
from w2s_jax.models import Pretrained, adapter_export
from w2s_jax.models import export as hugging_face
from w2s_jax.models import params as parameter_sets
from w2s_jax.models.catalogue import MODELS
from w2s_jax.models.layers import Lora
from w2s_jax.pipeline.store import MANIFEST, Store
from w2s_jax.runtime import files
from w2s_jax.runtime.errors import UserError
from w2s_jax.stages.base import model_fingerprint


def export(
    folder: Path, out: Path, model: str | None = None, *, adapters: bool = False
) -> tuple[list[Path], list[str]]:
    """Writes a stage to `out`, or every stage of a run that can be to a folder of its own in `out`.

    Args:
      folder: of a stage (`runs/stages/...`) or of a run (`runs/quickstart`).
      model: the pretrained model that a stage started from, where it has no name. A run's config says it.
      adapters: what LoRA trained is written as PEFT adapters, without the model that they are of.

    Returns:
      The folders that were written, and one line for each stage of a run that was not.

    Raises:
      UserError: the stage has no model of its own, or one that has no Hugging Face form; or no stage of a run has.
    """
    folder, sources = Path(folder), [*MODELS] if model is None else [model]
    if (folder / MANIFEST).exists():
        export_stage(folder, out, sources, adapters=adapters)
        return [out], []
    found = storage.load(folder)
    sources += _models(found.config)
    written, refused = [], []
    for name in dict.fromkeys(name for cell in found.cells for name in cell.stages.values()):
        try:
            export_stage(folder.parent / "stages" / name, out / name, sources, adapters=adapters)
            written.append(out / name)
        except UserError as error:
            refused.append(f"{name}: {error}")
    if not written:
        raise UserError(f"no stage of {folder} can be exported; {refused[0]}")
    return written, refused


def export_stage(folder: Path, out: Path, sources: Sequence[str], *, adapters: bool = False) -> None:
    """Writes what one stage trained, adapters merged, or these alone.

    Args:
      sources: names, folders or files of models, among which its own is found by its hash.
    """
    identity = _identity(folder)
    learner = identity["learner"]
    if not adapters:
        trained, head = _trained(folder, identity, sources)
        hugging_face.write(trained, out, pooling=learner["pooling"], head=head)
        return
    if learner["parameters"] != "lora" or identity["body"] is not None:
        raise UserError(
            f"{folder} trained no adapters of a published model: parameters='lora' without generative finetuning does; "
            "leave out --adapters to write the whole model"
        )
    params, lora = Store(folder.parent).params(folder.name), Lora(learner["lora_rank"])
    start = _start(folder, identity, sources)
    adapter_export.write(start, params["backbone"], lora, out, pooling=learner["pooling"], head=params.get("head"))


def _trained(folder: Path, identity: dict[str, Any], sources: Sequence[str]) -> tuple[Pretrained, Any]:
    """The backbone and the language-model head as they were trained, and a classifier's head."""
    learner = identity["learner"]
    if learner["parameters"] == "probe":
        raise UserError(f"{folder} is a probe on a published model; only what was finetuned can be exported")
    start = _start(folder, identity, sources)
    params = Store(folder.parent).params(folder.name)
    unembedding = params.get("unembed", {}).get("embedding", start.unembedding)
    backbone = params.get("backbone", {})
    paths = [parameter_sets.path_of(keys) for keys, _ in jax.tree_util.tree_leaves_with_path(backbone)]
    if any(path.endswith("/lora_a") for path in paths):
        whole = parameter_sets.combine(models.rounded(start, learner.get("lora_base", "float32")), backbone)
        backbone = parameter_sets.merge_lora(whole, Lora(learner["lora_rank"]).scale)
    elif backbone:
        backbone = models.cut(backbone, start.config)
    trained = dataclasses.replace(start, params=backbone or start.params, unembedding=unembedding)
    return trained, params.get("head")


def _start(folder: Path, identity: dict[str, Any], sources: Sequence[str]) -> Pretrained:
    """What the stage started from: the published model, or one whose generative finetuning is a stage."""
    learner = identity["learner"]
    body = identity["body"]
    if body is not None:
        found = min(folder.parent.glob(f"*-{body[:12]}"))
        return _trained(found, _identity(found), sources)[0]
    for source in dict.fromkeys(sources):
        if model_fingerprint(source) == learner["model"]:
            return models.load(source, read_layer=learner["read_layer"])
    raise UserError(f"{folder} was made from a model that is none of {', '.join(sources)}; name it with --model")


def _identity(folder: Path) -> dict[str, Any]:
    identity = files.read_json(folder / MANIFEST)["identity"]
    if identity.get("learner") is None:
        raise UserError(f"{folder} has no model of its own: it combines or simulates labels")
    return identity


def _models(config: Any) -> list[str]:
    """The models that a config names, however deep."""
    if isinstance(config, Mapping):
        own = [config["model"]] if "model" in config else []
        return own + _models([*config.values()])
    return [name for part in config for name in _models(part)] if isinstance(config, list) else []
