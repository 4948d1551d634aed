"""Our models are the published ones: equal to transformers on torch, for every family and for the real weights."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import tiny as make
from w2s_jax import models
from w2s_jax.models import export, families
from w2s_jax.models.catalogue import MODELS
from w2s_jax.runtime import downloads
from w2s_jax.runtime.errors import UserError

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

COMMON = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 40,
    "hidden_dropout": 0.0,
    "attention_dropout": 0.0,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
QWEN15 = {"rope_type": "default", "rope_theta": 1000000.0}
GEMMA = {
    **COMMON,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "query_pre_attn_scalar": 12,
    "sliding_window": 3,
    "pad_token_id": 0,
    "bos_token_id": 2,
}
UNTIED = {"tie_word_embeddings": False}
OPT = {**COMMON, "ffn_dim": 48, "dropout": 0.0, "word_embed_proj_dim": 32, "pad_token_id": 0}
OLMO = {**COMMON, "pad_token_id": 0, "eos_token_id": 1}
QWEN3_MOE = {
    **COMMON,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "moe_intermediate_size": 24,
    "num_experts": 8,
    "num_experts_per_tok": 2,
}
WINDOWED = ["sliding_attention", "full_attention", "sliding_attention"]
GEMMA3_ROPES = {
    "full_attention": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1000.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 10.0},
}
OLMO3 = {**OLMO, "sliding_window": 3, "layer_types": WINDOWED}
OLMO3_ROPES = {
    "full_attention": {
        "rope_type": "yarn",
        "rope_theta": 1000.0,
        "factor": 4.0,
        "original_max_position_embeddings": 10,
    },
    "sliding_attention": {"rope_type": "default", "rope_theta": 1000.0},
}
PHI3 = {**COMMON, "pad_token_id": 0, "eos_token_id": 1}
PHI3_LONGER = {
    **PHI3,
    "original_max_position_embeddings": 40,
    "rope_parameters": {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "partial_rotary_factor": 0.75,
        "short_factor": [1.0, 1.25, 2.0],
        "long_factor": [1.5, 4.0, 9.0],
    },
}
SMOLLM3 = {**COMMON, "no_rope_layer_interval": 2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
GEMMA1 = {**COMMON, "head_dim": 16, "pad_token_id": 0}
FAMILIES = {
    "llama": ("llama", {**COMMON, "num_key_value_heads": 2}),
    "llama, wide heads, untied": ("llama", {**COMMON, "head_dim": 12, "tie_word_embeddings": False}),
    "llama, biases": ("llama", {**COMMON, "attention_bias": True, "mlp_bias": True}),
    "llama 3 positions": ("llama", {**COMMON, "rope_parameters": LLAMA3}),
    "mistral": ("mistral", {**COMMON, "num_key_value_heads": 2, "sliding_window": 3}),
    "qwen2": ("qwen2", {**COMMON, "num_key_value_heads": 1}),
    "qwen1.5": ("qwen2", {**COMMON, "num_key_value_heads": 4, "rope_parameters": QWEN15, "tie_word_embeddings": True}),
    "qwen2.5": ("qwen2", {**COMMON, "num_key_value_heads": 2, "rms_norm_eps": 1e-6, "tie_word_embeddings": True}),
    "qwen3": ("qwen3", {**COMMON, "num_key_value_heads": 2, "head_dim": 16}),
    "qwen3_moe": ("qwen3_moe", {**QWEN3_MOE, "norm_topk_prob": True}),
    "mixtral": ("mixtral", {**COMMON, "num_key_value_heads": 2, "num_local_experts": 4, "num_experts_per_tok": 2}),
    "gemma2": ("gemma2", {**GEMMA, "attn_logit_softcapping": 0.5}),
    "gemma3_text": (
        "gemma3_text",
        {**GEMMA, "layer_types": WINDOWED},
    ),
    "gemma3_text, its positions": ("gemma3_text", {**GEMMA, "rope_parameters": GEMMA3_ROPES}),
    "gpt_neox": ("gpt_neox", COMMON),
    "gpt_neox, one residual": ("gpt_neox", {**COMMON, "use_parallel_residual": False}),
    "gpt2": ("gpt2", {"vocab_size": 50, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 40}),
    "opt": ("opt", OPT),
    "olmo2": ("olmo2", {**OLMO, "num_key_value_heads": 2}),
    "olmo3": ("olmo3", {**OLMO3, "num_key_value_heads": 2}),
    "phi3": ("phi3", {**PHI3, "num_key_value_heads": 2, "sliding_window": 3}),
    "smollm3": ("smollm3", {**SMOLLM3, "num_key_value_heads": 2}),
    "gemma": ("gemma", {**GEMMA1, "num_key_value_heads": 1}),
    "bert": ("bert", {**COMMON, "type_vocab_size": 2}),
}
OTHER_SHAPES = {  # of these families, for the tests that compare what is computed
    "opt, no biases, untied": (
        "opt",
        {**OPT, "num_attention_heads": 2, "enable_bias": False, "activation_function": "gelu", **UNTIED},
    ),
    "olmo2, biases, tied": ("olmo2", {**OLMO, "attention_bias": True, "tie_word_embeddings": True}),
    "olmo3, its positions": ("olmo3", {**OLMO3, "rope_parameters": OLMO3_ROPES}),
    "phi3, a part of each head, tied": ("phi3", {**PHI3_LONGER, "tie_word_embeddings": True}),
    "smollm3, biases, untied": (
        "smollm3",
        {**SMOLLM3, "no_rope_layers": [0, 0, 1], "attention_bias": True, "mlp_bias": True, **UNTIED},
    ),
    "gemma, untied": ("gemma", {**GEMMA1, "num_key_value_heads": 4, "hidden_act": "gelu", **UNTIED}),
}
SHAPES = FAMILIES | OTHER_SHAPES


LENGTHS = np.array([7, 3, 5, 1], np.int32)


def words_tokenizer(path):
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    Tokenizer(WordLevel({"a": 0, "b": 1}, unk_token="a")).save(str(path))


def saved(folder, family, settings, head=False):
    """A tiny random model saved by transformers itself, with its torch twin; perhaps with a language-model head."""
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(family, **settings)
    kind = transformers.AutoModelForCausalLM if head else transformers.AutoModel
    twin = kind.from_config(config).eval()
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))  # so that no norm or bias is 1 or 0
    twin.save_pretrained(folder)
    words_tokenizer(folder / "tokenizer.json")
    return twin


def tokens(vocabulary, lengths, seed=0):
    """Right-padded with random ids: what pads a row must not count, whatever its id."""
    return np.random.default_rng(seed).integers(0, vocabulary, (len(lengths), max(lengths))).astype(np.int32)


def torch_states(twin, ids, lengths):
    """Hidden states after each layer [L, B, T, D]; the last as the model gives it."""
    mask = torch.arange(ids.shape[1])[None] < torch.tensor(lengths)[:, None]
    with torch.no_grad():
        out = twin(torch.tensor(ids).long(), attention_mask=mask.long(), output_hidden_states=True)
    return np.stack([state.numpy() for state in out.hidden_states[1:]])


def pooled(states, lengths, how):
    if how == "last":
        return np.stack([states[:, row, length - 1] for row, length in enumerate(lengths)], axis=1)
    return np.stack([states[:, row, :length].mean(1) for row, length in enumerate(lengths)], axis=1)


def our_states(pretrained, ids, lengths, how, layers, **settings):
    module, params = models.build_classifier(pretrained, 2, rng=jax.random.key(0), pooling=how, **settings)
    run = jax.jit(lambda params: module.apply({"params": params}, ids, lengths, layers, method="hidden_states"))
    return np.asarray(run(params)).swapaxes(0, 1)


def assert_close(ours, theirs, tolerance=1e-4):
    """Every vector by itself: layers differ in size a hundredfold."""
    error = np.linalg.norm(ours - theirs, axis=-1) / np.linalg.norm(theirs, axis=-1)
    assert error.max() <= tolerance


LIKE_ANOTHER = ["qwen1.5", "qwen2.5", "llama, biases"]


@pytest.mark.parametrize("name", [*(name for name in SHAPES if name not in LIKE_ANOTHER), *make.slow(*LIKE_ANOTHER)])
def test_hidden_states_equal_transformers(tmp_path, name):
    twin = saved(tmp_path, *SHAPES[name])
    pretrained = models.load(str(tmp_path))
    ids = tokens(50, LENGTHS)
    states = torch_states(twin, ids, LENGTHS)
    for how in ("last", "mean"):
        assert_close(our_states(pretrained, ids, LENGTHS, how, (1, 2, 3)), pooled(states, LENGTHS, how))


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma3_text", *make.slow("olmo2", "smollm3"), "bert"])
def test_cut_to_its_first_layers_it_is_the_same(tmp_path, name):
    twin = saved(tmp_path, *FAMILIES[name])
    ids = tokens(50, LENGTHS)
    states = pooled(torch_states(twin, ids, LENGTHS), LENGTHS, "last")
    cut = models.load(str(tmp_path), read_layer=2)
    assert cut.params["layers"]["attention"]["query"]["kernel"].shape[0] == 2
    assert_close(our_states(cut, ids, LENGTHS, "last", (2,))[0], states[1])


@pytest.mark.parametrize("name", ["llama", "gpt2", "bert"])
def test_logits_equal_a_torch_head_on_transformers(tmp_path, name):
    twin = saved(tmp_path, *FAMILIES[name])
    pretrained = models.load(str(tmp_path))
    how = "mean" if name == "bert" else "last"
    module, params = models.build_classifier(pretrained, 3, rng=jax.random.key(0))
    kernel = np.random.default_rng(1).normal(size=(32, 3)).astype(np.float32)
    params = {**params, "head": {"kernel": jnp.asarray(kernel)}}
    ids = tokens(50, LENGTHS)
    expected = pooled(torch_states(twin, ids, LENGTHS)[-1:], LENGTHS, how)[0] @ kernel
    assert_close(np.asarray(make.applied(module)({"params": params}, ids, LENGTHS)), expected)


USUAL = [("llama", "last"), ("bert", "mean")]
# Pooling reads the last hidden states and knows no family.
POOLED = [(name, "last") for name in FAMILIES] + [(name, how) for name in ("llama", "bert") for how in ("mean", "cls")]


@pytest.mark.parametrize(
    ("name", "how"),
    [pytest.param(*each, marks=() if each in USUAL else pytest.mark.slow) for each in POOLED],
)
def test_padded_left_out_and_alone_agree(tmp_path, name, how):
    saved(tmp_path, *FAMILIES[name])
    pretrained = models.load(str(tmp_path))
    ids = tokens(50, LENGTHS)
    together = our_states(pretrained, ids, LENGTHS, how, (3,))[0]
    other_padding = np.where(np.arange(ids.shape[1]) < LENGTHS[:, None], ids, 0)
    np.testing.assert_allclose(our_states(pretrained, other_padding, LENGTHS, how, (3,))[0], together, atol=1e-5)
    longer = np.pad(ids, ((0, 0), (0, 5)), constant_values=7)
    np.testing.assert_allclose(our_states(pretrained, longer, LENGTHS, how, (3,))[0], together, atol=1e-5)
    kept = [0, 2]
    np.testing.assert_allclose(
        our_states(pretrained, ids[kept], LENGTHS[kept], how, (3,))[0], together[kept], atol=1e-5
    )
    for row, length in enumerate(LENGTHS):
        alone = our_states(pretrained, ids[row : row + 1, :length], LENGTHS[row : row + 1], how, (3,))[0]
        np.testing.assert_allclose(alone[0], together[row], atol=1e-5)
    empty_row = np.append(LENGTHS, 0).astype(np.int32)
    with_empty = our_states(pretrained, np.pad(ids, ((0, 1), (0, 0))), empty_row, how, (3,))[0]
    np.testing.assert_allclose(with_empty[:-1], together, atol=1e-5)
    assert np.isfinite(with_empty).all()


@pytest.mark.parametrize("name", ["llama", *make.slow("qwen3_moe", "mixtral", "gemma3_text", "bert")])
def test_how_it_is_computed_does_not_change_what_it_computes(tmp_path, name):
    saved(tmp_path, *FAMILIES[name])
    pretrained = models.load(str(tmp_path))
    ids = tokens(50, LENGTHS)

    def gradient(**settings):
        module, params = models.build_classifier(pretrained, 2, rng=jax.random.key(0), **settings)
        params = {**params, "head": {"kernel": jnp.ones((32, 2)) * jnp.array([1.0, -1.0])}}

        def loss(params):
            return jnp.sum(jnp.sin(module.apply({"params": params}, ids, LENGTHS)[:, 0]))

        return jax.jit(jax.grad(loss))(params)

    expected = gradient()

    def close(found, expected):  # sums of terms as large as the largest are rounded
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * max(1, np.abs(expected).max()))

    for settings in ({"scan": False}, {"remat": "full"}, {"remat": "dots"}, {"remat": "full", "scan": False}):
        jax.tree.map(close, gradient(**settings), expected)
    half = our_states(pretrained, ids, LENGTHS, "last", (3,), dtype="bfloat16")
    whole = our_states(pretrained, ids, LENGTHS, "last", (3,))
    assert np.abs(half - whole).max() < 0.1 * np.abs(whole).max()


@pytest.mark.parametrize("name", SHAPES)
def test_configs_make_the_round_trip(name):
    family, settings = SHAPES[name]
    config = families.from_hf(json.loads(transformers.AutoConfig.for_model(family, **settings).to_json_string(False)))
    assert families.from_hf(families.to_hf(config)) == config


def real(name):
    try:
        return models.load(name)
    except UserError as error:
        pytest.skip(str(error))


def fetched(name):
    """The published weights' file, which `real` has seen to."""
    card = MODELS[name]
    if card.joined_sha256 is None:
        return downloads.wheel_file(*card.weights[0])
    return downloads.joined_file(card.weights, card.joined_sha256, Path(card.weights[0].member).stem)


TEXTS = ["The city of Ouagadougou is in Burkina Faso.", "It cost 1234 dollars!", "!", "Ünïcode — 東京 🙂 text"]


def padded(rows):
    lengths = np.array([len(row) for row in rows], np.int32)
    ids = np.zeros((len(rows), lengths.max()), np.int32)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
    return ids, lengths


@pytest.mark.real
def test_the_real_minilm_equals_transformers():
    pretrained = real("minilm-l6")
    folder = fetched("minilm-l6").parent
    reference = transformers.AutoTokenizer.from_pretrained(folder)
    rows = pretrained.tokenizer.encode(TEXTS)
    assert rows == [reference(text)["input_ids"] for text in TEXTS]
    twin = transformers.BertModel.from_pretrained(folder).eval()
    ids, lengths = padded(rows)
    states = pooled(torch_states(twin, ids, lengths), lengths, "mean")
    assert_close(our_states(pretrained, ids, lengths, "mean", tuple(range(1, 7))), states)


@pytest.mark.real
def test_the_real_onnx_minilm_equals_its_own_graph():
    pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    pretrained = real("minilm-l3")
    ids, lengths = padded(pretrained.tokenizer.encode(TEXTS))
    graph = ReferenceEvaluator(str(fetched("minilm-l3")))
    mask = (np.arange(ids.shape[1]) < lengths[:, None]).astype(np.int64)
    *_, sentences = graph.run(None, {"input_ids": ids.astype(np.int64), "attention_mask": mask})
    assert_close(our_states(pretrained, ids, lengths, "mean", (3,))[0], sentences)


def gguf_twin(path):
    """The same file as transformers reads it."""
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    config = transformers.AutoConfig.from_pretrained(path.parent, gguf_file=path.name)
    twin = transformers.AutoModelForCausalLM.from_config(config).eval()
    theirs = load_gguf_checkpoint(str(path), return_tensors=True, model_to_load=twin)["tensors"]
    missing, unexpected = twin.load_state_dict(theirs, strict=False)
    assert unexpected == []
    assert set(missing) <= {"lm_head.weight"}
    return twin.model


@pytest.mark.real
def test_the_real_smollm2_equals_transformers():
    pretrained = real("smollm2-135m")
    path = fetched("smollm2-135m")
    reference = transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    rows = pretrained.tokenizer.encode(TEXTS)
    assert rows == [reference(text, add_special_tokens=False)["input_ids"] for text in TEXTS]
    ids, lengths = padded(rows)
    states = pooled(torch_states(gguf_twin(path), ids, lengths), lengths, "last")
    assert_close(our_states(pretrained, ids, lengths, "last", tuple(range(1, 31))), states, tolerance=2e-4)


@pytest.mark.real
@pytest.mark.slow
def test_the_real_gemma3_equals_transformers():
    pretrained = real("gemma3-270m")
    path = fetched("gemma3-270m")
    reference = transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    texts = [*TEXTS, "  two  spaces\n\n\n\tand <table> <bos>", "", "x" * 99, "Καλημέρα, नमस्ते, สวัสดี \x07"]
    rows = pretrained.tokenizer.encode(texts)
    assert rows == [reference(text)["input_ids"] for text in texts]
    assert [pretrained.tokenizer.decode(row) for row in rows] == [
        reference.decode(row, skip_special_tokens=True) for row in rows
    ]
    long = np.random.default_rng(0).integers(1000, 200_000, 600)  # past the window of 512
    ids, lengths = padded([*rows[:2], long])
    states = pooled(torch_states(gguf_twin(path), ids, lengths), lengths, "last")
    assert_close(our_states(pretrained, ids, lengths, "last", tuple(range(1, 19))), states, tolerance=2e-4)
    first = models.load("gemma3-270m", read_layer=9)
    assert_close(our_states(first, ids, lengths, "last", (9,)), states[8:9], tolerance=2e-4)


@pytest.mark.real
@pytest.mark.slow
def test_the_real_gemma3_is_exported_and_scores_as_transformers_does(tmp_path):
    """Logits within 2e-4 of theirs in every vector; what it knows; and its tokens, by published facts of Gemma 3."""
    pretrained = real("gemma3-270m")
    export.write(pretrained, tmp_path / "out")
    models.load.cache_clear()  # two models of 1 GB at once are enough
    twin = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    reference = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    turn = "<start_of_turn>user\nHello<end_of_turn>"
    assert pretrained.tokenizer.encode([turn, "  "]) == [[2, 105, 2364, 107, 9259, 106], [2, 138]]
    rows = pretrained.tokenizer.encode([*TEXTS, turn])
    assert rows == [reference(text)["input_ids"] for text in [*TEXTS, turn]]
    ids, lengths = padded(rows)
    module, params = models.build_language_model(pretrained, rng=jax.random.key(0))
    ours = np.asarray(jax.jit(module.apply)({"params": params}, ids, lengths))
    with torch.no_grad():
        theirs = twin(torch.tensor(ids).long(), attention_mask=torch.tensor(ids != 0).long()).logits.numpy()
    for row, length in enumerate(lengths):
        assert_close(ours[row, :length], theirs[row, :length], tolerance=2e-4)
    for text, word in {
        "The Eiffel Tower is located in the city of": " Paris",
        "The opposite of hot is": " cold",
    }.items():
        ids, lengths = padded(pretrained.tokenizer.encode([text]))
        best = int(make.applied(module)({"params": params}, ids, lengths, method="last")[0].argmax())
        assert pretrained.tokenizer.decode([best]) == word


@pytest.mark.parametrize("stored", ["model.language_model.", "language_model.model."])
def test_of_a_gemma3_that_sees_images_the_language_model_is_read(tmp_path, stored):
    """As transformers 5 and 4 name its tensors; of its config only what differs from the defaults is published."""
    from safetensors.numpy import load_file, save_file

    torch.manual_seed(0)
    text = {name: value for name, value in GEMMA.items() if "dropout" not in name}
    text |= {"rope_scaling": {"rope_type": "linear", "factor": 8.0}}
    eyes = {
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "image_size": 28,
    }
    config = transformers.Gemma3Config(text_config=text, vision_config=eyes, mm_tokens_per_image=4)
    twin = transformers.Gemma3ForConditionalGeneration(config).eval()
    twin.save_pretrained(tmp_path)
    words_tokenizer(tmp_path / "tokenizer.json")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gemma3", "text_config": text}))
    tensors = load_file(tmp_path / "model.safetensors")
    assert any("vision_tower" in name for name in tensors)
    plain = {name.replace("language_model.model.", "").replace("model.language_model.", ""): name for name in tensors}
    renamed = {
        stored + name if name != old else name.removeprefix("model."): tensors[old] for name, old in plain.items()
    }
    assert sum(name.startswith(stored) for name in renamed) > 10
    save_file(renamed, tmp_path / "model.safetensors")
    module, params = models.build_language_model(models.load(str(tmp_path)), rng=jax.random.key(0))
    ids = tokens(49, LENGTHS) + 1  # 0 pads, and is embedded as zeros
    ours = np.asarray(make.applied(module)({"params": params}, ids, LENGTHS))
    mask = torch.arange(ids.shape[1])[None] < torch.tensor(LENGTHS)[:, None]
    with torch.no_grad():
        theirs = twin(input_ids=torch.tensor(ids).long(), attention_mask=mask.long()).logits.numpy()
    for row, length in enumerate(LENGTHS):
        assert_close(ours[row, :length], theirs[row, :length])
