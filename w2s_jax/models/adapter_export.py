"""Writes what LoRA trained as a folder of PEFT: adapters without the model that they are of."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from w2s_jax.models import Pretrained, adapters, export, families, hub_files
from w2s_jax.models.config import ModelConfig
from w2s_jax.models.families.heads import HeadForm
from w2s_jax.models.layers import Lora
from w2s_jax.models.params import path_of
from w2s_jax.models.pooling import Pooling
from w2s_jax.models.tensor_table import TensorRow
from w2s_jax.runtime import files

KERNEL = "/kernel"


def write(
    pretrained: Pretrained,
    trained: Mapping[str, Any],
    lora: Lora,
    folder: Path,
    *,
    head: Mapping[str, Any] | None = None,
    pooling: Pooling | None = None,
) -> bool:
    """Writes adapter_config.json, adapter_model.safetensors (float32) and the tokenizer's files.

    Maps that a family keeps in one tensor (the query, key and value of GPT-2) get one adapter, of the sum of the ranks.

    Args:
      pretrained: the model that they were trained on.
      trained: the backbone's adapters, `lora_a` and `lora_b` in the place of its kernels.
      head: of a classifier; it is written as PEFT does where transformers scores it alike, else as `head.npy`.
      pooling: the hidden state that the head reads; None is the model's own.

    Returns:
      Whether transformers scores `head` alike.

    Raises:
      UserError: the folder is not empty, or the model was cut to its first layers.
    """
    folder, config = Path(folder), pretrained.config
    family = families.of(config)
    families.to_hf(config)  # refuses a model without its last layers
    export.require_new(folder)
    form = export.form_of(pretrained, head, pooling or config.pooling or config.default_pooling)
    prefix = family.prefix if form is None or form.prefix is None else form.prefix
    tensors: dict[str, np.ndarray] = {}
    ranks: dict[str, int] = {}
    turned = False
    for row in family.tensors(config):
        found = _adapters(row, trained, config)
        for name, (a, b) in found.items():
            module = prefix + name.removesuffix(".weight")
            tensors |= {f"{adapters.PREFIX}{module}.lora_A.weight": a, f"{adapters.PREFIX}{module}.lora_B.weight": b}
            ranks[row.name.removesuffix(".weight").partition("{i}.")[2]] = len(a)
        turned |= bool(found) and not row.layout.transposed
    task = "FEATURE_EXTRACTION" if config.is_encoder else "CAUSAL_LM"
    if head is not None and form is not None:
        task = "SEQ_CLS"
        tensors |= {adapters.PREFIX + name: array for name, array in export.head_tensors(form, head).items()}
    fused = {module: rank for module, rank in ranks.items() if rank != lora.rank}
    described = {
        "base_model_name_or_path": pretrained.name,
        "bias": "none",
        "fan_in_fan_out": turned,
        "inference_mode": True,
        "init_lora_weights": True,
        "alpha_pattern": {module: lora.scale * rank for module, rank in fused.items()},
        "lora_alpha": lora.scale * lora.rank,
        "lora_dropout": 0.0,
        "modules_to_save": None if form is None else _saved(form),
        "peft_type": "LORA",
        "r": lora.rank,
        "rank_pattern": fused,
        "target_modules": sorted(ranks),
        "task_type": task,
        "use_rslora": False,
    }
    export.write_tensors(folder / hub_files.ADAPTER_WEIGHTS, tensors)
    if head is not None and form is None:
        export.write_head(folder, head)
    export.write_tokenizer(pretrained, folder, {})
    files.write_json(folder / hub_files.ADAPTER, described)
    return form is not None


def _saved(form: HeadForm) -> list[str]:
    """The modules of a head, as PEFT finds them by the end of their names; it saves a whole `classifier` by itself."""
    names = [module.removeprefix(form.prefix or "") for module in form.modules]
    return list(dict.fromkeys("classifier" if name.startswith("classifier.") else name for name in names))


def _adapters(
    row: TensorRow, trained: Mapping[str, Any], config: ModelConfig
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """A [rank, inputs] and B [outputs, rank] of each tensor of a row, by its plain name."""
    leaves = {path_of(keys): leaf for keys, leaf in jax.tree_util.tree_leaves_with_path(dict(trained))}
    found = {}
    for place in row.places(config):
        parts = []
        for path in row.paths:
            names = [path.removesuffix(KERNEL) + f"/lora_{part}" for part in "ab"]
            if path.endswith(KERNEL) and names[0] in leaves:
                parts.append([np.asarray(leaves[n][place], np.float32) for n in names])
        if parts:
            assert len(parts) == len(row.paths), "all maps of one tensor have adapters, or none"
            flat = [(a.reshape(-1, a.shape[-1]), b.reshape(len(b), -1)) for a, b in parts]
            total = sum(len(b) for _, b in flat)
            placed, start = [], 0
            for _, b in flat:  # each map reads its own part of the rank
                whole = np.zeros((total, b.shape[1]), np.float32)
                whole[start : start + len(b)] = b
                placed.append(whole)
                start += len(b)
            down = np.concatenate([a for a, _ in flat], axis=1).T
            up = row.layout.theirs(placed, config)
            found[row.at(place)] = down, up if row.layout.transposed else up.T
    return found
