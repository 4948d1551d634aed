"""Groups of parameters, by regexes over their paths. Training, freezing and adapters all use this one mechanism."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from w2s_jax.runtime.errors import UserError

Params = Any  # nested dicts of arrays, or of what stands for them: shapes, shardings, names of groups
Rules = Sequence[tuple[str, str]]

_HEAD: Rules = [(r"^head/", "train"), (r"^backbone/", "frozen")]
_ADAPTERS: Rules = [(r"/lora_[ab]$", "adapters"), (r"", "rest")]

# By what a learner trains. The first rule whose regex is found in a path, such as
# `backbone/layers/attention/query/kernel`, names its group.
TRAINABLE: Mapping[str, Rules] = {
    "full": [(r"^reference/", "frozen"), (r"", "train")],
    "head": _HEAD,
    "probe": _HEAD,
    "lora": [(r"^head/|/lora_[ab]$", "train"), (r"^(backbone|unembed)/", "frozen")],
}


def path_of(keys: Sequence[Any]) -> str:
    """A leaf's path, as `backbone/embed/embedding`."""
    return "/".join(str(getattr(key, "key", key)) for key in keys)


def groups(params: Params, rules: Rules) -> Params:
    """The name of each leaf's group, by the first rule that matches its path.

    Raises:
      UserError: a leaf matches no rule; all such leaves are listed.
    """
    uncovered = []

    def group_of(keys: Sequence[Any], _: Any) -> str:
        path = path_of(keys)
        for pattern, name in rules:
            if re.search(pattern, path):
                return name
        uncovered.append(path)
        return ""

    found = jax.tree_util.tree_map_with_path(group_of, params)
    if uncovered:
        raise UserError(f"no rule covers these parameters: {', '.join(uncovered)}")
    return found


def partition(params: Params, rules: Rules, name: str = "train") -> tuple[Params, Params]:
    """The leaves of the group of this name, and all others, each a nested dict without empty branches.

    Raises:
      UserError: a leaf matches no rule.
    """
    named = groups(params, rules)
    return _keep(params, named, name, True), _keep(params, named, name, False)


def combine(first: Params, second: Params) -> Params:
    """The one tree of which these are the parts."""
    merged = dict(first)
    for key, value in second.items():
        merged[key] = combine(merged[key], value) if key in merged else value
    return merged


def merge_lora(params: Params, scale: float) -> Params:
    """The same function without adapters: `kernel + scale * A B` in their place, also where layers are stacked."""
    if "lora_a" not in params:
        return {key: merge_lora(value, scale) if isinstance(value, Mapping) else value for key, value in params.items()}
    kernel, a, b = params["kernel"], params["lora_a"], params["lora_b"]
    stacked = a.ndim + b.ndim - kernel.ndim - 2  # layers come first in all three
    inputs = math.prod(a.shape[stacked:-1])
    flat_a = a.reshape(*a.shape[:stacked], inputs, a.shape[-1])
    flat_b = b.reshape(*b.shape[: stacked + 1], -1)
    rest = {key: value for key, value in params.items() if key not in ("lora_a", "lora_b")}
    return {**rest, "kernel": kernel + scale * (flat_a @ flat_b).reshape(kernel.shape)}


def without_lora(params: Params) -> Params:
    """The same parameters but the adapters'."""
    return partition(params, _ADAPTERS, "rest")[0]


def fold_lora(params: Params, scale: float) -> Params:
    """`merge_lora` of arrays on devices, which it consumes: each kernel takes the place of the one before it."""
    adapters, rest = partition(params, _ADAPTERS, "adapters")

    def merged(rest: Params, adapters: Params) -> Params:
        with jax.default_matmul_precision("highest"):
            return merge_lora(combine(rest, adapters), scale)

    where = jax.tree.map(lambda leaf: leaf.sharding, rest)
    return jax.jit(merged, donate_argnums=0, out_shardings=where)(rest, adapters)


def head_mask(params: Params) -> Params:
    """True for the head's parameters, which start fresh on a pretrained backbone."""
    return jax.tree_util.tree_map_with_path(lambda keys, _: path_of(keys).startswith("head/"), params)


def _keep(params: Params, named: Params, name: str, inside: bool) -> Params:
    kept = {}
    for key, value in params.items():
        if isinstance(value, Mapping):
            branch = _keep(value, named[key], name, inside)
            if branch:
                kept[key] = branch
        elif (named[key] == name) == inside:
            kept[key] = value
    return kept
