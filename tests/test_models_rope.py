"""Rotary positions that are stretched are transformers' own, within the length first trained on and beyond it."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from tests import tiny as make
from tests.test_models_parity import COMMON, GEMMA, assert_close, our_states, pooled, saved, torch_states
from w2s_jax import models
from w2s_jax.models import families
from w2s_jax.models.config import Rope
from w2s_jax.runtime.errors import UserError
from w2s_jax.train import prompting
from w2s_jax.train.learner import Learner

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

FIRST = 16  # the length first trained on
LENGTHS = np.array([60, 10, FIRST, FIRST + 1, 3], np.int32)
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": FIRST}
SHORT, LONG = [1.0, 1.25, 2.0, 3.5], [1.5, 4.0, 9.0, 20.0]
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": SHORT,
    "long_factor": LONG,
    "original_max_position_embeddings": FIRST,
}
LONGER = {**COMMON, "max_position_embeddings": 64}
FEW = {**LONGER, "num_key_value_heads": 2}
WIDE = {**FEW, "head_dim": 16}
SCALINGS = {
    "yarn": ("llama", {**WIDE, "rope_parameters": YARN}),
    "yarn, a narrow ramp": ("qwen2", {**WIDE, "rope_parameters": {**YARN, "beta_fast": 2.0, "beta_slow": 0.5}}),
    "yarn, not rounded": (
        "qwen3",
        {**WIDE, "rope_parameters": {**YARN, "truncate": False, "beta_fast": 2.0, "beta_slow": 0.1}},
    ),
    "yarn, its own attention": ("mistral", {**WIDE, "rope_parameters": {**YARN, "attention_factor": 0.7}}),
    "yarn, two scales": ("llama", {**WIDE, "rope_parameters": {**YARN, "mscale": 0.7, "mscale_all_dim": 2.0}}),
    "yarn, of some dimensions": (
        "gpt_neox",
        {**LONGER, "hidden_size": 128, "rope_parameters": {**YARN, "partial_rotary_factor": 0.25, "beta_fast": 2.0}},
    ),
    "longrope": ("llama", {**FEW, "rope_parameters": LONGROPE}),
    "longrope, its own attention": ("mistral", {**FEW, "rope_parameters": {**LONGROPE, "attention_factor": 1.9}}),
    "longrope, its own factor": ("qwen2", {**FEW, "rope_parameters": {**LONGROPE, "factor": 32.0}}),
    "longrope, of some dimensions": (
        "gpt_neox",
        {**LONGER, "hidden_size": 128, "rope_parameters": {**LONGROPE, "partial_rotary_factor": 0.25}},
    ),
    "longrope, of phi3": (
        "phi3",
        {
            **FEW,
            "pad_token_id": 0,
            "original_max_position_embeddings": FIRST,
            "rope_parameters": {
                **LONGROPE,
                "partial_rotary_factor": 0.75,
                "short_factor": SHORT[:3],
                "long_factor": LONG[:3],
            },
        },
    ),
    "linear": ("llama", {**FEW, "rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}}),
}


def texts(lengths, vocabulary=50):
    return np.random.default_rng(0).integers(1, vocabulary, (len(lengths), max(lengths))).astype(np.int32)


def alone(twin, ids, lengths, how):
    """Transformers looks at the longest text of a batch; here each text is read by itself."""
    rows = [
        pooled(torch_states(twin, ids[row : row + 1, :length], [length]), [length], how)
        for row, length in enumerate(lengths)
    ]
    return np.concatenate(rows, axis=1)


SLOW = [name for name in SCALINGS if name.endswith(("its own attention", "its own factor", "a narrow ramp"))]


@pytest.mark.parametrize("name", [*(name for name in SCALINGS if name not in SLOW), *make.slow(*SLOW)])
def test_hidden_states_equal_transformers_within_the_first_length_and_beyond(tmp_path, name):
    twin = saved(tmp_path, *SCALINGS[name])
    pretrained = models.load(str(tmp_path))
    assert pretrained.config.rope.scaling == name.split(",")[0]
    ids = texts(LENGTHS)
    for how in ("last", "mean") if name in ("yarn", "longrope") else ("last",):
        assert_close(our_states(pretrained, ids, LENGTHS, how, (1, 2, 3)), alone(twin, ids, LENGTHS, how))
    if name not in ("yarn", "longrope"):
        return
    short = LENGTHS <= FIRST
    few = our_states(pretrained, ids[short][:, :FIRST], LENGTHS[short], "last", (1, 2, 3))
    assert_close(few, alone(twin, ids, LENGTHS, "last")[:, short])


@pytest.mark.parametrize("name", ["yarn", "longrope"])
def test_a_thousand_tokens_equal_transformers(tmp_path, name):
    family, settings = SCALINGS[name]
    rope = {**settings["rope_parameters"], "original_max_position_embeddings": 256}
    twin = saved(tmp_path, family, {**settings, "max_position_embeddings": 1024, "rope_parameters": rope})
    lengths = np.array([1000], np.int32)
    ids = texts(lengths)
    found = our_states(models.load(str(tmp_path)), ids, lengths, "last", (1, 2, 3))
    assert_close(found, alone(twin, ids, lengths, "last"))


def test_gemma_3_keeps_a_scaling_for_each_kind_of_layer(tmp_path):
    ropes = {
        "full_attention": {**YARN, "beta_fast": 2.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 10.0},
    }
    settings = {**GEMMA, "max_position_embeddings": 64, "layer_types": ["sliding_attention", "full_attention"] * 2}
    twin = saved(tmp_path, "gemma3_text", {**settings, "num_hidden_layers": 4, "rope_parameters": ropes})
    pretrained = models.load(str(tmp_path))
    assert [pretrained.config.rope.scaling, pretrained.config.window_rope.scaling] == ["yarn", "none"]
    ids = texts(LENGTHS)
    assert_close(our_states(pretrained, ids, LENGTHS, "last", (1, 2, 3, 4)), alone(twin, ids, LENGTHS, "last"))
    assert families.from_hf(families.to_hf(pretrained.config)) == pretrained.config


@pytest.mark.parametrize("name", SCALINGS)
def test_configs_make_the_round_trip(name):
    family, settings = SCALINGS[name]
    standard = json.loads(transformers.AutoConfig.for_model(family, **settings).to_json_string(False))
    config = families.from_hf(standard)
    written = families.to_hf(config)
    assert families.from_hf(written) == config
    theirs = json.loads(transformers.AutoConfig.for_model(**written).to_json_string(False))
    assert families.from_hf(theirs) == config


LLAMA = {**LONGER, "model_type": "llama", "hidden_act": "silu", "rms_norm_eps": 1e-5}


@pytest.mark.parametrize("kind", ["type", "rope_type"])
@pytest.mark.parametrize("given", [YARN, LONGROPE, {**LONGROPE, "factor": 7.0}, {"rope_type": "linear", "factor": 2.0}])
def test_the_words_of_transformers_4_mean_the_same(given, kind):
    newer = families.from_hf({**LLAMA, "rope_parameters": given})
    scaling = {key: value for key, value in given.items() if key not in ("rope_type", "rope_theta")}
    older = {**LLAMA, "rope_theta": 10000.0, "rope_scaling": {**scaling, kind: given["rope_type"]}}
    assert families.from_hf(older) == newer


def test_the_first_length_may_stand_beside_the_scaling():
    """As Phi-3 publishes it, where the scaling is called `su`; there it is the one that counts."""
    scaling = {"type": "su", "short_factor": SHORT, "long_factor": LONG}
    older = {**LLAMA, "original_max_position_embeddings": FIRST, "rope_scaling": scaling}
    assert families.from_hf(older) == families.from_hf({**LLAMA, "rope_parameters": LONGROPE})
    inner = {**scaling, "original_max_position_embeddings": 99}
    assert families.from_hf({**older, "rope_scaling": inner}) == families.from_hf(older)
    nowhere = {name: value for name, value in YARN.items() if name != "original_max_position_embeddings"}
    assert families.from_hf({**LLAMA, "rope_parameters": nowhere}).rope.original_max_positions == 64


@pytest.mark.parametrize(
    ("scaling", "line"),
    [
        ({"rope_type": "dynamic", "factor": 2.0}, "rope scaling 'dynamic' is not implemented: its frequencies follow"),
        ({"rope_type": "proportional"}, "rope scaling 'proportional' is not implemented; supported: default, linear"),
        ({**LONGROPE, "short_factor": [1.0]}, "rope scaling 'longrope' has 1 numbers in short_factor, not 4"),
        ({"rope_type": "longrope", "short_factor": SHORT}, "this llama config has no 'long_factor'"),
    ],
)
def test_what_is_not_implemented_is_named(scaling, line):
    with pytest.raises(UserError, match=line):
        families.from_hf({**LLAMA, "rope_parameters": scaling})


def test_a_texts_neighbours_do_not_decide_its_positions(tmp_path):
    saved(tmp_path, *SCALINGS["longrope"])
    pretrained = models.load(str(tmp_path))
    ids = texts(LENGTHS)
    together = our_states(pretrained, ids, LENGTHS, "last", (3,))[0]
    for row, length in enumerate(LENGTHS):
        single = our_states(pretrained, ids[row : row + 1, :length], LENGTHS[row : row + 1], "last", (3,))[0]
        np.testing.assert_allclose(single[0], together[row], atol=1e-5)


def test_what_continues_a_text_keeps_its_positions(tmp_path):
    """Of a text that is long already, as if it were read at once; of a short one, as of a text that stays short."""
    saved(tmp_path, *SCALINGS["longrope"], head=True)
    pretrained = models.load(str(tmp_path))
    rope = dataclasses.replace(pretrained.config.rope, long_factors=pretrained.config.rope.short_factors)
    always_short = dataclasses.replace(pretrained, config=dataclasses.replace(pretrained.config, rope=rope))
    module, params = models.build_language_model(pretrained, rng=jax.random.key(0))
    short, _ = models.build_language_model(always_short, rng=jax.random.key(0))
    ids, lengths = texts([40, 12, 18]), np.array([36, 8, 14], np.int32)  # the last goes beyond the first length
    given = {"params": params}, ids, lengths + 4
    whole = np.array(make.applied(module)(*given, method="last"))
    whole[2] = make.applied(short)(*given, method="last")[2]
    _, past = make.applied(module)({"params": params}, ids[:, :36], lengths, method="read")
    rest = np.stack([row[length : length + 4] for row, length in zip(ids, lengths, strict=True)])
    found, _ = make.applied(module)({"params": params}, rest, np.full(3, 4, np.int32), (past,), method="read")
    np.testing.assert_allclose(found, whole, rtol=1e-4, atol=1e-4)


def test_only_longrope_has_a_length_at_which_it_switches():
    rope = Rope(scaling="longrope", short_factors=(1.0,), long_factors=(2.0,), original_max_positions=9)
    config = families.from_hf({**LLAMA, "rope_parameters": LONGROPE})
    assert config.switch_length == FIRST
    assert families.from_hf({**LLAMA, "rope_parameters": YARN}).switch_length is None
    assert rope.switches
    assert not Rope(scaling="longrope", short_factors=(2.0,), long_factors=(2.0,)).switches


@pytest.mark.parametrize("answers", [(" bad", " good"), (" bad film", " good film")])
def test_prompts_are_scored_as_if_each_were_read_whole(tmp_path, answers):
    """Prompts that begin alike, within the length at which positions switch, across it and beyond it."""
    folder = make.llama(tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    scaling = {**LONGROPE, "short_factor": SHORT[:2], "long_factor": LONG[:2], "original_max_position_embeddings": 6}
    (folder / "config.json").write_text(json.dumps({**config, "rope_parameters": scaling}))
    texts = ["the film", "the film was", "the film was very", "the film was very very very good the plot", "the film a"]
    learner = Learner(str(folder), batch_size=8)
    asking = prompting.Asking(learner, models.load_sharded(learner.model, None))
    found = asking.logits(texts, [], answers, template="{text} is")
    module, params = models.build_language_model(models.load(str(folder)), rng=jax.random.key(0))
    tokenizer = models.outline(str(folder))[1]
    for text, row in zip(texts, found, strict=True):
        start = len(tokenizer.encode([text + " is"])[0])
        for answer, score in zip(answers, row, strict=True):
            ids = np.array(tokenizer.encode([text + " is" + answer]), np.int32)
            if ids.shape[1] == start + 1:  # of one token the prompt's length counts
                logits = make.applied(module)({"params": params}, ids[:, :-1], np.array([start]), method="last")
                expected = jax.nn.log_softmax(logits)[0, ids[0, -1]]
            else:
                arguments = {"params": params}, ids, np.array([ids.shape[1]]), np.array([start])
                expected = make.applied(module)(*arguments, method="score")[0, 0]
            np.testing.assert_allclose(score, expected, atol=1e-4)
