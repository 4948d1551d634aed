"""More ways in which people save models: read as what they are, or refused in one line that says what to do."""

import json
import shutil

import jax
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests import hub_models
from tests import tiny as make
from tests.test_models_folders import assert_same, refused, settings
from w2s_jax import models
from w2s_jax.models import tokenizer


@pytest.fixture
def folder(tmp_path):
    return make.llama(tmp_path / "m")


def rewritten(folder, change):
    """The same folder with other tensors."""
    tensors = load_file(folder / "model.safetensors")
    save_file(change(tensors) or tensors, folder / "model.safetensors")
    return str(folder)


def in_shards(folder, change=lambda where: None):
    """The same folder in two shards, with another index."""
    for name, content in hub_models.in_shards({}, folder, 2).items():
        (folder / name).write_bytes(content)
    (folder / "model.safetensors").unlink()
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    change(index["weight_map"])
    path.write_text(json.dumps(index))


def test_numbers_of_several_kinds_are_read_side_by_side(folder, tmp_path):
    """As where only norms or heads were trained or kept in full precision."""
    kinds = [ml_dtypes.bfloat16, np.float32, np.float16, np.float64]
    tensors = load_file(folder / "model.safetensors")
    mixed = {name: array.astype(kinds[i % 4]) for i, (name, array) in enumerate(sorted(tensors.items()))}
    shutil.copytree(folder, tmp_path / "single")
    rewritten(folder, lambda _: mixed)
    rewritten(tmp_path / "single", lambda _: {name: array.astype(np.float32) for name, array in mixed.items()})
    assert_same(models.load(str(folder)).params, models.load(str(tmp_path / "single")).params)


def test_an_index_of_another_model_is_refused(folder):
    in_shards(folder, lambda where: where.update({"model.layers.9.mlp.up_proj.weight": sorted(where.values())[0]}))
    refused(folder, "names model.layers.9.mlp.up_proj.weight, which none of its files holds")


def test_an_index_may_name_another_of_its_files(folder):
    """There is no doubt which tensor is meant, for two files may not hold one name."""
    expected = models.load(str(folder)).params
    models.load.cache_clear()
    in_shards(folder)
    path = folder / "model.safetensors.index.json"
    files = sorted(each.name for each in folder.glob("model-*.safetensors"))
    where = json.loads(path.read_text())["weight_map"]
    turned = {name: files[place % 2] for place, name in enumerate(sorted(where, reverse=True))}
    path.write_text(json.dumps({"weight_map": turned}))
    assert_same(models.load(str(folder)).params, expected)


@pytest.mark.parametrize("inside", [".", "checkpoint"])
def test_pieces_of_torchs_distributed_checkpoints_are_refused_with_what_to_do(folder, inside):
    (folder / "model.safetensors").unlink()
    (folder / inside).mkdir(exist_ok=True)
    for name in (".metadata", "__0_0.distcp"):
        (folder / inside / name).write_bytes(b"x")
    refused(folder, "shards of torch.distributed.checkpoint (__0_0.distcp)", "dcp_to_torch", "save_pretrained")


def test_a_checkpoint_of_orbax_is_named(tmp_path):
    (tmp_path / "params").mkdir()
    (tmp_path / "params" / "manifest.ocdbt").write_bytes(b"x")
    refused(tmp_path, "no config.json, but a checkpoint of Orbax", "w2s export")


def test_a_cache_of_the_hub_is_read_by_its_snapshot(folder, tmp_path):
    """Whose files are links to blobs beside it."""
    expected = models.load(str(folder)).params
    cache = tmp_path / "models--org--name"
    snapshot = cache / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    (cache / "blobs").mkdir()
    for place, path in enumerate(sorted(folder.iterdir())):
        shutil.copy(path, cache / "blobs" / str(place))
        (snapshot / path.name).symlink_to(f"../../blobs/{place}")
    assert_same(models.load(str(snapshot)).params, expected)
    refused(cache, f"has no config.json; it is a cache of the Hub: give {snapshot}, or the model's id")


@pytest.mark.parametrize("config", [True, False])
def test_a_folder_of_gguf_files_names_them(folder, config):
    (folder / "model.safetensors").unlink()
    if not config:
        (folder / "config.json").unlink()
    for name in ("m.Q4_K_M.gguf", "m.Q8_0.gguf", "mmproj-model-f16.gguf"):
        (folder / name).write_bytes(b"GGUF")
    refused(folder, "but m.Q4_K_M.gguf, m.Q8_0.gguf: give ")


def test_a_gguf_file_under_another_name_is_recognised(tmp_path):
    """As Ollama keeps them."""
    blob = tmp_path / f"sha256-{'0' * 64}"
    blob.write_bytes(b"GGUF\x03\x00\x00\x00")
    refused(blob, "is a GGUF file by another name: link to it as NAME.gguf")


UP = "model.layers.0.mlp.up_proj."
QUANTIZED = {
    "bitsandbytes": {"weight": (256, 1), "weight.absmax": (8,), "weight.quant_state.bitsandbytes__nf4": (9,)},
    "GPTQ or AWQ": {"qweight": (2, 32), "qzeros": (1, 4), "scales": (1, 32), "g_idx": (16,)},
    "MLX": {"weight": (32, 2), "scales": (32, 1), "biases": (32, 1)},
}


@pytest.mark.parametrize("method", QUANTIZED)
def test_quantized_weights_are_recognised_though_the_config_does_not_say_so(folder, method):
    def change(tensors):
        del tensors[f"{UP}weight"]
        return tensors | {UP + name: np.zeros(shape, np.uint8) for name, shape in QUANTIZED[method].items()}

    rewritten(folder, change)
    refused(folder, f"it is quantized ({method}): use the model that it was made from")


def test_averaged_weights_beside_the_others_are_refused(folder):
    rewritten(folder, lambda tensors: tensors | {f"ema.{name}": array + 1 for name, array in tensors.items()})
    refused(folder, "extra ema.model.embed_tokens.weight", "and 15 more")


@pytest.mark.parametrize("name", ["pytorch_model.safetensors", "model.bf16.safetensors"])
def test_the_only_file_of_weights_is_the_model_whatever_it_is_called(folder, name):
    expected = models.load(str(folder)).params
    models.load.cache_clear()
    (folder / "model.safetensors").rename(folder / name)
    assert_same(models.load(str(folder)).params, expected)


def test_a_table_that_was_resized_is_read_where_the_config_says_so(folder):
    """Padded to a multiple of 8, as for tensor cores; without a word in config.json it is refused."""
    table = load_file(folder / "model.safetensors")["model.embed_tokens.weight"]
    padded = np.concatenate([table, np.zeros((9, 16), np.float32)])
    rewritten(folder, lambda tensors: tensors | {"model.embed_tokens.weight": padded})
    refused(folder, "embed_tokens.weight of shape (24, 16), which should be (15, 16)")
    settings(folder, vocab_size=24)
    np.testing.assert_array_equal(models.load(str(folder)).params["embed"]["embedding"], padded)


def test_settings_that_only_a_generator_reads_are_no_config(folder):
    (folder / "config.json").rename(folder / "generation_config.json")
    refused(folder, "has no config.json, though weights: copy config.json")


def test_a_config_that_names_no_kind_of_model_is_refused(folder):
    settings(folder, model_type=None)
    refused(folder, "model type None is not implemented; supported: ")


def test_a_word_list_alone_is_a_tokenizer(tmp_path):
    """As BERT was published first."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "good", "film", "##s"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    assert tokenizer.from_folder(tmp_path).encode(["The good films"]) == [[2, 5, 6, 7, 8, 3]]


@pytest.mark.parametrize(("kind", "start", "end"), [("gpt2", [], []), ("roberta", [0], [2])])
def test_words_and_merges_are_a_tokenizer(tmp_path, kind, start, end):
    special = {"gpt2": ["<|endoftext|>"], "roberta": ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]}[kind]
    words = [*special, "t", "h", "e", "Ġ", "th", "the"]
    (tmp_path / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(words)}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\nt h\nth e\n")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    the, space = words.index("the"), words.index("Ġ")
    assert tokenizer.from_folder(tmp_path).encode(["the the"]) == [[*start, the, space, the, *end]]


def test_a_tokenizer_that_transformers_cannot_make_is_one_line(folder):
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.model").write_bytes(b"no such model")
    refused(folder, "has no tokenizer.json, and transformers cannot make one of tokenizer.model (", "save_pretrained")


def test_parameters_that_a_wrapper_splits_are_refused(folder):
    """Weight norm and its like keep two tensors for one."""

    def change(tensors):
        whole = tensors.pop(f"{UP}weight")
        size = np.linalg.norm(whole, axis=1, keepdims=True)
        return tensors | {f"{UP}parametrizations.weight.original{i}": part for i, part in enumerate((size, whole))}

    rewritten(folder, change)
    refused(folder, "missing layers.0.mlp.up_proj.weight", "parametrizations.weight.original0")


def test_constants_that_older_releases_stored_do_not_matter(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(vocab_size=15, n_embd=16, n_layer=1, n_head=2, n_positions=16)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path)
    make.tokenizer(tmp_path / "tokenizer.json")
    expected = models.load(str(tmp_path)).params
    masks = {"bias": np.ones((1, 1, 16, 16), np.uint8), "masked_bias": np.float32(-1e4)}
    rewritten(
        tmp_path, lambda old: old | {f"transformer.h.0.attn.{name}": np.asarray(each) for name, each in masks.items()}
    )
    assert_same(models.load(str(tmp_path)).params, expected)
    rewritten(tmp_path, lambda old: {name.removeprefix("transformer."): each for name, each in old.items()})
    models.load.cache_clear()
    jax.tree.map(np.testing.assert_array_equal, dict(models.load(str(tmp_path)).params), dict(expected))
