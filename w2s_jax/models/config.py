"""A pretrained model's shape as frozen data: the one place that reads Hugging Face and GGUF descriptions."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from w2s_jax.runtime.errors import UserError

ACTIVATIONS = {
    "silu": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}


@dataclass(frozen=True)
class Rope:
    """Rotary position embedding (Su et al. 2021, arXiv 2104.09864), half-split as in GPT-NeoX and Llama.

    Attributes:
      theta: the base of the frequencies `theta ** (-2 i / d)`.
      fraction: the part of each head's dimensions that is rotated, in (0, 1].
      scaling: how the frequencies are stretched beyond the length first trained on: `none`, `linear` (all divided by
        `factor`) or `llama3` (only the low ones; the four numbers are those of Llama 3.1's config).
    """

    theta: float = 10000.0
    fraction: float = 1.0
    scaling: Literal["none", "linear", "llama3"] = "none"
    factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_max_positions: int = 8192


@dataclass(frozen=True)
class ModelConfig:
    """One transformer. Families differ by these fields alone.

    Attributes:
      family: Hugging Face's `model_type`.
      mlp_size: width of the feed-forward layer.
      max_positions: the longest text, in tokens.
      norm: `rms` (Zhang & Sennrich 2019) or `layer` (Ba et al. 2016).
      gated: the feed-forward layer is `down(activation(gate(x)) * up(x))` (Shazeer 2020) instead of
        `down(activation(up(x)))`.
      qkv_bias, output_bias, mlp_bias: whether those linear maps have one.
      qk_norm: RMS norm of each query and key head.
      parallel_residual: attention and feed-forward layer read the same input.
      post_norms: attention and feed-forward layer are normalized again before they are added to the residual stream.
      embedding_scale: what embeddings are multiplied by.
      query_pre_attn_scalar: attention scores are divided by its square root; None is `head_dim`.
      attention_softcap, logits_softcap: c in `c tanh(x / c)` of attention scores and of the language-model head's
        logits; None is none.
      rope: rotary positions; None is a learned table.
      sliding_window: how many tokens back, itself included, a token sees; None is all.
      windowed: for each layer, whether it has the window, where only some do.
      window_rope: rotary positions of those layers, where only some have the window.
      tied_embeddings: the language-model head is the embedding table.
      residual_dropout: the family drops embeddings and residual branches too, not only attention weights.
      token_types: size of BERT's segment table; 0 is none.
      final_norm: whether the last hidden state is normalized; False after `cut`.
    """

    family: str
    vocab_size: int
    hidden_size: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    mlp_size: int
    max_positions: int
    norm: Literal["rms", "layer"] = "rms"
    norm_eps: float = 1e-5
    activation: str = "silu"
    gated: bool = True
    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    qk_norm: bool = False
    parallel_residual: bool = False
    post_norms: bool = False
    embedding_scale: float = 1.0
    query_pre_attn_scalar: int | None = None
    attention_softcap: float | None = None
    logits_softcap: float | None = None
    rope: Rope | None = None
    sliding_window: int | None = None
    windowed: tuple[bool, ...] | None = None
    window_rope: Rope | None = None
    tied_embeddings: bool = True
    residual_dropout: bool = False
    token_types: int = 0
    final_norm: bool = True

    @property
    def is_encoder(self) -> bool:
        """Every token sees every other, as in BERT."""
        return self.family == "bert"

    def cut(self, read_layer: int | None) -> "ModelConfig":
        """The model's first `read_layer` layers, whose output is the raw residual stream, as Hugging Face's
        `hidden_states[read_layer]` is. All layers (or None) keep the final norm, as `hidden_states[-1]` does.

        Raises:
          UserError: `read_layer` is not in [1, n_layers].
        """
        if read_layer is None or read_layer == self.n_layers:
            return self
        if not 1 <= read_layer <= self.n_layers:
            raise UserError(f"read_layer must be in 1..{self.n_layers} for this model, not {read_layer}")
        windowed = None if self.windowed is None else self.windowed[:read_layer]
        return dataclasses.replace(self, n_layers=read_layer, windowed=windowed, final_norm=False)

    @classmethod
    def from_hf(cls, config: Mapping[str, Any]) -> "ModelConfig":
        """From the contents of a Hugging Face `config.json`, of transformers 4 or 5.

        Raises:
          UserError: a model type or a setting that is not implemented, or one that is missing, by name.
        """
        family = config.get("model_type")
        if family not in _READERS:
            raise UserError(f"model type {family!r} is not implemented; supported: {', '.join(sorted(_READERS))}")
        if config.get("quantization_config"):
            raise UserError("quantization_config is not implemented; use the unquantized safetensors")
        try:
            return _READERS[family](config)
        except KeyError as error:
            raise UserError(f"this {family} config has no {error.args[0]!r}; give the model's whole config") from None

    def to_hf(self) -> dict[str, Any]:
        """The Hugging Face config that `from_hf` reads back as this.

        Raises:
          UserError: this config was `cut`: Hugging Face has no model without a final norm.
        """
        if not self.final_norm and not self.is_encoder:
            raise UserError("a config cut to its first layers has no Hugging Face form")
        return {"model_type": self.family, **_WRITERS[self.family](self)}

    @classmethod
    def from_gguf(cls, metadata: Mapping[str, Any], tied_embeddings: bool) -> "ModelConfig":
        """From a GGUF file's metadata.

        Args:
          metadata: key -> value.
          tied_embeddings: the file has no `output.weight`.

        Raises:
          UserError: an architecture or a rotary scaling that is not implemented.
        """
        architecture = metadata["general.architecture"]
        if architecture not in _GGUF_FAMILIES:
            supported = ", ".join(_GGUF_FAMILIES)
            raise UserError(f"GGUF architecture {architecture!r} is not implemented; supported: {supported}")
        return cls.from_hf({**_hf_from_gguf(metadata, architecture), "tie_word_embeddings": tied_embeddings})


def _activation(name: str) -> str:
    if name not in ACTIVATIONS:
        raise UserError(f"activation {name!r} is not implemented; supported: {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]


def _hf_activation(name: str) -> str:
    return {ours: theirs for theirs, ours in ACTIVATIONS.items()}[name]


def _refuse(config: Mapping[str, Any], **supported: Any) -> None:
    """Refuses settings whose value is not the one that is implemented; an absent one is the implemented one."""
    for name, value in supported.items():
        if config.get(name, value) != value:
            raise UserError(f"{name}={config[name]!r} is not implemented for {config['model_type']}, only {value!r}")


def _rope(config: Mapping[str, Any], theta: float = 10000.0, fraction: float = 1.0) -> Rope:
    given = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    theta = given.get("rope_theta", config.get("rope_theta") or config.get("rotary_emb_base") or theta)
    fraction = given.get(
        "partial_rotary_factor", config.get("rotary_pct") or config.get("partial_rotary_factor") or fraction
    )
    match given.get("rope_type", given.get("type", "default")):
        case "default":
            return Rope(theta, fraction)
        case "linear":
            return Rope(theta, fraction, "linear", given["factor"])
        case "llama3":
            return Rope(
                theta,
                fraction,
                "llama3",
                given["factor"],
                given["low_freq_factor"],
                given["high_freq_factor"],
                given["original_max_position_embeddings"],
            )
        case other:
            raise UserError(f"rope scaling {other!r} is not implemented; supported: default, linear, llama3")


def _hf_rope(rope: Rope) -> dict[str, Any]:
    parameters: dict[str, Any] = {"rope_theta": rope.theta, "partial_rotary_factor": rope.fraction}
    match rope.scaling:
        case "none":
            return {"rope_type": "default", **parameters}
        case "linear":
            return {"rope_type": "linear", "factor": rope.factor, **parameters}
        case "llama3":
            return {
                "rope_type": "llama3",
                "factor": rope.factor,
                "low_freq_factor": rope.low_freq_factor,
                "high_freq_factor": rope.high_freq_factor,
                "original_max_position_embeddings": rope.original_max_positions,
                **parameters,
            }


def _sizes(config: Mapping[str, Any]) -> dict[str, Any]:
    """The sizes, as all families but GPT-2 name them."""
    heads, width = config["num_attention_heads"], config["hidden_size"]
    return {
        "family": config["model_type"],
        "vocab_size": config["vocab_size"],
        "hidden_size": width,
        "n_layers": config["num_hidden_layers"],
        "n_heads": heads,
        "n_kv_heads": config.get("num_key_value_heads") or heads,
        "head_dim": config.get("head_dim") or width // heads,
        "mlp_size": config["intermediate_size"],
        "max_positions": config["max_position_embeddings"],
        "activation": _activation(config.get("hidden_activation") or config["hidden_act"]),
    }


def _hf_sizes(config: ModelConfig) -> dict[str, Any]:
    return {
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "intermediate_size": config.mlp_size,
        "max_position_embeddings": config.max_positions,
        "hidden_act": _hf_activation(config.activation),
    }


def _read_llama(config: Mapping[str, Any]) -> ModelConfig:
    """Llama, Mistral, Qwen2 and Qwen3: they differ in biases, the norm of queries and keys, and the window."""
    family = config["model_type"]
    bias = bool(config.get("attention_bias", False))
    layer_types = set(config.get("layer_types") or ["full_attention"])
    if family != "mistral" and (config.get("use_sliding_window") or layer_types != {"full_attention"}):
        raise UserError(f"use_sliding_window is not implemented for {family}; set it to false")
    return ModelConfig(
        **_sizes(config),
        norm_eps=config["rms_norm_eps"],
        qkv_bias=bias or family == "qwen2",
        output_bias=bias,
        mlp_bias=bool(config.get("mlp_bias", False)),
        qk_norm=family == "qwen3",
        rope=_rope(config),
        sliding_window=config.get("sliding_window") if family == "mistral" else None,
        tied_embeddings=config.get("tie_word_embeddings", False),
    )


def _write_llama(config: ModelConfig) -> dict[str, Any]:
    assert config.rope is not None
    return {
        **_hf_sizes(config),
        "num_key_value_heads": config.n_kv_heads,
        "head_dim": config.head_dim,
        "rms_norm_eps": config.norm_eps,
        "attention_bias": config.output_bias,
        "mlp_bias": config.mlp_bias,
        "rope_parameters": _hf_rope(config.rope),
        "sliding_window": config.sliding_window,
        "tie_word_embeddings": config.tied_embeddings,
    }


def _read_gemma(config: Mapping[str, Any]) -> ModelConfig:
    """Gemma 2 (arXiv 2408.00118): soft-capped, a window on every second layer. Gemma 3 (arXiv 2503.19786): queries and
    keys normalized, a window with its own rotary base on five layers of six."""
    if config.get("use_bidirectional_attention"):
        raise UserError(f"use_bidirectional_attention is not implemented for {config['model_type']}")
    _refuse(config, attention_bias=False)
    third = config["model_type"] == "gemma3_text"
    if third:
        _refuse(config, attn_logit_softcapping=None, final_logit_softcapping=None)
    layers, period = range(1, config["num_hidden_layers"] + 1), config.get("sliding_window_pattern", 6) if third else 2
    kinds = config.get("layer_types") or ["sliding_attention" if i % period else "full_attention" for i in layers]
    rope, window_rope = _gemma3_ropes(config) if third else (_rope(config),) * 2
    return ModelConfig(
        **_sizes(config),
        norm_eps=config["rms_norm_eps"],
        qk_norm=third,
        post_norms=True,
        embedding_scale=config["hidden_size"] ** 0.5,
        query_pre_attn_scalar=config["query_pre_attn_scalar"],
        attention_softcap=None if third else config.get("attn_logit_softcapping"),
        logits_softcap=None if third else config.get("final_logit_softcapping"),
        rope=rope,
        sliding_window=config["sliding_window"],
        windowed=tuple(kind == "sliding_attention" for kind in kinds),
        window_rope=window_rope,
        tied_embeddings=config.get("tie_word_embeddings", True),
    )


def _read_gemma3(config: Mapping[str, Any]) -> ModelConfig:
    """The language model of a Gemma 3 that sees images too (4B and larger); published configs leave defaults out."""
    from transformers import Gemma3TextConfig

    return _read_gemma(Gemma3TextConfig(**config["text_config"]).to_dict())


def _gemma3_ropes(config: Mapping[str, Any]) -> tuple[Rope, Rope]:
    given = config.get("rope_parameters")
    if given:
        return (
            _rope({"rope_parameters": given["full_attention"]}, theta=1e6),
            _rope({"rope_parameters": given["sliding_attention"]}),
        )
    return _rope(config, theta=1e6), Rope(config.get("rope_local_base_freq", 10000.0))


def _write_gemma(config: ModelConfig) -> dict[str, Any]:
    assert config.rope is not None
    assert config.window_rope is not None
    assert config.windowed is not None
    rope = _hf_rope(config.rope)
    if config.family == "gemma3_text":
        rope = {"full_attention": rope, "sliding_attention": _hf_rope(config.window_rope)}
    return {
        **_hf_sizes(config),
        "hidden_activation": _hf_activation(config.activation),
        "num_key_value_heads": config.n_kv_heads,
        "head_dim": config.head_dim,
        "rms_norm_eps": config.norm_eps,
        "query_pre_attn_scalar": config.query_pre_attn_scalar,
        "attn_logit_softcapping": config.attention_softcap,
        "final_logit_softcapping": config.logits_softcap,
        "rope_parameters": rope,
        "sliding_window": config.sliding_window,
        "layer_types": ["sliding_attention" if windowed else "full_attention" for windowed in config.windowed],
        "tie_word_embeddings": config.tied_embeddings,
    }


def _read_gpt_neox(config: Mapping[str, Any]) -> ModelConfig:
    bias = config.get("attention_bias", True)
    return ModelConfig(
        **_sizes(config),
        norm="layer",
        norm_eps=config["layer_norm_eps"],
        gated=False,
        qkv_bias=bias,
        output_bias=bias,
        mlp_bias=True,
        parallel_residual=config.get("use_parallel_residual", True),
        rope=_rope(config, fraction=0.25),
        tied_embeddings=config.get("tie_word_embeddings", False),
        residual_dropout=True,
    )


def _write_gpt_neox(config: ModelConfig) -> dict[str, Any]:
    assert config.rope is not None
    return {
        **_hf_sizes(config),
        "layer_norm_eps": config.norm_eps,
        "attention_bias": config.qkv_bias,
        "use_parallel_residual": config.parallel_residual,
        "rope_parameters": _hf_rope(config.rope),
        "tie_word_embeddings": config.tied_embeddings,
    }


def _read_gpt2(config: Mapping[str, Any]) -> ModelConfig:
    _refuse(config, scale_attn_weights=True, scale_attn_by_inverse_layer_idx=False, add_cross_attention=False)
    width, heads = config["n_embd"], config["n_head"]
    return ModelConfig(
        family="gpt2",
        vocab_size=config["vocab_size"],
        hidden_size=width,
        n_layers=config["n_layer"],
        n_heads=heads,
        n_kv_heads=heads,
        head_dim=width // heads,
        mlp_size=config.get("n_inner") or 4 * width,
        max_positions=config["n_positions"],
        norm="layer",
        norm_eps=config["layer_norm_epsilon"],
        activation=_activation(config["activation_function"]),
        gated=False,
        qkv_bias=True,
        output_bias=True,
        mlp_bias=True,
        tied_embeddings=config.get("tie_word_embeddings", True),
        residual_dropout=True,
    )


def _write_gpt2(config: ModelConfig) -> dict[str, Any]:
    return {
        "vocab_size": config.vocab_size,
        "n_embd": config.hidden_size,
        "n_layer": config.n_layers,
        "n_head": config.n_heads,
        "n_inner": config.mlp_size,
        "n_positions": config.max_positions,
        "layer_norm_epsilon": config.norm_eps,
        "activation_function": _hf_activation(config.activation),
        "tie_word_embeddings": config.tied_embeddings,
    }


def _read_bert(config: Mapping[str, Any]) -> ModelConfig:
    _refuse(config, position_embedding_type="absolute", is_decoder=False, add_cross_attention=False)
    return ModelConfig(
        **_sizes(config),
        norm="layer",
        norm_eps=config["layer_norm_eps"],
        gated=False,
        qkv_bias=True,
        output_bias=True,
        mlp_bias=True,
        residual_dropout=True,
        token_types=config["type_vocab_size"],
        final_norm=False,
    )


def _write_bert(config: ModelConfig) -> dict[str, Any]:
    return {**_hf_sizes(config), "layer_norm_eps": config.norm_eps, "type_vocab_size": config.token_types}


_READERS: dict[str, Callable[[Mapping[str, Any]], ModelConfig]] = {
    "bert": _read_bert,
    "gemma2": _read_gemma,
    "gemma3": _read_gemma3,
    "gemma3_text": _read_gemma,
    "gpt2": _read_gpt2,
    "gpt_neox": _read_gpt_neox,
    "llama": _read_llama,
    "mistral": _read_llama,
    "qwen2": _read_llama,
    "qwen3": _read_llama,
}
_WRITERS: dict[str, Callable[[ModelConfig], dict[str, Any]]] = {
    "bert": _write_bert,
    "gemma2": _write_gemma,
    "gemma3_text": _write_gemma,
    "gpt2": _write_gpt2,
    "gpt_neox": _write_gpt_neox,
    "llama": _write_llama,
    "mistral": _write_llama,
    "qwen2": _write_llama,
    "qwen3": _write_llama,
}
_GGUF_FAMILIES = {"llama": "llama", "gemma2": "gemma2", "gemma3": "gemma3_text"}


def _hf_from_gguf(metadata: Mapping[str, Any], architecture: str) -> dict[str, Any]:
    """GGUF's metadata in Hugging Face's words."""

    def get(key: str, default: Any = None) -> Any:
        return metadata.get(f"{architecture}.{key}", default)

    scaling = get("rope.scaling.type", "none")
    if scaling not in ("none", "linear"):
        raise UserError(f"rope scaling {scaling!r} is not implemented for GGUF files")
    heads, width = get("attention.head_count"), get("embedding_length")
    head_dim = get("attention.key_length", width // heads)
    config = {
        "model_type": _GGUF_FAMILIES[architecture],
        "vocab_size": get("vocab_size") or len(metadata["tokenizer.ggml.tokens"]),
        "hidden_size": width,
        "num_hidden_layers": get("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": get("attention.head_count_kv", heads),
        "head_dim": head_dim,
        "intermediate_size": get("feed_forward_length"),
        "max_position_embeddings": get("context_length"),
        "rms_norm_eps": float(f"{get('attention.layer_norm_rms_epsilon'):.6g}"),
        "rope_theta": get("rope.freq_base"),
        "partial_rotary_factor": get("rope.dimension_count", head_dim) / head_dim,
        "rope_scaling": {"type": "linear", "factor": get("rope.scaling.factor")} if scaling == "linear" else None,
        "hidden_act": "silu",
    }
    if architecture.startswith("gemma"):
        largest = get("block_count") in (46, 62)  # the 27B models alone scale by width, which the file does not state
        config |= {
            "hidden_act": "gelu_pytorch_tanh",
            "query_pre_attn_scalar": width // heads if largest else head_dim,
            "sliding_window": get("attention.sliding_window"),
            "attn_logit_softcapping": get("attn_logit_softcapping"),
            "final_logit_softcapping": get("final_logit_softcapping"),
        }
    return config
