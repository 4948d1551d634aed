"""Llama, Mistral, Qwen2 and Qwen3: they differ in biases, the norm of queries and keys, and the window."""

from dataclasses import dataclass

from w2s_jax.models.config import ModelConfig
from w2s_jax.models.families import gguf, settings
from w2s_jax.models.families.base import FAMILIES, Family
from w2s_jax.models.families.settings import HfConfig
from w2s_jax.models.tensor_table import PAIRED, SAME, TRANSPOSED, TensorLayout, TensorRow, linear, norm
from w2s_jax.runtime.errors import UserError


@dataclass(frozen=True)
class Llama(Family):
    """Llama (Touvron et al. 2023, arXiv 2302.13971) and the families that share its form.

    Attributes:
      qkv_bias: queries, keys and values have a bias whatever the config states.
      qk_norm: queries and keys are normalized.
      windowed: `sliding_window` holds for all layers; elsewhere a window is refused.
      gguf_pairs: GGUF files keep the rotary pairs of a head side by side.
    """

    qkv_bias: bool = False
    qk_norm: bool = False
    windowed: bool = False
    gguf_pairs: bool = False

    def read(self, config: HfConfig) -> ModelConfig:
        bias = bool(config.get("attention_bias", False))
        layer_types = set(config.get("layer_types") or ["full_attention"])
        if not self.windowed and (config.get("use_sliding_window") or layer_types != {"full_attention"}):
            raise UserError(f"use_sliding_window is not implemented for {self.name}; set it to false")
        return ModelConfig(
            **settings.sizes(config),
            norm_eps=config["rms_norm_eps"],
            qkv_bias=bias or self.qkv_bias,
            output_bias=bias,
            mlp_bias=bool(config.get("mlp_bias", False)),
            qk_norm=self.qk_norm,
            rope=settings.rope(config),
            sliding_window=config.get("sliding_window") if self.windowed else None,
            tied_embeddings=config.get("tie_word_embeddings", False),
        )

    def write(self, config: ModelConfig) -> HfConfig:
        assert config.rope is not None
        return {
            **settings.hf_sizes(config),
            "num_key_value_heads": config.n_kv_heads,
            "head_dim": config.head_dim,
            "rms_norm_eps": config.norm_eps,
            "attention_bias": config.output_bias,
            "mlp_bias": config.mlp_bias,
            "rope_parameters": settings.hf_rope(config.rope),
            "sliding_window": config.sliding_window,
            "tie_word_embeddings": config.tied_embeddings,
        }

    def tensors(self, config: ModelConfig) -> list[TensorRow]:
        return gated_decoder(config)

    def gguf_tensors(self, config: ModelConfig) -> list[TensorRow]:
        return gguf.tensors(config, PAIRED if self.gguf_pairs else TRANSPOSED)


def gated_decoder(config: ModelConfig, scale: TensorLayout = SAME) -> list[TensorRow]:
    """The table of a decoder with a gated feed-forward layer, as Llama named it and others after it.

    Args:
      scale: how the scale of a norm is kept.
    """
    layer, ours = "layers.{i}.", "layers/"
    table = [TensorRow(("embed/embedding",), "embed_tokens.weight", SAME)]
    for part, short in (("query", "q"), ("key", "k"), ("value", "v")):
        table += linear(f"{ours}attention/{part}", f"{layer}self_attn.{short}_proj", config.qkv_bias)
    table += linear(f"{ours}attention/output", f"{layer}self_attn.o_proj", config.output_bias)
    for part in ("gate", "up", "down"):
        table += linear(f"{ours}mlp/{part}", f"{layer}mlp.{part}_proj", config.mlp_bias)
    norms = {"attention_norm": "input_layernorm", "mlp_norm": "post_attention_layernorm"}
    if config.post_norms:
        norms |= {
            "attention_post_norm": "post_attention_layernorm",
            "mlp_norm": "pre_feedforward_layernorm",
            "mlp_post_norm": "post_feedforward_layernorm",
        }
    if config.qk_norm:
        norms |= {"attention/query_norm": "self_attn.q_norm", "attention/key_norm": "self_attn.k_norm"}
    for part, name in norms.items():
        table += norm(f"{ours}{part}", f"{layer}{name}", "rms", scale)
    return table + norm("final_norm", "norm", "rms", scale)


FAMILIES.register(
    Llama(
        "llama",
        model_class="LlamaForCausalLM",
        classifier_class="LlamaForSequenceClassification",
        gguf_name="llama",
        gguf_tokenizers=("gpt2", "llama"),
        gguf_pairs=True,
    )
)
FAMILIES.register(
    Llama(
        "mistral",
        model_class="MistralForCausalLM",
        classifier_class="MistralForSequenceClassification",
        windowed=True,
    )
)
FAMILIES.register(
    Llama(
        "qwen2",
        model_class="Qwen2ForCausalLM",
        classifier_class="Qwen2ForSequenceClassification",
        gguf_name="qwen2",
        qkv_bias=True,
    )
)
FAMILIES.register(
    Llama(
        "qwen3",
        model_class="Qwen3ForCausalLM",
        classifier_class="Qwen3ForSequenceClassification",
        gguf_name="qwen3",
        qk_norm=True,
    )
)
