"""Feed-forward layers that are mixtures of experts: a router sends each token through a few of them."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float, Int

from w2s_jax.models import grouped, quantized
from w2s_jax.models.config import Experts, ModelConfig
from w2s_jax.models.layers import ACTIVATIONS, Dense, Settings, kept_kernel
from w2s_jax.models.packing import move
from w2s_jax.models.stack import PRODUCT
from w2s_jax.runtime import sharding

Activation = Callable[[Array], Array]
save_only_these_names = jax.checkpoint_policies.save_only_these_names


class MixtureOfExperts(nn.Module):
    """`sum_j w_j expert_j(x)` over the experts with the largest `w = softmax(x R)`, R being the router's kernel
    (Shazeer et al. 2017, arXiv 1701.06538), each a gated feed-forward layer.

    No token is dropped, so none depends on another (MegaBlocks, Gale et al. 2022, arXiv 2211.15841). The router is
    computed in float32 whatever the dtype (Fedus et al. 2021, arXiv 2101.03961, section 2.4). Adapters (LoRA) go to
    neither router nor experts.
    """

    config: ModelConfig
    settings: Settings

    @nn.compact
    def __call__(self, x: Float[Array, "b t d"]) -> Float[Array, "b t d"]:
        config, settings, experts = self.config, self.settings, self.config.experts
        assert experts is not None
        router = dataclasses.replace(settings, dtype=jnp.float32, lora=None, base="float32")
        logits = Dense((experts.count,), ("embed", "classes"), router, name="router")(x)

        def kernels(name: str, inputs: int, outputs: int, axes: tuple[str, str]) -> tuple[Array, ...]:
            return Kernels((experts.count, inputs, outputs), ("experts", *axes), settings, name=name)()

        def mixed(x: Array, logits: Array, *kept: tuple[Array, ...]) -> Array:
            gate, up, down = (quantized.kernel(each, 1).astype(settings.dtype) for each in kept)
            return mix(x, logits, gate, up, down, experts, ACTIVATIONS[config.activation])

        if settings.base != "float32":  # the backward pass decodes them again
            mixed = jax.checkpoint(mixed, prevent_cse=False, policy=save_only_these_names(PRODUCT))
        gate = kernels("gate", config.hidden_size, config.mlp_size, ("embed", "mlp"))
        up = kernels("up", config.hidden_size, config.mlp_size, ("embed", "mlp"))
        down = kernels("down", config.mlp_size, config.hidden_size, ("mlp", "embed"))
        return mixed(x.astype(settings.dtype), logits, gate, up, down)


class Kernels(nn.Module):
    """A matrix of each expert, [E, inputs, outputs]."""

    shape: tuple[int, int, int]
    axes: tuple[str, str, str]
    settings: Settings

    @nn.compact
    def __call__(self) -> tuple[Array, ...]:
        """As it is kept."""
        return kept_kernel(self, self.settings, self.shape, self.axes, 1)


def mix(
    x: Float[Array, "b t d"],
    logits: Float[Array, "b t e"],
    gate: Float[Array, "e d f"],
    up: Float[Array, "e d f"],
    down: Float[Array, "e f d"],
    experts: Experts,
    activation: Activation,
) -> Float[Array, "b t d"]:
    """Each token's weighted sum of what its experts make of it, on the mesh that is set.

    A device keeps its own experts and never sees the others. Along the mesh's `expert` axis it is the tokens that
    travel: each device gathers those of all devices along it, with the router's choice, computes its experts' part of
    them, and the parts are summed and scattered back (an all-gather and a reduce-scatter of [tokens, D], in each layer;
    back again as much). An all-to-all would send less, but drop tokens or need as much room. Along `fsdp` a device
    gathers the rows of its experts' matrices, and along `tensor` parts are summed, as in any other layer.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return _own(x, *route(logits, experts), gate, up, down, activation, experts.count, 0)
    batch, expert, tensor = (
        _axes(name, size, mesh.shape)
        for name, size in (("batch", len(x)), ("experts", experts.count), ("mlp", gate.shape[-1]))
    )
    travels = expert is not None and batch is not None and expert in batch
    of_rows, of_kernels = set(batch or ()), {axis for axis in (expert, tensor) if axis is not None}

    def on_device(x: Array, logits: Array, gate: Array, up: Array, down: Array) -> Array:
        # Said here, gradients are summed over devices here: once, and those of tokens before they are many.
        x, logits = (_varying(each, of_kernels - of_rows) for each in (x, logits))
        gate, up, down = (_varying(each, of_rows - of_kernels) for each in (gate, up, down))
        tokens = x, *route(logits, experts)
        if travels:
            tokens = tuple(jax.lax.all_gather(each, expert, axis=0, tiled=True) for each in tokens)
        first = 0 if expert is None else jax.lax.axis_index(expert) * len(gate)
        y = _own(*tokens, gate, up, down, activation, experts.count, first)
        if travels:
            y = jax.lax.psum_scatter(y, expert, scatter_dimension=0, tiled=True)
        elif expert is not None:
            y = jax.lax.psum(y, expert)
        return y if tensor is None else jax.lax.psum(y, tensor)

    rows, into, out = (PartitionSpec(*axes) for axes in ((batch,), (expert, None, tensor), (expert, tensor, None)))
    spread = jax.shard_map(on_device, mesh=mesh, in_specs=(rows, rows, into, into, out), out_specs=rows)
    return spread(x, logits, gate, up, down)


def route(logits: Float[Array, "b t e"], experts: Experts) -> tuple[Float[Array, "b t k"], Int[Array, "b t k"]]:
    """Of each token the weights of its experts, and which they are."""
    weights, chosen = jax.lax.top_k(jax.nn.softmax(logits, axis=-1), experts.per_token)
    return weights / jnp.sum(weights, axis=-1, keepdims=True) if experts.renormalized else weights, chosen


def _varying(array: Array, axes: set[str]) -> Array:
    """The same array, which may from now on differ along these axes of the mesh, too."""
    return jax.lax.pcast(array, tuple(sorted(axes)), to="varying") if axes else array


def _axes(name: str, size: int, mesh: Mapping[str, int]) -> Any:
    """The mesh axes over which a logical axis of this size is sharded; None where it is not."""
    (axes,) = nn.logical_to_mesh_axes((name,)) or (None,)
    ways = sharding.ways(axes, mesh)
    return axes if ways > 1 and size % ways == 0 else None


def _own(
    x: Float[Array, "b t d"],
    weights: Float[Array, "b t k"],
    chosen: Int[Array, "b t k"],
    gate: Float[Array, "e d f"],
    up: Float[Array, "e d f"],
    down: Float[Array, "e f d"],
    activation: Activation,
    count: int,
    first: Int[Array, ""] | int,
) -> Float[Array, "b t d"]:
    """What the experts `first`, `first + 1`, ... of `count` add to these tokens.

    There is room for every choice of every token, were all of them these experts'. A TPU's products skip what is left
    of it; on a CPU XLA computes every expert on every row.
    """
    held, per_token, dtype = len(gate), chosen.shape[-1], x.dtype
    choices = chosen.reshape(-1) - first
    choices = jnp.where((choices >= 0) & (choices < held), choices, held)  # those of other devices' experts are last
    order = jnp.argsort(choices)
    back = jnp.argsort(order)
    sizes = jnp.sum(choices == jnp.arange(held)[:, None], axis=1, dtype=jnp.int32)

    def masked(rows: Array) -> Array:
        """0 in rows of others' experts, which a product leaves as it likes, and in their gradient."""
        return rows if held == count else jnp.where(jnp.arange(len(rows))[:, None] < jnp.sum(sizes), rows, 0)

    def product(rows: Array, kernels: Array) -> Array:
        with jax.named_scope(f"held_{held}_of_{count}"):  # for whoever counts its FLOPs (`plan.kernels`)
            return checkpoint_name(grouped.product(rows, kernels, sizes), PRODUCT)

    # Both ways these are permutations: a scatter would add gradients in any order.
    rows = jnp.repeat(x.reshape(-1, x.shape[-1]), per_token, axis=0)
    rows = masked(move(rows[None], order[None], back[None])[0])
    made = masked(product(activation(product(rows, gate)) * product(rows, up), down))
    made = move(made[None], back[None], order[None])[0].reshape(*chosen.shape, -1)
    return jnp.einsum("btkd,btk->btd", made.astype(jnp.float32), weights).astype(dtype)
