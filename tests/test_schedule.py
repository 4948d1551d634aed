"""Running stages: what survives a kill, what processes share, and what happens when a stage fails."""

import dataclasses
import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path

import jax
import pytest

from tests import tiny as make
from w2s_jax import api
from w2s_jax.config import Method
from w2s_jax.pipeline import schedule
from w2s_jax.pipeline.session import Session
from w2s_jax.runtime.errors import Interrupted, UserError
from w2s_jax.stages.supervise import Supervisor
from w2s_jax.students import Train
from w2s_jax.train import loop
from w2s_jax.train.optimizer import OptimizerConfig


def _run_in_process(plan):
    jax.config.update("jax_num_cpu_devices", 8)  # as in this process: the same bits need the same devices
    api.sweep([plan], make.quiet())


def same_bits(plan, finished):
    expected = make.bits(finished.experiment)
    found = make.bits(plan)
    return found == {name: expected[name] for name in found}


@pytest.mark.slow
@pytest.mark.parametrize("delay", [1.5, 3.0, 5.0])
def test_killed_at_any_moment_the_same_command_ends_with_the_same_bits(finished, tmp_path, delay):
    plan = make.experiment(tmp_path, checkpoint_seconds=0)
    process = multiprocessing.get_context("spawn").Process(target=_run_in_process, args=(plan,))
    process.start()
    started = Path(plan.out) / "stages"
    while not started.exists():
        time.sleep(0.05)
    time.sleep(delay)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    make.run(plan)
    assert same_bits(plan, finished)


@pytest.mark.slow
def test_killed_inside_each_stage_it_resumes_from_the_checkpoint(finished, tmp_path, monkeypatch):
    plan = make.experiment(tmp_path, checkpoint_seconds=0)
    save, saves = loop._save, []

    class Killed(BaseException):
        pass

    def save_and_die(*args):
        save(*args)
        saves.append(args)
        if len(saves) % 4 == 3:
            raise Killed

    monkeypatch.setattr(loop, "_save", save_and_die)
    for _ in range(20):
        try:
            make.run(plan)
            break
        except Killed:
            pass
    else:
        pytest.fail("it never came to an end")
    assert len(saves) > 10
    assert same_bits(plan, finished)


@pytest.mark.slow
def test_two_processes_on_one_folder_share_the_work(finished, tmp_path):
    plan = make.experiment(tmp_path)
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_run_in_process, args=(plan,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert same_bits(plan, finished)


def test_a_killed_sweep_of_probes_ends_with_the_same_bits(tmp_path):
    """Some stages of every group are lost; the rest of the group decides their bits too, so they are fitted again."""
    methods = {"naive": Method(), "confidence": Method(Train("confidence")), "again": Method(rounds=2)}
    plan = make.probes(tmp_path, methods=methods)
    make.run(plan)
    expected = make.bits(plan)
    store = api.open_store(plan)
    for stage in make.stages(plan)[::3]:
        shutil.rmtree(store.folder(stage.name))
    make.run(plan)
    assert make.bits(plan) == expected


def test_a_stage_that_fails_does_not_stop_the_rest(finished, tmp_path):
    plan = finished.copy(tmp_path)
    weak = plan.supervisors["weak"]
    wild = dataclasses.replace(weak, optimizer=OptimizerConfig("sgd", 1e30, clip_norm=None))
    plan = dataclasses.replace(plan, supervisors={"wild": wild, "weak": weak})
    results, failures, *_ = make.attempt(plan)
    assert {failure.stage.role for failure in failures} == {"supervisor", "student", "truth-probe"}
    assert any("not finite at step" in failure.reason for failure in failures)
    assert any("a stage that it needs failed: supervisor" in failure.reason for failure in failures)
    assert [cell.supervisor for cell in results.cells] == ["weak"] * 3


@dataclasses.dataclass(frozen=True)
class Broken(Supervisor):
    """A supervisor with a bug, or with too little memory."""

    error: type[Exception]

    def label(self, inputs):
        raise self.error("the second\nand more")

    def identity(self, task):
        return {"broken": self.error.__name__}


@pytest.mark.parametrize("error", [TypeError, MemoryError, KeyError, RuntimeError])
def test_an_error_of_any_kind_fails_its_stage_only_and_its_last_lines_are_kept(probe_folder, error):
    plan = make.probes(probe_folder, methods={"naive": Method()}, seeds=(0,))
    plan = dataclasses.replace(plan, supervisors={"broken": Broken(error), **plan.supervisors})
    results, failures, *_ = make.attempt(plan)
    assert [cell.supervisor for cell in results.cells] == ["weak", "weak"]
    (failure,) = (each for each in failures if each.stage.role == "supervisor")
    lines = api.open_store(plan).failed(failure.stage.name)
    assert lines == Path(plan.out) / "stages" / failure.stage.name / "failed.txt"
    assert str(lines) in failure.reason
    assert "\n" not in failure.reason
    kept = lines.read_text()
    assert "in label" in kept
    assert "the second" in kept
    if error is not MemoryError:
        assert error.__name__ in failure.reason
    assert [cell for cell in failures if cell is not failure], "its students are not tried"
    states = api.Planned([plan]).status()
    assert [stage.key for stage, state in states if state == "failed"] == [failure.stage.key]
    assert {stage.role for stage, state in states if state == "to do"} == {"student"}


def test_one_bad_stage_of_a_group_does_not_spoil_the_others(probe_folder, tmp_path, monkeypatch):
    """Probes are fitted together; where that fails each is made by itself."""
    plan = make.probes(probe_folder, methods={"naive": Method()}, out=str(tmp_path / "runs"))
    made = Session.make

    def troubled(self, stages, *more):
        if any(stage.role == "ceiling" and stage.seed == 1 for stage in stages):
            raise TypeError("no luck")
        return made(self, stages, *more)

    monkeypatch.setattr(Session, "make", troubled)
    results, failures, *_ = make.attempt(plan)
    assert {(failure.stage.role, failure.stage.seed) for failure in failures} == {("ceiling", 1)}
    assert {cell.seed for cell in results.cells} == {0}
    store = api.open_store(plan)
    failed = {path.parent.name for path in store.root.glob("*/failed.txt")}
    assert failed == {failure.stage.name for failure in failures}, "no other keeps an error of the group"
    monkeypatch.undo()
    assert len(make.run(plan).cells) == 4
    assert not list(store.root.glob("*/failed.txt"))


@pytest.mark.parametrize("stop", [Interrupted("enough"), KeyboardInterrupt()], ids=["interrupted", "ctrl-c"])
def test_who_asks_it_to_stop_stops_all(tiny, monkeypatch, stop):
    def interrupted(self, stages, *more):
        raise stop

    monkeypatch.setattr(Session, "make", interrupted)
    with pytest.raises(type(stop)):
        make.attempt(tiny)


def test_what_is_wrong_is_found_before_anything_is_computed(tiny, monkeypatch):
    monkeypatch.setattr(schedule, "run_stages", lambda *_: pytest.fail("it began"))
    plan = dataclasses.replace(tiny, methods={"naive": Method(), "m": Method(Train(lambda logits, targets: 0.0))})
    with pytest.raises(UserError):
        make.attempt(plan)
