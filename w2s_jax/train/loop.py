"""The training loop: batches in, checkpoints and a history out. It knows nothing of weak or strong."""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from w2s_jax import metrics
from w2s_jax.data.batching import TrainBatches
from w2s_jax.models.params import Params
from w2s_jax.runtime import checkpoint, processes
from w2s_jax.runtime.errors import Interrupted, UserError
from w2s_jax.train.profile import Profile
from w2s_jax.train.state import TrainState
from w2s_jax.train.step import TrainStep

Select = Literal["final", "loss", "accuracy", "auroc"]

ASK_SECONDS = 2.0  # of training, after which several processes ask each other whether to stop
AHEAD = 2  # steps that may wait for the device behind the one that runs: a stop waits for all of them

# Told (step, steps in all, losses) after every step: the losses from the first step to the last that was measured,
# which lags a little, so that nothing waits for the device. They are empty where nothing is trained.
Progress = Callable[[int, int, Sequence[float]], None]


@dataclass(frozen=True)
class LoopSettings:
    """How often to look, which parameters to keep, when to stop and to save.

    Attributes:
      evaluations: evaluations on validation, spread evenly over training; the last is at the end.
      select: which parameters win: the final ones, or the best of the evaluations by loss, accuracy or AUROC
        against the labels this stage is trained on (for a student: weak labels, as Burns et al. 2023, A.1).
      patience: stop after this many evaluations without a better one; None trains to the end.
      checkpoint_seconds: the most work that a kill can lose.
    """

    evaluations: int = 4
    select: Select = "accuracy"
    patience: int | None = None
    checkpoint_seconds: float = 120.0


class History(NamedTuple):
    """What happened: one loss a step, and validation probabilities at each evaluation.

    The probabilities are kept, not a score, so that whoever holds the ground truth can draw the curve against it;
    a student's own training cannot.
    """

    losses: list[float]
    evaluated: list[int]
    scores: list[float]
    probs: Float[np.ndarray, "e n c"]
    best: int


class Trained(NamedTuple):
    params: Params
    history: History


@dataclass
class _Run:
    """The loop's own state, besides the TrainState: all of it goes into a checkpoint."""

    losses: list[float] = field(default_factory=list)
    evaluated: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    probs: list[np.ndarray] = field(default_factory=list)

    def best(self) -> int | None:
        return int(np.argmax(self.scores)) if self.scores else None

    def out_of_patience(self, patience: int | None) -> bool:
        best = self.best()
        return patience is not None and best is not None and len(self.scores) - 1 - best >= patience


def evaluation_steps(total: int, evaluations: int) -> list[int]:
    """The steps after which validation is looked at: evenly spread, ending with the last.

    >>> evaluation_steps(10, 4)
    [3, 5, 8, 10]
    """
    count = min(max(evaluations, 1), total)
    return [-(-total * (i + 1) // count) for i in range(count)]


def fit(
    state: TrainState,
    frozen: Params,
    *,
    step: TrainStep,
    batches: TrainBatches,
    targets: Float[np.ndarray, "n k"],
    evaluate: Callable[[Params], Float[np.ndarray, "m c"]],
    validation_targets: Float[np.ndarray, "m c"],
    settings: LoopSettings,
    folder: Path | None = None,
    profile: Path | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Trains until the batches or the patience end, and returns the selected parameters; without batches the initial.

    Interrupted anywhere and called again with the same arguments and `folder`, it ends with the same bits. Several
    processes call it together; every few seconds they agree on whether to save or to stop.

    Args:
      state: the initial state; it is donated to the steps.
      frozen: parameters that do not train.
      step: from `make_train_step`.
      batches: `batches[i]` is the batch of step i, a pure function of i.
      targets: of the examples that batches refer to, as the step's loss takes them.
      evaluate: parameters -> class probabilities of the validation examples.
      validation_targets: the labels the evaluations are scored against.
      folder: where checkpoints of work in progress are kept; None keeps none.
      profile: where a trace of a few steps is written; None traces none.

    Raises:
      UserError: the loss is not finite (it names the step).
      Interrupted: SIGTERM or SIGINT came; a checkpoint was written first, if there is a folder.
    """
    total, run, best_params = len(batches), _Run(), None
    due = set(evaluation_steps(total, settings.evaluations))
    if folder is not None and processes.lead(lambda: checkpoint.exists(folder)):
        state, run, best_params = _resume(folder, state, validation_targets.shape)
    pending: list[Any] = []
    saved_at = time.monotonic()

    first = int(state.step)
    agreed = _Agreement(first)
    with _stop_signals() as stop, Profile(profile, first, total) as tracing, _saver(folder) as saver:
        for index in range(first, total):
            batch = batches[index]
            where = batch.rows >= 0
            tracing.before(index, state)
            with jax.profiler.StepTraceAnnotation("train", step_num=index):
                state, measured = step(state, frozen, batch.tokens, batch.lengths, targets[batch.rows], where)
            tracing.after(index, measured)
            pending.append(measured)
            if len(pending) > AHEAD:
                jax.block_until_ready(pending[-1 - AHEAD])
            looking = index + 1 in due
            if looking or len(pending) > 8 or (stop and not processes.several()):
                _drain(pending, run, index + 1, running=0 if looking or stop else 1)
            if progress is not None:
                progress(index + 1, total, run.losses)
            if looking:
                probs = evaluate(state.params)
                run.evaluated.append(index + 1)
                run.scores.append(_score(probs, validation_targets, settings.select))
                run.probs.append(np.asarray(probs, np.float32))
                if settings.select == "final" or run.best() == len(run.scores) - 1:
                    best_params = jax.tree.map(jnp.copy, state.params) if settings.select != "final" else None
                if run.out_of_patience(settings.patience):
                    break
            late = time.monotonic() - saved_at > settings.checkpoint_seconds
            stopping, saving = agreed(index + 1, bool(stop), late or bool(stop), asking=looking)
            if saver is not None and index + 1 < total and saving:
                _drain(pending, run, index + 1)
                _save(saver, state, run, best_params)
                saved_at = time.monotonic()
            if stopping:
                if saver is not None:
                    saver.wait()
                raise Interrupted(f"stopped at step {index + 1} of {total}; the same command resumes from there")

    if not total:  # nothing is trained: the model is looked at as it is
        run.evaluated.append(0)
        run.probs.append(np.asarray(evaluate(state.params), np.float32))
        run.scores.append(_score(run.probs[0], validation_targets, settings.select))
    best = len(run.scores) - 1 if settings.select == "final" else run.best()
    assert best is not None
    history = History(run.losses, run.evaluated, run.scores, np.stack(run.probs), best)
    return Trained(state.params if best_params is None else best_params, history)


class _Agreement:
    """Whether any process is to stop, and whether any is to save, so that all do it after the same step.

    At each meeting the leader says after which step the next one is, by how long its steps take: the others' clocks
    would say another. Between meetings nothing is sent.
    """

    def __init__(self, step: int) -> None:
        self._met, self._next, self._met_at = step, step + 1, time.monotonic()

    def __call__(self, step: int, stop: bool, save: bool, asking: bool) -> tuple[bool, bool]:
        """(stop, save) of all, `step` being done. They meet early where all of them are `asking`."""
        if not processes.several():
            return stop, save
        if step < self._next and not asking:
            return False, False
        steps, seconds = step - self._met, time.monotonic() - self._met_at
        # At most twice as many as before: the first steps are sent to the device faster than it computes.
        interval = max(1, min(2 * steps, int(ASK_SECONDS * steps / max(seconds, 1e-9))))
        told = processes.gather([stop, save, interval])
        self._met, self._next, self._met_at = step, step + told[0][2], time.monotonic()
        return any(stop for stop, _, _ in told), any(save for _, save, _ in told)


def _drain(pending: list[Any], run: _Run, step: int, running: int = 0) -> None:
    """Fetches the metrics of the steps since the last look, one transfer for many, but for the last `running` ones:
    while those run, the next batch is made."""
    finished = pending[: len(pending) - running]
    del pending[: len(finished)]
    for measured in jax.device_get(finished):
        if not measured.finite:
            raise UserError(
                f"the loss is not finite at step {len(run.losses) + 1} (of {step} done); "
                "lower the learning rate, or look for extreme values in the loss's options"
            )
        run.losses.append(float(measured.loss))


def _score(probs: np.ndarray, targets: np.ndarray, select: Select) -> float:
    """Higher is better."""
    if select in ("final", "loss"):
        return -float(np.mean(metrics.log_loss(probs, targets)))
    hard = np.argmax(targets, axis=-1)
    if select == "accuracy":
        return float(metrics.accuracy(probs, hard))
    auroc = metrics.auroc(probs, hard)
    if auroc is None:
        raise UserError("select='auroc' needs validation labels of more than one class; use select='loss'")
    return float(auroc)


def _saver(folder: Path | None) -> contextlib.AbstractContextManager[checkpoint.Saver | None]:
    return contextlib.nullcontext() if folder is None else checkpoint.Saver(folder)


def _save(saver: checkpoint.Saver, state: TrainState, run: _Run, best_params: Params | None) -> None:
    items: dict[str, Any] = {"params": state.params, "rest": state.replace(params=None)}
    if best_params is not None:
        items["best"] = best_params
    if run.probs:
        items["probs"] = np.stack(run.probs)
    meta = {"losses": run.losses, "evaluated": run.evaluated, "scores": run.scores, "best": best_params is not None}
    saver.save(items, meta)


def _resume(folder: Path, state: TrainState, shape: Sequence[int]) -> tuple[TrainState, _Run, Any]:
    meta: Mapping[str, Any] = checkpoint.meta(folder)
    abstract: dict[str, Any] = {"params": state.params, "rest": state.replace(params=None)}
    if meta["best"]:
        abstract["best"] = state.params
    if meta["evaluated"]:
        abstract["probs"] = np.zeros((len(meta["evaluated"]), *shape), np.float32)
    abstract = jax.tree.map(_emptied, abstract)
    items = checkpoint.restore(folder, abstract)
    probs = list(np.asarray(items["probs"])) if meta["evaluated"] else []
    run = _Run(list(meta["losses"]), list(meta["evaluated"]), list(meta["scores"]), probs)
    return items["rest"].replace(params=items["params"]), run, items.get("best")


def _emptied(leaf: Any) -> Any:
    """An array's shape, its memory being free for what comes in its place."""
    if not isinstance(leaf, jax.Array):
        return leaf
    shape = jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)
    leaf.delete()
    return shape


@contextlib.contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """A list that fills when the process is asked to stop. Outside the main thread signals cannot be caught."""
    received: list[int] = []

    def note(number: int, _frame: Any) -> None:
        received.append(number)

    try:
        before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    except ValueError:
        before = {}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
