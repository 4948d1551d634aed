"""The parts that decoder and encoder share. Parameters are float32; `dtype` is that of the computation."""

import functools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int

from w2s_jax.models import quantized, rotary
from w2s_jax.models.attention import Form, mix, xla
from w2s_jax.models.cache import joined
from w2s_jax.models.config import ModelConfig, Rope
from w2s_jax.models.disentangled import position_scores
from w2s_jax.models.packing import Layout, pack, spread
from w2s_jax.models.products import times
from w2s_jax.models.quantized import Base
from w2s_jax.models.stack import computed_again, from_inputs
from w2s_jax.runtime.errors import UserError

ACTIVATIONS = {
    "silu": jax.nn.silu,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "gelu_tanh": lambda x: jax.nn.gelu(x, approximate=True),
    "relu": jax.nn.relu,
}
INIT = nn.initializers.normal(0.02)


@dataclass(frozen=True)
class Lora:
    """Low-rank adapters (Hu et al. 2021, arXiv 2106.09685): `y = x W + (alpha / rank) (x A) B`, B zero at first.

    Attributes:
      rank: of the update, 1 or more.
      alpha: its scale; None is `rank`, so that the update counts once.
      targets: regex, searched in a layer's path, such as `layers/attention/query`.
    """

    rank: int = 8
    alpha: float | None = None
    targets: str = r"(query|key|value|output|gate|up|down)$"

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise UserError(f"LoRA rank must be 1 or more, not {self.rank}")

    @property
    def scale(self) -> float:
        return (self.rank if self.alpha is None else self.alpha) / self.rank


@dataclass(frozen=True)
class Settings:
    """How a model is computed; none of it changes its parameters' meaning.

    Attributes:
      dtype: of matrix products and activations; norms, softmax and logits stay float32.
      dropout: rate, where the family has dropout.
      deterministic: no dropout.
      lora: adapters to add, or None.
      base: how the weights under adapters are kept (`models.quantized`).
    """

    dtype: Any = jnp.float32
    dropout: float = 0.0
    deterministic: bool = True
    lora: Lora | None = None
    base: Base = "float32"

    @property
    def drops(self) -> bool:
        return not self.deterministic and self.dropout > 0

    @property
    def kept(self) -> Any:
        """The type of weights that have no codes."""
        return jnp.float32 if self.base == "float32" else jnp.bfloat16


def named(init: Any, *axes: str | None) -> Any:
    """An initialiser whose parameter carries the logical names of its axes."""
    return nn.with_logical_partitioning(init, axes)


class Dense(nn.Module):
    """`y = x W + b` over the last `n_inputs` axes, W of shape [*inputs, *outputs].

    Attributes:
      axes: logical names of W's axes; as many as W has.
    """

    outputs: tuple[int, ...]
    axes: tuple[str, ...]
    settings: Settings
    bias: bool = False
    n_inputs: int = 1

    @nn.compact
    def __call__(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        inputs, names, dtype = x.shape[-self.n_inputs :], self.axes, self.settings.dtype
        flat = x.reshape(*x.shape[: -self.n_inputs], math.prod(inputs)).astype(dtype)
        width = math.prod(self.outputs)
        y = self._product(flat, (*inputs, *self.outputs))
        lora = self.settings.lora
        if lora is not None and re.search(lora.targets, "/".join(self.path)):
            down = self._param("lora_a", _lora_init, (*names[: self.n_inputs], None), (*inputs, lora.rank))
            up = self._param(
                "lora_b", nn.initializers.zeros, (None, *names[self.n_inputs :]), (lora.rank, *self.outputs)
            )
            y = y + lora.scale * times(times(flat, down.reshape(-1, lora.rank)), up.reshape(lora.rank, width))
        y = y.reshape(*flat.shape[:-1], *self.outputs)
        if self.bias:
            y = y + self._param("bias", nn.initializers.zeros, names[self.n_inputs :], self.outputs).astype(dtype)
        return y

    def _product(self, flat: Float[Array, "... i"], shape: tuple[int, ...]) -> Float[Array, "... o"]:
        """Of the inputs with the kernel.

        Where that is kept otherwise than the product reads it, the backward pass reads it again: memory does not hold
        it both ways.
        """
        axis, width = self.n_inputs - 1, flat.shape[-1]
        kept = kept_kernel(self, self.settings, shape, self.axes, axis)

        def product(flat: Array, *kept: Array) -> Array:
            return times(flat, quantized.kernel(kept, axis).reshape(width, -1))

        return (product if kept[0].dtype == self.settings.dtype else computed_again(product))(flat, *kept)

    def _param(
        self,
        name: str,
        init: Any,
        axes: tuple[str | None, ...],
        shape: tuple[int, ...],
        dtype: Any = jnp.float32,
    ) -> Array:
        return self.param(name, named(init, *axes), shape, dtype)


def kept_kernel(
    module: nn.Module, settings: Settings, shape: tuple[int, ...], axes: tuple[str, ...], axis: int
) -> tuple[Array, ...]:
    """A module's kernel as `settings.base` keeps it: itself, or codes and scales, cut along an axis."""
    if settings.base not in quantized.CODES:
        return (module.param("kernel", named(INIT, *axes), shape, settings.kept),)
    for_codes, for_scales = quantized.shapes(settings.base, shape, axis)
    zeros, ones = named(nn.initializers.zeros, *axes), named(nn.initializers.ones, *axes)
    codes = module.param("codes", zeros, for_codes, quantized.CODES[settings.base])
    return codes, module.param("scales", ones, for_scales)


def _lora_init(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    """Uniform within 1 / sqrt(inputs), as PEFT does."""
    bound = 1 / math.sqrt(math.prod(shape[:-1]))
    return jax.random.uniform(key, shape, dtype, -bound, bound)


class Norm(nn.Module):
    """RMS or layer norm over the last axis, in float32; the kinds are those of `ModelConfig.norm`."""

    kind: str
    eps: float
    dtype: Any
    axis: str = "embed"

    @nn.compact
    def __call__(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        shape = x.shape[-1:]
        scale = self.param("scale", named(nn.initializers.ones, self.axis), shape)
        y = from_inputs(self._scaled)(x, jnp.asarray(scale))
        if self.kind == "layer":
            y = y + self.param("bias", named(nn.initializers.zeros, self.axis), shape)
        return y.astype(self.dtype)

    def _scaled(self, x: Float[Array, "..."], scale: Float[Array, " d"]) -> Float[Array, "..."]:
        x = x.astype(jnp.float32)
        if self.kind != "rms":
            x = x - jnp.mean(x, -1, keepdims=True)
        return x * jax.lax.rsqrt(jnp.mean(jnp.square(x), -1, keepdims=True) + self.eps) * scale


class Embedding(nn.Module):
    """A table of vectors."""

    size: int
    width: int
    settings: Settings
    axis: str | None = "vocab"

    def setup(self) -> None:
        shape = self.size, self.width
        self.embedding = self.param("embedding", named(INIT, self.axis, "embed"), shape, self.settings.kept)

    def __call__(self, ids: Array | np.ndarray) -> Float[Array, "... d"]:
        return jnp.asarray(self.embedding)[ids].astype(self.settings.dtype)


class Attention(nn.Module):
    """Multi-head attention; `n_kv_heads` may be fewer, each shared by a group of heads (Ainslie et al. 2023)."""

    config: ModelConfig
    settings: Settings

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "g n d"],
        mask: Bool[Array, "#b t s"],
        rotary: Float[Array, "2 *rows t r"] | None,
        lengths: Int[Array, " b"],
        windowed: Int[Array, ""] | None = None,
        layout: Layout | None = None,
        past: Sequence[tuple[Array, Array]] = (),
        relative: Float[Array, "r d"] | None = None,
    ) -> tuple[Float[Array, "g n d"], tuple[Array, Array]]:
        """Of rows [B, T, D], or, with a layout, of rows that lie packed. For the rest see `attention.mix`.

        Args:
          past: keys and values, rotated, that are before those of `x`; the mask then has their columns first.
          relative: a vector for each distance, which queries and keys meet too (`models.disentangled`).

        Returns:
          What is to be added, and the keys and values of `x`.
        """
        config, settings = self.config, self.settings

        def heads(name: str, count: int, axis: str) -> Dense:
            axes, shape = ("embed", axis, "head_dim"), (count, config.head_dim)
            return Dense(shape, axes, settings, config.qkv_bias, name=name)

        to_query, to_key = heads("query", config.n_heads, "heads"), heads("key", config.n_kv_heads, "kv_heads")
        query, key, value = to_query(x), to_key(x), heads("value", config.n_kv_heads, "kv_heads")(x)
        if config.qk_norm:
            query = self._normalized("query_norm", query, "heads")
            key = self._normalized("key_norm", key, "kv_heads")
        if layout is not None:
            query, key, value = spread(query, layout), spread(key, layout), spread(value, layout)
        if rotary is not None:
            query, key = rotate(query, rotary), rotate(key, rotary)
        form = Form(
            (config.query_pre_attn_scalar or config.head_dim) ** -0.5,
            causal=not config.is_encoder,
            window=config.sliding_window,
            softcap=config.attention_softcap,
        )
        drop = functools.partial(dropout, settings=settings) if settings.drops else None
        bias = None
        if relative is not None:
            relative = residual_dropout(relative, config, settings)
            bias = form.scale * position_scores(query, key, to_query(relative), to_key(relative))
        if past:  # of another length than the queries, and ragged: the mask alone says who sees whom
            keys, values = (joined(old, new) for old, new in zip(zip(*past, strict=True), (key, value), strict=True))
            mixed = xla(query, keys, values, mask, form, drop)
        else:
            mixed = mix(query, key, value, mask, lengths, form, windowed, drop, bias)
        if layout is not None:
            mixed = pack(mixed, layout)
        axes = ("heads", "head_dim", "embed")
        out = Dense((config.hidden_size,), axes, settings, config.output_bias, 2, name="output")(mixed)
        return out, (key, value)

    def _normalized(self, name: str, x: Float[Array, "*n h k"], axis: str) -> Float[Array, "*n h k"]:
        """Each head, or with `joint_qk_norm` all of them as one vector."""
        eps, dtype = self.config.norm_eps, self.settings.dtype
        if self.config.joint_qk_norm:
            flat = x.reshape(*x.shape[:-2], -1)
            return Norm("rms", eps, dtype, axis, name=name)(flat).reshape(x.shape)
        return Norm("rms", eps, dtype, "head_dim", name=name)(x)


class FeedForward(nn.Module):
    """The position-wise layer, gated or not."""

    config: ModelConfig
    settings: Settings

    @nn.compact
    def __call__(self, x: Float[Array, "b t d"]) -> Float[Array, "b t d"]:
        config, activation = self.config, ACTIVATIONS[self.config.activation]

        def dense(name: str, size: int, axes: tuple[str, str]) -> Dense:
            return Dense((size,), axes, self.settings, config.mlp_bias, name=name)

        up = dense("up", config.mlp_size, ("embed", "mlp"))(x)
        if config.gated:
            gate = dense("gate", config.mlp_size, ("embed", "mlp"))(x)
            up = from_inputs(lambda gate, up: activation(gate) * up)(gate, up)
        else:
            up = from_inputs(activation)(up)
        return dense("down", config.hidden_size, ("mlp", "embed"))(up)


def dropout(x: Float[Array, "*s"], settings: Settings) -> Float[Array, "*s"]:
    """Must be called inside a compact module."""
    return nn.Dropout(settings.dropout, deterministic=False)(x) if settings.drops else x


def residual_dropout(x: Float[Array, "*s"], config: ModelConfig, settings: Settings) -> Float[Array, "*s"]:
    """Dropout of embeddings and residual branches, which only some families have."""
    return dropout(x, settings) if config.residual_dropout else x


def rotary_table(
    rope: Rope, head_dim: int, positions: Int[Array, "*rows t"], long: Bool[Array, " b"] | None = None
) -> Float[Array, "2 *table t r"]:
    """Cosines and sines [2, ..., T, R / 2] of positions, float32, R the rotated dimensions of a head.

    Args:
      long: the rows whose texts are longer than `rope.original_max_positions`; None is none. The table has rows then.
    """
    rotated = int(head_dim * rope.fraction)
    if rope.scaling in ("yarn", "longrope"):
        frequencies = jnp.asarray(rotary.frequencies(rope, rotated))
        if long is not None and rope.switches:
            frequencies = jnp.where(long[:, None, None], rotary.frequencies(rope, rotated, long=True), frequencies)
    else:
        frequencies = rope.theta ** -(jnp.arange(0, rotated, 2, dtype=jnp.float32) / rotated)
    if rope.scaling == "linear":
        frequencies = frequencies / rope.factor
    if rope.scaling == "llama3":
        turns = rope.original_max_positions * frequencies / (2 * math.pi)
        span = rope.high_freq_factor - rope.low_freq_factor
        keep = jnp.clip((turns - rope.low_freq_factor) / span, 0.0, 1.0)
        frequencies = frequencies * (keep + (1 - keep) / rope.factor)
    angles = positions.astype(jnp.float32)[..., None] * frequencies
    table = jnp.stack([jnp.cos(angles), jnp.sin(angles)])
    return table if rope.attention_factor == 1.0 else table * rope.attention_factor


def rotate(x: Float[Array, "b t h k"], table: Float[Array, "2 *rows t r"]) -> Float[Array, "b t h k"]:
    """Rotates each pair (i, i + R/2) of a head's first R dimensions, in float32."""
    cos, sin = table[..., None, :]
    half = cos.shape[-1]
    first, second, rest = jnp.split(x.astype(jnp.float32), (half, 2 * half), axis=-1)
    turned = jnp.concatenate([first * cos - second * sin, second * cos + first * sin, rest], axis=-1)
    return turned.astype(x.dtype)


def constrain(x: Float[Array, "b t d"]) -> Float[Array, "b t d"]:
    """Names a hidden state's axes for the mesh; without one it does nothing."""
    return nn.with_logical_constraint(x, ("batch", "length", "embed"))
