"""FLOPs of kernels, of which a compiled program says nothing: of attention, and of products by expert."""

import math
import re

import numpy as np

from w2s_jax.plan.hlo import Computation, Instruction

# Matrix products of each pair of blocks. Forward: the scores, and their mixture of values. Back, either kernel computes
# the scores and their weights' gradient; then `dkv` two products more, the gradients of keys and values, `dq` one.
# cuDNN's one backward kernel computes all five.
_PRODUCTS = {"fwd": 2, "dkv": 4, "dq": 3, "cudnn_back": 5}


def flops(instruction: Instruction, computation: Computation) -> float:
    """Floating-point operations of a kernel's matrix products, and 0 of anything else."""
    if 'custom_call_target="__cudnn$fmha' in instruction.text:
        return _cudnn(instruction.text, instruction.shapes[0].dims[-1])
    if 'custom_call_target="tpu_custom_call"' not in instruction.text:
        return 0.0
    if instruction.name.startswith("ragged-dot-") and len(instruction.shapes[0].dims) == 2:
        return _grouped(instruction, computation)
    arrays = [shape.dims for shape in computation.shapes(instruction.operands) if len(shape.dims) == 4]
    if 'op_name="online-softmax"' in instruction.text:  # the compiler's own: softmax of scores, times values
        scores, values = arrays
        return 2.0 * math.prod(scores) * values[-1]
    splash = re.search(r"/sees_(all|causal)(?:_(\d+))?/.*/splash_\w+?_(fwd|dkv|dq)_", instruction.text)
    return _splash(instruction.text, splash, arrays[0], arrays[1]) if splash else 0.0


def _grouped(instruction: Instruction, computation: Computation) -> float:
    """Of rows times the matrix of their expert, where as many go to each: `models.experts` names the share that are a
    device's own."""
    held = re.search(r"/held_(\d+)_of_(\d+)/", instruction.text)
    share = int(held[1]) / int(held[2]) if held else 1.0
    matrices = next(shape.dims for shape in computation.shapes(instruction.operands) if len(shape.dims) == 3)
    rows, _ = instruction.shapes[0].dims
    return 2.0 * share * rows * math.prod(matrices[1:])


def _splash(text: str, names: re.Match[str], query: tuple[int, ...], key: tuple[int, ...]) -> float:
    """Of a kernel as `models.attention.splash` calls it: JAX names it, and the scope around it the mask.

    Pairs of blocks of which the mask leaves nothing are not computed, any other as a whole.
    """
    sees, window, kernel = names.groups()
    suffix = "" if kernel == "fwd" else f"_{kernel}"
    rows, columns = (int(text.split(f'block_{side}{suffix}\\": ')[1].split(",")[0]) for side in ("q", "kv"))
    back = int(window) if window else None
    blocks = pairs(query[2] // rows, key[2] // columns, rows, columns, causal=sees == "causal", window=back)
    return 2.0 * _PRODUCTS[kernel] * math.prod(query[:2]) * query[3] * blocks * rows * columns


def _cudnn(text: str, width: int) -> float:
    """Of NVIDIA's flash attention, whose blocks are its own affair: pairs of tokens that see each other count."""
    shape = re.search(r'"intermediate_tensor_shape":.*?"dimensions": ?\[([^\]]*)\]', text)
    window = re.search(r'"sliding_window_length": ?"?(\d+)', text)
    assert shape is not None
    assert window is not None
    *rows, queries, keys = (int(size) for size in re.findall(r"\d+", shape[1]))
    seen = pairs(queries, keys, 1, 1, causal="CAUSAL" in text, window=int(window[1]) or None)
    return 2.0 * _PRODUCTS["cudnn_back" if "Backward" in text else "fwd"] * math.prod(rows) * width * seen


def pairs(many: int, others: int, rows: int, columns: int, *, causal: bool, window: int | None) -> int:
    """How many pairs of a block of queries and a block of keys have a query that sees a key.

    Args:
      many, others: blocks of queries and of keys.
      rows, columns: what one block of them holds.
      window: as in `models.attention.Form`.
    """
    first_query, first_key = np.arange(many)[:, None] * rows, np.arange(others)[None, :] * columns
    seen = first_query + rows - 1 >= first_key if causal else np.full((many, others), True)
    if window is not None:
        seen &= first_query - (first_key + columns - 1) < window
        seen &= first_key - (first_query + rows - 1) < window
    return int(seen.sum())
