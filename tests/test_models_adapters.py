"""Adapters as PEFT writes them: merged when they are read, and written from what LoRA trained here."""

import dataclasses
import json
import logging
import math
import shutil

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests import family_models, hub_models
from tests import tiny as make
from tests.fake_hub import FakeHub
from tests.test_hub import MODEL, ask
from tests.test_models_loading import loads
from tests.test_models_parity import FAMILIES, saved
from w2s_jax import cli, models
from w2s_jax.config import Method
from w2s_jax.models import adapter_export, hub_files
from w2s_jax.models import params as parameter_sets
from w2s_jax.models.layers import Lora
from w2s_jax.runtime.errors import UserError

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

# As peft 0.18 writes it.
CONFIG = {
    "alora_invocation_tokens": None,
    "alpha_pattern": {},
    "arrow_config": None,
    "auto_mapping": None,
    "base_model_name_or_path": None,
    "bias": "none",
    "corda_config": None,
    "ensure_weight_tying": False,
    "eva_config": None,
    "exclude_modules": None,
    "fan_in_fan_out": False,
    "inference_mode": True,
    "init_lora_weights": True,
    "layer_replication": None,
    "layers_pattern": None,
    "layers_to_transform": None,
    "loftq_config": {},
    "lora_alpha": 16,
    "lora_bias": False,
    "lora_dropout": 0.05,
    "megatron_config": None,
    "megatron_core": "megatron.core",
    "modules_to_save": None,
    "peft_type": "LORA",
    "peft_version": "0.18.0",
    "qalora_group_size": 16,
    "r": 4,
    "rank_pattern": {},
    "revision": None,
    "target_modules": ["q_proj", "v_proj"],
    "target_parameters": None,
    "task_type": "CAUSAL_LM",
    "trainable_token_indices": None,
    "use_dora": False,
    "use_qalora": False,
    "use_rslora": False,
}


def modules(twin, endings):
    """The linear maps of a torch model whose names end so, as PEFT finds its targets."""
    return {
        name: module
        for name, module in twin.named_modules()
        if name.endswith(tuple(endings)) and hasattr(module, "weight") and module.weight.ndim == 2
    }


def sizes(module):
    """Inputs and outputs, and whether the weight is kept as [inputs, outputs]."""
    turned = isinstance(module, transformers.pytorch_utils.Conv1D)
    shape = module.weight.shape
    return (*(shape if turned else reversed(shape)), turned)


def adapter(folder, base, twin, endings, rank=4, scale=None, **settings):
    """A PEFT folder, and the merged weights of the torch twin by name, computed by hand."""
    rng, tensors, merged = np.random.default_rng(3), {}, {}
    config = {**CONFIG, "base_model_name_or_path": str(base), "r": rank, **settings}
    for name, module in modules(twin, endings).items():
        inputs, outputs, turned = sizes(module)
        a, b = rng.normal(0, 0.3, (rank, inputs)), rng.normal(0, 0.3, (outputs, rank))
        a, b = a.astype(np.float32), b.astype(np.float32)
        tensors[f"base_model.model.{name}.lora_A.weight"] = a
        tensors[f"base_model.model.{name}.lora_B.weight"] = b
        by = config["lora_alpha"] / rank if scale is None else scale
        delta = by * (b.astype(np.float64) @ a)
        merged[f"{name}.weight"] = module.weight.detach().numpy() + (delta.T if turned else delta)
    folder.mkdir(parents=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return merged


def merged_folder(folder, base, merged):
    """The base with its weights replaced, as a model of its own."""
    shutil.copytree(base, folder)
    tensors = load_file(folder / "model.safetensors")
    assert merged.keys() <= tensors.keys()
    whole = {**tensors, **{name: array.astype(np.float32) for name, array in merged.items()}}
    save_file(whole, folder / "model.safetensors")
    return str(folder)


def assert_near(tree, other):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6), dict(tree), dict(other))


TARGETS = {
    "llama": ("q_proj", "v_proj", "down_proj"),
    "gpt2": ("c_attn", "c_proj", "c_fc"),
    "gpt_neox": ("query_key_value", "dense_h_to_4h"),
    "gemma2": ("o_proj", "gate_proj"),
    "phi3": ("qkv_proj", "gate_up_proj"),
    "bert": ("query", "value", "output.dense"),
}


@pytest.mark.parametrize("name", TARGETS)
def test_an_adapter_is_merged_into_its_base(tmp_path, name):
    family, settings = FAMILIES[name]
    twin = saved(tmp_path / "base", family, settings, head=family != "bert")
    merged = adapter(tmp_path / "a", tmp_path / "base", twin, TARGETS[name], fan_in_fan_out=name == "gpt2")
    expected = models.load(merged_folder(tmp_path / "m", tmp_path / "base", merged)).params
    before = models.load(str(tmp_path / "base")).params
    leaves = zip(jax.tree.leaves(dict(before)), jax.tree.leaves(dict(expected)), strict=True)
    assert any(np.abs(a - b).max() > 0.01 for a, b in leaves)
    for load in loads(str(tmp_path / "a")):
        assert_near(load().params, expected)
    found, base = (models.outline(str(tmp_path / each))[1].fingerprint for each in ("a", "base"))
    assert found == base


@pytest.fixture
def base(tmp_path):
    """A tiny Llama that transformers saved, with a head of its own, and its torch twin."""
    family, settings = FAMILIES["llama"]
    return tmp_path / "base", saved(tmp_path / "base", family, {**settings, "tie_word_embeddings": False}, head=True)


def described(folder, **changes):
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, **changes}))


@pytest.mark.parametrize(
    ("settings", "scale"),
    [
        ({"lora_alpha": 6}, 1.5),
        ({"use_rslora": True}, 16 / math.sqrt(4)),
        ({"alpha_pattern": {"q_proj": 2}}, 0.5),
        ({"alpha_pattern": {r"layers\.\d+\.self_attn\.q_proj": 2}}, 0.5),
        ({"r": 9, "rank_pattern": {"self_attn.q_proj": 4}}, 4.0),
        ({"init_lora_weights": "gaussian"}, 4.0),
    ],
    ids=str,
)
def test_its_scale_is_that_of_peft(tmp_path, base, settings, scale):
    folder, twin = base
    merged = adapter(tmp_path / "a", folder, twin, ["q_proj"], scale=scale)
    described(tmp_path / "a", **settings)
    expected = models.load(merged_folder(tmp_path / "m", folder, merged)).params
    assert_near(models.load(str(tmp_path / "a")).params, expected)


def test_the_language_model_head_is_adapted_too_where_it_is_not_tied(tmp_path, base):
    folder, twin = base
    merged = adapter(tmp_path / "a", folder, twin, ["lm_head"])
    np.testing.assert_allclose(models.unembedding(str(tmp_path / "a")), merged["lm_head.weight"], rtol=1e-6, atol=1e-6)
    family, settings = FAMILIES["llama"]
    tied = saved(tmp_path / "tied", family, {**settings, "tie_word_embeddings": True}, head=True)
    adapter(tmp_path / "b", tmp_path / "tied", tied, ["lm_head"])
    with pytest.raises(UserError, match=r"adapts lm_head, which this llama does not have apart"):
        models.load(str(tmp_path / "b"))


def test_bits_of_all_files_decide_what_it_is(tmp_path, base):
    folder, twin = base
    adapter(tmp_path / "a", folder, twin, ["q_proj"])
    before = models.fingerprint(str(tmp_path / "a"))
    assert before != models.fingerprint(str(folder))
    files = models.origin(str(tmp_path / "a")).files.keys()
    assert {"model.safetensors", "config.json", "adapter_model.safetensors", "adapter_config.json"} <= files
    described(tmp_path / "a", lora_alpha=17)
    assert models.fingerprint(str(tmp_path / "a")) != before


def test_a_base_that_is_trained_again_is_read_again(tmp_path, base):
    folder, twin = base
    adapter(tmp_path / "a", folder, twin, ["q_proj"])
    before, name = models.load(str(tmp_path / "a")), models.fingerprint(str(tmp_path / "a"))
    tensors = load_file(folder / "model.safetensors")
    save_file({name: tensor + 1 for name, tensor in tensors.items()}, folder / "model.safetensors")
    after = models.load(str(tmp_path / "a"))
    assert np.abs(after.params["embed"]["embedding"] - before.params["embed"]["embedding"]).min() > 0.5
    assert models.fingerprint(str(tmp_path / "a")) != name


def test_a_tokenizer_of_its_own_comes_first(tmp_path, base):
    folder, twin = base
    adapter(tmp_path / "a", folder, twin, ["q_proj"])
    make.tokenizer(tmp_path / "a" / "tokenizer.json")
    assert models.outline(str(tmp_path / "a"))[1].vocab_size == len(make.WORDS) + 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"peft_type": "IA3"}, "peft_type 'IA3' is not implemented, only 'LORA'"),
        ({"peft_type": "PROMPT_TUNING"}, "peft_type 'PROMPT_TUNING' is not implemented"),
        ({"use_dora": True}, "use_dora=True is not implemented"),
        ({"bias": "all"}, "bias='all' is not implemented"),
        ({"lora_bias": True}, "lora_bias=True is not implemented"),
        ({"modules_to_save": ["embed_tokens", "lm_head"]}, "modules_to_save=\\['embed_tokens', 'lm_head'\\] is not"),
        ({"layer_replication": [[0, 2], [1, 3]]}, "layer_replication="),
        ({"trainable_token_indices": [3]}, "trainable_token_indices="),
        ({"alora_invocation_tokens": [3]}, "alora_invocation_tokens="),
        ({"target_parameters": ["experts"]}, "target_parameters="),
        ({"init_lora_weights": "pissa"}, "init_lora_weights='pissa' is not implemented"),
        ({"init_lora_weights": "olora"}, "init_lora_weights='olora'"),
        ({"from_the_future": {"x": 1}}, "from_the_future="),
        ({"r": 8}, "is of rank 4, where adapter_config.json says 8"),
        ({"base_model_name_or_path": None}, "adapter_config.json names no base_model_name_or_path"),
        ({"base_model_name_or_path": "/somebody/else/model"}, "of '/somebody/else/model', which is not there"),
    ],
    ids=str,
)
def test_what_is_not_implemented_is_refused_by_name(tmp_path, base, settings, said):
    folder, twin = base
    adapter(tmp_path / "a", folder, twin, ["q_proj"])
    described(tmp_path / "a", **settings)
    with pytest.raises(UserError, match=said) as error:
        models.load(str(tmp_path / "a"))
    assert "\n" not in str(error.value)


def changed(folder, change):
    tensors = load_file(folder / "adapter_model.safetensors")
    change(tensors)
    save_file(tensors, folder / "adapter_model.safetensors")
    models.load.cache_clear()
    return str(folder)


Q = "base_model.model.model.layers.0.self_attn.q_proj"
TABLE = "base_model.model.model.embed_tokens"


def ones(*shape):
    return np.ones(shape, np.float32)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.pop(f"{Q}.lora_B.weight"), "has no .*q_proj.lora_B.weight"),
        (lambda t: t.update({f"{Q}.lora_A.weight": ones(4, 7)}), r"shapes \(4, 7\) and \(32, 4\) do not fit"),
        (lambda t: t.update({f"{TABLE}.weight": ones(3, 3)}), "embed_tokens.weight is no LoRA"),
        (lambda t: t.update({f"{TABLE}.lora_embedding_A": ones(4, 50)}), "lora_embedding_A is no LoRA"),
        (
            lambda t: t.update({n.replace("layers.0", "layers.9"): t[n] for n in list(t)}),
            r"adapts model\.layers\.9\.self_attn\.q_proj, which this llama does not have",
        ),
        (lambda t: t[f"{Q}.lora_B.weight"].fill(np.nan), "lora_B.weight holds NaN or infinity"),
        (lambda t: t.clear() or t.update({"x": ones(1)}), "x is no LoRA"),
    ],
    ids=["half", "shape", "table", "embedding", "layer", "nan", "none"],
)
def test_tensors_that_do_not_fit_are_refused(tmp_path, base, change, said):
    folder, twin = base
    adapter(tmp_path / "a", folder, twin, ["q_proj"])
    with pytest.raises(UserError, match=said) as error:
        models.load(changed(tmp_path / "a", change))
    assert "\n" not in str(error.value)


def test_names_with_the_adapters_own_are_read(tmp_path, base):
    """As `torch.save(model.state_dict())` has them, and older releases of trainers."""
    folder, twin = base
    merged = adapter(tmp_path / "a", folder, twin, ["q_proj"])
    expected = models.load(merged_folder(tmp_path / "m", folder, merged)).params

    def named(tensors):
        for name in list(tensors):
            tensors[name.replace(".weight", ".default.weight")] = tensors.pop(name)

    assert_near(models.load(changed(tmp_path / "a", named)).params, expected)


def test_a_pickled_adapter_is_refused(tmp_path, base):
    folder, twin = base
    adapter(tmp_path / "a", folder, twin, ["q_proj"])
    (tmp_path / "a" / "adapter_model.safetensors").rename(tmp_path / "a" / "adapter_model.bin")
    with pytest.raises(UserError, match=r"adapter_model\.bin: reading a pickle can run anything, so it is refused"):
        models.load(str(tmp_path / "a"))
    (tmp_path / "a" / "adapter_model.bin").unlink()
    with pytest.raises(UserError, match=r"has an adapter_config\.json and no adapter_model\.safetensors"):
        models.load(str(tmp_path / "a"))


def test_an_adapter_beside_its_base(tmp_path, base):
    """Where the adapter names this folder, or none, it is of the model beside it."""
    folder, twin = base
    merged = adapter(tmp_path / "a", folder, twin, ["q_proj"])
    expected = models.load(merged_folder(tmp_path / "m", folder, merged)).params
    for file in (tmp_path / "a").iterdir():
        shutil.copy(file, folder / file.name)
    for named in (str(folder), None, ".", ""):
        described(folder, base_model_name_or_path=named)
        models.load.cache_clear()
        assert_near(models.load(str(folder)).params, expected)


def test_an_adapter_of_another_model_beside_one_is_refused(tmp_path, base):
    folder, twin = base
    adapter(tmp_path / "a", "meta-llama/Llama-3", twin, ["q_proj"])
    for file in (tmp_path / "a").iterdir():
        shutil.copy(file, folder / file.name)
    with pytest.raises(UserError, match=r"holds a whole model, and an adapter of 'meta-llama/Llama-3': no telling"):
        models.load(str(folder))


def test_an_adapter_of_an_adapter_is_refused(tmp_path, base):
    folder, twin = base
    adapter(tmp_path / "a", folder, twin, ["q_proj"])
    adapter(tmp_path / "b", tmp_path / "a", twin, ["q_proj"])
    with pytest.raises(UserError, match="an adapter of an adapter"):
        models.load(str(tmp_path / "b"))
    adapter(tmp_path / "c", tmp_path / "c", twin, ["q_proj"])
    with pytest.raises(UserError, match="of itself"):
        models.load(str(tmp_path / "c"))


def test_a_quantized_base_is_refused_with_what_to_do(tmp_path, base):
    """As unsloth's adapters name it."""
    folder, twin = base
    adapter(tmp_path / "a", folder, twin, ["q_proj"])
    config = json.loads((folder / "config.json").read_text())
    quantized = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": quantized}))
    said = r"base .*: these weights are quantized \(bitsandbytes, 4 bits\).* base_model_name_or_path"
    with pytest.raises(UserError, match=said):
        models.load(str(tmp_path / "a"))


def test_a_classifiers_adapter_has_its_head(tmp_path):
    """PEFT saves the head of a classifier with the adapter, in modules_to_save."""
    hub_files.say.cache_clear()
    family, settings = FAMILIES["llama"]
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(family, **settings, num_labels=3, pad_token_id=0)
    twin = transformers.AutoModelForSequenceClassification.from_config(config)
    twin.save_pretrained(tmp_path / "base")
    make.tokenizer(tmp_path / "base" / "tokenizer.json")
    settings = {"modules_to_save": ["classifier", "score"], "task_type": "SEQ_CLS"}
    adapter(tmp_path / "a", tmp_path / "base", twin, ["q_proj"], **settings)
    head = np.random.default_rng(5).normal(size=(3, 32)).astype(np.float32)
    name = "base_model.model.score.weight"
    source = changed(tmp_path / "a", lambda tensors: tensors.update({name: head}))
    _, params = models.build_classifier(models.load(source), 3, rng=jax.random.key(0), head="pretrained")
    np.testing.assert_array_equal(params["head"]["kernel"], head.T)
    assert models.classes(source) == 3
    assert models.classes(changed(tmp_path / "a", lambda tensors: tensors.update({name: ones(5, 32)}))) == 5


def test_from_the_hub_the_adapter_and_its_base_are_fetched(tmp_path):
    files = hub_models.published(tmp_path / "base")
    twin = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    adapter(tmp_path / "a", "org/base", twin, ["q_proj"])
    own = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    with FakeHub() as hub:
        hub.add("models", "org/base", files | {"README.md": b"base"})
        hub.add("models", "me/adapter", own | {"README.md": b"adapter", "optimizer.pt": hub_models.PICKLE})
        (found,) = ask(hub, tmp_path / "home", MODEL + "model('me/adapter')\n")
        assert found[0] == "Hub me/adapter"
        assert sorted(found[2]) == sorted({*own, *files})
        assert set(hub.downloads) == {*own, *files}


def lora_params(pretrained, rank, seed=0):
    """Adapters of every linear map, of random numbers."""
    _, params = models.build_classifier(pretrained, 2, rng=jax.random.key(0), lora=Lora(rank))
    rng = np.random.default_rng(seed)
    rules = [(r"/lora_[ab]$", "adapters"), (r"", "rest")]
    adapters = parameter_sets.partition(params["backbone"], rules, "adapters")[0]
    return jax.tree.map(lambda leaf: rng.normal(0, 0.1, leaf.shape).astype(np.float32), adapters)


@pytest.mark.parametrize(
    "name",
    family_models.usual(family_models.NAMES, "mistral", "qwen2", "qwen3", "gemma2", "phi3", "roberta", "xlm-roberta"),
)
def test_what_lora_trained_is_written_as_peft_does_and_read_back(tmp_path, name):
    twin = family_models.twin(name)
    family_models.saved(tmp_path / "base", twin)
    pretrained = models.load(str(tmp_path / "base"))
    adapters = lora_params(pretrained, 3)
    adapter_export.write(pretrained, adapters, Lora(3), tmp_path / "out")
    merged = parameter_sets.merge_lora(parameter_sets.combine(dict(pretrained.params), adapters), 1.0)
    assert_near(models.load(str(tmp_path / "out")).params, merged)

    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert config.keys() <= CONFIG.keys()
    assert config["peft_type"] == "LORA"
    assert config["base_model_name_or_path"] == str(tmp_path / "base")
    assert config["task_type"] == ("FEATURE_EXTRACTION" if pretrained.config.is_encoder else "CAUSAL_LM")
    targets = modules(twin, [f".{target}" for target in config["target_modules"]])
    tensors = load_file(tmp_path / "out" / "adapter_model.safetensors")
    expected = {}
    for module_name, module in targets.items():
        inputs, outputs, turned = sizes(module)
        assert turned == config["fan_in_fan_out"]
        key = f"base_model.model.{module_name}"
        rank = tensors[f"{key}.lora_A.weight"].shape[0]
        patterns = [pattern for pattern in config["rank_pattern"] if module_name.endswith(f".{pattern}")]
        assert rank == (config["rank_pattern"][patterns[0]] if patterns else config["r"])
        expected |= {f"{key}.lora_A.weight": (rank, inputs), f"{key}.lora_B.weight": (outputs, rank)}
    assert {key: tensor.shape for key, tensor in tensors.items()} == expected


ENCODERS = [name for name in family_models.NAMES if family_models.is_encoder(name)]
SAVED = {  # `modules_to_save`: PEFT saves `classifier` of itself, and with it all that is in it
    "bert": ["pooler.dense", "classifier"],
    "roberta": ["classifier"],
    "xlm-roberta": ["classifier"],
    "distilbert": ["pre_classifier", "classifier"],
    "deberta-v2": ["pooler.dense", "classifier"],
    "modernbert": ["head.dense", "head.norm", "classifier"],
}


@pytest.mark.parametrize("name", family_models.usual(ENCODERS, "bert", "xlm-roberta", "distilbert", "deberta-v2"))
def test_a_whole_head_is_written_and_read_back(tmp_path, name):
    """Of an encoder, that has one linear map more; its base has only a head for masked words."""
    family_models.saved(tmp_path / "base", family_models.twin(name, "AutoModelForMaskedLM"))
    pretrained = models.load(str(tmp_path / "base"))
    rng = np.random.default_rng(0)
    head = {"kernel": rng.normal(size=(32, 3)), "bias": rng.normal(size=3)}
    head["dense"] = {"kernel": rng.normal(size=(32, 32))}
    if name == "modernbert":
        head["norm"] = {"scale": rng.normal(size=32)}
    else:
        head["dense"]["bias"] = rng.normal(size=32)
    head = jax.tree.map(lambda leaf: leaf.astype(np.float32), head)
    assert adapter_export.write(pretrained, lora_params(pretrained, 2), Lora(2), tmp_path / "out", head=head)
    back = models.load(str(tmp_path / "out"))
    _, params = models.build_classifier(back, 3, rng=jax.random.key(0), head="pretrained")
    jax.tree.map(np.testing.assert_array_equal, params["head"], head)
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert (config["task_type"], config["modules_to_save"]) == ("SEQ_CLS", SAVED[name])
    named = {each.rpartition(".")[0] for each in load_file(tmp_path / "out" / "adapter_model.safetensors")}
    twin = family_models.twin(name, "AutoModelForSequenceClassification", num_labels=3)
    theirs = {f"base_model.model.{each}" for each, _ in twin.named_modules()}
    assert {each.partition(".lora_")[0] for each in named} <= theirs


@pytest.mark.slow
@pytest.mark.parametrize("name", family_models.NAMES)
def test_peft_loads_what_is_written_and_what_it_writes_is_read(tmp_path, name):
    """With the head of a classifier, as transformers scores it."""
    peft = pytest.importorskip("peft")
    kind = transformers.AutoModelForSequenceClassification
    twin = family_models.twin(name, kind.__name__, num_labels=3)
    base = family_models.saved(tmp_path / "base", twin)
    rows = [torch.tensor([[3, 5, 4]]), torch.tensor([[7]])]

    def ours(source):
        module, params = models.build_classifier(models.load(source), 3, rng=jax.random.key(0), head="pretrained")
        lengths = [np.array([row.shape[1]], np.int32) for row in rows]
        pairs = zip(rows, lengths, strict=True)
        return np.concatenate([module.apply({"params": params}, row.numpy().astype(np.int32), n) for row, n in pairs])

    def theirs(model):
        with torch.no_grad():
            return np.concatenate([model.eval()(row).logits.numpy() for row in rows])

    start = models.load(base)
    _, params = models.build_classifier(start, 3, rng=jax.random.key(0), head="pretrained")
    head = jax.tree.map(lambda leaf: np.asarray(leaf) + np.float32(0.1), params["head"])
    assert adapter_export.write(start, lora_params(start, 2), Lora(2), tmp_path / "ours", head=head)
    loaded = peft.PeftModel.from_pretrained(kind.from_pretrained(base), tmp_path / "ours")
    np.testing.assert_allclose(ours(str(tmp_path / "ours")), theirs(loaded), rtol=1e-4, atol=1e-4)

    targets = [each for each in family_models.linear_maps(twin) if not each.endswith("classifier")]
    settings = peft.LoraConfig("SEQ_CLS", r=3, lora_alpha=5, target_modules=targets, init_lora_weights=False)
    made = peft.get_peft_model(kind.from_pretrained(base), settings)
    made.save_pretrained(tmp_path / "theirs")
    np.testing.assert_allclose(ours(str(tmp_path / "theirs")), theirs(made), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_stage_is_exported_as_an_adapter(tmp_path, capsys):
    plan = make.experiment(tmp_path, methods={"naive": Method()})
    student = dataclasses.replace(plan.students["strong"], parameters="lora", lora_rank=2)
    plan = dataclasses.replace(plan, students={"strong": student})
    (cell,) = make.run(plan).cells
    stage = tmp_path / "runs" / "stages" / cell.stages["student"]
    asked = ["export", str(stage), "--model", student.model, "--out"]
    assert cli.main([*asked, str(tmp_path / "whole")]) == cli.OK
    assert cli.main([*asked, str(tmp_path / "adapter"), "--adapters"]) == cli.OK
    assert_near(models.load(str(tmp_path / "adapter")).params, models.load(str(tmp_path / "whole")).params)
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert (config["task_type"], config["modules_to_save"]) == ("SEQ_CLS", ["score"])
    heads = [load_file(tmp_path / "whole" / "model.safetensors")["score.weight"]]
    heads += [load_file(tmp_path / "adapter" / "adapter_model.safetensors")["base_model.model.score.weight"]]
    np.testing.assert_array_equal(*heads)
    supervisor = stage.parent / cell.stages["supervisor"]
    weak = plan.supervisors["weak"].model
    arguments = ["export", str(supervisor), "--model", weak, "--out", str(tmp_path / "x"), "--adapters"]
    assert cli.main(arguments) == cli.BAD_INPUT
    assert "trained no adapters" in capsys.readouterr().err


def test_nothing_is_said_of_an_ordinary_adapter(tmp_path, base, caplog):
    caplog.set_level(logging.WARNING)
    folder, twin = base
    adapter(tmp_path / "a", folder, twin, ["q_proj"])
    models.load(str(tmp_path / "a"))
    assert not [each for each in caplog.records if each.name.startswith("w2s_jax")]
