"""Plans for accelerators that are not here: an account of the traced program, against XLA's own and against cards."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import pytest

from tests.tiny import slow
from w2s_jax import cli
from w2s_jax.config import MeshConfig
from w2s_jax.models.attention import Target
from w2s_jax.plan import accounting, compilation, estimation
from w2s_jax.plan.compilation import Request
from w2s_jax.plan.roofline import roofline
from w2s_jax.runtime import chips
from w2s_jax.runtime.errors import UserError
from w2s_jax.students import Train
from w2s_jax.train.learner import Generative, Learner

GIB = 2**30
CPU = dataclasses.replace(chips.CHIPS["a100"], name="cpu")


def request(where, model="llama-3.2-1b", mesh=None, kind="train", **learner):
    fields = {"dtype": "bfloat16", "remat": "dots", **learner}
    return Request(kind, Learner(model, **fields), Train(), 2, mesh or MeshConfig(), chips.topology(where))


@pytest.mark.parametrize(
    ("name", "devices", "bandwidth"),
    [("h100:1", 1, 4.5e11), ("h100:8", 8, 4.5e11), ("h200:3", 3, 4.5e11), ("b200:16", 16, 5e10), ("a100:9", 9, 2.5e10)],
)
def test_gpus_come_in_any_number(name, devices, bandwidth):
    """Those of one machine are joined by NVLink, more of them by the network."""
    place = chips.topology(name)
    assert (place.devices, place.bandwidth, place.is_estimated) == (devices, bandwidth, True)


@pytest.mark.parametrize("name", ["h100", "h100:", "h100:0", "h100:2x4", "h100:eight", "h100:-1", "h100:8 "])
def test_a_malformed_number_of_gpus_is_one_clear_line(name):
    with pytest.raises(UserError, match="say how many GPUs, such as h100:8") as error:
        chips.topology(name)
    assert "\n" not in str(error.value)


def test_an_unknown_chip_is_one_clear_line():
    with pytest.raises(UserError, match=r"unknown chip 'h10'.*did you mean 'h100'"):
        chips.topology("h10:8")


def test_a_chip_that_is_two_devices():
    place = chips.topology("v7x:2x2x1")
    assert (place.devices, place.compiler, place.is_estimated) == (8, "tpu7x:2x2x1", False)


def test_jax_takes_a_share_of_a_gpus_memory(monkeypatch):
    monkeypatch.delenv(chips.FRACTION_VARIABLE, raising=False)
    assert chips.CHIPS["h100"].available == 60 * GIB
    monkeypatch.setenv(chips.FRACTION_VARIABLE, ".9")
    assert chips.CHIPS["h100"].available == 72 * GIB
    assert chips.CHIPS["v5e"].available == chips.CHIPS["v5e"].hbm


# docs/results/gpu.md: GiB at most and milliseconds a step on one H200, with 16 rows.
MEASURED = [
    ("llama-3.2-1b", 1024, {"remat": "dots"}, 30.4, 205.3),
    ("llama-3.2-3b", 1024, {"remat": "full"}, 51.4, 651.7),
    ("llama-3-8b", 512, {"remat": "full", "parameters": "lora"}, 32.6, 604.3),
    ("llama-3-8b", 512, {"parameters": "lora", "lora_base": "bfloat16"}, 56.0, 486.5),
    ("llama-3-8b", 512, {"parameters": "lora", "lora_base": "nf4"}, 46.6, 491.3),
]


@pytest.mark.parametrize(("model", "tokens", "learner", "memory", "milliseconds"), MEASURED)
def test_what_a_card_needed(model, tokens, learner, memory, milliseconds):
    """Memory is that of the card; its time is 1.7 to 2.1 times the least there could be."""
    asked = request("h200:1", model, max_tokens=tokens, batch_size=16, **learner)
    found = estimation.estimate(asked)
    assert found.used / GIB == pytest.approx(memory, rel=0.02)
    bound = roofline(found, asked.topology)
    assert 1.7 < milliseconds / 1e3 / bound.seconds < 2.15
    assert bound.limit == "compute"


def test_a_mesh_shares_what_is_held():
    """Eight shards hold an eighth of parameters, moments and gradients, and of one batch's activations."""
    rows = {"batch_size": 128, "max_tokens": 512}
    one = estimation.estimate(request("h100:1", "gpt2", **rows))
    cut = estimation.estimate(request("h100:8", "gpt2", MeshConfig(1, 8, 1), **rows))
    copies = estimation.estimate(request("h100:8", "gpt2", MeshConfig(8, 1, 1), **rows))
    tensor = estimation.estimate(request("h100:4", "gpt2", MeshConfig(1, 1, 4), **rows))
    for part in ("parameters", "optimizer"):
        assert getattr(cut, part) == pytest.approx(getattr(one, part) / 8, rel=0.01)
        assert getattr(copies, part) == getattr(one, part)
    assert cut.account.held < copies.account.held  # gradients
    for each in (cut, copies):
        assert each.account.activations == pytest.approx(one.account.activations / 8, rel=0.01)
        assert each.costs.flops == pytest.approx(one.costs.flops / 8, rel=0.01)
    assert cut.costs.bytes < copies.costs.bytes  # the optimizer's
    assert tensor.costs.flops == pytest.approx(one.costs.flops / 4, rel=0.02)
    assert one.costs.collectives == ()
    assert [each.kind for each in cut.costs.collectives] == ["all-gather", "reduce-scatter"]
    (summed,) = copies.costs.collectives
    assert summed.received == pytest.approx(2 * one.parameters * 7 / 8, rel=0.01)
    assert {each.kind for each in tensor.costs.collectives} == {"all-reduce"}


def test_a_batch_that_the_gpus_do_not_divide():
    with pytest.raises(UserError, match="a batch of 12 cannot be split into 1 microbatches over 8 devices"):
        estimation.estimate(request("h100:8", "gpt2", batch_size=12))


@pytest.mark.parametrize("kind", ["label", "adapt"])
def test_every_kind_of_step_has_an_estimate(kind):
    asked = request("h100:2", "gpt2", kind=kind, batch_size=8, max_tokens=128, generative=Generative(batch_size=8))
    found = estimation.estimate(asked)
    assert found.fits
    assert (found.account.gradients > 0) == (kind == "adapt")
    assert found.costs.flops > 0


@pytest.mark.parametrize("model", ["qwen3-30b-a3b", "mixtral-8x7b-v0.1"])
def test_mixtures_of_experts_have_one(model):
    mesh = MeshConfig(1, 2, 1, 4)
    found = estimation.estimate(request("b200:8", model, mesh, batch_size=8, max_tokens=128, parameters="lora"))
    assert {"all-gather", "reduce-scatter"} <= {each.kind for each in found.costs.collectives}


def folder(tmp_path, **changes):
    """A model's config; nothing else is needed."""
    config = {
        "model_type": "llama",
        "vocab_size": 8000,
        "hidden_size": 256,
        "intermediate_size": 768,
        "num_hidden_layers": 6,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": True,
    }
    (tmp_path / "config.json").write_text(json.dumps(config | changes))
    return str(tmp_path)


def on_cpu(tmp_path, kind="train", **learner):
    """What XLA says of a program for this machine's devices, and the account of the same."""
    fields = {"batch_size": 8 * jax.device_count(), "max_tokens": 256, "dtype": "float32", **learner}
    asked = request("local", folder(tmp_path), kind=kind, **fields)
    here = chips.Topology("cpu", CPU, (jax.device_count(),))
    account = estimation.estimate(dataclasses.replace(asked, topology=here), Target("cpu"))
    return compilation.compile_here(asked), account


@pytest.mark.parametrize("case", [("none", "head"), *slow(("dots", "full"), ("none", "lora"))])
def test_memory_and_flops_are_those_of_xla_on_a_cpu(tmp_path, case):
    """Where layers are computed again XLA holds more than this: docs/results/plan.md says how much, and why."""
    remat, parameters = case
    xla, ours = on_cpu(tmp_path, remat=remat, parameters=parameters)
    assert (ours.parameters, ours.optimizer, ours.resident) == (xla.parameters, xla.optimizer, xla.resident)
    assert ours.account.flops == pytest.approx(xla.costs.flops, rel=0.02)
    assert ours.used == pytest.approx(xla.used, rel=0.1 if remat == "none" else 0.2)


def stack(remat, layers=6, rows=32, width=64):
    """A loop over products; its gradient."""

    def layer(x, kernel):
        return jnp.tanh(x @ kernel), None

    body = jax.checkpoint(layer) if remat else layer

    def run(kernels, x):
        return jax.lax.scan(body, x, kernels)[0].sum()

    shapes = jax.ShapeDtypeStruct((layers, width, width), jnp.float32), jax.ShapeDtypeStruct((rows, width), jnp.float32)
    return jax.jit(jax.grad(run)).trace(*shapes).jaxpr


def test_a_loop_keeps_what_its_backward_pass_reads():
    """Of each layer: its input, what tanh keeps, and its output; or, where all is computed again, its input."""
    kept, again = (accounting.account(stack(remat), {}, 1000) for remat in (False, True))
    layer = 32 * 64 * 4
    assert (kept.activations, again.activations) == (3 * 6 * layer, 6 * layer)
    assert again.flops == pytest.approx(kept.flops + 6 * 2 * 32 * 64 * 64)


def test_a_gradient_counts_by_the_share_that_a_device_holds():
    kind = (6, 64, 64), "float32"
    found = accounting.account(stack(False), {kind: 0.25}, 1000)
    assert found.gradients == 0, "the result of a program takes the place of what it was given"
    assert found.workspace <= 2 * 64 * 64 * 4


def test_what_is_only_moved_or_computed_by_element_is_never_in_memory():
    def run(x):
        return jnp.sum(jnp.exp(jnp.tanh(x) + 1).T * 2)

    found = accounting.account(jax.jit(run).trace(jax.ShapeDtypeStruct((256, 256), jnp.float32)).jaxpr, {}, 1000)
    assert found.held <= 4
    assert found.bytes == 256 * 256 * 4 + 4


def config_file(tmp_path, batch_size=16):
    path = tmp_path / "planned.py"
    path.write_text(
        "from w2s_jax.config import Experiment, TaskConfig\nfrom w2s_jax.train.learner import Learner\n"
        f"learner = Learner('llama-3-8b', batch_size={batch_size}, max_tokens=512, dtype='bfloat16')\n"
        "experiment = Experiment('planned', (TaskConfig('boolq'),), {'weak': Learner('gpt2')}, {'strong': learner})\n"
    )
    return str(path)


def test_the_command_says_that_it_estimates_and_finds_what_fits(tmp_path, capsys):
    path = config_file(tmp_path)
    assert cli.main(["plan", path, "--topology", "h100:8"]) == cli.OK
    shown = capsys.readouterr()
    assert "llama-3-8b on h100:8: an estimate, nothing was compiled" in shown.out
    assert "Nearest setting that fits: fsdp=8" in shown.out
    assert "gradients" in shown.out
    assert "estimated the training step of llama-3-8b" in shown.err
    assert cli.main(["plan", path, "--topology", "h100:8", "--json"]) == cli.OK
    steps = json.loads(capsys.readouterr().out)
    assert all(step["estimate"] for step in steps)
    assert all(step["compiled"]["account"] for step in steps)
    assert cli.main(["plan", path, "--topology", "h100"]) == cli.BAD_INPUT
    assert "such as h100:8" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("remat", ["dots", "none"])
def test_memory_and_flops_are_those_of_xla_for_a_tpu(tmp_path, remat):
    """As its compiler places arrays; see docs/results/plan.md for what it sums up to."""
    pytest.importorskip("libtpu")
    model = folder(tmp_path, hidden_size=1024, intermediate_size=4096, num_attention_heads=16, num_key_value_heads=4)
    asked = request("v5e:1x1", model, batch_size=8, max_tokens=512, remat=remat)
    xla, ours = compilation.compile_for(asked), estimation.estimate(asked)
    assert ours.account.flops == pytest.approx(xla.costs.flops, rel=0.02)
    assert ours.used == pytest.approx(xla.assigned, rel=0.1)
