"""Configs as they were first published, in the older words, mean what transformers makes of them."""

import copy
import json

import pytest

from w2s_jax.models import families
from w2s_jax.models.catalogue import MODELS
from w2s_jax.runtime.errors import UserError

PUBLISHED = {
    "Qwen1.5": {
        "model_type": "qwen2",
        "hidden_act": "silu",
        "hidden_size": 1024,
        "intermediate_size": 2816,
        "max_position_embeddings": 32768,
        "max_window_layers": 21,
        "num_attention_heads": 16,
        "num_hidden_layers": 24,
        "num_key_value_heads": 16,
        "rms_norm_eps": 1e-06,
        "rope_theta": 1000000.0,
        "sliding_window": 32768,
        "tie_word_embeddings": True,
        "use_sliding_window": False,
        "vocab_size": 151936,
    },
    "Llama 3.2": {
        "model_type": "llama",
        "attention_bias": False,
        "head_dim": 64,
        "hidden_act": "silu",
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "max_position_embeddings": 131072,
        "mlp_bias": False,
        "num_attention_heads": 32,
        "num_hidden_layers": 16,
        "num_key_value_heads": 8,
        "rms_norm_eps": 1e-05,
        "rope_scaling": {
            "factor": 32.0,
            "high_freq_factor": 4.0,
            "low_freq_factor": 1.0,
            "original_max_position_embeddings": 8192,
            "rope_type": "llama3",
        },
        "rope_theta": 500000.0,
        "tie_word_embeddings": True,
        "vocab_size": 128256,
    },
    "Gemma 2": {
        "model_type": "gemma2",
        "attn_logit_softcapping": 50.0,
        "final_logit_softcapping": 30.0,
        "head_dim": 256,
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": 2304,
        "intermediate_size": 9216,
        "max_position_embeddings": 8192,
        "num_attention_heads": 8,
        "num_hidden_layers": 26,
        "num_key_value_heads": 4,
        "query_pre_attn_scalar": 256,
        "rms_norm_eps": 1e-06,
        "rope_theta": 10000.0,
        "sliding_window": 4096,
        "vocab_size": 256000,
    },
    "Gemma 3": {
        "model_type": "gemma3_text",
        "attn_logit_softcapping": None,
        "final_logit_softcapping": None,
        "head_dim": 256,
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": 1152,
        "intermediate_size": 6912,
        "max_position_embeddings": 32768,
        "num_attention_heads": 4,
        "num_hidden_layers": 26,
        "num_key_value_heads": 1,
        "query_pre_attn_scalar": 256,
        "rms_norm_eps": 1e-06,
        "rope_local_base_freq": 10000,
        "rope_scaling": None,
        "rope_theta": 1000000,
        "sliding_window": 512,
        "sliding_window_pattern": 6,
        "vocab_size": 262144,
    },
    "OLMo 2": {
        "model_type": "olmo2",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "eos_token_id": 100257,
        "hidden_act": "silu",
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "max_position_embeddings": 4096,
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
        "num_key_value_heads": 32,
        "pad_token_id": 100277,
        "rms_norm_eps": 1e-06,
        "rope_scaling": None,
        "rope_theta": 500000,
        "tie_word_embeddings": False,
        "vocab_size": 100352,
    },
    "OLMo 3": {
        "model_type": "olmo3",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "eos_token_id": 100257,
        "hidden_act": "silu",
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "layer_types": (["sliding_attention"] * 3 + ["full_attention"]) * 8,
        "max_position_embeddings": 65536,
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
        "num_key_value_heads": 32,
        "pad_token_id": 100277,
        "rms_norm_eps": 1e-06,
        "rope_scaling": {
            "attention_factor": 1.2079441541679836,
            "beta_fast": 32.0,
            "beta_slow": 1.0,
            "factor": 8.0,
            "original_max_position_embeddings": 8192,
            "rope_type": "yarn",
        },
        "rope_theta": 500000,
        "sliding_window": 4096,
        "tie_word_embeddings": False,
        "vocab_size": 100278,
    },
    "Phi-3": {
        "model_type": "phi3",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "embd_pdrop": 0.0,
        "hidden_act": "silu",
        "hidden_size": 3072,
        "intermediate_size": 8192,
        "max_position_embeddings": 131072,
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
        "num_key_value_heads": 32,
        "original_max_position_embeddings": 4096,
        "pad_token_id": 32000,
        "resid_pdrop": 0.0,
        "rms_norm_eps": 1e-05,
        "rope_scaling": {
            "long_factor": [1.0 + i for i in range(48)],
            "short_factor": [1.0 + 0.01 * i for i in range(48)],
            "type": "longrope",
        },
        "rope_theta": 10000.0,
        "sliding_window": 262144,
        "tie_word_embeddings": False,
        "vocab_size": 32064,
    },
    "Phi-4 mini": {
        "model_type": "phi3",
        "attention_bias": False,
        "full_attn_mod": 1,
        "hidden_act": "silu",
        "hidden_size": 3072,
        "intermediate_size": 8192,
        "interpolate_factor": 1,
        "lm_head_bias": False,
        "max_position_embeddings": 131072,
        "mlp_bias": False,
        "num_attention_heads": 24,
        "num_hidden_layers": 32,
        "num_key_value_heads": 8,
        "original_max_position_embeddings": 4096,
        "pad_token_id": 199999,
        "partial_rotary_factor": 0.75,
        "rms_norm_eps": 1e-05,
        "rope_scaling": {
            "long_factor": [1.0 + i for i in range(48)],
            "short_factor": [1.0] * 48,
            "type": "longrope",
        },
        "rope_theta": 10000.0,
        "sliding_window": 262144,
        "tie_word_embeddings": True,
        "vocab_size": 200064,
    },
    "SmolLM3": {
        "model_type": "smollm3",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "hidden_act": "silu",
        "hidden_size": 2048,
        "intermediate_size": 11008,
        "layer_types": ["full_attention"] * 36,
        "max_position_embeddings": 65536,
        "max_window_layers": 28,
        "mlp_bias": False,
        "no_rope_layer_interval": 4,
        "no_rope_layers": [1, 1, 1, 0] * 9,
        "num_attention_heads": 16,
        "num_hidden_layers": 36,
        "num_key_value_heads": 4,
        "rms_norm_eps": 1e-06,
        "rope_scaling": None,
        "rope_theta": 5000000.0,
        "sliding_window": None,
        "use_sliding_window": False,
        "vocab_size": 128256,
    },
    "Gemma": {
        "model_type": "gemma",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "head_dim": 256,
        "hidden_act": "gelu",
        "hidden_size": 2048,
        "intermediate_size": 16384,
        "max_position_embeddings": 8192,
        "num_attention_heads": 8,
        "num_hidden_layers": 18,
        "num_key_value_heads": 1,
        "pad_token_id": 0,
        "rms_norm_eps": 1e-06,
        "rope_scaling": None,
        "rope_theta": 10000.0,
        "vocab_size": 256000,
    },
    "OPT": {
        "model_type": "opt",
        "_remove_final_layer_norm": False,
        "activation_dropout": 0.0,
        "activation_function": "relu",
        "attention_dropout": 0.0,
        "do_layer_norm_before": True,
        "dropout": 0.1,
        "ffn_dim": 3072,
        "hidden_size": 768,
        "layerdrop": 0.0,
        "max_position_embeddings": 2048,
        "num_attention_heads": 12,
        "num_hidden_layers": 12,
        "pad_token_id": 1,
        "vocab_size": 50272,
        "word_embed_proj_dim": 768,
    },
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_older_words_mean_what_transformers_makes_of_them(name):
    transformers = pytest.importorskip("transformers")
    given = copy.deepcopy(PUBLISHED[name])  # transformers adds to what is in it
    config = families.from_hf(given)
    standard = transformers.AutoConfig.for_model(**given)
    assert families.from_hf(json.loads(standard.to_json_string(False))) == config
    assert families.from_hf(families.to_hf(config)) == config


@pytest.mark.parametrize(
    ("name", "change", "line"),
    [
        ("Gemma 3", {"use_bidirectional_attention": True}, "use_bidirectional_attention is not implemented"),
        ("Gemma 3", {"final_logit_softcapping": 30.0}, "final_logit_softcapping=30.0 is not implemented"),
        ("Gemma 2", {"attention_bias": True}, "attention_bias=True is not implemented for gemma2"),
        ("Llama 3.2", {"rope_scaling": {"rope_type": "dynamic", "factor": 4.0}}, "rope scaling 'dynamic' is not"),
        ("Qwen1.5", {"use_sliding_window": True}, "use_sliding_window is not implemented for qwen2"),
        (
            "OLMo 3",
            {"layer_types": ["chunked_attention"] * 32},
            "layers of type 'chunked_attention' are not implemented",
        ),
        ("OPT", {"do_layer_norm_before": False}, "do_layer_norm_before=False is not implemented for opt, only True"),
        ("Phi-3", {"attention_bias": True}, "attention_bias=True is not implemented for phi3, only False"),
        ("Phi-4 mini", {"partial_rotary_factor": 0.5}, "'longrope' has 48 numbers in short_factor, not 32"),
        ("Phi-4 mini", {"lm_head_bias": True}, "lm_head_bias=True is not implemented for phi3"),
        ("SmolLM3", {"use_sliding_window": True}, "use_sliding_window is not implemented for smollm3"),
        ("SmolLM3", {"no_rope_layers": [1, 0]}, "no_rope_layers is of 2 layers, and num_hidden_layers is 36"),
        ("Gemma", {"use_bidirectional_attention": True}, "use_bidirectional_attention is not implemented for gemma"),
        ("Gemma", {"attention_bias": True}, "attention_bias=True is not implemented for gemma"),
        ("OPT", {"word_embed_proj_dim": 512}, "word_embed_proj_dim=512 is not implemented for opt, only 768"),
        ("OPT", {"_remove_final_layer_norm": True}, "_remove_final_layer_norm=True is not implemented for opt"),
        ("OPT", {"activation_function": "gelu_fast"}, "activation 'gelu_fast' is not implemented; supported: silu, "),
    ],
)
def test_what_is_not_implemented_is_named(name, change, line):
    with pytest.raises(UserError, match=line):
        families.from_hf({**PUBLISHED[name], **change})


def test_a_setting_that_is_missing_is_named():
    given = {key: value for key, value in PUBLISHED["Llama 3.2"].items() if key != "rms_norm_eps"}
    with pytest.raises(UserError, match="this llama config has no 'rms_norm_eps'"):
        families.from_hf(given)


def test_a_gemma_is_cut_with_its_windows():
    config = families.from_hf(PUBLISHED["Gemma 3"])
    assert config.windowed is not None
    assert [layer for layer, windowed in enumerate(config.windowed, 1) if not windowed] == [6, 12, 18, 24]
    assert config.cut(7).windowed == (True,) * 5 + (False, True)


def test_what_the_first_configs_leave_out_is_what_was_published():
    smol, gemma = families.from_hf(PUBLISHED["SmolLM3"]), families.from_hf(PUBLISHED["Gemma"])
    unstated = {"OLMo 3": "layer_types", "SmolLM3": "no_rope_layers"}
    for name, setting in unstated.items():
        given = {key: value for key, value in PUBLISHED[name].items() if key != setting}
        assert families.from_hf(given) == families.from_hf(PUBLISHED[name])
    assert smol.tied_embeddings
    assert gemma.tied_embeddings
    assert gemma.activation == "gelu_tanh"
    assert smol.cut(6).rotated == (True, True, True, False, True, True)


def test_every_named_model_is_pinned_apart():
    hashes = [card.sha256 for card in MODELS.values()]
    assert len(set(hashes)) == len(hashes)
    assert all(len(file.sha256) == 64 for card in MODELS.values() for file in card.weights)
