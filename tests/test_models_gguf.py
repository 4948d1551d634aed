"""GGUF files written here by llama.cpp's rules are the models that they were made from."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from tests import tiny as make
from tests.test_models_parity import (
    COMMON,
    GEMMA,
    GEMMA1,
    LENGTHS,
    OLMO,
    OLMO3,
    OLMO3_ROPES,
    PHI3,
    PHI3_LONGER,
    SMOLLM3,
    assert_close,
    our_states,
    pooled,
    saved,
    tokens,
    torch_states,
    words_tokenizer,
)
from w2s_jax import models
from w2s_jax.models import assembly, export, families
from w2s_jax.runtime import sharding
from w2s_jax.runtime.errors import UserError

gguf = pytest.importorskip("gguf")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from tests import gguf_writing  # noqa: E402  (it needs gguf and torch)
from tests.gguf_writing import written  # noqa: E402

PIECES = ["▁", *"abcdehlotw", "th", "he", "▁th", "▁the", "▁t", "llo", "ll", "lo", "hello", "▁hello", "Ü"]
TOKENS = [  # with llama.cpp's types: 1 normal, 3 control, 4 defined by the user, 6 a byte
    *((token, 3) for token in ("<pad>", "<eos>", "<bos>", "<unk>")),
    *((token, 4) for token in ("  ", "    ", "   ", "<table>")),
    *((f"<0x{byte:02X}>", 6) for byte in range(256)),
    *((token, 1) for token in PIECES),
]
ARCHITECTURES = {
    "llama": ("llama", {**COMMON, "num_key_value_heads": 2, "tie_word_embeddings": True}),
    "gemma2": ("gemma2", {**GEMMA, "query_pre_attn_scalar": 16, "final_logit_softcapping": 5.0}),
    "gemma3": ("gemma3_text", {**GEMMA, "query_pre_attn_scalar": 16, "num_hidden_layers": 7}),
}


def twin_of(architecture):
    family, settings = ARCHITECTURES[architecture]
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(family, **{**settings, "vocab_size": len(TOKENS)})
    twin = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return twin


def vocabulary(writer):
    """Gemma's, of single letters and a few words."""
    writer.add_tokenizer_model("llama")
    writer.add_token_list([token for token, _ in TOKENS])
    writer.add_token_scores([-float(index) for index in range(len(TOKENS))])
    writer.add_token_types([kind for _, kind in TOKENS])
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(1)
    writer.add_unk_token_id(3)
    writer.add_pad_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)


def assert_same_on_a_mesh(pretrained, monkeypatch):
    monkeypatch.setattr(assembly, "CHUNK", 200)  # no matrix is read at once
    found = models.load_sharded(pretrained.name, sharding.make_mesh(1, 4, 2))
    jax.tree.map(np.testing.assert_array_equal, dict(found.params), dict(pretrained.params))


@pytest.mark.parametrize("architecture", ["gemma2", "gemma3"])
def test_hidden_states_equal_the_model_the_file_was_made_of(tmp_path, monkeypatch, architecture):
    twin = twin_of(architecture)
    pretrained = models.load(str(written(tmp_path / "m.gguf", twin, vocabulary)))
    assert pretrained.config == families.from_hf(twin.config.to_dict())
    layers = tuple(range(1, twin.config.num_hidden_layers + 1))
    assert_same_on_a_mesh(pretrained, monkeypatch)
    ids = tokens(len(TOKENS), LENGTHS)
    states = pooled(torch_states(twin.model, ids, LENGTHS), LENGTHS, "last")
    assert_close(our_states(pretrained, ids, LENGTHS, "last", layers), states)


def test_rotary_pairs_of_llama_are_put_apart(tmp_path, monkeypatch):
    twin = twin_of("llama")
    path = written(tmp_path / "m.gguf", twin, vocabulary)
    assert_same_on_a_mesh(models.load(str(path)), monkeypatch)
    ids = tokens(len(TOKENS), LENGTHS)
    states = pooled(torch_states(twin.model, ids, LENGTHS), LENGTHS, "last")
    assert_close(our_states(models.load(str(path)), ids, LENGTHS, "last", (1, 2, 3)), states)


FAMILIES = {
    "llama": ("llama", {**COMMON, "num_key_value_heads": 2, "tie_word_embeddings": True}),
    "llama, biases": ("llama", {**COMMON, "num_key_value_heads": 2, "attention_bias": True, "mlp_bias": True}),
    "llama, wide heads": ("llama", {**COMMON, "num_key_value_heads": 1, "head_dim": 16}),
    "mistral": ("mistral", {**COMMON, "num_key_value_heads": 2, "sliding_window": None}),
    "qwen2": ("qwen2", {**COMMON, "num_key_value_heads": 2}),
    "qwen2, tied": ("qwen2", {**COMMON, "num_key_value_heads": 1, "tie_word_embeddings": True}),
    "qwen3": ("qwen3", {**COMMON, "num_key_value_heads": 2, "head_dim": 16}),
    "gemma2": ("gemma2", {**GEMMA, "query_pre_attn_scalar": 16, "final_logit_softcapping": 5.0}),
    "gemma3": ("gemma3_text", {**GEMMA, "query_pre_attn_scalar": 16, "num_hidden_layers": 7}),
    "olmo2": ("olmo2", {**OLMO, "num_key_value_heads": 2}),
    "olmo3": ("olmo3", {**OLMO3, "rope_parameters": OLMO3_ROPES}),
    "phi3": ("phi3", {**PHI3, "num_key_value_heads": 2, "sliding_window": 3}),
    "phi3, a part of each head, tied": ("phi3", {**PHI3_LONGER, "tie_word_embeddings": True}),
    "smollm3": ("smollm3", {**SMOLLM3, "num_hidden_layers": 5, "num_key_value_heads": 2, "no_rope_layer_interval": 4}),
    "gemma": ("gemma", {**GEMMA1, "num_key_value_heads": 1}),
    "gpt_neox": ("gpt_neox", {**COMMON, "hidden_size": 64}),
    "gpt_neox, one residual": ("gpt_neox", {**COMMON, "use_parallel_residual": False, "tie_word_embeddings": True}),
    "gpt2": ("gpt2", {"vocab_size": 50, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 40}),
    "bert": ("bert", {**COMMON, "type_vocab_size": 2}),
}


LIKE_ANOTHER = ["mistral", "qwen2, tied", "gpt_neox, one residual", "llama, biases"]


@pytest.mark.parametrize("name", [*(name for name in FAMILIES if name not in LIKE_ANOTHER), *make.slow(*LIKE_ANOTHER)])
def test_a_gguf_file_is_the_model_of_the_safetensors_that_it_was_made_of(tmp_path, monkeypatch, name):
    """Its settings, every parameter bit for bit, its own head, and what it computes."""
    family, settings = FAMILIES[name]
    folder = tmp_path / "folder"
    twin = saved(folder, family, settings, head=family != "bert")
    words_tokenizer(tmp_path / "tokenizer.json")
    source = str(written(tmp_path / "m.gguf", twin))
    ours, expected = models.load(source), models.load(str(folder))
    kind = "llama" if family == "mistral" else family
    assert ours.config == dataclasses.replace(expected.config, family=kind)
    assert jax.tree.structure(dict(ours.params)) == jax.tree.structure(dict(expected.params))
    close = functools.partial(np.testing.assert_allclose, rtol=0, atol=3e-7 if "gemma" in name else 0)
    jax.tree.map(close, dict(ours.params), dict(expected.params))
    assert_same_on_a_mesh(ours, monkeypatch)
    if family != "bert" and not expected.config.tied_embeddings:
        np.testing.assert_array_equal(models.unembedding(source), models.unembedding(str(folder)))
    ids = tokens(50, LENGTHS)
    base = twin if family == "bert" else twin.base_model
    states = torch_states(base, ids, LENGTHS)
    layers = tuple(range(1, len(states) + 1))
    assert_close(our_states(ours, ids, LENGTHS, "last", layers), pooled(states, LENGTHS, "last"))


@pytest.mark.parametrize("name", ["phi3", *make.slow("qwen2", "gpt_neox", "gpt2", "bert", "olmo2", "olmo3", "smollm3")])
def test_what_was_read_from_gguf_is_exported_as_the_model_it_was_made_of(tmp_path, name):
    twin = saved(tmp_path / "folder", *FAMILIES[name], head=name != "bert")
    words_tokenizer(tmp_path / "tokenizer.json")
    pretrained = models.load(str(written(tmp_path / "m.gguf", twin, lambda writer: writer.add_pad_token_id(0))))
    export.write(pretrained, tmp_path / "out")
    again = type(twin).from_pretrained(tmp_path / "out")
    for key, tensor in again.state_dict().items():
        if not key.startswith("pooler."):
            torch.testing.assert_close(tensor, twin.state_dict()[key], rtol=0, atol=0)


LONGER = {**COMMON, "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 2048}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 8.0, "original_max_position_embeddings": 256}
FACTORS = [1.0, 1.5, 1.5, 2.0, 3.0, 5.0, 8.0, 13.0]
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0, 1.0, 1.1, 1.2, 1.4, 1.6, 1.9, 2.5],
    "long_factor": FACTORS,
    "original_max_position_embeddings": 256,
}
SCALINGS = {
    "llama3": ("llama", LLAMA3),
    "yarn": ("qwen2", YARN),
    "yarn, its own ramp": ("qwen3", {**YARN, "beta_fast": 8.0, "beta_slow": 2.0, "attention_factor": 1.5}),
    "longrope": ("llama", LONGROPE),
    "linear": ("llama", {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}),
}


def scaled(tmp_path, family, rope, changes=None):
    """A model, and what the GGUF file of it is read as."""
    twin = saved(tmp_path / "folder", family, {**LONGER, "rope_parameters": rope})
    words_tokenizer(tmp_path / "tokenizer.json")
    return twin, models.load(str(written(tmp_path / "m.gguf", twin, changes=changes)))


def assert_same_over_a_thousand_tokens(twin, pretrained, lengths=(1000, 60)):
    lengths = np.array(lengths, np.int32)
    ids = tokens(50, lengths)
    found = our_states(pretrained, ids, lengths, "last", (1, 2, 3))
    for row, length in enumerate(lengths):
        theirs = torch_states(twin, ids[row : row + 1, :length], [length])
        assert_close(found[:, row : row + 1], pooled(theirs, [length], "last"), tolerance=2e-4)


@pytest.mark.parametrize("name", ["llama3", "yarn", "longrope", *make.slow("yarn, its own ramp", "linear")])
def test_stretched_positions_are_those_of_transformers_over_a_thousand_tokens(tmp_path, name):
    family, rope = SCALINGS[name]
    twin, pretrained = scaled(tmp_path, family, rope)
    expected = dataclasses.replace(families.from_hf(twin.config.to_dict()), tied_embeddings=True)  # it has no head
    if name != "longrope":  # whose factors are kept in single precision
        assert pretrained.config == expected
    assert pretrained.config.rope.scaling == expected.rope.scaling
    assert families.from_hf(families.to_hf(pretrained.config)) == pretrained.config
    assert_same_over_a_thousand_tokens(twin, pretrained)


def test_llama_3s_factors_are_read_whatever_they_are(tmp_path, monkeypatch):
    """Also where they are of other settings than those that llama.cpp's converter takes as given."""
    monkeypatch.setattr(gguf_writing, "llama3_factors", lambda config: np.array(FACTORS, np.float32))
    _, pretrained = scaled(tmp_path, "llama", LLAMA3)
    same = {**LONGROPE, "rope_theta": 500000.0, "short_factor": FACTORS, "attention_factor": 1.0}
    twin = saved(tmp_path / "same", "llama", {**LONGER, "rope_parameters": same})
    assert pretrained.config.switch_length is None
    assert families.from_hf(families.to_hf(pretrained.config)) == pretrained.config
    assert_same_over_a_thousand_tokens(twin, pretrained)


def test_a_factor_without_a_kind_is_linear_as_in_llama_cpp(tmp_path):
    plain = {"rope_type": "default", "rope_theta": 10000.0}
    for key in ("rope.scaling.factor", "rope.scale_linear"):
        _, found = scaled(tmp_path / key, "llama", plain, {key: 4.0})
        assert (found.config.rope.scaling, found.config.rope.factor) == ("linear", 4.0)
    _, found = scaled(tmp_path / "none", "llama", plain, {"rope.scaling.type": "none", "rope.scaling.factor": 4.0})
    assert found.config.rope.scaling == "none"


@pytest.mark.parametrize(
    ("rope", "changes", "line"),
    [
        (LLAMA3, {"rope.scaling.type": "yarn"}, "rope scaling 'yarn' together with rope_freqs.weight is not"),
        (LLAMA3, {"rope.scaling.attn_factor": 1.5}, "'linear' with an attention factor is not implemented"),
        (LLAMA3, {"rope.dimension_count": 8}, "rope_freqs.weight has 8 numbers, not one for each of 4 frequencies"),
        (YARN, {"rope.scaling.yarn_ext_factor": 0.5}, "rope.scaling.yarn_ext_factor is not implemented"),
        (YARN, {"rope.scaling.yarn_log_multiplier": 0.1}, "rope.scaling.yarn_log_multiplier is not implemented"),
        (YARN, {"rope.scaling.type": "longrope"}, "rope scaling 'longrope' without rope_factors_short.weight and"),
        (YARN, {"rope.scaling.type": "ntk"}, "rope scaling 'ntk' is not implemented for GGUF files"),
        (YARN, {"attention.head_count": None}, "this GGUF file has no llama.attention.head_count"),
        (YARN, {"attention.layer_norm_rms_epsilon": None}, "has no llama.attention.layer_norm_rms_epsilon"),
        (YARN, {"attention.head_count_kv": [2, 1, 2]}, "llama.attention.head_count_kv of this GGUF file differs"),
    ],
)
def test_settings_that_are_missing_or_not_implemented_are_named(tmp_path, rope, changes, line):
    with pytest.raises(UserError, match=line):
        scaled(tmp_path, "llama", rope, changes)


def test_a_setting_may_be_given_for_each_layer(tmp_path):
    _, found = scaled(tmp_path, "llama", YARN, {"attention.head_count_kv": [2, 2, 2]})
    assert found.config.n_kv_heads == 2


def test_what_the_first_files_of_gemma_2_do_not_state_is_what_was_published(tmp_path):
    unsaid = ("attn_logit_softcapping", "final_logit_softcapping", "attention.sliding_window")
    path = written(tmp_path / "m.gguf", twin_of("gemma2"), vocabulary, dict.fromkeys(unsaid))
    found = models.outline(str(path))[0]
    assert (found.attention_softcap, found.logits_softcap, found.sliding_window) == (50.0, 30.0, 4096)


def test_gemma_3s_window_must_be_stated_and_may_have_its_own_base(tmp_path):
    path = written(tmp_path / "m.gguf", twin_of("gemma3"), vocabulary, {"rope.freq_base_swa": 77.0})
    assert models.outline(str(path))[0].window_rope.theta == 77.0
    path = written(tmp_path / "n.gguf", twin_of("gemma3"), vocabulary, {"attention.sliding_window": None})
    with pytest.raises(UserError, match=r"this GGUF file has no gemma3\.attention\.sliding_window"):
        models.outline(str(path))


@pytest.mark.parametrize(("kind", "pooling"), [(0, None), (1, "mean"), (2, "cls"), (3, "last"), (None, None)])
def test_a_file_may_say_how_its_vectors_are_pooled(tmp_path, kind, pooling):
    """And is then another model than one that pools otherwise."""
    twin = saved(tmp_path / "folder", *FAMILIES["bert"])
    words_tokenizer(tmp_path / "tokenizer.json")
    source = str(written(tmp_path / "m.gguf", twin, changes={"pooling_type": kind}))
    assert models.outline(source)[0].pooling == pooling
    if pooling not in ("mean", "cls"):
        return
    states = pooled(torch_states(twin, tokens(50, LENGTHS), LENGTHS)[-1:], LENGTHS, "mean")[0]
    if pooling == "cls":
        states = torch_states(twin, tokens(50, LENGTHS), LENGTHS)[-1][:, 0]
    assert_close(our_states(models.load(source), tokens(50, LENGTHS), LENGTHS, None, (3,))[0], states)


def test_a_file_that_ranks_is_refused(tmp_path):
    twin = saved(tmp_path / "folder", *FAMILIES["bert"])
    words_tokenizer(tmp_path / "tokenizer.json")
    path = written(tmp_path / "m.gguf", twin, changes={"pooling_type": 4})
    with pytest.raises(UserError, match=r"pooling_type 4 of this GGUF file is not implemented .* 1 \(mean\)"):
        models.load(str(path))


def test_an_architecture_that_is_not_implemented_is_named(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "mamba")
    writer.add_tensor("x", np.zeros(4, np.float32))
    gguf_writing.finish(writer)
    with pytest.raises(UserError, match=r"GGUF architecture .mamba. is not implemented .*; supported: bert, "):
        models.load(str(tmp_path / "m.gguf"))


TEXTS = ["hello the", "", " the  hello   t    a", "<table>the<bos>hello", "Üé 東\t\n", "thethe<unk> llo<0x41>", "     "]


def test_tokens_are_those_transformers_makes_of_the_same_file(tmp_path):
    path = written(tmp_path / "m.gguf", twin_of("gemma3"), vocabulary)
    reference = transformers.AutoTokenizer.from_pretrained(tmp_path, gguf_file=path.name)
    ours = models.outline(str(path))[1]
    rows = ours.encode(TEXTS)
    assert rows == [reference(text)["input_ids"] for text in TEXTS]
    names = [token for token, _ in TOKENS]
    assert rows[0] == [2, names.index("hello"), names.index("▁the")]
    assert [ours.decode(row) for row in rows] == [reference.decode(row, skip_special_tokens=True) for row in rows]
    assert ours.decode(rows[2]) == TEXTS[2]
