"""GGUF files written here by llama.cpp's rules are the models that they were made from."""

import jax
import numpy as np
import pytest

from tests.test_models_parity import (
    COMMON,
    GEMMA,
    LENGTHS,
    assert_close,
    our_states,
    pooled,
    tokens,
    torch_states,
    words_tokenizer,
)
from w2s_jax import models
from w2s_jax.models import assembly, families, weights
from w2s_jax.runtime import sharding
from w2s_jax.runtime.errors import UserError

gguf = pytest.importorskip("gguf")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

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


def converted(name, array, config):
    """What llama.cpp's converter does to a tensor."""
    if "gemma" in config.model_type and name.endswith("norm.weight"):
        return array + 1
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for part, count in heads.items():
        if config.model_type == "llama" and part in name:
            return array.reshape(count, 2, -1, array.shape[1]).swapaxes(1, 2).reshape(array.shape)
    return array


def written(path, twin, architecture):
    config = twin.config
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_key_length(config.head_dim)
    if architecture.startswith("gemma"):
        writer.add_sliding_window(config.sliding_window)
    if architecture == "gemma2":
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
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
    arch = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    known = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
    for name, tensor in twin.state_dict().items():
        if name != "lm_head.weight":
            array = converted(name, tensor.numpy(), config)
            writer.add_tensor(known.get_name(name, try_suffixes=(".weight",)), np.ascontiguousarray(array))
    for step in ("header", "kv_data", "tensors"):
        getattr(writer, f"write_{step}_to_file")()
    writer.close()
    return path


def assert_same_on_a_mesh(pretrained, monkeypatch):
    monkeypatch.setattr(assembly, "CHUNK", 200)  # no matrix is read at once
    found = models.load_sharded(pretrained.name, sharding.make_mesh(1, 4, 2))
    jax.tree.map(np.testing.assert_array_equal, dict(found.params), dict(pretrained.params))


@pytest.mark.parametrize("architecture", ["gemma2", "gemma3"])
def test_hidden_states_equal_the_model_the_file_was_made_of(tmp_path, monkeypatch, architecture):
    twin = twin_of(architecture)
    pretrained = models.load(str(written(tmp_path / "m.gguf", twin, architecture)))
    assert pretrained.config == families.from_hf(twin.config.to_dict())
    layers = tuple(range(1, twin.config.num_hidden_layers + 1))
    assert_same_on_a_mesh(pretrained, monkeypatch)
    ids = tokens(len(TOKENS), LENGTHS)
    states = pooled(torch_states(twin.model, ids, LENGTHS), LENGTHS, "last")
    assert_close(our_states(pretrained, ids, LENGTHS, "last", layers), states)


def test_rotary_pairs_of_llama_are_put_apart(tmp_path, monkeypatch):
    twin = twin_of("llama")
    path = written(tmp_path / "m.gguf", twin, "llama")
    with pytest.raises(UserError, match=r"GGUF tokenizer 'llama' \(None\) is not implemented; put a tokenizer.json"):
        models.load(str(path))
    words_tokenizer(tmp_path / "tokenizer.json")
    assert_same_on_a_mesh(models.load(str(path)), monkeypatch)
    ids = tokens(len(TOKENS), LENGTHS)
    states = pooled(torch_states(twin.model, ids, LENGTHS), LENGTHS, "last")
    assert_close(our_states(models.load(str(path)), ids, LENGTHS, "last", (1, 2, 3)), states)


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0", "Q4_0"])
def test_a_piece_of_quantized_rows_is_that_of_the_whole(tmp_path, kind):
    """Also where it begins within a block of 32 numbers."""
    kind, path = gguf.GGMLQuantizationType[kind], tmp_path / "m.gguf"
    array = np.random.default_rng(0).normal(size=(6, 128)).astype(np.float32)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tensor("x", gguf.quantize(array, kind), raw_dtype=kind)
    for step in ("header", "kv_data", "tensors"):
        getattr(writer, f"write_{step}_to_file")()
    writer.close()
    tensors = weights.gguf(path).tensors
    whole = tensors.read("x")
    np.testing.assert_allclose(whole, array, atol=0.3)
    for rows, columns in [((0, 6), (32, 64)), ((1, 3), (5, 40)), ((5, 6), (100, 128)), ((0, 6), (0, 1))]:
        piece = tensors.read("x", slice(*rows), slice(*columns))
        np.testing.assert_array_equal(piece, whole[slice(*rows), slice(*columns)])
    np.testing.assert_array_equal(tensors.read("x", slice(2, 4)), whole[2:4])


TEXTS = ["hello the", "", " the  hello   t    a", "<table>the<bos>hello", "Üé 東\t\n", "thethe<unk> llo<0x41>", "     "]


def test_tokens_are_those_transformers_makes_of_the_same_file(tmp_path):
    path = written(tmp_path / "m.gguf", twin_of("gemma3"), "gemma3")
    reference = transformers.AutoTokenizer.from_pretrained(tmp_path, gguf_file=path.name)
    ours = models.outline(str(path))[1]
    rows = ours.encode(TEXTS)
    assert rows == [reference(text)["input_ids"] for text in TEXTS]
    names = [token for token, _ in TOKENS]
    assert rows[0] == [2, names.index("hello"), names.index("▁the")]
    assert [ours.decode(row) for row in rows] == [reference.decode(row, skip_special_tokens=True) for row in rows]
    assert ours.decode(rows[2]) == TEXTS[2]
