"""A checkpoint is whole or every problem is listed; onto a mesh it is read piece by piece."""

import contextlib
import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests import tiny as make
from tests.test_models_parity import FAMILIES, saved
from w2s_jax import models
from w2s_jax.models import assembly, weights
from w2s_jax.runtime import sharding
from w2s_jax.runtime.errors import UserError

MESHES = [(8, 1, 1), (1, 8, 1), (2, 2, 2), (1, 2, 4)]


def spoiled(folder, change):
    """The folder with its tensors changed, in two files."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    (folder / "model.safetensors").unlink()
    shards = {f"model-0000{part + 1}-of-00002.safetensors": sorted(tensors)[part::2] for part in range(2)}
    for file, held in shards.items():
        save_file({name: np.ascontiguousarray(tensors[name]) for name in held}, folder / file)
    index = {"weight_map": {name: file for file, held in shards.items() for name in held}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return str(folder)


def loads(source):
    """Onto the host, and onto a mesh."""
    return [lambda: models.load(source), lambda: models.load_sharded(source, sharding.make_mesh(2, 2, 2))]


def test_problems_of_every_kind_are_listed_at_once_and_counted(tmp_path):
    def change(tensors):
        del tensors["model.norm.weight"]
        for layer in (0, 1):
            del tensors[f"model.layers.{layer}.self_attn.k_proj.weight"]
        tensors["model.layers.1.mlp.up_proj.weight"] = tensors["model.layers.1.mlp.up_proj.weight"].T
        tensors["model.embed_tokens.weight"] = tensors["model.embed_tokens.weight"][:-1]
        tensors["model.layers.2.mlp.up_proj.weight"] = tensors["surprise"] = np.zeros(3, np.float32)

    source = spoiled(make.llama(tmp_path / "m"), change)
    for load in loads(source):
        with pytest.raises(UserError) as error:
            load()
        first, *problems = str(error.value).replace(": ", "; ", 1).split("; ")
        assert first == "the checkpoint is not a whole llama"
        assert problems == [
            "embed_tokens.weight of shape (14, 16), which should be (15, 16)",
            "missing layers.0.self_attn.k_proj.weight",
            "extra surprise",
            "layers.1.mlp.up_proj.weight of shape (16, 32), which should be (32, 16)",
            "missing layers.1.self_attn.k_proj.weight",
            "and 2 more",
        ]


@pytest.mark.parametrize("name", ["gpt2", "gpt_neox"])
def test_a_fused_tensor_of_another_shape_is_listed(tmp_path, name):
    saved(tmp_path, *FAMILIES[name])
    fused = {"gpt2": "attn.c_attn.weight", "gpt_neox": "attention.query_key_value.weight"}[name]

    def change(tensors):
        (name,) = [name for name in tensors if "1." in name and name.endswith(fused)]
        tensors[name] = tensors[name][:, :-3]

    for load in loads(spoiled(tmp_path, change)):
        with pytest.raises(UserError, match=rf"{fused} of shape \(\d+, \d+\), which should be \(\d+, \d+\)$"):
            load()


def test_a_shard_that_is_not_there_is_named(tmp_path):
    source = spoiled(make.llama(tmp_path / "m"), lambda tensors: None)
    assert models.load(source).config.n_layers == 2
    (tmp_path / "m" / "model-00002-of-00002.safetensors").unlink()
    models.load.cache_clear()
    with pytest.raises(UserError, match=r"names model-00002-of-00002\.safetensors, which is not there"):
        models.load(source)


ALL = [(name, shape) for name in FAMILIES for shape in MESHES]
USUAL = [(name, shape) for name, shape in ALL if name == "llama" or (shape == (2, 2, 2) and "," not in name)]


@pytest.mark.parametrize(
    ("name", "shape"),
    [pytest.param(*each, marks=() if each in USUAL else pytest.mark.slow) for each in ALL],
)
def test_loaded_onto_a_mesh_it_is_the_same_model(tmp_path, monkeypatch, name, shape):
    saved(tmp_path, *FAMILIES[name])
    mesh = sharding.make_mesh(*shape)
    whole = models.load(str(tmp_path))
    monkeypatch.setattr(assembly, "CHUNK", 200)  # no matrix is read at once
    found = models.load_sharded(str(tmp_path), mesh)
    assert found.config == whole.config
    jax.tree.map(np.testing.assert_array_equal, dict(found.params), dict(whole.params))
    module, _ = models.build_classifier(whole, 2, rng=jax.random.key(0))
    expected = sharding.param_shardings(models.boxed_shapes(module), mesh)["backbone"]
    assert jax.tree.map(lambda leaf: leaf.sharding, dict(found.params)) == expected


@pytest.mark.parametrize("shape", [(1, 8, 1), (2, 2, 2), *make.slow((8, 1, 1), (1, 1, 8), (1, 2, 4))])
@pytest.mark.parametrize("name", ["llama", *make.slow("gpt2", "gpt_neox", "gemma2", "bert")])
def test_onto_a_mesh_each_number_is_read_once(tmp_path, monkeypatch, name, shape):
    """But for those of which several devices hold different rows."""
    saved(tmp_path, *FAMILIES[name])
    read, safetensors = [], weights.safetensors

    @contextlib.contextmanager
    def counted(paths):
        with safetensors(paths) as tensors:

            def count(name, *index):
                found = tensors.read(name, *index)
                read.append(found.size)
                return found

            yield tensors._replace(read=count)

    monkeypatch.setattr(weights, "safetensors", counted)
    found = models.load_sharded(str(tmp_path), sharding.make_mesh(*shape))
    assert sum(read) <= 1.1 * sum(leaf.size for leaf in jax.tree.leaves(dict(found.params)))


def test_of_a_cut_model_only_its_first_layers_are_placed(tmp_path):
    saved(tmp_path, *FAMILIES["llama"])
    mesh = sharding.make_mesh(2, 2, 2)
    whole = models.load(str(tmp_path), read_layer=2)
    found = models.load_sharded(str(tmp_path), mesh, read_layer=2)
    jax.tree.map(np.testing.assert_array_equal, dict(found.params), dict(whole.params))


MEASURE = """
import json, re, sys, threading
import jax
jax.config.update("jax_num_cpu_devices", 4)
from w2s_jax import models
from w2s_jax.runtime import sharding

def anonymous():  # what the process holds; pages of the checkpoint that the system keeps in its cache do not count
    return int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024

source, *shape = sys.argv[1:]
mesh = sharding.make_mesh(*map(int, shape))
models.load_sharded(source + "/warm", mesh)
before = most = anonymous()
done = threading.Event()

def watch():
    global most
    while not done.wait(0.0005):
        most = max(most, anonymous())

watcher = threading.Thread(target=watch)
watcher.start()
params = models.load_sharded(source, mesh).params
jax.block_until_ready(params)
done.set()
watcher.join()
leaves = jax.tree.leaves(params)
held = sum(shard.data.nbytes for leaf in leaves for shard in leaf.addressable_shards)
largest = max(leaf.addressable_shards[0].data.nbytes for leaf in leaves)
print(json.dumps({"used": most - before, "held": held, "largest": largest}))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured as Linux states it")
@pytest.mark.parametrize("shape", [(1, 4, 1), (1, 2, 2)])
def test_loading_holds_no_more_than_the_devices_and_one_piece(tmp_path, shape):
    """Of a checkpoint of 373 MB in bfloat16, as most are published."""
    folder = make.llama(tmp_path / "m", layers=12, width=768, vocabulary=160_000)
    tensors = load_file(folder / "model.safetensors")
    save_file({name: array.astype(jnp.bfloat16) for name, array in tensors.items()}, folder / "model.safetensors")
    size = (folder / "model.safetensors").stat().st_size
    make.llama(folder / "warm")
    command = [sys.executable, "-c", MEASURE, str(folder), *map(str, shape)]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    answer = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert found["held"] < 1.001 * 2 * size, "every parameter lies on one device, in float32"
    assert found["used"] <= found["held"] + 1.2 * found["largest"], found
