"""Debates of parts: who speaks when, how arguments are chosen, whether a critic is believed, and what is found."""

import dataclasses

import jax
import numpy as np
import pytest

from tests import tiny as make
from w2s_jax import api, models, serialize
from w2s_jax.config import Method
from w2s_jax.data.task_data import TaskData
from w2s_jax.models.preference import Preference
from w2s_jax.pipeline import schedule
from w2s_jax.pipeline.session import Session
from w2s_jax.pipeline.store import Store
from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.progress import Reporter
from w2s_jax.supervisors import Asked, Debated, Ensemble, transcripts
from w2s_jax.supervisors.debates import findings
from w2s_jax.supervisors.debates.debaters import BestOf, Opening, Refined, Speaker
from w2s_jax.supervisors.debates.desk import TEMPLATE, Desk
from w2s_jax.supervisors.debates.findings import Judged
from w2s_jax.supervisors.debates.protocols import Criticized, Proposed, Questioned, TwoSided
from w2s_jax.supervisors.debates.training import Tuned
from w2s_jax.train.learner import Learner
from w2s_jax.train.optimizer import OptimizerConfig
from w2s_jax.train.prompting import Asking
from w2s_jax.train.writing import Writer

ANSWERS = ("bad", "good")
TEXTS = [f"the {first} was {second}" for first in make.WORDS[:8] for second in make.WORDS]


@pytest.fixture(scope="module")
def learner(tmp_path_factory):
    return Learner(str(make.llama(tmp_path_factory.mktemp("debater"), seed=3)))


def desk(root):
    return Desk(Session(Store(root / "stages"), Reporter(quiet=True)), ANSWERS)


def held(debate, texts, root):
    return dict(zip(texts, debate._hold(texts, desk(root)), strict=True))


# ---- Who speaks when


def test_a_hash_says_who_has_which_side_and_who_begins():
    cues = [TwoSided(turns=2).cues(text, swapped=False) for text in TEXTS]
    swapped = [TwoSided(turns=2).cues(text, swapped=True) for text in TEXTS]
    for one, other in zip(cues, swapped, strict=True):
        assert [each.role for each in one] == [each.role for each in other][::-1]
        assert {(each.role, each.answer) for each in one} == {(each.role, each.answer) for each in other}
        assert sorted(each.answer for each in one[:2]) == [0, 1]
    table = np.array([[each[0].role == "first", next(c.answer for c in each if c.role == "first")] for each in cues])
    for column in (table[:, 0], table[:, 1], table[:, 0] == table[:, 1]):  # and the two coins are not one
        assert 0.3 < column.mean() < 0.7


def test_the_judge_asks_between_turns_and_debaters_read_the_question(learner, tmp_path):
    judge = Speaker(learner, tokens=2)
    debate = Debated(Asked(learner), (Speaker(learner, tokens=3),), Questioned(judge, turns=2))
    text = TEXTS[0]
    said = held(debate, TEXTS[:3], tmp_path)[text]
    assert [each.speaker for each in said][2] == "judge"
    assert len(said) == 5
    opening = text
    for each in said[:2]:
        opening += f"\nThe answer is {ANSWERS[each.answer]} because"
        assert each.argument == Writer(learner)([opening], tokens=3)[0]
        opening += f" {each.argument}"
    opening += "\nThe judge asks: Why"
    assert said[2].argument == Writer(learner)([opening], tokens=2)[0]
    opening += f" {said[2].argument}\nThe answer is {ANSWERS[said[0].answer]} because"
    assert said[3].argument == Writer(learner)([opening], tokens=3)[0]
    assert said[3].answer == said[0].answer


def test_a_critic_speaks_on_what_was_proposed(learner, tmp_path):
    debate = Debated(Asked(learner), (Speaker(learner, tokens=3),), Criticized(Speaker(learner, tokens=2)))
    said = held(debate, TEXTS[:5], tmp_path)
    for text, (proposal, word) in said.items():
        assert proposal.answer == word.answer == transcripts.consulted(text)
        assert word.speaker == "critic"
        assert debate._without_critic(text, said[text]) == (proposal,)


# ---- How arguments are chosen


def openings(count=6):
    return [Opening(f"{text}\nThe answer is {ANSWERS[i % 2]} because", i % 2) for i, text in enumerate(TEXTS[:count])]


def test_the_best_of_several_is_what_the_judge_answers_most_surely_after(learner, tmp_path):
    sampled = Speaker(learner, tokens=4, temperature=2.0, seed=5)
    best, at = BestOf(sampled, learner, 3), desk(tmp_path)
    chosen = best.say(openings(), at)
    written = [dataclasses.replace(sampled, seed=5 + n).say(openings(), at) for n in range(3)]
    assert len({tuple(each) for each in written}) == 3
    asking = Asking(learner, at.session.pretrained(learner, None))
    for row, opening in enumerate(openings()):
        texts = [f"{opening.prompt} {each[row]}" for each in written]
        logits = asking.logits(texts, [], [f" {answer}" for answer in ANSWERS], template=TEMPLATE)
        probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        assert chosen[row] == written[int(probs[:, opening.answer].argmax())][row]
    assert chosen != written[0], "a judge who always takes the first would pass"


def test_an_argument_is_criticized_written_anew_and_the_judge_picks(learner, tmp_path):
    plain = Speaker(learner, tokens=4)
    refined, at = Refined(plain, learner), desk(tmp_path)
    first = plain.say(openings(), at)
    weak = [f"{each.prompt} {old}{refined.critique}" for each, old in zip(openings(), first, strict=True)]
    why = Writer(learner)(weak, tokens=4)
    again = [
        f"{before} {because}\nA better argument: The answer is {ANSWERS[each.answer]} because"
        for before, because, each in zip(weak, why, openings(), strict=True)
    ]
    second = Writer(learner)(again, tokens=4)
    rated = [at.prefer(learner, openings(), each) for each in (first, second)]
    expected = [b if y > x else a for a, b, x, y in zip(first, second, *rated, strict=True)]
    assert refined.say(openings(), at) == expected
    assert any(a == b for a, b in zip(expected, second, strict=True))


@pytest.mark.parametrize(
    ("make_it", "message"),
    [
        (lambda plain: BestOf(plain, plain.learner), "temperature above 0"),
        (lambda plain: Speaker(plain.learner, tokens=0), "1 token or more"),
        (lambda plain: Refined(plain, plain.learner, again="Again:"), "holds? {heading}|{heading} in `again`"),
        (lambda plain: TwoSided(turns=0), "1 turn or more"),
        (lambda plain: Questioned(plain, turns=1), "want 2 or more"),
        (lambda plain: TwoSided(heading="Because"), "hold {answer}"),
        (lambda plain: Debated(plain.learner, ()), "one debater"),
    ],
)
def test_parts_that_make_no_sense_are_refused(make_it, message):
    with pytest.raises(UserError, match=message):
        make_it(Speaker(Learner("m")))


# ---- Debaters trained by a judge's preferences


def tuned_of(learner, **options):
    sampled = Speaker(learner, tokens=4, temperature=2.0, seed=5)
    training = dataclasses.replace(
        learner,
        **{
            "parameters": "lora",
            "preference": Preference("dpo", beta=0.1),
            "epochs": 8,
            "batch_size": 8,
            "optimizer": OptimizerConfig(learning_rate=1e-2),
            **options,
        },
    )
    return Tuned(BestOf(sampled, learner, 2), training)


@pytest.mark.slow
def test_pairs_are_what_the_judge_prefers_and_training_makes_them_more_probable(learner, tmp_path):
    plan = make.experiment(tmp_path)
    task = TaskData(plan.tasks[0])
    stage = tuned_of(learner).trains(task, 0, TwoSided())
    session = Session(Store(tmp_path / "stages"), Reporter(quiet=True))
    train = stage.make(session).lesson.train
    at = desk(tmp_path)
    for (one, two), wanted, identifier in zip(train.split.texts, train.targets, train.split.ids, strict=True):
        side = int(identifier.rpartition("#")[2])
        heading = f"\nThe answer is {task.answers[side]} because"
        prompts = [Opening(each[: each.index(heading) + len(heading)], side) for each in (one, two)]
        said = [each.split(heading, 1)[1].strip() for each in (one, two)]
        at.answers = task.answers
        rated = at.prefer(learner, prompts, said)
        assert wanted[int(rated[1] > rated[0])] == 1
        assert one != two
    assert {identifier.rpartition("#")[0] for identifier in train.split.ids} <= set(task.splits(0).transfer.ids)
    assert train.split.labels is None
    assert schedule.run_stages([stage], session) == []
    before, after = session.pretrained(learner, None), session.pretrained(learner, stage)
    margins = [_margin(learner, start, train) for start in (before, after)]
    assert margins[1] > margins[0] + 0.1


def _margin(learner, start, train):
    """By how much the preferred arguments are more probable than the others, in nats, mean."""
    module, params = models.build_language_model(start, rng=jax.random.key(0), dtype="float32", mesh=None)
    rows = start.tokenizer.encode([text for pair in train.split.texts for text in pair])
    ids = np.zeros((len(rows), max(map(len, rows))), np.int32)
    for row, each in zip(ids, rows, strict=True):
        row[: len(each)] = each
    logits = module.apply({"params": params}, ids, np.array([len(each) for each in rows]))
    logs = jax.nn.log_softmax(logits, axis=-1)
    total = [sum(float(logs[i, t, each[t + 1]]) for t in range(len(each) - 1)) for i, each in enumerate(rows)]
    pairs = np.array(total).reshape(-1, 2)
    best = train.targets.argmax(axis=1)
    return np.mean(pairs[np.arange(len(best)), best] - pairs[np.arange(len(best)), 1 - best])


@pytest.mark.slow
def test_a_trained_debater_against_itself_untrained(tmp_path):
    plan = make.experiment(tmp_path)
    strong = plan.students["strong"]
    tuned = tuned_of(strong, epochs=2)
    supervisors = {"trained": Debated(Asked(strong), (tuned.plain, tuned))}
    student = dataclasses.replace(strong, parameters="probe", epochs=3)
    changed = {"supervisors": supervisors, "students": {"strong": student}, "methods": {"naive": Method()}}
    results = api.run(dataclasses.replace(plan, seeds=(0,), keep_params=False, **changed), quiet=True)
    found = next(each for each in results.findings if each.kind == "elo")
    names = [name.removeprefix("elo of ") for name in found.values if name.startswith("elo of ") and "err" not in name]
    assert len(names) == 2
    assert names[1] == f"{names[0]}, tuned by dpo"


@pytest.mark.parametrize("change", [{"preference": None, "parameters": "full"}, {"model": "other"}])
def test_a_debater_is_tuned_from_its_own_model_by_a_preference(learner, change):
    with pytest.raises(UserError, match="tuned from its own model"):
        tuned_of(learner, **change)


# ---- A run


def plan_of(tmp_path):
    plan = make.experiment(tmp_path)
    strong = plan.students["strong"]
    judge = Asked(strong)
    plain = Speaker(strong, tokens=3, temperature=1.0)
    debate = Debated(judge, (plain, BestOf(plain, strong, 2)))
    trained = dataclasses.replace(plan.supervisors["weak"], parameters="probe", epochs=3)
    supervisors = {
        "alone": judge,
        "debate": debate,
        "swapped": dataclasses.replace(debate, swapped=True),
        "both": Ensemble((debate, dataclasses.replace(debate, swapped=True))),
        "consultancy": Debated(judge, (plain,), Proposed()),
        "criticized": Debated(judge, (plain,), Criticized(Speaker(strong, tokens=2))),
        "trained judge": Debated(trained, (plain,)),
    }
    student = dataclasses.replace(strong, parameters="probe", epochs=3)
    return dataclasses.replace(
        plan,
        tasks=(dataclasses.replace(plan.tasks[0], classes=ANSWERS),),  # words that the tiny models have
        supervisors=supervisors,
        students={"strong": student},
        methods={"naive": Method()},
        seeds=(0,),
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    plan = plan_of(tmp_path_factory.mktemp("debates"))
    return plan, api.run(plan, quiet=True)


@pytest.mark.slow
def test_a_run_of_debates_and_its_findings(run):
    _, results = run
    assert len(results.cells) == 7
    kinds = {(each.kind, each.supervisor) for each in results.findings}
    assert kinds >= {("persuasion", name) for name in ("debate", "swapped", "consultancy", "criticized")}
    assert kinds >= {("order", "debate"), ("critic", "criticized"), ("elo", "debate")}
    assert ("elo", "swapped") not in kinds
    found = {(each.kind, each.supervisor): each.values for each in results.findings}
    accuracy = {cell.supervisor: cell.scores["accuracy"]["supervisor"] for cell in results.cells}
    assert found["order", "debate"]["accuracy of the mean"] == pytest.approx(accuracy["both"])
    assert found["order", "debate"]["accuracy, swapped"] == pytest.approx(accuracy["swapped"])
    assert found["persuasion", "debate"]["accuracy alone"] == pytest.approx(accuracy["alone"])
    assert found["critic", "criticized"]["judge, test"] == pytest.approx(accuracy["alone"])
    assert set(found["persuasion", "consultancy"]) >= {"followed, right", "followed, wrong"}


@pytest.mark.slow
def test_a_critic_no_better_than_the_judge_is_not_read(run):
    """Critic and judge are one model here, so it is never better: the judge reads the proposal alone."""
    _, results = run
    found = next(each for each in results.findings if each.kind == "critic")
    assert found.values["believed"] == 0
    probs = {cell.supervisor: cell.scores["log_loss"]["supervisor"] for cell in results.cells}
    assert probs["criticized"] == probs["consultancy"] != probs["alone"]
    assert "believed in 0 of 1 seeds" in found.sentence


@pytest.mark.slow
def test_a_critic_that_is_better_is_believed(run, tmp_path, monkeypatch):
    plan, results = run
    monkeypatch.setattr("w2s_jax.supervisors.debated.is_better", lambda *_: True)
    changed = dataclasses.replace(plan, out=str(tmp_path / "other"), supervisors={"c": plan.supervisors["criticized"]})
    believed = api.run(changed, quiet=True).cells[0].scores["log_loss"]["supervisor"]
    assert believed != next(c for c in results.cells if c.supervisor == "criticized").scores["log_loss"]["supervisor"]


def test_a_config_of_debates_is_saved_and_rebuilt(tmp_path):
    plan = plan_of(tmp_path)
    assert serialize.experiment(serialize.to_json(plan)) == plan


def test_every_part_decides_what_a_debate_is(tmp_path):
    plan = plan_of(tmp_path)
    debate, task = plan.supervisors["debate"], TaskData(plan.tasks[0])
    plain = debate.debaters[0]
    others = [
        dataclasses.replace(debate, swapped=True),
        dataclasses.replace(debate, debaters=debate.debaters[::-1]),
        dataclasses.replace(debate, debaters=(plain,)),
        dataclasses.replace(debate, debaters=(plain, Refined(plain, plain.learner))),
        dataclasses.replace(debate, protocol=TwoSided(turns=2)),
        dataclasses.replace(debate, protocol=Questioned(plain)),
        dataclasses.replace(debate, judge=Asked(plain.learner, calibrate=False)),
    ]
    keys = [str(each.identity(task)) for each in (debate, *others)]
    assert len(set(keys)) == len(keys)
    epochs = dataclasses.replace(plain, learner=dataclasses.replace(plain.learner, epochs=9))
    assert str(dataclasses.replace(debate, debaters=(epochs,)).identity(task)) == keys[3], "a debater does not train"


# ---- What is found


def judged(right, labels, sure=0.8):
    picked = np.where(right, labels, 1 - labels)
    return Judged(np.where(np.eye(2)[picked] > 0, sure, 1 - sure), labels, np.arange(len(labels)))


def test_persuasion_by_hand():
    labels = np.array([0, 1, 0, 1, 0, 1, 0, 1])
    alone = judged(np.array([1, 1, 1, 1, 0, 0, 0, 0], bool), labels)
    after = judged(np.array([1, 1, 1, 0, 1, 1, 0, 0], bool), labels)
    argued = np.array([0, 1, 0, 0, 0, 1, 1, 0])  # right but for the fourth and the last two
    found = findings.persuasion(alone, after, argued)
    assert found["towards wrong"] == 0.25
    assert found["towards right"] == 0.5
    assert found["shift"] == pytest.approx((-0.6 + 2 * 0.6) / 8)
    assert (found["followed, right"], found["followed, wrong"]) == (1.0, 1.0)
    assert found["towards wrong, error"] == pytest.approx(np.sqrt(0.25 * 0.75 / 4))
    nobody = findings.persuasion(judged(np.ones(8, bool), labels), after)
    assert nobody["towards right"] is None
    assert "followed, right" not in nobody


def test_order_by_hand():
    labels, begins = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    one = judged(np.array([1, 0, 0, 1], bool), labels)  # says 0 1 0 1: who begins
    other = judged(np.array([0, 1, 1, 1], bool), labels, sure=0.9)  # says 1 0 1 1, after the others began
    found = findings.order(one, other, begins)
    assert (found["accuracy"], found["accuracy, swapped"]) == (0.5, 0.75)
    assert found["accuracy of the mean"] == 0.75  # the surer one decides
    assert found["verdicts that differ"] == 0.75
    assert found["for who begins"] == 7 / 8


def test_a_critic_must_be_better_than_the_judge():
    labels = np.array([0, 1, 1, 0])
    right, half = np.eye(2)[labels], np.eye(2)[[0, 0, 0, 0]]
    assert findings.is_better(right, half, labels)
    assert not findings.is_better(half, right, labels)
    assert not findings.is_better(half, half, labels)
