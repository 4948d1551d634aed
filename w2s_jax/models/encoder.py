"""BERT (Devlin et al. 2018, arXiv 1810.04805) and models of its form, such as MiniLM: every token sees every other."""

import dataclasses

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int

from w2s_jax.models.config import ModelConfig
from w2s_jax.models.layers import Attention, Embedding, FeedForward, Norm, Settings, constrain, residual_dropout
from w2s_jax.models.packing import Layout, Packing, layout, pack, spread
from w2s_jax.models.pooling import Pooling, pool
from w2s_jax.models.stack import run_layers


class EncoderBlock(nn.Module):
    """One layer: `norm(x + attention(x))`, then `norm(x + feed_forward(x))`."""

    config: ModelConfig
    settings: Settings
    emit: Pooling | None = None

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "g n d"],
        mask: Bool[Array, "b t t"],
        lengths: Int[Array, " b"],
        layout: Layout | None,
    ) -> tuple[Float[Array, "g n d"], Float[Array, "b d"] | None]:
        config, settings = self.config, self.settings

        def add(name: str, value: Array, update: Array) -> Array:
            update = residual_dropout(update, config, settings)
            return Norm(config.norm, config.norm_eps, settings.dtype, name=name)(value + update)

        attend = Attention(config, settings, name="attention")
        x = add("attention_norm", x, attend(x, mask, None, lengths, layout=layout)[0])
        x = constrain(add("mlp_norm", x, FeedForward(config, settings, name="mlp")(x)))
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
        """Returns the last hidden state and, with `emit`, the pooled hidden state after each layer.

        With `packing`, which goes without `emit`, padding is computed in attention only.
        """
        config, length = self.config, tokens.shape[1]
        settings = dataclasses.replace(self.settings, deterministic=deterministic)
        tokens, lengths, positions = jnp.asarray(tokens), jnp.asarray(lengths), jnp.arange(length)
        packed = None if packing is None else layout(lengths, length, packing)
        if packed is not None:
            tokens, positions = pack(tokens, packed), packed.positions

        def table(name: str, size: int, axis: str | None) -> Embedding:
            return Embedding(size, config.hidden_size, settings.dtype, axis, name=name)

        x = table("embed", config.vocab_size, "vocab")(tokens)
        x = x + table("positions", config.max_positions, None)(positions)
        x = x + table("token_types", config.token_types, None)(jnp.zeros((), jnp.int32))
        x = Norm(config.norm, config.norm_eps, settings.dtype, name="embed_norm")(x)
        x = constrain(residual_dropout(x, config, settings))
        mask = padding_mask(lengths, length)
        fields = {"config": config, "settings": settings, "emit": emit}
        x, emitted = run_layers(EncoderBlock, fields, config.n_layers, self.scan, self.remat, x, mask, lengths, packed)
        return x if packed is None else spread(x, packed), emitted


def padding_mask(lengths: Int[Array, " b"], length: int) -> Bool[Array, "b t t"]:
    """True where the column is a real token."""
    real = jnp.arange(length)[None, :] < lengths[:, None]
    return jnp.broadcast_to(real[:, None, :], (len(lengths), length, length))
