"""Quantized checkpoints: float8 with its scales is dequantized exactly, every other method is refused by name."""

import json

import jax
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file

from tests import tiny as make
from tests.test_models_loading import loads
from tests.test_models_parity import FAMILIES, saved
from w2s_jax import models
from w2s_jax.models import hub_files
from w2s_jax.runtime.errors import UserError

torch = pytest.importorskip("torch")

BLOCK = {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [16, 16]}
SCHEME = {"num_bits": 8, "type": "float", "strategy": "channel", "symmetric": True, "dynamic": False}
COMPRESSED = {
    "quant_method": "compressed-tensors",
    "format": "float-quantized",
    "quantization_status": "compressed",
    "config_groups": {"group_0": {"targets": ["Linear"], "weights": SCHEME, "input_activations": None}},
    "ignore": ["lm_head"],
}


def stored(folder):
    """In torch's types, which know float8."""
    from safetensors.torch import load_file as load_torch

    return load_torch(folder / "model.safetensors")


def write(folder, tensors, **settings):
    """The folder with these tensors, and what the config says besides."""
    from safetensors.torch import save_file

    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **settings}))
    models.load.cache_clear()
    models.outline.cache_clear()
    return str(folder)


def quantized(folder, suffix, block, settings, kind=torch.float8_e4m3fn, scale_kind=torch.float32):
    """The folder with float8 matrices, and the numbers that they stand for: quantized by hand.

    Args:
      block: rows and columns that share a scale; None is all of a tensor, and 0 columns all of a row.
    """
    tensors, expected, rng = {}, {}, np.random.default_rng(0)
    for name, tensor in load_file(folder / "model.safetensors").items():
        if not name.endswith("proj.weight"):
            tensors[name], expected[name] = torch.tensor(tensor), tensor
            continue
        rows, columns = tensor.shape
        high, wide = (rows, columns) if block is None else (block[0], block[1] or columns)
        size = 2.0 ** rng.integers(-4, 3, (-(-rows // high), -(-columns // wide)))
        size = size * (1 if scale_kind == torch.float8_e8m0fnu else 1.3)
        scale = torch.tensor(size.astype(np.float32)).to(scale_kind)
        spread = np.kron(scale.float().numpy(), np.ones((high, wide), np.float32))[:rows, :columns]
        small = torch.tensor(tensor / spread).to(kind)
        tensors[name], expected[name] = small, small.float().numpy() * spread
        tensors[name.removesuffix("weight") + suffix] = scale.reshape(()) if block is None else scale
    write(folder, tensors, quantization_config=settings)
    return expected


def expected_params(folder, expected):
    """The same numbers in float32, loaded as any other model."""
    config = json.loads((folder / "config.json").read_text())
    del config["quantization_config"]
    plain = folder.parent / "plain"
    make.llama(plain, width=config["hidden_size"])
    (plain / "config.json").write_text(json.dumps(config))
    return models.load(write(plain, {name: torch.tensor(array) for name, array in expected.items()})).params


def assert_same(params, other):
    jax.tree.map(np.testing.assert_array_equal, dict(params), dict(other))


@pytest.mark.parametrize(
    ("suffix", "block", "settings"),
    [
        ("weight_scale_inv", (16, 16), BLOCK),
        ("weight_scale_inv", None, {**BLOCK, "weight_block_size": None}),
        ("weight_scale", None, {"quant_method": "fp8", "activation_scheme": "static"}),
        ("weight_scale", (1, 0), {"quant_method": "fbgemm_fp8"}),
        ("weight_scale", (1, 0), COMPRESSED),
        ("weight_scale", None, COMPRESSED),
    ],
    ids=["blocks", "tensor", "static", "rows", "compressed, channels", "compressed, tensor"],
)
def test_float8_with_scales_is_dequantized(tmp_path, suffix, block, settings):
    folder = make.llama(tmp_path / "m", width=24)  # which 16 does not divide
    wanted = expected_params(folder, quantized(folder, suffix, block, settings))
    for load in loads(str(folder)):
        assert_same(load().params, wanted)


@pytest.mark.parametrize("kind", ["float8_e4m3fn", "float8_e5m2"])
def test_both_kinds_of_float8_and_scales_that_are_powers_of_two(tmp_path, kind):
    folder = make.llama(tmp_path / "m")
    settings = {**BLOCK, "scale_fmt": "ue8m0"}
    found = quantized(folder, "weight_scale_inv", (16, 16), settings, getattr(torch, kind), torch.float8_e8m0fnu)
    assert_same(models.load(str(folder)).params, expected_params(folder, found))


def test_transformers_dequantizes_alike(tmp_path):
    """By its own function: loading such a model needs accelerate."""
    fp8 = pytest.importorskip("transformers.integrations.finegrained_fp8")
    folder = make.llama(tmp_path / "m", width=24)
    quantized(folder, "weight_scale_inv", (16, 16), BLOCK)
    tensors, name = stored(folder), "model.layers.1.mlp.down_proj.weight"
    theirs = fp8._dequantize_fp8_weight(tensors[name], tensors[f"{name}_scale_inv"], [16, 16], torch.float32)
    ours = models.load(str(folder)).params["layers"]["mlp"]["down"]["kernel"][1]
    np.testing.assert_array_equal(ours, theirs.numpy().T)


def test_what_quantizes_activations_is_left_out_with_a_word(tmp_path, caplog):
    hub_files.say.cache_clear()
    folder = make.llama(tmp_path / "m")
    expected = quantized(folder, "weight_scale", None, {"quant_method": "fp8", "activation_scheme": "static"})
    tensors = stored(folder)
    tensors["model.layers.0.mlp.up_proj.input_scale"] = torch.tensor(0.5)
    tensors["model.layers.0.self_attn.k_scale"] = torch.tensor(0.5)
    write(folder, tensors)
    assert_same(models.load(str(folder)).params, expected_params(folder, expected))
    assert "activations are not quantized" in caplog.text


def test_plain_float8_is_read_exactly(tmp_path):
    folder = make.llama(tmp_path / "m")
    tensors = {name: tensor.to(torch.float8_e4m3fn) for name, tensor in stored(folder).items()}
    found = models.load(write(folder, tensors)).params["layers"]["mlp"]["up"]["kernel"][1]
    wanted = tensors["model.layers.1.mlp.up_proj.weight"].float().numpy()
    np.testing.assert_array_equal(found, wanted.T)
    np.testing.assert_array_equal(found, found.astype(ml_dtypes.float8_e4m3fn).astype(np.float32))


def test_float8_that_lacks_its_scale_is_refused(tmp_path):
    folder = make.llama(tmp_path / "m")
    quantized(folder, "weight_scale_inv", (16, 16), BLOCK)
    tensors = stored(folder)
    del tensors["model.layers.1.mlp.up_proj.weight_scale_inv"]
    with pytest.raises(UserError, match=r"layers\.1\.mlp\.up_proj\.weight is float8 without a scale"):
        models.load(write(folder, tensors))


def test_scales_of_another_shape_are_refused(tmp_path):
    folder = make.llama(tmp_path / "m")
    quantized(folder, "weight_scale_inv", (16, 16), BLOCK)
    tensors = stored(folder)
    tensors["model.layers.1.mlp.up_proj.weight_scale_inv"] = torch.ones(5, 7)
    said = r"up_proj\.weight_scale_inv of shape \(5, 7\) does not fit \(32, 16\) in blocks of 16 x 16"
    with pytest.raises(UserError, match=said):
        models.load(write(folder, tensors))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"quant_method": "gptq", "bits": 4}, "gptq, 4 bits"),
        ({"quant_method": "awq", "bits": 4}, "awq, 4 bits"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes, 4 bits"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "bitsandbytes, 8 bits"),
        ({"load_in_4bit": True}, "bitsandbytes, 4 bits"),
        ({"quant_method": "mxfp4"}, "mxfp4"),
        ({"quant_method": "hqq"}, "hqq"),
        ({**COMPRESSED, "format": "pack-quantized"}, "compressed-tensors, pack-quantized"),
        (
            {**COMPRESSED, "config_groups": {"group_0": {"weights": {**SCHEME, "type": "int"}}}},
            "compressed-tensors, float-quantized",
        ),
        ({"something": 1}, "an unknown method"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_methods_are_refused_by_name(tmp_path, settings, said):
    folder = make.llama(tmp_path / "m")
    write(folder, stored(folder), quantization_config=settings)
    with pytest.raises(UserError) as error:
        models.load(str(folder))
    assert str(error.value).startswith(f"these weights are quantized ({said}), which is not implemented: ")
    assert "unquantized" in str(error.value)
    assert "\n" not in str(error.value)


def test_mlx_is_refused_by_name(tmp_path):
    folder = make.llama(tmp_path / "m")
    write(folder, stored(folder), quantization={"group_size": 64, "bits": 4})
    with pytest.raises(UserError, match=r"quantized \(mlx, 4 bits\)"):
        models.load(str(folder))


def test_an_empty_quantization_config_is_none(tmp_path):
    folder = make.llama(tmp_path / "m")
    models.load(write(folder, stored(folder), quantization_config=None))


@pytest.mark.parametrize("name", ["gpt_neox", "qwen2"])
def test_float8_of_other_families(tmp_path, name):
    """A fused tensor is dequantized before it is taken apart."""
    saved(tmp_path / "m", *FAMILIES[name])
    tensors, expected = {}, {}
    for key, tensor in stored(tmp_path / "m").items():
        tensors[key] = expected[key] = tensor
        if tensor.ndim == 2 and "embed" not in key:
            tensors[key] = tensor.to(torch.float8_e4m3fn)
            tensors[f"{key}_scale"] = torch.rand(len(tensor), 1) + 0.5
            expected[key] = tensors[key].float() * tensors[f"{key}_scale"]
    found = models.load(write(tmp_path / "m", tensors, quantization_config=COMPRESSED)).params
    assert_same(found, models.load(write(tmp_path / "m", expected, quantization_config=None)).params)
