"""Ensembles of supervisors: averages, votes, and what their members are trained on."""

import dataclasses
import doctest

import numpy as np
import pytest

from tests import tiny as make
from w2s_jax.config import Method
from w2s_jax.supervisors import Ensemble, combining
from w2s_jax.train.learner import Generative


def test_boosting_is_samme():
    """Against scikit-learn's formula on a hand-made round: weights, error, vote."""
    probs = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]], np.float32)
    labels = np.array([0, 1, 1, 1])
    weights = np.array([0.1, 0.2, 0.3, 0.4])
    vote, new = combining.boosting_round(probs, labels, weights)
    assert vote == pytest.approx(np.log(0.7 / 0.3))
    expected = weights * np.where([False, False, True, False], np.exp(vote), 1)
    np.testing.assert_allclose(new, expected / expected.sum())
    assert new[2] == pytest.approx(0.5), "the examples that were wrong weigh as much as all others"
    none, same = combining.boosting_round(1 - probs, labels, weights)
    assert none == 0
    np.testing.assert_allclose(same, weights)


def test_votes_and_averages():
    members = np.random.default_rng(0).dirichlet([1, 1, 1], (3, 5)).astype(np.float32)
    np.testing.assert_allclose(combining.average(members), members.sum(axis=0) / 3)
    np.testing.assert_allclose(combining.vote(members, np.array([0.0, 2.0, 0.0])), members[1])
    np.testing.assert_allclose(combining.vote(members, np.zeros(3)), members.mean(axis=0))


def test_a_bootstrap_sample_draws_with_replacement_and_the_same_again():
    drawn = combining.bootstrap_rows(1000, 3)
    assert drawn.min() >= 0
    assert drawn.max() < 1000
    assert len(set(drawn.tolist())) / 1000 == pytest.approx(1 - np.exp(-1), abs=0.05)
    np.testing.assert_array_equal(drawn, combining.bootstrap_rows(1000, 3))
    assert not np.array_equal(drawn, combining.bootstrap_rows(1000, 4))


def test_the_examples_in_docstrings_run():
    failed, attempted = doctest.testmod(combining)
    assert failed == 0 < attempted


@pytest.mark.parametrize("how", ["average", "bagging", "boosting"])
def test_an_ensemble_supervises(probe_folder, how):
    plan = make.probes(probe_folder, methods={"naive": Method()})
    weak = plan.supervisors["weak"]
    members = (weak, dataclasses.replace(weak, epochs=1), dataclasses.replace(weak, epochs=2))
    plan = dataclasses.replace(plan, supervisors={"several": Ensemble(members, how)})
    results = make.run(plan)
    assert {cell.supervisor for cell in results.cells} == {"several"}
    together, read = make.cells(plan)[0].stages["supervisor"], make.read(plan)
    assert len(together.members) == 3
    ids = together.shown.predict["test"].ids
    mean = np.mean([read(member).for_split("test", ids) for member in together.members], axis=0)
    if how != "boosting":
        np.testing.assert_allclose(read(together).for_split("test", ids), mean, atol=1e-5)
    session = make.session(plan)
    given = [member.make(session).lesson.train.split.ids for member in together.members]
    repeated = [len(set(ids)) < len(ids) for ids in given]
    assert repeated == [how != "average"] * 3


def test_boosting_draws_what_the_members_before_got_wrong(probe_folder):
    plan = make.probes(probe_folder, methods={"naive": Method()}, seeds=(0,))
    weak = plan.supervisors["weak"]
    plan = dataclasses.replace(plan, supervisors={"boosted": Ensemble((weak,) * 4, "boosting")})
    make.run(plan)
    first, second = make.cells(plan)[0].stages["supervisor"].members[:2]
    split = second.splits.supervisor
    said = make.read(plan)(first).for_split("supervisor", split.ids).argmax(axis=1)
    wrong = {split.ids[row] for row in np.flatnonzero(said != split.labels)}
    drawn = second.make(make.session(plan)).lesson.train.split.ids
    share = sum(identifier in wrong for identifier in drawn) / len(drawn)
    assert share > len(wrong) / len(split.ids) + 0.05, "half the weight is on what was wrong"


@pytest.mark.parametrize("how", ["average", "bagging", "boosting"])
def test_a_member_that_begins_with_generative_finetuning_starts_from_it(tmp_path, how):
    """It needs the stage of generative finetuning, and is another stage than the member without."""
    plan = make.experiment(tmp_path, methods={"naive": Method()})
    weak = plan.supervisors["weak"]
    adapts = dataclasses.replace(weak, generative=Generative(batch_size=8))

    def members(learner):
        supervisors = {"several": Ensemble((learner, learner), how)}
        (cell,) = make.cells(dataclasses.replace(plan, supervisors=supervisors))
        return cell.stages["supervisor"].members

    for plain, member in zip(members(weak), members(adapts), strict=True):
        assert plain.body is None
        assert member.body.role == "adapted"
        assert member.body.key in {need.key for need in member.needs}
        assert member.key != plain.key


@pytest.mark.slow
def test_the_labels_of_a_member_are_those_of_the_adapted_model(tmp_path):
    """As of the same learner that supervises alone, and others than without generative finetuning."""
    plan = make.probes(tmp_path, methods={"naive": Method()}, seeds=(0,))
    weak = plan.supervisors["weak"]
    adapts = dataclasses.replace(weak, generative=Generative(batch_size=8, learning_rate=3e-2))
    supervisors = {
        "plain": weak,
        "adapted": adapts,
        "several": Ensemble((adapts, dataclasses.replace(adapts, epochs=1))),
    }
    plan = dataclasses.replace(plan, supervisors=supervisors, students={"middle": plan.students["middle"]})
    make.run(plan)
    stages = {cell.supervisor: cell.stages["supervisor"] for cell in make.cells(plan)}
    read, ids = make.read(plan), stages["plain"].shown.predict["test"].ids
    plain, alone = (read(stages[name]).for_split("test", ids) for name in ("plain", "adapted"))
    member, other = (read(each).for_split("test", ids) for each in stages["several"].members)
    np.testing.assert_array_equal(member, alone)
    assert np.abs(member - plain).max() > 1e-3
    np.testing.assert_allclose(read(stages["several"]).for_split("test", ids), (member + other) / 2, atol=1e-6)
