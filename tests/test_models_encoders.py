"""RoBERTa, XLM-R, DistilBERT, DeBERTa-v3 and ModernBERT are the published ones: equal to transformers on torch."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from safetensors.numpy import load_file, save_file

from tests import tiny as make
from tests.test_models_loading import MESHES
from tests.test_models_parity import (
    COMMON,
    LENGTHS,
    assert_close,
    our_states,
    pooled,
    saved,
    tokens,
    torch_states,
)
from w2s_jax import losses, models
from w2s_jax.models import assembly, export, families
from w2s_jax.models.layers import Lora
from w2s_jax.models.packing import Packing
from w2s_jax.models.params import merge_lora
from w2s_jax.runtime import sharding
from w2s_jax.train.optimizer import OptimizerConfig, make_optimizer
from w2s_jax.train.state import create
from w2s_jax.train.step import make_train_step

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

ROBERTA = {**COMMON, "type_vocab_size": 1, "pad_token_id": 1, "max_position_embeddings": 42}
DEBERTA = {
    **COMMON,
    "type_vocab_size": 0,
    "relative_attention": True,
    "share_att_key": True,
    "pos_att_type": "p2c|c2p",
    "norm_rel_ebd": "layer_norm",
    "position_biased_input": False,
    "position_buckets": 8,
    "max_relative_positions": -1,
}
DISTILBERT = {
    "vocab_size": 50,
    "dim": 32,
    "hidden_dim": 48,
    "n_layers": 3,
    "n_heads": 4,
    "max_position_embeddings": 40,
}
MODERNBERT = {
    **COMMON,
    "local_attention": 4,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "cls_token_id": 2,
    "eos_token_id": 3,
    "sep_token_id": 3,
}
ROPES = {
    "full_attention": {"rope_type": "linear", "factor": 2.0, "rope_theta": 500.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 10.0},
}
WINDOWS = {"local_attention": 7, "layer_types": ["full_attention", "sliding_attention"] * 2, "rope_parameters": ROPES}
ENCODERS = {
    "roberta": ("roberta", ROBERTA),
    "roberta, padded with another id": ("roberta", {**ROBERTA, "pad_token_id": 5, "num_attention_heads": 2}),
    "xlm-roberta": ("xlm-roberta", {**ROBERTA, "num_hidden_layers": 2, "num_attention_heads": 8}),
    "distilbert": ("distilbert", DISTILBERT),
    "distilbert, wide": ("distilbert", {**DISTILBERT, "hidden_dim": 96, "n_heads": 2, "activation": "relu"}),
    "deberta": ("deberta-v2", DEBERTA),
    "deberta, few buckets": (
        "deberta-v2",
        {**DEBERTA, "position_buckets": 4, "max_relative_positions": 12, "num_attention_heads": 2},
    ),
    "deberta, segments": ("deberta-v2", {**DEBERTA, "type_vocab_size": 2, "num_hidden_layers": 2}),
    "modernbert": ("modernbert", MODERNBERT),
    "modernbert, its own layers": (
        "modernbert",
        {**MODERNBERT, **WINDOWS, "num_hidden_layers": 4, "num_attention_heads": 2},
    ),
}
FIRST = ["roberta", "distilbert", "deberta", "modernbert"]
LONG = np.array([7, 3, 23, 1, 12], np.int32)


def loaded(folder, name):
    """A tiny random model that transformers saved, ids, and what its torch twin makes of them in every layer."""
    twin = saved(folder, *ENCODERS[name])
    ids = tokens(50, LONG)
    return models.load(str(folder)), ids, torch_states(twin, ids, LONG)


@pytest.mark.parametrize(
    "name",
    [name if name not in ("xlm-roberta", "distilbert, wide") else make.slow(name)[0] for name in ENCODERS],
)
@pytest.mark.parametrize("scan", [True, *make.slow(False)])
def test_every_layer_equals_transformers(tmp_path, name, scan):
    pretrained, ids, states = loaded(tmp_path, name)
    layers = tuple(range(1, len(states) + 1))
    for how in ("last", "mean") if name in FIRST else ("mean",):
        found = our_states(pretrained, ids, LONG, how, layers, scan=scan)
        assert_close(found, pooled(states, LONG, how), tolerance=2e-6)


@pytest.mark.parametrize("name", ["deberta", "modernbert", *make.slow("roberta", "distilbert")])
def test_cut_to_its_first_layers_it_is_the_same(tmp_path, name):
    _, ids, states = loaded(tmp_path, name)
    cut = models.load(str(tmp_path), read_layer=2)
    assert cut.params["layers"]["attention"]["query"]["kernel"].shape[0] == 2
    assert "final_norm" not in cut.params
    assert_close(our_states(cut, ids, LONG, "mean", (2,))[0], pooled(states[1:2], LONG, "mean")[0], tolerance=2e-6)


@pytest.mark.parametrize("name", ["roberta", "deberta", "modernbert", *make.slow("distilbert")])
@pytest.mark.parametrize("how", ["mean", *make.slow("cls", "last")])
def test_packed_padded_and_alone_agree(tmp_path, name, how):
    saved(tmp_path, *ENCODERS[name])
    pretrained, ids = models.load(str(tmp_path)), tokens(50, LONG)
    module, params = models.build_classifier(pretrained, 3, rng=jax.random.key(0), pooling=how)
    kernel = np.random.default_rng(0).normal(size=(32, 3)).astype(np.float32)

    def logits(ids, lengths, packing=None):
        run = jax.jit(lambda head: module.apply({"params": {**params, "head": head}}, ids, lengths, packing=packing))
        return np.asarray(run({"kernel": kernel}))

    together = logits(ids, LONG)
    for packing in (Packing(1, 46), Packing(5, 25)):
        np.testing.assert_allclose(logits(ids, LONG, packing), together, atol=1e-5)
    longer = np.pad(ids, ((0, 0), (0, 5)), constant_values=7)
    np.testing.assert_allclose(logits(longer, LONG), together, atol=1e-5)
    other_padding = np.where(np.arange(ids.shape[1]) < LONG[:, None], ids, 1)
    np.testing.assert_allclose(logits(other_padding, LONG), together, atol=1e-5)
    for row, length in ((0, 7), (3, 1)):
        alone = logits(ids[row : row + 1, :length], LONG[row : row + 1])
        np.testing.assert_allclose(alone[0], together[row], atol=1e-5)
    with_empty = logits(np.pad(ids, ((0, 1), (0, 0))), np.append(LONG, 0).astype(np.int32))
    np.testing.assert_allclose(with_empty[:-1], together, atol=1e-5)
    assert np.isfinite(with_empty).all()


@pytest.mark.parametrize("name", ["deberta", "modernbert", *make.slow("roberta", "distilbert")])
def test_gradients_equal_transformers(tmp_path, name):
    """Of every tensor, by the table that reads and writes them: it is linear. No text holds the id that pads."""
    twin = saved(tmp_path, *ENCODERS[name])
    pretrained = models.load(str(tmp_path))
    ids, pooling = 2 + tokens(48, LONG), np.random.default_rng(1).normal(size=32).astype(np.float32)
    module, params = models.build_classifier(pretrained, 1, rng=jax.random.key(0), pooling="mean")

    def loss(backbone):
        head = {"kernel": jnp.asarray(pooling)[:, None]}
        return jnp.sum(jnp.sin(module.apply({"params": {"backbone": backbone, "head": head}}, ids, LONG)))

    found = jax.tree.map(np.asarray, jax.jit(jax.grad(loss))(params["backbone"]))
    mask = torch.arange(ids.shape[1])[None] < torch.tensor(LONG)[:, None]
    hidden = twin(torch.tensor(ids).long(), attention_mask=mask.long()).last_hidden_state
    mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    torch.sin(mean @ torch.tensor(pooling)).sum().backward()
    theirs = {name: tensor.grad.numpy() for name, tensor in twin.named_parameters() if tensor.grad is not None}
    ours = dict(export._backbone(found, pretrained.config))
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        assert np.linalg.norm(ours[name] - gradient) <= 1e-4 * np.linalg.norm(gradient) + 1e-6, name


@pytest.mark.parametrize("name", ["deberta", *make.slow("roberta", "distilbert", "modernbert")])
def test_a_training_step_is_the_same_packed_and_padded(tmp_path, name):
    saved(tmp_path, *ENCODERS[name])
    module, params = models.build_classifier(models.load(str(tmp_path)), 2, rng=jax.random.key(0), dropout=0.1)
    params = {**params, "head": {"kernel": jnp.asarray(np.random.default_rng(0).normal(size=(32, 2)), jnp.float32)}}
    batch = tokens(50, LENGTHS), LENGTHS, np.eye(2, dtype=np.float32)[[0, 1, 1, 0]], np.ones(4, bool)
    tx = make_optimizer(OptimizerConfig(learning_rate=1e-3), 4)

    def after(packed, deterministic):
        def apply(params, frozen, tokens, lengths, rng, packing=None):
            how = {"deterministic": deterministic, "rngs": {"dropout": rng}, "packing": packing}
            return module.apply({"params": params}, tokens, lengths, **how)

        step = make_train_step(apply, losses.bind(losses.cross_entropy), tx, total_steps=4, packed=packed)
        state, measured = step(create(jax.tree.map(jnp.copy, params), tx, jax.random.key(0)), {}, *batch)
        return state.params, measured.loss

    padded, packed = after(False, True), after(True, True)
    np.testing.assert_allclose(padded[1], packed[1], rtol=1e-5)
    moved = jax.tree.map(lambda new, old: np.abs(np.asarray(new) - np.asarray(old)).max(), padded[0], params)
    paths = {jax.tree_util.keystr(path): by for path, by in jax.tree_util.tree_leaves_with_path(moved)}
    assert [path for path, by in paths.items() if not by] == []
    dropped, loss = after(True, False)
    assert np.isfinite(loss)
    assert loss != packed[1]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(dropped))


@pytest.mark.parametrize("name", make.slow("deberta", "modernbert"))
def test_how_it_is_computed_does_not_change_what_it_computes(tmp_path, name):
    pretrained, ids, _ = loaded(tmp_path, name)

    def gradient(**settings):
        module, params = models.build_classifier(pretrained, 2, rng=jax.random.key(0), **settings)
        params = {**params, "head": {"kernel": jnp.ones((32, 2)) * jnp.array([1.0, -1.0])}}
        loss = jax.jit(lambda params: jnp.sum(jnp.sin(module.apply({"params": params}, ids, LONG)[:, 0])))
        return jax.grad(loss)(params)

    expected = gradient()
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=2e-5)
    for settings in ({"scan": False}, {"remat": "full"}, {"remat": "dots"}):
        jax.tree.map(close, gradient(**settings), expected)
    half = our_states(pretrained, ids, LONG, "last", (3,), dtype="bfloat16")
    whole = our_states(pretrained, ids, LONG, "last", (3,))
    assert np.abs(half - whole).max() < 0.1 * np.abs(whole).max()


@pytest.mark.parametrize("name", ENCODERS)
def test_configs_make_the_round_trip(name):
    family, settings = ENCODERS[name]
    config = families.from_hf(json.loads(transformers.AutoConfig.for_model(family, **settings).to_json_string(False)))
    written = families.to_hf(config)
    assert families.from_hf(written) == config
    assert families.from_hf(json.loads(transformers.AutoConfig.for_model(**written).to_json_string(False))) == config


@pytest.mark.parametrize("shape", [(2, 2, 2), *make.slow(*(shape for shape in MESHES if shape != (2, 2, 2)))])
@pytest.mark.parametrize("name", FIRST)
def test_loaded_onto_a_mesh_it_is_the_same_model(tmp_path, monkeypatch, name, shape):
    saved(tmp_path, *ENCODERS[name])
    mesh = sharding.make_mesh(*shape)
    whole = models.load(str(tmp_path))
    monkeypatch.setattr(assembly, "CHUNK", 200)  # no matrix is read at once
    found = models.load_sharded(str(tmp_path), mesh)
    assert found.config == whole.config
    jax.tree.map(np.testing.assert_array_equal, dict(found.params), dict(whole.params))
    module, params = models.build_classifier(whole, 2, rng=jax.random.key(0))
    expected = sharding.param_shardings(models.boxed_shapes(module), mesh)["backbone"]
    assert jax.tree.map(lambda leaf: leaf.sharding, dict(found.params)) == expected
    ids, lengths = np.tile(tokens(50, LENGTHS), (2, 1)), np.tile(LENGTHS, 2)

    def states(params, mesh):
        with sharding.activate(mesh):
            run = jax.jit(lambda params: module.apply({"params": params}, ids, lengths, (1, 2), method="hidden_states"))
            return np.asarray(run(params))

    np.testing.assert_allclose(states({**params, "backbone": found.params}, mesh), states(params, None), atol=1e-5)


@pytest.mark.parametrize("name", [*FIRST, *make.slow(*(name for name in ENCODERS if name not in FIRST))])
def test_what_is_exported_transformers_loads_with_equal_outputs(tmp_path, name):
    pretrained = loaded(tmp_path / "source", name)[0]
    rng = np.random.default_rng(0)
    moved = jax.tree.map(lambda leaf: np.float32(leaf + 0.1 * rng.normal(size=leaf.shape)), dict(pretrained.params))
    if not pretrained.config.first_norm:
        moved["layers"]["attention_norm"]["scale"][0] = 1.0  # is not used, and not written
    model = dataclasses.replace(pretrained, params=moved)
    export.write(model, tmp_path / "out")
    back = models.load(str(tmp_path / "out"))
    assert back.config == pretrained.config
    jax.tree.map(np.testing.assert_array_equal, dict(back.params), moved)
    kind = getattr(transformers, families.of(pretrained.config).model_class)
    pooler = {"add_pooling_layer": False} if "roberta" in name else {}
    twin, report = kind.from_pretrained(tmp_path / "out", output_loading_info=True, **pooler)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"))
    ids = tokens(50, LONG)
    states = torch_states(twin.eval(), ids, LONG)
    layers = tuple(range(1, len(states) + 1))
    assert_close(our_states(model, ids, LONG, "mean", layers), pooled(states, LONG, "mean"), tolerance=5e-6)


def test_an_exported_roberta_pads_with_the_id_that_its_positions_leave_out(tmp_path):
    """Though its config did not state it, as RoBERTa's own default, and another one ends texts."""
    saved(tmp_path / "source", *ENCODERS["roberta"])
    path = tmp_path / "source" / "config.json"
    stated = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in stated.items() if key != "pad_token_id"}))
    export.write(models.load(str(tmp_path / "source")), tmp_path / "out")
    written = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (written["pad_token_id"], written["eos_token_id"]) == (1, 2)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("roberta", "RobertaForMaskedLM"),
        ("distilbert", "DistilBertForMaskedLM"),
        ("deberta", "DebertaV2ForMaskedLM"),
        ("modernbert", "ModernBertForMaskedLM"),
        pytest.param("roberta", "RobertaForSequenceClassification", marks=pytest.mark.slow),
        pytest.param("distilbert", "DistilBertForQuestionAnswering", marks=pytest.mark.slow),
        pytest.param("deberta", "DebertaV2ForSequenceClassification", marks=pytest.mark.slow),
        pytest.param("modernbert", "ModernBertForSequenceClassification", marks=pytest.mark.slow),
    ],
)
def test_of_a_checkpoint_with_a_head_the_backbone_is_read(tmp_path, name, kind):
    family, settings = ENCODERS[name]
    torch.manual_seed(0)
    twin = getattr(transformers, kind)(transformers.AutoConfig.for_model(family, **settings)).eval()
    twin.save_pretrained(tmp_path)
    make.tokenizer(tmp_path / "tokenizer.json")
    ids = tokens(50, LENGTHS)
    states = torch_states(twin.base_model, ids, LENGTHS)
    found = our_states(models.load(str(tmp_path)), ids, LENGTHS, "mean", (1, 2, 3))
    assert_close(found, pooled(states, LENGTHS, "mean"), tolerance=5e-6)


def test_a_published_deberta_holds_positions_that_it_does_not_use(tmp_path):
    pretrained = loaded(tmp_path, "deberta")[0]
    tensors = load_file(tmp_path / "model.safetensors")
    renamed = {f"deberta.{name}": tensor for name, tensor in tensors.items()}
    more = {
        "deberta.embeddings.position_embeddings.weight": np.zeros((40, 32), np.float32),
        "lm_predictions.lm_head.bias": np.zeros(50, np.float32),
        "mask_predictions.classifier.bias": np.zeros(1, np.float32),
    }
    save_file({**renamed, **more}, tmp_path / "model.safetensors")
    models.load.cache_clear()
    again = models.load(str(tmp_path))
    jax.tree.map(np.testing.assert_array_equal, dict(again.params), dict(pretrained.params))


def test_adapters_of_queries_and_keys_work_on_distances_too(tmp_path):
    """What is merged gives what is not, though the maps are used twice."""
    pretrained, ids, _ = loaded(tmp_path, "deberta")
    lora, rng = Lora(rank=2), np.random.default_rng(1)
    module, params = models.build_classifier(pretrained, 2, rng=jax.random.key(0), lora=lora)
    params = jax.tree.map(lambda leaf: np.float32(leaf + 0.1 * rng.normal(size=leaf.shape)), params)
    plain, _ = models.build_classifier(pretrained, 2, rng=jax.random.key(0))
    merged = merge_lora(params, lora.scale)
    apart = make.applied(module)({"params": params}, ids, LONG)
    np.testing.assert_allclose(apart, make.applied(plain)({"params": merged}, ids, LONG), atol=2e-5)


def test_optimizers_leave_the_norm_that_is_not_there_alone(tmp_path):
    """Its scale has no gradient, and scales do not decay."""
    saved(tmp_path, *ENCODERS["modernbert"])
    module, params = models.build_classifier(models.load(str(tmp_path)), 2, rng=jax.random.key(0))
    params = {**params, "head": {"kernel": jnp.ones((32, 2)) * jnp.array([1.0, -1.0])}}
    tx = make_optimizer(OptimizerConfig(learning_rate=1e-2, weight_decay=0.1), 4)

    def loss(params):
        return jnp.sum(module.apply({"params": params}, tokens(50, LENGTHS), LENGTHS)[:, 0])

    @jax.jit
    def step(params):
        return optax.apply_updates(params, tx.update(jax.grad(loss)(params), tx.init(params), params)[0])

    before, after = (each["backbone"]["layers"]["attention_norm"]["scale"] for each in (params, step(params)))
    np.testing.assert_array_equal(after[0], np.ones(32, np.float32))
    assert (after[1:] != before[1:]).all()
