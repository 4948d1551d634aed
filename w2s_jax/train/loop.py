"""The training loop of one job, or of several that train together: batches in, checkpoints and histories out.

It knows nothing of weak or strong.
"""

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
from w2s_jax.data.batching import Batch, TrainBatches
from w2s_jax.models.params import Params
from w2s_jax.runtime import checkpoint, processes
from w2s_jax.runtime.errors import Interrupted, UserError
from w2s_jax.train import together
from w2s_jax.train.profile import Profile
from w2s_jax.train.state import TrainState
from w2s_jax.train.step import StepMetrics

Select = Literal["final", "loss", "accuracy", "auroc"]

ASK_SECONDS = 2.0  # of training, after which several processes ask each other whether to stop
AHEAD = 2  # steps that may wait for the device behind the one that runs: a stop waits for all of them


class Seen(NamedTuple):
    """What was measured at one step of one job.

    Attributes:
      step: counted from 1.
      norm: of the gradient, before clipping.
      tokens: that the batch held, over all devices; `places`, those that were computed, padding included.
      seconds: that the step took, of all jobs together: a mean over the steps that were measured at once.
      score: of the evaluation after this step, against the labels that the job learns from, as `LoopSettings.select`
        has it (higher is better); None where there was none.
      All but step, loss and score are None where an earlier process took the step.
    """

    step: int
    loss: float
    norm: float | None = None
    tokens: int | None = None
    places: int | None = None
    seconds: float | None = None
    score: float | None = None


# Told (step, steps in all, seen) after every step: of each job what was measured from the first step to the last that
# was, which lags a little, so that nothing waits for the device. There is nothing where nothing is trained.
Progress = Callable[[int, int, Sequence[Sequence[Seen]]], None]
# (state, frozen, batch and targets of its rows for each job) -> (state, StepMetrics of scalars, or of one for each job)
Step = Callable[[TrainState, Params, Sequence[tuple[Batch, np.ndarray]]], tuple[TrainState, StepMetrics]]


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
    """The selected parameters, with a leading axis of jobs where the state has one, and what happened to each job: a
    history, or the error that ended it."""

    params: Params
    histories: list[History | UserError]


class Job(NamedTuple):
    """What one job learns.

    Attributes:
      batches: `batches[i]` is the batch of step i, a pure function of i.
      targets: of the examples that batches refer to, as the step's loss takes them.
      validation_targets: the labels that evaluations are scored against.
    """

    batches: TrainBatches
    targets: Float[np.ndarray, "n k"]
    validation_targets: Float[np.ndarray, "m c"]


@dataclass
class _Run:
    """The loop's own state of one job, besides the TrainState: all of it but `seen` goes into a checkpoint.

    Attributes:
      seen: of every step that was measured.
      stopped: it ran out of patience.
      error: what went wrong.
    """

    losses: list[float] = field(default_factory=list)
    evaluated: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    probs: list[np.ndarray] = field(default_factory=list)
    stopped: bool = False
    error: str | None = None
    seen: list[Seen] = field(default_factory=list)

    def resume(self) -> None:
        """Takes down what is known of the steps before."""
        scores = dict(zip(self.evaluated, self.scores, strict=True))
        self.seen = [Seen(step, loss, score=scores.get(step)) for step, loss in enumerate(self.losses, 1)]

    @property
    def ended(self) -> bool:
        """It learns no more, whatever the others do."""
        return self.stopped or self.error is not None

    def best(self) -> int | None:
        return int(np.argmax(self.scores)) if self.scores else None

    def out_of_patience(self, patience: int | None) -> bool:
        best = self.best()
        return patience is not None and best is not None and len(self.scores) - 1 - best >= patience

    def look(self, step: int, probs: np.ndarray, targets: np.ndarray, settings: LoopSettings) -> bool:
        """Takes down an evaluation after this step. Whether its parameters are the best so far."""
        self.evaluated.append(step)
        self.scores.append(_score(probs, targets, settings.select))
        self.probs.append(np.asarray(probs, np.float32))
        if self.seen:
            self.seen[-1] = self.seen[-1]._replace(score=self.scores[-1])
        self.stopped = self.out_of_patience(settings.patience)
        return settings.select == "final" or self.best() == len(self.scores) - 1

    def history(self, select: Select) -> History:
        best = len(self.scores) - 1 if select == "final" else self.best()
        assert best is not None
        return History(self.losses, self.evaluated, self.scores, np.stack(self.probs), best)


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
    step: Step,
    jobs: Sequence[Job],
    evaluate: Callable[[Params], Sequence[Float[np.ndarray, "m c"]]],
    settings: LoopSettings,
    folder: Path | None = None,
    profile: Path | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Trains until the batches or the patience of every job end, and returns the parameters selected for each; without
    batches the initial ones. A job whose loss is not finite has an error for its history, which names the step.

    Interrupted anywhere and called again with the same arguments and `folder`, it ends with the same bits. Several
    processes call it together; every few seconds they agree on whether to save or to stop.

    Args:
      state: the initial state; it is donated to the steps. Of jobs that train together it has a leading axis of them.
      frozen: parameters that do not train.
      jobs: as many batches for each.
      evaluate: parameters -> class probabilities of each job's validation examples.
      folder: where checkpoints of work in progress are kept; None keeps none.
      profile: where a trace of a few steps is written; None traces none.

    Raises:
      Interrupted: SIGTERM or SIGINT came; a checkpoint was written first, if there is a folder.
    """
    total, first, runs, kept = len(jobs[0].batches), 0, [_Run() for _ in jobs], None
    due = set(evaluation_steps(total, settings.evaluations))
    if folder is not None and processes.lead(lambda: checkpoint.exists(folder)):
        state, first, runs, kept = _resume(folder, state, [job.validation_targets.shape for job in jobs])
    pending = _Pending()
    stacked = state.step.ndim > 0
    saved_at = time.monotonic()

    agreed = _Agreement(first)
    with _stop_signals() as stop, Profile(profile, first, total) as tracing, _saver(folder) as saver:
        for index in range(first, total):
            batches = [(batch, job.targets[batch.rows]) for job in jobs for batch in [job.batches[index]]]
            tracing.before(index, state)
            with jax.profiler.StepTraceAnnotation("train", step_num=index):
                state, measured = step(state, frozen, batches)
            tracing.after(index, measured)
            sizes = [
                (int(batch.lengths.sum()), job.batches.places(batch))
                for (batch, _), job in zip(batches, jobs, strict=True)
            ]
            pending.add(measured, sizes)
            looking = index + 1 in due
            if looking or len(pending) > 8 or (stop and not processes.several()):
                pending.drain(runs, index + 1, running=0 if looking or stop else 1)
            if looking and not all(run.ended for run in runs):
                kept = _look(state.params, kept, runs, jobs, evaluate, settings, index + 1, stacked)
                pending.looked()
            if progress is not None:
                progress(index + 1, total, [run.seen for run in runs])
            if all(run.ended for run in runs):
                break
            late = time.monotonic() - saved_at > settings.checkpoint_seconds
            stopping, saving = agreed(index + 1, bool(stop), late or bool(stop), asking=looking)
            if saver is not None and index + 1 < total and saving:
                pending.drain(runs, index + 1)
                _save(saver, state, index + 1, runs, kept)
                saved_at = time.monotonic()
            if stopping:
                if saver is not None:
                    saver.wait()
                raise Interrupted(f"stopped at step {index + 1} of {total}; the same command resumes from there")

    if not total:  # nothing is trained: the model is looked at as it is
        _look(state.params, None, runs, jobs, evaluate, settings, 0, stacked)
    histories = [run.history(settings.select) if run.error is None else UserError(run.error) for run in runs]
    return Trained(state.params if kept is None else kept, histories)


def _look(
    params: Params,
    kept: Params | None,
    runs: Sequence[_Run],
    jobs: Sequence[Job],
    evaluate: Callable[[Params], Sequence[Float[np.ndarray, "m c"]]],
    settings: LoopSettings,
    step: int,
    stacked: bool,
) -> Params | None:
    """Evaluates the jobs that still learn, and returns the parameters that win so far; None is the last ones."""
    improved, found = [False] * len(runs), evaluate(params)
    for place, (run, job) in enumerate(zip(runs, jobs, strict=True)):
        if not run.ended:
            improved[place] = run.look(step, found[place], job.validation_targets, settings)
    if settings.select == "final" and kept is None and not any(run.ended for run in runs):
        return None  # no job has ended: the last parameters are all there is to keep
    if not any(improved) or (settings.select == "final" and all(run.ended for run in runs) and kept is None):
        return kept
    if kept is None or not stacked:
        return jax.tree.map(jnp.copy, params)
    return together.better(kept, params, improved)


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


class _Pending:
    """Steps that were sent to the device and whose metrics are still there."""

    def __init__(self) -> None:
        self._waiting: list[tuple[StepMetrics, Sequence[tuple[int, int]]]] = []
        self._at = time.monotonic()  # when the steps that are measured next began

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, measured: StepMetrics, sizes: Sequence[tuple[int, int]]) -> None:
        """One more; `AHEAD` steps before it are done then.

        Args:
          sizes: tokens and places of each job's batch.
        """
        self._waiting.append((measured, sizes))
        if len(self._waiting) > AHEAD:
            jax.block_until_ready(self._waiting[-1 - AHEAD][0])

    def looked(self) -> None:
        """Time went by that no step took."""
        self._at = time.monotonic()

    def drain(self, runs: Sequence[_Run], step: int, running: int = 0) -> None:
        """Fetches the metrics of the steps since the last look, one transfer for many, but for the last `running` ones:
        while those run, the next batch is made."""
        count = len(self._waiting) - running
        finished, self._waiting = self._waiting[:count], self._waiting[count:]
        fetched = jax.device_get([measured for measured, _ in finished])
        now = time.monotonic()
        seconds, self._at = (now - self._at) / max(len(finished), 1), now
        for measured, (_, sizes) in zip(fetched, finished, strict=True):
            values = (np.ravel(each).tolist() for each in (measured.finite, measured.loss, measured.grad_norm))
            for run, (tokens, places), finite, loss, norm in zip(runs, sizes, *values, strict=False):
                if run.ended:
                    continue
                if not finite:
                    run.error = (
                        f"the loss is not finite at step {len(run.losses) + 1} (of {step} done); "
                        "lower the learning rate, or look for extreme values in the loss's options"
                    )
                else:
                    run.losses.append(float(loss))
                    run.seen.append(Seen(len(run.losses), float(loss), float(norm), tokens, places, seconds))


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


def _save(saver: checkpoint.Saver, state: TrainState, step: int, runs: Sequence[_Run], kept: Params | None) -> None:
    items: dict[str, Any] = {"params": state.params, "rest": state.replace(params=None)}
    if kept is not None:
        items["kept"] = kept
    probs = {str(place): np.stack(run.probs) for place, run in enumerate(runs) if run.probs}
    if probs:
        items["probs"] = probs
    told = ("losses", "evaluated", "scores", "stopped", "error")
    jobs = [{name: getattr(run, name) for name in told} for run in runs]
    saver.save(items, {"step": step, "jobs": jobs, "kept": kept is not None})


def _resume(
    folder: Path, state: TrainState, shapes: Sequence[tuple[int, ...]]
) -> tuple[TrainState, int, list[_Run], Params | None]:
    """The state, how many steps it has taken, what happened to each job, and the parameters that win so far."""
    meta: Mapping[str, Any] = checkpoint.meta(folder)
    abstract: dict[str, Any] = {"params": state.params, "rest": state.replace(params=None)}
    if meta["kept"]:
        abstract["kept"] = state.params
    seen = {str(place): len(job["evaluated"]) for place, job in enumerate(meta["jobs"]) if job["evaluated"]}
    if seen:
        abstract["probs"] = {place: np.zeros((seen[place], *shapes[int(place)]), np.float32) for place in seen}
    abstract = jax.tree.map(_emptied, abstract)
    items = checkpoint.restore(folder, abstract)
    runs = [_Run(**job) for job in meta["jobs"]]
    for place in seen:
        runs[int(place)].probs = list(np.asarray(items["probs"][place]))
    for run in runs:
        run.resume()
    return items["rest"].replace(params=items["params"]), meta["step"], runs, items.get("kept")


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
