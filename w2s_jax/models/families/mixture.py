"""Qwen3-MoE and Mixtral: Qwen3 and Mistral with experts in the place of each feed-forward layer."""

import dataclasses
from dataclasses import dataclass

from w2s_jax.models.config import Experts, ModelConfig
from w2s_jax.models.families import settings
from w2s_jax.models.families.base import FAMILIES
from w2s_jax.models.families.llama import Llama
from w2s_jax.models.families.settings import HfConfig
from w2s_jax.models.tensor_table import TensorRow, linear
from w2s_jax.runtime.errors import UserError


@dataclass(frozen=True)
class Mixture(Llama):
    """A Llama whose feed-forward layers are mixtures of experts.

    Attributes:
      block: what a layer's experts and their router stand under.
      parts: what an expert's gate, up and down projections are called.
    """

    block: str = "mlp"
    parts: tuple[str, str, str] = ("gate_proj", "up_proj", "down_proj")

    def tensors(self, config: ModelConfig) -> list[TensorRow]:
        block = f"layers.{{i}}.{self.block}"
        table = [row for row in super().tensors(config) if not row.paths[0].startswith("layers/mlp/")]
        table += linear("layers/mlp/router", f"{block}.gate", False)
        for ours, theirs in zip(("gate", "up", "down"), self.parts, strict=True):
            table += linear(f"layers/mlp/{ours}", f"{block}.experts.{{e}}.{theirs}", False)
        return table


class Qwen3Moe(Mixture):
    """Qwen3 with experts (arXiv 2505.09388), such as Qwen3-30B-A3B."""

    def read(self, config: HfConfig) -> ModelConfig:
        settings.refuse(config, output_router_logits=False, mlp_bias=False)
        if config.get("mlp_only_layers") or config.get("decoder_sparse_step", 1) != 1:
            raise UserError(
                "layers without experts (mlp_only_layers, decoder_sparse_step) are not implemented for qwen3_moe"
            )
        count = config.get("num_experts") or config["num_local_experts"]  # transformers 4 and 5
        experts = Experts(count, config["num_experts_per_tok"], config.get("norm_topk_prob", False))
        # The width that config.json calls intermediate_size is of layers without experts, of which there are none.
        dense = super().read({**config, "intermediate_size": config["moe_intermediate_size"]})
        return dataclasses.replace(dense, experts=experts)

    def write(self, config: ModelConfig) -> HfConfig:
        assert config.experts is not None
        return {
            **super().write(config),
            "moe_intermediate_size": config.mlp_size,
            "num_experts": config.experts.count,
            "num_experts_per_tok": config.experts.per_token,
            "norm_topk_prob": config.experts.renormalized,
        }


class Mixtral(Mixture):
    """Mixtral (Jiang et al. 2024, arXiv 2401.04088)."""

    def read(self, config: HfConfig) -> ModelConfig:
        settings.refuse(config, output_router_logits=False, router_jitter_noise=0.0, mlp_bias=False)
        experts = Experts(config["num_local_experts"], config["num_experts_per_tok"])
        return dataclasses.replace(super().read({"rope_theta": 1e6, **config}), experts=experts)

    def write(self, config: ModelConfig) -> HfConfig:
        assert config.experts is not None
        return {
            **super().write(config),
            "num_local_experts": config.experts.count,
            "num_experts_per_tok": config.experts.per_token,
        }


FAMILIES.register(
    Qwen3Moe(
        "qwen3_moe",
        model_class="Qwen3MoeForCausalLM",
        classifier_class="Qwen3MoeForSequenceClassification",
        qk_norm=True,
    )
)
FAMILIES.register(
    Mixtral(
        "mixtral",
        model_class="MixtralForCausalLM",
        classifier_class="MixtralForSequenceClassification",
        windowed=True,
        block="block_sparse_moe",
        parts=("w1", "w3", "w2"),
    )
)
