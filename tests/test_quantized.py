"""Weights under adapters in fewer bits: what they stand for, and that everything else is as on those very values."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from tests import tiny as make
from tests.test_language_model import TEXTS
from tests.test_models_parity import FAMILIES, saved
from tests.test_restore import DPO, LABELS, PAIRS, reader
from tests.test_restore import learner as small_learner
from w2s_jax import losses, models
from w2s_jax.models import params as parameter_sets
from w2s_jax.models import quantized, weights
from w2s_jax.models.layers import Lora
from w2s_jax.plan import lowering
from w2s_jax.runtime import sharding
from w2s_jax.runtime.errors import UserError
from w2s_jax.stages.base import learner_identity
from w2s_jax.train import generative
from w2s_jax.train.finetune import finetune
from w2s_jax.train.outputs import HeadOutput
from w2s_jax.train.restore import restore

SHAPES = [((3, 128, 4, 16), 1), ((3, 4, 16, 128), 2), ((100, 30), 0), ((62, 8), 0)]
BITS = {"int8": 8, "nf4": 4}


def learner(folder, base, **changes):
    return small_learner(folder, parameters="lora", lora_base=base, generative=None, **changes)


def train(student, start, mesh=None):
    data = (TEXTS if student.preference is None else PAIRS), LABELS
    loss = losses.bind(losses.cross_entropy)
    splits = {"train": data, "validation": data, "predict": {"test": data[0]}}
    return finetune(student, start, loss, seed=0, mesh=mesh, answers=("bad", "good"), **splits)


def test_the_levels_are_quantiles_of_the_normal_distribution():
    """QLoRA's appendix: seven below zero, zero, and eight above, evenly spaced in probability, over the largest."""
    outer = 0.5 * (1 - 1 / 32 + 1 - 1 / 30)
    above = stats.norm.ppf(np.linspace(outer, 0.5, 9)[:-1])
    below = -stats.norm.ppf(np.linspace(outer, 0.5, 8)[:-1])
    levels = np.sort(np.concatenate([above, [0.0], below])) / above.max()
    np.testing.assert_allclose(quantized.NF4, levels, atol=2e-6)


@pytest.mark.parametrize(("shape", "axis"), SHAPES)
@pytest.mark.parametrize("base", BITS)
def test_each_weight_is_the_nearest_level_of_its_block(shape, axis, base):
    kernel = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    kernel[(0,) * len(shape)] = 0
    codes, scales = quantized.encode(jnp.asarray(kernel), base, axis)
    found = np.moveaxis(np.asarray(quantized.decode(codes, scales, axis, jnp.float32)), axis, 0)
    block = math.gcd(shape[axis], quantized.BLOCK)
    assert codes.nbytes * 8 == kernel.size * BITS[base]
    assert scales.size * block == kernel.size
    levels = np.arange(-127, 128) / 127 if base == "int8" else np.asarray(quantized.NF4)
    blocks = np.moveaxis(kernel, axis, 0).reshape(-1, block, kernel.size // shape[axis])
    largest = np.abs(blocks).max(1, keepdims=True)
    nearest = levels[np.abs(blocks[..., None] / largest[..., None] - levels).argmin(-1)] * largest
    np.testing.assert_allclose(found.reshape(nearest.shape), nearest, rtol=1e-6, atol=1e-7)


def test_blocks_of_zeros_stay_zeros_and_an_odd_axis_is_refused():
    for base in BITS:
        made = quantized.encode(jnp.zeros((64, 2)), base, 0)
        np.testing.assert_array_equal(quantized.decode(*made, 0, jnp.float32), np.zeros((64, 2)))
    with pytest.raises(UserError, match=r"lora_base='nf4' keeps two weights in a byte.*is odd: choose 'int8'"):
        quantized.shapes("nf4", (63, 2), 0)


@pytest.mark.parametrize(
    ("base", "ways"),
    [
        ("nf4", (2, 2, 2)),
        pytest.param("bfloat16", None, marks=pytest.mark.slow),
        pytest.param("int8", None, marks=pytest.mark.slow),
        pytest.param("nf4", None, marks=pytest.mark.slow),
        pytest.param("int8", (2, 2, 2), marks=pytest.mark.slow),
    ],
)
@pytest.mark.slow
def test_adapters_learn_what_they_learn_on_the_rounded_weights_in_float32(tmp_path, base, ways):
    student, mesh = learner(make.untied(tmp_path / "m"), base), ways and sharding.make_mesh(*ways)
    start = models.load_sharded(student.model, mesh, base=base)
    plain = models.load(student.model)
    rounded = dataclasses.replace(plain, params=models.rounded(plain, base))
    moved = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), dict(plain.params), dict(rounded.params))
    assert moved["layers"]["mlp"]["up"]["kernel"] > 1e-5
    assert moved["final_norm"]["scale"] == 0
    found = train(student, start, mesh)
    expected = train(dataclasses.replace(student, lora_base="float32"), rounded)
    tolerance = {"rtol": 1e-5, "atol": 1e-6} if mesh is None else {"rtol": 2e-3, "atol": 2e-4}
    np.testing.assert_allclose(found.history.losses, expected.history.losses, **tolerance)
    np.testing.assert_allclose(found.logits["test"], expected.logits["test"], **tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("ways", [None, (2, 2, 2)])
def test_no_kernel_is_kept_as_float32(tmp_path, ways):
    source, mesh = str(make.untied(tmp_path / "m")), ways and sharding.make_mesh(*ways)
    for base, kind in {"bfloat16": jnp.bfloat16, "int8": jnp.int8, "nf4": jnp.uint8}.items():
        student = learner(source, base)
        module = HeadOutput().module(student, models.outline(source)[0], 2, 1)
        loaded = models.load_sharded(source, mesh, base=base)
        for start in (loaded, models.load(source)):  # what is kept so already, and what is not yet
            params = models.with_pretrained(module, start, rng=jax.random.key(0), mesh=mesh)
            shapes = models.placed_shapes(module, mesh)
            same = jax.tree.map(lambda a, b: (a.shape, a.dtype) == (b.shape, b.dtype), params, shapes)
            assert all(jax.tree.leaves(same))
            if mesh is not None:
                lies = jax.tree.map(lambda a, b: a.sharding.is_equivalent_to(b.sharding, a.ndim), params, shapes)
                assert all(jax.tree.leaves(lies))
        frozen = parameter_sets.partition(params, parameter_sets.TRAINABLE["lora"])[1]
        wide = {
            parameter_sets.path_of(keys).rpartition("/")[2]
            for keys, leaf in jax.tree_util.tree_leaves_with_path(frozen)
            if leaf.dtype == jnp.float32
        }
        assert wide <= {"scale", "bias", "scales"}
        kernel = params["backbone"]["layers"]["attention"]["output"]
        assert (kernel["kernel"] if base == "bfloat16" else kernel["codes"]).dtype == kind


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"output": "text"}, {"preference": DPO}, {"remat": "dots"}], ids=str)
def test_whatever_the_model_gives_for_an_example(tmp_path, changes):
    base = "nf4"
    student = learner(make.untied(tmp_path / "m"), base, **changes)
    plain = models.load(student.model)
    rounded = dataclasses.replace(plain, params=models.rounded(plain, base))
    found = train(student, models.load_sharded(student.model, None, base=base))
    expected = train(dataclasses.replace(student, lora_base="float32"), rounded)
    if student.preference is None and student.output == "head":
        np.testing.assert_allclose(found.history.losses, expected.history.losses, rtol=1e-5)
    else:  # their language-model head is kept as bfloat16 too
        np.testing.assert_allclose(found.history.losses, expected.history.losses, rtol=2e-3)


@pytest.mark.slow
def test_the_experts_of_a_mixture(tmp_path):
    saved(tmp_path, *FAMILIES["qwen3_moe"])
    student, plain = learner(tmp_path, "nf4"), models.load(str(tmp_path))
    rounded = dataclasses.replace(plain, params=models.rounded(plain, "nf4"))
    apart = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), dict(plain.params), dict(rounded.params))["layers"]
    assert apart["mlp"]["up"]["kernel"] > 1e-3
    assert apart["mlp"]["router"]["kernel"] == 0, "which expert is chosen must not move"
    data = ["12 3 4", "7 8", "9 10 11 12 13", "1"] * 2, LABELS[[0, 1, 2, 3] * 2]
    how = {"train": data, "validation": data, "predict": {"test": data[0]}, "seed": 0}
    found, expected = (
        finetune(who, start, losses.bind(losses.cross_entropy), **how)
        for who, start in (
            (student, models.load_sharded(student.model, None, base="nf4")),
            (dataclasses.replace(student, lora_base="float32"), rounded),
        )
    )
    np.testing.assert_allclose(found.history.losses, expected.history.losses, rtol=1e-5)
    np.testing.assert_allclose(found.logits["test"], expected.logits["test"], rtol=1e-4, atol=1e-5)


def test_later_stages_start_from_adapters_on_the_rounded_weights(tmp_path):
    student = learner(make.untied(tmp_path / "m"), "nf4")
    params = train(student, models.load(student.model)).params
    found = restore(
        student, reader(tmp_path / "saved", params), lambda: models.load_sharded(student.model, None, base="nf4")
    )
    whole = parameter_sets.combine(models.rounded(models.load(student.model), "nf4"), params["backbone"])
    merged = parameter_sets.merge_lora(whole, Lora(student.lora_rank).scale)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), dict(found.params), merged)


def test_generative_finetuning_gives_a_whole_backbone_in_float32(tmp_path):
    student = dataclasses.replace(learner(make.llama(tmp_path / "m"), "int8"), generative=small_learner("m").generative)
    adapted = generative.adapt(student, models.load_sharded(student.model, None, base="int8"), TEXTS, seed=0)
    rounded = models.rounded(models.load(student.model), "int8")
    apart = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), dict(adapted.params["backbone"]), dict(rounded))
    assert apart["embed"]["embedding"] == 0
    assert 0 < apart["layers"]["mlp"]["up"]["kernel"] < 0.1


def test_what_the_backward_pass_keeps_is_no_decoded_kernel(tmp_path):
    """With them it would hold the model in 16 bits after all."""
    config = models.outline(str(make.llama(tmp_path / "m", layers=8, width=64)))[0]
    sizes = weights.shapes(config).items()
    kernels = sum(math.prod(shape) for path, shape in sizes if path.endswith("kernel"))
    held, loss = {}, losses.bind(losses.cross_entropy)
    for base in ("bfloat16", "nf4"):
        student = learner(tmp_path / "m", base, dtype="bfloat16", max_tokens=4)
        setting = lowering.Setting("train", student, config, 2, 1, loss)
        made = lowering.lower(setting, sharding.make_mesh(devices=jax.devices()[:1]))
        memory = made.traced.lower().compile().memory_analysis()
        held[base] = made.parameters, memory.temp_size_in_bytes
    (wide, _), (narrow, temporary) = held["bfloat16"], held["nf4"]
    assert wide - narrow == pytest.approx(kernels * (16 - 4.5) / 8, rel=0.02)  # heads are shorter than a block
    assert held["bfloat16"][1] - temporary > 2 * kernels, "a CPU's products read float32, which is made for all layers"


def test_it_is_part_of_a_stages_identity_and_only_with_adapters(tmp_path):
    source = make.llama(tmp_path / "m")
    assert "lora_base" not in learner_identity(learner(source, "float32"))
    assert learner_identity(learner(source, "nf4"))["lora_base"] == "nf4"
    with pytest.raises(UserError, match="lora_base='nf4' is of weights under adapters: it needs parameters='lora'"):
        small_learner(source, lora_base="nf4")
    with pytest.raises(UserError, match="lora_base 'fp4'"):
        learner(source, "fp4")
