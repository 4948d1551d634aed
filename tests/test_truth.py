"""Stages on ground truth: a truth probe reads the finetuned student, whose parameters are kept for it."""

import dataclasses

import numpy as np

from tests import tiny as make
from w2s_jax import api
from w2s_jax.config import Method
from w2s_jax.train import finetune


def test_saliency_reads_the_finetuned_student_with_ground_truth(finished):
    naive, _, probe = make.students(finished.experiment)
    assert probe.role == "truth-probe"
    assert probe.body.key == naive.key
    assert probe.shown.train.labels is not None
    (cell,) = (each for each in finished.results.cells if each.method == "probed")
    assert cell.stages["student"] == probe.name


def test_what_another_stage_starts_from_is_kept(finished, tmp_path):
    """Also where an experiment keeps no parameters; nothing else is."""
    plan = dataclasses.replace(make.probes(tmp_path), methods={"probed": Method(readout="truth_probe")})
    strong = finished.experiment.students["strong"]
    plan = dataclasses.replace(plan, students={"strong": strong}, seeds=(0,), keep_params=False)
    make.run(plan)
    (student,), store = make.stages(plan, "student"), api.open_store(plan)
    assert "head" in store.params(student.name)
    kept = {path.parent.name for path in store.root.glob("*/params")}
    assert kept == {student.name}


def test_features_of_the_probe_are_those_of_the_finetuned_student(finished):
    plan = finished.experiment
    naive, _, probe = make.students(plan)
    session = make.session(plan)
    before = session.features(naive.learner, probe.all_texts, None)
    after = session.features(probe.learner, probe.all_texts, probe.body)
    assert np.abs(before.matrix - after.matrix).max() > 1e-3
    split = naive.shown.predict["test"]
    head = session.store.params(naive.name)["head"]["kernel"]
    probs = finetune.softmax(after.matrix[after.rows(split.texts)] @ head)
    np.testing.assert_allclose(probs, make.read(plan)(naive).for_split("test", split.ids), atol=1e-4)
