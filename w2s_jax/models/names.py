"""How each family's checkpoint names and shapes its tensors, beside ours: one table a family, read in both directions.

A row is (our paths, their name, layout). `{i}` in a name is the layer; our layers lie stacked along a first axis.
"""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from w2s_jax.models.config import ModelConfig


class Layout(NamedTuple):
    """How one of their tensors holds one parameter of ours, or several.

    Our side is flat: tables [rows, dimensions], matrices [inputs, outputs] and vectors. What is written is whole; what
    is read may be a piece, and is of one parameter.

    Attributes:
      ours: the numbers of a piece as we keep them, still where they lie in theirs.
      theirs: their tensor, from all its parameters.
      transposed: their rows are our columns.
      block: how many of their rows can only be converted together.
      turns: where several parameters take turns along an axis of theirs: the axis, and how many numbers each has then.
    """

    ours: Callable[[np.ndarray, ModelConfig], np.ndarray]
    theirs: Callable[[Sequence[np.ndarray], ModelConfig], np.ndarray]
    transposed: bool = False
    block: Callable[[ModelConfig], int] = lambda _: 1
    turns: tuple[Literal[0, -1], Callable[[ModelConfig], int]] | None = None


class Row(NamedTuple):
    """One of their tensors, and the parameters that it holds."""

    paths: tuple[str, ...]
    name: str
    layout: Layout

    @property
    def stacked(self) -> bool:
        """There is one in each layer."""
        return "{i}" in self.name


def rows(config: ModelConfig, gguf: bool = False) -> list[Row]:
    """The table of a model's family, for the parameters that this config has."""
    if gguf:
        return _gguf(config)
    return _TABLES[config.family](config)


def plain_name(name: str) -> str:
    """A tensor's name without the prefix that depends on which head, or eyes, the checkpoint was saved with."""
    return re.sub(rf"^({_PREFIXES})\.", "", name)


def ignored(name: str) -> bool:
    """Tensors of a checkpoint that are no backbone parameters: heads, poolers and constants."""
    return re.search(_IGNORED, name) is not None


def prefix(family: str) -> str:
    """What stands before a backbone's tensors in a checkpoint that also holds a head."""
    return {"bert": "", "gpt2": "transformer.", "gpt_neox": "gpt_neox."}.get(family, "model.")


def flat_shape(path: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a parameter, of one layer, on the flat side of a layout."""
    return tuple(math.prod(sizes) for sizes in _flat(path, shape))


def flat_spans(path: str, spans: Sequence[range], shape: tuple[int, ...]) -> list[range]:
    """A piece of a parameter on the flat side; `spans` are along the axes of `shape`, and heads are not cut."""
    found = []
    for span, (_, *heads) in zip(_flat(path, spans), _flat(path, shape), strict=True):
        width = math.prod(heads)
        found.append(range(span[0].start * width, span[0].stop * width))
    return found


def their_spans(row: Row, part: int, spans: Sequence[range], config: ModelConfig) -> list[list[range]]:
    """Where a piece of one of a tensor's parameters lies in it: along each axis of theirs, one range or several."""
    layout = row.layout
    found = [[span] for span in (reversed(spans) if layout.transposed else spans)]
    if layout.turns is not None:
        axis, width = layout.turns[0], layout.turns[1](config)
        (span,) = found[axis]
        cuts = [span.start, *range((span.start // width + 1) * width, span.stop, width), span.stop]
        shifts = [(cut // width * (len(row.paths) - 1) + part) * width for cut in cuts]
        found[axis] = [range(a + by, b + by) for a, b, by in zip(cuts, cuts[1:], shifts, strict=False)]
    return found


def _flat(path: str, axes: Sequence[Any]) -> list[Sequence[Any]]:
    """The axes of a parameter, by those of its flat side."""
    if path.endswith("/kernel"):
        inputs = 2 if path.endswith("attention/output/kernel") else 1
        return [axes[:inputs], axes[inputs:]]
    return [axes[:1], axes[1:]] if path.endswith("/embedding") else [axes]


_PREFIXES = (
    r"model\.0\.auto_model|language_model\.model|model\.language_model|language_model|model|transformer|gpt_neox|bert"
)
UNEMBEDDING = ("lm_head.weight", "embed_out.weight", "output.weight")  # Hugging Face, GPT-NeoX, GGUF
CLASSIFIER = "score.weight"

_IGNORED = "|".join(
    (
        r"^lm_head\.",
        r"^embed_out\.",
        r"^score\.",
        r"^cls\.",
        r"^pooler\.",
        r"^classifier\.",
        r"^vision_tower\.",
        r"^multi_modal_projector\.",
        r"position_ids$",
        r"rotary_emb\.inv_freq$",
        r"attn\.(masked_)?bias$",  # GPT-2's constant causal mask
        r"attention\.(masked_)?bias$",
        r"^output\.weight$",
        r"^rope_freqs\.weight$",
    )
)


def _join_heads(parts: Sequence[np.ndarray], config: ModelConfig) -> np.ndarray:
    heads = [part.T.reshape(config.n_heads, config.head_dim, *part.T.shape[1:]) for part in parts]
    return np.stack(heads, axis=1).reshape(-1, *parts[0].T.shape[1:])


def _same(array: np.ndarray, _: ModelConfig) -> np.ndarray:
    return array


SAME = Layout(_same, lambda parts, _: parts[0])
# A torch linear layer keeps [outputs, inputs].
TRANSPOSED = Layout(_same, lambda parts, _: parts[0].T, transposed=True)
# Gemma keeps a norm's scale less one.
LESS_ONE = Layout(lambda array, _: array + 1, lambda parts, _: parts[0] - 1)
# GPT-2 keeps query, key and value side by side along the last axis.
SIDE_BY_SIDE = Layout(
    _same,
    lambda parts, _: np.concatenate(list(parts), axis=-1),
    turns=(-1, lambda config: config.n_heads * config.head_dim),
)
# GPT-NeoX keeps query, key and value of one head after the other.
HEAD_BY_HEAD = Layout(_same, _join_heads, transposed=True, turns=(0, lambda config: config.head_dim))


def _swapped(array: np.ndarray, *pairs: int) -> np.ndarray:
    return array.reshape(-1, *pairs, array.shape[1]).swapaxes(1, 2).reshape(array.shape)


# Llama's GGUF keeps the rotary pairs of a head side by side; ours are half a head apart, as in Hugging Face's.
PAIRED = Layout(
    lambda array, config: _swapped(array, config.head_dim // 2, 2),
    lambda parts, config: _swapped(parts[0].T, 2, config.head_dim // 2),
    transposed=True,
    block=lambda config: config.head_dim,
)


def _linear(path: str, name: str, bias: bool, layout: Layout = TRANSPOSED) -> list[Row]:
    found = [Row((f"{path}/kernel",), f"{name}.weight", layout)]
    return found + ([Row((f"{path}/bias",), f"{name}.bias", SAME)] if bias else [])


def _fused(path: str, name: str, bias: bool, layout: Layout) -> list[Row]:
    """Query, key and value in one tensor."""
    kinds = [("kernel", "weight"), ("bias", "bias")][: 1 + bias]
    parts = ("query", "key", "value")
    return [Row(tuple(f"{path}/{part}/{ours}" for part in parts), f"{name}.{theirs}", layout) for ours, theirs in kinds]


def _norm(path: str, name: str, kind: str, layout: Layout = SAME) -> list[Row]:
    found = [Row((f"{path}/scale",), f"{name}.weight", layout)]
    return found + ([Row((f"{path}/bias",), f"{name}.bias", SAME)] if kind == "layer" else [])


def _llama(config: ModelConfig) -> list[Row]:
    layer, ours = "layers.{i}.", "layers/"
    table = [Row(("embed/embedding",), "embed_tokens.weight", SAME)]
    for part, short in (("query", "q"), ("key", "k"), ("value", "v")):
        table += _linear(f"{ours}attention/{part}", f"{layer}self_attn.{short}_proj", config.qkv_bias)
    table += _linear(f"{ours}attention/output", f"{layer}self_attn.o_proj", config.output_bias)
    for part in ("gate", "up", "down"):
        table += _linear(f"{ours}mlp/{part}", f"{layer}mlp.{part}_proj", config.mlp_bias)
    norms = {"attention_norm": "input_layernorm", "mlp_norm": "post_attention_layernorm"}
    if config.post_norms:
        norms |= {
            "attention_post_norm": "post_attention_layernorm",
            "mlp_norm": "pre_feedforward_layernorm",
            "mlp_post_norm": "post_feedforward_layernorm",
        }
    if config.qk_norm:
        norms |= {"attention/query_norm": "self_attn.q_norm", "attention/key_norm": "self_attn.k_norm"}
    layout = LESS_ONE if config.family.startswith("gemma") else SAME
    for part, name in norms.items():
        table += _norm(f"{ours}{part}", f"{layer}{name}", "rms", layout)
    return table + _norm("final_norm", "norm", "rms", layout)


def _gguf(config: ModelConfig) -> list[Row]:
    layer, ours = "blk.{i}.", "layers/"
    table = [Row(("embed/embedding",), "token_embd.weight", SAME)]
    for part, short in (("query", "q"), ("key", "k")):
        layout = PAIRED if config.family == "llama" else TRANSPOSED
        table += _linear(f"{ours}attention/{part}", f"{layer}attn_{short}", False, layout)
    table += _linear(f"{ours}attention/value", f"{layer}attn_v", False)
    table += _linear(f"{ours}attention/output", f"{layer}attn_output", False)
    for part in ("gate", "up", "down"):
        table += _linear(f"{ours}mlp/{part}", f"{layer}ffn_{part}", False)
    norms = {"attention_norm": "attn_norm", "mlp_norm": "ffn_norm"}
    if config.post_norms:
        norms |= {"attention_post_norm": "post_attention_norm", "mlp_post_norm": "post_ffw_norm"}
    if config.qk_norm:
        norms |= {"attention/query_norm": "attn_q_norm", "attention/key_norm": "attn_k_norm"}
    for part, name in norms.items():
        table += _norm(f"{ours}{part}", f"{layer}{name}", "rms")
    return table + _norm("final_norm", "output_norm", "rms")


def _gpt2(config: ModelConfig) -> list[Row]:
    layer, ours = "h.{i}.", "layers/"
    table = [Row(("embed/embedding",), "wte.weight", SAME), Row(("positions/embedding",), "wpe.weight", SAME)]
    table += _fused(f"{ours}attention", f"{layer}attn.c_attn", True, SIDE_BY_SIDE)
    for path, name in (("attention/output", "attn.c_proj"), ("mlp/up", "mlp.c_fc"), ("mlp/down", "mlp.c_proj")):
        table += _linear(f"{ours}{path}", f"{layer}{name}", True, SAME)
    table += _norm(f"{ours}attention_norm", f"{layer}ln_1", "layer") + _norm(f"{ours}mlp_norm", f"{layer}ln_2", "layer")
    return table + _norm("final_norm", "ln_f", "layer")


def _gpt_neox(config: ModelConfig) -> list[Row]:
    layer, ours = "layers.{i}.", "layers/"
    table = [Row(("embed/embedding",), "embed_in.weight", SAME)]
    table += _fused(f"{ours}attention", f"{layer}attention.query_key_value", config.qkv_bias, HEAD_BY_HEAD)
    table += _linear(f"{ours}attention/output", f"{layer}attention.dense", config.output_bias)
    table += _linear(f"{ours}mlp/up", f"{layer}mlp.dense_h_to_4h", True)
    table += _linear(f"{ours}mlp/down", f"{layer}mlp.dense_4h_to_h", True)
    table += _norm(f"{ours}attention_norm", f"{layer}input_layernorm", "layer")
    table += _norm(f"{ours}mlp_norm", f"{layer}post_attention_layernorm", "layer")
    return table + _norm("final_norm", "final_layer_norm", "layer")


def _bert(config: ModelConfig) -> list[Row]:
    layer, ours = "encoder.layer.{i}.", "layers/"
    table = [
        Row(("embed/embedding",), "embeddings.word_embeddings.weight", SAME),
        Row(("positions/embedding",), "embeddings.position_embeddings.weight", SAME),
        Row(("token_types/embedding",), "embeddings.token_type_embeddings.weight", SAME),
        *_norm("embed_norm", "embeddings.LayerNorm", "layer"),
    ]
    for part in ("query", "key", "value"):
        table += _linear(f"{ours}attention/{part}", f"{layer}attention.self.{part}", True)
    table += _linear(f"{ours}attention/output", f"{layer}attention.output.dense", True)
    table += _norm(f"{ours}attention_norm", f"{layer}attention.output.LayerNorm", "layer")
    table += _linear(f"{ours}mlp/up", f"{layer}intermediate.dense", True)
    table += _linear(f"{ours}mlp/down", f"{layer}output.dense", True)
    return table + _norm(f"{ours}mlp_norm", f"{layer}output.LayerNorm", "layer")


_TABLES: dict[str, Callable[[ModelConfig], list[Row]]] = {
    "bert": _bert,
    "gemma2": _llama,
    "gemma3_text": _llama,
    "gpt2": _gpt2,
    "gpt_neox": _gpt_neox,
    "llama": _llama,
    "mistral": _llama,
    "qwen2": _llama,
    "qwen3": _llama,
}
