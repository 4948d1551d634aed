"""GPT-NeoX, the architecture of Pythia."""

from w2s_jax.models.config import ModelConfig
from w2s_jax.models.families import gguf, settings
from w2s_jax.models.families.base import FAMILIES, Family
from w2s_jax.models.families.settings import HfConfig
from w2s_jax.models.tensor_table import HEAD_BY_HEAD, SAME, TensorRow, fused_qkv, linear, norm


class GPTNeoX(Family):
    """GPT-NeoX (Black et al. 2022, arXiv 2204.06745): parallel branches, rotary positions on a quarter of each head."""

    def read(self, config: HfConfig) -> ModelConfig:
        bias = config.get("attention_bias", True)
        return ModelConfig(
            **settings.sizes(config),
            norm="layer",
            norm_eps=config["layer_norm_eps"],
            gated=False,
            qkv_bias=bias,
            output_bias=bias,
            mlp_bias=True,
            parallel_residual=config.get("use_parallel_residual", True),
            rope=settings.rope(config, fraction=0.25),
            tied_embeddings=config.get("tie_word_embeddings", False),
            residual_dropout=True,
        )

    def write(self, config: ModelConfig) -> HfConfig:
        assert config.rope is not None
        return {
            **settings.hf_sizes(config),
            "layer_norm_eps": config.norm_eps,
            "attention_bias": config.qkv_bias,
            "use_parallel_residual": config.parallel_residual,
            "rope_parameters": settings.hf_rope(config.rope),
            "tie_word_embeddings": config.tied_embeddings,
        }

    def tensors(self, config: ModelConfig) -> list[TensorRow]:
        layer, ours = "layers.{i}.", "layers/"
        table = [TensorRow(("embed/embedding",), "embed_in.weight", SAME)]
        table += fused_qkv(f"{ours}attention", f"{layer}attention.query_key_value", config.qkv_bias, HEAD_BY_HEAD)
        table += linear(f"{ours}attention/output", f"{layer}attention.dense", config.output_bias)
        table += linear(f"{ours}mlp/up", f"{layer}mlp.dense_h_to_4h", True)
        table += linear(f"{ours}mlp/down", f"{layer}mlp.dense_4h_to_h", True)
        table += norm(f"{ours}attention_norm", f"{layer}input_layernorm", "layer")
        table += norm(f"{ours}mlp_norm", f"{layer}post_attention_layernorm", "layer")
        return table + norm("final_norm", "final_layer_norm", "layer")

    def gguf_config(self, header: gguf.Header) -> HfConfig:
        return {
            **gguf.sizes(header),
            **gguf.rotary(header),
            "layer_norm_eps": header.small("attention.layer_norm_epsilon"),
            "attention_bias": "blk.0.attn_qkv.bias" in header.shapes,
            "use_parallel_residual": header.setting("use_parallel_residual", True),
            "hidden_act": "gelu",
        }

    def gguf_tensors(self, config: ModelConfig) -> list[TensorRow]:
        return gguf.fused_tensors(config)


FAMILIES.register(
    GPTNeoX(
        "gpt_neox",
        model_class="GPTNeoXForCausalLM",
        classifier_class="GPTNeoXForSequenceClassification",
        prefix="gpt_neox.",
        unembedding="embed_out.weight",
        gguf_name="gptneox",
        ignored=(r"attention\.(masked_)?bias$",),  # the constant causal mask
    )
)
