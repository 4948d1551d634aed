"""Judges with an advisor in an experiment, and what advice is worth to them (Lang et al. 2501.13124)."""

import dataclasses

import numpy as np
import pytest

from tests import tiny as make
from w2s_jax import api, metrics, models
from w2s_jax.config import Method
from w2s_jax.data.task_config import TaskConfig
from w2s_jax.data.task_data import TaskData
from w2s_jax.evaluation import storage
from w2s_jax.pipeline import estimate
from w2s_jax.pipeline.session import Session
from w2s_jax.report import table
from w2s_jax.runtime import files
from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.progress import Reporter
from w2s_jax.students import Prompt
from w2s_jax.supervisors import Advised, Ensemble, advised, transcripts
from w2s_jax.train.learner import Learner

NAMES = {"task": "t", "supervisor": "helped", "student": "strong"}


def maker(**options):
    return Advised(Learner("m"), Learner("m"), **{"tokens": 4, **options})


@pytest.mark.slow
@pytest.mark.parametrize("parameters", ["probe", "full"])
def test_an_experiment_with_advised_judges(tmp_path, parameters):
    plan = make.experiment(tmp_path)
    judge = dataclasses.replace(plan.supervisors["weak"], parameters=parameters)
    advisor = plan.students["strong"]
    debate = Advised(judge, advisor, tokens=3)
    supervisors = {
        "alone": judge,
        "debate": debate,
        "consultancy": dataclasses.replace(debate, protocol="consultancy"),
        "shuffled": dataclasses.replace(debate, shuffled=True),
        "two debates": Ensemble((debate, dataclasses.replace(debate, seed=1, temperature=1.0))),
    }
    plan = dataclasses.replace(plan, supervisors=supervisors, methods={"naive": Method()})
    results = api.run(plan, quiet=True)
    assert len(results.cells) == 5
    planned = api.Planned([plan])
    session = Session(planned.store, Reporter(quiet=True))
    stages = {cell.supervisor: cell.stages for cell in planned.cells[0]}
    assert len({each["supervisor"].key for each in stages.values()}) == 5
    assert len({each["ceiling"].key for each in stages.values()}) == 1
    said = {name: session.read(each["supervisor"]).probs for name, each in stages.items()}
    assert all(not np.array_equal(said["alone"], other) for name, other in said.items() if name != "alone")
    assert not np.array_equal(said["debate"], said["shuffled"])
    member = session.read(stages["two debates"]["supervisor"].members[1]).probs
    np.testing.assert_allclose(said["two debates"], (said["debate"] + member) / 2, atol=1e-6)
    student = stages["debate"]["student"].make(session).lesson
    split = planned.tasks[plan.tasks[0]].splits(0).transfer
    assert student.train.split.texts == split.texts, "students read no transcript"
    np.testing.assert_array_equal(
        student.train.targets, session.read(stages["debate"]["supervisor"]).for_split("transfer", split.ids)
    )
    assert "by " in stages["shuffled"]["supervisor"].title


@pytest.mark.parametrize("parameters", ["probe", "full"])
def test_the_estimate_counts_what_is_written_once(tmp_path, monkeypatch, parameters):
    monkeypatch.setattr(estimate, "_speed", lambda: 1.0)
    plan = make.experiment(tmp_path)
    judge = dataclasses.replace(plan.supervisors["weak"], parameters=parameters)
    debate = Advised(judge, plan.students["strong"], turns=2, tokens=3)

    def seconds(supervisors):
        changed = dataclasses.replace(plan, supervisors=supervisors, methods={"naive": Method()})
        planned = api.Planned([changed])
        stages = [stage for stage in planned.stages if stage.role == "supervisor"]
        return estimate.estimate(stages, planned.store).seconds

    texts, model = TaskData(plan.tasks[0]).texts, debate.advisor.model
    length = np.mean([len(ids) for ids in models.outline(model)[1].encode(list(texts))])
    tokens = 4 * length + 3 * (1 + 2 + 3 + 4)  # each argument and all before it
    written = 2 * len(texts) * tokens * models.size(model, embeddings=True)
    twice = {"debate": debate, "shuffled": dataclasses.replace(debate, shuffled=True)}
    least = estimate.LEAST_SECONDS if parameters == "probe" else 0
    plain = seconds({"alone": judge}) - least
    judged = plain * (length + 4 * 3) / length  # with transcripts of four arguments
    assert seconds(twice) == pytest.approx(2 * (judged + least) + written)


def test_what_the_advisor_is_not_used_for_does_not_count(tmp_path):
    model = str(make.llama(tmp_path))
    judge, task = Learner(model), TaskData(TaskConfig("cities"))
    plain = Advised(judge, judge, tokens=4)

    def key(of):
        return files.canonical(of.identity(task))

    assert key(plain) == key(dataclasses.replace(plain, advisor=Learner(model, epochs=9, parameters="lora")))
    for change in ({"turns": 2}, {"seed": 1}, {"shuffled": True}, {"protocol": "consultancy"}, {"temperature": 0.5}):
        assert key(plain) != key(dataclasses.replace(plain, **change))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"turns": 0}, "1 turn or more"),
        ({"temperature": -1.0}, "temperature of 0 or more"),
        ({"heading": "Why?"}, "must hold {answer}"),
    ],
)
def test_advice_that_makes_no_sense_is_refused(options, message):
    with pytest.raises(UserError, match=message):
        maker(**options)
    with pytest.raises(UserError, match="is an average"):
        Ensemble((maker(),) * 2, "bagging")


# ---- What advice is worth to a simulated non-expert (Bowman et al. 2211.03540)


def says(classes):
    return np.eye(2)[classes] * 0.8 + 0.1


def cell(rng, n=400, alone=0.6, helped=0.75, expert=0.9):
    labels = rng.permutation(np.arange(n) % 2)
    said = [
        says(np.where(rng.permutation(n) < n * accuracy, labels, 1 - labels)) for accuracy in (alone, helped, expert)
    ]
    return metrics.Triple(*said, labels=labels)


def test_recovered_is_the_fraction_of_the_gap_and_the_order_is_checked():
    rng = np.random.default_rng(0)
    cells = [cell(rng) for _ in range(2)]
    model = [cell(rng, helped=0.7).student for _ in range(2)]
    for each, own in zip(cells, model, strict=True):  # a model of accuracy .7 on these very examples
        own[:] = says(np.where(rng.permutation(400) < 280, each.labels, 1 - each.labels))
    found = advised.sandwich(NAMES, "alone", [0, 1], cells, model)
    assert (found.kind, found.supervisor, found.method, found.seeds) == ("sandwich", "helped", None, (0, 1))
    assert found.pgr.value == pytest.approx(0.5)
    assert found.pgr.low < 0.5 < found.pgr.high
    accuracy = {"unassisted": 0.6, "assisted": 0.75, "expert": 0.9, "model": 0.7}
    assert {name: found.values[name] for name in accuracy} == pytest.approx(accuracy)
    assert advised.holds(found.values) is True
    worse = advised.sandwich(NAMES, "alone", [0, 1], cells, [1 - probs for probs in model])
    assert advised.holds(worse.values) is False
    assert advised.holds(advised.sandwich(NAMES, "alone", [0, 1], cells).values) is None
    assert "no sandwich" in worse.sentence
    assert "simulated" in found.sentence


def test_over_reliance_by_hand():
    labels = np.array([0, 0, 0, 1, 1, 1])
    alone, helped = np.array([0, 0, 1, 1, 0, 0]), np.array([0, 1, 0, 1, 1, 0])
    argued = np.array([0, 1, 1, 0, 1, 0])
    one = metrics.Triple(says(alone), says(helped), says(labels), labels)
    found = advised.sandwich(NAMES, "alone", [0], [one], argued=[argued])
    assert found.values["misled"] == pytest.approx(1 / 3)  # example 1 of 0, 1, 3
    assert found.values["corrected"] == pytest.approx(2 / 3)  # examples 2 and 4 of 2, 4, 5
    assert found.values["argued right"] == pytest.approx(1.0)  # examples 0 and 4
    assert found.values["argued wrong"] == pytest.approx(0.5)  # examples 2 and 3 of 1, 2, 3, 5
    assert "where the right answer was argued for" in found.sentence


def test_an_experiment_with_both_judges_reports_it(tmp_path):
    plan = make.experiment(tmp_path)
    judge = dataclasses.replace(plan.supervisors["weak"], parameters="probe")
    strong = dataclasses.replace(plan.students["strong"], parameters="probe")
    consultancy = Advised(judge, strong, "consultancy", tokens=2)
    plan = dataclasses.replace(
        plan,
        supervisors={"alone": judge, "helped": consultancy, "other": dataclasses.replace(judge, epochs=3)},
        students={"strong": strong},
        methods={"naive": Method(), "asked": Method(Prompt())},
    )
    found = api.run(plan, quiet=True)
    (only,) = found.findings
    assert (only.kind, only.supervisor, only.seeds) == ("sandwich", "helped", (0,))
    assert "compared with alone" in only.sentence
    accuracy = {(each.supervisor, each.method): each.scores["accuracy"] for each in found.cells}
    assert {name: only.values[name] for name in ("unassisted", "assisted", "expert", "model")} == pytest.approx(
        {
            "unassisted": accuracy["alone", "naive"]["supervisor"],
            "assisted": accuracy["helped", "naive"]["supervisor"],
            "expert": accuracy["alone", "naive"]["ceiling"],
            "model": accuracy["alone", "asked"]["student"],
        }
    )
    split = TaskData(plan.tasks[0]).splits(0).test
    wrong = np.array([transcripts.consulted(text) for text in split.texts]) != split.labels
    shares = np.array([only.values["argued right"], only.values["argued wrong"]])
    assert shares @ [1 - wrong.mean(), wrong.mean()] == pytest.approx(only.values["assisted"])
    assert storage.load(tmp_path / "runs" / "tiny").findings == found.findings
    assert only.sentence in table.markdown(found)
