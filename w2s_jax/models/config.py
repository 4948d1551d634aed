"""A pretrained model's shape as frozen data. `families` reads it from Hugging Face's and GGUF's descriptions."""

import dataclasses
from dataclasses import dataclass
from typing import Literal

from w2s_jax.models.pooling import Pooling
from w2s_jax.runtime.errors import UserError


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
      family: Hugging Face's `model_type`: by whose rules checkpoints are read and written. What is computed does not
        depend on it.
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
      causal: a token sees itself and those before it, in pre-norm blocks; otherwise every token sees every other, in
        the post-norm blocks of BERT.
      pooling: the hidden state that the published model's vectors are, where it says so; None is that of the family.
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
    causal: bool = True
    pooling: Pooling | None = None

    @property
    def is_encoder(self) -> bool:
        """Every token sees every other, as in BERT."""
        return not self.causal

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
