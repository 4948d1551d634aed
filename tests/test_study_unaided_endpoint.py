"""A served model alone: letters are as probable as the server says, and examples and chains are turns of a dialogue."""

import math
from collections import Counter

import numpy as np
import pytest

from tests import study_site
from tests.fake_endpoint import KEY, FakeServer, event, stream
from tests.test_study_unaided import ASKED, OTHERS, arm
from w2s_jax import cli
from w2s_jax.data.answers import read_models
from w2s_jax.runtime.errors import UserError
from w2s_jax.study import unaided
from w2s_jax.study.assistants import Endpoint, endpoint
from w2s_jax.study.questions import written
from w2s_jax.study.unaided import UnaidedEndpoint


def probable(**first):
    """A reply of one token, with how probable the first ones are; `_B` is one with a space before it."""
    tokens = [
        {"token": token.replace("_", " "), "logprob": math.log(value), "bytes": None} for token, value in first.items()
    ]
    choice = {"message": {"content": "B"}, "logprobs": {"content": [{**tokens[0], "top_logprobs": tokens}]}}
    return {"choices": [{"index": 0, **choice}]}


PLAIN = probable(_B=0.5, B=0.1, A=0.2, The=0.15, b=0.05)


@pytest.fixture
def at(monkeypatch):
    """Points to a server."""

    def point(server):
        monkeypatch.setenv(endpoint.URL, server.url)
        monkeypatch.setenv(endpoint.KEY, KEY)
        return server

    return point


def kind(**options):
    return UnaidedEndpoint(Endpoint("big", attempts=2, wait=0), **{"shots": 0, "samples": 0, **options})


def test_letters_are_those_of_the_most_probable_first_tokens(at):
    with at(FakeServer(PLAIN)) as server:
        found = unaided.answers(kind(), ASKED, OTHERS)
    assert [(each.arm, each.question) for each in found] == [("zero-shot", question.id) for question in ASKED]
    np.testing.assert_allclose(arm(found, "zero-shot"), [[0.25, 0.75, 0, 0]] * 3)
    bodies = [body for _, body, _ in server.requests]
    assert {body["messages"][0]["content"].split("\n\nAnswer with")[0] for body in bodies} == set(map(written, ASKED))
    for body in bodies:
        assert len(body["messages"]) == 1
        assert (body["max_tokens"], body["logprobs"], body["top_logprobs"]) == (1, True, 20)
        assert "stream" not in body


def test_examples_are_turns_with_the_right_letter(at):
    with at(FakeServer(PLAIN)) as server:
        found = unaided.answers(kind(shots=3), ASKED, OTHERS)
    assert Counter(each.arm for each in found) == {"zero-shot": 3, "few-shot": 3}
    shots = unaided.base.draw_shots(kind(shots=3), OTHERS, 4)
    for _, body, _ in server.requests[3:]:
        *before, last = body["messages"]
        assert [message["role"] for message in before] == ["user", "assistant"] * 3
        assert [message["content"] for message in before[1::2]] == ["ABCD"[shot.label] for shot in shots]
        assert all(written(shot.question) in said["content"] for shot, said in zip(shots, before[::2], strict=True))
        assert any(written(question) in last["content"] for question in ASKED)


def test_best_of_n_thinks_and_takes_the_most_confident(at):
    def answer(body):
        if body.get("stream"):
            return stream(event(f"Thought {body['seed']}."), event(None, "stop"))
        assert [message["role"] for message in body["messages"]] in (["user"], ["user", "assistant", "user"])
        if len(body["messages"]) == 1:
            return PLAIN
        return probable(C=0.9, A=0.1) if "Thought 6." in body["messages"][1]["content"] else probable(A=0.6, B=0.4)

    with at(FakeServer(answer)) as server:
        found = unaided.answers(kind(samples=3, seed=5, tokens=9, temperature=0.3), ASKED, [])
    np.testing.assert_allclose(arm(found, "best-of-n"), [[0.1, 0, 0.9, 0]] * 3)
    chains = [body for _, body, _ in server.requests if body.get("stream")]
    assert Counter(body["seed"] for body in chains) == {5: 3, 6: 3, 7: 3}
    assert {(body["max_tokens"], body["temperature"]) for body in chains} == {(9, 0.3)}


def test_where_no_letter_is_probable_it_is_a_guess_and_said(at):
    told = []
    with at(FakeServer(probable(The=0.9, I=0.1), PLAIN)):
        found = unaided.answers(kind(at_once=1), ASKED, [], told.append)
    np.testing.assert_allclose(arm(found, "zero-shot"), [[0.25] * 4, [0.25, 0.75, 0, 0], [0.25, 0.75, 0, 0]])
    assert told[-1] == "1 of 3 answers began with none of the letters: they count as guesses"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"choices": [{"message": {"content": "B"}, "logprobs": None}]}, "must heed logprobs and top_logprobs"),
        ({"choices": [{"message": {"content": "B"}}]}, "must heed logprobs and top_logprobs"),
        ({"choices": [{"logprobs": {"content": [{"token": "B", "top_logprobs": []}]}}]}, "must heed logprobs"),
        ({"choices": []}, "was asked 2 times: its answer is not an OpenAI-compatible reply"),
        ("no JSON", "was asked 2 times: its answer is not an OpenAI-compatible reply"),
        (503, r"was asked 2 times: it failed \(503\)"),
        (404, "it has no such model"),
    ],
)
def test_what_cannot_be_asked_is_one_line(at, answer, why):
    with at(FakeServer(answer)), pytest.raises(UserError, match=f"^big cannot be asked: .*{why}") as caught:
        unaided.answers(kind(), ASKED, [])
    assert "\n" not in str(caught.value)
    assert KEY not in str(caught.value)


def test_a_config_names_it(at, tmp_path):
    config = tmp_path / "config.py"
    config.write_text(
        "from pathlib import Path\nfrom tests import study_site\n"
        "from w2s_jax.study.assistants import Endpoint\nfrom w2s_jax.study.unaided import UnaidedEndpoint\n"
        f"study = study_site.study(Path({str(tmp_path)!r}), questions=4)\n"
        "unaided = UnaidedEndpoint(Endpoint('big'), shots=2, samples=0)\n"
    )
    with at(FakeServer(PLAIN)):
        assert cli.main(["study", "models", str(config)]) == cli.OK
    found = read_models(study_site.study(tmp_path, questions=4).folder)
    assert Counter(each.arm for each in found) == {"zero-shot": 8, "few-shot": 8}


def test_numbers_out_of_range():
    for options in ({"at_once": 0}, {"shots": -1}, {"temperature": 0.0}):
        with pytest.raises(UserError):
            kind(**options)
