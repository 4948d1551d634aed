"""A stack of equal layers, scanned or unrolled, rematerialised by policy. Its parameters are stacked either way."""

from typing import Any

import jax
from flax import linen as nn
from jaxtyping import Array, Float

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
