"""Every implementation of attention gives the same numbers, and each is chosen where it can run."""

import dataclasses
import functools
import importlib
import io
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.sharding import AbstractDevice, AbstractMesh, AxisType
from rich.console import Console

from w2s_jax.models import attention
from w2s_jax.models.attention import Form, Target, choose
from w2s_jax.models.classifier import Classifier
from w2s_jax.models.config import ModelConfig, Rope
from w2s_jax.models.decoder import causal_mask
from w2s_jax.models.encoder import padding_mask
from w2s_jax.runtime import sharding
from w2s_jax.runtime.progress import Reporter

BATCH, LENGTH, HEADS, GROUPS, HEAD_DIM = 3, 200, 4, 2, 64
LENGTHS = np.array([LENGTH, 77, 1], np.int32)
REAL = np.arange(LENGTH) < LENGTHS[:, None]
FORMS = {
    "causal": Form(0.125),
    "window": Form(0.125, window=50),
    "softcap": Form(0.3, softcap=2.0),
    "window and softcap": Form(0.3, window=50, softcap=2.0),
    "bidirectional": Form(0.125, causal=False),
    "window to both sides": Form(0.125, causal=False, window=50),
}
OF_CUDNN = ["causal", "window", "bidirectional"]
SIZES = {"vocab_size": 50, "hidden_size": 32, "n_heads": 4, "head_dim": 16, "mlp_size": 48, "max_positions": 64}
MODELS = {
    "gemma": ModelConfig(
        family="gemma2",
        n_layers=3,
        n_kv_heads=2,
        rope=Rope(),
        window_rope=Rope(),
        attention_softcap=50.0,
        sliding_window=5,
        windowed=(True, False, True),
        **SIZES,
    ),
    "bert": ModelConfig(family="bert", n_layers=2, n_kv_heads=4, norm="layer", token_types=2, causal=False, **SIZES),
    "modernbert": ModelConfig(
        family="modernbert",
        n_layers=3,
        n_kv_heads=4,
        norm="unbiased",
        rope=Rope(),
        window_rope=Rope(100.0),
        sliding_window=5,
        windowed=(False, True, True),
        causal=False,
        norm_first=True,
        first_norm=False,
        **SIZES,
    ),
}
TPU = AbstractMesh(
    (1,),
    ("data",),
    (AxisType.Auto,),
    abstract_device=AbstractDevice(device_kind="TPU v5 lite", num_cores=1, platform="tpu"),
)
splash = functools.partial(attention.splash, interpret=True)
cudnn = functools.partial(attention.cudnn, implementation="xla")


def arrays(groups=GROUPS, seed=0):
    keys = jax.random.split(jax.random.key(seed), 3)
    shapes = (BATCH, LENGTH, HEADS, HEAD_DIM), *[(BATCH, LENGTH, groups, HEAD_DIM)] * 2
    return tuple(jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True))


def mask_of(form):
    places = jnp.arange(LENGTH)[None]
    if form.causal:
        return causal_mask(places, places, form.window)
    near = jnp.abs(places.T - places) < (form.window or LENGTH)
    return padding_mask(jnp.asarray(LENGTHS), LENGTH) & near


def value_and_gradients(attend, inputs):
    """Of real positions, and of a sum in which each counts differently. Padding that sees no token may be anything."""

    def total(query, key, value):
        mixed = attend(query, key, value) * REAL[:, :, None, None]
        return jnp.sum(mixed * jax.random.normal(jax.random.key(9), mixed.shape)), mixed

    (_, mixed), gradients = jax.jit(jax.value_and_grad(total, (0, 1, 2), has_aux=True))(*inputs)
    return mixed, *gradients


def by_xla(form):
    return lambda query, key, value: attention.xla(query, key, value, mask_of(form), form)


def assert_equal(found, expected):
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-5, rtol=2e-5)


def test_xla_is_the_formula():
    query, key, value = (np.asarray(x, np.float64) for x in arrays())
    found = attention.xla(*arrays(), mask_of(FORMS["window and softcap"]), FORMS["window and softcap"])
    for b, h, t in [(0, 0, 0), (0, 1, 199), (1, 2, 60), (2, 3, 10)]:
        seen = slice(max(0, t - 49), t + 1)
        scores = 2 * np.tanh(0.3 * key[b, seen, h // 2] @ query[b, t, h] / 2)
        weights = np.exp(scores) / np.exp(scores).sum()
        np.testing.assert_allclose(found[b, t, h], weights @ value[b, seen, h // 2], atol=1e-5)


@pytest.mark.parametrize("groups", [1, GROUPS])
@pytest.mark.parametrize("name", FORMS)
def test_splash_equals_xla(name, groups):
    form, inputs = FORMS[name], arrays(groups)
    found = value_and_gradients(lambda *x: splash(*x, jnp.asarray(LENGTHS), form), inputs)
    assert_equal(found, value_and_gradients(by_xla(form), inputs))


@pytest.mark.parametrize("name", [name for name in FORMS if "softcap" not in name])
def test_cudnn_is_asked_for_what_xla_computes(name):
    """JAX computes the same arguments on any device."""
    form, inputs = FORMS[name], arrays()
    found = value_and_gradients(lambda *x: cudnn(*x, jnp.asarray(LENGTHS), form), inputs)
    assert_equal(found, value_and_gradients(by_xla(form), inputs))


@pytest.mark.skipif(attention.target().capability < 8, reason="needs an NVIDIA GPU of Ampere or later")
@pytest.mark.parametrize("name", OF_CUDNN)
def test_cudnn_equals_xla(name):
    form, inputs = FORMS[name], tuple(x.astype(jnp.bfloat16) for x in arrays())
    found = value_and_gradients(lambda *x: attention.cudnn(*x, jnp.asarray(LENGTHS), form), inputs)
    for mine, theirs in zip(found, value_and_gradients(by_xla(form), inputs), strict=True):
        np.testing.assert_allclose(np.float32(mine), np.float32(theirs), atol=0.05, rtol=0.05)


@pytest.mark.parametrize("name", OF_CUDNN)
def test_cudnn_is_lowered_for_gpus(monkeypatch, name):
    """From a machine that has none: JAX accepts shapes and layouts, and calls the kernels of both passes."""
    kernels = importlib.import_module("jax._src.cudnn.fused_attention_stablehlo")
    monkeypatch.setattr(kernels, "check_cudnn_version", lambda *_: 91300)
    monkeypatch.setattr(kernels, "check_compute_capability", lambda *_: True)
    monkeypatch.setattr(kernels, "is_cuda_compute_capability_equal", lambda *_: False, raising=False)
    query, key, value = (jax.ShapeDtypeStruct((2, 1024, heads, 64), jnp.bfloat16) for heads in (8, 2, 2))
    lengths = jax.ShapeDtypeStruct((2,), jnp.int32)

    def loss(query, key, value, lengths):
        return jnp.sum(attention.cudnn(query, key, value, lengths, FORMS[name]).astype(jnp.float32))

    traced = jax.jit(jax.grad(loss, (0, 1, 2))).trace(query, key, value, lengths)
    text = traced.lower(lowering_platforms=("cuda",)).as_text()
    assert set(re.findall(r"__cudnn\$(\w+)", text)) == {"fmhaSoftmax", "fmhaSoftmaxBackward"}


@pytest.mark.parametrize("attend", [splash, cudnn])
@pytest.mark.parametrize("name", ["causal", "bidirectional"])
def test_neither_padding_nor_other_rows_change_a_row(attend, name):
    padding, others = arrays(seed=1), arrays(seed=2)
    inputs = arrays()
    changed = []
    for mine, pad, other in zip(inputs, padding, others, strict=True):
        row = jnp.where(REAL[1, :, None, None], mine[1], pad[1])
        changed.append(other.at[1].set(row))
    run = jax.jit(functools.partial(attend, lengths=jnp.asarray(LENGTHS), form=FORMS[name]))
    before, after = run(*inputs)[1], run(*changed)[1]
    np.testing.assert_array_equal(before[: LENGTHS[1]], after[: LENGTHS[1]])
    assert not np.allclose(before[LENGTHS[1] :], after[LENGTHS[1] :])  # the padding did change


@pytest.mark.parametrize("attend", [splash, cudnn])
def test_a_row_without_tokens_is_as_one_with_a_token(attend):
    """So no kernel ever sees a softmax over nothing."""

    def run(*lengths):
        lengths = jnp.asarray(lengths)
        return attention.with_windows(attend, *arrays(), lengths, FORMS["bidirectional"], None)

    np.testing.assert_array_equal(run(LENGTH, 0, 0), run(LENGTH, 1, 1))


@pytest.mark.parametrize("windowed", [0, 1])
def test_a_layer_has_the_window_or_not(windowed):
    form = FORMS["window"]
    found = jax.jit(functools.partial(attention.with_windows, splash, form=form))(
        *arrays(), lengths=jnp.asarray(LENGTHS), windowed=jnp.asarray(windowed)
    )
    seen = form if windowed else FORMS["causal"]
    np.testing.assert_allclose(found, by_xla(seen)(*arrays()), atol=2e-5)


def test_scores_with_something_added_and_windows_to_both_sides_are_told_to_the_choice(monkeypatch):
    """On a GPU neither is cuDNN's; a window that no text leaves is none."""
    monkeypatch.setattr(attention, "target", lambda: HOPPER)
    monkeypatch.setattr(attention, "cudnn", lambda query, *_, form: jnp.full_like(query, 7.0))
    inputs = tuple(x.astype(jnp.bfloat16) for x in arrays())
    bias = jax.random.normal(jax.random.key(3), (BATCH, HEADS, LENGTH, LENGTH))

    def found(name, window=50, **more):
        form = dataclasses.replace(FORMS[name], window=window)
        return attention.mix(*inputs, mask_of(form), jnp.asarray(LENGTHS), form, **more), form

    for name, window in (("bidirectional", None), ("window", 50), ("window to both sides", LENGTH)):
        assert (found(name, window)[0] == 7).all()
    for mixed, form, more in (
        (*found("window to both sides"), {}),
        (*found("bidirectional", None, bias=bias), {"bias": bias}),
    ):
        np.testing.assert_array_equal(mixed, attention.xla(*inputs, mask_of(form), form, **more))


@pytest.mark.parametrize(("groups", "tensor"), [(1, 2), (2, 4), (4, 2)])
def test_splash_on_a_mesh_equals_xla(groups, tensor):
    """Each device has its rows and heads; fewer key heads than pieces are copied."""
    mesh = sharding.make_mesh(data=2, fsdp=1, tensor=tensor, devices=jax.devices()[: 2 * tensor])
    form, inputs = FORMS["bidirectional"], tuple(x[:2] for x in arrays(groups))
    lengths, weights = jnp.asarray(LENGTHS[:2]), REAL[:2, :, None, None]

    def gradients(attend):
        return jax.jit(jax.grad(lambda *x: jnp.sum(jnp.square(attend(*x)) * weights), (0, 1, 2)))(*inputs)

    with sharding.activate(mesh):
        found = gradients(lambda *x: attention.with_windows(splash, *x, lengths, form, None))
    mask = padding_mask(lengths, LENGTH)
    assert_equal(found, gradients(lambda *x: attention.xla(*x, mask, form)))


HOPPER, AMPERE, TURING = Target("cuda", 9.0), Target("cuda", 8.6), Target("cuda", 7.5)
BF16, FP16, FP32 = jnp.bfloat16, jnp.float16, jnp.float32


@pytest.mark.parametrize(
    ("target", "dtype", "head_dim", "length", "more", "expected"),
    [
        (Target("cpu"), BF16, 64, 4096, {}, "xla"),
        (Target("rocm"), BF16, 64, 4096, {}, "xla"),
        (HOPPER, BF16, 64, 4096, {}, "cudnn"),
        (HOPPER, FP16, 256, 4096, {}, "cudnn"),
        (HOPPER, FP32, 64, 4096, {}, "xla"),
        (HOPPER, BF16, 64, 127, {}, "xla"),
        (HOPPER, BF16, 64, 128, {}, "cudnn"),
        (HOPPER, BF16, 100, 4096, {}, "xla"),
        (HOPPER, BF16, 264, 4096, {}, "xla"),
        (HOPPER, BF16, 64, 4096, {"softcap": True}, "xla"),
        (HOPPER, BF16, 64, 4096, {"dropout": True}, "xla"),
        (HOPPER, BF16, 64, 4096, {"bias": True}, "xla"),
        (HOPPER, BF16, 64, 4096, {"ahead": True}, "xla"),
        (AMPERE, BF16, 128, 4096, {}, "cudnn"),
        (AMPERE, BF16, 256, 4096, {}, "xla"),
        (TURING, FP16, 64, 4096, {}, "xla"),
        (Target("tpu"), BF16, 64, 4096, {}, "splash"),
        (Target("tpu"), BF16, 256, 4096, {"softcap": True}, "splash"),
        (Target("tpu"), BF16, 64, 512, {}, "xla"),
        (Target("tpu"), FP32, 64, 4096, {}, "xla"),
        (Target("tpu"), BF16, 64, 4096, {"dropout": True}, "xla"),
        (Target("tpu"), BF16, 64, 4096, {"bias": True}, "xla"),
        (Target("tpu"), BF16, 64, 4096, {"ahead": True}, "splash"),
    ],
)
def test_choice(target, dtype, head_dim, length, more, expected):
    assert choose(target, dtype, head_dim, length, **more) == expected
    assert choose(target, np.dtype(dtype), head_dim, length, **more) == expected


def test_the_target_is_the_mesh_that_is_set():
    """A program may be compiled for devices that are not here."""
    assert attention.target() == Target(jax.default_backend())
    with jax.sharding.use_abstract_mesh(TPU):
        assert attention.target() == Target("tpu")


@pytest.mark.parametrize(
    ("name", "remat"), [("gemma", "none"), ("gemma", "full"), ("bert", "none"), ("modernbert", "none")]
)
def test_a_whole_model_is_the_same_with_splash(monkeypatch, name, remat):
    model, tokens = Classifier(MODELS[name], remat=remat), jax.random.randint(jax.random.key(0), (3, 40), 0, 50)
    lengths = jnp.asarray([40, 17, 1])
    params = nn.unbox(jax.jit(model.init)(jax.random.key(1), tokens, lengths))
    params["params"]["head"]["kernel"] = jax.random.normal(jax.random.key(2), (32, 2))

    def run():
        gradient = jax.grad(lambda params: jnp.sum(model.apply(params, tokens, lengths) ** 2))
        return jax.tree.leaves(jax.jit(gradient)(params))

    expected = run()
    monkeypatch.setattr(attention, "choose", lambda *_, **__: "splash")
    monkeypatch.setattr(attention, "splash", splash)
    for mine, theirs in zip(run(), expected, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5 * np.abs(theirs).max(), rtol=1e-4)


def test_a_model_for_tpus_is_lowered_with_splash():
    """From a machine that has none, as `w2s plan` does."""
    model = Classifier(dataclasses.replace(MODELS["gemma"], max_positions=1024), dtype="bfloat16")
    tokens, lengths = jnp.zeros((2, 1024), jnp.int32), jnp.asarray([1024, 5])
    params = jax.eval_shape(lambda: nn.unbox(model.init(jax.random.key(1), tokens, lengths)))

    def loss(params):
        return jnp.sum(model.apply(params, tokens, lengths))

    with jax.sharding.use_abstract_mesh(TPU):
        text = jax.jit(jax.grad(loss)).trace(params).lower(lowering_platforms=("tpu",)).as_text()
    assert text.count("tpu_custom_call") == 2 * 3  # with the window and without it: one forward, two backward


def test_mix_runs_what_is_chosen_and_a_run_says_so_once(monkeypatch):
    form, lengths = FORMS["window"], jnp.asarray(LENGTHS)
    expected = by_xla(form)(*arrays())
    seen = io.StringIO()
    for implementation, stand_in in [("xla", None), ("splash", splash), ("cudnn", cudnn)]:
        monkeypatch.setattr(attention, "choose", lambda *_, name=implementation, **__: name)
        if stand_in is not None:
            monkeypatch.setattr(attention, implementation, stand_in)
        attention._log.cache_clear()
        with Reporter(Console(file=seen)).listening():
            for _ in range(2):
                found = attention.mix(*arrays(), mask_of(form), lengths, form, jnp.asarray(1))
        np.testing.assert_allclose(found, expected, atol=2e-5)
    assert [line.rpartition(" ")[2] for line in seen.getvalue().splitlines()] == ["xla", "splash", "cudnn"]
