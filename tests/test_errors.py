"""Simulated supervisors: as many errors as the real one, where they should be, and what an audit finds."""

import dataclasses

import numpy as np
import pytest

from tests import tiny as make
from w2s_jax.supervisors import Errors


@pytest.mark.parametrize("kind", ["independent", "longest", "shortest", "unsure"])
def test_simulated_errors_are_as_many_as_the_real_supervisors(probe_folder, kind):
    plan = make.probes(probe_folder)
    real = plan.supervisors["weak"]
    plan = dataclasses.replace(plan, supervisors={"real": real, "simulated": Errors(real, kind)})
    results = make.run(plan)
    accuracy = {(cell.supervisor, cell.seed): cell.scores["accuracy"]["supervisor"] for cell in results.cells}
    for seed in plan.seeds:
        assert accuracy["simulated", seed] == accuracy["real", seed]
    pairs = [(student, method) for student in plan.students for method in plan.methods]
    assert [(each.kind, each.student, each.method) for each in results.findings] == [("audit", *pair) for pair in pairs]
    found = results.findings[0]
    assert (found.supervisor, found.seeds) == ("simulated", plan.seeds)
    assert "real's mean score" in found.sentence
    scores = {(c.supervisor, c.seed): c.scores for c in results.cells if (c.student, c.method) == pairs[0]}
    roles = (("taught", "simulated", "supervisor"), ("policy", "simulated", "student"), ("honest", "real", "student"))
    for policy, supervisor, role in (*roles, ("expert", "real", "ceiling")):
        of_seeds = [scores[supervisor, seed]["accuracy"][role] for seed in plan.seeds]
        assert found.values[f"accuracy of {policy}"] == pytest.approx(np.mean(of_seeds))
    stage = next(cell for cell in make.cells(plan) if cell.supervisor == "simulated").stages["supervisor"]
    (like_stage,), read = stage.needs, make.read(plan)
    split = stage.splits.transfer
    said, like = (read(each).for_split("transfer", split.ids) for each in (stage, like_stage))
    wrong, really = (probs.argmax(axis=1) != split.labels for probs in (said, like))
    for of_said, of_like in ((wrong, really), (~wrong, ~really)):
        dealt, real_ones = (np.sort(each.max(axis=1)) for each in (said[of_said], like[of_like]))
        np.testing.assert_allclose(dealt, real_ones, atol=1e-6)
    lengths = np.array([len(text) for text in split.texts])
    if kind == "longest":
        assert lengths[wrong].min() >= lengths[~wrong].max()
    if kind == "shortest":
        assert lengths[wrong].max() <= lengths[~wrong].min()
    if kind == "unsure":
        confidence = like.max(axis=1)
        assert confidence[wrong].max() <= confidence[~wrong].min()
