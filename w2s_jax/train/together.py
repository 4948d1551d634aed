"""Jobs, stages that train together, as one program: whatever differs between them has a leading `job` axis.

On a mesh that has a `job` axis each of its devices, or groups of devices, runs jobs of its own and sends nothing to the
others.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int

from w2s_jax.losses.base import BoundLoss
from w2s_jax.models.target import target
from w2s_jax.runtime import sharding
from w2s_jax.runtime.sharding import BATCH_AXES, JOB

# Where jobs of one device are computed at the same time, to fill it and to start few kernels; elsewhere one after
# another, which costs no traffic for layouts: eight LoRA finetunings of GPT-2 with 32 x 64 tokens, compiled for one v5e
# chip, move 14 GB so and 52 GB batched.
BATCHED = ("cuda", "rocm")


@dataclass(frozen=True)
class Jobs:
    """How many train together, and what they share.

    Attributes:
      count: how many, those included that only fill the mesh.
      one_frozen: the parameters that do not train are the same, and held once.
    """

    count: int
    one_frozen: bool = True

    @classmethod
    def of(cls, count: int, mesh: Mesh | AbstractMesh | None, *, one_start: bool) -> "Jobs | None":
        """So many and as many more as fill the mesh's job axis; None for one alone.

        Args:
          one_start: all start from the same parameters.
        """
        ways = 1 if mesh is None else mesh.shape.get(JOB, 1)
        return None if count == 1 else cls(-(-count // ways) * ways, one_start)

    def stacked(self, shapes: Any) -> Any:
        """What `Stack` makes of a tree, from shapes with shardings."""

        def one(leaf: Any) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct((self.count, *leaf.shape), leaf.dtype, sharding=_stacked(leaf))

        return jax.tree.map(one, shapes)

    def over(
        self, function: Callable[..., Any], mesh: Mesh | AbstractMesh | None, *, frozen: int
    ) -> Callable[..., Any]:
        """The same function of all jobs: arguments and results have a leading `job` axis.

        Args:
          function: of one job.
          mesh: the devices, if on a mesh.
          frozen: the place, among its arguments, of the parameters that do not train.
        """

        def together(*arguments: Any) -> Any:
            axes = [None if self.one_frozen and place == frozen else 0 for place in range(len(arguments))]
            batched = target().platform in BATCHED
            mapped = jax.vmap(function, in_axes=axes) if batched else _one_after_another(function, axes)
            if mesh is None or JOB not in mesh.shape:
                return mapped(*arguments)
            specs = tuple(PartitionSpec() if axis is None else PartitionSpec(JOB) for axis in axes)
            own = jax.shard_map(
                mapped, mesh=mesh, in_specs=specs, out_specs=PartitionSpec(JOB), axis_names={JOB}, check_vma=False
            )
            return own(*arguments)

        return together


def _one_after_another(function: Callable[..., Any], axes: Sequence[int | None]) -> Callable[..., Any]:
    """`jax.vmap` of the function, as a loop."""

    def loop(*arguments: Any) -> Any:
        own = [argument for argument, axis in zip(arguments, axes, strict=True) if axis is not None]

        def one(own: Sequence[Any]) -> Any:
            left = iter(own)
            given = zip(arguments, axes, strict=True)
            return function(*(argument if axis is None else next(left) for argument, axis in given))

        return jax.lax.map(one, own)

    return loop


def one_of(losses: Sequence[BoundLoss], which: Int[Array, ""]) -> BoundLoss:
    """The loss at this place."""
    if len(losses) == 1:
        return losses[0]

    def loss(logits: Array, targets: Array, **context: Any) -> Float[Array, " b"]:
        return jax.lax.switch(which, [functools.partial(each, **context) for each in losses], logits, targets)

    return loss


def batch_shardings(batch: Any, mesh: Mesh | AbstractMesh) -> Any:
    """Of arrays whose first axis is jobs, and whose second, if there is one, is the rows of a batch."""
    return jax.tree.map(lambda leaf: NamedSharding(mesh, PartitionSpec(*(JOB, BATCH_AXES)[: leaf.ndim])), batch)


def results(mesh: Mesh | AbstractMesh) -> NamedSharding:
    """Of what is fetched from devices: each has all of it; but of jobs, where one process has all devices, its own."""
    alone = JOB in mesh.shape and isinstance(mesh, Mesh) and not mesh.is_multi_process
    return NamedSharding(mesh, PartitionSpec(JOB) if alone else PartitionSpec())


class Stack:
    """Trees of one structure along a new first axis, which is sharded over `job` where they are on such a mesh.

    They come one after another, so that no device holds all of them twice; places that none takes hold the first.
    Of one job alone it is the tree as it comes.
    """

    def __init__(self, jobs: Jobs | None) -> None:
        self._jobs, self._added = jobs, 0
        self.whole: Any = None

    def add(self, tree: Any) -> None:
        if self._jobs is None:
            self.whole = tree
        elif self._added == 0:
            repeat = functools.partial(_repeated, self._jobs.count)
            self.whole = jax.jit(repeat, out_shardings=jax.tree.map(_stacked, tree))(tree)
        else:
            self.whole = _put(self.whole, tree, self._added)
        self._added += 1


def take(stacked: Any, place: int) -> Any:
    """One job's part, as arrays of the host: no device holds what it did not train."""
    where = sharding.mesh_of(stacked)
    out = None if where is None else sharding.replicated(where)
    return jax.tree.map(np.asarray, jax.jit(_taken, out_shardings=out)(stacked, place))


def better(kept: Any, found: Any, improved: Sequence[bool]) -> Any:
    """`found` for the jobs that improved, `kept`, which is consumed, for the others and for what fills the mesh."""
    count = jax.tree.leaves(kept)[0].shape[0]
    return _chosen(kept, found, np.array([*improved, *[False] * (count - len(improved))]))


@functools.partial(jax.jit, donate_argnums=0)
def _chosen(kept: Any, found: Any, improved: Any) -> Any:
    def choose(old: Array, new: Array) -> Array:
        return jnp.where(improved.reshape(-1, *(1,) * (new.ndim - 1)), new, old)

    return jax.tree.map(choose, kept, found)


def _repeated(count: int, tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[None], (count, *leaf.shape)), tree)


@functools.partial(jax.jit, donate_argnums=0)
def _put(whole: Any, tree: Any, place: Any) -> Any:
    return jax.tree.map(lambda all_, one: jax.lax.dynamic_update_index_in_dim(all_, one, place, 0), whole, tree)


def _taken(stacked: Any, place: Any) -> Any:
    return jax.tree.map(lambda leaf: jax.lax.dynamic_index_in_dim(leaf, place, 0, keepdims=False), stacked)


def _stacked(leaf: Array) -> Any:
    where = leaf.sharding
    if not isinstance(where, NamedSharding):
        return where
    return NamedSharding(where.mesh, PartitionSpec(JOB if JOB in where.mesh.shape else None, *where.spec))
