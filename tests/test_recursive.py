"""Recursive reward models (Leike et al. 1811.07871): who chooses what a judge reads, and what choosing may know."""

import dataclasses

import numpy as np
import pytest

from tests import tiny as make
from w2s_jax import api, serialize
from w2s_jax.config import Method
from w2s_jax.data.predictions import Predictions
from w2s_jax.data.splits import Split
from w2s_jax.data.task_data import TaskData
from w2s_jax.pipeline import estimate, schedule
from w2s_jax.pipeline.session import Session
from w2s_jax.report import table
from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.progress import Reporter
from w2s_jax.stages import cost
from w2s_jax.supervisors import Advised, Ensemble, Recursive, recursive, transcripts
from w2s_jax.supervisors.recursive import RewardModel
from w2s_jax.supervisors.transcripts import Argument
from w2s_jax.train.learner import Learner

ANSWERS = ("No", "Yes")


def a_maker(protocol="debate", candidates=3, **options):
    learner = Learner("m", parameters="probe")
    advised = Advised(learner, Learner("a"), protocol, tokens=2, temperature=1.0)
    return Recursive(advised, dataclasses.replace(learner, epochs=7), candidates=candidates, **options)


def rows_of(maker, texts):
    ids = tuple(f"r{place}" for place in range(len(texts)))
    return recursive.candidates(maker, [Split(ids, tuple(texts), np.zeros(len(texts), int), ids)])


def sampled_for(maker, texts, words=lambda text, side, candidate: f"{side}{candidate}"):
    return [
        {
            text: tuple(
                Argument(answer, words(text, side, candidate))
                for side, answer in enumerate(transcripts.speakers(maker.advised.protocol, text))
            )
            for text in texts
        }
        for candidate in range(maker.candidates)
    ]


@pytest.mark.parametrize("protocol", ["debate", "consultancy"])
def test_each_side_says_the_candidate_after_which_its_class_is_most_probable(protocol):
    maker, texts = a_maker(protocol), [f"text {place}" for place in range(9)]
    sides = maker.debating.sides
    rows, sampled = rows_of(maker, texts), sampled_for(maker, texts)
    assert len(rows) == len(set(rows.ids)) == 9 * sides * 3
    assert rows.labels is None
    first = np.random.default_rng(0).choice([0.1, 0.4, 0.6, 0.9], len(rows)).astype(np.float32)  # with many ties
    probs = np.stack([first, 1 - first], axis=1)
    order = np.random.default_rng(1).permutation(len(rows))
    rated = Predictions([rows.ids[i] for i in order], ["candidates"] * len(rows), probs[order], np.log(probs[order]))
    found = recursive.chosen(maker, rows, rated, sampled)
    ties = 0
    for place, text in enumerate(texts):
        expected = ()
        for side, answer in enumerate(transcripts.speakers(protocol, text)):
            at = (place * sides + side) * 3
            best, score = 0, -1.0
            for candidate in range(3):
                reward = probs[at + candidate][answer]
                ties += reward == score
                if reward > score:
                    best, score = candidate, reward
            expected += (sampled[best][text][side],)
        assert found[text] == expected
    assert ties
    assert {said.argument for transcript in found.values() for said in transcript} >= {"00", "01", "02"}


def test_a_candidate_is_read_in_its_place_of_the_last_levels_transcript():
    maker, texts = a_maker(), ["a", "b"]
    rows, sampled = rows_of(maker, texts), sampled_for(maker, texts)
    said = {text: (sampled[1][text][0], sampled[2][text][1]) for text in texts}
    read = recursive.readings(maker, rows, said, sampled, ANSWERS)
    first, second = (ANSWERS[answer] for answer in transcripts.speakers("debate", "b"))
    pairs = [("00", "12"), ("01", "12"), ("02", "12"), ("01", "10"), ("01", "11"), ("01", "12")]
    assert read[6:] == [
        f"b\nThe answer is {first} because {one}\nThe answer is {second} because {other}" for one, other in pairs
    ]


@pytest.fixture
def plan(tmp_path):
    """Six supervisors on a tiny task; nothing of it is made yet."""
    tiny = make.experiment(tmp_path)
    judge = dataclasses.replace(tiny.supervisors["weak"], parameters="probe")
    strong = dataclasses.replace(tiny.students["strong"], parameters="probe")
    advised = Advised(judge, strong, tokens=2, temperature=1.0, seed=5)
    first = Recursive(advised, dataclasses.replace(strong, epochs=1), candidates=3)
    second = dataclasses.replace(first, level=2)
    shuffled = dataclasses.replace(advised, shuffled=True)
    supervisors = {
        "alone": judge,
        "level 0": advised,
        "level 1": first,
        "level 2": second,
        "shuffled": dataclasses.replace(second, advised=shuffled),
    }
    return dataclasses.replace(tiny, supervisors=supervisors, students={"strong": strong}, methods={"naive": Method()})


def judges(plan):
    return {cell.supervisor: cell.stages["supervisor"] for cell in api.Planned([plan]).cells[0]}


def session_of(plan, kind=Session):
    return kind(api.open_store(plan), Reporter(quiet=True))


class Planted(Session):
    """Its reward models find a class probable once an argument for it holds the word; all else is even."""

    word = "great"

    def seen(self, stage):
        """What a judge or a reward model is given to read."""
        return stage.make(self).lesson

    def read(self, stage):
        predict = stage.shown.predict
        ids = [identifier for split in predict.values() for identifier in split.ids]
        names = [name for name, split in predict.items() for _ in split.ids]
        texts = [text for split in predict.values() for text in split.texts]
        if isinstance(stage, RewardModel):
            texts = [text for split in self.seen(stage).predict.values() for text in split.texts]
        said = [[f"{answer} because {self.word}" in text for answer in ANSWERS] for text in texts]
        first = np.array([0.5 + 0.4 * (no - yes) for no, yes in said], np.float32)
        probs = np.stack([first, 1 - first], axis=1)
        return Predictions(ids, names, probs, np.log(probs))


def test_what_a_level_reads_is_what_its_reward_model_prefers(plan, monkeypatch):
    """A planted preference for a word decides every transcript of the levels above, and only there."""
    spoken = np.random.default_rng(0)
    words = {}

    def planted(maker, texts, answers, *_):
        for text in sorted(texts):
            words.setdefault((text, maker.seed), [str(word) for word in spoken.choice(["great", "plot", "was"], 2)])
        return {
            text: tuple(
                Argument(answer, words[text, maker.seed][side])
                for side, answer in enumerate(transcripts.speakers(maker.protocol, str(text)))
            )
            for text in texts
        }

    monkeypatch.setattr(transcripts, "transcripts", planted)
    session = session_of(plan, Planted)
    given = {name: session.seen(stage) for name, stage in judges(plan).items() if name != "alone"}
    plain = TaskData(plan.tasks[0]).splits(0)
    for name in ("transfer", "validation", "test"):
        shown = {level: given[level].predict[name].texts for level in given}
        for text, zero, one, two in zip(
            getattr(plain, name).texts, shown["level 0"], shown["level 1"], shown["level 2"], strict=True
        ):
            sides = transcripts.speakers("debate", text)
            for side, answer in enumerate(sides):
                heading = f"{ANSWERS[answer]} because "
                said = [words[text, 5 + candidate][side] for candidate in range(3)]
                assert heading + said[0] in zero
                best = "great" if "great" in said else said[0]
                assert heading + best in one
                assert heading + best in two
        assert shown["level 0"] != shown["level 1"]
        tails = {
            level: [row.removeprefix(text) for row, text in zip(shown[level], getattr(plain, name).texts, strict=True)]
            for level in ("level 2", "shuffled")
        }
        assert sorted(tails["level 2"]) == sorted(tails["shuffled"])
        assert tails["level 2"] != tails["shuffled"]
    (rewarded,) = judges(plan)["level 2"].own_needs
    assert session.seen(rewarded).predict["test"].texts == given["level 1"].predict["test"].texts
    monkeypatch.setattr(Planted, "word", "was")
    assert session.seen(judges(plan)["level 1"]).predict["test"].texts != given["level 1"].predict["test"].texts


def test_the_graph_of_levels_shares_what_they_share_and_knows_no_truth(plan):
    found = judges(plan)
    first, second, shuffled = (found[name] for name in ("level 1", "level 2", "shuffled"))
    (chooser,), (last,) = first.own_needs, second.own_needs
    assert shuffled.own_needs[0].key == last.key, "the control differs in whose transcript is shown alone"
    assert chooser.teacher.key == found["level 0"].key
    assert chooser.teacher.own_needs == ()
    assert last.teacher.key == first.key
    assert [stage.key for stage in last.teacher.own_needs] == [chooser.key]
    assert chooser.learner == plan.supervisors["level 1"].reward_model
    assert first.learner == plan.supervisors["alone"]
    assert len({stage.key for stage in (*found.values(), chooser, last)}) == 7
    stages = api.Planned([plan]).stages
    assert len(stages) == 5 + 2 + 5 + 1
    for stage in (chooser, last):
        assert stage.role == "reward-model"
        shown = stage.shown
        assert all(each.labels is None for each in (shown.train, shown.validation, *shown.predict.values()))
        assert set(shown.train.ids) == set(TaskData(plan.tasks[0]).splits(0).transfer.ids)
    without = dataclasses.replace(plan, supervisors={"level 0": plan.supervisors["level 0"]})
    assert {stage.key for stage in api.Planned([without]).stages} < {stage.key for stage in stages}
    keys = {first.key}
    for changes in ({"candidates": 2}, {"reward_model": plan.students["strong"]}):
        changed = dataclasses.replace(plan.supervisors["level 1"], **changes)
        keys.add(judges(dataclasses.replace(plan, supervisors={"level 1": changed}))["level 1"].key)
    assert len(keys) == 3
    assert serialize.to_json(plan)["supervisors"]["level 2"]["level"] == 2
    assert second.title.endswith(f"level 2 on {plan.tasks[0].name}, seed 0")
    assert "reward model" in last.title
    assert "for level 2" in last.title
    ensemble = Ensemble((plan.supervisors["level 0"], plan.supervisors["level 2"]))
    averaged = dataclasses.replace(plan, supervisors={"two": ensemble})
    assert judges(averaged)["two"].members[1].key == second.key


def test_the_estimate_counts_every_candidate(plan, monkeypatch):
    monkeypatch.setattr(estimate, "_speed", lambda: 1.0)

    def seconds(*names):
        some = dataclasses.replace(plan, supervisors={name: plan.supervisors[name] for name in names})
        planned = api.Planned([some])
        return estimate.estimate(planned.stages, planned.store).seconds

    def flops(stage):
        return {work.shared[0]: work.flops for work in stage.work()}

    level_0, first = (judges(plan)[name] for name in ("level 0", "level 1"))
    chooser, written = first.own_needs[0], flops(level_0)["transcripts"]
    reads, judged = flops(chooser)["features"], flops(first)["features"]
    learner, texts = plan.supervisors["level 1"].reward_model, TaskData(plan.tasks[0]).texts
    assert reads == pytest.approx((1 + 2 * 2) * cost.reading(learner, texts, len(texts), extra=2 * 2)), (
        "its own transcript, and two other arguments of two tokens on either side"
    )
    assert judged == flops(level_0)["features"], "as long transcripts, though others"
    assert seconds("level 0", "level 1") - seconds("level 0") == pytest.approx(
        2 * written + reads + judged + 3 * estimate.LEAST_SECONDS
    )


@pytest.mark.parametrize(
    ("options", "advised", "message"),
    [
        ({"level": 0}, {}, "level 1 or more"),
        ({"candidates": 1}, {}, "2 candidates or more"),
        ({}, {"turns": 2}, "speak once, not in 2 turns"),
        ({}, {"temperature": 0.0}, "must sample"),
    ],
)
def test_a_recursion_that_makes_no_sense_is_refused(options, advised, message):
    plain = a_maker()
    with pytest.raises(UserError, match=message):
        dataclasses.replace(plain, advised=dataclasses.replace(plain.advised, **advised), **options)


def test_an_advisor_that_cannot_write_is_found_before_anything_is_made(plan):
    some = {"level 1": plan.supervisors["level 1"]}
    narrow = dataclasses.replace(some["level 1"].advised, advisor=Learner(plan.students["strong"].model, max_tokens=3))
    some = {"level 1": dataclasses.replace(some["level 1"], advised=narrow)}
    stages = api.Planned([dataclasses.replace(plan, supervisors=some)]).stages
    with pytest.raises(UserError, match="leave no room for a prompt"):
        schedule.check([stage for stage in stages if stage.role == "supervisor"], None)


def test_what_a_policy_does_by_hand():
    labels = np.array([0, 1, 1])
    probs = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7]])
    rewards = np.array([[[0.2, 0.5], [0.4, 0.3]], [[0.1, 0.1], [0.6, 0.8]], [[0.9, 0.2], [0.3, 0.7]]])
    right = np.array([[True, False], [False, True], [True, False]])
    assert recursive.policy(probs, labels, rewards, right) == pytest.approx(
        {
            "reward model": 2 / 3,
            "changed arguments": 3 / 6,
            "right, first": (0.2 + 0.6 + 0.9) / 3,
            "right, chosen": (0.5 + 0.8 + 0.9) / 3,
            "wrong, first": (0.4 + 0.1 + 0.3) / 3,
            "wrong, chosen": (0.4 + 0.1 + 0.7) / 3,
        }
    )


@pytest.mark.slow
def test_levels_in_an_experiment(plan, monkeypatch):
    """With the truth of transfer, validation and test turned round, every bit of every level is the same."""
    results = api.run(plan, quiet=True)
    found = {each.supervisor: each for each in results.findings}
    assert list(found) == ["level 0", "level 1", "level 2", "shuffled"]
    assert {each.kind for each in results.findings} == {"sandwich"}
    assert ["changed arguments" in each.values for each in results.findings] == [False, True, True, True]
    policies = [
        {name: each.values[name] for name in ("reward model", "changed arguments", "right, first", "right, chosen")}
        for each in (found["level 1"], found["level 2"], found["shuffled"])
    ]
    assert policies[1] == policies[2]
    assert "the reward model (accuracy" in found["level 1"].sentence
    assert found["level 1"].sentence in table.markdown(results)
    planned = api.Planned([plan])
    test = TaskData(plan.tasks[0]).splits(0).test
    (chooser,) = judges(plan)["level 1"].own_needs
    policy, rated = policies[0], planned.store.read(chooser.name).predictions
    right = (rated.for_split("test", test.ids).argmax(axis=1) == test.labels).mean()
    assert policy["reward model"] == pytest.approx(right)
    assert 0 < policy["changed arguments"] < 1
    assert policy["right, chosen"] > policy["right, first"]
    true = TaskData.splits

    def turned(task, seed):
        found = true(task, seed)
        parts = {name: getattr(found, name) for name in ("transfer", "validation", "test")}
        return dataclasses.replace(
            found, **{name: dataclasses.replace(part, labels=1 - part.labels) for name, part in parts.items()}
        )

    monkeypatch.setattr(TaskData, "splits", turned)
    again = api.Planned([plan])
    pairs = list(zip(planned.stages, again.stages, strict=True))
    levels = [pair for pair in pairs if isinstance(pair[0], RewardModel) or pair[0].role == "supervisor"]
    assert len(levels) == 5 + 2
    assert all(first.key != second.key for first, second in levels), "validation's truth is part of a judge's key"
    assert schedule.run_stages([second for _, second in levels], session_of(plan)) == []
    for first, second in levels:
        one, two = (planned.store.read(stage.name).predictions for stage in (first, second))
        np.testing.assert_array_equal(one.probs, two.probs)
