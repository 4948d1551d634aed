"""Weights that do not train, in fewer bits: codes, and a scale for each block of them (Dettmers et al. 2023).

A kernel `W [*inputs, *outputs]` is cut along the last axis of its inputs into blocks of `BLOCK` weights, or of the
largest share of it that divides the axis. Each block has the scale `s = max |W|` and codes c, so that `W ~ s level(c)`:

- `int8`: `level(c) = c / 127`, c in -127..127; 8.5 bits a weight with the scale.
- `nf4`: 16 levels, quantiles of the normal distribution (NormalFloat, arXiv 2305.14314); 4.5 bits. One byte holds the
  codes of a weight in the first half of a block (low bits) and of its partner in the second.

Products read the levels in the type of the computation; they are made where they are used, and made again by the
backward pass.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from w2s_jax.runtime.errors import UserError

Base = Literal["float32", "bfloat16", "int8", "nf4"]
BASES: tuple[Base, ...] = ("float32", "bfloat16", "int8", "nf4")
CODES = {"int8": jnp.int8, "nf4": jnp.uint8}
BLOCK = 64
NF4 = (
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
)


def shapes(base: Base, shape: tuple[int, ...], axis: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shapes of a kernel's codes and scales.

    Args:
      axis: the one that is cut into blocks.

    Raises:
      UserError: `nf4` of an odd axis.
    """
    block = math.gcd(shape[axis], BLOCK)
    if base == "nf4" and block % 2:
        raise UserError(f"lora_base='nf4' keeps two weights in a byte, and an axis of {shape} is odd: choose 'int8'")
    before, after = shape[:axis], shape[axis + 1 :]
    codes = shape[axis] // 2 if base == "nf4" else shape[axis]
    return (*before, codes, *after), (*before, shape[axis] // block, *after)


def encode(kernel: Float[Array, "..."], base: Base, axis: int) -> tuple[Array, Float[Array, "..."]]:
    """Codes and scales of a kernel."""
    blocks = _blocks(kernel, kernel.shape[axis] // math.gcd(kernel.shape[axis], BLOCK), axis)
    scales = jnp.max(jnp.abs(blocks), axis + 1, keepdims=True).astype(jnp.float32)
    levels = blocks / jnp.where(scales > 0, scales, 1)
    if base == "int8":
        codes = jnp.round(levels * 127).astype(jnp.int8)
    else:
        halfway = (np.asarray(NF4[1:], np.float32) + np.asarray(NF4[:-1], np.float32)) / 2
        nearest = sum(((levels > limit).astype(jnp.uint8) for limit in halfway), jnp.zeros(levels.shape, jnp.uint8))
        first, second = jnp.split(nearest, 2, axis + 1)
        codes = first | second << 4
    wanted = shapes(base, kernel.shape, axis)
    return codes.reshape(wanted[0]), scales.reshape(wanted[1])


def decode(codes: Array, scales: Float[Array, "..."], axis: int, dtype: Any) -> Float[Array, "..."]:
    """The kernel that they stand for."""
    blocks = _blocks(codes, scales.shape[axis], axis)
    if codes.dtype == jnp.int8:
        levels = blocks.astype(jnp.float32) / 127
    else:
        blocks = jnp.concatenate([blocks & 15, blocks >> 4], axis + 1)
        levels = jnp.asarray(NF4, jnp.float32)[blocks]
    kernel = (levels * jnp.expand_dims(scales, axis + 1)).astype(dtype)
    return kernel.reshape(*scales.shape[:axis], -1, *scales.shape[axis + 1 :])


def kernel(kept: Sequence[Array], axis: int) -> Float[Array, "..."]:
    """A kernel that is kept as itself, or as codes and scales; these give float32."""
    if len(kept) == 1:
        return kept[0]
    codes, scales = kept
    return decode(codes, scales, axis, jnp.float32)


def keep(params: Mapping[str, Any], wanted: Mapping[str, Any], where: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters as a module holds them: kernels as codes and scales, other weights in its type.

    One after the other is placed on devices and encoded there. What is kept so already is taken as it is.

    Args:
      params: float32, or kept already.
      wanted: the module's parameters as shapes; it may have more of them.
      where: their shardings.
    """
    kept: dict[str, Any] = {}
    for key, value in params.items():
        if isinstance(value, Mapping):
            kept[key] = keep(value, wanted[key], where[key])
        elif key == "kernel" and "codes" in wanted:
            kept |= on_devices(value, wanted, where)
        elif value.dtype != wanted[key].dtype:
            kept[key] = jax.device_put(jnp.asarray(value, wanted[key].dtype), where[key])
        else:
            kept[key] = value
    return kept


def on_devices(kernel: Any, wanted: Mapping[str, Any], where: Mapping[str, Any]) -> dict[str, Array]:
    """Codes and scales of one kernel, where a module holds them."""
    base: Base = "int8" if wanted["codes"].dtype == jnp.int8 else "nf4"
    axis = _axis(kernel.shape, wanted["scales"].shape)
    made = jax.jit(encode, static_argnums=(1, 2), out_shardings=(where["codes"], where["scales"]))(kernel, base, axis)
    return dict(zip(("codes", "scales"), made, strict=True))


def plain(params: Mapping[str, Any], shapes: Mapping[str, Any]) -> dict[str, Any]:
    """The same parameters as float32, none in codes.

    Args:
      shapes: of the parameters as they are then.
    """
    found: dict[str, Any] = {}
    for key, value in shapes.items():
        if isinstance(value, Mapping):
            found[key] = plain(params[key], value)
        elif key == "kernel" and "codes" in params:
            axis = _axis(value.shape, params["scales"].shape)
            found[key] = jax.jit(decode, static_argnums=(2, 3))(params["codes"], params["scales"], axis, jnp.float32)
        else:
            found[key] = params[key].astype(jnp.float32)
    return found


def _axis(kernel: tuple[int, ...], scales: tuple[int, ...]) -> int:
    """The one that is cut into blocks."""
    return next((axis for axis, (a, b) in enumerate(zip(kernel, scales, strict=True)) if a != b), 0)


def _blocks(array: Array, count: int, axis: int) -> Array:
    return array.reshape(*array.shape[:axis], count, -1, *array.shape[axis + 1 :])
