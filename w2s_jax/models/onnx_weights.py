"""Reads the tensors of a transformer that was exported to ONNX, under the names that they had before.

An exporter keeps the names of biases, norms and embeddings, but transposes the matrices and calls them
`onnx::MatMul_470`. The graph gives each its name back: it multiplies what the bias of that name is added to.
"""

import importlib.util
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from w2s_jax.models.families import Family
from w2s_jax.models.weights import Tensors
from w2s_jax.runtime.errors import UserError


def require(path: Path) -> None:
    """Raises:
    UserError: the package that reads such a file is missing.
    """
    if importlib.util.find_spec("onnx") is None:
        raise UserError(f"reading {path.name} needs the package onnx: pip install 'w2s-jax[onnx]'")


def read(path: Path, family: Family) -> Tensors:
    """All tensors of an ONNX file, matrices as [outputs, inputs] as in torch. The graph is read, never run.

    Raises:
      UserError: it is not a whole ONNX file, or the package `onnx` is missing.
    """
    require(path)
    import onnx

    try:
        graph = onnx.load(path, load_external_data=False).graph
        arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    except Exception as error:
        raise UserError(f"{path} is not a whole ONNX file: {error}") from error
    kernels = _kernel_names(graph.node, set(arrays))
    tensors = {}
    for name, array in arrays.items():
        known = kernels.get(name, name)
        tensors[family.plain_name(known)] = np.asarray(array.T if name in kernels else array, np.float32)
    shapes = {name: array.shape for name, array in tensors.items()}
    return Tensors(shapes, lambda name, *index: tensors[name][index])


@runtime_checkable
class _Node(Protocol):
    """What is read of an operation in a graph."""

    op_type: str
    input: Sequence[str]
    output: Sequence[str]


def _kernel_names(nodes: Iterable[_Node], tensors: set[str]) -> dict[str, str]:
    """Matrix -> `p.weight`, for each matrix W in `x W + p.bias`."""
    matrix_of = {
        node.output[0]: node.input[1] for node in nodes if node.op_type == "MatMul" and node.input[1] in tensors
    }
    found = {}
    for node in nodes:
        if node.op_type == "Add":
            for bias, product in (node.input, reversed(node.input)):
                if product in matrix_of and bias in tensors and bias.endswith(".bias"):
                    found[matrix_of[product]] = bias.removesuffix("bias") + "weight"
    return found
