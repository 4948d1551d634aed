"""A stack of equal layers, scanned or unrolled, rematerialised by policy. Its parameters are stacked either way."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from w2s_jax.models.target import target
from w2s_jax.runtime import errors

PRODUCT = "product"  # the name of those products with weights that are no plain dot
_policies = jax.checkpoint_policies
REMAT = {
    "full": _policies.nothing_saveable,
    "dots": _policies.save_from_both_policies(
        _policies.dots_with_no_batch_dims_saveable, _policies.save_only_these_names(PRODUCT)
    ),
}


def run_layers(
    block: type[nn.Module],
    fields: dict[str, Any],
    length: int,
    scan: bool,
    remat: str,
    x: Array,
    *shared: Any,
    own: tuple[Any, ...] = (),
) -> tuple[Float[Array, "b t d"], Any]:
    """Runs `length` blocks one after the other. Must be called inside a compact module.

    Args:
      block: `__call__(x, *shared, *own) -> (x, emitted)`.
      fields: its attributes.
      scan: one compiled layer in a loop (compiles fast) instead of `length` of them (may run faster).
      remat: `none` keeps what the backward pass needs; `dots` keeps only products with weights; `full` keeps only each
        layer's input and computes the rest again.
      shared: what every layer is given.
      own: trees of arrays [length, ...] of which each layer is given its own row.

    Returns:
      What the last gave, and what all emitted, stacked.

    Raises:
      UserError: unknown `remat`.
    """
    if remat != "none":
        if remat not in REMAT:
            raise errors.unknown("remat policy", remat, ["none", *REMAT])
        block = nn.remat(block, prevent_cse=not scan, policy=REMAT[remat])
    scanned = nn.scan(
        block,
        variable_axes={"params": 0},
        split_rngs={"params": True, "dropout": True},
        in_axes=(nn.broadcast,) * len(shared) + (0,) * len(own),
        length=length,
        unroll=1 if scan else length,
        metadata_params={nn.PARTITION_NAME: "layers"},
    )
    return scanned(**fields, name="layers")(x, *shared, *own)


def from_inputs(compute: Callable[..., Array]) -> Callable[..., Array]:
    """`compute`, whose backward pass on a CPU keeps its inputs alone: for what is cheaper to compute than to read.

    Compilers for accelerators fuse such parts, and the remat policy says what they keep.
    """
    return _from_inputs(compute) if target().platform == "cpu" else compute


def computed_again(compute: Callable[..., Array]) -> Callable[..., Array]:
    """`compute`, whose backward pass keeps nothing but its inputs on any device: for what memory should not hold."""
    return _from_inputs(compute) if target().platform == "cpu" else jax.checkpoint(compute, prevent_cse=False)


def _from_inputs(compute: Callable[..., Array]) -> Callable[..., Array]:
    def forward(*inputs: Any) -> tuple[Array, Any]:
        return compute(*inputs), kept(inputs)

    def backward(inputs: Any, slope: Array) -> Any:
        return jax.vjp(compute, *restored(inputs))[1](slope)

    whole = jax.custom_vjp(compute)
    whole.defvjp(forward, backward)
    return whole


def kept(inputs: Any) -> Any:
    """Arrays for the backward pass, bfloat16 as its bits.

    XLA on CPUs has no loops over bfloat16: to write or read one layer's it converts the whole stack, for each layer.
    """
    return jax.tree.map(lambda x: _as(jnp.uint16, x) if x.dtype == jnp.bfloat16 else x, inputs)


def restored(arrays: Any) -> Any:
    """What `kept` was given; no array may be of uint16."""
    return jax.tree.map(lambda x: _as(jnp.bfloat16, x) if x.dtype == jnp.uint16 else x, arrays)


def _as(dtype: Any, x: Array) -> Array:
    return jax.lax.bitcast_convert_type(x, dtype)
