"""An OpenAI-compatible server as assistant, and all the ways in which one fails."""

import asyncio
import logging
import re

import pytest

from tests.fake_endpoint import GOOD, KEY, FakeServer, event, stream
from w2s_jax.runtime.errors import UserError
from w2s_jax.study.assistants import AssistantGone, Endpoint, Message, endpoint

SAID = [Message("system", "A passage."), Message("user", "Why?")]


@pytest.fixture
def waits(monkeypatch):
    """How long it waited before each further attempt; it does not really."""
    found, sleep = [], asyncio.sleep

    async def no_wait(seconds):
        found.append(seconds)
        await sleep(0)

    monkeypatch.setattr(endpoint.asyncio, "sleep", no_wait)
    return found


def asked(server, monkeypatch, *, said=SAID, **options):
    """The pieces of a reply, and why it ended before its time."""
    monkeypatch.setenv(endpoint.URL, server.url + "/")
    monkeypatch.setenv(endpoint.KEY, KEY)

    async def ask():
        voice, pieces, why = Endpoint("big-model", **options).open(), [], ""
        try:
            async for piece in voice.reply(said, tokens=40, seed=7):
                pieces.append(piece)
        except AssistantGone as error:
            why = str(error)
        await voice.close()
        return pieces, why

    return asyncio.run(ask())


def test_a_reply_is_streamed(monkeypatch, waits):
    with FakeServer(GOOD) as server:
        assert asked(server, monkeypatch, temperature=0.2) == (["It is ", "<b>é</b>"], "")
    ((path, body, key),) = server.requests
    assert (path, key, server.keys) == ("/v1/chat/completions", f"Bearer {KEY}", [f"Bearer {KEY}"])
    assert body == {
        "model": "big-model",
        "messages": [{"role": "system", "content": "A passage."}, {"role": "user", "content": "Why?"}],
        "max_tokens": 40,
        "temperature": 0.2,
        "seed": 7,
        "stream": True,
    }
    assert waits == []


def test_neighbours_of_one_role_are_one_message_and_the_limit_has_another_name(monkeypatch, waits):
    with FakeServer(stream(event("Yes."), event(None, "length"), done=False)) as server:
        said = [*SAID, Message("user", "Really?")]
        assert asked(server, monkeypatch, said=said, limit="max_completion_tokens") == (["Yes."], "")
    body = server.requests[0][1]
    assert body["messages"][1:] == [{"role": "user", "content": "Why?\n\nReally?"}]
    assert "max_tokens" not in body
    assert body["max_completion_tokens"] == 40


@pytest.mark.parametrize("failure", [429, 500, 503, None, stream(done=False), stream({"error": {"message": KEY}})])
def test_what_passes_is_asked_again(monkeypatch, waits, failure):
    with FakeServer(failure, failure, GOOD) as server:
        assert asked(server, monkeypatch, wait=0.5) == (["It is ", "<b>é</b>"], "")
    assert len(server.requests) == 3
    assert 0.5 <= waits[0] <= 0.75
    assert 1.0 <= waits[1] <= 1.5


def test_it_waits_as_long_as_the_server_asks_for_but_not_for_ever(monkeypatch, waits):
    with FakeServer((429, {"Retry-After": "7"}), (503, {"Retry-After": "9999"}), GOOD) as server:
        assert asked(server, monkeypatch)[1] == ""
    assert waits == [7.0, endpoint.LONGEST_WAIT]


@pytest.mark.parametrize(
    ("failure", "count", "why"),
    [
        (503, 3, r"^the assistant was asked 3 times: it failed \(503\)$"),
        (429, 3, r"asked 3 times: it is busy \(429\)"),
        (None, 3, r"asked 3 times: the connection failed \(RemoteProtocolError\)"),
        (30.0, 3, "asked 3 times: no sign of it for 0.2 s"),
        (stream("no JSON"), 3, "is not an OpenAI-compatible stream"),
        (401, 1, r"does not answer: it refuses the key: set W2S_ASSISTANT_KEY \(401\)"),
        (400, 1, "the dialogue may be too long"),
        (404, 1, "it has no such model"),
        (418, 1, r"it refuses \(418\)"),
    ],
)
def test_an_assistant_that_is_gone_says_why_in_one_line(monkeypatch, waits, caplog, capfd, failure, count, why):
    caplog.set_level(logging.DEBUG)
    with FakeServer(failure) as server:
        pieces, said = asked(server, monkeypatch, attempts=3, timeout=0.2 if failure == 30.0 else 30.0)
    assert pieces == []
    assert re.search(why, said), said
    assert len(server.requests) == count
    printed = said + caplog.text + "".join(capfd.readouterr())
    assert KEY not in printed
    assert "\n" not in said
    assert str(server.server_port) not in said


def test_a_reply_that_breaks_off_is_not_begun_again(monkeypatch, waits):
    with FakeServer(stream(event("It is "), done=False), GOOD) as server:
        assert asked(server, monkeypatch) == (["It is "], "the assistant broke off: its answer ended in the middle")
    assert len(server.requests) == 1


def test_many_at_once(monkeypatch):
    monkeypatch.setenv(endpoint.KEY, KEY)

    async def ask():
        voice = Endpoint("m").open()
        found = await asyncio.gather(*(_text(voice, number) for number in range(30)))
        await voice.close()
        return found

    with FakeServer(GOOD) as server:
        monkeypatch.setenv(endpoint.URL, server.url)
        assert asyncio.run(ask()) == ["It is <b>é</b>"] * 30
    assert sorted(body["seed"] for _, body, _ in server.requests) == list(range(30))


async def _text(voice, seed):
    return "".join([piece async for piece in voice.reply(SAID, tokens=5, seed=seed)])


def test_nothing_of_the_address_is_kept(monkeypatch):
    monkeypatch.setenv(endpoint.KEY, KEY)
    with FakeServer(GOOD) as server:
        monkeypatch.setenv(endpoint.URL, server.url)
        kind = Endpoint("m")
        kept = f"{kind!r} {kind.identity()} {kind.describe()}"
    assert KEY not in kept
    assert "127.0.0.1" not in kept


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "set W2S_ASSISTANT_URL to the server's address"),
        ("localhost:8000", "set W2S_ASSISTANT_URL to the server's address"),
        (f"http://me:{KEY}@localhost/v1", "a key belongs in W2S_ASSISTANT_KEY"),
        (f"http://localhost/v1?key={KEY}", "a key belongs in W2S_ASSISTANT_KEY"),
        ("http://127.0.0.1:9/v1", "no assistant can be reached at W2S_ASSISTANT_URL: ConnectError"),
    ],
)
def test_an_address_that_cannot_be(monkeypatch, url, message):
    monkeypatch.setenv(endpoint.URL, url)
    with pytest.raises(UserError, match=message) as error:
        Endpoint("m").open()
    assert KEY not in str(error.value)


def test_a_key_that_is_refused(monkeypatch):
    monkeypatch.delenv(endpoint.KEY, raising=False)
    with FakeServer(GOOD) as server:
        monkeypatch.setenv(endpoint.URL, server.url)
        with pytest.raises(UserError, match="refuses the key: set W2S_ASSISTANT_KEY"):
            Endpoint("m").open()


def test_options_that_cannot_be():
    for options in ({"model": " "}, {"attempts": 0}, {"timeout": 0}, {"wait": -1}, {"limit": "tokens"}):
        with pytest.raises(UserError):
            Endpoint(**{"model": "m", **options})
