"""Sweeps whose finetunings train together: the same stages, found, resumed and failed one by one."""

import re

import jax
import numpy as np
import pytest

from tests import tiny as make
from w2s_jax import api, devices, models
from w2s_jax.config import MeshConfig, Method
from w2s_jax.models.target import Target
from w2s_jax.pipeline import schedule, session
from w2s_jax.pipeline.store import Store
from w2s_jax.plan import fitting
from w2s_jax.runtime import checkpoint, sharding
from w2s_jax.runtime.errors import UserError
from w2s_jax.students import Train

TOLERANCE = {"rtol": 2e-3, "atol": 3e-4}


def plan(folder, jobs=None, **changes):
    """Two methods and two seeds: two supervisors, two ceilings and four students."""
    return make.experiment(folder, checkpoint_seconds=0, seeds=(0, 1), jobs=jobs, **changes)


def learned(experiment):
    store = api.open_store(experiment)
    return {stage.name: store.read(stage.name) for stage in make.stages(experiment)}


def sizes(monkeypatch):
    """How many jobs each program that is run has."""
    found, run = [], session.finetune_together

    def counted(learners, *arguments, **options):
        found.append(len(learners))
        return run(learners, *arguments, **options)

    monkeypatch.setattr(session, "finetune_together", counted)
    return found


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    make.run(plan(folder, jobs=1))
    return folder


def copied(alone, folder):
    """The models and the task of a finished run, without the run."""
    import shutil

    shutil.copytree(alone, folder, ignore=shutil.ignore_patterns("runs"), dirs_exist_ok=True)
    return folder


def assert_same(experiment, alone):
    ours, theirs = learned(experiment), learned(plan(alone))
    assert ours.keys() == theirs.keys(), "who trains together is no part of a stage's hash"
    for name, stage in theirs.items():
        assert ours[name].predictions.ids == stage.predictions.ids
        np.testing.assert_allclose(ours[name].predictions.probs, stage.predictions.probs, **TOLERANCE)
        np.testing.assert_allclose(ours[name].history.losses, stage.history.losses, **TOLERANCE)


@pytest.mark.slow
def test_a_group_gives_the_stages_that_each_alone_gives(tmp_path, alone, monkeypatch):
    experiment, found = plan(copied(alone, tmp_path), jobs=4), sizes(monkeypatch)
    make.run(experiment)
    assert found == [2, 2, 4], "supervisors, ceilings, and the students of both methods and seeds"
    assert_same(experiment, alone)
    store = api.open_store(experiment)
    for stage in make.stages(experiment):
        assert not [path.name for path in store.folder(stage.name).iterdir() if path.name.startswith("jobs")]
        params = store.params(stage.name)
        expected = api.open_store(plan(alone)).params(stage.name)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-2, atol=1e-3), params, expected)


def test_one_device_of_a_cpu_trains_one_at_a_time_and_several_as_many_as_they_are(tmp_path, alone):
    experiment = plan(alone)
    (first, *_) = make.stages(experiment)
    assert make.session(experiment).at_once(first) == 1
    assert make.session(experiment, sharding.make_mesh(4, 2)).at_once(first) == 4
    for most, expected in ((4, [2, 2, 4]), (3, [1, 2, 2, 3])):
        groups = schedule.groups(make.stages(experiment), lambda stage, most=most: most, Store(tmp_path))
        assert sorted(len(group) for group in groups) == expected


class Killed(BaseException):
    """Like SIGKILL: nothing of the program's own runs after it."""


@pytest.mark.parametrize("when", ["writing", *make.slow("training")])
@pytest.mark.slow
def test_killed_the_group_resumes_with_the_same_bits(tmp_path, alone, monkeypatch, when):
    expected = plan(copied(alone, tmp_path / "expected"), jobs=4)
    make.run(expected)
    experiment = plan(copied(alone, tmp_path / "killed"), jobs=4)
    with monkeypatch.context() as patch:
        if when == "training":
            saves, save = [], checkpoint.Saver.save

            def killed(self, *arguments):
                save(self, *arguments)
                self.wait()
                saves.append(1)
                if len(saves) == 20:  # among the students, the third group
                    raise Killed

            patch.setattr(checkpoint.Saver, "save", killed)
        else:
            writes, write = [], Store.write

            def killed(self, *arguments, **options):
                if len(writes) == 6:  # two supervisors, two ceilings and two of four students are written
                    raise Killed
                writes.append(1)
                write(self, *arguments, **options)

            patch.setattr(Store, "write", killed)
        with pytest.raises(Killed):
            make.run(experiment)
    states = [state for _, state in api.Planned([experiment]).status()]
    assert states.count("started") == (4 if when == "training" else 2)
    assert "to do" not in states
    steps = []
    monkeypatch.setattr(session.Session, "at_once", lambda self, stage: 2)  # as on another number of devices
    monkeypatch.setattr("w2s_jax.runtime.progress.Reporter.step", lambda self, step, *_, **__: steps.append(step))
    make.run(experiment)
    assert steps[0] > 1, "what was checkpointed is not done again"
    assert make.bits(experiment) == make.bits(expected)


@pytest.mark.slow
def test_one_that_fails_fails_alone(tmp_path, alone, monkeypatch):
    experiment = plan(
        copied(alone, tmp_path), jobs=4, methods={"naive": Method(), "bad": Method(Train(_bad(tmp_path)))}
    )
    failures = make.attempt(experiment).failures
    assert [re.sub(" at step .*", "", failure.reason) for failure in failures] == ["the loss is not finite"] * 2
    assert {failure.stage.way.describe() for failure in failures} == {str(_bad(tmp_path))}
    done = learned(plan(tmp_path, methods={"naive": Method()}))
    for name, stage in learned(plan(alone, methods={"naive": Method()})).items():
        np.testing.assert_allclose(done[name].predictions.probs, stage.predictions.probs, **TOLERANCE)


def _bad(folder):
    file = folder / "bad.py"
    file.write_text("import jax.numpy as jnp\ndef bad(logits, targets):\n    return jnp.log(-1 - logits[:, 0] ** 2)\n")
    return f"{file}:bad"


@pytest.mark.slow
def test_what_does_not_fit_together_trains_in_halves(tmp_path, alone, monkeypatch):
    experiment, found = plan(copied(alone, tmp_path), jobs=4), []
    run = session.finetune_together

    def small(learners, *arguments, **options):
        found.append(len(learners))
        if len(learners) > 2:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate")
        return run(learners, *arguments, **options)

    monkeypatch.setattr(session, "finetune_together", small)
    make.run(experiment)
    assert found == [2, 2, 4, 2, 2]
    assert_same(experiment, alone)


@pytest.mark.slow
def test_on_several_devices_no_flag_is_needed(tmp_path, alone, monkeypatch):
    experiment, found = plan(copied(alone, tmp_path)), sizes(monkeypatch)
    monkeypatch.setattr("w2s_jax.devices.mesh", lambda config, stages: sharding.make_mesh(8))
    make.run(experiment)
    assert found == [2, 2, 4]
    assert_same(experiment, alone)


def test_a_number_of_jobs_is_one_or_more(tmp_path):
    with pytest.raises(UserError, match="jobs must be 1 or more, not 0"):
        plan(tmp_path, jobs=0)


def test_as_many_as_memory_holds_and_larger_models_over_devices(tmp_path, alone, monkeypatch):
    (stage, *_) = make.stages(plan(alone), "student")
    parameters = 4 * models.size(stage.learner.model)
    each = fitting.footprint(stage.learner, stage.task, Target("tpu"))
    assert each.own > 4 * parameters, "parameters, two moments, and the best so far"
    found = fitting.footprint(stage.learner, stage.task, Target("cuda", 9.0))
    assert found.own > each.own + parameters, "at the same time each has its gradients"
    monkeypatch.setattr(devices, "target", lambda: Target("cuda", 9.0))
    monkeypatch.setattr(devices, "memory", lambda: 5 * found.own)
    assert devices.holds(stage) == 4
    assert devices.mesh(MeshConfig(), [stage]).shape["fsdp"] == 1
    monkeypatch.setattr(devices, "memory", lambda: found.own // 2)
    assert devices.holds(stage) == 0
    assert devices.mesh(MeshConfig(), [stage]).shape["fsdp"] == 4
    assert devices.mesh(MeshConfig(data=2, fsdp=4), [stage]).shape["fsdp"] == 4, "what the config says holds"
    assert make.session(plan(alone), None).at_once(stage) == 1


def test_a_dry_run_says_what_trains_together(tmp_path, alone, capsys):
    experiment = plan(copied(alone, tmp_path), jobs=4)
    assert api.Planned([experiment]).together() == "8 finetunings train together, in 3 groups of 4 at most"
    assert api.Planned([plan(alone)]).together() == ""
