"""LoRA adapters as PEFT saves them: which model they are of, and their updates, added when a weight is read."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from w2s_jax.models import families, hub_files, weights
from w2s_jax.models.config import ModelConfig
from w2s_jax.models.weights import Tensors
from w2s_jax.runtime.errors import UserError

PREFIX = "base_model.model."
# Modules of a classifier's head, which PEFT saves with its adapter.
HEADS = {"score", "classifier", "classifier.dense", "classifier.out_proj", "pre_classifier", "pooler", "pooler.dense"}
HEADS |= {"head", "head.dense", "head.norm"}

_TENSOR = re.compile(r"(?P<module>.+)\.lora_(?P<part>[AB])(\.[^.]+)?\.weight")
# Settings that decide nothing of what is merged: the tensors say which modules have an adapter.
_INERT = {
    "auto_mapping", "base_model_name_or_path", "eva_config", "exclude_modules", "fan_in_fan_out", "inference_mode",
    "layers_pattern", "layers_to_transform", "lora_dropout", "megatron_core", "peft_version", "qalora_group_size",
    "revision", "runtime_config", "target_modules", "task_type",
}  # fmt: skip
_READ = {"alpha_pattern", "init_lora_weights", "lora_alpha", "modules_to_save", "r", "rank_pattern", "use_rslora"}
# With any other start the base's own weights were changed, too.
_STARTS = (True, False, "gaussian", "eva", "orthogonal")


class _Update(NamedTuple):
    """`scale * B A`, of a weight [outputs, inputs], or, if `turned`, [inputs, outputs]."""

    a: np.ndarray
    b: np.ndarray
    scale: float
    turned: bool

    def piece(self, *index: slice) -> np.ndarray:
        rows, columns = (*index, *[slice(None)] * (2 - len(index)))
        if self.turned:
            delta = self.a[:, rows].T @ self.b[columns].T
        else:
            delta = self.b[rows] @ self.a[:, columns]
        return (self.scale * delta).astype(np.float32)


def settings(folder: Path) -> Mapping[str, Any]:
    """An adapter's config.

    Raises:
      UserError: it asks for something that is not implemented, by name.
    """
    path = folder / hub_files.ADAPTER
    given = hub_files.settings(path)
    if given.get("peft_type") != "LORA":
        raise UserError(
            f"{path}: peft_type {given.get('peft_type')!r} is not implemented, only 'LORA'; merge it with PEFT"
        )
    odd = {name: value for name, value in given.items() if name not in _INERT | _READ | {"peft_type"} and value}
    if odd.get("bias") == "none":
        del odd["bias"]
    if given.get("init_lora_weights", True) not in _STARTS:
        odd["init_lora_weights"] = given["init_lora_weights"]
    saved = given.get("modules_to_save") or []
    if not set(saved) <= HEADS:
        odd["modules_to_save"] = saved
    for name, value in odd.items():
        raise UserError(
            f"{path}: {name}={value!r} is not implemented: merge the adapter with PEFT's `merge_and_unload`"
        )
    return given


def weights_of(folder: Path) -> Path:
    """The file of an adapter's tensors.

    Raises:
      UserError: it is not there.
    """
    if not (folder / hub_files.ADAPTER_WEIGHTS).exists():
        raise hub_files.no_adapter([path.name for path in folder.iterdir()], str(folder))
    return folder / hub_files.ADAPTER_WEIGHTS


def merged(tensors: Tensors, folder: Path | None, config: ModelConfig) -> Tensors:
    """The base's tensors with an adapter's updates, and with the head that it was saved with.

    Updates are computed in float64, so that a piece of a weight is the same as that piece of the whole.

    Args:
      tensors: of the base, by plain name.
      folder: of the adapter; None changes nothing.

    Raises:
      UserError: the adapter does not fit the base.
    """
    if folder is None:
        return tensors
    given, family = settings(folder), families.of(config)
    turned = {
        row.at(place): not row.layout.transposed for row in family.tensors(config) for place in row.places(config)
    }
    form = family.head_form({})
    heads = set() if form is None else {family.plain_name(f"{module}.") for module in form.modules}
    updates: dict[str, _Update] = {}
    replaced: dict[str, np.ndarray] = {}
    for module, parts in _parts(folder).items():
        if isinstance(parts, np.ndarray):
            plain = family.plain_name(module)
            if plain.rpartition(".")[0] + "." not in heads:
                raise UserError(
                    f"{folder / hub_files.ADAPTER_WEIGHTS}: {module} is no LoRA tensor, and not of the head"
                )
            replaced[plain] = parts
            continue
        plain = family.plain_name(f"{module}.weight")
        tied = plain == family.unembedding and config.tied_embeddings
        if plain not in tensors.shapes or tied:
            apart = " apart from its embeddings" if tied else ""
            raise UserError(f"{folder} adapts {module}, which this {config.family} does not have{apart}")
        updates[plain] = _update(folder, module, parts, given, tensors.shapes[plain], turned.get(plain, False))

    def read(name: str, *index: slice) -> np.ndarray:
        if name in replaced:
            return replaced[name][index]
        values = tensors.read(name, *index)
        return values + updates[name].piece(*index) if name in updates else values

    shapes = {**tensors.shapes, **{name: each.shape for name, each in replaced.items()}}
    return tensors._replace(shapes=shapes, read=read)


def _parts(folder: Path) -> dict[str, dict[str, np.ndarray] | np.ndarray]:
    """The tensors: A and B by module, and others, which are none of an adapter, by name."""
    found: dict[str, Any] = {}
    with weights.safetensors([weights_of(folder)]) as stored:
        for name in stored.shapes:
            inner = name.removeprefix(PREFIX).replace(".modules_to_save.", ".")
            tensor, values = _TENSOR.fullmatch(inner), weights.checked(stored).read(name)
            if tensor is None:
                found[inner] = values
            else:
                found.setdefault(tensor["module"], {})[tensor["part"]] = values
    return found


def _update(
    folder: Path,
    module: str,
    parts: Mapping[str, np.ndarray],
    given: Mapping[str, Any],
    shape: tuple[int, ...],
    turned: bool,
) -> _Update:
    for part in "AB":
        if part not in parts:
            raise UserError(f"{folder / hub_files.ADAPTER_WEIGHTS} has no {PREFIX}{module}.lora_{part}.weight")
    a, b = (parts[part].astype(np.float64) for part in "AB")
    if a.ndim != 2 or b.ndim != 2 or len(a) != b.shape[1] or (len(b), a.shape[1]) != (shape[::-1] if turned else shape):
        raise UserError(
            f"{folder}: adapters of {module} of shapes {a.shape} and {b.shape} do not fit a weight of {shape}"
        )
    rank = _by_pattern(given.get("rank_pattern"), module, given["r"])
    if len(a) != rank:
        raise UserError(f"{folder}: the adapter of {module} is of rank {len(a)}, where {hub_files.ADAPTER} says {rank}")
    alpha = _by_pattern(given.get("alpha_pattern"), module, given["lora_alpha"])
    return _Update(a, b, alpha / (math.sqrt(rank) if given.get("use_rslora") else rank), turned)


def _by_pattern(patterns: Mapping[str, Any] | None, module: str, default: Any) -> Any:
    """A module's own setting, found as PEFT finds it."""
    found = (value for pattern, value in (patterns or {}).items() if re.match(rf"(.*\.)?({pattern})$", module))
    return next(found, default)
