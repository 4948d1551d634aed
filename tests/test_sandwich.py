"""What advice is worth to a simulated non-expert (Bowman et al. 2211.03540), and what an overseer sees of policies."""

import dataclasses

import numpy as np
import pytest

from tests import tiny as make
from w2s_jax import metrics
from w2s_jax.config import Advised, Method
from w2s_jax.evaluation import oversight, results
from w2s_jax.pipeline import materials, runner
from w2s_jax.report import table
from w2s_jax.runtime.progress import Reporter
from w2s_jax.supervisors import advice

NAMES = {"task": "t", "unassisted": "alone", "assisted": "helped", "student": "strong"}


def says(classes):
    return np.eye(2)[classes] * 0.8 + 0.1


def cell(rng, n=400, alone=0.6, helped=0.75, expert=0.9):
    labels = rng.permutation(np.arange(n) % 2)
    said = [
        says(np.where(rng.permutation(n) < n * accuracy, labels, 1 - labels)) for accuracy in (alone, helped, expert)
    ]
    return metrics.Triple(*said, labels=labels)


def test_recovered_is_the_share_of_the_gap_and_the_order_is_checked():
    rng = np.random.default_rng(0)
    cells = [cell(rng) for _ in range(2)]
    model = [cell(rng, helped=0.7).student for _ in range(2)]
    for each, own in zip(cells, model, strict=True):  # a model of accuracy .7 on these very rows
        own[:] = says(np.where(rng.permutation(400) < 280, each.labels, 1 - each.labels))
    found = oversight.sandwich(NAMES, [0, 1], cells, model)
    assert found.recovered.value == pytest.approx(0.5)
    assert found.recovered.low < 0.5 < found.recovered.high
    assert found.accuracy == pytest.approx({"unassisted": 0.6, "assisted": 0.75, "expert": 0.9, "model": 0.7})
    assert found.holds is True
    worse = oversight.sandwich(NAMES, [0, 1], cells, [1 - probs for probs in model])
    assert worse.holds is False
    assert oversight.sandwich(NAMES, [0, 1], cells).holds is None
    assert "no sandwich" in table.sandwich(worse)
    assert "simulated" in table.sandwich(found)


def test_over_reliance_by_hand():
    labels = np.array([0, 0, 0, 1, 1, 1])
    alone, helped = np.array([0, 0, 1, 1, 0, 0]), np.array([0, 1, 0, 1, 1, 0])
    argued = np.array([0, 1, 1, 0, 1, 0])
    one = metrics.Triple(says(alone), says(helped), says(labels), labels)
    found = oversight.sandwich(NAMES, [0], [one], argued=[argued])
    assert found.misled == pytest.approx(1 / 3)  # row 1 of 0, 1, 3
    assert found.corrected == pytest.approx(2 / 3)  # rows 2 and 4 of 2, 4, 5
    assert found.argued_right == pytest.approx(1.0)  # rows 0 and 4
    assert found.argued_wrong == pytest.approx(0.5)  # rows 2 and 3 of 1, 2, 3, 5
    assert "where right was argued for" in table.sandwich(found)


def test_an_experiment_with_both_judges_reports_it(tmp_path):
    plan = make.experiment(tmp_path)
    judge = dataclasses.replace(plan.supervisors["weak"], parameters="probe")
    strong = dataclasses.replace(plan.students["strong"], parameters="probe")
    consultancy = Advised(judge, strong, "consultancy", tokens=2)
    plan = dataclasses.replace(
        plan,
        supervisors={"alone": judge, "helped": consultancy, "other": dataclasses.replace(judge, epochs=3)},
        students={"strong": strong},
        methods={"naive": Method(), "asked": Method(learn="prompt")},
    )
    found, failures = runner.run(plan, Reporter(quiet=True))
    assert failures == []
    (only,) = found.sandwiches
    assert (only.unassisted, only.assisted, only.seeds) == ("alone", "helped", (0,))
    scores = {(each.supervisor, each.method): each.scores for each in found.cells}
    assert only.accuracy == pytest.approx(
        {
            "unassisted": scores["alone", "naive"]["supervisor"].accuracy,
            "assisted": scores["helped", "naive"]["supervisor"].accuracy,
            "expert": scores["alone", "naive"]["ceiling"].accuracy,
            "model": scores["alone", "asked"]["student"].accuracy,
        }
    )
    split = materials.splits(plan.tasks[0], 0).test
    wrong = np.array([advice.consulted(text) for text in split.texts]) != split.labels
    shares = np.array([only.argued_right, only.argued_wrong])
    assert shares @ [1 - wrong.mean(), wrong.mean()] == pytest.approx(only.accuracy["assisted"])
    results.save(found, tmp_path)
    assert results.load(tmp_path).sandwiches == found.sandwiches
    assert "assisted" in table.markdown(found)


def test_an_audit_by_hand():
    labels = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, 1])
    first = np.array([0.9, 0.8, 0.6, 0.45, 0.1, 0.05, 0.2, 0.3, 0.48, 0.7])  # the overseer's probability of class 0
    overseer = np.stack([first, 1 - first], axis=1)
    taught = np.array([0, 0, 0, 1, 0, 1, 1, 1, 0, 1])  # wrong in rows 3 and 8, of which it is least sure
    policy = np.array([0, 0, 1, 1, 0, 1, 1, 0, 0, 1])  # in 2 and 7, too
    honest = metrics.Triple(overseer, says(1 - labels), says(labels), labels)
    bad = metrics.Triple(says(taught), says(policy), says(labels), labels)
    names = {"task": "t", "overseer": "weak", "errors": "unsure", "student": "s", "method": "naive"}
    found = oversight.audit(names, [0], [honest], [bad])
    assert found.accuracy == pytest.approx({"taught": 0.8, "policy": 0.6, "honest": 0.0, "expert": 1.0})
    expert = (0.9 + 0.8 + 0.6 + 0.45 + 0.1 + 0.95 + 0.8 + 0.7 + 0.52 + 0.3) / 10
    assert found.score["expert"] == pytest.approx(expert)
    assert found.score["honest"] == pytest.approx(1 - expert)
    assert found.score["taught"] == pytest.approx(expert + (0.55 - 0.45 + 0.48 - 0.52) / 10)
    # Wrong answers score .55 and .48; of the eight right ones .1 and .3 are doubted more.
    assert found.auroc["taught"] == pytest.approx((6 + 6) / 16)
    # .4, .55, .3 and .48 against .9, .8, .1, .95, .8 and .3: a tie counts half.
    assert found.auroc["policy"] == pytest.approx((4 + 4 + 4.5 + 4) / 24)
    assert found.caught == {"taught": 0.0, "policy": 0.0}, "the row doubted most, the fourth, is right"
    turned = np.where(np.isin(np.arange(10), [3, 5]), 1 - labels, labels)  # which score .55 and .05
    sure = oversight.audit(names, [0], [honest], [metrics.Triple(says(turned), says(labels), says(labels), labels)])
    assert sure.caught == {"taught": 0.5, "policy": None}
    assert sure.auroc["policy"] is None
    assert "10% audited" in table.audit(found)
