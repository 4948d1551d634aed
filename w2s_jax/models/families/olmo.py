"""OLMo 2 and OLMo 3."""

from typing import Any

from w2s_jax.models.config import ModelConfig, Rope
from w2s_jax.models.families import gguf, settings
from w2s_jax.models.families.base import FAMILIES, Family
from w2s_jax.models.families.llama import gated_decoder
from w2s_jax.models.families.settings import HfConfig
from w2s_jax.models.tensor_table import TensorRow

_PERIOD = 4  # one in so many of OLMo 3's layers has no window


class Olmo2(Family):
    """OLMo 2 (arXiv 2501.00656): `x + norm(attention(x))`, then `x + norm(feed_forward(x))`, and a norm over all heads
    of the queries together, and over all of the keys."""

    def read(self, config: HfConfig) -> ModelConfig:
        return _read(config, rope=settings.rope(config))

    def write(self, config: ModelConfig) -> HfConfig:
        assert config.rope is not None
        return {**_write(config), "rope_parameters": settings.hf_rope(config.rope)}

    def tensors(self, config: ModelConfig) -> list[TensorRow]:
        return gated_decoder(config)

    def gguf_config(self, header: gguf.Header) -> HfConfig:
        shared, window = super().gguf_config(header), header.setting("attention.sliding_window")
        if not window:
            return shared
        # llama.cpp has one architecture for both generations.
        pattern = header.metadata.get(f"{self.gguf_name}.attention.sliding_window_pattern")
        layer_types = settings.hf_layer_types(pattern) if isinstance(pattern, list) else None
        return {**shared, "model_type": "olmo3", "sliding_window": window, "layer_types": layer_types}


class Olmo3(Olmo2):
    """OLMo 3 (arXiv 2512.13961): OLMo 2 with a window on 3 layers of 4, whose positions are not stretched."""

    def read(self, config: HfConfig) -> ModelConfig:
        given = config.get("rope_parameters") or {}
        rope = settings.rope({**config, "rope_parameters": given.get("full_attention", given)}, theta=500_000.0)
        near = given.get("sliding_attention")
        window_rope = Rope(rope.theta, rope.fraction)
        if near is not None:
            window_rope = settings.rope({**config, "rope_parameters": near, "rope_scaling": None}, theta=500_000.0)
        return _read(
            config,
            rope=rope,
            window_rope=window_rope,
            sliding_window=config["sliding_window"],
            windowed=settings.windowed(config, _PERIOD),
        )

    def write(self, config: ModelConfig) -> HfConfig:
        assert config.rope is not None
        assert config.window_rope is not None
        assert config.windowed is not None
        ropes = {"full_attention": config.rope, "sliding_attention": config.window_rope}
        return {
            **_write(config),
            "rope_parameters": {kind: settings.hf_rope(rope) for kind, rope in ropes.items()},
            "sliding_window": config.sliding_window,
            "layer_types": settings.hf_layer_types(config.windowed),
        }


def _read(config: HfConfig, **own: Any) -> ModelConfig:
    bias = bool(config.get("attention_bias", False))
    return ModelConfig(
        **settings.sizes(config),
        norm_eps=config["rms_norm_eps"],
        qkv_bias=bias,
        output_bias=bias,
        qk_norm=True,
        joint_qk_norm=True,
        pre_norms=False,
        post_norms=True,
        tied_embeddings=config.get("tie_word_embeddings", False),
        **own,
    )


def _write(config: ModelConfig) -> HfConfig:
    return {
        **settings.hf_sizes(config),
        "num_key_value_heads": config.n_kv_heads,
        "head_dim": config.head_dim,
        "rms_norm_eps": config.norm_eps,
        "attention_bias": config.qkv_bias,
        "tie_word_embeddings": config.tied_embeddings,
    }


FAMILIES.register(
    Olmo2(
        "olmo2",
        model_class="Olmo2ForCausalLM",
        classifier_class="Olmo2ForSequenceClassification",
        gguf_name="olmo2",
    )
)
FAMILIES.register(Olmo3("olmo3", model_class="Olmo3ForCausalLM", classifier_class="Olmo3ForSequenceClassification"))
