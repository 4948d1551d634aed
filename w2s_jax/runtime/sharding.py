"""The mesh, and one table from a model's logical axes to it. Nothing here knows a model's name.

A Flax module names the axes of its parameters (`nn.with_logical_partitioning`) and activations
(`nn.with_logical_constraint`); `RULES` says over which mesh axes each of those names is sharded.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding

from w2s_jax.runtime import errors
from w2s_jax.runtime.errors import UserError

AXES = ("data", "fsdp", "expert", "tensor")
BATCH_AXES = ("data", "fsdp", "expert")
JOB = "job"  # first axis of the mesh of stages that train together, see `job_mesh`
RULES: tuple[tuple[str, str | tuple[str, ...] | None], ...] = (
    ("batch", BATCH_AXES),
    ("vocab", "tensor"),
    ("mlp", "tensor"),
    ("heads", "tensor"),
    ("kv_heads", "tensor"),
    ("experts", "expert"),
    ("embed", "fsdp"),
    ("length", None),
    ("head_dim", None),
    ("layers", None),
    ("classes", None),
)


def make_mesh(
    data: int = -1, fsdp: int = 1, tensor: int = 1, expert: int = 1, devices: Sequence[Any] | None = None
) -> Mesh:
    """Devices, by default all, as a `data` x `fsdp` x `expert` x `tensor` mesh with Auto axis types.

    Args:
      data: copies of the parameters, each with its share of the batch.
      fsdp: shards of parameters and batch; parameters are gathered when needed.
      tensor: shards of each layer's matrices.
      expert: shards of the experts, where layers have several, and of the batch; elsewhere it is as `data`.
      One of the four may be -1: it takes the devices that the others leave.

    Raises:
      UserError: the product is not the device count.
    """
    devices = jax.devices() if devices is None else devices
    sizes = axis_sizes(len(devices), data, fsdp, tensor, expert)
    return jax.make_mesh(sizes, AXES, axis_types=(AxisType.Auto,) * len(AXES), devices=devices)


def abstract_mesh(count: int, data: int = -1, fsdp: int = 1, tensor: int = 1, expert: int = 1) -> AbstractMesh:
    """As `make_mesh`, of so many devices that are not here: it shards shapes, not arrays."""
    sizes = axis_sizes(count, data, fsdp, tensor, expert)
    return AbstractMesh(sizes, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def axis_sizes(count: int, data: int, fsdp: int, tensor: int, expert: int) -> tuple[int, ...]:
    """The sizes of `AXES` for so many devices; see `make_mesh`."""
    sizes = [data, fsdp, expert, tensor]
    text = f"mesh data={data}, fsdp={fsdp}, tensor={tensor}" + (f", expert={expert}" if expert != 1 else "")
    if sizes.count(-1) > 1 or any(size < 1 and size != -1 for size in sizes):
        raise UserError(f"{text}: sizes are 1 or more, and at most one is -1")
    if -1 in sizes:
        sizes[sizes.index(-1)] = count // math.prod(size for size in sizes if size != -1)
    if math.prod(sizes) != count:
        raise UserError(f"{text} does not fit {count} devices; the product must be {count}")
    return tuple(sizes)


def job_mesh(mesh: Any, jobs: int) -> Any:
    """The devices of a mesh for so many jobs that train together: one more axis, `job`, takes devices from `data`.

    It is as long as it can be, so that as few devices as possible share a job; None, one device, stays None.
    """
    if mesh is None:
        return None
    data = mesh.shape["data"]
    ways = max(each for each in range(1, min(jobs, data) + 1) if data % each == 0)
    sizes = (ways, data // ways, *(mesh.shape[axis] for axis in AXES[1:]))
    devices = sizes if isinstance(mesh, AbstractMesh) else mesh.devices.reshape(sizes)
    return type(mesh)(devices, (JOB, *AXES), axis_types=(AxisType.Auto,) * len(sizes))


def replicated(mesh: Mesh | AbstractMesh) -> NamedSharding:
    """Every device holds the whole array."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh | AbstractMesh) -> NamedSharding:
    """The first axis, the batch, sharded over `data`, `fsdp` and `expert`."""
    return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def batch_ways(mesh: Mesh | AbstractMesh | None) -> int:
    """How many shards a batch has; without a mesh it is one."""
    return 1 if mesh is None else ways(BATCH_AXES, mesh.shape)


def mesh_of(tree: Any) -> Mesh | None:
    """The mesh that a tree's arrays are on; None where they are on one device."""
    where: Any = jax.tree.leaves(tree)[0].sharding
    mesh: Mesh | None = getattr(where, "mesh", None)
    return mesh


def param_shardings(boxed: Any, mesh: Mesh | AbstractMesh | None) -> Any:
    """The sharding of each parameter, from its logical axis names.

    A dimension that its mesh axes do not divide stays whole (GPT-2's 50257 tokens, one key-value head), as does a
    leaf without names.

    Args:
      boxed: what `jax.eval_shape(module.init, ...)` gives: parameters with their Flax boxes. Arrays work too.
      mesh: None is this process's first device, which then holds all of it.

    Returns:
      The tree without boxes, a sharding for each parameter.

    Raises:
      UserError: a logical axis is not in `RULES`.
    """

    if mesh is None:
        alone = SingleDeviceSharding(jax.local_devices()[0])
        return jax.tree.map(lambda _: alone, nn.unbox(boxed))

    def sharding(leaf: Any, spec: PartitionSpec) -> NamedSharding:
        axes = nn.logical_to_mesh_axes(_names(spec), RULES) or PartitionSpec()
        fits = [
            axis if size % ways(axis, mesh.shape) == 0 else None for axis, size in zip(axes, leaf.shape, strict=False)
        ]
        return NamedSharding(mesh, PartitionSpec(*fits))

    return jax.tree.map(sharding, nn.unbox(boxed), nn.get_partition_spec(boxed))


def place(tree: Any, shardings: Any) -> Any:
    """Puts arrays on devices, each device receiving only its shard.

    Args:
      tree: numpy or JAX arrays. With several processes, each holds the whole of every array that is not of them all.
      shardings: a tree of shardings, or a prefix of `tree`, such as one sharding for all.
    """
    return jax.tree.map(lambda sharding, part: jax.tree.map(lambda leaf: _put(leaf, sharding), part), shardings, tree)


def place_batch(batch: Any, mesh: Mesh | AbstractMesh) -> Any:
    """Puts a batch's arrays on devices, sharded along their first axis.

    Raises:
      UserError: the devices do not divide the batch.
    """
    rows, ways = len(jax.tree.leaves(batch)[0]), batch_ways(mesh)
    if rows % ways:
        raise UserError(
            f"a batch of {rows} cannot be sharded over {' x '.join(BATCH_AXES)} = {ways} devices; "
            f"use a multiple of {ways}"
        )
    return place(batch, batch_sharding(mesh))


def init_sharded(init: Callable[[], Any], mesh: Mesh) -> Any:
    """Runs `init` so that no device ever holds the whole model.

    Args:
      init: makes the boxed parameters, e.g. `lambda: module.init(key, tokens, lengths)`.

    Returns:
      The parameters without boxes, sharded as `param_shardings` says.
    """
    shardings = param_shardings(jax.eval_shape(init), mesh)
    return jax.jit(lambda: nn.unbox(init()), out_shardings=shardings)()


@contextlib.contextmanager
def activate(mesh: Mesh | AbstractMesh | None) -> Iterator[None]:
    """Within it, a module's `nn.with_logical_constraint` applies to this mesh. None does nothing."""
    if mesh is None:
        yield
    else:
        assert isinstance(mesh, Mesh), "the devices of an abstract mesh are not here"
        with jax.set_mesh(mesh), nn.logical_axis_rules(RULES):
            yield


def _put(leaf: Any, sharding: Sharding) -> jax.Array:
    global_array = isinstance(leaf, jax.Array) and not leaf.is_fully_addressable
    if global_array or sharding.is_fully_addressable:
        return jax.device_put(leaf, sharding)
    array = np.asarray(leaf)
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


def _names(spec: PartitionSpec) -> list[str | None]:
    known = [name for name, _ in RULES]
    for axis in spec:
        if axis is not None and axis not in known:
            raise errors.unknown("logical axis", axis, known)
    return list(spec)


def ways(axis: str | tuple[str, ...] | None, sizes: Mapping[str, int]) -> int:
    """Into how many shards mesh axes of these sizes cut a dimension; None cuts nothing."""
    axes = (axis,) if isinstance(axis, str) else axis or ()
    return math.prod(sizes[name] for name in axes)
