"""BERT encoders, the MiniLMs among them."""

from w2s_jax.models.config import ModelConfig
from w2s_jax.models.families import gguf, settings
from w2s_jax.models.families.base import FAMILIES, Family
from w2s_jax.models.families.heads import HeadForm
from w2s_jax.models.families.settings import HfConfig
from w2s_jax.models.tensor_table import SAME, TensorRow, linear, norm


class Bert(Family):
    """BERT (Devlin et al. 2019, arXiv 1810.04805): every token sees every other; norms follow the residual sums."""

    def read(self, config: HfConfig) -> ModelConfig:
        settings.refuse(config, position_embedding_type="absolute", is_decoder=False, add_cross_attention=False)
        return ModelConfig(
            **settings.sizes(config),
            norm="layer",
            norm_eps=config["layer_norm_eps"],
            gated=False,
            qkv_bias=True,
            output_bias=True,
            mlp_bias=True,
            residual_dropout=True,
            token_types=config["type_vocab_size"],
            final_norm=False,
            causal=False,
        )

    def write(self, config: ModelConfig) -> HfConfig:
        sizes = settings.hf_sizes(config)
        return {**sizes, "layer_norm_eps": config.norm_eps, "type_vocab_size": config.token_types}

    def tensors(self, config: ModelConfig) -> list[TensorRow]:
        layer, ours = "encoder.layer.{i}.", "layers/"
        table = [
            TensorRow(("embed/embedding",), "embeddings.word_embeddings.weight", SAME),
            TensorRow(("positions/embedding",), "embeddings.position_embeddings.weight", SAME),
            TensorRow(("token_types/embedding",), "embeddings.token_type_embeddings.weight", SAME),
            *norm("embed_norm", "embeddings.LayerNorm", "layer"),
        ]
        for part in ("query", "key", "value"):
            table += linear(f"{ours}attention/{part}", f"{layer}attention.self.{part}", True)
        table += linear(f"{ours}attention/output", f"{layer}attention.output.dense", True)
        table += norm(f"{ours}attention_norm", f"{layer}attention.output.LayerNorm", "layer")
        table += linear(f"{ours}mlp/up", f"{layer}intermediate.dense", True)
        table += linear(f"{ours}mlp/down", f"{layer}output.dense", True)
        return table + norm(f"{ours}mlp_norm", f"{layer}output.LayerNorm", "layer")

    def gguf_config(self, header: gguf.Header) -> HfConfig:
        return {
            **gguf.sizes(header),
            "layer_norm_eps": header.small("attention.layer_norm_epsilon"),
            "type_vocab_size": header.shapes.get("token_types.weight", (0,))[0],
            "hidden_act": "gelu",
        }

    def gguf_tensors(self, config: ModelConfig) -> list[TensorRow]:
        layer, ours = "blk.{i}.", "layers/"
        table = [
            TensorRow(("embed/embedding",), "token_embd.weight", SAME),
            TensorRow(("positions/embedding",), "position_embd.weight", SAME),
            TensorRow(("token_types/embedding",), "token_types.weight", SAME),
            *norm("embed_norm", "token_embd_norm", "layer"),
        ]
        for part, short in (("query", "q"), ("key", "k"), ("value", "v"), ("output", "output")):
            table += linear(f"{ours}attention/{part}", f"{layer}attn_{short}", True)
        table += norm(f"{ours}attention_norm", f"{layer}attn_output_norm", "layer")
        for part in ("up", "down"):
            table += linear(f"{ours}mlp/{part}", f"{layer}ffn_{part}", True)
        return table + norm(f"{ours}mlp_norm", f"{layer}layer_output_norm", "layer")


FAMILIES.register(
    Bert(
        "bert",
        model_class="BertModel",
        head=HeadForm(
            "classifier",
            bias=True,
            dense="bert.pooler.dense",
            pooling="cls",
            model_class="BertForSequenceClassification",
            prefix="bert.",
        ),
        prefix="",
        other_prefixes=("bert.", "model.", "model.0.auto_model."),  # the last is sentence-transformers'
        ignored=(r"^cls\.", r"^pooler\.", r"position_ids$"),
        gguf_name="bert",
        gguf_tokenizers=("bert",),
    )
)
