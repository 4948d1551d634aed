"""A pretrained model's shape as frozen data. `families` reads it from Hugging Face's and GGUF's descriptions."""

import dataclasses
from dataclasses import dataclass
from typing import Literal

from w2s_jax.models.pooling import Pooling
from w2s_jax.runtime.errors import UserError

NormKind = Literal["rms", "layer", "unbiased"]


@dataclass(frozen=True)
class Rope:
    """Rotary position embedding (Su et al. 2021, arXiv 2104.09864), half-split as in GPT-NeoX and Llama.

    Attributes:
      theta: the base of the frequencies `theta ** (-2 i / d)`.
      fraction: the part of each head's dimensions that is rotated, in (0, 1].
      scaling: how the frequencies are stretched beyond the length first trained on, `original_max_positions`: `none`,
        `linear` (all divided by `factor`), `llama3` (only the low ones; the four numbers are those of Llama 3.1's
        config), `yarn` (Peng et al. 2023, arXiv 2309.00071: only those that turn less than `beta_fast` times in that
        length, the more the closer to `beta_slow`) or `longrope` (Ding et al. 2024, arXiv 2402.13753: each divided by
        its own factor, of which there are two lists: one for texts within that length and one for longer ones).
      truncate: where yarn's ramp begins and ends is rounded to whole frequencies.
      attention_factor: queries and keys are multiplied by it where they are rotated (yarn and longrope).
    """

    theta: float = 10000.0
    fraction: float = 1.0
    scaling: Literal["none", "linear", "llama3", "yarn", "longrope"] = "none"
    factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_max_positions: int = 8192
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    truncate: bool = True
    attention_factor: float = 1.0
    short_factors: tuple[float, ...] = ()
    long_factors: tuple[float, ...] = ()

    @property
    def switches(self) -> bool:
        """Texts longer than `original_max_positions` have other frequencies than shorter ones."""
        return self.short_factors != self.long_factors


@dataclass(frozen=True)
class Relative:
    """How far one token is from another, in buckets, each with a learned vector (DeBERTa, arXiv 2006.03654).

    Attributes:
      buckets: on each side; the nearer half of them are of one distance each, the others are ever wider.
      furthest: the distance at which the last begins.
    """

    buckets: int
    furthest: int


@dataclass(frozen=True)
class Experts:
    """Feed-forward layers of which a router gives each token a few (Shazeer et al. 2017, arXiv 1701.06538).

    Attributes:
      count: in each layer.
      per_token: how many a token goes through.
      renormalized: the router's weights of those are divided by their sum.
    """

    count: int
    per_token: int
    renormalized: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.per_token <= self.count:
            raise UserError(f"a token goes through 1 to {self.count} of {self.count} experts, not {self.per_token}")


@dataclass(frozen=True)
class ModelConfig:
    """One transformer. Families differ by these fields alone.

    Attributes:
      family: Hugging Face's `model_type`: by whose rules checkpoints are read and written. What is computed does not
        depend on it.
      mlp_size: width of the feed-forward layer, or of each expert.
      max_positions: the longest text, in tokens.
      norm: `rms` (Zhang & Sennrich 2019), `layer` (Ba et al. 2016) or `unbiased`, a layer norm without its bias.
      gated: the feed-forward layer is `down(activation(gate(x)) * up(x))` (Shazeer 2020) instead of
        `down(activation(up(x)))`.
      qkv_bias, output_bias, mlp_bias: whether those linear maps have one.
      qk_norm: RMS norm of each query and key head.
      joint_qk_norm: that norm is over all heads of the queries together, and over all of the keys.
      experts: of each feed-forward layer, gated and without biases; None is one layer that every token goes through.
      parallel_residual: attention and feed-forward layer read the same input.
      pre_norms: attention and feed-forward layer of a decoder read a normalized state.
      post_norms: attention and feed-forward layer are normalized again before they are added to the residual stream.
      embedding_scale: what embeddings are multiplied by.
      query_pre_attn_scalar: attention scores are divided by its square root; None is `head_dim`.
      attention_softcap, logits_softcap: c in `c tanh(x / c)` of attention scores and of the language-model head's
        logits; None is none.
      rope: rotary positions.
      rotated: for each layer, whether its positions are rotated, where only some are; it goes without windows.
      relative: distances that an encoder's scores depend on. Without this and `rope`, positions are a learned table.
      padding_id: an encoder's positions count a text's tokens other than this one, all of which lie at the position of
        the same number; the first lies at the next, as in RoBERTa. None is that the first lies at 0.
      first_position: the row of a decoder's first token in the learned table, which has so many rows more.
      sliding_window: how many tokens back, itself included, a token sees, and in an encoder as many ahead; None is all.
      windowed: for each layer, whether it has the window, where only some do.
      window_rope: rotary positions of those layers, where only some have the window.
      tied_embeddings: the language-model head is the embedding table.
      residual_dropout: the family drops embeddings and residual branches too, not only attention weights.
      embedding_dropout: whether embeddings are among these.
      token_types: size of BERT's segment table; 0 is none.
      final_norm: whether the last hidden state of pre-norm blocks is normalized; False after `cut`.
      causal: a token sees itself and those before it, in blocks that leave the residual stream raw; otherwise every
        token sees every other.
      norm_first: an encoder's blocks are pre-norm too; otherwise they are the post-norm blocks of BERT.
      first_norm: whether attention reads a normalized state in the first of an encoder's pre-norm blocks.
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
    norm: NormKind = "rms"
    norm_eps: float = 1e-5
    activation: str = "silu"
    gated: bool = True
    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    experts: Experts | None = None
    qk_norm: bool = False
    joint_qk_norm: bool = False
    parallel_residual: bool = False
    pre_norms: bool = True
    post_norms: bool = False
    embedding_scale: float = 1.0
    query_pre_attn_scalar: int | None = None
    attention_softcap: float | None = None
    logits_softcap: float | None = None
    rope: Rope | None = None
    rotated: tuple[bool, ...] | None = None
    relative: Relative | None = None
    padding_id: int | None = None
    first_position: int = 0
    sliding_window: int | None = None
    windowed: tuple[bool, ...] | None = None
    window_rope: Rope | None = None
    tied_embeddings: bool = True
    residual_dropout: bool = False
    embedding_dropout: bool = True
    token_types: int = 0
    final_norm: bool = True
    causal: bool = True
    pooling: Pooling | None = None
    norm_first: bool = False
    first_norm: bool = True

    @property
    def is_encoder(self) -> bool:
        """Every token sees every other, as in BERT."""
        return not self.causal

    @property
    def switch_length(self) -> int | None:
        """Texts of more tokens have other rotary frequencies, so that what they begin with cannot be read without
        knowing how long they are; None: there is no such length."""
        ropes = [rope for rope in (self.rope, self.window_rope) if rope is not None and rope.switches]
        return min((rope.original_max_positions for rope in ropes), default=None)

    @property
    def default_pooling(self) -> Pooling:
        """The hidden state that a head reads where nothing says otherwise: the last real token's, of an encoder the
        mean."""
        return "mean" if self.is_encoder else "last"

    @property
    def is_pre_norm(self) -> bool:
        """Blocks normalize what attention and feed-forward layer read or give, and leave the residual stream raw."""
        return self.causal or self.norm_first

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
        windowed, rotated = (each and each[:read_layer] for each in (self.windowed, self.rotated))
        return dataclasses.replace(self, n_layers=read_layer, windowed=windowed, rotated=rotated, final_norm=False)
