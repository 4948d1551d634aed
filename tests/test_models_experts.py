"""Mixtures of experts: their files, their gradients against torch, and experts that are sharded over devices."""

import dataclasses
import functools
import itertools
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests import tiny as make
from tests.test_models_parity import (
    FAMILIES,
    LENGTHS,
    QWEN3_MOE,
    assert_close,
    our_states,
    pooled,
    saved,
    tokens,
    torch,
    torch_states,
)
from w2s_jax import models
from w2s_jax.models import families, grouped
from w2s_jax.models.classifier import Classifier
from w2s_jax.models.config import Experts, ModelConfig, Rope
from w2s_jax.models.experts import route
from w2s_jax.models.layers import Lora
from w2s_jax.runtime import sharding
from w2s_jax.runtime.errors import UserError

MIXTRAL = FAMILIES["mixtral"][1]
SHAPES = {
    "not renormalized": ("qwen3_moe", {**QWEN3_MOE, "num_experts": 5, "num_experts_per_tok": 3}),
    "all experts": ("qwen3_moe", {**QWEN3_MOE, "num_experts": 3, "num_experts_per_tok": 3, "norm_topk_prob": True}),
    "one of them, a window": ("mixtral", {**MIXTRAL, "num_experts_per_tok": 1, "sliding_window": 3}),
    "many": ("mixtral", {**MIXTRAL, "num_local_experts": 40, "num_experts_per_tok": 6}),
}
BOTH = ["qwen3_moe", "mixtral"]


@pytest.mark.parametrize("name", ["not renormalized", "one of them, a window", *make.slow("all experts", "many")])
def test_other_shapes_equal_transformers(tmp_path, name):
    twin = saved(tmp_path, *SHAPES[name])
    ids = tokens(50, LENGTHS)
    states = pooled(torch_states(twin, ids, LENGTHS), LENGTHS, "mean")
    assert_close(our_states(models.load(str(tmp_path)), ids, LENGTHS, "mean", (1, 2, 3)), states)


@pytest.mark.parametrize("name", BOTH)
def test_gradients_are_those_of_torch(tmp_path, name):
    """Of embeddings, router, experts and attention, through logits of every real token."""
    twin = saved(tmp_path, *FAMILIES[name], head=True)
    ids, real = tokens(50, LENGTHS), np.arange(max(LENGTHS)) < LENGTHS[:, None]
    logits = twin(torch.tensor(ids).long(), attention_mask=torch.tensor(real).long()).logits
    torch.sin(logits[torch.tensor(real)]).sum().backward()
    module, params = models.build_language_model(models.load(str(tmp_path)), rng=jax.random.key(0))

    @jax.jit
    @jax.grad
    def gradient(params):
        return jnp.sum(jnp.sin(module.apply({"params": params}, ids, LENGTHS)), where=real[..., None])

    ours = gradient(params)["backbone"]
    layers = ours["layers"]
    assert_close(
        np.asarray(ours["embed"]["embedding"])[np.unique(ids[real])],
        twin.model.embed_tokens.weight.grad.numpy()[np.unique(ids[real])],
        1e-3,
    )
    for i, layer in enumerate(twin.model.layers):
        gate, up = np.split(layer.mlp.experts.gate_up_proj.grad.numpy(), 2, axis=1)
        pairs = {
            "gate": gate.swapaxes(1, 2),
            "up": up.swapaxes(1, 2),
            "down": layer.mlp.experts.down_proj.grad.numpy().swapaxes(1, 2),
            "router": layer.mlp.gate.weight.grad.numpy().T,
        }
        for part, theirs in pairs.items():
            found = np.asarray(layers["mlp"][part]["kernel"][i])
            np.testing.assert_allclose(found, theirs, rtol=1e-3, atol=1e-4 * np.abs(theirs).max())
        query = layer.self_attn.q_proj.weight.grad.numpy().T
        found = np.asarray(layers["attention"]["query"]["kernel"][i]).reshape(query.shape)
        np.testing.assert_allclose(found, query, rtol=1e-3, atol=1e-4 * np.abs(query).max())


def test_experts_lie_one_by_one_under_the_hubs_names(tmp_path):
    """As the published checkpoints of both families have them, and as transformers still writes them."""
    for name, block, parts in (
        ("qwen3_moe", "mlp", ("gate_proj", "up_proj", "down_proj")),
        ("mixtral", "block_sparse_moe", ("w1", "w3", "w2")),
    ):
        saved(tmp_path / name, *FAMILIES[name])
        stored = load_file(tmp_path / name / "model.safetensors")
        params = models.load(str(tmp_path / name)).params["layers"]["mlp"]
        for ours, theirs in zip(("gate", "up", "down"), parts, strict=True):
            found = stored[f"layers.1.{block}.experts.3.{theirs}.weight"]
            np.testing.assert_array_equal(params[ours]["kernel"][1, 3], found.T)
        np.testing.assert_array_equal(params["router"]["kernel"][2], stored[f"layers.2.{block}.gate.weight"].T)


def hub_config(**changes):
    """Of Qwen3-30B-A3B, as transformers 4 wrote it."""
    return {
        "model_type": "qwen3_moe",
        "attention_bias": False,
        "decoder_sparse_step": 1,
        "head_dim": 128,
        "hidden_act": "silu",
        "hidden_size": 2048,
        "intermediate_size": 6144,
        "max_position_embeddings": 40960,
        "max_window_layers": 48,
        "mlp_only_layers": [],
        "moe_intermediate_size": 768,
        "norm_topk_prob": True,
        "num_attention_heads": 32,
        "num_experts": 128,
        "num_experts_per_tok": 8,
        "num_hidden_layers": 48,
        "num_key_value_heads": 4,
        "output_router_logits": False,
        "rms_norm_eps": 1e-6,
        "rope_scaling": None,
        "rope_theta": 1000000.0,
        "router_aux_loss_coef": 0.001,
        "sliding_window": None,
        "tie_word_embeddings": False,
        "use_sliding_window": False,
        "vocab_size": 151936,
        **changes,
    }


def test_the_published_config_is_read():
    config = families.from_hf(hub_config())
    assert config.experts == Experts(128, 8, renormalized=True)
    assert (config.mlp_size, config.qk_norm, config.sliding_window) == (768, True, None)
    assert families.from_hf(families.to_hf(config)) == config


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mlp_only_layers": [0]}, r"layers without experts \(mlp_only_layers, decoder_sparse_step\) are not"),
        ({"decoder_sparse_step": 2}, r"layers without experts \(mlp_only_layers, decoder_sparse_step\) are not"),
        ({"output_router_logits": True}, "output_router_logits=True is not implemented for qwen3_moe, only False"),
        ({"use_sliding_window": True}, "use_sliding_window is not implemented for qwen3_moe"),
        ({"num_experts_per_tok": 129}, "a token goes through 1 to 128 of 128 experts, not 129"),
        ({"model_type": "mixtral", "num_local_experts": 8, "router_jitter_noise": 0.1}, "router_jitter_noise=0.1"),
    ],
)
def test_what_is_not_implemented_is_refused(changes, said):
    with pytest.raises(UserError, match=said):
        families.from_hf(hub_config(**changes))


def test_adapters_go_to_attention_alone(tmp_path):
    saved(tmp_path, *FAMILIES["mixtral"])
    _, params = models.build_classifier(models.load(str(tmp_path)), 2, rng=jax.random.key(0), lora=Lora(2))
    layers = params["backbone"]["layers"]
    assert all("lora_a" in layers["attention"][part] for part in ("query", "key", "value", "output"))
    assert all(set(layers["mlp"][part]) == {"kernel"} for part in ("router", "gate", "up", "down"))


def test_weights_of_a_tokens_experts():
    logits = jnp.log(jnp.array([[[0.1, 0.5, 0.15, 0.25]]]))
    weights, chosen = route(logits, Experts(4, 2, renormalized=False))
    np.testing.assert_array_equal(chosen, [[[1, 3]]])
    np.testing.assert_allclose(weights, [[[0.5, 0.25]]], rtol=1e-6)
    np.testing.assert_allclose(route(logits, Experts(4, 2))[0], [[[2 / 3, 1 / 3]]], rtol=1e-6)


CONFIG = ModelConfig("mixtral", 37, 16, 2, 4, 2, 8, 24, 16, rope=Rope(), experts=Experts(8, 2))
MODULE = Classifier(CONFIG)
ROWS = np.random.default_rng(0).integers(0, 37, (16, 12)).astype(np.int32)
REAL = np.random.default_rng(1).integers(1, 13, 16).astype(np.int32)


@functools.cache
def parameters(module=MODULE):
    rng = np.random.default_rng(2)
    shapes = nn.unbox(models.boxed_shapes(module))
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0, 0.3, leaf.shape), jnp.float32), shapes)


def compiled(mesh=None, module=MODULE):
    """Value and gradient on the mesh, and the program."""

    def loss(params, ids, lengths):
        logits = module.apply({"params": params}, ids, lengths).astype(jnp.float32)
        return jnp.sum(jnp.sin(logits)), logits

    params, batch = parameters(module), (ROWS, REAL)
    if mesh is not None:
        params = sharding.place(params, models.shardings(module, mesh))
        batch = sharding.place_batch(batch, mesh)
    with sharding.activate(mesh):
        program = jax.jit(jax.value_and_grad(loss, has_aux=True)).lower(params, *batch).compile()
        (_, logits), gradient = program(params, *batch)
    return logits, gradient, program.as_text(), params


@pytest.fixture(scope="module")
def alone():
    return compiled()


def kernels_in(text, experts):
    """Matrices of so many experts, in one layer or all, anywhere in a program."""
    return re.findall(rf"\[(?:2,|1,)?{experts},(?:16,24|24,16)\]", text)


@pytest.mark.parametrize(
    "sizes",
    [
        {"expert": 8},
        {"data": 2, "tensor": 2, "expert": 2},
        *make.slow({"fsdp": 2, "expert": 4}, {"data": 2, "fsdp": 2, "expert": 2}, {"tensor": 8}),
        *make.slow({"fsdp": 2, "tensor": 2, "expert": 2}, {"data": 8}),
    ],
    ids=str,
)
def test_sharded_experts_compute_what_one_device_does(sizes, alone):
    mesh = sharding.make_mesh(**{"data": 1, **sizes})
    logits, gradient, text, params = compiled(mesh)
    np.testing.assert_allclose(logits, alone[0], rtol=1e-4, atol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), gradient, alone[1])
    ways = sizes.get("expert", 1)
    kernel = params["backbone"]["layers"]["mlp"]["up"]["kernel"]
    assert kernel.addressable_shards[0].data.shape[1] == 8 // ways
    if ways > 1:  # not even for a moment is there a device that holds the matrices of all experts
        assert not kernels_in(text, 8)


def test_the_program_of_one_device_has_all_experts(alone):
    """So that it means something that the sharded ones have not."""
    assert kernels_in(alone[2], 8)


def test_along_the_axis_tokens_travel_and_no_matrix_does():
    text = compiled(sharding.make_mesh(1, expert=8))[2]
    gathered = re.findall(r"= \w+\[([\d,]+)\]\S* all-gather\(", text)
    assert gathered
    assert {shape.split(",")[:2] == ["16", "12"] for shape in gathered} == {True}, "rows and tokens"


def test_a_batch_that_the_devices_do_not_divide_is_computed_by_all():
    """As where one row is read that all others begin with."""
    mesh = sharding.make_mesh(2, expert=4)
    params = sharding.place(parameters(), models.shardings(MODULE, mesh))
    expected = make.applied(MODULE)({"params": parameters()}, ROWS[:3], REAL[:3])
    with sharding.activate(mesh):
        found = jax.jit(MODULE.apply)({"params": params}, ROWS[:3], REAL[:3])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_experts_that_the_axis_does_not_divide_stay_whole():
    module = Classifier(dataclasses.replace(CONFIG, experts=Experts(6, 2)))
    mesh = sharding.make_mesh(2, expert=4)
    params = sharding.place(parameters(module), models.shardings(module, mesh))
    assert params["backbone"]["layers"]["mlp"]["up"]["kernel"].sharding.is_fully_replicated
    expected = make.applied(module)({"params": parameters(module)}, ROWS, REAL)
    with sharding.activate(mesh):
        found = jax.jit(module.apply)({"params": params}, ROWS, REAL)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_sharded_in_bfloat16_and_rematerialized():
    """Every token through all experts: rounding decides between two that are almost equally good."""
    config = dataclasses.replace(CONFIG, experts=Experts(8, 8))
    module = Classifier(config, dtype="bfloat16", remat="dots")
    logits, gradient, *_ = compiled(sharding.make_mesh(2, tensor=2, expert=2), module)
    expected, expected_gradient, *_ = compiled(None, module)
    np.testing.assert_allclose(logits, expected, rtol=0.1, atol=0.1)

    def close(a, b):
        assert np.linalg.norm(a - b) <= 0.1 * np.linalg.norm(b) + 1e-6

    jax.tree.map(close, gradient, expected_gradient)


@pytest.mark.parametrize("name", BOTH)
def test_loaded_onto_a_mesh_each_device_reads_its_own_experts(tmp_path, name):
    saved(tmp_path, *FAMILIES[name])
    whole = models.load(str(tmp_path))
    found = models.load_sharded(str(tmp_path), sharding.make_mesh(2, tensor=2, expert=2))
    jax.tree.map(np.testing.assert_array_equal, dict(found.params), dict(whole.params))
    kernel = found.params["layers"]["mlp"]["gate"]["kernel"]
    layers, experts, width, size = kernel.shape
    assert kernel.addressable_shards[0].data.shape == (layers, experts // 2, width, size // 2)


def test_a_missing_expert_is_named(tmp_path):
    saved(tmp_path, *FAMILIES["mixtral"])
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["layers.1.block_sparse_moe.experts.2.w3.weight"]
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"missing layers\.1\.block_sparse_moe\.experts\.2\.w3\.weight$"):
        models.load(str(tmp_path))


@pytest.mark.parametrize("block", [4, 8, 512])
@pytest.mark.parametrize("sizes", [[5, 0, 7, 3], [0, 0, 15, 0], [4, 4, 4, 4], [0, 0, 0, 0], [0, 3, 0, 9]], ids=str)
def test_the_gradient_of_matrices_is_of_their_own_rows(monkeypatch, sizes, block):
    """Wherever groups end in blocks, and whatever rows after them hold."""
    monkeypatch.setattr(grouped, "BLOCK", block)
    rng = np.random.default_rng(0)
    left, right = (rng.normal(size=(17, width)).astype(np.float32) for width in (3, 5))
    left[sum(sizes) :] = right[sum(sizes) :] = np.nan
    found = grouped.outer(jnp.asarray(left), jnp.asarray(right), jnp.zeros((4, 3, 5)), jnp.array(sizes))
    ends = np.cumsum([0, *sizes])
    expected = [left[start:end].T @ right[start:end] for start, end in itertools.pairwise(ends)]
    np.testing.assert_allclose(found, expected, atol=1e-5)
