"""OPT."""

from w2s_jax.models.config import ModelConfig
from w2s_jax.models.families import settings
from w2s_jax.models.families.base import FAMILIES, Family
from w2s_jax.models.families.settings import HfConfig
from w2s_jax.models.tensor_table import SAME, TensorRow, linear, norm


class OPT(Family):
    """OPT (Zhang et al. 2022, arXiv 2205.01068): learned positions from row 2 on, layer norms, ReLU.

    The 350M model, whose norms come last and whose embeddings are narrower than its layers, is refused.
    """

    def read(self, config: HfConfig) -> ModelConfig:
        width, heads = config["hidden_size"], config["num_attention_heads"]
        config = {**config, "word_embed_proj_dim": config.get("word_embed_proj_dim") or width}
        settings.refuse(
            config,
            do_layer_norm_before=True,
            word_embed_proj_dim=width,
            _remove_final_layer_norm=False,
            layer_norm_elementwise_affine=True,
            layerdrop=0.0,
        )
        bias = config.get("enable_bias", True)
        return ModelConfig(
            family=config["model_type"],
            vocab_size=config["vocab_size"],
            hidden_size=width,
            n_layers=config["num_hidden_layers"],
            n_heads=heads,
            n_kv_heads=heads,
            head_dim=width // heads,
            mlp_size=config["ffn_dim"],
            max_positions=config["max_position_embeddings"],
            norm="layer",
            activation=settings.activation(config.get("activation_function", "relu")),
            gated=False,
            qkv_bias=bias,
            output_bias=bias,
            mlp_bias=bias,
            first_position=2,
            tied_embeddings=config.get("tie_word_embeddings", True),
            residual_dropout=True,
            embedding_dropout=False,
        )

    def write(self, config: ModelConfig) -> HfConfig:
        return {
            "vocab_size": config.vocab_size,
            "hidden_size": config.hidden_size,
            "word_embed_proj_dim": config.hidden_size,
            "num_hidden_layers": config.n_layers,
            "num_attention_heads": config.n_heads,
            "ffn_dim": config.mlp_size,
            "max_position_embeddings": config.max_positions,
            "activation_function": settings.hf_activation(config.activation),
            "enable_bias": config.mlp_bias,
            "tie_word_embeddings": config.tied_embeddings,
        }

    def tensors(self, config: ModelConfig) -> list[TensorRow]:
        layer, ours = "layers.{i}.", "layers/"
        table = [
            TensorRow(("embed/embedding",), "embed_tokens.weight", SAME),
            TensorRow(("positions/embedding",), "embed_positions.weight", SAME),
        ]
        for part, name in (("query", "q_proj"), ("key", "k_proj"), ("value", "v_proj"), ("output", "out_proj")):
            table += linear(f"{ours}attention/{part}", f"{layer}self_attn.{name}", config.qkv_bias)
        table += linear(f"{ours}mlp/up", f"{layer}fc1", config.mlp_bias)
        table += linear(f"{ours}mlp/down", f"{layer}fc2", config.mlp_bias)
        table += norm(f"{ours}attention_norm", f"{layer}self_attn_layer_norm", "layer")
        table += norm(f"{ours}mlp_norm", f"{layer}final_layer_norm", "layer")
        return table + norm("final_norm", "final_layer_norm", "layer")


FAMILIES.register(
    OPT(
        "opt",
        model_class="OPTForCausalLM",
        classifier_class="OPTForSequenceClassification",
        prefix="model.decoder.",
        other_prefixes=("decoder.",),
    )
)
