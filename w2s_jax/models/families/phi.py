"""Phi-3, Phi-3.5 and Phi-4, all of which Hugging Face calls `phi3`."""

from w2s_jax.models.config import ModelConfig
from w2s_jax.models.families import gguf, settings
from w2s_jax.models.families.base import FAMILIES, Family
from w2s_jax.models.families.settings import HfConfig
from w2s_jax.models.tensor_table import (
    GATE_AND_UP,
    ONE_BY_ONE,
    SAME,
    TensorRow,
    fused_qkv,
    linear,
    norm,
)


class Phi3(Family):
    """Phi-3 (arXiv 2404.14219) and Phi-4 (arXiv 2412.08905): Llama with query, key and value in one matrix, gate and up
    in another, perhaps a window, and in some longrope or positions on a part of each head."""

    def read(self, config: HfConfig) -> ModelConfig:
        settings.refuse(
            config, attention_bias=False, mlp_bias=False, lm_head_bias=False, full_attn_mod=1, interpolate_factor=1
        )
        return ModelConfig(
            **settings.sizes(config),
            norm_eps=config["rms_norm_eps"],
            rope=settings.rope(config),
            sliding_window=config.get("sliding_window"),
            tied_embeddings=config.get("tie_word_embeddings", False),
        )

    def write(self, config: ModelConfig) -> HfConfig:
        assert config.rope is not None
        stretched = {}
        if config.rope.scaling != "none":
            stretched["original_max_position_embeddings"] = config.rope.original_max_positions
        return {
            **settings.hf_sizes(config),
            **stretched,
            "num_key_value_heads": config.n_kv_heads,
            "head_dim": config.head_dim,
            "rms_norm_eps": config.norm_eps,
            "rope_parameters": settings.hf_rope(config.rope),
            "sliding_window": config.sliding_window,
            "tie_word_embeddings": config.tied_embeddings,
        }

    def tensors(self, config: ModelConfig) -> list[TensorRow]:
        layer, ours = "layers.{i}.", "layers/"
        table = [TensorRow(("embed/embedding",), "embed_tokens.weight", SAME)]
        table += fused_qkv(f"{ours}attention", f"{layer}self_attn.qkv_proj", False, ONE_BY_ONE)
        table += linear(f"{ours}attention/output", f"{layer}self_attn.o_proj", False)
        table += _gated(f"{layer}mlp.gate_up_proj", f"{layer}mlp.down_proj")
        table += norm(f"{ours}attention_norm", f"{layer}input_layernorm", "rms")
        table += norm(f"{ours}mlp_norm", f"{layer}post_attention_layernorm", "rms")
        return table + norm("final_norm", "norm", "rms")

    def gguf_config(self, header: gguf.Header) -> HfConfig:
        # 0 is none.
        return {**super().gguf_config(header), "sliding_window": header.setting("attention.sliding_window") or None}

    def gguf_tensors(self, config: ModelConfig) -> list[TensorRow]:
        layer, ours = "blk.{i}.", "layers/"
        table = [TensorRow(("embed/embedding",), "token_embd.weight", SAME)]
        table += fused_qkv(f"{ours}attention", f"{layer}attn_qkv", False, ONE_BY_ONE)
        table += linear(f"{ours}attention/output", f"{layer}attn_output", False)
        table += _gated(f"{layer}ffn_up", f"{layer}ffn_down")
        table += norm(f"{ours}attention_norm", f"{layer}attn_norm", "rms")
        table += norm(f"{ours}mlp_norm", f"{layer}ffn_norm", "rms")
        return table + norm("final_norm", "output_norm", "rms")


def _gated(gate_and_up: str, down: str) -> list[TensorRow]:
    paths = ("layers/mlp/gate/kernel", "layers/mlp/up/kernel")
    return [TensorRow(paths, f"{gate_and_up}.weight", GATE_AND_UP), *linear("layers/mlp/down", down, False)]


FAMILIES.register(
    Phi3(
        "phi3",
        model_class="Phi3ForCausalLM",
        classifier_class="Phi3ForSequenceClassification",
        gguf_name="phi3",
    )
)
