"""`softmax(scale Q K^T) V`, by whichever implementation suits what the program is compiled for.

All of them give the same numbers but for rounding: `xla` writes every score to memory; `cudnn` (NVIDIA GPUs) and
`splash` (TPUs) are flash attention (Dao et al. 2022, arXiv 2205.14135), which holds a block of scores at a time.
"""

import functools
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
from einops import rearrange, repeat
from flax import linen as nn
from jax.sharding import PartitionSpec
from jaxtyping import Array, Bool, Float, Int

from w2s_jax.models.stack import from_inputs
from w2s_jax.models.target import Target, pretended_flash, target
from w2s_jax.runtime import sharding

Implementation = Literal["xla", "cudnn", "splash"]
# Tokens from which on each is chosen; no speed was measured. Compiled for four TPU v5e, a step of Llama 3.2 1B on
# 16,384 tokens needs 1.1 times the temporary memory with `xla` that it needs with `splash` at 256 tokens a row, 1.3 at
# 512, 1.6 at 1024, 3.6 at 4096. cuDNN's blocks are of 128.
SHORTEST = {"splash": 1024, "cudnn": 128}
SPLASH_BLOCKS = (512, 256, 128)  # 128 is the width of a TPU's vector registers
LONG, BLOCKS = 128, 4  # tokens from which a CPU takes causal queries in blocks, and how many of these
_AXES = ("batch", "length", "heads", "head_dim")


@dataclass(frozen=True)
class Form:
    """Which scores there are.

    Attributes:
      scale: of a query's product with a key.
      causal: a query sees itself and what is before it; otherwise every real token.
      window: how many tokens back, itself included, a query sees, and one that is not causal as many ahead; None is
        all.
      softcap: c in `c tanh(score / c)`; None is none.
    """

    scale: float
    causal: bool = True
    window: int | None = None
    softcap: float | None = None

    @property
    def sees(self) -> str:
        """What a query sees, as a name: `all` or `causal`, and `all_W` or `causal_W` with a window of W tokens."""
        return ("causal" if self.causal else "all") + ("" if self.window is None else f"_{self.window}")


def choose(
    target: Target,
    dtype: Any,
    head_dim: int,
    length: int,
    *,
    softcap: bool = False,
    dropout: bool = False,
    bias: bool = False,
    ahead: bool = False,
) -> Implementation:
    """The fastest implementation that can do it, `xla` where no other can.

    Both others need 16-bit inputs, scores of queries and keys alone, weights without dropout, and `SHORTEST` tokens or
    more to be worth it. cuDNN's also needs an Ampere GPU, head dimensions that are multiples of 8 up to 128 (256 from
    Hopper on), no softcap, and windows that end at the query.

    Args:
      dtype: of queries, keys and values.
      softcap, dropout: whether scores are capped, and whether weights are dropped.
      bias: whether something is added to the scores.
      ahead: whether there is a window that goes on after the query.
    """
    if dropout or bias:
        return "xla"
    if target.platform == "tpu" and dtype == jnp.bfloat16 and length >= SHORTEST["splash"]:
        return "splash"
    widest = 256 if target.capability >= 9 else 128
    fits = target.capability >= 8 and head_dim % 8 == 0 and head_dim <= widest and not (softcap or ahead)
    worth = length >= SHORTEST["cudnn"] and dtype in (jnp.bfloat16, jnp.float16)
    return "cudnn" if target.platform == "cuda" and fits and worth else "xla"


def mix(
    query: Float[Array, "b t h k"],
    key: Float[Array, "b t g k"],
    value: Float[Array, "b t g k"],
    mask: Bool[Array, "#b t t"],
    lengths: Int[Array, " b"],
    form: Form,
    windowed: Int[Array, ""] | None = None,
    dropout: Callable[[Array], Array] | None = None,
    bias: Float[Array, "b h t t"] | None = None,
) -> Float[Array, "b t h k"]:
    """Each query's weighted mean of the values; query head i reads key head `i // (h / g)`.

    Args:
      mask: True where a query (row) sees a key (column), as `form` says.
      lengths: how many tokens of each row are real; the others are on the right.
      windowed: 0 where `form.window` does not hold, for layers that differ in it; None is that it holds.
      dropout: of the weights, if any.
      bias: what is added to the scores, if anything.
    """
    length, head_dim = query.shape[1], query.shape[-1]
    chosen = choose(
        target(),
        query.dtype,
        head_dim,
        length,
        softcap=form.softcap is not None,
        dropout=dropout is not None,
        bias=bias is not None,
        ahead=not form.causal and form.window is not None and form.window < length,
    )
    _log(chosen, str(query.dtype), head_dim)
    if chosen == "xla":
        return xla(query, key, value, mask, form, dropout, bias)
    flash = pretended_flash() or (cudnn if chosen == "cudnn" else splash)
    return with_windows(flash, query, key, value, lengths, form, windowed)


def with_windows(
    flash: Callable[..., Array],
    query: Float[Array, "b t h k"],
    key: Float[Array, "b t g k"],
    value: Float[Array, "b t g k"],
    lengths: Int[Array, " b"],
    form: Form,
    windowed: Int[Array, ""] | None,
) -> Float[Array, "b t h k"]:
    """Flash attention on the mesh that is set, with a window where the layer has one and the text is longer."""
    arrays = query, key, value, jnp.maximum(lengths, 1)  # a row without tokens would have no weights at all
    narrow, whole = (
        functools.partial(on_mesh, functools.partial(flash, form=each)) for each in (form, replace(form, window=None))
    )
    if form.window is None or form.window >= query.shape[1]:
        return whole(*arrays)
    return narrow(*arrays) if windowed is None else jax.lax.cond(windowed == 1, narrow, whole, *arrays)


def on_mesh(flash: Callable[..., Array], query: Array, key: Array, value: Array, lengths: Array) -> Array:
    """Runs a kernel, which the compiler cannot cut, on each device's own rows and heads.

    Where there are fewer key heads than devices to cut heads over, each device gets a copy of the one that it needs.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return flash(query, key, value, lengths)
    names = nn.logical_to_mesh_axes(_AXES) or (None,) * len(_AXES)
    sizes = [sharding.ways(name, mesh.shape) for name in names]
    batch, _, heads, _ = (
        name if size % ways == 0 else None for name, size, ways in zip(names, query.shape, sizes, strict=True)
    )
    groups = key.shape[2]
    copies = math.lcm(groups, sharding.ways(heads, mesh.shape)) // groups
    key, value = jnp.repeat(key, copies, axis=2), jnp.repeat(value, copies, axis=2)
    rows = PartitionSpec(batch, None, heads, None)
    specs = (rows, rows, rows, PartitionSpec(batch))
    return jax.shard_map(flash, mesh=mesh, in_specs=specs, out_specs=rows, check_vma=False)(query, key, value, lengths)


def xla(
    query: Float[Array, "b t h k"],
    key: Float[Array, "b s g k"],
    value: Float[Array, "b s g k"],
    mask: Bool[Array, "#b t s"],
    form: Form,
    dropout: Callable[[Array], Array] | None = None,
    bias: Float[Array, "b h t s"] | None = None,
) -> Float[Array, "b t h k"]:
    """Heads that share a key are one longer query, so that each product is one larger matrix.

    On a CPU the backward pass computes scores and weights again, as flash attention does, unless some were dropped; and
    causal queries of long rows do not meet the keys after them.
    """
    if dropout is not None:
        return _xla(query, key, value, mask, bias, form, dropout)
    length = query.shape[1]
    in_blocks = form.causal and bias is None and length == key.shape[1] >= LONG and target().platform == "cpu"
    if in_blocks:
        return from_inputs(functools.partial(_causal_blocks, form=form))(query, key, value, mask)
    return from_inputs(functools.partial(_xla, form=form, dropout=None))(query, key, value, mask, bias)


def _causal_blocks(query: Array, key: Array, value: Array, mask: Array, form: Form) -> Array:
    """The queries in blocks, each with the keys up to its last query alone: 5/8 of the scores, and less memory."""
    length = query.shape[1]
    size = -(-length // BLOCKS)
    mixed = [
        _xla(query[:, start:end], key[:, :end], value[:, :end], mask[:, start:end, :end], None, form, None)
        for start in range(0, length, size)
        for end in [min(start + size, length)]
    ]
    return jnp.concatenate(mixed, axis=1)


def _xla(
    query: Array,
    key: Array,
    value: Array,
    mask: Array,
    bias: Array | None,
    form: Form,
    dropout: Callable[[Array], Array] | None,
) -> Array:
    groups, length = key.shape[2], query.shape[1]
    query = rearrange(query * form.scale, "b t (g r) k -> b g (r t) k", g=groups)
    key, value = rearrange(key, "b s g k -> b g s k"), rearrange(value, "b s g k -> b g s k")
    scores = jnp.einsum("bgtk,bgsk->bgts", query, key, preferred_element_type=jnp.float32)
    if bias is not None:
        scores = scores + rearrange(bias, "b (g r) t s -> b g (r t) s", g=groups)
    if form.softcap is not None:
        scores = softcap(scores, form.softcap)
    mask = repeat(mask, "b t s -> b 1 (r t) s", r=query.shape[2] // length)
    weights = jax.nn.softmax(jnp.where(mask, scores, jnp.finfo(jnp.float32).min), axis=-1).astype(value.dtype)
    weights = weights if dropout is None else dropout(weights)
    mixed = jnp.einsum("bgts,bgsk->bgtk", weights, value, preferred_element_type=jnp.float32).astype(value.dtype)
    return rearrange(mixed, "b g (r t) k -> b t (g r) k", t=length)


def cudnn(
    query: Float[Array, "b t h k"],
    key: Float[Array, "b t g k"],
    value: Float[Array, "b t g k"],
    lengths: Int[Array, " b"],
    form: Form,
    *,
    implementation: Literal["cudnn", "xla"] = "cudnn",
) -> Float[Array, "b t h k"]:
    """NVIDIA's flash attention. A causal query is before all padding, so only the others need `lengths`.

    Args:
      implementation: `xla` is JAX's own of the same arguments, for any device.
    """
    return jax.nn.dot_product_attention(
        query,
        key,
        value,
        scale=form.scale,
        is_causal=form.causal,
        key_value_seq_lengths=None if form.causal else lengths.astype(jnp.int32),
        local_window_size=None if form.window is None else (form.window - 1, 0 if form.causal else form.window - 1),
        implementation=implementation,
    )


def splash(
    query: Float[Array, "b t h k"],
    key: Float[Array, "b t g k"],
    value: Float[Array, "b t g k"],
    lengths: Int[Array, " b"],
    form: Form,
    *,
    interpret: bool = False,
) -> Float[Array, "b t h k"]:
    """JAX's flash attention for TPUs. Blocks that the mask leaves empty are not computed.

    Args:
      interpret: runs it step by step, on any device.
    """
    from jax.experimental.pallas.ops.tpu import splash_attention as kernels

    length, heads = query.shape[1:3]
    spare = -length % min(SPLASH_BLOCKS)
    size = length + spare
    blocks: Any = (next(block for block in SPLASH_BLOCKS if size % block == 0),) * 8  # in all three passes
    if form.causal or form.window is not None:
        back = None if form.window is None else form.window - 1
        mask: Any = kernels.LocalMask((size, size), (back, 0 if form.causal else back), 0)
    else:
        mask = kernels.FullMask((size, size))
    kernel = kernels.make_splash_mha(
        kernels.MultiHeadMask([mask] * heads),
        block_sizes=kernels.BlockSizes(*blocks),
        attn_logits_soft_cap=form.softcap,
        head_shards=1,
        q_seq_shards=1,
        interpret=interpret,
    )

    def row(query: Array, key: Array, value: Array, real: Array) -> Array:
        # A causal query is before all padding. Any other sees the keys of its own segment: those that are real.
        segments = None if form.causal else kernels.SegmentIds(jnp.ones_like(real), real)
        return kernel(query, key, value, segments)

    def by_head(x: Array) -> Array:
        return jnp.pad(rearrange(x, "b t h k -> b h t k"), ((0, 0), (0, 0), (0, spare), (0, 0)))

    real = (jnp.arange(size) < lengths[:, None]).astype(jnp.int32)
    with jax.named_scope(f"sees_{form.sees}"):  # for whoever counts the blocks of a compiled program (`plan.kernels`)
        mixed = jax.vmap(row)(by_head(query * form.scale), by_head(key), by_head(value), real)
    return rearrange(mixed[:, :, :length], "b h t k -> b t h k")


def softcap(x: Float[Array, "*s"], cap: float) -> Float[Array, "*s"]:
    """`cap tanh(x / cap)`, within (-cap, cap) (Gemma 2, arXiv 2408.00118, section 2)."""
    return cap * jnp.tanh(x / cap)


@functools.lru_cache
def _log(chosen: str, dtype: str, head_dim: int) -> None:
    """Once for each kind."""
    logging.getLogger("w2s_jax").info("attention with heads of %d, %s: %s", head_dim, dtype, chosen)
