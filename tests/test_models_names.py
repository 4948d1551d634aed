"""Tensors under other names than a family's own: known wrappers are looked through, and what is wrong is one line."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests import tiny as make
from tests.test_models_loading import loads
from tests.test_models_parity import FAMILIES, saved
from w2s_jax import models
from w2s_jax.runtime.errors import UserError

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


def renamed(folder, rename):
    """The folder with its tensors called otherwise."""
    path = folder / "model.safetensors"
    tensors = {rename(name): tensor for name, tensor in load_file(path).items()}
    save_file(tensors, path)
    models.load.cache_clear()
    return str(folder)


def changed(folder, change):
    """The folder with other tensors."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, folder / "model.safetensors")
    models.load.cache_clear()
    return str(folder)


def assert_same(params, other):
    jax.tree.map(np.testing.assert_array_equal, dict(params), dict(other))


def bare(name):
    return name.removeprefix("model.")


def usual(*names):
    """Of the families, those whose tensors are laid out in ways of their own; the others are left to the slow suite."""
    return [*names, *make.slow(*(name for name in FAMILIES if name not in names))]


WRAPPED = {
    "torch.compile": lambda name: f"_orig_mod.{name}",
    "a compiled part": lambda name: name.replace("model.", "model._orig_mod."),
    "DataParallel": lambda name: f"module.{name}",
    "both": lambda name: f"module._orig_mod.{name}",
    "PEFT, merged": lambda name: f"base_model.model.{name}",
    "Lightning": lambda name: f"model.{name}",
    "FSDP": lambda name: f"_fsdp_wrapped_module.{name.replace('self_attn', '_fsdp_wrapped_module.self_attn')}",
    "checkpointed": lambda name: name.replace("mlp.", "mlp._checkpoint_wrapped_module."),
    "the backbone alone": bare,
    "somebody's own": lambda name: f"policy.backbone.{name}",
    "somebody's own, of the backbone": lambda name: f"actor.{bare(name)}",
}


@pytest.mark.parametrize("wrapper", WRAPPED)
def test_a_wrappers_prefix_is_looked_through(tmp_path, wrapper):
    before = models.load(str(make.llama(tmp_path / "m"))).params
    for load in loads(renamed(tmp_path / "m", WRAPPED[wrapper])):
        assert_same(load().params, before)


@pytest.mark.parametrize("name", ["gpt2", "gpt_neox", "bert", "gemma3_text"])
def test_it_is_for_every_family(tmp_path, name):
    saved(tmp_path, *FAMILIES[name])
    before = models.load(str(tmp_path)).params
    assert_same(models.load(renamed(tmp_path, lambda name: f"module._orig_mod.{name}")).params, before)


def test_a_head_under_the_same_prefix_is_found(tmp_path):
    folder = make.untied(tmp_path / "m")
    before = models.unembedding(str(folder))
    source = renamed(folder, lambda name: f"_orig_mod.{name}")
    np.testing.assert_array_equal(models.unembedding(source), before)


def test_names_that_nothing_explains_are_one_line(tmp_path):
    make.llama(tmp_path / "m", layers=9)
    source = renamed(tmp_path / "m", lambda name: f"net.{name.replace('self_attn', 'attn').replace('mlp', 'ffn')}")
    with pytest.raises(UserError) as error:
        models.load(source)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500
    assert "none of its 83 tensors is known; all names begin with 'net.model.', as net.model." in str(error.value)


def test_of_another_architecture_the_common_prefix_is_named(tmp_path):
    make.llama(tmp_path / "m", layers=9)
    source = renamed(tmp_path / "m", lambda name: f"visual.trunk.x{len(name)}.{name.replace('.', '_')}")
    with pytest.raises(UserError) as error:
        models.load(source)
    said = "none of its 83 tensors is known; all names begin with 'visual.trunk.', as visual.trunk.x"
    assert said in str(error.value)


def test_of_many_problems_five_are_listed_and_counted(tmp_path):
    make.llama(tmp_path / "m", layers=9)
    source = changed(tmp_path / "m", lambda tensors: [tensors.pop(name) for name in list(tensors) if "mlp.up" in name])
    for load in loads(source):
        with pytest.raises(UserError, match=r"missing layers\.4\.mlp\.up_proj\.weight; and 4 more$"):
            load()
    odd = {f"odd.{i}": np.zeros(3, np.float32) for i in range(40)}
    with pytest.raises(UserError) as error:
        models.load(changed(tmp_path / "m", lambda tensors: tensors.update(odd)))
    assert str(error.value).endswith("and 44 more")


def test_two_tensors_of_one_name_are_refused(tmp_path):
    make.llama(tmp_path / "m")
    twice = lambda tensors: tensors.update({"norm.weight": tensors["model.norm.weight"] + 1})  # noqa: E731
    with pytest.raises(UserError, match=r"model\.norm\.weight and norm\.weight are both norm\.weight"):
        models.load(changed(tmp_path / "m", twice))


def test_adapters_that_were_saved_in_the_model_are_refused(tmp_path):
    make.llama(tmp_path / "m")

    def change(tensors):
        for name in [name for name in tensors if "q_proj" in name]:
            tensors[name.replace("weight", "base_layer.weight")] = tensors.pop(name)
            tensors[name.replace("weight", "lora_A.default.weight")] = np.zeros((2, 16), np.float32)
            tensors[name.replace("weight", "lora_B.default.weight")] = np.zeros((16, 2), np.float32)

    with pytest.raises(UserError, match=r"holds LoRA adapters that are not merged .*merge_and_unload\(\)"):
        models.load(changed(tmp_path / "m", change))


def test_old_names_of_norms_are_mapped_as_transformers_does(tmp_path):
    twin = saved(tmp_path, *FAMILIES["bert"])
    before = models.load(str(tmp_path)).params
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}

    def rename(name):
        for new, ancient in old.items():
            name = name.replace(new, ancient)
        return f"bert.{name}"

    source = renamed(tmp_path, rename)
    assert "bert.embeddings.LayerNorm.gamma" in load_file(tmp_path / "model.safetensors")
    assert_same(models.load(source).params, before)
    theirs = transformers.BertModel.from_pretrained(tmp_path).state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in twin.state_dict().items())


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", usual("llama", "gpt2", "gemma2", "bert"))
def test_half_precision_is_read_exactly(tmp_path, name, kind):
    saved(tmp_path, *FAMILIES[name])
    tensors = load_file(tmp_path / "model.safetensors")
    half = {name: tensor.astype(jnp.dtype(kind)) for name, tensor in tensors.items()}
    save_file({name: tensor.astype(np.float32) for name, tensor in half.items()}, tmp_path / "model.safetensors")
    expected = models.load(str(tmp_path)).params
    save_file(half, tmp_path / "model.safetensors")
    models.load.cache_clear()
    for load in loads(str(tmp_path))[: 1 + (name in ("llama", "gpt2"))]:
        assert_same(load().params, expected)
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(dict(expected)))


@pytest.mark.parametrize("kind", [np.int8, np.int64, np.bool_, np.uint8])
def test_whole_numbers_where_others_belong_are_refused(tmp_path, kind):
    make.llama(tmp_path / "m")
    name = "model.layers.1.mlp.up_proj.weight"
    source = changed(tmp_path / "m", lambda tensors: tensors.update({name: tensors[name].astype(kind)}))
    for load in loads(source):
        with pytest.raises(UserError, match=r"layers\.1\.mlp\.up_proj\.weight holds [A-Z0-9]+, whole numbers, where"):
            load()


def test_whole_numbers_of_constants_do_not_matter(tmp_path):
    saved(tmp_path, *FAMILIES["bert"])
    position_ids = {"embeddings.position_ids": np.arange(40)[None]}
    models.load(changed(tmp_path, lambda tensors: tensors.update(position_ids)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused(tmp_path, value):
    make.llama(tmp_path / "m")

    def change(tensors):
        tensors["model.layers.1.self_attn.v_proj.weight"][3, 5] = value

    for load in loads(changed(tmp_path / "m", change)):
        with pytest.raises(UserError, match=r"layers\.1\.self_attn\.v_proj\.weight holds NaN or infinity"):
            load()
    models.load(str(tmp_path / "m"), read_layer=1)  # what is not read does not matter


def test_an_untied_head_that_is_not_finite_is_refused(tmp_path):
    folder = make.untied(tmp_path / "m")
    source = changed(folder, lambda tensors: tensors["lm_head.weight"].fill(np.inf))
    models.load(source)
    with pytest.raises(UserError, match=r"lm_head\.weight holds NaN or infinity"):
        models.unembedding(source)


def tied_head(folder, change=lambda tensors: None):
    """A tied model that stores its language-model head as well."""
    make.llama(folder)

    def both(tensors):
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].copy()
        change(tensors)

    return changed(folder, both)


def test_a_tied_head_that_is_stored_as_well_is_the_embeddings(tmp_path):
    make.llama(tmp_path / "a")
    for load in loads(tied_head(tmp_path / "b")):
        assert_same(load().params, models.load(str(tmp_path / "a")).params)


def test_a_tied_head_that_is_stored_alone_is_the_embeddings(tmp_path):
    """As safetensors' own `save_model` may write it, and transformers reads it."""
    make.llama(tmp_path / "a")
    source = tied_head(tmp_path / "b", lambda tensors: tensors.pop("model.embed_tokens.weight"))
    expected = models.load(str(tmp_path / "a")).params
    for load in loads(source):
        assert_same(load().params, expected)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(source).get_input_embeddings().weight
    np.testing.assert_array_equal(theirs.detach().numpy(), expected["embed"]["embedding"])


def test_a_tied_head_that_differs_is_refused(tmp_path):
    """transformers does not tie it then, whatever the config says."""

    def change(tensors):
        tensors["lm_head.weight"][3, 3] += 1

    source = tied_head(tmp_path / "m", change)
    for load in loads(source):
        with pytest.raises(UserError, match=r"lm_head\.weight differs from .*embed_tokens\.weight, .*tie_word_emb"):
            load()
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    (tmp_path / "m" / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": False}))
    models.outline.cache_clear()
    assert models.unembedding(source)[3, 3] != models.load(source).params["embed"]["embedding"][3, 3]


def test_shapes_of_another_config_are_stated_with_both(tmp_path):
    make.llama(tmp_path / "m", vocabulary=64)
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    (tmp_path / "m" / "config.json").write_text(json.dumps({**config, "vocab_size": 15}))
    models.outline.cache_clear()
    with pytest.raises(UserError, match=r"embed_tokens\.weight of shape \(64, 16\), which should be \(15, 16\)$"):
        models.load(str(tmp_path / "m"))
