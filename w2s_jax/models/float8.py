"""Float8 matrices and their scales, dequantized when they are read: `weight = float8 * scale`."""

import math
import re

import numpy as np

from w2s_jax.models import hub_files
from w2s_jax.models.families.quantization import Scales
from w2s_jax.models.weights import FLOAT8, Tensors
from w2s_jax.runtime.errors import UserError

SUFFIXES = ("_scale_inv", "_scale")  # of `weight`; whatever the first is called, one multiplies by both
ACTIVATIONS = re.compile(r"\.((input|output|activation|[qkv])_scale|input_scale_ub)$")


def dequantized(tensors: Tensors, scales: Scales, where: str) -> Tensors:
    """The tensors without their scales, each float8 one times its own.

    Args:
      where: the model, for a message.

    Raises:
      UserError: a scale does not fit its tensor, or is missing though the config says that all have one.
    """
    found = {
        name: name + suffix
        for name in tensors.shapes
        for suffix in SUFFIXES
        if name.endswith("weight") and name + suffix in tensors.shapes
    }
    of_activations = [name for name in tensors.shapes if ACTIVATIONS.search(name)] if scales.needed else []
    for name, kind in tensors.kinds.items():
        if scales.needed and kind in FLOAT8 and name not in found and name not in found.values():
            raise UserError(
                f"{where}: {name} is float8 without a scale ({name}{SUFFIXES[0]}), so its numbers are unknown"
            )
    for name, scale in found.items():
        _check(name, tensors.shapes[name], scale, tensors.shapes[scale], scales.block)
    if of_activations:
        hub_files.say(f"{where}: scales of activations are left out: here activations are not quantized")
    dropped = {*found.values(), *of_activations}

    def read(name: str, *index: slice) -> np.ndarray:
        values = tensors.read(name, *index)
        if name not in found:
            return values
        scale = tensors.read(found[name])
        if scale.size == 1:
            return values * scale.reshape(())
        shape = tensors.shapes[name]
        block = _block(scale.shape, shape, scales.block)
        spans = (*index, *[slice(None)] * (2 - len(index)))
        rows, columns = (np.arange(size)[span] // each for size, span, each in zip(shape, spans, block, strict=True))
        return values * scale.reshape(len(scale), -1)[rows[:, None], columns]

    shapes = {name: shape for name, shape in tensors.shapes.items() if name not in dropped}
    return tensors._replace(shapes=shapes, read=read)


def _block(scale: tuple[int, ...], shape: tuple[int, ...], block: tuple[int, int]) -> tuple[int, int]:
    """How many rows and columns share a scale: those of the config, or one row."""
    return (1, shape[1]) if scale in ((shape[0],), (shape[0], 1)) else block


def _check(name: str, shape: tuple[int, ...], scale: str, given: tuple[int, ...], block: tuple[int, int]) -> None:
    if math.prod(given) == 1:
        return
    high, wide = _block(given, shape, block) if len(shape) == 2 else (0, 0)
    if not high or given not in ((-(-shape[0] // high), -(-shape[1] // wide)), shape[:1]):
        raise UserError(f"{scale} of shape {given} does not fit {shape} in blocks of {block[0]} x {block[1]}")
