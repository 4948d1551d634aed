"""Stages on a mesh: what they start from goes straight onto the devices, and they find what one device finds."""

import dataclasses
import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests import tiny as make
from tests.test_language_model import TEXTS
from tests.tiny import untied
from w2s_jax import api, losses, models
from w2s_jax.config import Method
from w2s_jax.models import params as parameter_sets
from w2s_jax.models.layers import Lora
from w2s_jax.runtime import checkpoint, sharding
from w2s_jax.train import generative, probing, prompting
from w2s_jax.train.finetune import finetune
from w2s_jax.train.learner import Generative, Learner
from w2s_jax.train.optimizer import OptimizerConfig

TOLERANCE = {"rtol": 2e-3, "atol": 2e-4}
LABELS = np.eye(2, dtype=np.float32)[[1, 0, 0, 1, 0, 0, 1, 0]]


@pytest.fixture(scope="module")
def mesh():
    return sharding.make_mesh(2, 2, 2)


def assert_close(ours, expected):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **TOLERANCE), ours, expected)


def assert_lies(params, shardings):
    same = jax.tree.map(lambda leaf, where: leaf.sharding.is_equivalent_to(where, leaf.ndim), dict(params), shardings)
    assert all(jax.tree.leaves(same))


def untied_learner(folder, **changes):
    optimizer = OptimizerConfig(learning_rate=1e-2)
    return Learner(str(untied(folder)), **{"batch_size": 8, "optimizer": optimizer, **changes})


@pytest.mark.parametrize("lora", [None, Lora(2)])
def test_what_is_new_is_made_where_it_lies_and_the_same(tmp_path, mesh, lora):
    source, key = str(untied(tmp_path / "m")), jax.random.key(3)
    for build in (functools.partial(models.build_classifier, n_classes=3), models.build_language_model):
        module, found = build(models.load_sharded(source, mesh), rng=key, lora=lora, mesh=mesh)
        _, alone = build(models.load_sharded(source, None), rng=key, lora=lora)
        _, host = build(models.load(source), rng=key, lora=lora)
        assert_lies(found, models.shardings(module, mesh))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7), found, host)
        jax.tree.map(np.testing.assert_array_equal, alone, host)


def test_pretrained_arrays_that_lie_in_place_are_not_copied(tmp_path, mesh):
    pretrained = models.load_sharded(str(make.llama(tmp_path / "m")), mesh)
    _, params = models.build_classifier(pretrained, 2, rng=jax.random.key(0), mesh=mesh)
    same = jax.tree.map(lambda a, b: a is b, params["backbone"], dict(pretrained.params))
    assert all(jax.tree.leaves(same))


@pytest.mark.parametrize("parameters", ["full", "lora", "head"])
def test_finetuning(tmp_path, mesh, parameters):
    learner = untied_learner(tmp_path / "m", parameters=parameters)

    def run(mesh):
        pretrained = models.load_sharded(learner.model, mesh)
        labelled = TEXTS, LABELS
        loss = losses.bind(losses.cross_entropy)
        found = finetune(
            learner, pretrained, loss, train=labelled, validation=labelled, predict={"test": TEXTS}, seed=0, mesh=mesh
        )
        embedding = pretrained.params["embed"]["embedding"]
        assert embedding.is_deleted() == (parameters == "full"), "what trains is not held twice"
        return found.logits["test"], found.history.losses

    assert_close(run(mesh), run(None))


@pytest.mark.parametrize("parameters", ["full", *make.slow("lora")])
def test_generative_finetuning(tmp_path, mesh, parameters):
    settings = Generative(epochs=2, learning_rate=3e-3, batch_size=8)
    learner = untied_learner(tmp_path / "m", parameters=parameters, generative=settings)

    def run(mesh):
        pretrained = models.load_sharded(learner.model, mesh)
        return generative.adapt(learner, pretrained, TEXTS * 2, seed=0, mesh=mesh)

    found = run(mesh)
    backbone, _ = models.build_classifier(models.load(learner.model), 2, rng=jax.random.key(0))
    assert_lies(found.params["backbone"], models.shardings(backbone, mesh)["backbone"])
    assert_close(found, run(None))


def test_prompting(tmp_path, mesh):
    learner = untied_learner(tmp_path / "m")
    sharded, alone = (
        prompting.Asking(learner, models.load_sharded(learner.model, where), mesh=where) for where in (mesh, None)
    )
    for answers in ((" bad", " good"), (" bad film", " good film")):
        found, expected = (ask.logits(TEXTS[:5], [], answers, template="{text} is") for ask in (sharded, alone))
        assert_close(found, expected)


def test_features(tmp_path, mesh):
    learner = untied_learner(tmp_path / "m", parameters="probe")
    found = [
        probing.features(learner, TEXTS, tmp_path / name, make.quiet().step, None, where).matrix
        for name, where in (("mesh", mesh), ("alone", None))
    ]
    assert_close(*found)
    assert np.abs(found[0]).max() > 0.1


@pytest.mark.parametrize("parameters", ["full", *make.slow("lora")])
@pytest.mark.slow
def test_a_backbone_that_a_stage_trained_is_read_onto_the_mesh(tmp_path, mesh, parameters):
    """Of generative finetuning, and of a student that a probe reads; compared with NumPy on the saved files."""
    plan = make.experiment(tmp_path, methods={"probe": Method(readout="truth_probe")})
    strong = dataclasses.replace(plan.students["strong"], parameters=parameters, generative=Generative(batch_size=8))
    plan = dataclasses.replace(plan, students={"strong": strong})
    make.run(plan)
    store = api.open_store(plan)
    stages = {stage.role: stage for stage in make.stages(plan) if stage.body is not None}
    for stage in (stages["student"].body, stages["truth-probe"].body):
        saved = store.params(stage.name)["backbone"]
        if parameters == "lora" and stage.role == "student":
            start = store.params(stage.body.name)["backbone"]
            saved = parameter_sets.merge_lora(parameter_sets.combine(start, saved), Lora(strong.lora_rank).scale)
        for where in (mesh, None):
            found = make.session(plan, where).pretrained(strong, stage)
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found.params, saved)
            module, _ = models.build_classifier(found, 2, rng=jax.random.key(0), mesh=where)
            assert_lies(found.params, models.shardings(module, where)["backbone"])


MEASURE = """
import json, re, sys, threading
from pathlib import Path
import jax
jax.config.update("jax_num_cpu_devices", 4)
from tests import test_on_mesh as tests
from tests import tiny
from w2s_jax.runtime import sharding
from w2s_jax.train import finetune, generative

class Reached(Exception):
    pass

def fit(state, frozen, **_):
    raise Reached(jax.block_until_ready((state, frozen)))

finetune.fit = generative.fit = fit
case, mesh, folder = sys.argv[1], sharding.make_mesh(*map(int, sys.argv[2:5])), Path(sys.argv[5])

def anonymous():  # what the process holds; pages of files that the system keeps in its cache do not count
    return int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024

def begin(name):
    "A stage up to its first step, as a session makes it; or a backbone that a stage trained, read back."
    plan, role, parameters = tests.plan_of(folder / name, case)
    stage, session = tiny.stages(plan, role)[0], tiny.session(plan, mesh)
    if case == "restored":
        return jax.block_until_ready(dict(session.pretrained(stage.learner, stage).params))
    try:
        session.make([stage])
    except Reached as reached:
        return reached.args[0]

begin("warm")
before = most = anonymous()
done = threading.Event()

def watch():
    global most
    while not done.wait(0.0005):
        most = max(most, anonymous())

watcher = threading.Thread(target=watch)
watcher.start()
held = begin("m")
done.set()
watcher.join()
leaves = jax.tree.leaves(held)
pieces = [shard.data.nbytes for leaf in leaves for shard in leaf.addressable_shards]
found = {"used": most - before, "held": sum(pieces), "piece": max(pieces), "array": max(leaf.nbytes for leaf in leaves)}
print(json.dumps(found))
"""
CASES = {"full": ("supervisor", "full"), "lora": ("supervisor", "lora"), "generative": ("adapted", "full")}


def plan_of(folder, case):
    """An experiment, the role of one of its stages, and what of it trains."""
    role, parameters = CASES.get(case, ("adapted", "full"))
    generates = Generative(batch_size=8) if role == "adapted" else None
    learner = Learner(str(folder), batch_size=8, parameters=parameters, generative=generates)
    plan = make.experiment(folder / "plan")
    return dataclasses.replace(plan, supervisors={"big": learner}, students={"big": learner}), role, parameters


def measured(case, folder):
    """Bytes that beginning took at most, those that are then held, and the largest piece and array of them."""
    command = [sys.executable, "-c", MEASURE, case, "1", "2", "2", str(folder)]
    # Whatever is freed goes back to the system, instead of being counted while it waits to be used again.
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "MALLOC_MMAP_THRESHOLD_": str(2**18)}
    answer = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=Path(__file__).parent.parent)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured as Linux states it")
@pytest.mark.parametrize("case", CASES)
def test_no_stage_holds_more_than_its_devices_and_one_piece(tmp_path, case):
    """Of a checkpoint in bfloat16, as most are published; what is held is the state and all that is frozen."""
    make.llama(tmp_path / "warm")
    folder = make.llama(tmp_path / "m", layers=8, width=512, vocabulary=120_000)
    tensors = load_file(folder / "model.safetensors")
    half = {name: array.astype(jnp.bfloat16) for name, array in tensors.items()}
    save_file(half, folder / "model.safetensors")
    found = measured(case, tmp_path)
    assert found["used"] <= found["held"] + 1.2 * found["piece"], found


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured as Linux states it")
def test_what_a_stage_trained_is_read_back_array_by_array(tmp_path):
    mesh = sharding.make_mesh(1, 2, 2, devices=jax.devices()[:4])
    for name, sizes in {"warm": {}, "m": {"layers": 24, "width": 512, "vocabulary": 20_000}}.items():
        source = str(make.llama(tmp_path / name, **sizes))
        plan, role, _ = plan_of(tmp_path / name, "restored")
        (body,) = make.stages(plan, role)
        params = {"backbone": dict(models.load_sharded(source, mesh).params)}
        checkpoint.save(api.open_store(plan).folder(body.name) / "params", {"params": params}, {})
    found = measured("restored", tmp_path)
    assert found["held"] > 4 * found["array"]
    assert found["used"] <= found["held"] + 1.2 * found["array"], found
