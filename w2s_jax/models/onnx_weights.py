"""Reads the tensors of a transformer that was exported to ONNX under the names that it had before.

An exporter keeps the names of biases, norms and embeddings, but transposes the matrices and calls them
`onnx::MatMul_470`. Each is given back its name by the graph: it multiplies what the bias of that name is added to.
"""

from pathlib import Path

import numpy as np

from w2s_jax.errors import UserError
from w2s_jax.models import names
from w2s_jax.models.weights import Tensors


def read(path: Path) -> Tensors:
    """All tensors of an ONNX file, matrices as [outputs, inputs]. The graph is read, never run.

    Raises:
      UserError: it is not a whole ONNX file, or the package `onnx` is missing.
    """
    try:
        import onnx
    except ImportError as error:
        raise UserError(f"reading {path.name} needs `pip install onnx`") from error
    try:
        graph = onnx.load(path, load_external_data=False).graph
        arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    except Exception as error:
        raise UserError(f"{path} is not a whole ONNX file: {error}") from error
    matrices = _matrices(graph, arrays.keys())
    tensors = {}
    for name, array in arrays.items():
        if name in matrices:
            name, array = matrices[name], array.T
        tensors[names.plain_name(name)] = np.asarray(array, np.float32)
    return Tensors(tuple(tensors), tensors.__getitem__)


def _matrices(graph: object, tensors: set[str]) -> dict[str, str]:
    """The anonymous matrices' names: W is `p.weight` where `W x + p.bias` is computed."""
