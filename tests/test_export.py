"""An exported folder is the model: transformers loads and scores it alike, and reading it gives the same bits."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from tests.test_models_parity import FAMILIES, LENGTHS, assert_close, padded, saved, tokens
from w2s_jax import models
from w2s_jax.errors import UserError
from w2s_jax.models import export, names
from w2s_jax.models.config import ModelConfig

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

DECODERS = [name for name in FAMILIES if name != "bert"]


@pytest.fixture
def source(tmp_path):
    """Makes a tiny model of a family; a decoder with a language-model head."""

    def make(name):
        family, settings = FAMILIES[name]
        folder = tmp_path / "source"
        saved(folder, family, {**settings, "pad_token_id": 0}, head=family != "bert")
        return models.load(str(folder))

    return make


def trained(pretrained, seed=0):
    """Other parameters than those that were read, of ordinary sizes."""
    rng = np.random.default_rng(seed)
    moved = jax.tree.map(
        lambda leaf: (leaf + 0.1 * rng.normal(size=leaf.shape)).astype(np.float32), dict(pretrained.params)
    )
    return dataclasses.replace(pretrained, params=moved)


def theirs(kind, folder, ids, lengths):
    """Logits of a model as transformers loads it, which must find every tensor there and no other."""
    model, report = getattr(transformers, kind).from_pretrained(folder, output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "mismatched_keys", "error_msgs"))
    mask = torch.arange(ids.shape[1])[None] < torch.tensor(lengths)[:, None]
    with torch.no_grad():
        return model.eval()(torch.tensor(ids).long(), attention_mask=mask.long()), report


def real_tokens(lengths):
    """Id 0 pads, as transformers' classifiers find the last token by it."""
    ids = 1 + tokens(49, lengths)
    return np.where(np.arange(ids.shape[1]) < lengths[:, None], ids, 0).astype(np.int32)


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_exported_is_read_back_bit_for_bit(source, tmp_path, name):
    pretrained = source(name)
    model = pretrained if name.startswith("gemma") else trained(pretrained)
    export.write(model, tmp_path / "out")
    back = models.load(str(tmp_path / "out"))
    assert back.config == pretrained.config
    assert jax.tree.structure(dict(back.params)) == jax.tree.structure(dict(model.params))
    jax.tree.map(np.testing.assert_array_equal, dict(back.params), dict(model.params))
    assert back.tokenizer.fingerprint == pretrained.tokenizer.fingerprint
    if not pretrained.config.tied_embeddings:
        np.testing.assert_array_equal(
            models.unembedding(str(tmp_path / "out")), models.unembedding(str(tmp_path / "source"))
        )


@pytest.mark.parametrize("name", DECODERS)
def test_transformers_scores_next_tokens_alike(source, tmp_path, name):
    model = trained(source(name))
    export.write(model, tmp_path / "out")
    ids = real_tokens(LENGTHS)
    module, params = models.language_model(model, rng=jax.random.key(0))
    ours = np.asarray(module.apply({"params": params}, ids, LENGTHS))
    found, report = theirs("AutoModelForCausalLM", tmp_path / "out", ids, LENGTHS)
    assert not report["unexpected_keys"]
    for row, length in enumerate(LENGTHS):
        assert_close(ours[row, :length], found.logits.numpy()[row, :length])


@pytest.mark.parametrize("name", DECODERS)
def test_transformers_classifies_alike(source, tmp_path, name):
    model = trained(source(name))
    head = np.random.default_rng(1).normal(size=(32, 3)).astype(np.float32)
    assert export.write(model, tmp_path / "out", head=head)
    ids = real_tokens(LENGTHS)
    module, params = models.classifier(model, 3, rng=jax.random.key(0))
    ours = module.apply({"params": {**params, "head": {"kernel": head}}}, ids, LENGTHS)
    found, report = theirs("AutoModelForSequenceClassification", tmp_path / "out", ids, LENGTHS)
    assert set(report["unexpected_keys"]) <= {"lm_head.weight", "embed_out.weight"}
    assert_close(np.asarray(ours), found.logits.numpy())
    again, _ = theirs("AutoModelForCausalLM", tmp_path / "out", ids, LENGTHS)
    assert again.logits.shape == (4, 7, 50)


def test_an_encoder_is_exported_without_its_head(source, tmp_path):
    model = trained(source("bert"))
    head = np.ones((32, 2), np.float32)
    assert not export.write(model, tmp_path / "out", head=head)
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "head.npy"), head)
    twin = transformers.BertModel.from_pretrained(tmp_path / "out", add_pooling_layer=False).eval()
    ids = real_tokens(LENGTHS)
    mask = torch.tensor(ids != 0).long()
    with torch.no_grad():
        states = twin(torch.tensor(ids).long(), attention_mask=mask).last_hidden_state.numpy()
    module, params = models.classifier(model, 2, rng=jax.random.key(0), pooling="cls")
    ours = module.apply({"params": params}, ids, LENGTHS, (3,), method="hidden_states")
    assert_close(np.asarray(ours)[:, 0], states[:, 0])
