"""Every causal language model: GPT-2, GPT-NeoX, Llama, Mistral, Qwen, Gemma are one decoder with different configs."""

import dataclasses

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int

from w2s_jax.models.config import ModelConfig
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


class DecoderBlock(nn.Module):
    """One layer: `x + attention(norm(x))`, then `x + feed_forward(norm(x))`, or both at once.

    With `post_norms` what is added is normalized too.
    """

    config: ModelConfig
    settings: Settings
    emit: Pooling | None = None

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "g n d"],
        mask: Bool[Array, "*kinds 1 t t"],
        rotary: Float[Array, "*kinds 2 t r"] | None,
        lengths: Int[Array, " b"],
        layout: Layout | None,
        kind: Int[Array, ""] | None = None,
    ) -> tuple[Float[Array, "g n d"], Float[Array, "b d"] | None]:
        config, settings = self.config, self.settings
        if kind is not None:
            mask, rotary = mask[kind], None if rotary is None else rotary[kind]

        def norm(name: str, value: Array) -> Array:
            return Norm(config.norm, config.norm_eps, settings.dtype, name=name)(value)

        attend = Attention(config, settings, name="attention")
        attended = attend(norm("attention_norm", x), mask, rotary, lengths, kind, layout)
        if config.post_norms:
            attended = norm("attention_post_norm", attended)
        attended = residual_dropout(attended, config, settings)
        middle = x + attended
        fed = FeedForward(config, settings, name="mlp")(norm("mlp_norm", x if config.parallel_residual else middle))
        if config.post_norms:
            fed = norm("mlp_post_norm", fed)
        x = constrain(middle + residual_dropout(fed, config, settings))
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
        emit: Pooling | None = None,
        packing: Packing | None = None,
    ) -> tuple[Float[Array, "b t d"], Float[Array, "l b d"] | None]:
        """Returns the last hidden state and, with `emit`, the pooled hidden state after each layer, before any norm.

        With `packing`, which goes without `emit`, padding is computed in attention only.
        """
        config, length = self.config, tokens.shape[1]
        settings = dataclasses.replace(self.settings, deterministic=deterministic)
        tokens, lengths, positions = jnp.asarray(tokens), jnp.asarray(lengths), jnp.arange(length)
        packed = None if packing is None else layout(lengths, length, packing)
        if packed is not None:
            tokens, positions = pack(tokens, packed), packed.positions
        x = Embedding(config.vocab_size, config.hidden_size, settings.dtype, name="embed")(tokens)
        if config.embedding_scale != 1.0:
            x = x * config.embedding_scale
        if config.rope is None:
            table = Embedding(config.max_positions, config.hidden_size, settings.dtype, None, name="positions")
            x = x + table(positions)
        x = constrain(residual_dropout(x, config, settings))
        fields = {"config": config, "settings": settings, "emit": emit}
        mask, rotary, own = attention_inputs(config, length)
        x, emitted = run_layers(
            DecoderBlock, fields, config.n_layers, self.scan, self.remat, x, mask, rotary, lengths, packed, own=own
        )
        if config.final_norm:
            x = Norm(config.norm, config.norm_eps, settings.dtype, name="final_norm")(x)
        return x if packed is None else spread(x, packed), emitted


def attention_inputs(
    config: ModelConfig, length: int
) -> tuple[Bool[Array, "*kinds 1 t t"], Float[Array, "*kinds 2 t r"] | None, tuple[Int[Array, " l"], ...]]:
    """Mask and rotary table of `length` positions, and, where layers differ in them, one more axis and for each layer
    its index along that: 0 sees everything before it, 1 has the window."""

    mask, ropes = causal_mask(length, config.sliding_window), [config.rope, config.window_rope]
    tables = [rotary_table(rope, config.head_dim, length) for rope in ropes if rope is not None]
    if config.windowed is None:
        return mask, tables[0] if tables else None, ()
    kinds = jnp.asarray(config.windowed, jnp.int32)
    return jnp.stack([causal_mask(length, None), mask]), jnp.stack(tables), (kinds,)


def causal_mask(length: int, window: int | None) -> Bool[Array, "1 t t"]:
    """True where a token (row) sees another (column): itself and earlier ones, at most `window` of them."""
    back = jnp.arange(length)[:, None] - jnp.arange(length)[None, :]
    sees = back >= 0
    return (sees if window is None else sees & (back < window))[None]
