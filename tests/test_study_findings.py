"""What the answers of a study say, against plain loops and known constructions."""

import json
import math
import statistics as python_statistics
from collections import defaultdict

import numpy as np
import pytest

from tests import study_tables
from w2s_jax.data.answers import ModelAnswer
from w2s_jax.data.task_config import TaskConfig
from w2s_jax.metrics import calibration_error
from w2s_jax.runtime.errors import UserError
from w2s_jax.study import bowman, statistics
from w2s_jax.study.assistants.scripted import Scripted
from w2s_jax.study.config import Study
from w2s_jax.study.design import Design, design_of, write_design
from w2s_jax.study.findings import find
from w2s_jax.study.protocols import Alone, Chat
from w2s_jax.study.statistics import Numbers

DRAWS = 300
PLAIN = Design("plain", "my_questions.jsonl", expert=0.9, source="a guess")


@pytest.fixture(scope="module")
def made():
    return study_tables.drawn()


def found_of(tables, design=PLAIN):
    return find(tables.answers, tables.models, tables.key, design, draws=DRAWS)


@pytest.fixture(scope="module")
def found(made):
    return found_of(made)


def row(found, name, *, vote=False, played=""):
    (only,) = (r for r in found.rows if (r.name, r.vote, r.played) == (name, vote, played))
    return only


def probs_of(answer):
    sure = min(answer.confidence, 0.99)
    return [sure if k == answer.choice else (1 - sure) / (answer.n_choices - 1) for k in range(answer.n_choices)]


def test_accuracy_calibration_and_counts_are_those_of_plain_loops(made, found):
    for name in ("alone", "chat"):
        mine = [answer for answer in made.answers if answer.condition == name]
        right = [answer.choice == made.key[answer.question] for answer in mine]
        only = row(found, name)
        assert only.accuracy.value == pytest.approx(np.mean(right))
        assert only.accuracy.low < only.accuracy.value < only.accuracy.high
        # Of two classes, the probability of the chosen one is the confidence; below .5 it is another bin's.
        gaps = defaultdict(list)
        for answer, is_right in zip(mine, right, strict=True):
            gaps[math.ceil(answer.confidence * 5 - 1e-12)].append(is_right - answer.confidence)
        expected = sum(abs(sum(each)) for each in gaps.values()) / len(mine)
        assert only.calibration.value == pytest.approx(expected)
        assert (only.participants, only.questions, only.answers, only.timeouts) == (10, 60, 300, 0)


def test_a_models_calibration_error_is_that_of_every_metric(made, found):
    said = [each for each in made.models if each.arm == "zero-shot"]
    probs = np.array([each.probs for each in said])
    labels = np.array([made.key[each.question] for each in said])
    only = row(found, "zero-shot")
    assert only.accuracy.value == pytest.approx((probs.argmax(axis=1) == labels).mean())
    assert only.calibration.value == pytest.approx(calibration_error(probs, labels, bins=5))
    assert only.over == "questions"


def test_the_weighted_vote_is_that_of_plain_loops(made, found):
    right, error = [], defaultdict(list)
    for question in sorted(made.key):
        product = [1.0] * 4
        for answer in made.answers:
            if (answer.condition, answer.question) == ("chat", question):
                product = [a * b for a, b in zip(product, probs_of(answer), strict=True)]
        best = max(range(4), key=lambda k: product[k])
        right.append(best == made.key[question])
        sure = product[best] / sum(product)
        error[math.ceil(sure * 5 - 1e-12)].append(right[-1] - sure)
    only = row(found, "chat", vote=True)
    assert only.accuracy.value == pytest.approx(np.mean(right))
    assert only.calibration.value == pytest.approx(sum(abs(sum(gaps)) for gaps in error.values()) / len(right))
    assert only.accuracy.value > row(found, "chat").accuracy.value


def test_a_weight_of_2_is_the_answer_twice(made):
    """The statistics that are resampled, against data in which answers really are there several times."""
    answers = [answer for answer in made.answers if answer.condition == "chat"]
    questions = {name: number for number, name in enumerate(sorted(made.key))}
    people = {f"p{number + 1:03d}": number for number in range(10)}
    numbers = Numbers(people, questions, questions)
    rows = statistics.columns(answers, made.key, numbers)
    vote = statistics.vote(rows)
    weights = np.arange(10) % 3 + 1.0
    repeated = rows.take(np.repeat(np.arange(len(answers)), weights[rows.participant].astype(int)))
    again = statistics.vote(repeated)
    for ours, theirs in ((vote.accuracy, again.accuracy), (vote.calibration, again.calibration)):
        people_weights = weights[ours.participant][None]
        expected = theirs.statistic(*[np.ones((1, len(theirs.participant)))] * 2)
        assert ours.statistic(people_weights, np.ones_like(people_weights)) == pytest.approx(expected)
    for of in (lambda each: statistics.mean(each, each.right), statistics.calibration, statistics.slope):
        ones = [np.ones((1, len(repeated.choice)))] * 2
        # Positions are centred on their mean, which repeated rows move: a slope does not notice.
        weighed = of(rows).statistic(weights[rows.participant][None], np.ones((1, len(answers))))
        assert weighed == pytest.approx(of(repeated).statistic(*ones))


def test_ties_count_in_parts_and_are_said():
    tables = study_tables.drawn(participants=2, questions=2)
    base = tables.answers[0]._replace(condition="alone", suggested=-1, group="g")
    answers = [
        base._replace(participant=person, question=question, choice=choice, confidence=0.7)
        for person, question, choice in (("p001", "a", 0), ("p002", "a", 1), ("p001", "b", 2), ("p002", "b", 2))
    ]
    answers[2:] = [answer._replace(group="h") for answer in answers[2:]]
    only = row(find(answers, [], {"a": 0, "b": 2}, PLAIN, draws=DRAWS), "alone", vote=True)
    assert (only.ties, only.accuracy.value) == (1, 0.75)


def test_the_share_recovered_is_the_ratio_of_gaps(found):
    (share,) = found.recovered
    alone, chat = (row(found, name).accuracy.value for name in ("alone", "chat"))
    assert share.share.value == pytest.approx((chat - alone) / (0.9 - alone))
    assert share.gain.value == pytest.approx(chat - alone)
    assert share.share.low < share.share.value < share.share.high


def test_where_the_expert_is_no_better_there_is_no_share(made):
    (share,) = found_of(made, Design("x", "mine", expert=0.53)).recovered
    assert share.share.value is None
    assert share.share.reason.startswith("expert and unassisted participants are not apart: gap 0.0")
    (unknown,) = found_of(made, Design("x", "mine")).recovered
    assert unknown.share.reason == "no expert's accuracy is known"


@pytest.mark.parametrize(
    ("alone", "model", "expert", "told"),
    [
        (0.35, 0.65, 0.97, "yes"),
        (0.85, 0.55, 0.97, "no"),
        (0.3, 0.9, 0.6, "no"),
        (0.6, 0.62, 0.97, "not told apart"),
        (0.3, 0.65, None, "not known"),
    ],
)
def test_whether_it_is_a_sandwich(alone, model, expert, told):
    tables = study_tables.drawn(alone=alone, model=model, questions=100, seed=2)
    said = {each.model: each.told for each in found_of(tables, Design("x", "mine", expert=expert)).sandwiches}
    assert said["zero-shot"] == told


def test_reliance_is_that_of_plain_loops(made):
    answers = [
        answer._replace(suggested=-1) if number % 5 == 0 else answer for number, answer in enumerate(made.answers)
    ]
    (only,) = found_of(made._replace(answers=answers)).reliance
    known = [answer for answer in answers if answer.suggested >= 0]
    right = [answer for answer in known if answer.suggested == made.key[answer.question]]
    wrong = [answer for answer in known if answer.suggested != made.key[answer.question]]

    def share(of, what):
        return pytest.approx(python_statistics.mean(what(answer) for answer in of))

    assert (only.known, only.unknown) == (len(known), 300 - len(known))
    assert only.suggestions.value == pytest.approx(len(right) / len(known))
    assert only.where_right.value == share(right, lambda a: a.choice == made.key[a.question])
    assert only.where_wrong.value == share(wrong, lambda a: a.choice == made.key[a.question])
    assert only.followed_wrong.value == share(wrong, lambda a: a.choice == a.suggested)
    assert only.appropriate.value == share(
        known, lambda a: (a.choice == a.suggested) == (a.suggested == made.key[a.question])
    )


def test_an_assistant_that_is_always_right_has_no_accuracy_where_it_was_wrong(made):
    answers = [
        answer._replace(suggested=made.key[answer.question]) if answer.condition == "chat" else answer
        for answer in made.answers
    ]
    (only,) = found_of(made._replace(answers=answers)).reliance
    assert only.where_wrong is None
    assert only.followed_wrong is None
    assert only.suggestions.value == 1
    assert 0.7 < only.suggestions.low < 1, "nothing that varies in the sample is not certain"


def test_answers_that_came_too_late_are_wrong_and_silent(made):
    late = {("p001", answer.question) for answer in made.answers[:10]}
    answers = [
        answer._replace(choice=-1, confidence=math.nan) if (answer.participant, answer.question) in late else answer
        for answer in made.answers
    ]
    found = found_of(made._replace(answers=answers))
    assert sum(each.timeouts for each in found.rows if not each.vote) == 10
    for name in ("alone", "chat"):
        mine = [answer for answer in answers if answer.condition == name]
        given = [answer for answer in mine if answer.choice >= 0]
        only = row(found, name)
        assert only.accuracy.value == pytest.approx(np.mean([a.choice == made.key[a.question] for a in mine]))
        assert only.confidence == pytest.approx(np.mean([a.confidence for a in given]))
        assert only.timeouts == len(mine) - len(given)
    without = [answer for answer in answers if answer.choice >= 0]
    votes = [row(found_of(made._replace(answers=each)), "chat", vote=True) for each in (answers, without)]
    assert votes[0].accuracy.value == votes[1].accuracy.value


def test_simulated_participants_are_never_pooled_with_people(made, found):
    simulated = study_tables.drawn(simulated="tiny", alone=0.1, assisted=0.2, participants=6)
    assert simulated.key == made.key
    both = found_of(made._replace(answers=[*made.answers, *simulated.answers]))
    people = [each for each in both.rows if not each.played]
    for ours, alone in zip(people, found.rows, strict=True):
        assert (ours.accuracy.value, ours.answers) == (alone.accuracy.value, alone.answers)
    assert both.played == ("", "tiny")
    assert row(both, "chat", played="tiny").participants == 6
    assert {each.played for each in both.recovered} == {"", "tiny"}
    assert {each.theirs for each in both.rows if each.played} == {""}


def test_learning_is_the_slope_over_places(made):
    answers = [
        answer._replace(
            choice=made.key[answer.question] if answer.position >= 30 else (made.key[answer.question] + 1) % 4
        )
        for answer in made.answers
    ]
    pace = {each.condition: each for each in found_of(made._replace(answers=answers)).pace}
    mine = [answer for answer in answers if answer.condition == "alone"]
    slope = np.polyfit([a.position for a in mine], [float(a.position >= 30) for a in mine], 1)[0]
    assert pace["alone"].learning.value == pytest.approx(10 * slope)
    assert pace["alone"].learning.low > 0
    assert [part[2] for part in pace["alone"].quarters] == [0, 0, 1, 1]
    assert sum(part[3] for part in pace["alone"].quarters) == 300
    assert pace["chat"].turns.value == pytest.approx(np.mean([a.turns for a in answers if a.condition == "chat"]))
    assert pace["chat"].median_seconds == np.median([a.seconds for a in answers if a.condition == "chat"])


def test_one_participant_speaks_for_questions_alone(made):
    answers = [answer for answer in made.answers if answer.participant == "p001"]
    found = found_of(made._replace(answers=answers))
    assert {each.over for each in found.rows} == {"questions", "nothing"}
    assert not any(each.vote for each in found.rows), "nobody else answered these"


def test_somebody_who_left_early_is_resampled_with_the_others(made):
    answers = [a for a in made.answers if a.participant != "p001" or a.condition == "alone"]
    found = found_of(made._replace(answers=answers))
    assert row(found, "alone").participants == 10
    assert row(found, "alone").over == "participants and questions"


def test_perfect_and_hopeless_arms_are_not_certain():
    tables = study_tables.drawn(participants=3, questions=4, alone=0.0, assisted=1.0, model=1.0, groups=4)
    found = found_of(tables)
    chat, (sandwich, *_), (share,) = row(found, "chat"), found.sandwiches, found.recovered
    assert chat.accuracy.value == 1
    assert chat.accuracy.low < 0.5
    assert sandwich.below.value == 1
    assert sandwich.below.low < 0.5
    assert share.gain.low < 0.6


def test_published_figures_stand_beside_and_never_among(made):
    plain, theirs = found_of(made), found_of(made, Design("x", "mmlu_choices"))
    assert plain.their_task is None
    assert theirs.design.expert == 0.9
    assert "as published" in theirs.design.source
    assert theirs.rows[0].accuracy == plain.rows[0].accuracy
    as_json = theirs.as_json()["rows"]
    beside = {each["theirs"]: each["published"]["accuracy"] for each in as_json}
    assert beside["assisted, weighted vote"]["value"] == 0.78
    assert beside["few-shot"]["value"] == 0.619
    assert all(each["published"]["accuracy"] is None for each in plain.as_json()["rows"])
    assert bowman.task_of("data/quality.jsonl") == "QuALITY"
    assert bowman.published("QuALITY", "few-shot").accuracy is None
    json.dumps(theirs.as_json(), allow_nan=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t._replace(answers=[]), "there are no answers yet"),
        (lambda t: t._replace(key={**t.key, "q001": 7}), "the key of 'q001' is 7; it has 4 choices"),
        (lambda t: t._replace(key={"q000": 0}), "the key lacks 59 of the questions"),
        (lambda t: t._replace(models=[ModelAnswer("zero-shot", "zz", (0.5, 0.5))]), "the key lacks 1 of the questions"),
    ],
)
def test_bad_studies_are_one_line(made, change, message):
    with pytest.raises(UserError, match=message):
        found_of(change(made))


def test_who_is_unassisted_must_be_known(made):
    with pytest.raises(UserError, match="nobody answered under 'by myself'; the conditions are alone, chat"):
        found_of(made, Design("x", "mine", unassisted="by myself"))


def test_what_a_folder_says_of_its_study(tmp_path):
    assert design_of(tmp_path, expert=None).name == tmp_path.name
    write_design(tmp_path, Design("mine", "quality", expert=0.8))
    assert design_of(tmp_path, expert=None).expert == 0.8
    assert design_of(tmp_path, expert=0.7) == Design("mine", "quality", expert=0.7)
    (tmp_path / "study.json").write_text('{"colour": "red"}')
    with pytest.raises(UserError, match="must be an object with expert, name, source, task, unassisted"):
        design_of(tmp_path)
    with pytest.raises(UserError, match="an expert's accuracy is above 0 and at most 1, not 90"):
        Design("x", "mine", expert=90)
    (tmp_path / "study.json").write_text('{"task": ["red"]}')
    with pytest.raises(UserError, match="task of a study is a text, not"):
        design_of(tmp_path)


def test_a_study_says_what_its_report_must_know():
    conditions = {"chat": Chat(), "by myself": Alone(), "again": Alone()}
    study = Study(
        "x", TaskConfig("city_choices"), conditions, Scripted(("It is B.",)), expert=0.9, source="two doctors"
    )
    assert study.design == Design("x", "city_choices", "by myself", 0.9, "two doctors")
    assert (
        Study("x", TaskConfig("city_choices"), {"chat": Chat()}, Scripted(("It is B.",))).design.unassisted == "alone"
    )
    with pytest.raises(UserError, match="an expert's accuracy is above 0 and at most 1, not 90"):
        Study("x", TaskConfig("city_choices"), {"alone": Alone()}, expert=90)
