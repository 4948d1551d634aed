"""One training step and one prediction, each a pure function that is compiled once."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from einops import rearrange
from jax.sharding import AbstractMesh, Mesh, PartitionSpec
from jaxtyping import Array, Bool, Float, Int

from w2s_jax.data.batching import room
from w2s_jax.losses.base import BoundLoss
from w2s_jax.models.packing import Packing
from w2s_jax.models.params import Params
from w2s_jax.models.target import target
from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.sharding import activate, batch_ways, place, place_batch
from w2s_jax.train import together
from w2s_jax.train.state import TrainState
from w2s_jax.train.together import Jobs

AnyArray = Array | np.ndarray

# (trainable, frozen, tokens [B, T], lengths [B], rng) -> logits [B, C]. The first `lengths` tokens of a row are real;
# rng None asks for a deterministic answer, without dropout. Rows of K candidates: tokens [B, K, T], lengths [B, K].
# A step that packs also gives it `packing`.
Apply = Callable[..., Float[Array, "b c"]]
TrainStep = Callable[..., tuple[TrainState, "StepMetrics"]]
Predict = Callable[..., Float[Array, "b c"]]


class StepMetrics(NamedTuple):
    """Scalars of one step, on the device.

    Attributes:
      loss: mean over the batch's real examples, before the update.
      grad_norm: of all trainable parameters together, before clipping.
      finite: whether both are; if not, parameters and optimizer state were left as they were.
    """

    loss: Float[Array, ""]
    grad_norm: Float[Array, ""]
    finite: Bool[Array, ""]


def make_train_step(
    apply: Apply,
    loss: BoundLoss | Sequence[BoundLoss],
    tx: optax.GradientTransformation,
    *,
    total_steps: int,
    microbatches: int = 1,
    packed: bool = False,
    shardings: TrainState | None = None,
    jobs: Jobs | None = None,
) -> TrainStep:
    """The function `step(state, frozen, tokens, lengths, targets, where) -> (state, StepMetrics)`.

    With `jobs` everything has a leading axis of them, and `step` takes one more argument: which of the losses each has.

    The objective is `sum(loss) / count(where)`. The loss sees the logits of the whole batch at once, however many
    devices or microbatches the batch is split over: with microbatches all logits are computed first, then the loss's
    gradient with respect to them, and each microbatch's share of it is pulled back through the model. So the
    gradient is exact for any loss, and memory holds one microbatch's activations; the forward pass runs twice.

    The state is donated: use the one that is returned. A step that is not finite counts as a step and changes nothing
    else.

    Args:
      apply: the model.
      loss: per-example loss of the whole batch; with `jobs` those that they have.
      tx: any optax optimizer.
      total_steps: told to the loss, for its schedules.
      microbatches: pieces a batch is split into, each a whole number of examples on each device.
      packed: the model gets the number of real tokens, and computes no others.
      shardings: from `state.state_shardings`, for a state on a mesh: the step keeps them, and shards batches over it.

    Raises:
      UserError: when called with a batch that does not divide into microbatches and devices.
    """
    mesh = None if shardings is None else shardings.step.mesh
    ways = batch_ways(mesh)

    def objective(loss: BoundLoss, logits: Array, targets: Array, where: Array, step: Array) -> Array:
        logits = logits.astype(jnp.float32)
        if mesh is not None:
            logits = jax.lax.with_sharding_constraint(logits, PartitionSpec())
        values = loss(logits, targets, step=step, total_steps=total_steps, where=where)
        return jnp.sum(values, where=where) / jnp.maximum(jnp.sum(where), 1)

    def gradient(
        loss: BoundLoss,
        size: int | None,
        state: TrainState,
        frozen: Params,
        tokens: Array,
        lengths: Array,
        targets: Array,
        where: Array,
    ) -> Any:
        rng = jax.random.fold_in(state.rng, state.step)
        how = {} if size is None else {"packing": Packing(ways, size)}

        def piece(params: Params, index: Array | int, tokens: Array, lengths: Array) -> Array:
            return apply(params, frozen, tokens, lengths, jax.random.fold_in(rng, index), **how)

        def whole(params: Params) -> Array:
            return objective(loss, piece(params, 0, tokens, lengths), targets, where, state.step)

        if microbatches == 1:
            return jax.value_and_grad(whole)(state.params)

        def forward(_: None, inputs: Any) -> tuple[None, Array]:
            return None, piece(state.params, *inputs)

        def pull_back(total: Any, inputs: Any) -> tuple[Any, None]:
            *inputs, logits_gradient = inputs
            _, pull = jax.vjp(lambda params: piece(params, *inputs), state.params)
            return jax.tree.map(jnp.add, total, pull(logits_gradient)[0]), None

        pieces = (jnp.arange(microbatches), _cut(tokens, microbatches), _cut(lengths, microbatches))
        logits = _join(jax.lax.scan(forward, None, pieces)[1])
        value, logits_gradient = jax.value_and_grad(objective, 1)(loss, logits, targets, where, state.step)
        zeros = jax.tree.map(jnp.zeros_like, state.params)
        return value, jax.lax.scan(pull_back, zeros, (*pieces, _cut(logits_gradient, microbatches)))[0]

    def step(
        loss: BoundLoss, size: int | None, state: TrainState, frozen: Params, *batch: Array
    ) -> tuple[TrainState, StepMetrics]:
        value, gradients = gradient(loss, size, state, frozen, *batch)
        norm = optax.tree.norm(gradients)
        finite = jnp.isfinite(value) & jnp.isfinite(norm)
        before = state.params, state.opt_state

        def updated() -> Any:
            updates, opt_state = tx.update(gradients, state.opt_state, state.params)
            return optax.apply_updates(state.params, updates), opt_state

        if target().platform == "cpu":  # a branch there costs nothing, and saves a pass over all of it
            params, opt_state = jax.lax.cond(finite, updated, lambda: before)
        else:
            params, opt_state = jax.tree.map(lambda new, old: jnp.where(finite, new, old), updated(), before)
        state = state.replace(step=state.step + 1, params=params, opt_state=opt_state)
        return state, StepMetrics(value, norm, finite)

    def program(
        state: TrainState, frozen: Params, *batch: Array, size: int | None = None
    ) -> tuple[TrainState, StepMetrics]:
        if jobs is None:
            return step(cast(BoundLoss, loss), size, state, frozen, *batch)

        def one(state: TrainState, frozen: Params, *batch: Array) -> tuple[TrainState, StepMetrics]:
            return step(together.one_of(cast(Any, loss), batch[-1]), size, state, frozen, *batch[:-1])

        return jobs.over(one, mesh, frozen=1)(state, frozen, *batch)

    out = None if mesh is None else (shardings, together.results(mesh))
    compiled = jax.jit(program, donate_argnums=0, out_shardings=out, static_argnames="size")

    def size_of(lengths: Any) -> int | None:
        if not packed:
            return None
        rows = np.asarray(lengths)
        return max(room(each, ways, microbatches) for each in (rows[None] if jobs is None else rows))

    def train_step(
        state: TrainState,
        frozen: Params,
        tokens: Int[AnyArray, "... t"],
        lengths: Int[AnyArray, "..."],
        targets: Float[AnyArray, "... c"],
        where: Bool[AnyArray, "*j b"],
        *which: Int[AnyArray, " j"],
    ) -> tuple[TrainState, StepMetrics]:
        check_rows(where.shape[-1], microbatches, ways)
        size, batch = size_of(lengths), (tokens, lengths, targets, where, *which)
        with activate(mesh):
            return compiled(state, frozen, *_placed(batch, mesh, jobs), size=size)

    def traced(state: Any, frozen: Params, tokens: Any, lengths: Any, *batch: Any) -> jax.stages.Traced:
        size = size_of(lengths)
        lengths = jax.ShapeDtypeStruct(lengths.shape, lengths.dtype, sharding=tokens.sharding)
        with activate(mesh):
            return compiled.trace(state, frozen, tokens, lengths, *batch, size=size)

    return _traceable(train_step, traced)


def make_predict(apply: Apply, mesh: Mesh | AbstractMesh | None = None, jobs: Jobs | None = None) -> Predict:
    """The function `predict(params, frozen, tokens, lengths, *more) -> logits`, deterministic, in float32.

    With `jobs` everything has a leading axis of them.

    Args:
      apply: the model. `more` holds what else it is given for each row, if anything, before `rng`.
      mesh: where the parameters are, if on a mesh. Batches are sharded over it; every device gets all logits.
    """

    def logits(params: Params, frozen: Params, *batch: Array) -> Array:
        return apply(params, frozen, *batch, None).astype(jnp.float32)

    program = logits if jobs is None else jobs.over(logits, mesh, frozen=1)
    compiled = jax.jit(program, out_shardings=None if mesh is None else together.results(mesh))

    def predict(
        params: Params,
        frozen: Params,
        tokens: Int[AnyArray, "... t"],
        lengths: Int[AnyArray, "..."],
        *more: AnyArray,
    ) -> Float[Array, "... c"]:
        with activate(mesh):
            return compiled(params, frozen, *_placed((tokens, lengths, *more), mesh, jobs))

    def traced(*arguments: Any) -> jax.stages.Traced:
        with activate(mesh):
            return compiled.trace(*arguments)

    return _traceable(predict, traced)


def trace(step: TrainStep | Predict, *arguments: Any) -> jax.stages.Traced:
    """The program of a step or a prediction, to be looked at or compiled ahead of time; nothing needs to exist.

    Args:
      step: from `make_train_step` or `make_predict`.
      arguments: what it would be called with, as `jax.ShapeDtypeStruct` with shardings; but the `lengths` of a batch to
        train on are an array: they decide how much room its tokens take, packed.
    """
    return cast(Any, step).trace(*arguments)


def check_rows(rows: int, microbatches: int, ways: int) -> None:
    """Checks that a batch can be split into microbatches, and those over the devices.

    Raises:
      UserError: it cannot.
    """
    if rows % (microbatches * ways):
        raise UserError(
            f"a batch of {rows} cannot be split into {microbatches} microbatches over {ways} devices; "
            f"use a multiple of {microbatches * ways}"
        )


def _placed(batch: Any, mesh: Mesh | AbstractMesh | None, jobs: Jobs | None) -> Any:
    if mesh is None:
        return batch
    return place_batch(batch, mesh) if jobs is None else place(batch, together.batch_shardings(batch, mesh))


def _traceable(step: Any, traced: Callable[..., jax.stages.Traced]) -> Any:
    step.trace = traced
    return step


def _cut(rows: Array, microbatches: int) -> Array:
    """Interleaved, so that rows sharded over devices stay where they are."""
    return rearrange(rows, "(b m) ... -> m b ...", m=microbatches)


def _join(rows: Array) -> Array:
    return rearrange(rows, "m b ... -> (b m) ...")
