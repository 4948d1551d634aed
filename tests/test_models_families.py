"""A model family from a user's own file is loaded, finetuned and exported as the package's own are."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from safetensors.numpy import load_file, save_file

from tests import tiny as make
from w2s_jax import losses, models
from w2s_jax.models import export, families
from w2s_jax.models.families import FAMILIES
from w2s_jax.runtime import references
from w2s_jax.runtime.errors import UserError

OWN_FILE = '''
from w2s_jax.models.families import FAMILIES
from w2s_jax.models.families.llama import Llama


class TinyLlama(Llama):
    """Llama with another name for its embeddings, and a window."""

    def tensors(self, config):
        return [row._replace(name=row.name.replace("embed_tokens", "wte")) for row in super().tensors(config)]


FAMILY = FAMILIES.register(
    TinyLlama("tinyllama", model_class="TinyLlamaForCausalLM", prefix="tiny.", unembedding="out.weight", windowed=True)
)
'''


@pytest.fixture
def family(tmp_path, monkeypatch):
    """The family of `OWN_FILE`, for one test."""
    monkeypatch.setattr(FAMILIES, "_items", dict(FAMILIES))
    (tmp_path / "own.py").write_text(OWN_FILE)
    return references.named(str(tmp_path / "own.py"), "FAMILY")


@pytest.fixture
def llama(tmp_path):
    return make.llama(tmp_path / "llama")


@pytest.fixture
def checkpoint(llama, tmp_path):
    """The numbers of `llama` under the names of the user's family, with a language-model head of its own."""
    folder = tmp_path / "tinyllama"
    folder.mkdir()
    config = json.loads((llama / "config.json").read_text())
    own = {"model_type": "tinyllama", "tie_word_embeddings": False, "sliding_window": 3}
    (folder / "config.json").write_text(json.dumps(config | own))
    tensors = load_file(llama / "model.safetensors")
    renamed = {
        name.replace("model.", "tiny.").replace("embed_tokens", "wte"): tensor for name, tensor in tensors.items()
    }
    save_file({**renamed, "out.weight": renamed["tiny.wte.weight"] + 1}, folder / "model.safetensors")
    make.tokenizer(folder / "tokenizer.json")
    return folder


def trained(pretrained):
    """The backbone after two steps under a new head, whose zeros let the first step pass to the head alone."""
    module, params = models.build_classifier(pretrained, 2, rng=jax.random.key(0))
    tokens, lengths = jnp.array([[1, 2, 3, 4], [5, 6, 7, 0]]), jnp.array([4, 3])

    def loss(params):
        logits = module.apply({"params": params}, tokens, lengths)
        return losses.cross_entropy(logits, jax.nn.one_hot(jnp.array([0, 1]), 2)).mean()

    gradient = jax.jit(jax.grad(loss))
    for _ in range(2):
        params = optax.apply_updates(params, jax.tree.map(lambda leaf: -0.1 * leaf, gradient(params)))
    return params["backbone"]


def test_a_users_family_is_loaded_finetuned_and_exported(family, llama, checkpoint, tmp_path):
    pretrained = models.load(str(checkpoint))
    assert families.of(pretrained.config) is family
    assert pretrained.config.sliding_window == 3
    jax.tree.map(np.testing.assert_array_equal, dict(pretrained.params), dict(models.load(str(llama)).params))

    params = trained(pretrained)
    assert not np.array_equal(params["embed"]["embedding"], pretrained.params["embed"]["embedding"])
    folder = tmp_path / "exported"
    export.write(models.Pretrained(pretrained.name, pretrained.config, params, pretrained.tokenizer), folder)
    written = load_file(folder / "model.safetensors")
    assert {"tiny.wte.weight", "tiny.layers.1.self_attn.q_proj.weight", "out.weight"} <= written.keys()
    assert json.loads((folder / "config.json").read_text())["architectures"] == ["TinyLlamaForCausalLM"]

    back = models.load(str(folder))
    assert back.config == pretrained.config
    jax.tree.map(np.testing.assert_array_equal, dict(back.params), dict(params))
    np.testing.assert_array_equal(models.unembedding(str(folder)), models.unembedding(str(checkpoint)))


def test_the_code_of_a_users_family_is_part_of_what_its_models_are(family, llama, checkpoint, tmp_path):
    ours, theirs = models.outline(str(llama))[0], models.outline(str(checkpoint))[0]
    assert families.identity(ours) is None
    before = families.identity(theirs)
    (tmp_path / "own.py").write_text(OWN_FILE.replace("and a window", "and windows"))
    references.named(str(tmp_path / "own.py"), "FAMILY")
    assert before is not None
    assert families.identity(theirs) not in (None, before)


def test_every_family_has_a_name_of_its_own():
    assert all(family.name == name for name, family in FAMILIES.items())
    gguf = [family.gguf_name for family in FAMILIES.values() if family.gguf_name]
    assert len(gguf) == len(set(gguf))


def test_a_tensor_of_another_family_is_refused(checkpoint):
    """A prefix or an ignored tensor is one family's, so that nothing is dropped because another family drops it."""
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps({**config, "model_type": "llama", "tie_word_embeddings": True}))
    tensors = load_file(checkpoint / "model.safetensors")
    renamed = {name.replace("tiny.", "model.").replace("wte", "embed_tokens"): at for name, at in tensors.items()}
    renamed["pooler.dense.weight"] = renamed.pop("out.weight")
    save_file(renamed, checkpoint / "model.safetensors")
    with pytest.raises(UserError, match=r"the checkpoint is not a whole llama: extra pooler\.dense\.weight"):
        models.load(str(checkpoint))
