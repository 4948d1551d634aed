"""Simulated participants: through the server as people are, marked in all data, and the same alone and in company."""

import asyncio
import dataclasses
import math

import numpy as np
import pytest

from tests import letter_models, study_site
from w2s_jax import cli
from w2s_jax.data.answers import read_answers
from w2s_jax.runtime import files
from w2s_jax.runtime.errors import UserError
from w2s_jax.study import simulation
from w2s_jax.study.participants import Answered, Mind, Model, Participant, Reader, Script, Seen
from w2s_jax.study.participants.base import Said
from w2s_jax.study.protocols import Alone, Chat, Consultancy, Debate
from w2s_jax.study.questions import Question, written

FOLLOWS = Script(("Which one is it?", "Really?"), "follows")
FOUR = {"alone": Alone(), "chat": Chat(), "consultancy": Consultancy(), "debate": Debate(rounds=2, asks=True)}


def messages_of(study):
    import pyarrow.parquet as pq

    return pq.read_table(study.folder / "messages.parquet").to_pylist()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return letter_models.letters(tmp_path_factory.mktemp("weak"))


def test_all_conditions_are_played_to_the_end_and_marked(tmp_path):
    study = study_site.study(tmp_path, conditions=FOUR, questions=2, participants=5)
    done = simulation.simulate(study, FOLLOWS)
    answers = read_answers(study.folder)
    assert done.answers == len(answers) == 5 * 4 * 2
    assert {each.simulated for each in answers} == {"script: 2 messages, follows"}
    assert {each.condition: each.turns for each in answers} == {"alone": 0, "chat": 2, "consultancy": 2, "debate": 2}
    for each in answers:
        if each.condition == "alone":
            assert each.confidence == 0.25
        else:  # everybody there says (B)
            assert (each.choice, each.confidence) == (1, 0.8)
    chats = [each for each in answers if each.condition == "chat"]
    assert {each.suggested for each in chats} == {1}
    assert 0 < sum(each.changes for each in chats) < len(chats), "from a guess, which is B at times"
    rows = sorted(messages_of(study), key=lambda each: (each["participant"], each["question"], each["number"]))
    said = [each["text"] for each in rows if each["condition"] == "chat"]
    assert said == ["Which one is it?", study_site.REPLY, "Really?", study_site.REPLY] * 10
    assert len({each.choice for each in answers if each.condition == "alone"}) > 1


class Stopped(Exception):
    """Whatever ends a simulation half way. An interrupt would do so at some place of pytest's own."""


class Tired(Mind):
    """Thinks as another one, so many times."""

    def __init__(self, mind, times):
        self.mind, self.times = mind, times

    async def message(self, seen):
        return await self.mind.message(seen)

    async def answer(self, seen):
        self.times -= 1
        if self.times < 0:
            raise Stopped
        return await self.mind.answer(seen)

    async def close(self):
        await self.mind.close()


def test_the_same_command_goes_on_where_it_was_interrupted(tmp_path, monkeypatch):
    study = study_site.study(tmp_path)
    whole = simulation.simulate(dataclasses.replace(study, out=str(tmp_path / "whole")), FOLLOWS)
    with monkeypatch.context() as patch:
        patch.setattr(Script, "open", lambda script: Tired(opened(script), 13))
        with pytest.raises(Stopped):
            simulation.simulate(study, FOLLOWS)
    assert len(read_answers(study.folder)) < 24, "what was answered before"
    assert simulation.simulate(study, FOLLOWS).answers == whole.answers == 24
    assert simulation.simulate(study, FOLLOWS).answers == 24, "all have finished"
    found, expected = read_answers(study.folder), read_answers(tmp_path / "whole" / "tiny")
    assert {each[:9] for each in found} == {each[:9] for each in expected}


opened = Script.open


def test_people_are_not_taken_for_simulated_ones(tmp_path):
    study = study_site.study(tmp_path)
    with study_site.in_process(study) as (client, links, _):
        study_site.Person(client, f"/p/{links.tokens['p002']}").act("consent", agree=True)
    with pytest.raises(UserError, match="p002 of this study is a person: give the study another name"):
        simulation.simulate(study, FOLLOWS)
    other = dataclasses.replace(study, name="other")
    simulation.simulate(other, FOLLOWS)
    with pytest.raises(UserError, match="p001 of this study is script: 2 messages, follows"):
        simulation.simulate(other, Script())


@pytest.mark.parametrize(("fails", "turns", "replies"), [(1, 2, 2), (99, 1, 0)])
def test_an_assistant_that_is_gone_is_asked_once_more_and_then_done_without(tmp_path, fails, turns, replies):
    assistant = study_site.Recording([], fails=fails)
    study = study_site.study(
        tmp_path, conditions={"chat": Chat()}, assistant=assistant, questions=1, participants=1, practice=None
    )
    assert simulation.simulate(study, FOLLOWS).answers == 1
    (answer,) = read_answers(study.folder)
    assert answer.turns == turns
    assert len(messages_of(study)) == turns + replies


def test_time_runs_out_for_them_too(tmp_path):
    class Slow(Participant):
        def describe(self):
            return "slow"

        def open(self):
            return Slower(opened(FOLLOWS), 999)

    class Slower(Tired):
        async def answer(self, seen):
            await asyncio.sleep(1.3 if not seen.speakers else 0)
            return await self.mind.answer(seen)

    study = study_site.study(tmp_path, seconds=1, questions=1, participants=2, practice=None)
    done = simulation.simulate(study, Slow())
    late = {each.condition: each.is_given for each in read_answers(study.folder)}
    assert (done.answers, done.timeouts, late) == (4, 2, {"alone": False, "chat": True})


def test_a_script_guesses_by_the_question_alone():
    mind = Script().open()
    asked = [Seen("alone", "", f"question {i}", ("a", "b", "c"), (), ()) for i in range(60)]
    guesses = [asyncio.run(mind.answer(each)) for each in asked]
    assert {each.confidence for each in guesses} == {1 / 3}
    assert all(10 < sum(each.choice == choice for each in guesses) < 30 for choice in range(3))
    seen = asked[0]._replace(messages=(Said("Assistant", False, "It is (C)."), Said("You", True, "Not (A)?")))
    assert asyncio.run(Script(answers="follows", confidence=0.2).open().answer(seen)) == Answered(2, 1 / 3)


@pytest.mark.parametrize("calibrate", [False, True])
def test_a_model_answers_with_its_letters_after_the_dialogue(calibrate, model):
    after = letter_models.oracle(model)
    question = Question("", "the film was good", "What melts ?", ("good", "bad", "film", "plot"))
    said = (Said("You", True, "the plot ?"), Said("Assistant", False, "A . very bad"))
    seen = Seen("chat", question.passage, question.question, question.choices, ("Assistant",), said)
    brief = "Answer the multiple-choice question below with the letter of the right option."
    asks = "Which option is right? Answer with its letter alone."

    def alone_and_told(question, reply):
        start = f"{brief}\n\n{written(question)}\n\n"
        talk = f"Assistant: the plot ?\nUser: Assistant: {reply}\n"
        return [after(f"{start}{said}User: {asks}\nAssistant:") for said in ("", talk)]

    alone, told = alone_and_told(question, "A . very bad")
    if calibrate:
        nothing = alone_and_told(Question("", "", "N/A", ("N/A",) * 4), "N/A")
        alone, told = (probs / without for probs, without in zip((alone, told), nothing, strict=True))
        alone, told = alone / alone.sum(), told / told.sum()

    async def think():
        mind = Model(model, calibrate=calibrate, max_tokens=512, rows=2).open()
        found = await asyncio.gather(mind.answer(seen._replace(messages=())), mind.answer(seen), mind.answer(seen))
        await mind.close()
        return found

    for found, probs in zip(asyncio.run(think()), (alone, told, told), strict=True):
        assert found.choice == probs.argmax()
        assert math.isclose(found.confidence, probs.max(), abs_tol=1e-4)
    assert abs(alone.max() - told.max()) > 1e-3, "what is said matters"


def test_a_model_plays_a_whole_study_alike_alone_and_in_company(tmp_path, model):
    study = study_site.study(tmp_path, questions=2, participants=3)
    found = []
    for at_once in (3, 1):
        mine = dataclasses.replace(study, out=str(tmp_path / f"at once {at_once}"))
        simulation.simulate(mine, Model(model, messages=2, tokens=5, max_tokens=512), at_once=at_once)
        rows = [each._replace(seconds=0.0, read_seconds=0.0) for each in read_answers(mine.folder)]
        texts = [(each["participant"], each["question"], each["text"]) for each in messages_of(mine)]
        found.append((sorted(rows), sorted(texts)))
    assert found[0] == found[1]
    rows, texts = found[0]
    assert {each.simulated for each in rows} == {f"model: {model}"[:100]}
    assert {each.turns for each in rows if each.condition == "chat"} == {2}
    assert len({text for _, _, text in texts}) > 4, "it writes its questions itself"


def test_a_model_that_cannot_read_the_questions_says_so(tmp_path, model):
    study = study_site.study(tmp_path, questions=1, participants=1)
    with pytest.raises(UserError, match="cannot play a participant: the question and the last message are"):
        simulation.simulate(study, Model(model, max_tokens=24))


def test_the_command(tmp_path, capsys):
    config = tmp_path / "config.py"
    config.write_text(
        f"from pathlib import Path\nfrom tests import study_site\nfrom w2s_jax.study.participants import Script\n"
        f"study = study_site.study(Path({str(tmp_path)!r}))\nparticipant = Script(('Why?',))\n"
    )
    assert cli.main(["study", "simulate", str(config), "--out", str(tmp_path / "there")]) == cli.OK
    assert "24 answers of script: 1 message, guesses\n" in capsys.readouterr().out
    folder = tmp_path / "there" / "tiny"
    before = files.sha256_file(folder / "answers.parquet")
    assert cli.main(["study", "simulate", str(config), "--out", str(tmp_path / "there")]) == cli.OK
    assert files.sha256_file(folder / "answers.parquet") == before
    assert cli.main(["study", "simulate", str(config), "--at-once", "0"]) == cli.BAD_INPUT


@pytest.mark.parametrize(
    "make_it",
    [
        lambda: Script(("",)),
        lambda: Script(answers="knows"),
        lambda: Script(confidence=1.5),
        lambda: Model(messages=-1),
        lambda: Model(asks=(" ",)),
        lambda: Reader(asks=(" ",)),
        lambda: Reader(max_tokens=1),
        lambda: Model(rows=0),
    ],
)
def test_options_that_cannot_be(make_it):
    with pytest.raises(UserError):
        make_it()


def test_a_reader_takes_the_option_whose_words_follow_best(model):
    """The oracle reads the whole text once for every token of an option."""
    after = letter_models.oracle(model, tokens=True)
    choices = ("good film", "bad", "the plot", "very bad film")
    said = (Said("You", True, "What melts ?"), Said("Assistant", False, "the answer is (B)"))
    seen = Seen("chat", "the film was good", "What melts ?", choices, ("Assistant",), said)

    def score(before, choice):
        words = choice.split()
        return sum(after(" ".join([before, *words[:place]]), word) for place, word in enumerate(words))

    def expected(told, nothing):
        ratios = np.array([score(told, each) - score(nothing, each) for each in choices])
        return np.exp(ratios) / np.exp(ratios).sum()

    alone = expected("the film was good\n\nQuestion: What melts ?\nAnswer:", "Question: N/A\nAnswer:")
    told = expected(
        "the film was good\n\nQuestion: What melts ?\nQuestion: What melts ?\nAssistant: the answer is bad\nAnswer:",
        "Question: N/A\nQuestion: What melts ?\nAssistant: N/A\nAnswer:",
    )

    async def think():
        mind = Reader(model, max_tokens=512).open()
        assert await mind.message(seen._replace(messages=())) == "What melts ?"
        assert await mind.message(seen) == ""
        found = await asyncio.gather(mind.answer(seen._replace(messages=())), mind.answer(seen), mind.answer(seen))
        await mind.close()
        return found

    for found, probs in zip(asyncio.run(think()), (alone, told, told), strict=True):
        assert found.choice == probs.argmax()
        assert math.isclose(found.confidence, probs.max(), abs_tol=1e-4)
    assert abs(alone.max() - told.max()) > 1e-3, "what is said matters"


def test_a_reader_plays_a_whole_study(tmp_path, model):
    study = study_site.study(tmp_path, questions=2, participants=2)
    simulation.simulate(study, Reader(model, asks=("{question}", "Why ?"), max_tokens=512))
    rows = read_answers(study.folder)
    assert {each.simulated for each in rows} == {f"reader: {model}"[:100]}
    assert {each.turns for each in rows if each.condition == "chat"} == {2}
    asked = [each["text"] for each in messages_of(study) if each["speaker"] == "participant"]
    assert asked[1::2] == ["Why ?"] * 4
    with pytest.raises(UserError, match="cannot play a participant: a prompt has"):
        simulation.simulate(dataclasses.replace(study, name="short"), Reader(model, max_tokens=8))
