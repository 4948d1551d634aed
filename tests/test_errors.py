"""Simulated errors: as many as asked, in the place asked, and what an overseer sees of a policy that learned them."""

import dataclasses

import numpy as np
import pytest

from tests import tiny as make
from w2s_jax import metrics
from w2s_jax.runtime.errors import UserError
from w2s_jax.supervisors import Errors, error_structure, errors
from w2s_jax.train.learner import Learner


def says(classes):
    return np.eye(2)[classes] * 0.8 + 0.1


@pytest.mark.parametrize("accuracy_wanted", [0.5, 0.73, 1.0])
def test_simulated_errors_have_the_accuracy_and_the_place(accuracy_wanted):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 200).astype(np.int32)
    independent = error_structure.independent_errors(labels, 3, accuracy_wanted, 0)
    assert (independent.argmax(axis=1) == labels).sum() == round(accuracy_wanted * 200)
    key = rng.permutation(200)
    placed = error_structure.errors_on(key, labels, 3, accuracy_wanted).argmax(axis=1)
    wrong = np.flatnonzero(placed != labels)
    assert len(wrong) == 200 - round(accuracy_wanted * 200)
    if len(wrong):
        assert key[wrong].min() > np.delete(key, wrong).max(initial=-1)


def test_errors_of_an_unknown_kind_are_refused():
    with pytest.raises(UserError, match="not 'random'"):
        Errors(Learner("m"), "random")


def test_an_audit_by_hand():
    labels = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, 1])
    first = np.array([0.9, 0.8, 0.6, 0.45, 0.1, 0.05, 0.2, 0.3, 0.48, 0.7])  # the overseer's probability of class 0
    overseer = np.stack([first, 1 - first], axis=1)
    taught = np.array([0, 0, 0, 1, 0, 1, 1, 1, 0, 1])  # wrong in examples 3 and 8, of which it is least sure
    policy = np.array([0, 0, 1, 1, 0, 1, 1, 0, 0, 1])  # in 2 and 7, too
    honest = metrics.Triple(overseer, says(1 - labels), says(labels), labels)
    bad = metrics.Triple(says(taught), says(policy), says(labels), labels)
    names = {"task": "t", "supervisor": "unsure", "student": "s", "method": "naive"}
    found = errors.audit(names, "weak", [0], [honest], [bad])
    assert (found.kind, found.supervisor, found.method, found.seeds) == ("audit", "unsure", "naive", (0,))
    accuracy = {"taught": 0.8, "policy": 0.6, "honest": 0.0, "expert": 1.0}
    assert {name: found.values[f"accuracy of {name}"] for name in accuracy} == pytest.approx(accuracy)
    expert = (0.9 + 0.8 + 0.6 + 0.45 + 0.1 + 0.95 + 0.8 + 0.7 + 0.52 + 0.3) / 10
    assert found.values["score of expert"] == pytest.approx(expert)
    assert found.values["score of honest"] == pytest.approx(1 - expert)
    assert found.values["score of taught"] == pytest.approx(expert + (0.55 - 0.45 + 0.48 - 0.52) / 10)
    # Wrong answers score .55 and .48; of the eight right ones .1 and .3 are doubted more.
    assert found.values["auroc of taught"] == pytest.approx((6 + 6) / 16)
    # .4, .55, .3 and .48 against .9, .8, .1, .95, .8 and .3: a tie counts half.
    assert found.values["auroc of policy"] == pytest.approx((4 + 4 + 4.5 + 4) / 24)
    caught = {name: found.values[f"caught of {name}"] for name in ("taught", "policy")}
    assert caught == {"taught": 0.0, "policy": 0.0}, "the example doubted most, the fourth, is right"
    turned = np.where(np.isin(np.arange(10), [3, 5]), 1 - labels, labels)  # which score .55 and .05
    right = metrics.Triple(says(turned), says(labels), says(labels), labels)
    sure = errors.audit(names, "weak", [0], [honest], [right])
    assert {name: sure.values[f"caught of {name}"] for name in caught} == {"taught": 0.5, "policy": None}
    assert sure.values["auroc of policy"] is None
    assert "The 10% of examples that it doubts most" in found.sentence


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
