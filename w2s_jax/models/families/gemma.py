"""Gemma, Gemma 2 and Gemma 3."""

from typing import Any

from w2s_jax.models.config import ModelConfig, Rope
from w2s_jax.models.families import gguf, settings
from w2s_jax.models.families.base import FAMILIES, Family
from w2s_jax.models.families.llama import gated_decoder
from w2s_jax.models.families.settings import HfConfig
from w2s_jax.models.tensor_table import MINUS_ONE, TensorRow
from w2s_jax.runtime.errors import UserError


class Gemma(Family):
    """Gemma (arXiv 2403.08295): scaled embeddings, and norms whose scale is kept minus one, as in those after it."""

    def read(self, config: HfConfig) -> ModelConfig:
        # The first configs say `gelu` and mean the approximation that was trained.
        gelu = "gelu_pytorch_tanh" if config.get("hidden_act") == "gelu" else config.get("hidden_act")
        return _read({**config, "hidden_act": gelu}, rope=settings.rope(config))

    def write(self, config: ModelConfig) -> HfConfig:
        assert config.rope is not None
        return {**_write(config), "rope_parameters": settings.hf_rope(config.rope)}

    def tensors(self, config: ModelConfig) -> list[TensorRow]:
        return gated_decoder(config, MINUS_ONE)

    def gguf_config(self, header: gguf.Header) -> HfConfig:
        return {**super().gguf_config(header), "hidden_act": "gelu_pytorch_tanh"}


class WindowedGemma(Gemma):
    """What the later generations share: a window on some of the layers, and norms before and after each branch."""

    def gguf_config(self, header: gguf.Header) -> HfConfig:
        shared = super().gguf_config(header)
        # The 27B models alone scale queries by width, which the file does not state.
        largest = shared["num_hidden_layers"] in (46, 62)
        width, heads = shared["hidden_size"], shared["num_attention_heads"]
        return {
            **shared,
            "query_pre_attn_scalar": width // heads if largest else shared["head_dim"],
        }


class Gemma2(WindowedGemma):
    """Gemma 2 (arXiv 2408.00118): soft-capped, a window on every second layer."""

    def read(self, config: HfConfig) -> ModelConfig:
        rope = settings.rope(config)
        return _read_windowed(
            config,
            period=2,
            attention_softcap=config.get("attn_logit_softcapping"),
            logits_softcap=config.get("final_logit_softcapping"),
            rope=rope,
            window_rope=rope,
        )

    def write(self, config: ModelConfig) -> HfConfig:
        assert config.rope is not None
        return _write_windowed(config, settings.hf_rope(config.rope))

    def gguf_config(self, header: gguf.Header) -> HfConfig:
        return {
            **super().gguf_config(header),
            # The first files do not state these.
            "sliding_window": header.setting("attention.sliding_window", 4096),
            "attn_logit_softcapping": header.setting("attn_logit_softcapping", 50.0),
            "final_logit_softcapping": header.setting("final_logit_softcapping", 30.0),
        }


class Gemma3(WindowedGemma):
    """Gemma 3 (arXiv 2503.19786): normalized queries and keys, a window with its own rotary base on 5 layers of 6."""

    def read(self, config: HfConfig) -> ModelConfig:
        settings.refuse(config, attn_logit_softcapping=None, final_logit_softcapping=None)
        rope, window_rope = _ropes(config)
        period = config.get("sliding_window_pattern", 6)
        return _read_windowed(config, period, qk_norm=True, rope=rope, window_rope=window_rope)

    def write(self, config: ModelConfig) -> HfConfig:
        assert config.rope is not None
        assert config.window_rope is not None
        ropes = {"full_attention": config.rope, "sliding_attention": config.window_rope}
        return _write_windowed(config, {kind: settings.hf_rope(rope) for kind, rope in ropes.items()})

    def gguf_config(self, header: gguf.Header) -> HfConfig:
        return {
            **super().gguf_config(header),
            "rope_local_base_freq": header.setting("rope.freq_base_swa", 10000.0),
            "sliding_window": header.needed("attention.sliding_window"),
            "final_logit_softcapping": header.setting("final_logit_softcapping"),
        }


class Gemma3WithVision(Gemma3):
    """The language model of a Gemma 3 that sees images too (4B and larger); published configs leave defaults out."""

    def read(self, config: HfConfig) -> ModelConfig:
        from transformers import Gemma3TextConfig

        return super().read(Gemma3TextConfig(**config["text_config"]).to_dict())


def _read(config: HfConfig, **own: Any) -> ModelConfig:
    if config.get("use_bidirectional_attention"):
        raise UserError(f"use_bidirectional_attention is not implemented for {config['model_type']}")
    settings.refuse(config, attention_bias=False)
    return ModelConfig(
        **settings.sizes(config),
        norm_eps=config["rms_norm_eps"],
        embedding_scale=config["hidden_size"] ** 0.5,
        tied_embeddings=config.get("tie_word_embeddings", True),
        **own,
    )


def _read_windowed(config: HfConfig, period: int, **own: Any) -> ModelConfig:
    """One in `period` layers has no window."""
    return _read(
        config,
        post_norms=True,
        query_pre_attn_scalar=config["query_pre_attn_scalar"],
        sliding_window=config["sliding_window"],
        windowed=settings.windowed(config, period),
        **own,
    )


def _write(config: ModelConfig) -> HfConfig:
    return {
        **settings.hf_sizes(config),
        "hidden_activation": settings.hf_activation(config.activation),
        "num_key_value_heads": config.n_kv_heads,
        "head_dim": config.head_dim,
        "rms_norm_eps": config.norm_eps,
        "tie_word_embeddings": config.tied_embeddings,
    }


def _write_windowed(config: ModelConfig, rope_parameters: HfConfig) -> HfConfig:
    assert config.windowed is not None
    return {
        **_write(config),
        "query_pre_attn_scalar": config.query_pre_attn_scalar,
        "attn_logit_softcapping": config.attention_softcap,
        "final_logit_softcapping": config.logits_softcap,
        "rope_parameters": rope_parameters,
        "sliding_window": config.sliding_window,
        "layer_types": settings.hf_layer_types(config.windowed),
    }


def _ropes(config: HfConfig) -> tuple[Rope, Rope]:
    """Of layers without and with a window."""
    given = config.get("rope_parameters")
    if given:
        sizes = {key: config.get(key) for key in ("max_position_embeddings", "head_dim")}
        return (
            settings.rope({**sizes, "rope_parameters": given["full_attention"]}, theta=1e6),
            settings.rope({**sizes, "rope_parameters": given["sliding_attention"]}),
        )
    return settings.rope(config, theta=1e6), Rope(config.get("rope_local_base_freq", 10000.0))


FAMILIES.register(
    Gemma(
        "gemma",
        model_class="GemmaForCausalLM",
        classifier_class="GemmaForSequenceClassification",
        gguf_name="gemma",
        gguf_tokenizers=("gpt2", "llama"),
    )
)
FAMILIES.register(
    Gemma2(
        "gemma2",
        model_class="Gemma2ForCausalLM",
        classifier_class="Gemma2ForSequenceClassification",
        gguf_name="gemma2",
        gguf_tokenizers=("gpt2", "llama"),
    )
)
FAMILIES.register(
    Gemma3(
        "gemma3_text",
        model_class="Gemma3ForCausalLM",
        classifier_class="Gemma3TextForSequenceClassification",
        other_prefixes=("language_model.model.", "model.language_model.", "language_model."),
        ignored=(r"^vision_tower\.", r"^multi_modal_projector\."),
        gguf_name="gemma3",
        gguf_tokenizers=("gpt2", "llama"),
    )
)
FAMILIES.register(Gemma3WithVision("gemma3", model_class="Gemma3ForConditionalGeneration"))  # read as a gemma3_text
