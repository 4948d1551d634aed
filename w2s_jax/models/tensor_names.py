"""Which tensor of a checkpoint is which: its name without what wrappers, trainers and older releases put around it."""

import re
from collections.abc import Collection, Iterator

from w2s_jax.models.families import Family
from w2s_jax.runtime.errors import UserError

# Modules that wrap others and compute nothing: of torch.compile, FSDP and activation checkpointing.
WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
OLD = {"gamma": "weight", "beta": "bias"}  # of norms, in checkpoints that came from TensorFlow


def plain_names(stored: Collection[str], family: Family, needed: Collection[str]) -> dict[str, str]:
    """The plain name of each tensor, by the name that is stored.

    A prefix that all tensors share is dropped where the family's own tensors are found without it.

    Args:
      needed: the plain names of the family's tensors.

    Raises:
      UserError: two tensors have one plain name, or the file holds adapters that are not merged.
    """
    unmerged = next((name for name in stored if re.search(r"\.(base_layer|lora_[AB])\.", name)), None)
    if unmerged is not None:
        raise UserError(
            f"this checkpoint holds LoRA adapters that are not merged ({unmerged}): save what "
            "`model.merge_and_unload()` gives, or the adapter alone with `model.save_pretrained`"
        )
    whole = {name: _unwrapped(name) for name in stored}
    found = {name: family.plain_name(inner) for name, inner in whole.items()}
    for prefix in _shared_prefixes(whole.values()):
        if set(needed) <= set(found.values()):
            break
        inside = {name: family.plain_name(inner.removeprefix(prefix)) for name, inner in whole.items()}
        if set(needed) <= set(inside.values()):
            found = inside
    by_plain: dict[str, str] = {}
    for name, plain in found.items():
        if plain in by_plain:
            raise UserError(f"{by_plain[plain]} and {name} are both {plain}; remove one of them")
        by_plain[plain] = name
    return found


def shared_prefix(names: Collection[str]) -> str:
    """What all names begin with, whole words of it, as `module.`; empty where there is nothing."""
    return max(_shared_prefixes(names), key=len, default="")


def _shared_prefixes(names: Collection[str]) -> Iterator[str]:
    """From the shortest to the longest."""
    split = [name.split(".") for name in names]
    for count, words in enumerate(zip(*split, strict=False), 1):
        if len(set(words)) > 1 or any(len(each) == count for each in split):
            return
        yield ".".join(split[0][:count]) + "."


def _unwrapped(name: str) -> str:
    *words, last = [word for word in name.split(".") if word not in WRAPPERS]
    if last in OLD and words and words[-1] == "LayerNorm":
        last = OLD[last]
    return ".".join([*words, last])
