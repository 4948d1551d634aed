"""Programs for accelerators whose compiler is not here: traced as for one device, and accounted for.

A device's program is that of a model whose heads, hidden units and vocabulary are cut by `tensor`, on its own rows;
what it holds of parameters, moments and gradients is its shards of them on the whole mesh.
"""

import dataclasses
import math
import time
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from w2s_jax.config import MeshConfig
from w2s_jax.models.attention import Form
from w2s_jax.models.config import ModelConfig
from w2s_jax.models.target import Target, pretending
from w2s_jax.plan import kernels, lowering
from w2s_jax.plan.accounting import FLASH, FLASH_BACK, Kind, account
from w2s_jax.plan.compilation import Compiled, Request
from w2s_jax.plan.counting import Collective, Costs
from w2s_jax.plan.lowering import Held
from w2s_jax.runtime import sharding
from w2s_jax.runtime.chips import Chip
from w2s_jax.train.learner import Learner


def estimate(request: Request, target: Target | None = None) -> Compiled:
    """As `compile_for`, by an account of the traced program.

    Args:
      target: what it is traced for; None is the chip of the topology.

    Raises:
      UserError: the setting is impossible.
    """
    started = time.monotonic()
    place = request.topology
    assert place.chip is not None
    whole = sharding.abstract_mesh(place.devices, **dataclasses.asdict(request.mesh))
    mesh = MeshConfig(**whole.shape)
    setting = request.setting()._replace(jobs=1)
    groups = sharding.job_mesh(whole, request.jobs).shape[sharding.JOB]
    own = -(-request.jobs // groups)  # jobs of each device, which hold one frozen model
    whole = sharding.abstract_mesh(place.devices // groups, mesh.data // groups, mesh.fsdp, mesh.tensor, mesh.expert)
    held = lowering.hold(setting, whole)
    alone = sharding.make_mesh(devices=jax.devices()[:1])
    ways = sharding.batch_ways(whole)
    learner, cut = _alone(request.learner, ways), _cut(setting.config, mesh.tensor)
    target = target or _target(place.chip)
    with pretending(target, flash):
        step = lowering.lower(setting._replace(learner=learner, config=cut), alone)
    shares = _shares(step, held) if request.kind != "label" else {}
    found = account(step.traced.jaxpr, shares, cut.vocab_size, widens=target.platform == "tpu")
    if target.platform == "tpu":
        found = found._replace(workspace=found.workspace + _narrowed(held, jnp.dtype(learner.dtype)))
    found = type(found)(*(own * each for each in found))
    parameters = held.parameters + (own - 1) * lowering.bytes_on_device(held.trainable)
    used, available = parameters + own * held.optimizer + found.held, place.chip.available
    sent = collectives(request, setting.config, held, whole.shape)
    sent = tuple(Collective(each.kind, own * each.times, own * each.received) for each in sent)
    costs = Costs(found.flops, found.bytes, sent)
    return Compiled(
        chip=place.chip,
        devices=place.devices,
        mesh=mesh,
        rows=held.rows,
        length=held.length,
        parameters=parameters,
        optimizer=own * held.optimizer,
        resident=own * held.resident,
        used=used,
        available=available,
        costs=costs if used + own * held.resident <= available else None,
        model_flops=request.jobs * held.model_flops,
        seconds=time.monotonic() - started,
        assigned=used,
        account=found,
    )


def _target(chip: Chip) -> Target:
    return Target("cuda", chip.capability) if chip.is_gpu else Target("tpu")


def _alone(learner: Learner, ways: int) -> Learner:
    """The learner with one device's rows."""
    generative = learner.generative
    if generative is not None:
        generative = dataclasses.replace(generative, batch_size=generative.batch_size // ways)
    return dataclasses.replace(learner, batch_size=learner.batch_size // ways, generative=generative)


def _cut(config: ModelConfig, tensor: int) -> ModelConfig:
    """What one device computes of a model whose matrices are sharded; what the axis does not divide stays whole."""
    names = ("n_heads", "n_kv_heads", "mlp_size", "vocab_size")
    whole = {name: getattr(config, name) for name in names}
    cut = {name: size // tensor if size % tensor == 0 else size for name, size in whole.items()}
    cut["n_kv_heads"] = math.gcd(cut["n_heads"], cut["n_kv_heads"])
    return dataclasses.replace(config, **cut)


def _shares(step: Held, held: Held) -> dict[Kind, float]:
    """Of each kind of gradient in a device's own program, the share that it holds on the whole mesh."""
    pairs = zip(jax.tree.leaves(step.trainable), jax.tree.leaves(held.trainable), strict=True)
    return {
        (leaf.shape, str(leaf.dtype)): lowering.bytes_on_device(shard) / lowering.bytes_on_device(leaf)
        for leaf, shard in pairs
    }


def _narrowed(held: Held, dtype: np.dtype) -> int:
    """Bytes of the copies, in the type of the computation, that XLA makes for a TPU of all layers' matrices at once."""
    leaves = jax.tree_util.tree_leaves_with_path((held.trainable, held.frozen))
    wide = [leaf for keys, leaf in leaves if _is_kernel(keys) and leaf.dtype.itemsize > dtype.itemsize]
    return sum(lowering.bytes_on_device(leaf) // leaf.dtype.itemsize * dtype.itemsize for leaf in wide)


def _is_kernel(keys: Any) -> bool:
    names = [str(getattr(key, "key", key)) for key in keys]
    return "layers" in names and names[-1] == "kernel"


def flash(query: Array, key: Array, value: Array, lengths: Array, *, form: Form) -> Array:
    """In place of a flash attention kernel: what it is given, gives and keeps for the backward pass."""
    length = query.shape[1]
    window = form.window if form.window is not None and form.window < length else None
    pairs = kernels.pairs(length, length, 1, 1, causal=form.causal, window=window)

    def call(name: str, products: int, results: Any, *arrays: Array) -> Any:
        given = {"pairs": np.int64(pairs), "products": np.int64(products)}
        return jax.ffi.ffi_call(name, results)(*arrays, **given)

    @jax.custom_vjp
    def attend(query: Array, key: Array, value: Array) -> Array:
        return forward(query, key, value)[0]

    def forward(query: Array, key: Array, value: Array) -> tuple[Array, Any]:
        sums = jax.ShapeDtypeStruct((query.shape[0], query.shape[2], length), jnp.float32)
        mixed, sums = call(FLASH, 2, (_like(query), sums), query, key, value)
        return mixed, (query, key, value, mixed, sums)

    def back(kept: Any, slope: Array) -> Any:
        return call(FLASH_BACK, 5, tuple(map(_like, kept[:3])), *kept, slope)

    attend.defvjp(forward, back)
    return attend(query, key, value)


def _like(array: Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(array.shape, array.dtype)


def collectives(request: Request, config: ModelConfig, held: Held, sizes: Mapping[str, int]) -> tuple[Collective, ...]:
    """What each device receives in a step, by the ring algorithm, if every array is sent once.

    `fsdp`: the weights, in the type of the computation, for the forward and for the backward pass, and sums of their
    gradients. `data` and `expert`: sums of gradients. `tensor`: sums of what attention and the feed-forward layer add.
    `expert`: a layer's tokens to the experts, and their results back.
    """
    learner, trains = request.learner, request.kind != "label"
    microbatches = learner.microbatches if trains else 1
    width = jnp.dtype(learner.dtype).itemsize
    fsdp, tensor, expert = (sizes[name] for name in ("fsdp", "tensor", "expert"))
    found: list[Collective] = []

    def add(kind: str, ways: int, times: int, size: float) -> None:
        if ways > 1 and times and size:
            found.append(Collective(kind, times, round(times * size * (ways - 1) / ways)))

    weights = held.weights * fsdp * width
    passes = 1 if not trains else 2 if microbatches == 1 else 3 * microbatches
    add("all-gather", fsdp, passes, weights)
    gradients = lowering.bytes_on_device(held.trainable)
    if trains:
        add("reduce-scatter", fsdp, microbatches, gradients * fsdp * width / 4)
        add("all-reduce", sizes["data"] * expert, 1, 2 * gradients)
    ways = sizes["data"] * fsdp * expert
    tokens = held.rows * request.candidates * held.length / ways * config.hidden_size * width
    layers = config.cut(learner.read_layer).n_layers
    passes = 1 if not trains else 2 if learner.remat == "none" else 3
    add("all-reduce", tensor, 2 * layers * passes, 2 * tokens)
    if config.experts is not None:
        add("all-gather", expert, layers * passes, tokens * expert)
        add("reduce-scatter", expert, layers * passes, tokens * expert)
    return tuple(found)
