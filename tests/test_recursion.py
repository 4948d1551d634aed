"""Recursive reward models (Leike et al. 1811.07871): who chooses what a judge reads, and what choosing may know."""

import dataclasses
import shutil

import numpy as np
import pytest
from w2s_jax.supervisors.advice import Argument

from tests import tiny as make
from w2s_jax import config
from w2s_jax.config import Advised, Ensemble, Method, Recursive
from w2s_jax.data.predictions import Predictions
from w2s_jax.data.splits import Split
from w2s_jax.evaluation import oversight
from w2s_jax.pipeline import estimate, experiment, inputs, materials, runner
from w2s_jax.pipeline import make as making
from w2s_jax.report import table
from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.progress import Reporter
from w2s_jax.supervisors import advice, recursion
from w2s_jax.train.learner import Learner

ANSWERS = ("No", "Yes")


def recursive(protocol="debate", candidates=3, **options):
    learner = Learner("m", parameters="probe")
    advised = Advised(learner, Learner("a"), protocol, tokens=2, temperature=1.0)
    return Recursive(advised, dataclasses.replace(learner, epochs=7), candidates=candidates, **options)


def rows_of(maker, texts):
    ids = tuple(f"r{place}" for place in range(len(texts)))
    return experiment.candidates(maker, [Split(ids, tuple(texts), np.zeros(len(texts), int), ids)])


def sampled_for(maker, texts, words=lambda text, side, candidate: f"{side}{candidate}"):
    return [
        {
            text: tuple(
                Argument(answer, words(text, side, candidate))
                for side, answer in enumerate(advice.speakers(maker.advised.protocol, text))
            )
            for text in texts
        }
        for candidate in range(maker.candidates)
    ]


@pytest.mark.parametrize("protocol", ["debate", "consultancy"])
def test_each_side_says_the_candidate_after_which_its_class_is_most_probable(protocol):
    maker, texts = recursive(protocol), [f"text {place}" for place in range(9)]
    sides = maker.advised.sides
    rows, sampled = rows_of(maker, texts), sampled_for(maker, texts)
    assert len(rows) == len(set(rows.ids)) == 9 * sides * 3
    assert rows.labels is None
    first = np.random.default_rng(0).choice([0.1, 0.4, 0.6, 0.9], len(rows)).astype(np.float32)  # with many ties
    probs = np.stack([first, 1 - first], axis=1)
    order = np.random.default_rng(1).permutation(len(rows))
    rated = Predictions([rows.ids[i] for i in order], ["candidates"] * len(rows), probs[order], np.log(probs[order]))
    found = recursion.chosen(maker, rows, rated, sampled)
    ties = 0
    for place, text in enumerate(texts):
        expected = ()
        for side, answer in enumerate(advice.speakers(protocol, text)):
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
    maker, texts = recursive(), ["a", "b"]
    rows, sampled = rows_of(maker, texts), sampled_for(maker, texts)
    said = {text: (sampled[1][text][0], sampled[2][text][1]) for text in texts}
    read = recursion.readings(maker, rows, said, sampled, ANSWERS)
    first, second = (ANSWERS[answer] for answer in advice.speakers("debate", "b"))
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
    return {cell.supervisor: cell.stages["supervisor"] for cell in experiment.cells(plan)}


class Planted(making.Workshop):
    """Its reward models find a class probable once an argument for it holds the word; all else is even."""

    word = "great"

    def seen(self, stage):
        """What a judge or a reward model is given to read."""
        return making._advised(stage, inputs.stage_inputs(stage, self.read), self)

    def read(self, stage):
        predict = experiment.stage_splits(stage).predict
        ids = [identifier for split in predict.values() for identifier in split.ids]
        names = [name for name, split in predict.items() for _ in split.ids]
        texts = [text for split in predict.values() for text in split.texts]
        if stage.role == "student":
            texts = [text for split in self.seen(stage).predict.values() for text in split.texts]
        said = [[f"{answer} because {self.word}" in text for answer in ANSWERS] for text in texts]
        first = np.array([0.5 + 0.4 * (no - yes) for no, yes in said], np.float32)
        probs = np.stack([first, 1 - first], axis=1)
        return Predictions(ids, names, probs, np.log(probs))


def test_what_a_level_reads_is_what_its_reward_model_prefers(plan, monkeypatch):
    """A planted preference for a word decides every transcript of the levels above, and only there."""
    spoken = np.random.default_rng(0)
    words = {}

    def transcripts(maker, texts, answers, *_):
        for text in sorted(texts):
            words.setdefault((text, maker.seed), [str(word) for word in spoken.choice(["great", "plot", "was"], 2)])
        return {
            text: tuple(
                Argument(answer, words[text, maker.seed][side])
                for side, answer in enumerate(advice.speakers(maker.protocol, str(text)))
            )
            for text in texts
        }

    monkeypatch.setattr(advice, "transcripts", transcripts)
    workshop = Planted(runner.open_store(plan), Reporter(quiet=True))
    given = {name: workshop.seen(stage) for name, stage in judges(plan).items() if name != "alone"}
    plain = materials.splits(plan.tasks[0], 0)
    for name in ("transfer", "validation", "test"):
        shown = {level: given[level].predict[name].texts for level in given}
        for text, zero, one, two in zip(
            getattr(plain, name).texts, shown["level 0"], shown["level 1"], shown["level 2"], strict=True
        ):
            sides = advice.speakers("debate", text)
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
    rewarded = judges(plan)["level 2"].members[0]
    assert workshop.seen(rewarded).predict["test"].texts == given["level 1"].predict["test"].texts
    monkeypatch.setattr(Planted, "word", "was")
    assert workshop.seen(judges(plan)["level 1"]).predict["test"].texts != given["level 1"].predict["test"].texts


def test_the_graph_of_levels_shares_what_they_share_and_knows_no_truth(plan):
    found = judges(plan)
    first, second, shuffled = (found[name] for name in ("level 1", "level 2", "shuffled"))
    (chooser,), (last,) = first.members, second.members
    assert shuffled.members == second.members, "the control differs in whose transcript is shown alone"
    assert chooser.teacher is found["level 0"]
    assert chooser.members == ()
    assert last.teacher is first
    assert last.members == (chooser,)
    assert chooser.learner == plan.supervisors["level 1"].reward_model
    assert first.learner == plan.supervisors["alone"]
    assert len({stage.key for stage in (*found.values(), chooser, last)}) == 7
    assert len(experiment.stages(plan)) == 5 + 2 + 5 + 1
    for stage in (chooser, last):
        assert stage.role == "student"
        splits = experiment.stage_splits(stage)
        assert all(each.labels is None for each in (splits.train, splits.validation, *splits.predict.values()))
        assert set(splits.train.ids) == set(materials.splits(plan.tasks[0], 0).transfer.ids)
    without = dataclasses.replace(plan, supervisors={"level 0": plan.supervisors["level 0"]})
    assert {stage.key for stage in experiment.stages(without)} < {stage.key for stage in experiment.stages(plan)}
    keys = {first.key}
    for changes in ({"candidates": 2}, {"reward_model": plan.students["strong"]}):
        changed = dataclasses.replace(plan.supervisors["level 1"], **changes)
        keys.add(judges(dataclasses.replace(plan, supervisors={"level 1": changed}))["level 1"].key)
    assert len(keys) == 3
    assert config.asdict(plan)["supervisors"]["level 2"]["level"] == 2
    assert runner.describe(second).endswith("level 2 on " + f"{plan.tasks[0].name}, seed 0")
    assert "reward model for level 2" in runner.describe(last)
    ensemble = Ensemble((plan.supervisors["level 0"], plan.supervisors["level 2"]))
    averaged = dataclasses.replace(plan, supervisors={"two": ensemble})
    assert judges(averaged)["two"].members[1] is second


def test_the_estimate_counts_every_candidate(plan, monkeypatch):
    monkeypatch.setattr(estimate, "_speed", lambda: 1.0)
    store = runner.open_store(plan)

    def seconds(*names):
        some = dataclasses.replace(plan, supervisors={name: plan.supervisors[name] for name in names})
        return estimate.estimate(experiment.stages(some), store).seconds

    written = estimate._advice_seconds(plan.supervisors["level 0"], judges(plan)["level 0"])
    chooser = judges(plan)["level 1"].members[0]
    reads = estimate._feature_seconds(chooser)
    plain = estimate._feature_seconds(dataclasses.replace(chooser, predicts=("validation", "test")))
    assert reads == pytest.approx(plain * (1 + 2 * 2))
    judged = estimate._feature_seconds(judges(plan)["level 1"])
    assert seconds("level 0", "level 1") - seconds("level 0") == pytest.approx(
        2 * written + reads + judged + 3 * estimate.PROBE_SECONDS
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
    plain = recursive()
    with pytest.raises(UserError, match=message):
        dataclasses.replace(plain, advised=dataclasses.replace(plain.advised, **advised), **options)


def test_an_advisor_that_cannot_write_is_found_before_anything_is_made(plan):
    some = {"level 1": plan.supervisors["level 1"]}
    narrow = dataclasses.replace(some["level 1"].advised, advisor=Learner(plan.students["strong"].model, max_tokens=3))
    some = {"level 1": dataclasses.replace(some["level 1"], advised=narrow)}
    stages = experiment.stages(dataclasses.replace(plan, supervisors=some))
    with pytest.raises(UserError, match="leave no room for a prompt"):
        runner.check([stage for stage in stages if isinstance(stage.maker, Recursive)], None)


def test_what_a_policy_does_by_hand():
    labels = np.array([0, 1, 1])
    probs = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7]])
    rewards = np.array([[[0.2, 0.5], [0.4, 0.3]], [[0.1, 0.1], [0.6, 0.8]], [[0.9, 0.2], [0.3, 0.7]]])
    right = np.array([[True, False], [False, True], [True, False]])
    assert oversight.policy(probs, labels, rewards, right) == pytest.approx(
        {
            "accuracy": 2 / 3,
            "changed": 3 / 6,
            "right_first": (0.2 + 0.6 + 0.9) / 3,
            "right": (0.5 + 0.8 + 0.9) / 3,
            "wrong_first": (0.4 + 0.1 + 0.3) / 3,
            "wrong": (0.4 + 0.1 + 0.7) / 3,
        }
    )


@pytest.mark.slow
def test_levels_in_an_experiment(plan, monkeypatch):
    """Made anew with the truth of transfer, validation and test turned round, every bit of every level is the same."""
    results, failures = runner.run(plan, Reporter(quiet=True))
    assert failures == []
    assert [each.assisted for each in results.sandwiches] == ["level 0", "level 1", "level 2", "shuffled"]
    assert [bool(each.policy) for each in results.sandwiches] == [False, True, True, True]
    assert results.sandwiches[2].policy == results.sandwiches[3].policy
    assert "accurate) changed" in table.sandwich(results.sandwiches[1])
    store = runner.open_store(plan)
    test = materials.splits(plan.tasks[0], 0).test
    chooser = judges(plan)["level 1"].members[0]
    policy, rated = results.sandwiches[1].policy, store.read(chooser.folder).predictions
    assert policy["accuracy"] == pytest.approx((rated.for_split("test", test.ids).argmax(axis=1) == test.labels).mean())
    assert 0 < policy["changed"] < 1
    assert policy["right"] > policy["right_first"]
    remade = [stage for stage in experiment.stages(plan) if isinstance(stage.maker, Recursive)]
    expected = {stage.key: store.read(stage.folder).predictions.probs for stage in remade}
    assert len(expected) == 5
    for stage in remade:
        shutil.rmtree(store.folder(stage.folder))
    making.forget()
    honest = materials.splits

    def turned(task, seed):
        found = honest(task, seed)
        names = ("transfer", "validation", "test")
        parts = {name: getattr(found, name) for name in names}
        return dataclasses.replace(
            found, **{name: dataclasses.replace(part, labels=1 - part.labels) for name, part in parts.items()}
        )

    monkeypatch.setattr(materials, "splits", turned)
    assert runner.run_stages(remade, store, Reporter(quiet=True)) == []
    for stage in remade:
        np.testing.assert_array_equal(store.read(stage.folder).predictions.probs, expected[stage.key])
