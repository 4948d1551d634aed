"""Llama, Mistral, Qwen2, Qwen3 and SmolLM3: they differ in biases, the norm of queries and keys, the window, and which
layers have positions."""

from dataclasses import dataclass, replace

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
      theta: the base of the rotary frequencies that a config means which states none.
      gguf_pairs: GGUF files keep the rotary pairs of a head side by side.
    """

    qkv_bias: bool = False
    qk_norm: bool = False
    windowed: bool = False
    theta: float = 10000.0
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
            rope=settings.rope(config, self.theta),
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


class SmolLM3(Llama):
    """SmolLM3 (Bakouch et al. 2025, https://huggingface.co/blog/smollm3): Llama without positions on every fourth layer
    (NoPE, arXiv 2501.18795). GGUF files do not state which; llama.cpp has it so."""

    def read(self, config: HfConfig) -> ModelConfig:
        count, period = config["num_hidden_layers"], config.get("no_rope_layer_interval") or 4
        rotated = config.get("no_rope_layers")  # 1 where there are positions
        if rotated is None:
            rotated = [i % period for i in range(1, count + 1)]
        if len(rotated) < count:
            raise UserError(f"no_rope_layers is of {len(rotated)} layers, and num_hidden_layers is {count}")
        read = super().read({"tie_word_embeddings": True, **config})
        return read if all(rotated[:count]) else replace(read, rotated=tuple(map(bool, rotated[:count])))

    def write(self, config: ModelConfig) -> HfConfig:
        rotated = config.rotated or (True,) * config.n_layers
        return {**super().write(config), "no_rope_layers": [int(each) for each in rotated]}


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
    norms: dict[str, str] = {}
    if config.pre_norms:
        second = "pre_feedforward_layernorm" if config.post_norms else "post_attention_layernorm"
        norms |= {"attention_norm": "input_layernorm", "mlp_norm": second}
    if config.post_norms:
        norms |= {
            "attention_post_norm": "post_attention_layernorm",
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
FAMILIES.register(
    SmolLM3(
        "smollm3",
        model_class="SmolLM3ForCausalLM",
        classifier_class="SmolLM3ForSequenceClassification",
        gguf_name="smollm3",
        gguf_pairs=True,
        theta=2_000_000.0,
    )
)
