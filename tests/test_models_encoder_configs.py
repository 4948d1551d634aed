"""Encoders' configs as they were published mean what transformers makes of them, and every tensor has its place."""

import json

import pytest

from w2s_jax.models import assembly, families, weights
from w2s_jax.models.config import Relative
from w2s_jax.runtime.errors import UserError

ROBERTA = {
    "attention_probs_dropout_prob": 0.1,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": 768,
    "initializer_range": 0.02,
    "intermediate_size": 3072,
    "layer_norm_eps": 1e-05,
    "max_position_embeddings": 514,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "pad_token_id": 1,
    "type_vocab_size": 1,
}
PUBLISHED = {
    "FacebookAI/roberta-base": {
        **ROBERTA,
        "model_type": "roberta",
        "architectures": ["RobertaForMaskedLM"],
        "vocab_size": 50265,
    },
    "FacebookAI/xlm-roberta-base": {
        **ROBERTA,
        "model_type": "xlm-roberta",
        "architectures": ["XLMRobertaForMaskedLM"],
        "output_past": True,
        "position_embedding_type": "absolute",
        "use_cache": True,
        "vocab_size": 250002,
    },
    "distilbert/distilbert-base-uncased": {
        "model_type": "distilbert",
        "activation": "gelu",
        "attention_dropout": 0.1,
        "dim": 768,
        "dropout": 0.1,
        "hidden_dim": 3072,
        "initializer_range": 0.02,
        "max_position_embeddings": 512,
        "n_heads": 12,
        "n_layers": 6,
        "pad_token_id": 0,
        "qa_dropout": 0.1,
        "seq_classif_dropout": 0.2,
        "sinusoidal_pos_embds": False,
        "tie_weights_": True,
        "vocab_size": 30522,
    },
    "microsoft/deberta-v3-base": {
        "model_type": "deberta-v2",
        "attention_probs_dropout_prob": 0.1,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": 768,
        "initializer_range": 0.02,
        "intermediate_size": 3072,
        "max_position_embeddings": 512,
        "relative_attention": True,
        "position_buckets": 256,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "pos_att_type": "p2c|c2p",
        "layer_norm_eps": 1e-7,
        "max_relative_positions": -1,
        "position_biased_input": False,
        "num_attention_heads": 12,
        "num_hidden_layers": 12,
        "type_vocab_size": 0,
        "vocab_size": 128100,
    },
    "answerdotai/ModernBERT-base": {
        "model_type": "modernbert",
        "architectures": ["ModernBertForMaskedLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": 50281,
        "classifier_activation": "gelu",
        "classifier_bias": False,
        "classifier_dropout": 0.0,
        "classifier_pooling": "mean",
        "cls_token_id": 50281,
        "decoder_bias": True,
        "deterministic_flash_attn": False,
        "embedding_dropout": 0.0,
        "eos_token_id": 50282,
        "global_attn_every_n_layers": 3,
        "global_rope_theta": 160000.0,
        "gradient_checkpointing": False,
        "hidden_activation": "gelu",
        "hidden_size": 768,
        "initializer_cutoff_factor": 2.0,
        "initializer_range": 0.02,
        "intermediate_size": 1152,
        "layer_norm_eps": 1e-05,
        "local_attention": 128,
        "local_rope_theta": 10000.0,
        "max_position_embeddings": 8192,
        "mlp_bias": False,
        "mlp_dropout": 0.0,
        "norm_bias": False,
        "norm_eps": 1e-05,
        "num_attention_heads": 12,
        "num_hidden_layers": 22,
        "pad_token_id": 50283,
        "position_embedding_type": "absolute",
        "sep_token_id": 50282,
        "tie_word_embeddings": True,
        "vocab_size": 50368,
    },
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_configs_mean_what_transformers_makes_of_them(name):
    transformers = pytest.importorskip("transformers")
    config = families.from_hf(PUBLISHED[name])
    standard = transformers.AutoConfig.for_model(**PUBLISHED[name])
    assert families.from_hf(json.loads(standard.to_json_string(False))) == config
    assert families.from_hf(families.to_hf(config)) == config


@pytest.mark.parametrize("name", PUBLISHED)
def test_of_a_published_model_every_tensor_is_read(name):
    """By name and shape, as transformers would create it; the pooler is of no use to a head of ours."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    config = families.from_hf(PUBLISHED[name])
    with torch.device("meta"):
        twin = transformers.AutoModel.from_config(transformers.AutoConfig.for_model(**PUBLISHED[name]))
    theirs = {name: tuple(tensor.shape) for name, tensor in twin.state_dict().items() if not name.startswith("pooler.")}
    wanted, ours = weights.shapes(config), {}
    rows = families.of(config).tensors(config)
    for row in rows:
        shape = assembly._their_shape(row, wanted, config)
        ours |= {row.at(place): shape for place in row.places(config)}
    assert ours == theirs
    assert {path for row in rows for path in row.paths} == set(wanted)


def test_what_the_published_models_are():
    configs = {name.rpartition("/")[2]: families.from_hf(config) for name, config in PUBLISHED.items()}
    assert configs["roberta-base"].max_positions == configs["xlm-roberta-base"].max_positions == 512
    assert configs["deberta-v3-base"].relative == Relative(256, 512)
    modern = configs["ModernBERT-base"]
    assert modern.windowed == tuple(layer % 3 != 0 for layer in range(22))
    assert modern.sliding_window == 65  # itself, 64 tokens back and 64 ahead
    assert (modern.rope.theta, modern.window_rope.theta) == (160000.0, 10000.0)
    assert modern.cut(4).windowed == (False, True, True, False)
    with pytest.raises(UserError, match="a config cut to its first layers has no Hugging Face form"):
        families.to_hf(modern.cut(4))


@pytest.mark.parametrize(
    ("name", "change", "line"),
    [
        ("FacebookAI/roberta-base", {"pad_token_id": None}, "pad_token_id=None is not implemented for roberta"),
        ("FacebookAI/roberta-base", {"is_decoder": True}, "is_decoder=True is not implemented for roberta"),
        (
            "FacebookAI/xlm-roberta-base",
            {"position_embedding_type": "relative_key"},
            "position_embedding_type='relative_key' is not implemented for xlm-roberta",
        ),
        ("distilbert/distilbert-base-uncased", {"activation": "mish"}, "activation 'mish' is not implemented"),
        ("microsoft/deberta-v3-base", {"conv_kernel_size": 3}, "conv_kernel_size=3 is not implemented for deberta-v2"),
        ("microsoft/deberta-v3-base", {"share_att_key": False}, "share_att_key=False is not implemented"),
        ("microsoft/deberta-v3-base", {"share_att_key": ...}, "share_att_key=False is not implemented"),
        ("microsoft/deberta-v3-base", {"relative_attention": ...}, "relative_attention=False is not implemented"),
        ("microsoft/deberta-v3-base", {"norm_rel_ebd": ...}, "norm_rel_ebd='none' is not implemented"),
        ("microsoft/deberta-v3-base", {"position_biased_input": True}, "position_biased_input=True is not implemented"),
        ("microsoft/deberta-v3-base", {"position_biased_input": ...}, "position_biased_input=True is not implemented"),
        ("microsoft/deberta-v3-base", {"pos_att_type": "c2p"}, "pos_att_type='c2p' is not implemented for deberta-v2"),
        ("microsoft/deberta-v3-base", {"pos_att_type": ...}, "pos_att_type=None is not implemented for deberta-v2"),
        ("microsoft/deberta-v3-base", {"position_buckets": ...}, "position_buckets=-1 is not implemented"),
        ("microsoft/deberta-v3-base", {"max_relative_positions": 100}, "position_buckets=256 .* up to 100, only 2 or"),
        ("microsoft/deberta-v3-base", {"embedding_size": 512}, "embedding_size=512 is not implemented"),
        ("microsoft/deberta-v3-base", {"attention_head_size": 32}, "attention_head_size=32 is not implemented"),
        ("answerdotai/ModernBERT-base", {"norm_bias": True}, "norm_bias=True is not implemented for modernbert"),
        ("answerdotai/ModernBERT-base", {"mlp_bias": True}, "mlp_bias=True is not implemented for modernbert"),
        ("answerdotai/ModernBERT-base", {"attention_bias": True}, "attention_bias=True is not implemented"),
        ("answerdotai/ModernBERT-base", {"norm_eps": ...}, "this modernbert config has no 'norm_eps'"),
    ],
)
def test_what_is_not_implemented_is_named(name, change, line):
    """`...` leaves a setting out."""
    given = {key: value for key, value in {**PUBLISHED[name], **change}.items() if value is not ...}
    with pytest.raises(UserError, match=line) as error:
        families.from_hf(given)
    assert "\n" not in str(error.value)
