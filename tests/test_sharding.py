"""Eight simulated devices: sharded training equals unsharded training, and arrays lie where the table says."""

import socket
import subprocess
import sys
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from w2s_jax import losses
from w2s_jax.models.classifier import Classifier
from w2s_jax.models.config import ModelConfig, Rope
from w2s_jax.runtime import sharding
from w2s_jax.runtime.errors import UserError
from w2s_jax.train.optimizer import OptimizerConfig, make_optimizer
from w2s_jax.train.state import create, state_shardings
from w2s_jax.train.step import make_predict, make_train_step

VOCAB = 37  # divides by no mesh axis
CONFIG = ModelConfig(
    family="llama",
    vocab_size=VOCAB,
    hidden_size=16,
    n_layers=2,
    n_heads=4,
    n_kv_heads=2,
    head_dim=8,
    mlp_size=32,
    max_positions=16,
    rope=Rope(),
    residual_dropout=True,
)
MODULE = Classifier(CONFIG, dropout=0.1)
TX = make_optimizer(OptimizerConfig("sgd", learning_rate=0.5, clip_norm=1.0), 4)
LOSS = losses.bind(losses.confidence, warmup_fraction=0.0)


def initialise():
    tokens, lengths = jnp.zeros((1, 4), jnp.int32), jnp.ones(1, jnp.int32)
    params = MODULE.init(jax.random.key(0), tokens, lengths)["params"]
    kernel = params["head"]["kernel"]
    values = jax.random.normal(jax.random.key(1), kernel.unbox().shape)
    return {**params, "head": {"kernel": kernel.replace_boxed(values)}}


def apply(trainable, frozen, tokens, lengths, rng):
    params, rngs = {**trainable, **frozen}, None if rng is None else {"dropout": rng}
    return MODULE.apply({"params": params}, tokens, lengths, deterministic=rng is None, rngs=rngs)


def batches(count=3, rows=16, length=12):
    random = np.random.default_rng(0)
    for _ in range(count):
        tokens = random.integers(0, VOCAB, (rows, length)).astype(np.int32)
        lengths = random.integers(1, length + 1, rows).astype(np.int32)
        yield tokens, lengths, random.dirichlet([1, 1], rows).astype(np.float32), random.random(rows) < 0.8


def train(params, mesh=None, microbatches=1, tx=TX):
    state = create(params, tx, jax.random.key(2))
    shardings = None if mesh is None else state_shardings(state)
    traces = []

    def counted(*arguments):
        traces.append(1)
        return apply(*arguments)

    step = make_train_step(counted, LOSS, tx, total_steps=4, microbatches=microbatches, shardings=shardings)
    values = []
    for index, batch in enumerate(batches()):
        state, measured = step(state, {}, *batch)
        values.append(float(measured.loss))
        if index == 0:
            first = len(traces)
    assert len(traces) == first, "compiled more than once"
    return state, values


@pytest.fixture(scope="module")
def params():
    return nn.unbox(jax.jit(initialise)())


@pytest.fixture(scope="module")
def unsharded(params):
    """By microbatches: dropout depends on them, and on nothing else."""
    return {count: train(params, microbatches=count) for count in (1, 2)}


@pytest.mark.parametrize(
    ("sizes", "microbatches"),
    [
        ((8, 1, 1), 1),
        ((2, 2, 2), 2),
        pytest.param((2, 2, 2), 1, marks=pytest.mark.slow),
        pytest.param((8, 1, 1), 2, marks=pytest.mark.slow),
        pytest.param((1, 8, 1), 1, marks=pytest.mark.slow),
        pytest.param((1, 1, 8), 1, marks=pytest.mark.slow),
        *(
            pytest.param(sizes, 2, marks=pytest.mark.slow)
            for sizes in [(1, 4, 2), (4, 2, 1), (2, 1, 4), (1, 2, 4), (2, 4, 1)]
        ),
    ],
    ids=str,
)
def test_sharded_training_equals_unsharded(sizes, microbatches, params, unsharded):
    expected, expected_values = unsharded[microbatches]
    mesh = sharding.make_mesh(*sizes)
    shardings = sharding.param_shardings(jax.eval_shape(initialise), mesh)
    state, values = train(sharding.place(params, shardings), mesh, microbatches)
    np.testing.assert_allclose(values, expected_values, rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), state.params, expected.params)
    assert jax.tree.leaves(state_shardings(state).params) == jax.tree.leaves(shardings)

    tokens, lengths, *_ = next(batches())
    logits = make_predict(apply, mesh)(state.params, {}, tokens, lengths)
    assert logits.is_fully_replicated
    np.testing.assert_allclose(logits, make_predict(apply)(expected.params, {}, tokens, lengths), rtol=1e-3, atol=1e-4)


def test_the_comparison_sees_a_threshold_that_is_not_of_the_whole_batch(params, unsharded):
    """Were the loss to see only a device's rows, the first step's loss would be another."""
    tokens, lengths, targets, where = next(batches())
    logits = make_predict(apply)(params, {}, tokens, lengths)
    keywords = {"step": jnp.int32(0), "total_steps": 4}

    def total(rows):
        return jnp.sum(LOSS(logits[rows], jnp.asarray(targets[rows]), where=jnp.asarray(where[rows]), **keywords))

    whole = total(slice(None))
    pieces = sum(total(slice(start, start + 2)) for start in range(0, 16, 2))
    assert abs(float(whole - pieces)) > 0.01 * float(whole)


@pytest.mark.parametrize("name", ["adamw", "adafactor", "sgd"])
def test_optimizer_state_lies_beside_its_parameter(name, params):
    mesh = sharding.make_mesh(2, 2, 2)
    shardings = sharding.param_shardings(jax.eval_shape(initialise), mesh)
    tx = make_optimizer(OptimizerConfig(name), 4)
    state = create(sharding.place(params, shardings), tx, jax.random.key(0))
    where = {leaf.shape: leaf.sharding for leaf in jax.tree.leaves(state.params)}
    moments = [leaf for leaf in jax.tree.leaves(state.opt_state) if leaf.shape in where]
    assert len(moments) >= len(jax.tree.leaves(params))
    kernel = state.params["backbone"]["layers"]["mlp"]["up"]["kernel"]
    for leaf in moments:
        if leaf.shape == kernel.shape:
            assert leaf.sharding.spec == P(None, "fsdp", "tensor")
            assert leaf.addressable_shards[0].data.size == leaf.size // 4
    assert state.step.sharding.is_fully_replicated
    assert all(leaf.sharding.device_set == set(mesh.devices.flat) for leaf in jax.tree.leaves(state))


def test_parameters_lie_where_the_table_says():
    specs = jax.tree.map(
        lambda where: where.spec,
        sharding.param_shardings(jax.eval_shape(initialise), sharding.make_mesh(2, 2, 2)),
    )
    layers = specs["backbone"]["layers"]
    assert layers["attention"]["query"]["kernel"] == P(None, "fsdp", "tensor", None)
    assert layers["attention"]["key"]["kernel"] == P(None, "fsdp", "tensor", None)
    assert layers["attention"]["output"]["kernel"] == P(None, "tensor", None, "fsdp")
    assert layers["mlp"]["down"]["kernel"] == P(None, "tensor", "fsdp")
    assert layers["attention_norm"]["scale"] == P(None, "fsdp")
    assert specs["backbone"]["embed"]["embedding"] == P(None, "fsdp"), "37 tokens do not divide by 2"
    assert specs["head"]["kernel"] == P("fsdp", None)


def test_an_axis_that_does_not_divide_stays_whole():
    shardings = sharding.param_shardings(jax.eval_shape(initialise), sharding.make_mesh(1, 1, 8))
    layers = shardings["backbone"]["layers"]
    assert layers["attention"]["query"]["kernel"].spec == P(None, "fsdp", None, None), "4 heads over 8 devices"
    assert layers["mlp"]["up"]["kernel"].spec == P(None, "fsdp", "tensor"), "32 over 8 devices"


def test_an_unknown_logical_axis_is_named():
    box = nn.LogicallyPartitioned(jnp.zeros((4, 4)), ("embed", "head"))
    with pytest.raises(UserError, match="unknown logical axis 'head'; did you mean 'heads'"):
        sharding.param_shardings({"kernel": box}, sharding.make_mesh())


def test_a_leaf_without_names_is_on_every_device():
    mesh = sharding.make_mesh()
    assert sharding.param_shardings({"x": jnp.zeros((3, 2))}, mesh)["x"].is_fully_replicated


def test_initialisation_is_sharded_and_the_same(params):
    mesh = sharding.make_mesh(2, 2, 2)
    made = sharding.init_sharded(initialise, mesh)
    expected = sharding.param_shardings(jax.eval_shape(initialise), mesh)
    assert jax.tree.map(lambda leaf: leaf.sharding, made) == expected
    kernel = made["backbone"]["layers"]["mlp"]["up"]["kernel"]
    assert {shard.data.size for shard in kernel.addressable_shards} == {kernel.size // 4}
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7), made, params)


@pytest.mark.parametrize(
    ("sizes", "shape"), [((), (8, 1, 1)), ((2, -1, 2), (2, 2, 2)), ((-1, 4), (2, 4, 1)), ((1, 1, 8), (1, 1, 8))]
)
def test_a_mesh_takes_all_devices(sizes, shape):
    mesh = sharding.make_mesh(*sizes)
    assert tuple(mesh.shape[axis] for axis in ("data", "fsdp", "tensor")) == shape
    assert set(mesh.axis_types) == {AxisType.Auto}


@pytest.mark.parametrize("sizes", [(3, 1, 1), (-1, 3, 1), (-1, 16, 1), (-1, -1, 1), (0, 8, 1), (8, 8, 1)])
def test_a_mesh_that_does_not_fit_is_refused(sizes):
    with pytest.raises(UserError, match=f"mesh data={sizes[0]}, fsdp={sizes[1]}, tensor={sizes[2]}"):
        sharding.make_mesh(*sizes)


def test_placing_puts_pieces_in_their_places():
    mesh = sharding.make_mesh(2, 2, 2)
    tree = {"a": np.arange(16.0), "b": [np.arange(8), jnp.arange(4)]}
    by_batch = sharding.place(tree, sharding.batch_sharding(mesh))
    assert by_batch["a"].addressable_shards[0].data.shape == (4,)
    own = {"a": NamedSharding(mesh, P("tensor")), "b": sharding.replicated(mesh)}
    by_leaf = sharding.place(tree, own)
    assert by_leaf["a"].sharding.spec == P("tensor")
    assert all(leaf.is_fully_replicated for leaf in by_leaf["b"])
    for placed in (by_batch, by_leaf):
        jax.tree.map(np.testing.assert_array_equal, placed, tree)


def test_a_batch_that_the_devices_do_not_divide_is_named(params):
    mesh = sharding.make_mesh()
    with pytest.raises(UserError, match="a batch of 12 cannot be sharded over data x fsdp x expert = 8 devices"):
        sharding.place_batch({"x": np.zeros((12, 3))}, mesh)
    state = create(sharding.place(params, sharding.replicated(mesh)), optax.sgd(0.1), jax.random.key(0))
    step = make_train_step(apply, LOSS, optax.sgd(0.1), total_steps=1, microbatches=4, shardings=state_shardings(state))
    with pytest.raises(UserError, match="a batch of 16 cannot be split into 4 microbatches over 8 devices"):
        step(state, {}, *next(batches()))


PROCESS = """
import sys
import jax
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 4)
jax.distributed.initialize(sys.argv[1], 2, int(sys.argv[2]))
import numpy as np
import test_sharding as tests
mesh = tests.sharding.make_mesh(2, 2, 2)
host = jax.tree.map(np.asarray, tests.nn.unbox(jax.jit(tests.initialise)()))
shardings = tests.sharding.param_shardings(jax.eval_shape(tests.initialise), mesh)
state, values = tests.train(tests.sharding.place(host, shardings), mesh, 2)
predict = tests.make_predict(tests.apply, mesh)
logits = np.asarray(predict(state.params, {}, *next(tests.batches())[:2]))
print(*values, *logits.ravel())
"""


@pytest.mark.slow
def test_two_processes_equal_one(unsharded):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    here = Path(__file__).parent
    processes = [
        subprocess.Popen([sys.executable, "-c", PROCESS, address, str(rank)], cwd=here, stdout=subprocess.PIPE)
        for rank in range(2)
    ]
    try:
        printed = [process.communicate(timeout=300)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0]
    state, values = unsharded[2]
    logits = make_predict(apply)(state.params, {}, *next(batches())[:2])
    for output in printed:
        ours = np.array(output.split()[-len(values) - logits.size :], float)
        np.testing.assert_allclose(ours, [*values, *np.ravel(logits)], rtol=1e-3, atol=1e-4)
