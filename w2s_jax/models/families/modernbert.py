"""ModernBERT."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from w2s_jax.models.config import ModelConfig, Rope
from w2s_jax.models.families import settings
from w2s_jax.models.families.base import FAMILIES, Family
from w2s_jax.models.families.heads import HeadForm
from w2s_jax.models.families.settings import HfConfig
from w2s_jax.models.tensor_table import GATE_AND_UP, ONE_BY_ONE, SAME, TensorRow, fused_qkv, linear, norm
from w2s_jax.runtime.errors import UserError

_FULL, _SLIDING = "full_attention", "sliding_attention"
_HEAD: Mapping[str, Any] = {"classifier_pooling": "cls", "classifier_bias": False, "classifier_activation": "gelu"}
_THETA = {_FULL: 160_000.0, _SLIDING: 10_000.0}


class ModernBert(Family):
    """ModernBERT (Warner et al. 2024, arXiv 2412.13663): rotary pre-norm blocks without biases, a window to both sides
    on two layers of three."""

    def read(self, config: HfConfig) -> ModelConfig:
        settings.refuse(config, attention_bias=False, mlp_bias=False, norm_bias=False)
        period = config.get("global_attn_every_n_layers") or 3
        layers = range(config["num_hidden_layers"])
        kinds = config.get("layer_types") or [_SLIDING if i % period else _FULL for i in layers]
        return ModelConfig(
            **settings.sizes(config),
            norm="unbiased",
            norm_eps=config["norm_eps"],
            rope=_rope(config, _FULL, "global_rope_theta"),
            window_rope=_rope(config, _SLIDING, "local_rope_theta"),
            sliding_window=config["local_attention"] // 2 + 1,
            windowed=tuple(kind == _SLIDING for kind in kinds),
            residual_dropout=True,
            causal=False,
            norm_first=True,
            first_norm=False,
        )

    def write(self, config: ModelConfig) -> HfConfig:
        assert config.rope is not None
        assert config.window_rope is not None
        assert config.sliding_window is not None
        assert config.windowed is not None
        return {
            **settings.hf_sizes(config),
            "hidden_activation": settings.hf_activation(config.activation),
            "norm_eps": config.norm_eps,
            "rope_parameters": {_FULL: settings.hf_rope(config.rope), _SLIDING: settings.hf_rope(config.window_rope)},
            "local_attention": 2 * (config.sliding_window - 1),
            "layer_types": settings.hf_layer_types(config.windowed),
        }

    def head_form(self, config: HfConfig) -> HeadForm | None:
        assert self.head is not None
        stated = {name: config.get(name, default) for name, default in _HEAD.items()}
        pooling = stated["classifier_pooling"]
        if pooling not in ("cls", "mean"):
            raise UserError(f"classifier_pooling={pooling!r} is not implemented for {self.name}, only 'cls' and 'mean'")
        return replace(
            self.head,
            dense_bias=stated["classifier_bias"],
            activation=settings.activation(stated["classifier_activation"]),
            norm_eps=config.get("norm_eps", self.head.norm_eps),
            pooling=pooling,
            settings=tuple(stated.items()),
        )

    def tensors(self, config: ModelConfig) -> list[TensorRow]:
        layer, ours = "layers.{i}.", "layers/"
        table = [
            TensorRow(("embed/embedding",), "embeddings.tok_embeddings.weight", SAME),
            *norm("embed_norm", "embeddings.norm", "unbiased"),
            TensorRow((f"{ours}attention_norm/scale",), f"{layer}attn_norm.weight", SAME, first=1),
            TensorRow((f"{ours}mlp/gate/kernel", f"{ours}mlp/up/kernel"), f"{layer}mlp.Wi.weight", GATE_AND_UP),
        ]
        table += fused_qkv(f"{ours}attention", f"{layer}attn.Wqkv", False, ONE_BY_ONE)
        table += linear(f"{ours}attention/output", f"{layer}attn.Wo", False)
        table += linear(f"{ours}mlp/down", f"{layer}mlp.Wo", False)
        table += norm(f"{ours}mlp_norm", f"{layer}mlp_norm", "unbiased")
        return table + norm("final_norm", "final_norm", "unbiased")


def _rope(config: HfConfig, kind: str, theta: str) -> Rope:
    """Rotary positions of the layers of a kind, in the words of transformers 4 or 5."""
    given = (config.get("rope_parameters") or {}).get(kind) or config.get("rope_scaling") or {}
    own = {**config, "rope_theta": config.get(theta), "rope_parameters": given, "rope_scaling": None}
    return settings.rope(own, theta=_THETA[kind])


FAMILIES.register(
    ModernBert(
        "modernbert",
        model_class="ModernBertModel",
        head=HeadForm(
            "classifier",
            bias=True,
            dense="head.dense",
            norm="head.norm",
            model_class="ModernBertForSequenceClassification",
            prefix="model.",
        ),
        prefix="",
        other_prefixes=("model.", "model.0.auto_model."),
        ignored=(r"^head\.", r"^decoder\.", r"^qa_outputs\."),
    )
)
