"""GPT-2."""

from w2s_jax.models.config import ModelConfig
from w2s_jax.models.families import gguf, settings
from w2s_jax.models.families.base import FAMILIES, Family
from w2s_jax.models.families.settings import HfConfig
from w2s_jax.models.tensor_table import SAME, SIDE_BY_SIDE, TensorRow, fused_qkv, linear, norm


class GPT2(Family):
    """GPT-2 (Radford et al. 2019): learned positions, layer norms, query, key and value in one matrix."""

    def read(self, config: HfConfig) -> ModelConfig:
        settings.refuse(
            config, scale_attn_weights=True, scale_attn_by_inverse_layer_idx=False, add_cross_attention=False
        )
        width, heads = config["n_embd"], config["n_head"]
        return ModelConfig(
            family=config["model_type"],
            vocab_size=config["vocab_size"],
            hidden_size=width,
            n_layers=config["n_layer"],
            n_heads=heads,
            n_kv_heads=heads,
            head_dim=width // heads,
            mlp_size=config.get("n_inner") or 4 * width,
            max_positions=config["n_positions"],
            norm="layer",
            norm_eps=config["layer_norm_epsilon"],
            activation=settings.activation(config["activation_function"]),
            gated=False,
            qkv_bias=True,
            output_bias=True,
            mlp_bias=True,
            tied_embeddings=config.get("tie_word_embeddings", True),
            residual_dropout=True,
        )

    def write(self, config: ModelConfig) -> HfConfig:
        return {
            "vocab_size": config.vocab_size,
            "n_embd": config.hidden_size,
            "n_layer": config.n_layers,
            "n_head": config.n_heads,
            "n_inner": config.mlp_size,
            "n_positions": config.max_positions,
            "layer_norm_epsilon": config.norm_eps,
            "activation_function": settings.hf_activation(config.activation),
            "tie_word_embeddings": config.tied_embeddings,
        }

    def tensors(self, config: ModelConfig) -> list[TensorRow]:
        layer, ours = "h.{i}.", "layers/"
        table = [
            TensorRow(("embed/embedding",), "wte.weight", SAME),
            TensorRow(("positions/embedding",), "wpe.weight", SAME),
        ]
        table += fused_qkv(f"{ours}attention", f"{layer}attn.c_attn", True, SIDE_BY_SIDE)
        for path, name in (("attention/output", "attn.c_proj"), ("mlp/up", "mlp.c_fc"), ("mlp/down", "mlp.c_proj")):
            table += linear(f"{ours}{path}", f"{layer}{name}", True, SAME)
        table += norm(f"{ours}attention_norm", f"{layer}ln_1", "layer")
        table += norm(f"{ours}mlp_norm", f"{layer}ln_2", "layer")
        return table + norm("final_norm", "ln_f", "layer")

    def gguf_config(self, header: gguf.Header) -> HfConfig:
        sizes = gguf.sizes(header)
        return {
            "vocab_size": sizes["vocab_size"],
            "n_embd": sizes["hidden_size"],
            "n_layer": sizes["num_hidden_layers"],
            "n_head": sizes["num_attention_heads"],
            "n_inner": sizes["intermediate_size"],
            "n_positions": sizes["max_position_embeddings"],
            "layer_norm_epsilon": header.small("attention.layer_norm_epsilon"),
            "activation_function": "gelu_new",
        }

    def gguf_tensors(self, config: ModelConfig) -> list[TensorRow]:
        return gguf.fused_tensors(config)


FAMILIES.register(
    GPT2(
        "gpt2",
        model_class="GPT2LMHeadModel",
        classifier_class="GPT2ForSequenceClassification",
        prefix="transformer.",
        gguf_name="gpt2",
        ignored=(r"attn\.(masked_)?bias$",),  # the constant causal mask
    )
)
