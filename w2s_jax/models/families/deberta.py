"""DeBERTa-v3, which Hugging Face calls `deberta-v2`."""

from dataclasses import replace

from w2s_jax.models.config import ModelConfig, Relative
from w2s_jax.models.families import settings
from w2s_jax.models.families.base import FAMILIES, Family
from w2s_jax.models.families.heads import HeadForm
from w2s_jax.models.families.settings import HfConfig
from w2s_jax.models.tensor_table import SAME, TensorRow, linear, norm
from w2s_jax.runtime.errors import UserError

# What a config means that does not state them.
_UNSTATED = {
    "relative_attention": False,
    "share_att_key": False,
    "pos_att_type": None,
    "norm_rel_ebd": "none",
    "position_biased_input": True,
    "position_buckets": -1,
    "max_relative_positions": -1,
    "conv_kernel_size": 0,
}


class Deberta(Family):
    """DeBERTa-v3 (He et al. 2021, arXiv 2111.09543): scores of distances under the maps of queries and keys."""

    def read(self, config: HfConfig) -> ModelConfig:
        config = {**_UNSTATED, **config}
        settings.refuse(
            config,
            relative_attention=True,
            share_att_key=True,
            norm_rel_ebd="layer_norm",
            position_biased_input=False,
            conv_kernel_size=0,
            embedding_size=config["hidden_size"],
            attention_head_size=config["hidden_size"] // config["num_attention_heads"],
        )
        sizes, kinds, buckets = settings.sizes(config), config["pos_att_type"], config["position_buckets"]
        furthest = config["max_relative_positions"]
        if furthest < 1:
            furthest = sizes["max_positions"]
        if set(kinds.split("|") if isinstance(kinds, str) else kinds or []) != {"c2p", "p2c"}:
            raise UserError(f"pos_att_type={kinds!r} is not implemented for {self.name}, only c2p with p2c")
        if not 2 <= buckets < 2 * furthest - 2:
            raise UserError(
                f"position_buckets={buckets} is not implemented for {self.name} with distances up to {furthest}, only "
                "2 or more, of which half are nearer than that"
            )
        return ModelConfig(
            **sizes,
            norm="layer",
            norm_eps=config["layer_norm_eps"],
            gated=False,
            qkv_bias=True,
            output_bias=True,
            mlp_bias=True,
            query_pre_attn_scalar=3 * sizes["head_dim"],  # of three scores that are added
            relative=Relative(buckets, furthest),
            residual_dropout=True,
            token_types=config["type_vocab_size"],
            final_norm=False,
            causal=False,
        )

    def write(self, config: ModelConfig) -> HfConfig:
        assert config.relative is not None
        return {
            **settings.hf_sizes(config),
            "layer_norm_eps": config.norm_eps,
            "type_vocab_size": config.token_types,
            "relative_attention": True,
            "share_att_key": True,
            "pos_att_type": ["p2c", "c2p"],
            "norm_rel_ebd": "layer_norm",
            "position_biased_input": False,
            "position_buckets": config.relative.buckets,
            "max_relative_positions": config.relative.furthest,
        }

    def head_form(self, config: HfConfig) -> HeadForm | None:
        assert self.head is not None
        name = config.get("pooler_hidden_act", "gelu")
        return replace(self.head, activation=settings.activation(name), settings=(("pooler_hidden_act", name),))

    def tensors(self, config: ModelConfig) -> list[TensorRow]:
        layer, ours = "encoder.layer.{i}.", "layers/"
        table = [
            TensorRow(("embed/embedding",), "embeddings.word_embeddings.weight", SAME),
            *norm("embed_norm", "embeddings.LayerNorm", "layer"),
            TensorRow(("relative/embedding",), "encoder.rel_embeddings.weight", SAME),
            *norm("relative_norm", "encoder.LayerNorm", "layer"),
        ]
        if config.token_types:
            table.append(TensorRow(("token_types/embedding",), "embeddings.token_type_embeddings.weight", SAME))
        for part in ("query", "key", "value"):
            table += linear(f"{ours}attention/{part}", f"{layer}attention.self.{part}_proj", True)
        table += linear(f"{ours}attention/output", f"{layer}attention.output.dense", True)
        table += norm(f"{ours}attention_norm", f"{layer}attention.output.LayerNorm", "layer")
        table += linear(f"{ours}mlp/up", f"{layer}intermediate.dense", True)
        table += linear(f"{ours}mlp/down", f"{layer}output.dense", True)
        return table + norm(f"{ours}mlp_norm", f"{layer}output.LayerNorm", "layer")


FAMILIES.register(
    Deberta(
        "deberta-v2",
        model_class="DebertaV2Model",
        head=HeadForm(
            "classifier",
            bias=True,
            dense="pooler.dense",
            activation="gelu",
            pooling="cls",
            model_class="DebertaV2ForSequenceClassification",
            prefix="deberta.",
        ),
        prefix="",
        other_prefixes=("deberta.", "model.", "model.0.auto_model."),
        ignored=(
            r"^pooler\.",
            r"^cls\.",
            r"^qa_outputs\.",
            r"^(lm|mask)_predictions\.",
            r"^embeddings\.position_embeddings\.",  # published, and not used without position_biased_input
            r"position_ids$",
        ),
    )
)
