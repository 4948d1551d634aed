"""How people keep models: what can be read is read, and for everything else one line says what it is and what to do."""

import json
import logging
import os
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests import hub_models
from tests import tiny as make
from tests.fake_hub import FakeHub
from tests.test_hub import MODEL, ask
from tests.test_models_loading import loads, spoiled
from w2s_jax import models
from w2s_jax.models import hub_files
from w2s_jax.runtime.errors import UserError
from w2s_jax.train import reading
from w2s_jax.train.learner import Learner


@pytest.fixture(autouse=True)
def said(caplog):
    hub_files.say.cache_clear()
    caplog.set_level(logging.WARNING)
    return lambda: [each.getMessage() for each in caplog.records if each.name.startswith("w2s_jax")]


@pytest.fixture
def folder(tmp_path):
    return make.llama(tmp_path / "m")


def settings(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    models.outline.cache_clear()
    models.load.cache_clear()


def refused(source, *said):
    """In one short line that holds all of this."""
    for load in loads(str(source)):
        with pytest.raises(UserError) as error:
            load()
        line = str(error.value)
        assert "\n" not in line
        assert len(line) < 600
        for each in said:
            assert each in line, line


def assert_same(params, other):
    jax.tree.map(np.testing.assert_array_equal, dict(params), dict(other))


POINTER = (
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:248dfc3911869ec493c76e65bf2fcf7f615828b0254c12b473182f0f81d3a707\n"
    "size 548105171\n"
)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_pointers_of_git_lfs_are_no_files(folder, name):
    (folder / name).write_text(POINTER)
    refused(folder, f"{name} is a pointer of Git LFS, not the file", "git lfs pull")


def test_a_web_page_is_no_model(folder):
    """As `wget` fetches it from the page of a file instead of the file."""
    (folder / "model.safetensors").write_text("<!doctype html>\n<html><head><title>model</title></head></html>")
    refused(folder, "model.safetensors is a web page, not the file", "/resolve/")


@pytest.mark.parametrize("size", [0, 7, 300, -1000])
def test_a_file_that_was_copied_in_part_is_refused(folder, size):
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:size])
    refused(folder, "model.safetensors is not a whole safetensors file")


def test_shards_without_an_index_are_read_where_all_are_there(folder):
    expected = models.load(str(folder)).params
    spoiled(folder, lambda tensors: None)
    (folder / "model.safetensors.index.json").unlink()
    models.load.cache_clear()
    for load in loads(str(folder)):
        assert_same(load().params, expected)
    (folder / "model-00001-of-00002.safetensors").unlink()
    refused(folder, "model-00002-of-00002.safetensors is one of 2", "model-00001-of-00002.safetensors is not there")


def test_a_tensor_that_two_files_hold_is_refused(folder):
    spoiled(folder, lambda tensors: None)
    first, second = (folder / f"model-0000{k}-of-00002.safetensors" for k in (1, 2))
    name = sorted(load_file(first))[0]
    save_file({**load_file(second), name: load_file(first)[name] + 1}, second)
    refused(folder, f"{name} is in two files")


def test_only_the_first_pickles_are_named(folder):
    (folder / "model.safetensors").unlink()
    for k in range(30):
        (folder / f"pytorch_model-{k + 1:05d}-of-00030.bin").write_bytes(hub_models.PICKLE)
    refused(folder, "pytorch_model-00001-of-00030.bin", "and 27 more", "reading a pickle can run anything")


def test_other_frameworks_weights_are_named(folder):
    (folder / "model.safetensors").unlink()
    (folder / "flax_model.msgpack").write_bytes(b"x")
    (folder / "tf_model.h5").write_bytes(b"x")
    refused(folder, "no *.safetensors file", "flax_model.msgpack, tf_model.h5")


@pytest.mark.parametrize("name", ["pytorch_model_fsdp_0", "pytorch_model_fsdp"])
def test_shards_of_fsdp_are_refused_with_what_to_do(folder, name):
    (folder / "model.safetensors").unlink()
    (folder / name).mkdir()
    (folder / name / "__0_0.distcp").write_bytes(b"x")
    refused(folder, "shards of FSDP", name, "accelerate merge-weights")
    (folder / "config.json").unlink()
    refused(folder, "shards of FSDP")


def test_shards_of_deepspeed_are_refused_with_what_to_do(folder):
    (folder / "model.safetensors").unlink()
    (folder / "global_step500").mkdir()
    (folder / "zero_to_fp32.py").write_text("print('not run')")
    (folder / "latest").write_text("global_step500")
    refused(folder, "shards of DeepSpeed", "zero_to_fp32.py", "--safe_serialization")


def test_what_accelerate_saves_of_a_model_lacks_its_config(folder):
    """As `accelerator.save_state` writes it."""
    for name in ("optimizer.bin", "scheduler.bin", "random_states_0.pkl"):
        (folder / name).write_bytes(hub_models.PICKLE)
    (folder / "config.json").unlink()
    refused(folder, "has no config.json, though weights", "copy config.json and the tokenizer")


def test_a_trainers_output_names_its_checkpoints(tmp_path):
    out = tmp_path / "out"
    for step in (50, 500, 1000):
        make.llama(out / f"checkpoint-{step}")
    (out / "trainer_state.json").write_text("{}")
    refused(out, f"{out} has no config.json", "give one of its folders: checkpoint-50, checkpoint-500, checkpoint-1000")
    assert models.load(str(out / "checkpoint-500")).config.n_layers == 2


def test_what_a_trainer_leaves_beside_a_model_does_not_matter(folder, said):
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin", "trainer_state.json"):
        (folder / name).write_bytes(hub_models.PICKLE)
    (folder / "runs").mkdir()
    models.load(str(folder))
    assert not said()


@pytest.mark.parametrize("weights", ["consolidated.safetensors", "consolidated.00.pth"])
def test_the_original_formats_of_mistral_and_meta_are_named(tmp_path, weights):
    (tmp_path / "params.json").write_text(json.dumps({"dim": 16, "n_layers": 2}))
    (tmp_path / weights).write_bytes(hub_models.PICKLE)
    (tmp_path / "tokenizer.model").write_bytes(b"x")
    refused(tmp_path, "has no config.json", "params.json", "original format", "Hugging Face")


def test_a_dangling_link_is_named_and_a_good_one_is_followed(folder, tmp_path):
    """As the Hub's cache has links, and a copy of it links to nothing."""
    (tmp_path / "blob").write_bytes((folder / "model.safetensors").read_bytes())
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(tmp_path / "blob")
    (tmp_path / "linked").symlink_to(folder)
    models.load(str(tmp_path / "linked"))
    (tmp_path / "blob").unlink()
    refused(folder, "model.safetensors is a link to nothing")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root reads and writes everything")
def test_a_folder_that_cannot_be_written_is_read_and_a_file_that_cannot_be_read_is_named(folder):
    folder.chmod(0o555)
    try:
        models.load(str(folder))
    finally:
        folder.chmod(0o755)
    (folder / "model.safetensors").chmod(0)
    refused(folder, "model.safetensors", "Permission denied")


def test_windows_line_ends_and_a_byte_order_mark_do_not_matter(folder):
    for name in ("config.json", "tokenizer.json"):
        content = json.dumps(json.loads((folder / name).read_text()), indent=2)
        mark = b"\xef\xbb\xbf" if name == "config.json" else b""
        (folder / name).write_bytes(mark + content.replace("\n", "\r\n").encode())
    assert models.load(str(folder)).config.n_layers == 2


@pytest.mark.parametrize("content", ["[]", "3", '"llama"', "null"])
def test_a_config_that_is_no_table_is_refused(folder, content):
    (folder / "config.json").write_text(content)
    refused(folder, "config.json holds no settings")


def test_a_missing_tokenizer_is_said_in_one_line(folder):
    (folder / "tokenizer.json").unlink()
    settings(folder, _name_or_path="org/base")
    refused(folder, "has no tokenizer", "tokenizer.json", "org/base")


def test_the_config_of_another_model_is_one_line(folder, tmp_path):
    other = make.llama(tmp_path / "other", width=32, layers=4)
    shutil.copy(other / "config.json", folder / "config.json")
    refused(folder, "is not a whole llama", "of shape (15, 16), which should be (15, 32)", "more")


def test_a_table_with_more_rows_than_the_tokenizer_has_tokens_is_read(tmp_path):
    """As vocabularies are padded to a multiple of 64."""
    folder = make.llama(tmp_path / "m", vocabulary=64)
    found = models.load(str(folder))
    assert found.params["embed"]["embedding"].shape == (64, 16)
    assert found.tokenizer.vocab_size == 15


def test_tokens_that_the_table_does_not_have_are_refused(tmp_path):
    """As a tokenizer to which tokens were added, beside a model that was not resized."""
    folder = make.llama(tmp_path / "m", vocabulary=10)
    learner = Learner(str(folder))
    assert len(reading.tokenize(learner, ["good bad", "fine"])) == 2
    with pytest.raises(UserError, match=r"token 'very' has the number 13, and the model has embeddings of 10 tokens"):
        reading.tokenize(learner, ["good bad", "very fine"])
    with pytest.raises(UserError, match="the model has embeddings of 10 tokens"):
        reading.encode_prompts(learner, ["very"], 1)


def test_a_cut_in_too_many_layers_is_named(folder):
    settings(folder, num_hidden_layers=1)
    refused(folder, "extra layers.1.", "and 4 more")


def test_a_merge_of_models_is_read(folder, said):
    """mergekit's output: bfloat16, a config and a recipe of its own beside it."""
    tensors = load_file(folder / "model.safetensors")
    save_file({name: tensor.astype(jnp.bfloat16) for name, tensor in tensors.items()}, folder / "model.safetensors")
    (folder / "mergekit_config.yml").write_text("merge_method: slerp\n")
    settings(folder, torch_dtype="bfloat16", _name_or_path="a/b")
    models.load(str(folder))
    assert not said()


def test_code_of_its_own_is_not_run_and_named(folder, said, tmp_path):
    code = f"open({str(tmp_path / 'ran')!r}, 'w')\n"
    for name in ("modeling_custom.py", "configuration_custom.py"):
        (folder / name).write_text(code)
    auto = {"AutoConfig": "configuration_custom.CustomConfig", "AutoModelForCausalLM": "modeling_custom.Custom"}
    settings(folder, auto_map=auto)
    for load in loads(str(folder)):
        load()
    assert said() == [
        f"{folder}: its own code (configuration_custom.CustomConfig, modeling_custom.Custom) is not run; it is read as "
        "a plain llama, which is the same only if that code computes the same"
    ]
    assert not (tmp_path / "ran").exists()


def test_of_several_variants_there_is_no_telling(folder):
    whole = folder / "model.safetensors"
    for name in ("model.fp16.safetensors", "model.fp32.safetensors"):
        shutil.copy(whole, folder / name)
    whole.unlink()
    refused(folder, "model.fp16.safetensors, model.fp32.safetensors", "no model.safetensors.index.json")
    (folder / "model.fp16.safetensors").unlink()
    models.load(str(folder))


def test_an_empty_folder_and_a_file_are_said(tmp_path):
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "has no config.json")
    (tmp_path / "notes.txt").write_text("x")
    refused(tmp_path / "notes.txt", "notes.txt is a file", "folder")


def test_one_file_of_a_folder_stands_for_the_folder_it_is_in(folder):
    refused(folder / "model.safetensors", "is a file of a model; give its folder", str(folder))
    refused(folder / "config.json", "is a file of a model; give its folder")


SENTENCES = [
    {"idx": 0, "name": "0", "path": "0_Transformer", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
]


def test_from_the_hub_only_what_is_the_model_is_fetched(tmp_path):
    files = hub_models.published(tmp_path / "m")
    nested = {f"0_Transformer/{name}": content for name, content in files.items()}
    nested |= {"modules.json": json.dumps(SENTENCES).encode(), "1_Pooling/config.json": b'{"pooling_mode": "mean"}'}
    config = json.loads(files["config.json"]) | {"quantization_config": {"quant_method": "gptq", "bits": 4}}
    with FakeHub() as hub:
        hub.add("models", "me/sentences", nested | {"onnx/model.onnx": b"x", "README.md": b"x"})
        hub.add("models", "me/gptq", files | {"config.json": json.dumps(config).encode()})
        hub.add("models", "me/pickled", {"adapter_config.json": b"{}", "adapter_model.bin": hub_models.PICKLE})
        calls = "".join(f"model({name!r})\n" for name in ("me/sentences", "me/gptq", "me/pickled"))
        found, gptq, adapter = ask(hub, tmp_path / "home", MODEL + calls)
        assert sorted(found[2]) == sorted([*files, "modules.json", "1_Pooling/config.json"])
        assert "quantized (gptq, 4 bits)" in gptq["error"]
        assert "adapter_model.bin: reading a pickle can run anything" in adapter["error"]
        assert sorted(hub.downloads) == sorted([*nested, "config.json"]), "of what is refused no more than its config"
