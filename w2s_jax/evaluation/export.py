"""Finished stages as Hugging Face folders: models, or predictions and weak labels, each with a card."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from w2s_jax import models
from w2s_jax.data.tokens import flatten
from w2s_jax.evaluation import card, frames, storage
from w2s_jax.evaluation.results import Results
from w2s_jax.evaluation.tested import Tested
from w2s_jax.metrics import ROLES
from w2s_jax.models import Pretrained, adapter_export
from w2s_jax.models import export as hugging_face
from w2s_jax.models import params as parameter_sets
from w2s_jax.models.catalogue import MODELS
from w2s_jax.models.layers import Lora
from w2s_jax.pipeline.store import MANIFEST, Store
from w2s_jax.runtime import files
from w2s_jax.runtime.errors import UserError
from w2s_jax.stages.base import model_fingerprint

COLUMNS = {
    "task": "title of the task",
    "supervisor": "display name of the supervisor",
    "student": "display name of the student",
    "method": "display name of the method",
    "seed": "of splits, batch order and heads",
    "id": "of the example",
    "text": "of the example; a list where several texts are compared",
    "truth": "the class that is right",
    "probs": "the supervisor's class probabilities",
    **{f"p_{role}": f"the {role}'s probability of class 1; of more than two classes, all of them" for role in ROLES},
    **{f"predicted_{role}": f"the class that the {role} finds most probable" for role in ROLES},
}


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
            export_stage(
                Store.beside_runs(folder.parent).folder(name), out / name, sources, adapters=adapters, results=found
            )
            written.append(out / name)
        except UserError as error:
            refused.append(f"{name}: {error}")
    if not written:
        raise UserError(f"no stage of {folder} can be exported; {refused[0]}")
    return written, refused


def predictions(folder: Path, out: Path) -> list[Path]:
    """Writes a run's test predictions and its supervisors' labels as a folder that `datasets` loads, with a card.

    Returns:
      `predictions.parquet`, with the columns of `Results.predictions`; `weak_labels.parquet`, a row for each
      supervisor, seed and example of the transfer split; and README.md.

    Raises:
      UserError: the folder is of no run; a stage or a task is not there any more; `out` is not empty.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = Path(folder)
    found = storage.load(folder)
    if any(not cell.stages for cell in found.cells):
        raise UserError(f"{folder} was imported: there are no predictions of its own to export")
    hugging_face.require_new(out)
    tables = {
        "predictions": frames.predictions_table(found, folder.parent),
        "weak_labels": pa.Table.from_pylist(list(_weak_labels(found, Store.beside_runs(folder.parent)))),
    }
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for name, table in tables.items():
        written.append(out / f"{name}.parquet")
        with files.atomic(written[-1]) as temporary:
            pq.write_table(table, temporary)
    columns = {name: {column: COLUMNS[column] for column in table.column_names} for name, table in tables.items()}
    written.append(out / "README.md")
    files.write_text(written[-1], card.data_card(found, columns))
    return written


def _weak_labels(found: Results, store: Store) -> Iterator[dict[str, Any]]:
    tested = Tested(found)
    for cell in {(cell.task, cell.supervisor, cell.seed): cell for cell in found.cells}.values():
        split = tested.task(cell.task).splits(cell.seed).transfer
        probs = store.read(cell.stages["supervisor"]).predictions.for_split("transfer", split.ids)
        for identifier, text, row in zip(split.ids, split.texts, probs, strict=True):
            names = {"task": cell.task, "supervisor": cell.supervisor, "seed": cell.seed}
            yield {**names, "id": identifier, "text": list(flatten([text])), "probs": row.tolist()}


def export_stage(
    folder: Path, out: Path, sources: Sequence[str], *, adapters: bool = False, results: Results | None = None
) -> None:
    """Writes what one stage trained, adapters merged, or these alone, and its card.

    Args:
      sources: names, folders or files of models, among which its own is found by its hash.
      results: of its run, for the card; None is of a stage by itself.
    """
    identity = _identity(folder)
    _write(folder, identity, out, sources, adapters=adapters)
    manifest = files.read_json(folder / MANIFEST)
    of = card.subject(folder.name, manifest, _base(folder, identity, sources), results)
    files.write_text(out / "README.md", card.model_card(of, adapters=adapters))


def _write(folder: Path, identity: dict[str, Any], out: Path, sources: Sequence[str], *, adapters: bool) -> None:
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
    return models.load(_base(folder, identity, sources), read_layer=learner["read_layer"])


def _base(folder: Path, identity: dict[str, Any], sources: Sequence[str]) -> str:
    """The published model that a stage goes back to, by the name among `sources` that has its hash."""
    for source in dict.fromkeys(sources):
        if model_fingerprint(source) == identity["learner"]["model"]:
            return source
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
