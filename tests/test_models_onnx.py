"""Exported matrices get their names back from the graph, whatever the exporter called them and in whatever order."""

from pathlib import Path

import numpy as np
import pytest

from w2s_jax.models import onnx_weights
from w2s_jax.models.families import FAMILIES
from w2s_jax.runtime.errors import UserError

onnx = pytest.importorskip("onnx")

PREFIX = "model.0.auto_model.encoder.layer.0."
RANDOM = np.random.default_rng(0)
QUERY, KEY, UP = (RANDOM.normal(size=shape).astype(np.float32) for shape in ((4, 4), (4, 4), (6, 4)))
BIASES = {f"{PREFIX}{name}.bias": np.ones(size, np.float32) for name, size in (("query", 4), ("key", 4), ("up", 6))}


def exported(path):
    """`up(x query * x key)`, matrices transposed and named after nothing, biases on either side of the sum."""
    from onnx import TensorProto, helper, numpy_helper

    tensors = {"onnx::MatMul_9": QUERY.T, "onnx::MatMul_3": KEY.T, "onnx::MatMul_5": UP.T, **BIASES}
    nodes = [
        helper.make_node("MatMul", ["x", "onnx::MatMul_9"], ["q0"]),
        helper.make_node("Add", [f"{PREFIX}query.bias", "q0"], ["q"]),
        helper.make_node("MatMul", ["x", "onnx::MatMul_3"], ["k0"]),
        helper.make_node("Add", ["k0", f"{PREFIX}key.bias"], ["k"]),
        helper.make_node("Mul", ["q", "k"], ["qk"]),
        helper.make_node("MatMul", ["qk", "onnx::MatMul_5"], ["u0"]),
        helper.make_node("Add", [f"{PREFIX}up.bias", "u0"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size]) for name, size in (("x", 4), ("y", 6))]
    kept = [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in tensors.items()]
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:], kept)), path)
    return path


def test_matrices_are_named_by_the_biases_beside_them(tmp_path):
    tensors = onnx_weights.read(exported(tmp_path / "m.onnx"), FAMILIES["bert"])
    expected = {"query.weight": QUERY, "key.weight": KEY, "up.weight": UP}
    for name, array in expected.items():
        np.testing.assert_array_equal(tensors.read(f"encoder.layer.0.{name}"), array)
    assert sorted(tensors.shapes) == sorted(
        f"encoder.layer.0.{part}.{kind}" for part in ("query", "key", "up") for kind in ("weight", "bias")
    )


def test_a_cut_file_is_one_line(tmp_path):
    path = exported(tmp_path / "m.onnx")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match=r"m\.onnx is not a whole ONNX file"):
        onnx_weights.read(path, FAMILIES["bert"])


def test_without_the_package_that_reads_it_nothing_begins(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'w2s-jax\[onnx\]'"):
        onnx_weights.require(Path("model.onnx"))
