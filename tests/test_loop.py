"""Training that is interrupted ends with the same bits; selection, patience and bad losses are what they say."""

import os
import signal
import time
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from w2s_jax import losses
from w2s_jax.data.batching import TrainBatches
from w2s_jax.data.tokens import Tokens
from w2s_jax.runtime import checkpoint, processes
from w2s_jax.runtime.errors import Interrupted, UserError
from w2s_jax.train import loop
from w2s_jax.train.loop import Job, LoopSettings, evaluation_steps, fit
from w2s_jax.train.state import create
from w2s_jax.train.step import make_predict, make_train_step

ROWS, VOCAB = 40, 16


def apply(params, frozen, tokens, lengths, rng):
    """The mean of an embedding over real tokens: as small as a model can be, with dropout to show the random stream."""
    mask = jnp.arange(tokens.shape[1]) < lengths[:, None]
    hidden = params["embedding"][tokens] * mask[..., None]
    if rng is not None:
        hidden = hidden * jax.random.bernoulli(rng, 0.9, hidden.shape)
    return hidden.sum(1) / jnp.maximum(lengths, 1)[:, None]


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    ids = rng.integers(0, VOCAB, ROWS * 5).astype(np.int32)
    tokens = Tokens(ids, np.arange(0, ROWS * 5 + 1, 5))
    labels = (ids.reshape(ROWS, 5).mean(1) > VOCAB / 2).astype(int)
    return tokens, np.eye(2, dtype=np.float32)[labels]


def run(
    data,
    folder=None,
    *,
    learning_rate=0.1,
    settings=None,
    evaluate=None,
    progress=None,
    epochs=4,
    profile=None,
    change=None,
):
    tokens, targets = data
    batches = TrainBatches(tokens, 8, seed=0, epochs=epochs)
    tx = optax.adam(learning_rate)
    state = create({"embedding": jnp.zeros((VOCAB, 2))}, tx, jax.random.key(0))
    step = make_train_step(apply, losses.bind(losses.confidence), tx, total_steps=len(batches))
    predict = make_predict(apply)
    whole = tokens.ids.reshape(ROWS, 5), np.full(ROWS, 5, np.int32)

    def probabilities(params):
        return np.asarray(jax.nn.softmax(predict(params, {}, *whole)))

    step = step if change is None else change(step)

    def learn(state, frozen, batches):
        ((batch, targets),) = batches
        return step(state, frozen, batch.tokens, batch.lengths, targets, batch.rows >= 0)

    trained = fit(
        state,
        {},
        step=learn,
        jobs=[Job(batches, targets, targets)],
        evaluate=lambda params: [(evaluate or probabilities)(params)],
        settings=settings or LoopSettings(evaluations=4, checkpoint_seconds=0),
        folder=folder,
        profile=profile,
        progress=progress,
    )
    (history,) = trained.histories
    if isinstance(history, UserError):
        raise history
    return SimpleNamespace(params=trained.params, history=history)


def assert_equal(left, right):
    np.testing.assert_array_equal(left.params["embedding"], right.params["embedding"])
    for a, b in zip(left.history, right.history, strict=True):
        np.testing.assert_array_equal(a, b)


def test_it_learns(data):
    history = run(data).history
    assert history.losses[-1] < 0.75 * history.losses[0]
    assert len(history.losses) == 20
    assert history.evaluated == [5, 10, 15, 20]
    assert history.probs.shape == (4, ROWS, 2)


class Killed(BaseException):
    """Like SIGKILL: nothing of the program's own runs after it."""


@pytest.mark.parametrize("at", [1, 2, 5, 6, 13, 19])
@pytest.mark.parametrize("select", ["accuracy", "final"])
def test_killed_anywhere_ends_with_the_same_bits(data, tmp_path, at, select):
    settings = LoopSettings(evaluations=4, select=select, checkpoint_seconds=0)
    expected = run(data, settings=settings)

    def die(step, total, loss):
        if step == at:
            raise Killed

    with pytest.raises(Killed):
        run(data, tmp_path / "progress", settings=settings, progress=die)
    assert checkpoint.exists(tmp_path / "progress") == (at > 1)
    steps = []
    resumed = run(data, tmp_path / "progress", settings=settings, progress=lambda step, *_: steps.append(step))
    assert steps[0] == at, "work that was saved is not done again"
    assert_equal(resumed, expected)


def test_asked_to_stop_it_saves_first(data, tmp_path):
    def stop(step, total, loss):
        if step == 7:
            os.kill(os.getpid(), signal.SIGTERM)

    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted, match="step 7 of 20"):
        run(data, tmp_path / "p", settings=LoopSettings(checkpoint_seconds=1e9), progress=stop)
    assert signal.getsignal(signal.SIGTERM) is handler
    assert len(checkpoint.meta(tmp_path / "p")["jobs"][0]["losses"]) == 7
    assert_equal(run(data, tmp_path / "p"), run(data))


@pytest.fixture
def others(monkeypatch):
    """This is one of several processes; `told` gives what all of them say when they meet, from what this one says."""
    answers = SimpleNamespace(told=lambda mine: [mine])
    monkeypatch.setattr(processes, "several", lambda: True)
    monkeypatch.setattr(processes, "gather", lambda mine: answers.told(mine))
    return answers


def test_of_several_processes_one_that_is_asked_to_stop_stops_all_soon(data, monkeypatch, others):
    """Far from any evaluation, and where steps are slow."""
    monkeypatch.setattr(loop, "ASK_SECONDS", 0.04)

    def stop(step, total, loss):
        time.sleep(0.02)
        if step == 10:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match=r"step 1[0-2] of 20"):
        run(data, settings=LoopSettings(evaluations=1, checkpoint_seconds=1e9), progress=stop)


@pytest.mark.parametrize(("seconds", "most"), [(0.001, 2000), (0.5, 4), (15, 1)])
def test_processes_meet_every_few_seconds_and_the_leader_says_when(monkeypatch, others, seconds, most):
    now, met = 0.0, {}
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: now))
    agreed = loop._Agreement(0)
    for step in range(1, 6001):
        now += seconds

        def told(mine, step=step):
            met[step] = mine[2]
            return [mine, [False, True, 1]]

        others.told = told
        saving = agreed(step, False, False, asking=step == 5000) == (False, True)
        assert saving == (step in met)
    assert 5000 in met, "where all know that they will"
    assert max(met.values()) == most
    assert sorted(met)[:3] == [1, 1 + met[1], 1 + met[1] + met[1 + met[1]]]


def test_few_steps_wait_for_the_device(data):
    """A stop, and a checkpoint, wait for all of them."""
    losses, waiting = [], []
    spin = jax.jit(
        lambda x: 0 * jax.lax.fori_loop(0, 100, lambda _, y: jnp.tanh(y @ y), x + jnp.ones((100, 100))).sum()
    )

    def slow(step):
        def slowed(state, *batch):
            state, measured = step(state, *batch)
            more = spin(measured.loss)
            losses.append(measured.loss + more)
            state = state.replace(params=jax.tree.map(lambda leaf: leaf + more, state.params))
            return state, measured._replace(loss=losses[-1])

        return slowed

    def count(*_):
        waiting.append(sum(not loss.is_ready() for loss in losses))

    run(data, settings=LoopSettings(evaluations=1), progress=count, change=slow)
    assert 1 <= max(waiting) <= loop.AHEAD


def scripted(accuracies, data):
    """An `evaluate` whose accuracy against the targets follows a script."""
    labels, script = data[1].argmax(1), iter(accuracies)

    def evaluate(params):
        right = np.arange(ROWS) < round(next(script) * ROWS)
        return np.eye(2, dtype=np.float32)[np.where(right, labels, 1 - labels)]

    return evaluate


def test_the_best_parameters_win_and_of_equals_the_first(data):
    first = run(data, evaluate=scripted([0.5, 0.9, 0.9, 0.2], data))
    assert first.history.best == 1
    shorter = run(data, evaluate=scripted([0.5, 0.9, 0.9, 0.2], data), settings=LoopSettings(4, patience=1))
    assert shorter.history.evaluated == [5, 10, 15]
    np.testing.assert_array_equal(first.params["embedding"], shorter.params["embedding"])
    final = run(data, settings=LoopSettings(4, select="final"))
    assert not np.array_equal(final.params["embedding"], first.params["embedding"])


def test_a_loss_that_is_not_finite_names_its_step(data):
    tokens, targets = data
    broken = targets.copy()
    first = TrainBatches(tokens, 8, seed=0, epochs=1)[2].rows[0]
    broken[first] = np.nan
    with pytest.raises(UserError, match="not finite at step 3"):
        run((tokens, broken), evaluate=scripted([0.5] * 4, data))


@pytest.mark.parametrize(("total", "evaluations"), [(1, 4), (7, 3), (100, 4), (3, 1)])
def test_evaluations_are_spread_and_end_at_the_end(total, evaluations):
    steps = evaluation_steps(total, evaluations)
    assert steps[-1] == total
    assert sorted(set(steps)) == steps
    assert len(steps) == min(total, evaluations)


def traced(folder):
    """The steps of each trace below the folder, as their own annotations name them."""
    found = {}
    for path in folder.rglob("*.xplane.pb"):
        planes = jax.profiler.ProfileData.from_file(str(path)).planes
        events = [event for plane in planes for line in plane.lines for event in line.events if event.name == "train"]
        found[path.relative_to(folder).parts[0]] = sorted({dict(event.stats)["step_num"] for event in events})
    return found


def test_a_few_steps_are_profiled(data, tmp_path):
    run(data, profile=tmp_path / "long")
    (steps,) = traced(tmp_path).values()
    assert steps == [3, 4, 5]


def test_of_a_short_training_the_last_steps_are_profiled_and_an_error_ends_the_trace(data, tmp_path):
    def fail(step, total, loss):
        if step == 4:
            raise UserError("enough")

    with pytest.raises(UserError):
        run(data, profile=tmp_path / "failed", progress=fail)
    run(data, profile=tmp_path / "short", epochs=1)
    assert traced(tmp_path) == {"failed": [3], "short": [2, 3, 4]}
