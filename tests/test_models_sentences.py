"""A folder of sentence-transformers pools as it says, and what it has besides is named or refused."""

import dataclasses
import json
import logging
import shutil

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.test_models_parity import FAMILIES, LENGTHS, assert_close, pooled, saved, tokens, torch_states
from w2s_jax import models
from w2s_jax.models import export, hub_files
from w2s_jax.runtime.errors import UserError

MODES = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")


@pytest.fixture(autouse=True)
def said(caplog):
    hub_files.say.cache_clear()
    caplog.set_level(logging.WARNING)
    return lambda: [each.getMessage() for each in caplog.records if each.name.startswith("w2s_jax")]


def modes(*wanted):
    """As older releases wrote 1_Pooling/config.json."""
    return {"word_embedding_dimension": 32, **{f"pooling_mode_{mode}": mode in wanted for mode in MODES}}


def sentences(folder, pooling, family="bert", inside="", more=()):
    """A sentence-transformers folder around a model as transformers saves it, and its torch twin."""
    twin = saved(folder / inside if inside else folder, *FAMILIES[family])
    after = [(f"{k + 2}_{kind}", kind) for k, kind in enumerate(more)]
    listed = [(inside, "Transformer"), ("1_Pooling", "Pooling"), *after]
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for index, (path, kind) in enumerate(listed)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    for path, _ in after:
        (folder / path).mkdir()
    return twin


def by_default(source, ids):
    pretrained = models.load(str(source))
    module, params = models.build_classifier(pretrained, 2, rng=jax.random.key(0))
    run = jax.jit(lambda params: module.apply({"params": params}, ids, LENGTHS, (3,), method="hidden_states"))
    return np.asarray(run(params))[:, 0]


@pytest.mark.parametrize(
    ("pooling", "how"),
    [
        (modes("cls_token"), "cls"),
        (modes("mean_tokens"), "mean"),
        (modes("lasttoken"), "last"),
        ({"embedding_dimension": 32, "pooling_mode": "cls", "include_prompt": True}, "cls"),
        ({"embedding_dimension": 32, "pooling_mode": ["lasttoken"]}, "last"),
        (modes(), "mean"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("family", ["bert", "qwen3"])
def test_a_folder_pools_as_it_says(tmp_path, family, pooling, how):
    ids = tokens(50, LENGTHS)
    states = torch_states(sentences(tmp_path, pooling, family), ids, LENGTHS)[-1:]
    expected = states[:, :, 0] if how == "cls" else pooled(states, LENGTHS, how)
    assert_close(by_default(tmp_path, ids), expected[0])
    assert models.outline(str(tmp_path))[0].pooling == how


def test_another_pooling_can_be_asked_for_and_one_without_modules_has_its_familys(tmp_path):
    sentences(tmp_path, modes("cls_token"))
    pretrained = models.load(str(tmp_path))
    module, _ = models.build_classifier(pretrained, 2, rng=jax.random.key(0), pooling="mean")
    assert module.pooling == "mean"
    (tmp_path / "modules.json").unlink()
    assert models.outline(str(tmp_path))[0].pooling is None


def test_the_pooling_is_part_of_what_a_model_is(tmp_path):
    sentences(tmp_path / "a", modes("cls_token"))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert models.fingerprint(str(tmp_path / "a")) == models.fingerprint(str(tmp_path / "b"))
    (tmp_path / "b" / "1_Pooling" / "config.json").write_text(json.dumps(modes("mean_tokens")))
    assert models.fingerprint(str(tmp_path / "a")) != models.fingerprint(str(tmp_path / "b"))
    assert {"modules.json", "1_Pooling/config.json"} <= models.origin(str(tmp_path / "a")).files.keys()


def test_a_model_in_a_folder_of_its_own_is_found(tmp_path):
    ids = tokens(50, LENGTHS)
    states = torch_states(sentences(tmp_path, modes("cls_token"), inside="0_Transformer"), ids, LENGTHS)
    assert_close(by_default(tmp_path, ids), states[-1][:, 0])


@pytest.mark.parametrize(
    ("pooling", "named"),
    [
        (modes("max_tokens"), "max"),
        (modes("mean_sqrt_len_tokens"), "mean_sqrt_len_tokens"),
        (modes("weightedmean_tokens"), "weightedmean"),
        (modes("cls_token", "mean_tokens"), r"cls\+mean"),
        ({"pooling_mode": ["cls", "max"]}, r"cls\+max"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_another_pooling_is_refused_by_name(tmp_path, pooling, named):
    sentences(tmp_path, pooling)
    with pytest.raises(UserError, match=rf"pooling '{named}' is not implemented; supported: cls, lasttoken, mean"):
        models.load(str(tmp_path))


def test_what_follows_the_pooling_is_left_out_by_name(tmp_path, said):
    sentences(tmp_path, modes("mean_tokens"), more=("Dense", "Normalize"))
    models.load(str(tmp_path))
    models.outline.cache_clear()
    models.outline(str(tmp_path))
    assert said() == [
        f"{tmp_path}: 2_Dense (Dense) and 3_Normalize (Normalize) are left out: a head reads the pooled hidden states "
        "as they are before them"
    ]


@pytest.mark.parametrize("kind", ["Router", "CLIPModel", "WordWeights", "LSTM"])
def test_other_modules_are_refused_by_name(tmp_path, kind):
    sentences(tmp_path, modes("mean_tokens"), more=(kind,))
    with pytest.raises(UserError, match=rf"modules\.json: a module of type '{kind}' is not implemented"):
        models.load(str(tmp_path))


def test_a_model_that_no_transformer_begins_is_refused(tmp_path):
    listed = [{"idx": 0, "path": "", "type": "sentence_transformers.models.StaticEmbedding"}]
    (tmp_path / "modules.json").write_text(json.dumps(listed))
    with pytest.raises(UserError, match="a module of type 'StaticEmbedding' is not implemented"):
        models.load(str(tmp_path))
    outside = [{"idx": 0, "path": "../m", "type": "sentence_transformers.models.Transformer"}]
    for wrong in ({"no": "list"}, outside):
        (tmp_path / "modules.json").write_text(json.dumps(wrong))
        with pytest.raises(UserError, match=r"modules\.json is not a list of modules"):
            models.load(str(tmp_path))


def test_prompts_and_lower_case_that_are_put_before_a_text_are_said(tmp_path, said):
    sentences(tmp_path, {**modes("mean_tokens"), "include_prompt": False})
    about = {"prompts": {"query": "query: ", "": ""}, "default_prompt_name": "query"}
    (tmp_path / "config_sentence_transformers.json").write_text(json.dumps(about))
    (tmp_path / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 128, "do_lower_case": True}))
    models.load(str(tmp_path))
    assert any("the prompt 'query: ' that it puts before every text is left out" in line for line in said())
    assert any("do_lower_case" in line for line in said())


def test_an_exported_folder_pools_alike(tmp_path):
    sentences(tmp_path / "a", modes("cls_token"))
    pretrained = models.load(str(tmp_path / "a"))
    export.write(pretrained, tmp_path / "b")
    back = models.load(str(tmp_path / "b"))
    assert back.config == pretrained.config
    assert back.config.pooling == "cls"
    plain = dataclasses.replace(pretrained, config=dataclasses.replace(pretrained.config, pooling=None))
    export.write(plain, tmp_path / "c")
    assert not (tmp_path / "c" / "modules.json").exists()
    export.write(pretrained, tmp_path / "d", head=np.ones((32, 2), np.float32), pooling="mean")
    assert models.outline(str(tmp_path / "d"))[0].pooling == "mean"


def test_names_of_the_wrapped_model_are_known(tmp_path):
    """sentence-transformers' state dict calls the model `0.auto_model`, and a Trainer's `model.0.auto_model`."""
    sentences(tmp_path, modes("cls_token"))
    before = models.load(str(tmp_path))
    tensors = load_file(tmp_path / "model.safetensors")
    for prefix in ("0.auto_model.", "model.0.auto_model.", "0.model."):
        save_file({prefix + name: tensor for name, tensor in tensors.items()}, tmp_path / "model.safetensors")
        models.load.cache_clear()
        jax.tree.map(np.testing.assert_array_equal, dict(models.load(str(tmp_path)).params), dict(before.params))
