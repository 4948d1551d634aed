"""What GGUF files of every architecture have in common: llama.cpp's names of settings and tensors."""

from collections.abc import Mapping
from typing import Any

from w2s_jax.models.config import ModelConfig
from w2s_jax.models.families.settings import HfConfig
from w2s_jax.models.tensor_table import SAME, TRANSPOSED, TensorLayout, TensorRow, linear, norm
from w2s_jax.runtime.errors import UserError

Metadata = Mapping[str, Any]  # key -> value

UNEMBEDDING = "output.weight"
IGNORED = (r"^output\.weight$", r"^rope_freqs\.weight$")


def setting(metadata: Metadata, key: str, default: Any = None) -> Any:
    """`ARCHITECTURE.key` of a file's metadata."""
    return metadata.get(f"{metadata['general.architecture']}.{key}", default)


def config(metadata: Metadata) -> HfConfig:
    """The sizes, norm and rotary positions of a gated decoder, in Hugging Face's words.

    Raises:
      UserError: a rotary scaling that is not implemented.
    """
    scaling = setting(metadata, "rope.scaling.type", "none")
    if scaling not in ("none", "linear"):
        raise UserError(f"rope scaling {scaling!r} is not implemented for GGUF files")
    linear_scaling = {"type": "linear", "factor": setting(metadata, "rope.scaling.factor")}
    heads, width = setting(metadata, "attention.head_count"), setting(metadata, "embedding_length")
    head_dim = setting(metadata, "attention.key_length", width // heads)
    return {
        "vocab_size": setting(metadata, "vocab_size") or len(metadata["tokenizer.ggml.tokens"]),
        "hidden_size": width,
        "num_hidden_layers": setting(metadata, "block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": setting(metadata, "attention.head_count_kv", heads),
        "head_dim": head_dim,
        "intermediate_size": setting(metadata, "feed_forward_length"),
        "max_position_embeddings": setting(metadata, "context_length"),
        "rms_norm_eps": float(f"{setting(metadata, 'attention.layer_norm_rms_epsilon'):.6g}"),
        "rope_theta": setting(metadata, "rope.freq_base"),
        "partial_rotary_factor": setting(metadata, "rope.dimension_count", head_dim) / head_dim,
        "rope_scaling": linear_scaling if scaling == "linear" else None,
        "hidden_act": "silu",
    }


def tensors(config: ModelConfig, queries_and_keys: TensorLayout = TRANSPOSED) -> list[TensorRow]:
    """The table of a gated decoder."""
    layer, ours = "blk.{i}.", "layers/"
    table = [TensorRow(("embed/embedding",), "token_embd.weight", SAME)]
    for part, short in (("query", "q"), ("key", "k")):
        table += linear(f"{ours}attention/{part}", f"{layer}attn_{short}", False, queries_and_keys)
    table += linear(f"{ours}attention/value", f"{layer}attn_v", False)
    table += linear(f"{ours}attention/output", f"{layer}attn_output", False)
    for part in ("gate", "up", "down"):
        table += linear(f"{ours}mlp/{part}", f"{layer}ffn_{part}", False)
    norms = {"attention_norm": "attn_norm", "mlp_norm": "ffn_norm"}
    if config.post_norms:
        norms |= {"attention_post_norm": "post_attention_norm", "mlp_post_norm": "post_ffw_norm"}
    if config.qk_norm:
        norms |= {"attention/query_norm": "attn_q_norm", "attention/key_norm": "attn_k_norm"}
    for part, name in norms.items():
        table += norm(f"{ours}{part}", f"{layer}{name}", "rms")
    return table + norm("final_norm", "output_norm", "rms")
