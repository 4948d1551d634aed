"""Every causal language model: GPT-2, OPT, GPT-NeoX, Llama, Mistral, Qwen, Gemma, Phi-3, OLMo are one decoder with
different configs."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int

from w2s_jax.models.cache import Past, first_read, joined, positions_after
from w2s_jax.models.config import ModelConfig, Rope
from w2s_jax.models.experts import MixtureOfExperts
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

Emit = Pooling | Literal["cache"]


class DecoderBlock(nn.Module):
    """One layer: `x + attention(norm(x))`, then `x + feed_forward(norm(x))`, or both at once.

    With `post_norms` what is added is normalized too; without `pre_norms` what is read is not.
    """

    config: ModelConfig
    settings: Settings
    emit: Emit | None = None

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "g n d"],
        mask: Bool[Array, "*kinds #b t s"],
        rotary: Float[Array, "... t r"] | None,
        lengths: Int[Array, " b"],
        layout: Layout | None,
        past: Sequence[tuple[Array, Array]] = (),
        kind: Int[Array, ""] | None = None,
    ) -> tuple[Float[Array, "g n d"], Any]:
        config, settings = self.config, self.settings
        if kind is not None:
            mask, rotary = mask[kind], None if rotary is None else rotary[kind]

        def norm(name: str, value: Array) -> Array:
            return Norm(config.norm, config.norm_eps, settings.dtype, name=name)(value)

        def read(name: str, value: Array) -> Array:
            return norm(name, value) if config.pre_norms else value

        attend = Attention(config, settings, name="attention")
        attended, kept = attend(read("attention_norm", x), mask, rotary, lengths, kind, layout, past)
        if config.post_norms:
            attended = norm("attention_post_norm", attended)
        attended = residual_dropout(attended, config, settings)
        middle = x + attended
        feed_forward = FeedForward if config.experts is None else MixtureOfExperts
        fed = feed_forward(config, settings, name="mlp")(read("mlp_norm", x if config.parallel_residual else middle))
        if config.post_norms:
            fed = norm("mlp_post_norm", fed)
        x = constrain(middle + residual_dropout(fed, config, settings))
        if self.emit == "cache":
            return x, kept
        return x, None if self.emit is None else pool(x, lengths, self.emit)


class Decoder(nn.Module):
    """Hidden states of a causal language model.

    Rows are padded on the right, and no token sees a later one, so what pads a row cannot reach its real tokens.
    """

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
        emit: Emit | None = None,
        packing: Packing | None = None,
        past: Past = (),
    ) -> tuple[Float[Array, "b t d"], Any]:
        """Returns the last hidden state and, with `emit`, of each layer the pooled hidden state after it, before any
        norm, or (`cache`) its keys and values.

        With `packing`, which goes without `emit` and `past`, padding is computed in attention only. With a `past`,
        tokens follow those that it has read.
        """
        config, length = self.config, tokens.shape[1]
        settings = dataclasses.replace(self.settings, deterministic=deterministic)
        tokens, lengths, places = jnp.asarray(tokens), jnp.asarray(lengths), jnp.arange(length)
        packed = None if packing is None else layout(lengths, length, packing)
        positions = places
        if packed is not None:
            tokens, positions = pack(tokens, packed), packed.positions
        if past:
            positions = places = positions_after(past, lengths, length)
        x = Embedding(config.vocab_size, config.hidden_size, settings, name="embed")(tokens)
        if config.embedding_scale != 1.0:
            x = x * config.embedding_scale
        if config.rope is None:
            size, rows = config.max_positions + config.first_position, jnp.maximum(positions, 0)
            table = Embedding(size, config.hidden_size, settings, None, name="positions")
            x = x + table(rows + config.first_position if config.first_position else rows)
        x = constrain(residual_dropout(x, config, settings) if config.embedding_dropout else x)
        fields = {"config": config, "settings": settings, "emit": emit}
        keys = joined([cache.positions for cache in past], places if past else places[None])
        mask, rotary, kinds = attention_inputs(config, places, keys, first_read(past, lengths))
        own = (tuple((cache.keys, cache.values) for cache in past), kinds)
        x, emitted = run_layers(
            DecoderBlock, fields, config.n_layers, self.scan, self.remat, x, mask, rotary, lengths, packed, own=own
        )
        if config.final_norm:
            x = Norm(config.norm, config.norm_eps, settings.dtype, name="final_norm")(x)
        return x if packed is None else spread(x, packed), emitted


def attention_inputs(
    config: ModelConfig, places: Int[Array, "*rows t"], keys: Int[Array, "b s"], lengths: Int[Array, " n"]
) -> tuple[Bool[Array, "*kinds b t s"], Float[Array, "... t r"] | None, Int[Array, " l"] | None]:
    """Mask and rotary table of tokens at `places` that may see those at `keys`, and, where layers differ in them, one
    more axis and for each layer its index along that: 0 sees everything before it, 1 has the window; or 0 is rotated, 1
    is not.

    Args:
      lengths: of the texts; they decide where rotary positions depend on it.
    """
    queries, ropes = places.reshape(-1, places.shape[-1]), [config.rope, config.window_rope]
    mask = causal_mask(queries, keys, config.sliding_window)

    def table(rope: Rope) -> Array:
        # Where no text can be so long there is one table for all rows.
        short = not rope.switches or keys.shape[1] <= rope.original_max_positions
        return rotary_table(rope, config.head_dim, places, None if short else lengths > rope.original_max_positions)

    tables = [table(rope) for rope in ropes if rope is not None]
    if config.rotated is not None:  # elsewhere by no angle, so that all layers are one program
        tables += [jnp.stack([jnp.ones_like(cosines), jnp.zeros_like(sines)]) for cosines, sines in tables]
        return jnp.stack([mask, mask]), jnp.stack(tables), 1 - jnp.asarray(config.rotated, jnp.int32)
    if config.windowed is None:
        return mask, tables[0] if tables else None, None
    kinds = jnp.asarray(config.windowed, jnp.int32)
    return jnp.stack([causal_mask(queries, keys, None), mask]), jnp.stack(jnp.broadcast_arrays(*tables)), kinds


def causal_mask(queries: Int[Array, "b t"], keys: Int[Array, "b s"], window: int | None) -> Bool[Array, "b t s"]:
    """True where a token (row) sees another (column): itself and earlier ones, at most `window` of them.

    Args:
      queries, keys: their positions; a key at -1 is none.
    """
    back = queries[:, :, None] - keys[:, None, :]
    sees = (back >= 0) & (keys >= 0)[:, None, :]
    return sees if window is None else sees & (back < window)
