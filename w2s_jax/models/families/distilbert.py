"""DistilBERT: BERT without segments, under other names."""

from w2s_jax.models.config import ModelConfig
from w2s_jax.models.families import settings
from w2s_jax.models.families.base import FAMILIES, Family
from w2s_jax.models.families.heads import HeadForm
from w2s_jax.models.families.settings import HfConfig
from w2s_jax.models.tensor_table import SAME, TensorRow, linear, norm

_EPS = 1e-12  # no setting


class DistilBert(Family):
    """DistilBERT (Sanh et al. 2019, arXiv 1910.01108). Sinusoidal positions are a table as learned ones are."""

    def read(self, config: HfConfig) -> ModelConfig:
        width, heads = config["dim"], config["n_heads"]
        return ModelConfig(
            family=config["model_type"],
            vocab_size=config["vocab_size"],
            hidden_size=width,
            n_layers=config["n_layers"],
            n_heads=heads,
            n_kv_heads=heads,
            head_dim=width // heads,
            mlp_size=config["hidden_dim"],
            max_positions=config["max_position_embeddings"],
            norm="layer",
            norm_eps=_EPS,
            activation=settings.activation(config["activation"]),
            gated=False,
            qkv_bias=True,
            output_bias=True,
            mlp_bias=True,
            residual_dropout=True,
            final_norm=False,
            causal=False,
        )

    def write(self, config: ModelConfig) -> HfConfig:
        return {
            "vocab_size": config.vocab_size,
            "dim": config.hidden_size,
            "n_layers": config.n_layers,
            "n_heads": config.n_heads,
            "hidden_dim": config.mlp_size,
            "max_position_embeddings": config.max_positions,
            "activation": settings.hf_activation(config.activation),
        }

    def tensors(self, config: ModelConfig) -> list[TensorRow]:
        layer, ours = "transformer.layer.{i}.", "layers/"
        table = [
            TensorRow(("embed/embedding",), "embeddings.word_embeddings.weight", SAME),
            TensorRow(("positions/embedding",), "embeddings.position_embeddings.weight", SAME),
            *norm("embed_norm", "embeddings.LayerNorm", "layer"),
        ]
        for part, short in (("query", "q"), ("key", "k"), ("value", "v"), ("output", "out")):
            table += linear(f"{ours}attention/{part}", f"{layer}attention.{short}_lin", True)
        table += norm(f"{ours}attention_norm", f"{layer}sa_layer_norm", "layer")
        for part, short in (("up", "lin1"), ("down", "lin2")):
            table += linear(f"{ours}mlp/{part}", f"{layer}ffn.{short}", True)
        return table + norm(f"{ours}mlp_norm", f"{layer}output_layer_norm", "layer")


FAMILIES.register(
    DistilBert(
        "distilbert",
        model_class="DistilBertModel",
        head=HeadForm(
            "classifier",
            bias=True,
            dense="pre_classifier",
            activation="relu",
            pooling="cls",
            model_class="DistilBertForSequenceClassification",
            prefix="distilbert.",
        ),
        prefix="",
        other_prefixes=("distilbert.", "model.", "model.0.auto_model."),
        ignored=(
            r"^vocab_(transform|layer_norm|projector)\.",
            r"^pre_classifier\.",
            r"^qa_outputs\.",
            r"position_ids$",
        ),
    )
)
