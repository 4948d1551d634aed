"""Every bidirectional encoder: BERT, RoBERTa, DistilBERT, DeBERTa, ModernBERT are one module with different configs."""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int

from w2s_jax.models.config import ModelConfig
from w2s_jax.models.disentangled import distance_rows
from w2s_jax.models.layers import (
    Attention,
    Embedding,
    FeedForward,
    Norm,
    Settings,
    constrain,
    residual_dropout,
    rotary_table,
)
from w2s_jax.models.packing import Layout, Packing, layout, pack, spread
from w2s_jax.models.pooling import Pooling, pool
from w2s_jax.models.stack import run_layers


class EncoderBlock(nn.Module):
    """One layer: `norm(x + attention(x))`, then `norm(x + feed_forward(x))`.

    With `norm_first` it is `x + attention(norm(x))`, then `x + feed_forward(norm(x))`.
    """

    config: ModelConfig
    settings: Settings
    emit: Pooling | None = None

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "g n d"],
        mask: Bool[Array, "*kinds b t t"],
        rotary: Float[Array, "... t r"] | None,
        relative: Float[Array, "r d"] | None,
        lengths: Int[Array, " b"],
        layout: Layout | None,
        kind: Int[Array, ""] | None = None,
        raw: Bool[Array, ""] | None = None,
    ) -> tuple[Float[Array, "g n d"], Float[Array, "b d"] | None]:
        """`kind` is the layer's mask and rotary table, where layers differ in them; `raw`: attention reads x itself."""
        config, settings = self.config, self.settings
        if kind is not None:
            mask, rotary = mask[kind], None if rotary is None else rotary[kind]

        def add(name: str, value: Array, branch: Callable[[Array], Array], raw: Array | None = None) -> Array:
            norm = Norm(config.norm, config.norm_eps, settings.dtype, name=name)
            if not config.norm_first:
                return norm(value + residual_dropout(branch(value), config, settings))
            read = norm(value) if raw is None else jnp.where(raw, value, norm(value))
            return value + residual_dropout(branch(read), config, settings)

        attend = Attention(config, settings, name="attention")
        x = add("attention_norm", x, lambda x: attend(x, mask, rotary, lengths, kind, layout, (), relative)[0], raw)
        x = constrain(add("mlp_norm", x, FeedForward(config, settings, name="mlp")))
        return x, None if self.emit is None else pool(x, lengths, self.emit)


class Encoder(nn.Module):
    """Hidden states of a bidirectional encoder. All tokens are of segment 0."""

    config: ModelConfig
    settings: Settings = Settings()
    scan: bool = True
    remat: str = "none"

    @nn.compact
    def __call__(
        self,
        tokens: Int[Array | np.ndarray, "b t"],
        lengths: Int[Array | np.ndarray, " b"],
        *,
        deterministic: bool = True,
        emit: Pooling | None = None,
        packing: Packing | None = None,
    ) -> tuple[Float[Array, "b t d"], Float[Array, "l b d"] | None]:
        """Returns the last hidden state and, with `emit`, the pooled hidden state after each layer, before any norm.

        With `packing`, which goes without `emit`, padding is computed in attention only.
        """
        config, length = self.config, tokens.shape[1]
        settings = dataclasses.replace(self.settings, deterministic=deterministic)
        tokens, lengths = jnp.asarray(tokens), jnp.asarray(lengths)
        packed = None if packing is None else layout(lengths, length, packing)
        positions = table_rows(config, tokens, packed)
        if packed is not None:
            tokens = pack(tokens, packed)

        def table(name: str, size: int, axis: str | None = None) -> Embedding:
            return Embedding(size, config.hidden_size, settings, axis, name=name)

        def norm(name: str, value: Array) -> Array:
            return Norm(config.norm, config.norm_eps, settings.dtype, name=name)(value)

        x = table("embed", config.vocab_size, "vocab")(tokens)
        if config.rope is None and config.relative is None:
            x = x + table("positions", config.max_positions + first_row(config))(positions)
        if config.token_types:
            x = x + table("token_types", config.token_types)(jnp.zeros((), jnp.int32))
        x = constrain(residual_dropout(norm("embed_norm", x), config, settings))
        relative = None
        if config.relative is not None:
            rows = distance_rows(config.relative, length)
            relative = norm("relative_norm", table("relative", 2 * config.relative.buckets)(rows))
        fields = {"config": config, "settings": settings, "emit": emit}
        mask, rotary, kinds = attention_inputs(config, lengths, length)
        shared = (mask, rotary, relative, lengths, packed)
        own = (kinds, None if config.first_norm else jnp.arange(config.n_layers) == 0)
        x, emitted = run_layers(EncoderBlock, fields, config.n_layers, self.scan, self.remat, x, *shared, own=own)
        if config.final_norm and config.norm_first:
            x = norm("final_norm", x)
        return x if packed is None else spread(x, packed), emitted


def first_row(config: ModelConfig) -> int:
    """The row of a text's first token in the table of positions."""
    return 0 if config.padding_id is None else config.padding_id + 1


def table_rows(config: ModelConfig, tokens: Int[Array, "b t"], packed: Layout | None) -> Int[Array, "..."]:
    """The row of each token in the table of positions: of padded rows, or of packed ones."""
    if config.padding_id is None:
        return jnp.arange(tokens.shape[1]) if packed is None else packed.positions
    counted = tokens != config.padding_id
    rows = config.padding_id + jnp.where(counted, jnp.cumsum(counted, axis=1), 0)
    return rows if packed is None else pack(rows, packed)


def attention_inputs(
    config: ModelConfig, lengths: Int[Array, " b"], length: int
) -> tuple[Bool[Array, "*kinds b t t"], Float[Array, "... t r"] | None, Int[Array, " l"] | None]:
    """Mask and rotary table and, where layers differ in them, one more axis and for each layer its index along that: 0
    sees every real token, 1 those in the window."""
    mask, places = padding_mask(lengths, length), jnp.arange(length)
    ropes = [config.rope, config.window_rope]
    tables = [rotary_table(rope, config.head_dim, places) for rope in ropes if rope is not None]
    near = mask
    if config.sliding_window is not None:
        near = mask & (jnp.abs(places[:, None] - places) < config.sliding_window)
    if config.windowed is None:
        return near, tables[0] if tables else None, None
    rotary = jnp.stack(tables) if tables else None
    return jnp.stack([mask, near]), rotary, jnp.asarray(config.windowed, jnp.int32)


def padding_mask(lengths: Int[Array, " b"], length: int) -> Bool[Array, "b t t"]:
    """True where the column is a real token."""
    real = jnp.arange(length)[None, :] < lengths[:, None]
    return jnp.broadcast_to(real[:, None, :], (len(lengths), length, length))
