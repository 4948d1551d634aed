"""What GGUF files of every architecture have in common: llama.cpp's names of settings and tensors."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from w2s_jax.models.config import ModelConfig
from w2s_jax.models.families import gguf_rope
from w2s_jax.models.families.settings import HfConfig
from w2s_jax.models.pooling import Pooling
from w2s_jax.models.tensor_table import (
    ONE_BY_ONE,
    SAME,
    TRANSPOSED,
    TensorLayout,
    TensorRow,
    fused_qkv,
    linear,
    norm,
)
from w2s_jax.runtime.errors import UserError

Metadata = Mapping[str, Any]  # key -> value


class Header(NamedTuple):
    """What a GGUF file says of its model, before any weight is read.

    Attributes:
      shapes: of the tensors, by name.
      factors: the numbers of the tensors that are settings of the rotary positions (`gguf_rope.TENSORS`), by name.
    """

    metadata: Metadata
    shapes: Mapping[str, tuple[int, ...]]
    factors: Mapping[str, tuple[float, ...]]

    def setting(self, key: str, default: Any = None) -> Any:
        """`ARCHITECTURE.key` of the metadata. A list of one value for each layer is that value.

        Raises:
          UserError: layers differ in it.
        """
        name = f"{self.metadata['general.architecture']}.{key}"
        value = self.metadata.get(name, default)
        if not isinstance(value, list):
            return value
        if len(set(value)) != 1:
            raise UserError(f"{name} of this GGUF file differs between layers, which is not implemented")
        return value[0]

    def needed(self, key: str) -> Any:
        """A setting that must be there.

        Raises:
          UserError: it is not.
        """
        value = self.setting(key)
        if value is None:
            raise UserError(f"this GGUF file has no {self.metadata['general.architecture']}.{key}")
        return value

    def small(self, key: str) -> float:
        """A small number as it was before it was rounded to single precision."""
        return float(f"{self.needed(key):.6g}")


POOLINGS: Mapping[int, Pooling | None] = {0: None, 1: "mean", 2: "cls", 3: "last"}  # as llama.cpp numbers them
UNEMBEDDING = "output.weight"
IGNORED = (r"^output\.weight$", r"^rope_(freqs|factors_long|factors_short)\.weight$", r"^blk\.\d+\.attn_rot_embd")


def pooling(header: Header) -> Pooling | None:
    """The hidden state that the published model's vectors are, where the file says so.

    Raises:
      UserError: it is none of those that are implemented.
    """
    kind = header.setting("pooling_type", 0)
    if kind not in POOLINGS:
        raise UserError(
            f"pooling_type {kind} of this GGUF file is not implemented (4 is a head that ranks); supported: "
            f"{', '.join(f'{number} ({name})' for number, name in POOLINGS.items() if name)}"
        )
    return POOLINGS[kind]


def sizes(header: Header) -> HfConfig:
    """Sizes in Hugging Face's words, as far as all architectures state them alike."""
    heads, width = header.needed("attention.head_count"), header.needed("embedding_length")
    embeddings = header.shapes.get("token_embd.weight", (header.setting("vocab_size"),))
    return {
        "vocab_size": embeddings[0],
        "hidden_size": width,
        "num_hidden_layers": header.needed("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": header.setting("attention.head_count_kv", heads),
        "head_dim": header.setting("attention.key_length", width // heads),
        "intermediate_size": header.needed("feed_forward_length"),
        "max_position_embeddings": header.needed("context_length"),
    }


def rotary(header: Header) -> HfConfig:
    """The rotary positions in Hugging Face's words.

    Raises:
      UserError: a scaling that is not implemented.
    """
    head_dim = sizes(header)["head_dim"]
    rotated = header.setting("rope.dimension_count", head_dim)
    fraction = rotated / head_dim
    return {
        "rope_theta": header.setting("rope.freq_base"),
        "partial_rotary_factor": fraction if int(head_dim * fraction) == rotated else math.nextafter(fraction, 2),
        "rope_scaling": gguf_rope.scaling(header.setting, header.factors, rotated),
    }


def config(header: Header) -> HfConfig:
    """The sizes, norm and rotary positions of a gated decoder, in Hugging Face's words.

    Raises:
      UserError: a setting is missing or not implemented.
    """
    return {
        **sizes(header),
        **rotary(header),
        "rms_norm_eps": header.small("attention.layer_norm_rms_epsilon"),
        "attention_bias": "blk.0.attn_output.bias" in header.shapes,
        "mlp_bias": "blk.0.ffn_up.bias" in header.shapes,
        "hidden_act": "silu",
    }


def tensors(config: ModelConfig, queries_and_keys: TensorLayout = TRANSPOSED) -> list[TensorRow]:
    """The table of a gated decoder."""
    layer, ours = "blk.{i}.", "layers/"
    table = [TensorRow(("embed/embedding",), "token_embd.weight", SAME)]
    for part, short in (("query", "q"), ("key", "k")):
        table.append(TensorRow((f"{ours}attention/{part}/kernel",), f"{layer}attn_{short}.weight", queries_and_keys))
        if config.qkv_bias:
            table.append(TensorRow((f"{ours}attention/{part}/bias",), f"{layer}attn_{short}.bias", queries_and_keys))
    table += linear(f"{ours}attention/value", f"{layer}attn_v", config.qkv_bias)
    table += linear(f"{ours}attention/output", f"{layer}attn_output", config.output_bias)
    for part in ("gate", "up", "down"):
        table += linear(f"{ours}mlp/{part}", f"{layer}ffn_{part}", config.mlp_bias)
    norms = {"attention_norm": "attn_norm", "mlp_norm": "ffn_norm"} if config.pre_norms else {}
    if config.post_norms:
        norms |= {"attention_post_norm": "post_attention_norm", "mlp_post_norm": "post_ffw_norm"}
    if config.qk_norm:
        norms |= {"attention/query_norm": "attn_q_norm", "attention/key_norm": "attn_k_norm"}
    for part, name in norms.items():
        table += norm(f"{ours}{part}", f"{layer}{name}", "rms")
    return table + norm("final_norm", "output_norm", "rms")


def fused_tensors(config: ModelConfig) -> list[TensorRow]:
    """The table of a decoder with layer norms and one matrix of queries, keys and values, one after the other."""
    layer, ours = "blk.{i}.", "layers/"
    table = [TensorRow(("embed/embedding",), "token_embd.weight", SAME)]
    if config.rope is None:
        table.append(TensorRow(("positions/embedding",), "position_embd.weight", SAME))
    table += fused_qkv(f"{ours}attention", f"{layer}attn_qkv", config.qkv_bias, ONE_BY_ONE)
    table += linear(f"{ours}attention/output", f"{layer}attn_output", config.output_bias)
    for part in ("up", "down"):
        table += linear(f"{ours}mlp/{part}", f"{layer}ffn_{part}", config.mlp_bias)
    for part, name in (("attention_norm", "attn_norm"), ("mlp_norm", "ffn_norm")):
        table += norm(f"{ours}{part}", f"{layer}{name}", "layer")
    return table + norm("final_norm", "output_norm", "layer")
