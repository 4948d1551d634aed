"""Several processes that train one model together: equal to one, stopped together, ended together."""

import contextlib
import dataclasses
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec, SingleDeviceSharding

from tests import QUICK
from tests import tiny as make
from w2s_jax import api, cli
from w2s_jax.runtime import checkpoint, sharding

ROOT = Path(__file__).parent.parent
TOLERANCE = {"rtol": 2e-3, "atol": 2e-4}
TOGETHER = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")

CONFIG = """
from w2s_jax import Experiment, Learner, LoopSettings, Method, OptimizerConfig, TaskConfig, Train

common = dict(batch_size=8, optimizer=OptimizerConfig(learning_rate=1e-2), loop=LoopSettings(checkpoint_seconds=1e9))
experiment = Experiment(
    name="tiny",
    tasks=(TaskConfig("reviews.jsonl", supervisor=32, transfer=32, validation=16, test=40),),
    supervisors={"weak": Learner("weak", **common)},
    students={"strong": Learner("strong", **common)},
    methods={
        "confidence": Method(Train("confidence", {"warmup_fraction": 0.0})),
        "balanced": Method(Train("log_confidence", {"warmup_steps": 1, "balance": True})),
    },
    seeds=(0,),
    out="runs",
)
"""


# Where one of the processes meets what the others do not, while the ceiling trains.
TROUBLE = """
import os, signal, sys, time
from w2s_jax import cli
from w2s_jax.pipeline.session import Session
from w2s_jax.runtime import processes
from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.progress import Reporter
from w2s_jax.train import loop

processes.PATIENCE_SECONDS, loop.ASK_SECONDS = 3.0, 0.2
what, last = sys.argv.pop(1), int(os.environ["JAX_PROCESS_ID"]) == int(os.environ["JAX_NUM_PROCESSES"]) - 1
make, step = Session.make, Reporter.step

def troubled_make(self, stages, *more):
    if what == "before" and stages[0].role == "ceiling":
        raise UserError("the last has no luck")
    if what == "surprised" and stages[0].role == "ceiling":
        raise TypeError("nobody foresaw this")
    return make(self, stages, *more)

def troubled_step(self, at, total, loss, **names):
    if at == 3 and self._stage.startswith("[2/4] ceiling"):
        if what == "stop":
            os.kill(os.getpid(), signal.SIGTERM)
        if what == "within":
            raise UserError("the last has no luck")
    if what == "stop slow" and self._stage.startswith("[2/4] ceiling"):
        time.sleep(0.1)
        if at == 10:
            os.kill(os.getpid(), signal.SIGTERM)
    step(self, at, total, loss, **names)

if last:
    Session.make, Reporter.step = troubled_make, troubled_step
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("job")
    make.llama(folder / "weak", layers=1, width=8)
    make.llama(folder / "strong", seed=1)
    make.reviews(folder / "reviews.jsonl")
    (folder / "config.py").write_text(CONFIG)
    return folder


@pytest.fixture(scope="module")
def expected(folder):
    """What one process with one device finds."""
    assert alone(folder, "--out", "alone").returncode == cli.OK
    return predictions(folder, "alone")


def environment(devices, **more):
    return {
        **{name: value for name, value in os.environ.items() if name not in TOGETHER},
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices} {QUICK}",
        "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".pytest_cache" / "xla"),
        "PYTHONPATH": str(ROOT),
        **more,
    }


def start(folder, *commands, devices=4):
    """The processes of one job, each with its own simulated devices."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    return [
        subprocess.Popen(
            [sys.executable, *command],
            cwd=folder,
            env=environment(devices, **dict(zip(TOGETHER, (address, str(len(commands)), str(rank)), strict=True))),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, command in enumerate(commands)
    ]


def ended(started, timeout=300):
    """Exit codes, and what each process wrote to standard output and error."""
    try:
        written = [process.communicate(timeout=timeout) for process in started]
    finally:
        for process in started:
            process.kill()
    return [process.returncode for process in started], written


def errors(written):
    """What was written to standard error, without what the XLA compiler has to say."""
    return [[line for line in error.splitlines() if "spmd_partitioner" not in line] for _, error in written]


def w2s(*arguments):
    return ["-m", "w2s_jax.cli", "run", "config.py", *arguments]


def troubled(what, *arguments):
    return ["-c", TROUBLE, what, "run", "config.py", "--distributed", *arguments]


def alone(folder, *arguments):
    """The same command in one process with one device."""
    command = [sys.executable, *w2s(*arguments)]
    return subprocess.run(command, cwd=folder, env=environment(1), capture_output=True, text=True, timeout=300)


def predictions(folder, out="runs"):
    with contextlib.chdir(folder):
        plan = dataclasses.replace(api.load_experiment("config.py"), out=out)
        stages, store = make.stages(plan), api.open_store(plan)
        read = {stage.name: store.read(stage.name) for stage in stages if store.done(stage.name)}
    return {name: (found.predictions.logits, found.history.losses) for name, found in read.items()}


def assert_close(ours, expected):
    assert ours.keys() == expected.keys()
    for name, (logits, losses) in expected.items():
        np.testing.assert_allclose(ours[name][1], losses, err_msg=name, **TOLERANCE)
        np.testing.assert_allclose(ours[name][0], logits, err_msg=name, **TOLERANCE)


@pytest.mark.slow
def test_two_processes_find_what_one_finds(folder, expected):
    """With losses whose threshold and balance are of the whole batch, however it is sharded."""
    command = w2s("--out", "two", "--distributed", "--mesh.data", "2", "--mesh.fsdp", "4")
    codes, written = ended(start(folder, command, command))
    assert codes == [cli.OK, cli.OK], written
    assert len(expected) == 4
    assert_close(predictions(folder, "two"), expected)
    assert "wrote two/tiny/results.json" in written[0][0]
    assert "done in" in written[0][1]
    assert "wrote" not in written[1][0], "only the first writes and prints"
    assert "done in" not in written[1][1]
    status = alone(folder, "--out", "two", "--dry-run").stdout
    assert status.count("done ") == 4, "a stage is the same, however many processes made it"


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_asked_to_stop_one_stops_all_and_any_number_resumes(folder, expected, before, after):
    mesh = {1: ["--mesh.fsdp", "1"], 2: ["--mesh.fsdp", "8", "--mesh.data", "1"]}
    out = f"stopped{before}{after}"
    command = troubled("stop", "--out", out, *mesh[before])
    codes, written = ended(start(folder, *[command] * before))
    assert codes == [cli.INTERRUPTED] * before, written
    stopped = re.search(r"stopped at step ([34]) of 8", "".join(error for _, error in written))
    assert stopped, written
    (progress,) = (folder / out / "stages").glob("ceiling-*/progress")
    assert len(checkpoint.meta(progress)["jobs"][0]["losses"]) == int(stopped[1])
    command = w2s("--out", out, "--distributed", *mesh[after])
    codes, written = ended(start(folder, *[command] * after))
    assert codes == [cli.OK] * after, written
    assert_close(predictions(folder, out), expected)


@pytest.mark.slow
def test_asked_to_stop_far_from_any_evaluation_all_stop_soon(folder):
    """Within a few steps, where these are slow."""
    settings = ["--students.strong.epochs", "6", "--students.strong.loop.evaluations", "1"]
    command = troubled("stop slow", "--out", "slow", *settings)
    codes, written = ended(start(folder, command, command))
    assert codes == [cli.INTERRUPTED, cli.INTERRUPTED], written
    assert re.search(r"stopped at step 1[0-6] of 24", written[0][1] + written[1][1]), written


@pytest.mark.slow
@pytest.mark.parametrize(("what", "says"), [("before", "no luck"), ("surprised", "TypeError: nobody foresaw this")])
def test_an_error_of_one_before_it_trains_is_a_failed_stage_of_all(folder, expected, what, says):
    """Of any kind; what was not foreseen has its last lines in the stage's folder."""
    out = f"failed {what}"
    command = troubled(what, "--out", out)
    codes, written = ended(start(folder, command, command))
    assert codes == [cli.FAILED, cli.FAILED], written
    assert any(line.startswith("failed: ceiling") and says in line for line in errors(written)[0]), written
    others = {name: found for name, found in expected.items() if not name.startswith("ceiling")}
    assert_close(predictions(folder, out), others)
    kept = list((folder / out / "stages").glob("*/failed.txt"))
    assert [path.parent.name.split("-")[0] for path in kept] == (["ceiling"] if what == "surprised" else [])


@pytest.mark.slow
def test_an_error_of_one_within_training_reaches_all(folder):
    """Where they meet before they wait for each other the stage has failed; else the job has."""
    command = troubled("within", "--out", "lost")
    codes, written = ended(start(folder, command, command), timeout=120)
    assert codes == [cli.FAILED, cli.FAILED], written
    assert any("the last has no luck" in line for lines in errors(written) for line in lines), written


def tree():
    rows = jnp.arange(32 * 16, dtype=jnp.float32).reshape(32, 16)
    return {"kernel": rows, "bias": jnp.arange(3.0), "half": (rows / 7).astype(jnp.bfloat16), "step": jnp.int32(5)}


CUTS = {
    "kernel": PartitionSpec("fsdp", "tensor"),
    "bias": PartitionSpec(),
    "half": PartitionSpec(None, "fsdp"),
    "step": PartitionSpec(),
}


def shapes(mesh=None):
    """The tree as shapes, on a mesh or on one device."""
    where = {
        name: SingleDeviceSharding(jax.devices()[0]) if mesh is None else NamedSharding(mesh, CUTS[name])
        for name in CUTS
    }
    return {name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where[name]) for name, leaf in tree().items()}


def check_restored(path, abstract):
    where = abstract["step"].sharding
    key = jax.ShapeDtypeStruct((), jax.random.key(0).dtype, sharding=where)
    restored = checkpoint.restore(path, {"params": abstract, "key": {"rng": key}})
    bits = jax.jit(jax.random.key_data, out_shardings=where)(restored["key"]["rng"])
    np.testing.assert_array_equal(bits, jax.random.key_data(jax.random.key(3)))
    for name, whole in tree().items():
        found = restored["params"][name]
        assert found.dtype == whole.dtype
        assert found.sharding == abstract[name].sharding
        for piece in found.addressable_shards:
            np.testing.assert_array_equal(piece.data, whole[piece.index])


SAVE = """
import sys
import jax
from w2s_jax.runtime import checkpoint, processes
from tests import test_processes as tests
processes.initialize()
mesh = tests.sharding.make_mesh(1, 8, 1)
params = tests.sharding.place(tests.tree(), {name: shape.sharding for name, shape in tests.shapes(mesh).items()})
assert not params["kernel"].is_fully_addressable
key = jax.jit(lambda: jax.random.key(3), out_shardings=tests.sharding.replicated(mesh))()
path = tests.Path("saved").absolute()
for step in (1, 2):
    checkpoint.save(path, {"params": params, "key": {"rng": key}}, {"step": step})
for sizes in ((2, 2, 2), (1, 4, 2), (8, 1, 1)):
    tests.check_restored(path, tests.shapes(tests.sharding.make_mesh(*sizes)))
if processes.is_leader():
    whole = checkpoint.load(path, "params")
    assert (whole["kernel"] == tests.tree()["kernel"]).all()
"""


def test_a_checkpoint_of_two_processes_is_restored_on_any_mesh(tmp_path):
    codes, written = ended(start(tmp_path, ["-c", SAVE], ["-c", SAVE]))
    assert codes == [0, 0], written
    assert checkpoint.meta(tmp_path / "saved") == {"step": 2}
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]
    for mesh in (None, sharding.make_mesh(2, 2, 2), sharding.make_mesh(2, 2, 1, devices=jax.devices()[:4])):
        check_restored(tmp_path / "saved", shapes(mesh))


def test_processes_of_different_experiments_are_refused(folder):
    codes, written = ended(start(folder, w2s("--distributed"), w2s("--distributed", "--seeds", "1")))
    assert codes == [cli.BAD_INPUT, cli.BAD_INPUT], written
    assert sum("different experiments" in line for lines in errors(written) for line in lines) == 1
    assert not (folder / "runs" / "stages").exists()


@pytest.mark.parametrize(
    ("variables", "says"),
    [({}, "set JAX_COORDINATOR_ADDRESS"), ({"JAX_NUM_PROCESSES": "two"}, "JAX_NUM_PROCESSES must be a whole number")],
)
def test_no_cluster_is_said_in_one_line(folder, variables, says):
    command = [sys.executable, *w2s("--distributed")]
    done = subprocess.run(
        command, cwd=folder, env=environment(1, **variables), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == cli.BAD_INPUT
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert says in line
