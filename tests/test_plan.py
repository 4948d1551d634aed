"""A plan's figures: against closed forms, XLA's own count of an unrolled program, and the real compiler for TPUs."""

import dataclasses
import functools
import json
import math
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

import w2s_jax.plan as planning
from tests.tiny import llama, reviews, slow
from w2s_jax import cli, losses, models
from w2s_jax.config import Experiment, MeshConfig, Method
from w2s_jax.data.task_config import TaskConfig
from w2s_jax.data.tokens import Tokens
from w2s_jax.models import weights
from w2s_jax.models.config import Experts, ModelConfig, Relative, Rope
from w2s_jax.models.preference import Preference
from w2s_jax.plan import compilation, counting, kernels, lowering, search
from w2s_jax.plan.architectures import architecture
from w2s_jax.plan.compilation import Compiled, Request
from w2s_jax.plan.roofline import roofline
from w2s_jax.runtime import chips, sharding
from w2s_jax.runtime.errors import UserError
from w2s_jax.students import Train
from w2s_jax.supervisors import Ensemble
from w2s_jax.train import answering, finetune, generative, outputs, prepare
from w2s_jax.train import step as train_step
from w2s_jax.train.learner import Generative, Learner
from w2s_jax.train.loop import LoopSettings

LAYERS, ROWS, WIDTH = 6, 32, 64


def layers(unroll, count=LAYERS):
    def run(kernels, x):
        return jax.lax.scan(lambda x, kernel: (jnp.tanh(x @ kernel), None), x, kernels, unroll=unroll)[0].sum()

    shapes = jax.ShapeDtypeStruct((count, WIDTH, WIDTH), jnp.float32), jax.ShapeDtypeStruct((ROWS, WIDTH), jnp.float32)
    return jax.jit(jax.grad(run, argnums=(0, 1))).lower(*shapes).compile()


def test_flops_of_a_loop_are_those_of_the_unrolled_program():
    scanned = counting.costs(layers(1).as_text(), 1)
    assert scanned.flops == 3 * LAYERS * 2 * ROWS * WIDTH * WIDTH
    unrolled = layers(LAYERS)
    assert counting.costs(unrolled.as_text(), 1).flops == scanned.flops
    assert unrolled.cost_analysis()["flops"] == pytest.approx(scanned.flops, rel=0.05)  # it counts tanh too


def test_a_loop_reads_one_layer_at_a_time():
    few, many = (counting.costs(layers(1, count).as_text(), 1).bytes for count in (LAYERS, 4 * LAYERS))
    assert few > 3 * 4 * LAYERS * WIDTH * WIDTH  # every kernel is read forward and back, its gradient is written
    assert many == pytest.approx(4 * few, rel=0.02)  # a whole stack a layer would be 16 times as much


BATCHED = """HloModule batched
ENTRY %main (q: bf16[8,12,512,64], k: bf16[8,12,512,64]) -> bf16[8,12,512,512] {
  %q = bf16[8,12,512,64]{3,2,1,0:T(8,128)(2,1)} parameter(0)
  %k = bf16[8,12,512,64]{3,2,1,0:T(8,128)(2,1)S(1)} parameter(1)
  ROOT %c = bf16[8,12,512,512]{3,2,1,0:T(8,128)(2,1)} convolution(%q, %k), WINDOW, dim_labels=01bf_01oi->01bf
}
"""
DILATED = "window={size=8x12 stride=7x11 lhs_dilate=8x12}"
PADDED = "window={size=8x12 stride=8x12 pad=7_7x11_11 lhs_dilate=7x11 rhs_reversal=1x1}"


@pytest.mark.parametrize("window", [DILATED, PADDED])
def test_a_tpu_batched_product_counts_each_row_once(window):
    found = counting.costs(BATCHED.replace("WINDOW", window), 1)
    assert found.flops == 2 * 8 * 12 * 512 * 512 * 64
    assert found.bytes == 2 * 8 * 12 * 512 * (64 + 512)  # k lies in the core's own memory


def test_a_library_product_on_a_gpu_counts():
    text = """ENTRY %main (a: f32[32,64], b: f32[64,16]) -> f32[32,16] {
  %a = f32[32,64]{1,0} parameter(0)
  %b = f32[64,16]{1,0} parameter(1)
  ROOT %g = f32[32,16]{1,0} custom-call(%a, %b), custom_call_target="__cublas$gemm", backend_config={\
"gemm_backend_config":{"dot_dimension_numbers":{"lhs_contracting_dimensions":["1"],"rhs_contracting_dimensions":["0"]}}}
}
"""
    assert counting.costs(text, 1).flops == 2 * 32 * 64 * 16


@pytest.mark.parametrize(("kernel", "products"), [("", 2), ("Backward", 5)])
@pytest.mark.parametrize(
    ("mask", "window", "pairs"), [("CAUSAL", 0, 524800), ("CAUSAL", 2, 2047), ("PADDING", 0, 1024**2)]
)
def test_attention_on_a_gpu_counts_pairs_of_tokens_that_see_each_other(kernel, products, mask, window, pairs):
    text = f"""ENTRY %main (q: bf16[2,1024,4,64], k: bf16[2,1024,2,64]) -> bf16[2,4,1024,64] {{
  %q = bf16[2,1024,4,64]{{3,2,1,0}} parameter(0)
  %k = bf16[2,1024,2,64]{{3,2,1,0}} parameter(1)
  %a = (bf16[2,4,1024,64]{{3,1,2,0}}, u8[0]{{0}}) custom-call(%q, %k, %k), \
custom_call_target="__cudnn$fmhaSoftmax{kernel}", backend_config={{"cudnn_fmha_backend_config":{{\
"intermediate_tensor_shape":{{"element_type":"BF16","dimensions":["2","4","1024","1024"],"tuple_shapes":[]}},\
"mask_type":"{mask}","bmm1_dot_dimension_numbers":{{"lhs_contracting_dimensions":["3"]}},"sliding_window_length":{window}}}}}
  ROOT %o = bf16[2,4,1024,64]{{3,1,2,0}} get-tuple-element(%a), index=0
}}
"""
    assert counting.costs(text, 1).flops == 2 * products * 2 * 4 * 64 * pairs


MAPPED = """ENTRY %main (x: bf16[256,64]) -> bf16[256,64] {
  %x = bf16[256,64]{1,0} parameter(0)
  %a = bf16[1024,64]{1,0} all-gather(%x), channel_id=1, replica_groups={}, AT/all_gather" stack_frame_id=8}
  %b = bf16[1024,64]{1,0} negate(%a)
  ROOT %c = bf16[256,64]{1,0} reduce-scatter(%b), channel_id=1, replica_groups={}, AT/reduce_scatter" stack_frame_id=9}
}
"""


def test_collectives_of_a_shard_map_count_each_though_their_channel_is_one():
    found = counting.costs(MAPPED.replace("AT", 'metadata={op_name="jit(step)/layers/mlp/shard_map'), 4)
    assert found.collectives == tuple(
        counting.Collective(kind, 1, 3 * 256 * 64 * 2) for kind in ("all-gather", "reduce-scatter")
    )


GROUPED = """ENTRY %main (s: s32[1], x: bf16[1024,256], w: bf16[8,256,512]) -> bf16[1024,512] {
  %s = s32[1]{0} parameter(0)
  %x = bf16[1024,256]{1,0} parameter(1)
  %w = bf16[8,256,512]{2,1,0} parameter(2)
  %ragged-dot-metadata = (s32[9]{0}, s32[15]{0}) custom-call(%s), custom_call_target="tpu_custom_call"
  %ends = s32[9]{0} get-tuple-element(%ragged-dot-metadata), index=0
  ROOT %ragged-dot-none.1 = bf16[1024,512]{1,0} custom-call(%s, %ends, %x, %w), \
custom_call_target="tpu_custom_call", metadata={op_name="jit(step)/SCOPEragged_dot_general/ragged-dot-none"}
}
"""


@pytest.mark.parametrize(("scope", "share"), [("", 1), ("jvp(mlp)/held_8_of_32/", 1 / 4)])
def test_products_by_expert_count_the_rows_of_the_experts_that_a_device_holds(scope, share):
    found = counting.costs(GROUPED.replace("SCOPE", scope), 1)
    assert found.flops == share * 2 * 1024 * 256 * 512


LOOP = """%fused (p: bf16[12,256,64], i: s32[]) -> bf16[1,256,64] {
  %p = bf16[12,256,64]{2,1,0} parameter(0)
  %i = s32[] parameter(1)
  %zero = s32[] constant(0)
  ROOT %s = bf16[1,256,64]{2,1,0} dynamic-slice(%p, %i, %zero, %zero), dynamic_slice_sizes={1,256,64}
}

%started (x: bf16[1,256,64]) -> bf16[1,1024,64] {
  %x = bf16[1,256,64]{2,1,0} parameter(0)
  ROOT %g = bf16[1,1024,64]{2,1,0} all-gather(%x), channel_id=8, replica_groups=GROUPS, dimensions={1}
}

%all-reduce-scatter.1 (x: f32[1024,64]) -> f32[256,64] {
  %x = f32[1024,64]{1,0} parameter(0)
  %r = f32[1024,64]{1,0} all-reduce(%x), channel_id=9, replica_groups=GROUPS, to_apply=%add
  %o = s32[] constant(0)
  ROOT %s = f32[256,64]{1,0} dynamic-slice(%r, %o, %o), dynamic_slice_sizes={256,64}
}

%body (t: (s32[], bf16[12,256,64], f32[1024,64])) -> (s32[], bf16[12,256,64], f32[1024,64]) {
  %t = (s32[], bf16[12,256,64], f32[1024,64]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%t), index=0
  %p = bf16[12,256,64]{2,1,0} get-tuple-element(%t), index=1
  %d = f32[1024,64]{1,0} get-tuple-element(%t), index=2
  %one = bf16[1,256,64]{2,1,0:S(1)} fusion(%p, %i), kind=kLoop, calls=%fused
  %a = bf16[1,1024,64]{2,1,0:S(1)} fusion(%one), kind=kCustom, calls=%started
  %b = bf16[1,1024,64]{2,1,0:S(1)} fusion(%one), kind=kCustom, calls=%started
  %c = f32[256,64]{1,0:S(1)} fusion(%d), kind=kCustom, calls=%all-reduce-scatter.1
  %step = s32[]{:S(6)} constant(STEP)
  %next = s32[]{:S(6)} add(%i, %step)
  ROOT %out = (s32[], bf16[12,256,64], f32[1024,64]{1,0}) tuple(%next, %p, %d)
}

%condition (t: (s32[], bf16[12,256,64], f32[1024,64])) -> pred[] {
  %t = (s32[], bf16[12,256,64], f32[1024,64]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%t), index=0
  %n = s32[] constant(END)
  ROOT %lt = pred[] compare(%i, %n), direction=LT
}

ENTRY %main (p: bf16[12,256,64], d: f32[1024,64]) -> (s32[], bf16[12,256,64], f32[1024,64]) {
  %p = bf16[12,256,64]{2,1,0} parameter(0)
  %d = f32[1024,64]{1,0} parameter(1)
  %zero = s32[]{:S(6)} constant(START)
  %first = s32[]{:S(6)} copy(%zero)
  %t = (s32[], bf16[12,256,64], f32[1024,64]{1,0}) tuple(%first, %p, %d)
  ROOT %w = (s32[], bf16[12,256,64], f32[1024,64]{1,0}) while(%t), condition=%condition, body=%body
}
"""


def loop(groups="{}", start=0, end=12, step=1):
    numbers = {"GROUPS": groups, "START": start, "END": end, "STEP": step}
    return functools.reduce(lambda text, name: text.replace(name, str(numbers[name])), numbers, LOOP)


@pytest.mark.parametrize("groups", ["{{0,1,2,3}}", "[1,4]<=[4]", "mesh['a'=4,'b'=2] {'a'}", "{}"])
def test_collectives_in_a_loop_count_every_time_and_a_spread_one_once(groups):
    found = counting.costs(loop(groups), 4)
    gather, scatter = found.collectives
    assert gather == counting.Collective("all-gather", 12, 12 * 3 * 256 * 64 * 2)
    assert scatter == counting.Collective("reduce-scatter", 12, 12 * 3 * 256 * 64 * 4)
    # One layer of the stack, its number for that and for the next, what is reduced.
    assert found.bytes == 12 * (256 * 64 * 2 + 2 * 4 + 1024 * 64 * 4)


def test_a_loop_runs_as_often_as_its_counter_says():
    """XLA unrolls the loops of windowed products, so that their counters go in steps of two."""

    def times(**numbers):
        return counting.costs(loop(**numbers), 4).collectives[0].times

    assert [times(step=2), times(end=13, step=2), times(start=5), times(start=12)] == [6, 7, 7, 0]
    with pytest.raises(ValueError, match="cannot tell how often the loop w of main runs"):
        counting.costs(loop().replace("add(%i, %step)", "xor(%i, %step)"), 4)


@pytest.mark.parametrize("length", [1024, 1536, 2048])
@pytest.mark.parametrize("window", [None, 700, 513, 512, 1])
@pytest.mark.parametrize("causal", [True, False])
def test_a_kernel_computes_the_blocks_of_its_own_table(length, window, causal):
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask, splash_attention_mask_info

    back = None if window is None else window - 1
    mask = splash_attention_mask.LocalMask((length, length), (back, 0 if causal else back), 0)
    table, _ = splash_attention_mask_info.process_mask(splash_attention_mask.MultiHeadMask([mask]), (512, 256))
    many, others = length // 512, length // 256
    whole = many * others if table.block_mask is None else np.count_nonzero(table.block_mask)
    assert kernels.pairs(many, others, 512, 256, causal=causal, window=window) == whole


CHAIN = """%begin (x: bf16[256,64]) -> (bf16[256,64], bf16[1024,64]) {
  %x = bf16[256,64]{1,0} parameter(0)
  %g = bf16[1024,64]{1,0} all-gather(%x), channel_id=8, replica_groups={}, frontend_attributes={chain_id="2"}
  ROOT %s = (bf16[256,64]{1,0:S(1)}, bf16[1024,64]{1,0}) custom-call(%g), custom_call_target="AsyncCollectiveStart"
}

%go_on (a: bf16[256,64], b: bf16[1024,64], c: f32[8,8]) -> (f32[8,8], bf16[256,64], bf16[1024,64], bf16[1024,64]) {
  %a = bf16[256,64]{1,0} parameter(0)
  %b = bf16[1024,64]{1,0} parameter(1)
  %c = f32[8,8]{1,0} parameter(2)
  %n = f32[8,8]{1,0} negate(%c)
  %g = bf16[1024,64]{1,0} all-gather(%a), channel_id=8, replica_groups={}, frontend_attributes={chain_id="2"}
  ROOT %r = (f32[8,8]{1,0}, bf16[256,64]{1,0:S(1)}, bf16[1024,64]{1,0}, bf16[1024,64]{1,0}) tuple(%n, %a, %b, %g)
}

%end (a: bf16[256,64], b: bf16[1024,64]) -> bf16[1024,64] {
  %a = bf16[256,64]{1,0} parameter(0)
  %b = bf16[1024,64]{1,0} parameter(1)
  %g = bf16[1024,64]{1,0} all-gather(%a), channel_id=8, replica_groups={}, frontend_attributes={chain_id="2"}
  ROOT %d = bf16[1024,64]{1,0} custom-call(%a, %b, %g), custom_call_target="AsyncCollectiveDone"
}

ENTRY %main (x: bf16[256,64], y: f32[8,8]) -> bf16[1024,64] {
  %x = bf16[256,64]{1,0:S(1)} parameter(0)
  %y = f32[8,8]{1,0} parameter(1)
  %begun = (bf16[256,64]{1,0:S(1)}, bf16[1024,64]{1,0}) fusion(%x), kind=kCustom, calls=%begin
  %a = bf16[256,64]{1,0:S(1)} get-tuple-element(%begun), index=0
  %b = bf16[1024,64]{1,0} get-tuple-element(%begun), index=1
  %f = (f32[8,8]{1,0}, bf16[256,64]{1,0:S(1)}, bf16[1024,64]{1,0}, bf16[1024,64]{1,0}) fusion(%a, %b, %y), \
kind=kLoop, output_to_operand_aliasing={{1}: (0, {}), {2}: (1, {}), {3}: (1, {})}, calls=%go_on
  ROOT %done = bf16[1024,64]{1,0} fusion(%a, %b), kind=kCustom, output_to_operand_aliasing={{}: (1, {})}, calls=%end
}
"""


def test_a_collective_that_goes_on_during_other_fusions_counts_once():
    found = counting.costs(CHAIN, 4)
    assert found.collectives == (counting.Collective("all-gather", 1, 3 * 256 * 64 * 2),)
    assert found.bytes == 1024 * 64 * 2 + 2 * 8 * 8 * 4  # what is gathered is written once; y is read, -y written


FETCHED = """%begun (p: bf16[1024,64]) -> bf16[256,64] {
  %p = bf16[1024,64]{1,0} parameter(0)
  ROOT %s = bf16[256,64]{1,0:S(1)} slice(%p), slice={[0:256], [0:64]}
}

ENTRY %main (x: bf16[1024,64]) -> bf16[256,64] {
  %x = bf16[1024,64]{1,0} parameter(0)
  %start = ((bf16[1024,64]{1,0}), bf16[256,64]{1,0:S(1)}, s32[]{:S(2)}) async-start(%x), calls=%begun
  %done = bf16[256,64]{1,0:S(1)} async-done(%start)
  ROOT %n = bf16[256,64]{1,0} negate(%done)
}
"""


def test_a_slice_that_is_fetched_ahead_is_read_once():
    """Its part alone moves, not what it is a part of; then the result is written."""
    assert counting.costs(FETCHED, 1).bytes == 2 * 256 * 64 * 2


def test_a_sum_over_devices_is_one_all_reduce():
    mesh = sharding.make_mesh(data=8)
    x = jax.ShapeDtypeStruct((8, 1000), jnp.float32, sharding=NamedSharding(mesh, P("data")))
    text = jax.jit(lambda x: x.sum(0), out_shardings=NamedSharding(mesh, P())).lower(x).compile().as_text()
    assert counting.costs(text, 8).collectives == (counting.Collective("all-reduce", 1, 2 * 4000 * 7 // 8),)


def test_sizes_of_the_published_models():
    def size(name):
        return sum(map(math.prod, weights.shapes(architecture(name)).values()))

    assert size("openai-community/gpt2-xl") == 1_557_611_200
    assert size("meta-llama/Meta-Llama-3-8B") == 8_030_261_248 - 128256 * 4096  # no language-model head
    assert size("llama-3-70b") == 70_553_706_496 - 128256 * 8192
    assert size("Qwen/Qwen3-30B-A3B") == 30_532_122_624 - 151936 * 2048
    assert size("mistralai/Mixtral-8x7B-v0.1") == 46_702_792_704 - 32000 * 4096


def test_a_folder_with_only_a_config(tmp_path):
    folder = llama(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    (folder / "tokenizer.json").unlink()
    assert architecture(str(folder)).n_layers == 2
    with pytest.raises(UserError, match=r"config.json \(weights are not needed\)"):
        architecture("org/unknown")
    with pytest.raises(UserError, match="did you mean 'gpt2-xl'"):
        architecture("gpt2-xxl")


@pytest.mark.parametrize(
    ("name", "devices", "bandwidth"),
    [
        ("v5e:1x1", 1, 0),
        ("v5e:1x2", 2, 4.5e10),
        ("v5e:2x2", 4, 9e10),
        ("v5e:4x4", 16, 9e10),
        ("v5e:8x16", 128, 3 * 4.5e10),
        ("v5e:16x16", 256, 4 * 4.5e10),
        ("v6e:4x4", 16, 1.8e11),
        ("v6e:8x16", 128, 2.7e11),
        ("v5p:2x2x4", 16, 2.7e11),
        ("v5p:4x4x4", 64, 5.4e11),
        ("v5p:4x4x8", 128, 5.4e11),
    ],
)
def test_topologies(name, devices, bandwidth):
    """Links as the scaling book counts them: an axis of 16 is a ring on v5e and v6e alone, on v5p whole cubes are."""
    found = chips.topology(name)
    assert (found.devices, found.bandwidth) == (devices, bandwidth)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("v9:2x2", "unknown chip 'v9'"),
        ("v5e", "2 dimensions, such as v5e:4x4"),
        ("v5e:2x2x2", "2 dimensions"),
        ("v5p:4x4", "3 dimensions"),
        ("v5e:3x2", "every size is 1 or even"),
    ],
)
def test_bad_topologies(name, message):
    with pytest.raises(UserError, match=message):
        chips.topology(name)


@pytest.mark.parametrize(
    ("kind", "name", "flops", "bandwidth"),
    [
        ("NVIDIA H100 80GB HBM3", "h100", 989e12, 3.35e12),
        ("NVIDIA H200", "h200", 989e12, 4.8e12),
        ("NVIDIA A100-SXM4-80GB", "a100", 312e12, 2.039e12),
        ("Radeon", None, None, None),
    ],
)
def test_a_device_of_this_machine_says_what_it_is_and_holds(kind, name, flops, bandwidth):
    device = types.SimpleNamespace(device_kind=kind, memory_stats=lambda: {"bytes_limit": 60 * GIB})
    chip, available = compilation._chip(chips.topology("local"), device)
    assert available == 60 * GIB
    assert (chip and chip.name) == name
    if name is not None:
        assert (chip.flops, chip.hbm_bandwidth) == (flops, pytest.approx(bandwidth, rel=0.001))
        sent = (counting.Collective("all-reduce", 1, int(4.5e11)),)
        program = dataclasses.replace(compiled(GIB, costs=counting.Costs(1e12, 1e9, sent)), chip=chip)
        assert roofline(program, chips.topology("local")).network == pytest.approx(4.5e11 / chip.link)


@pytest.fixture
def model(tmp_path):
    return str(llama(tmp_path / "model", layers=3, width=32))


def request(model, kind="train", mesh=None, **learner):
    learner = {"batch_size": 16, "max_tokens": 32} | learner
    return Request(kind, Learner(model, **learner), Train(), 2, mesh or MeshConfig(), chips.topology("local"))


def matrix_flops(rows, length=32, width=32, layers=3):
    """Forward: query and output, key and value (2 of 4 heads), three of the feed-forward layer, both of attention."""
    kernels = layers * (2 * width * width + 2 * width * width // 2 + 3 * width * 2 * width)
    return rows * length * (2 * kernels + layers * 4 * length * width)


@pytest.mark.parametrize(
    ("learner", "passes"),
    [({}, 3), ({"remat": "full"}, 4), ({"microbatches": 2}, 4), ({"dtype": "bfloat16"}, 3)],
)
def test_flops_of_a_training_step_are_those_of_its_passes(model, learner, passes):
    found = compilation.compile_here(request(model, mesh=MeshConfig(data=4, fsdp=2), **learner))
    assert found.costs.flops * 8 == pytest.approx(passes * matrix_flops(16), rel=0.05)
    causal = matrix_flops(16, length=32) - 16 * 3 * 4 * 32 * (32 * 31 // 2)  # no token sees those after it
    assert found.model_flops == 3 * causal


MIXTURE = {
    "model_type": "mixtral",
    "vocab_size": 15,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
}
CONFIG = ModelConfig("llama", 15, 32, 6, 4, 2, 8, 64, max_positions=64, rope=Rope(), window_rope=Rope())


@pytest.mark.parametrize("length", [5, 8, 32])
@pytest.mark.parametrize(
    ("changes", "windows"),
    [
        ({}, [None] * 6),
        ({"sliding_window": 8}, [8] * 6),
        ({"sliding_window": 8, "windowed": (True, False) * 3}, [8, None] * 3),
        ({"sliding_window": 1, "windowed": (True,) * 5 + (False,)}, [1] * 5 + [None]),
    ],
)
def test_model_flops_count_pairs_of_tokens_that_see_each_other(length, changes, windows):
    config = dataclasses.replace(CONFIG, **changes)
    seen = [kernels.pairs(length, length, 1, 1, causal=True, window=window) for window in windows]
    kernel = sum(math.prod(shape) for name, shape in weights.shapes(config).items() if name.endswith("/kernel"))
    expected = 16 * (2 * kernel * length + 2 * 2 * 4 * 8 * sum(seen))
    assert flops(Learner(), config, length, trains=False) == expected
    assert flops(Learner(), config, length) == 3 * expected


@pytest.mark.parametrize(("per_token", "count"), [(1, 1), (2, 8), (8, 8)])
def test_model_flops_count_the_experts_that_a_token_goes_through(per_token, count):
    """`per_token` of them and the router, however many there are; with one of one it is the dense model."""
    config = dataclasses.replace(CONFIG, experts=Experts(count, per_token))
    attention, expert, router = 2 * 32 * 32 + 2 * 32 * 16, 3 * 32 * 64, 32 * count
    pairs = 32 * 33 // 2
    expected = 16 * 6 * (2 * 32 * (attention + per_token * expert + router) + 4 * 32 * pairs)
    assert flops(Learner(), config, 32, trains=False) == expected
    assert flops(Learner(), CONFIG, 32, trains=False) == expected - 16 * 6 * 2 * 32 * (
        router + (per_token - 1) * expert
    )
    parameters = sum(map(math.prod, weights.shapes(config).values()))
    dense = sum(map(math.prod, weights.shapes(CONFIG).values()))
    assert parameters == dense + 6 * (router + (count - 1) * expert)


def test_active_parameters_of_a_published_mixture():
    """3.3 billion of 30.5, as Qwen3's authors count (arXiv 2505.09388, table 2), embeddings and their head included."""
    config = architecture("qwen3-30b-a3b")
    pairs = lowering._pairs(config, 1)
    a_token = flops(Learner(), config, 1, trains=False) / 16 - 4 * config.n_heads * config.head_dim * pairs
    tables = 2 * config.vocab_size * config.hidden_size
    assert a_token / 2 + tables == pytest.approx(3.35e9, rel=0.01)


@pytest.mark.parametrize("sizes", [(1, 2, 1, 4), (2, 1, 2, 2)])
def test_a_mixture_of_experts_is_planned_on_its_mesh(tmp_path, sizes):
    """Each device holds its share of the experts."""
    (tmp_path / "config.json").write_text(json.dumps(MIXTURE))
    mesh = MeshConfig(*sizes)
    found = compilation.compile_here(request(str(tmp_path), mesh=mesh))
    assert found.mesh == mesh
    experts = 2 * 8 * 3 * 32 * 64 * 4 // (mesh.fsdp * mesh.tensor * mesh.expert)
    rest = 15 * 32 * 4 + 2 * (2 * 32 * 32 + 2 * 32 * 16 + 32 * 8) * 4
    assert experts < found.parameters < experts + 1.1 * rest
    assert found.costs.collectives


ENCODER = dataclasses.replace(CONFIG, n_kv_heads=4, rope=None, window_rope=None, norm="layer", causal=False)


@pytest.mark.parametrize("length", [5, 8, 32])
@pytest.mark.parametrize(
    ("changes", "windows"),
    [
        ({}, [None] * 6),
        ({"sliding_window": 4, "windowed": (False, True, True) * 2}, [None, 4, 4] * 2),
        ({"relative": Relative(4, 20)}, [None] * 6),
    ],
)
def test_model_flops_of_encoders(length, changes, windows):
    """Windows are to both sides; distances meet queries and keys, and are mapped once in a batch."""
    config = dataclasses.replace(ENCODER, **changes)
    seen = sum(kernels.pairs(length, length, 1, 1, causal=False, window=window) for window in windows)
    kernel = sum(math.prod(shape) for name, shape in weights.shapes(config).items() if name.endswith("/kernel"))
    expected = 16 * (2 * kernel * length + 2 * 2 * 4 * 8 * seen)
    if config.relative:
        expected += 6 * 2 * (16 * 2 * 32 * length * min(length, 8) + 2 * 32 * 32 * min(2 * length - 1, 8))
    assert flops(Learner(), config, length, trains=False) == expected
    assert flops(Learner(), config, length) == 3 * expected


HF_ENCODERS = {
    "deberta-v2": {
        "relative_attention": True,
        "share_att_key": True,
        "pos_att_type": "p2c|c2p",
        "norm_rel_ebd": "layer_norm",
        "position_biased_input": False,
        "position_buckets": 32,
        "type_vocab_size": 0,
        "layer_norm_eps": 1e-7,
        "hidden_act": "gelu",
    },
    "modernbert": {"local_attention": 8, "norm_eps": 1e-5, "hidden_activation": "gelu"},
}


@pytest.mark.parametrize(("name", "scores"), [("modernbert", 1), ("deberta-v2", 1 + 4)])
def test_an_encoder_is_planned(tmp_path, name, scores):
    """Its matrices and all pairs of tokens are computed, and of a DeBERTa two products with 2 T - 1 distances each,
    where half would do."""
    sizes = {"vocab_size": 15, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3}
    heads = {"num_attention_heads": 4, "max_position_embeddings": 64}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": name, **sizes, **heads, **HF_ENCODERS[name]}))
    found = compilation.compile_here(request(str(tmp_path), "label"))
    kernel = 3 * (4 * 32 * 32 + (3 if name == "modernbert" else 2) * 32 * 64)
    expected = 64 * 8 * 32 * (2 * kernel + 3 * 2 * (1 + scores) * 32 * 32)
    assert found.costs.flops * 8 == pytest.approx(expected, rel=0.03)
    assert 0.4 * expected < found.model_flops < expected


def flops(learner, config, length, **how):
    """Of 16 texts, answers being of three tokens."""
    output = outputs.choose(learner, lambda: answering.stand_ins(1968))
    return lowering.model_flops(output, learner, config, 16, length, **how)


def test_model_flops_of_the_language_model_head():
    """Every token's where texts are scored, the answer's where one is written."""
    text = Learner(output="text", generative=Generative())
    backbone = flops(Learner(), CONFIG, 32, trains=False)
    token = 2 * 15 * 32
    assert flops(text, CONFIG, 32) == 3 * (backbone + 16 * 3 * token)
    for parameters, passes in (("full", 3), ("lora", 2)):
        adapted = generative.objective(dataclasses.replace(text, parameters=parameters))
        found = lowering.model_flops(adapted.output, adapted.learner, CONFIG, 16, 32)
        assert found == passes * (backbone + 16 * 32 * token)
    assert flops(Learner(preference=Preference("dpo", 0.1)), CONFIG, 32) == 4 * (backbone + 16 * 32 * token)


@pytest.mark.parametrize(
    ("loop", "copies"),
    [
        (LoopSettings(), 1),
        pytest.param(LoopSettings(select="final"), 0, marks=pytest.mark.slow),
        pytest.param(LoopSettings(evaluations=1), 0, marks=pytest.mark.slow),
    ],
)
def test_what_training_holds_beside_a_step_is_part_of_what_is_needed(model, loop, copies):
    """The best parameters so far, if there can be any before the last step; while it labels, the moments too."""
    train, label = (
        compilation.compile_here(request(model, kind, mesh=MeshConfig(1, 8), loop=loop)) for kind in ("train", "label")
    )
    assert train.resident == copies * train.parameters
    assert label.resident == copies * train.parameters + train.optimizer
    assert label.optimizer == 0
    assert [each.needed for each in (train, label)] == [each.used + each.resident for each in (train, label)]


def test_what_training_holds_can_be_what_is_too_much(model, monkeypatch):
    asked = request(model, mesh=MeshConfig(1, 8))
    found = compilation.compile_here(asked)
    for spare, fits in ((0, True), (-1, False)):
        monkeypatch.setattr(compilation, "_chip", lambda *_, spare=spare: (None, found.needed + spare))
        assert compilation.compile_here(asked).fits == fits


def test_flops_of_a_labelling_step(model):
    found = compilation.compile_here(request(model, "label"))
    assert found.rows == 64 * 8
    assert found.costs.flops * 8 == pytest.approx(matrix_flops(64 * 8), rel=0.02)


def test_memory_is_cut_by_fsdp_and_collectives_appear(model):
    whole = compilation.compile_here(request(model, mesh=MeshConfig(data=8)))
    cut = compilation.compile_here(request(model, mesh=MeshConfig(data=1, fsdp=8)))
    parameters = 4 * (sum(map(math.prod, weights.shapes(architecture(model)).values())) + 2 * 32)
    assert whole.parameters == parameters
    assert whole.optimizer == pytest.approx(2 * parameters, abs=64)  # two moments, and the counts of steps
    assert cut.parameters < parameters / 6
    assert cut.used < whole.used
    kinds = [each.kind for each in cut.costs.collectives]
    assert "all-gather" in kinds
    assert "all-gather" not in [each.kind for each in whole.costs.collectives if each.received > parameters / 4]
    reduced = sum(each.received for each in whole.costs.collectives if each.kind == "all-reduce")
    assert reduced == pytest.approx(2 * parameters * 7 / 8, rel=0.1)  # every gradient, once


class Recorded:
    """JAX, whose jitted functions note their program whenever they are called."""

    def __init__(self):
        self.programs = []

    def __getattr__(self, name):
        return getattr(jax, name)

    def jit(self, function, **how):
        compiled = jax.jit(function, **how)

        def call(*arguments, **named):
            self.programs.append(compiled.lower(*arguments, **named).as_text())
            return compiled(*arguments, **named)

        call.trace = compiled.trace
        return call


def full_rows(monkeypatch, length):
    """Makes of any text as many tokens as a learner allows."""

    def rows(learner, *others):
        texts = others[-1]
        candidates = 1 if isinstance(texts[0], str) else len(texts[0])
        count = len(texts) * candidates
        ids = np.random.default_rng(0).integers(0, 15, count * length).astype(np.int32)
        return Tokens(ids, length * np.arange(count + 1), candidates)

    monkeypatch.setattr(outputs, "tokenize", rows)
    monkeypatch.setattr(answering, "prompts", rows)
    monkeypatch.setattr(answering, "answers", lambda learner, names: answering.stand_ins(len(names)))


LEARNERS = {
    "full": {},
    "padded to 32": {"max_tokens": 20},
    "microbatches": {"microbatches": 2, "parameters": "lora", "remat": "dots", "dtype": "bfloat16"},
    "head": {"parameters": "head", "read_layer": 2},
    "answers": {"output": "text"},
    "dpo": {"preference": Preference("dpo", 0.1)},
    "reward model": {},
}


@pytest.mark.parametrize(
    "name", ["full", *slow("padded to 32", "microbatches", "head", "answers", "dpo", "reward model")]
)
def test_what_is_lowered_is_what_training_calls(model, monkeypatch, name):
    """Text for text: the step that a stage takes on full rows, and the pass that labels."""
    monkeypatch.setattr(train_step, "jax", recorded := Recorded())
    monkeypatch.setattr(lowering, "TOTAL_STEPS", 1)
    learner = Learner(model, **{"batch_size": 16, "max_tokens": 32, "epochs": 1, **LEARNERS[name]})
    mesh, loss = sharding.make_mesh(data=4, fsdp=2), losses.bind(losses.cross_entropy)
    texts, candidates = (["text"] * 16, 1) if name not in ("dpo", "reward model") else ([("one", "two")] * 16, 2)
    prepare.compiled_steps.cache_clear()
    full_rows(monkeypatch, learner.max_tokens)
    labelled = texts, np.eye(2, dtype=np.float32)[np.arange(16) % 2]
    many = texts * 32, np.tile(labelled[1], (32, 1))  # which fill a batch on each device
    what = {"train": labelled, "validation": many, "predict": {}, "answers": ("No", "Yes")}
    pretrained = models.load_sharded(model, mesh, read_layer=learner.read_layer)
    finetune.finetune(learner, pretrained, loss, seed=0, mesh=mesh, **what)
    ran, task = recorded.programs, (architecture(model), 2, candidates)
    settings = [lowering.Setting(kind, learner, *task, loss) for kind in ("train", "label")]
    planned = [lowering.lower(setting, mesh).traced.lower().as_text() for setting in settings]
    assert ran == planned


@pytest.mark.parametrize("parameters", ["full", *slow("lora")])
def test_what_is_lowered_is_what_generative_finetuning_calls(model, monkeypatch, parameters):
    monkeypatch.setattr(train_step, "jax", recorded := Recorded())
    monkeypatch.setattr(lowering, "TOTAL_STEPS", 1)
    learner = Learner(model, parameters=parameters, max_tokens=20, generative=Generative(batch_size=8))
    mesh = sharding.make_mesh(data=4, fsdp=2)
    prepare.compiled_steps.cache_clear()
    full_rows(monkeypatch, learner.max_tokens)
    generative.adapt(learner, models.load_sharded(model, mesh), ["text"] * 8, seed=0, mesh=mesh)
    setting = lowering.Setting("adapt", learner, architecture(model), 2, 1, losses.bind(losses.cross_entropy))
    planned = lowering.lower(setting, mesh)
    assert recorded.programs == [planned.traced.lower().as_text()]


def test_a_batch_that_the_devices_do_not_divide(model):
    with pytest.raises(UserError, match="a batch of 12 cannot be split into 1 microbatches over 8 devices"):
        compilation.compile_here(request(model, batch_size=12))


GIB = 2**30


def compiled(used, *, available=16 * GIB, parameters=GIB, optimizer=2 * GIB, mesh=None, costs=None, flops=0.0, rows=32):
    mesh, chip = mesh or MeshConfig(4, 1, 1), chips.CHIPS["v5e"]
    if used <= available and costs is None:
        costs = counting.Costs(1e12, 1e9, ())
    return Compiled(chip, 4, mesh, rows, 512, parameters, optimizer, 0, used, available, costs, flops, 1.0)


def pretend(needs):
    """A compiler whose programs need what `needs(request, state)` says."""
    asked = []

    def compile_for(request):
        asked.append(request)
        cut = request.mesh.fsdp * request.mesh.tensor if request.mesh.fsdp > 0 else 1
        full = request.learner.parameters == "full"
        parameters, moments = 8 * GIB // cut, (16 * GIB if full else 0) // cut
        mesh = MeshConfig(4 // cut, request.mesh.fsdp, request.mesh.tensor)
        held, rows = {"parameters": parameters, "optimizer": moments, "mesh": mesh}, request.learner.batch_size
        return compiled(parameters + moments + needs(request), rows=rows, **held)

    return compile_for, asked


def search_from(needs, **learner):
    compile_for, asked = pretend(needs)
    first = dataclasses.replace(
        request("gpt2", mesh=MeshConfig(4, 1, 1), **learner), topology=chips.topology("v5e:2x2")
    )
    return search.nearest(first, compile_for(first), compile_for), asked


def test_state_that_is_too_large_is_cut_before_anything_is_computed_twice():
    found, asked = search_from(lambda request: GIB)
    assert found.changes == ("fsdp=4",)
    assert len(asked) == 2


def test_the_search_keeps_what_it_changed_and_stops_where_it_fits():
    sizes = {"none": 40, "dots": 20, "full": 12}

    def needs(request):
        return sizes[request.learner.remat] * GIB // request.learner.microbatches

    found, _ = search_from(needs)
    assert found.changes == ("fsdp=4", "remat=full", "microbatches=2")
    assert found.compiled.fits
    assert (found.request.learner.remat, found.request.learner.microbatches) == ("full", 2)


def test_the_search_compiles_no_microbatches_that_cannot_fit():
    """60 GiB of activations in 10 GiB need six pieces or more: two and four are not tried."""
    found, asked = search_from(lambda request: 60 * GIB // request.learner.microbatches, remat="full", batch_size=64)
    assert found.changes == ("fsdp=4", "microbatches=8")
    assert [each.learner.microbatches for each in asked] == [1, 1, 8]


def test_adapters_leave_the_batch_whole_and_the_matrices_uncut():
    """Where everything else is too little, what it cost is given back."""
    found, _ = search_from(
        lambda request: (20 if request.learner.parameters == "full" else 9) * GIB, remat="full", dtype="bfloat16"
    )
    assert found.changes == ("fsdp=4", "parameters=lora")
    assert (found.request.learner.microbatches, found.request.mesh.tensor) == (1, 1)


def test_a_search_that_finds_nothing():
    found, asked = search_from(lambda request: 100 * GIB)
    assert found is None
    assert asked[-1].learner.parameters == "lora"  # the last resort was tried
    assert len(asked) <= 1 + search.MOST_COMPILES


def test_the_roofline_is_the_slowest_of_three():
    place = chips.topology("v5e:4x4")
    costs = counting.Costs(1.97e14, 8.19e10, (counting.Collective("all-gather", 3, int(1.8e11)),))
    found = roofline(dataclasses.replace(compiled(GIB, costs=costs, flops=1.97e14), devices=16), place)
    assert (found.compute, found.memory, found.network) == pytest.approx((1.0, 0.1, 2.0))
    assert (found.limit, found.seconds) == ("network", pytest.approx(2.0))
    assert found.mfu == pytest.approx(1 / 32)


@pytest.mark.parametrize(
    ("message", "needed"),
    [
        ("RESOURCE_EXHAUSTED: ... required for HLO temporaries (181.5G) exceeds available HBM (15.75G).", 182.5),
        ("Ran out of memory in memory space hbm. Used 20.25G of 15.75G hbm. Exceeded", 20.25),
        ("INTERNAL: something else", None),
    ],
)
def test_what_the_compiler_says_of_memory(message, needed):
    assert compilation.memory_needed(message, GIB) == (None if needed is None else needed * GIB)


def experiment(model, tmp_path, **changes):
    task = TaskConfig(str(reviews(tmp_path / "reviews.jsonl")))
    learner = Learner(model, batch_size=16, max_tokens=32)
    fields = {"supervisors": {"weak": dataclasses.replace(learner, read_layer=1)}, "students": {"strong": learner}}
    return Experiment(**{"name": "planned", "tasks": (task,), **fields, **changes})


def test_stages_that_share_a_program_compile_once(model, tmp_path):
    plain = experiment(model, tmp_path)
    assert [each.stages for each in planning.workloads(plain)] == [
        ("supervisor weak",),
        ("student strong", "ceiling strong"),
    ]
    confident = experiment(model, tmp_path, methods={"confidence": Method(Train("confidence"))})
    assert [each.stages for each in planning.workloads(confident)][1:] == [("student strong",), ("ceiling strong",)]
    weak = plain.supervisors["weak"]
    several = experiment(model, tmp_path, supervisors={"two": Ensemble((weak, weak))})
    assert planning.workloads(several)[0].stages == ("supervisor two",)


def test_generative_finetuning_is_a_program_of_its_own(model, tmp_path):
    plain = experiment(model, tmp_path)
    strong = dataclasses.replace(plain.students["strong"], generative=Generative(batch_size=8))
    begins = experiment(
        model, tmp_path, students={"strong": strong}, methods={"confidence": Method(Train("confidence"))}
    )
    assert [(each.stages, each.adapts) for each in planning.workloads(begins)] == [
        (("supervisor weak",), False),
        (("generative strong",), True),
        (("student strong",), False),
        (("ceiling strong",), False),
    ]
    alone, member = ({"weak": strong}, 1), ({"two": Ensemble((strong, strong))}, 1)  # one for both members
    for supervisors, count in (alone, member):
        found = planning.workloads(experiment(model, tmp_path, supervisors=supervisors))
        assert sum(each.adapts for each in found) == count
    compile_for, asked = pretend(lambda request: GIB if request.kind == "adapt" else 0)
    steps = list(planning.plan(begins, "v5e:2x2", compile_for))
    assert [step.kind for step in steps] == ["train", "label", "adapt", "train", "label", "train", "label"]
    assert steps[2].nearest.changes == ("fsdp=4",)
    assert asked[-1].learner == strong


def test_a_task_whose_rows_are_candidates_says_so(model, tmp_path):
    compile_for, asked = pretend(lambda request: 0)
    for name, candidates in (("hh", 1), ("hh_pairs", 2)):
        list(planning.plan(experiment(model, tmp_path, tasks=(TaskConfig(name),)), "v5e:2x2", compile_for))
        assert asked[-1].candidates == candidates


@pytest.mark.parametrize("parameters", ["full", *slow("lora")])
def test_the_generative_step_learns_every_token(model, parameters):
    """With its own batch, all of the vocabulary, and nothing kept beside it."""
    learner = {"generative": Generative(batch_size=8), "parameters": parameters, "batch_size": 16}
    found = compilation.compile_here(request(model, "adapt", mesh=MeshConfig(4, 2), **learner))
    assert (found.rows, found.length, found.resident) == (8, 32, 0)
    head = 8 * 32 * 2 * 32 * 15
    if parameters == "full":
        # The logits are computed again on the way back; the last chunk of each device's is filled up to 128 tokens.
        assert found.costs.flops * 8 >= 3 * (matrix_flops(8) + head)
    assert (found.optimizer > found.parameters) == (parameters == "full")


def test_the_labelling_step_is_planned_for_the_setting_that_fits(model, tmp_path):
    compile_for, _ = pretend(lambda request: GIB)
    steps = list(planning.plan(experiment(model, tmp_path), "v5e:2x2", compile_for))
    assert [step.kind for step in steps] == ["train", "label"] * 2
    assert steps[0].reason == "what training holds is 24.00 GiB alone, of 16.00 on each chip"
    assert steps[0].nearest.changes == ("fsdp=4",)
    assert steps[1].compiled.fits
    assert steps[1].request.mesh == MeshConfig(1, 4, 1)


def test_without_the_compiler_one_line_says_how_to_get_it(model, monkeypatch):
    monkeypatch.delenv("TPU_LIBRARY_PATH", raising=False)
    monkeypatch.setattr(compilation.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'w2s-jax\[plan\]'"):
        compilation.compile_for(dataclasses.replace(request(model), topology=chips.topology("v5e:1x1")))


def config_file(model, tmp_path):
    path = tmp_path / "planned.py"
    path.write_text(
        "from w2s_jax.config import Experiment, TaskConfig\nfrom w2s_jax.train.learner import Learner\n"
        f"learner = Learner({model!r}, batch_size=16, max_tokens=32)\n"
        "experiment = Experiment('planned', (TaskConfig('boolq'),), {'weak': learner}, {'strong': learner})\n"
    )
    return path


def test_the_command_prints_a_table_and_json(model, tmp_path, monkeypatch, capsys):
    here = functools.partial(planning.plan, compile_for=compilation.compile_here)
    monkeypatch.setattr(planning, "plan", here)
    path = str(config_file(model, tmp_path))
    assert cli.main(["plan", path, "--topology", "local"]) == 0
    shown = capsys.readouterr().out
    assert "supervisor weak, student strong, ceiling strong" in shown
    assert "labelling step" in shown
    assert cli.main(["plan", path, "--topology", "local", "--json"]) == 0
    train, label = json.loads(capsys.readouterr().out)
    per_row = [step["compiled"]["costs"]["flops"] / step["compiled"]["rows"] for step in (train, label)]
    assert per_row[0] == pytest.approx(3 * per_row[1], rel=0.05)
    assert train["stages"] == ["supervisor weak", "student strong", "ceiling strong"]
    assert cli.main(["plan", path, "--topology", "v5e:3x3"]) == cli.BAD_INPUT


@pytest.mark.slow
def test_the_real_compiler_for_tpus(tmp_path):
    """On a machine without a TPU: what fits, what does not, and that this process stays as it is."""
    pytest.importorskip("libtpu")
    model = str(llama(tmp_path / "model", layers=3, width=32))
    place = chips.topology("v5e:2x2")
    asked = dataclasses.replace(request(model, mesh=MeshConfig(1, 4, 1), dtype="bfloat16"), topology=place)
    found = compilation.compile_for(asked)
    assert found.fits
    assert found.devices == 4
    assert found.costs.flops * 4 == pytest.approx(3 * matrix_flops(16), rel=0.05)
    assert found.costs.collectives
    assert 0 < roofline(found, place).mfu < 1
    large = Learner("gpt2", batch_size=512, max_tokens=1024)
    failed = compilation.compile_for(dataclasses.replace(asked, learner=large))
    assert not failed.fits
    assert failed.used > failed.available
    assert jax.devices()[0].platform == "cpu"
    assert jax.device_count() == 8


@pytest.mark.slow
def test_attention_kernels_count_as_the_products_that_they_are(tmp_path):
    """1,024 tokens: splash attention, and XLA's, of whose softmax the compiler makes a kernel of its own."""
    pytest.importorskip("libtpu")
    rows, length, width, count = 2, 1024, 256, 3
    folder = llama(tmp_path / "model", layers=count, width=width)
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | {"max_position_embeddings": length}))
    place, flops = chips.topology("v5e:1x1"), {}
    for dtype in ("bfloat16", "float32"):
        asked = request(str(folder), dtype=dtype, batch_size=rows, max_tokens=length)
        found = compilation.compile_for(dataclasses.replace(asked, topology=place))
        flops[dtype] = found.costs.flops
    product = count * 2 * rows * length * length * width
    others = 3 * matrix_flops(rows, length, width, count) - 6 * product
    assert flops["float32"] == pytest.approx(others + 6 * product, rel=0.001)
    assert flops["bfloat16"] == pytest.approx(others + 9 * 3 / 4 * product, rel=0.001)  # 3 of 4 blocks of 512 x 512


@pytest.mark.parametrize("n_classes", [2, 1968])
def test_a_learner_that_writes_its_answers_is_planned(model, n_classes):
    """Its step has the head's product too: over the last token's vocabulary, or that of three stand-in digits."""
    asked = dataclasses.replace(request(model, output="text", batch_size=8), n_classes=n_classes)
    found = compilation.compile_here(asked)
    head = 8 * (1 if n_classes == 2 else 3) * 2 * 32 * 15
    assert found.costs.flops * 8 == pytest.approx(3 * (matrix_flops(8) + head), rel=0.05)
    assert compilation.compile_here(dataclasses.replace(asked, kind="label")).fits
