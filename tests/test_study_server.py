"""The study's server: a session from beginning to end, what is refused, what never leaves, and what survives."""

import contextlib
import dataclasses
import itertools
import json
import re
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from tests import study_site
from tests.study_site import ACT, Person, Recording, in_process
from w2s_jax.data import answers as tables
from w2s_jax.runtime.errors import UserError
from w2s_jax.study import actions, database, export, live, opening, pieces
from w2s_jax.study.assistants import Scripted
from w2s_jax.study.config import Study
from w2s_jax.study.opening import Opened
from w2s_jax.study.protocols import Chat, Consultancy, Debate

HOSTILE = '</script><script>document.title="owned"</script><img src=x onerror=alert(1)>'


def person(client: Any, opened: Opened, number: int = 1) -> Person:
    client.cookies.clear()
    return Person(client, f"/p/{opened.tokens[f'p{number:03d}']}")


def researcher(client: Any, opened: Opened) -> str:
    link = f"/r/{opened.researcher}"
    assert client.get(link).status_code == 200
    return link


# ---- A session


def test_a_session_from_consent_to_the_end(tmp_path: Path) -> None:
    with in_process(study_site.study(tmp_path)) as (client, opened, _):
        who = person(client, opened)
        view = who.view()
        assert (view["stage"], view["total"]) == ("consent", 6)
        assert "voluntary" in view["text"]
        assert who.act("consent", agree=False)["stage"] == "declined"
        assert who.act("consent", agree=True)["stage"] == "instructions"
        view = who.act("begin")
        assert (view["stage"], view["position"], view["condition"]["practice"]) == ("ready", -1, True)
        assert view["condition"]["name"] == "chat", "practice is with the assistant"
        assert "question" not in view, "a question is seen when its time begins"
        who.act("start")
        assert who.act("answer", choice=2, confidence=1)["position"] == 0
        for position, item in enumerate(opened.sessions[0].items):
            view = who.view()
            assert (view["stage"], view["position"], view["condition"]["name"]) == ("ready", position, item.condition)
            assert who.act("pause")["stage"] == "paused"
            assert who.act("resume")["stage"] == "ready"
            view = who.act("start")
            assert view["stage"] == "question"
            assert view["question"] == {
                "passage": item.question.passage,
                "question": item.question.question,
                "choices": list(item.question.choices),
                "least": 0.25,
            }
            assert 299 < view["seconds_left"] <= 300
            assert view["speakers"] == (["Assistant"] if item.condition == "chat" else [])
            if view["may_write"]:
                view = who.say("What melts?")
                assert [(each["from"], each["mine"], each["text"]) for each in view["messages"]] == [
                    ("You", True, "What melts?"),
                    ("Assistant", False, study_site.REPLY),
                ]
                assert view["turns_left"] == 9
            assert who.act("choose", choice=0, confidence=None)["choice"] == 0
            view = who.act("choose", choice=3, confidence=0.7)
            assert (view["choice"], view["confidence"]) == (3, 0.7)
            view = who.act("answer", choice=1, confidence=0.4)
        assert view["stage"] == "end"
        assert "Thank you" in view["text"]


def test_a_consultant_and_debaters_speak_by_themselves(tmp_path: Path) -> None:
    asked: list[Any] = []
    conditions = {"consultancy": Consultancy(), "debate": Debate(rounds=2, asks=True)}
    made = study_site.study(tmp_path, conditions=conditions, assistant=Recording(asked), practice=None, questions=1)
    with in_process(made) as (client, opened, _):
        who = person(client, opened)
        who.begin()
        for item in opened.sessions[0].items:
            view = who.act("start")
            while view["writing"] or not view["may_write"]:
                view = who.view(after=view["version"], wait=5)
            names = [each["from"] for each in view["messages"]]
            debaters = [f"Debater {n}" for n in (1, 2, 3, 4)]
            assert names == (["Consultant"] if item.condition == "consultancy" else debaters * 2)
            view = who.say("Why?")
            while view["writing"] or not view["may_write"]:
                view = who.view(after=view["version"], wait=5)
            answered = [each["from"] for each in view["messages"][len(names) :]]
            assert answered == ["You", *(["Consultant"] if item.condition == "consultancy" else debaters)]
            who.act("answer", choice=0, confidence=0.5)
    told = [re.search(r"right answer is: ([A-D])\.", each[0].content) for each in asked]
    rounds = {"consultancy": 2, "debate": 3}
    sides = [side for item in opened.sessions[0].items for side in item.sides * rounds[item.condition]]
    assert [found and "ABCD".index(found[1]) for found in told] == sides


def test_nobody_interrupts(tmp_path: Path) -> None:
    slow = Scripted(("one two three four",), delay=0.1)
    with in_process(study_site.study(tmp_path, conditions={"consultancy": Consultancy()}, assistant=slow)) as found:
        client, opened, _ = found
        who = person(client, opened)
        who.begin()
        view = who.act("start")
        assert view["writing"]["from"] == "Consultant"
        assert view["may_write"] is False
        assert who.post("say", text="Me first").status_code == 409
        assert [each["text"] for each in who.settled(view)["messages"]] == ["one two three four"]


def test_who_reads_the_passage(tmp_path: Path) -> None:
    for reader, shown, told in (("everyone", True, True), ("participant", True, False), ("assistant", False, True)):
        asked: list[Any] = []
        changes = {"passage": reader, "assistant": Recording(asked), "conditions": {"chat": Chat()}, "name": reader}
        with in_process(study_site.study(tmp_path, **changes)) as (client, opened, _):
            who = person(client, opened)
            who.begin()
            view = who.act("start")
            who.say("What does it say?")
            assert view["question"]["passage"].startswith("Passage") == shown
            assert ("substances melt" in asked[-1][0].content) == told
            assert ("substances melt" in "".join(who.traffic)) == shown


def test_the_right_answer_is_revealed_only_where_the_study_says_so(tmp_path: Path) -> None:
    with in_process(study_site.study(tmp_path, reveal=True)) as (client, opened, _):
        who = person(client, opened)
        who.begin()
        assert "right" not in who.act("start")
        view = who.act("answer", choice=0, confidence=0.3)
        assert (view["stage"], view["right"]) == ("revealed", opened.key[opened.sessions[0].items[0].question.id])
        assert who.act("next")["stage"] == "ready"
    with in_process(study_site.study(tmp_path, name="hidden")) as (client, opened, running):
        assert running._key is None
        who = person(client, opened)
        who.begin()
        who.answer_all()
        assert '"right"' not in "".join(who.traffic)


# ---- What is refused


def test_what_means_nothing_or_comes_at_the_wrong_time(tmp_path: Path) -> None:
    with in_process(study_site.study(tmp_path, practice=None)) as (client, opened, running):
        who = person(client, opened)
        assert who.post("start").status_code == 409
        assert who.post("consent", agree="yes").status_code == 400
        who.begin()
        who.act("start")
        before = len(running.events)
        for more in (
            {"choice": 4, "confidence": 0.5},
            {"choice": -1, "confidence": 0.5},
            {"choice": True, "confidence": 0.5},
            {"choice": 1.0, "confidence": 0.5},
            {"choice": "1", "confidence": 0.5},
            {"choice": None, "confidence": 0.5},
            {"choice": 1, "confidence": None},
            {"choice": 1, "confidence": 0.2},
            {"choice": 1, "confidence": 1.01},
            {"choice": 1, "confidence": "sure"},
            {"choice": 1, "confidence": True},
        ):
            assert who.post("answer", **more).status_code == 400, more
        assert who.post("answer", position=3, choice=1, confidence=0.5).status_code == 409
        assert who.post("fly").status_code == 400
        long, deep = b"x" * 70_000, b"[" * 60_000
        nothing = b'{"do": "answer", "choice": 1, "confidence": NaN}'
        half = b'{"do": "consent", "agree": true, "simulated": "\\ud800"}'
        huge = b'{"do": "answer", "choice": 1, "confidence": 1' + b"0" * 400 + b"}"
        for content in (b"", b"[]", b"{", b"\xff", long, deep, nothing, half, huge):
            headers = {**ACT, "content-type": "application/json"}
            found = client.post(f"{who.link}/act", content=content, headers=headers)
            assert found.status_code == 400, content[:50]
            assert found.json()["error"]
        assert len(running.events) == before, "nothing of this was recorded"
        late = who.post("say", text="anybody there?")
        assert (late.status_code, late.json()["view"]["stage"]) == (409, "question"), "nobody listens in `alone`"
        assert who.post("retry").status_code == 409


def test_messages_have_bounds(tmp_path: Path) -> None:
    with in_process(study_site.study(tmp_path, turns=2, conditions={"chat": Chat()})) as (client, opened, _):
        who = person(client, opened)
        who.begin()
        who.act("start")
        assert who.post("say", text=" \n").status_code == 400
        assert who.post("say", text="x" * (actions.LONGEST + 1)).status_code == 400
        assert who.post("say", text=3).status_code == 400
        who.say("one")
        assert who.post("say", text="one", said=0).status_code == 409, "sent again, though it had arrived"
        assert who.say("two")["may_write"] is False
        assert who.post("say", text="three").status_code == 409


def test_a_second_answer_changes_nothing(tmp_path: Path) -> None:
    with in_process(study_site.study(tmp_path, practice=None)) as (client, opened, running):
        who = person(client, opened)
        who.begin()
        who.act("start", position=0)
        who.act("answer", position=0, choice=1, confidence=0.5)
        again = who.post("answer", position=0, choice=2, confidence=1)
        assert (again.status_code, again.json()["view"]["position"]) == (409, 1)
        assert [event.body["choice"] for event in running.events if event.kind == "answered"] == [1]


def test_no_other_site_can_act_or_read(tmp_path: Path) -> None:
    with in_process(study_site.study(tmp_path, practice=None)) as (client, opened, running):
        who = person(client, opened)
        who.begin()
        who.act("start")
        before = len(running.events)
        action = {"do": "answer", "choice": 1, "confidence": 0.5}
        link = f"{who.link}/act"

        def refused(**request: Any) -> bool:
            return client.post(link, **request).status_code in (400, 403)

        assert refused(json=action), "without the header, as a form would"
        assert refused(data=action, headers=ACT)
        assert refused(content=json.dumps(action), headers={**ACT, "content-type": "text/plain"})
        for origin in ("https://evil.example", "null", "http://testserver.evil.example", "http://testserver:99"):
            assert refused(json=action, headers={**ACT, "origin": origin}), origin
        for site in ("cross-site", "same-site"):
            assert refused(json=action, headers={**ACT, "sec-fetch-site": site}), site
            assert client.get(f"{who.link}/view", headers={"sec-fetch-site": site}).status_code == 403
            assert client.get(f"{who.link}/stream", headers={"sec-fetch-site": site}).status_code == 403
        for host in ("evil.example", "testserver.evil.example", ""):
            assert refused(json=action, headers={**ACT, "host": host}), host
        client.cookies.clear()
        assert refused(json=action, headers=ACT), "SameSite keeps the cookie from other sites' requests"
        assert client.get(f"{who.link}/view").status_code == 403
        client.cookies.set("w2s-study", "0" * 64)
        assert refused(json=action, headers=ACT)
        client.cookies.clear()
        assert client.get(link).status_code == 405, "an image or a link changes nothing"
        assert len(running.events) == before
        answer = client.get(who.link)
        flags = answer.headers["set-cookie"].lower()
        assert "httponly" in flags
        assert "samesite=strict" in flags
        assert f"path={who.link}".lower() in flags
        assert "; secure" in flags, "as links begin with https"
        for position, origin in enumerate(("https://testserver", study_site.ADDRESS)):
            view = client.post(link, json=action, headers={**ACT, "origin": origin}).json()
            assert view["position"] == position + 1
            who.act("start")


def test_every_answer_has_the_headers_that_keep_a_page_to_itself(tmp_path: Path) -> None:
    with in_process(study_site.study(tmp_path)) as (client, opened, _):
        who, office = person(client, opened), researcher(client, opened)
        paths = [who.link, f"{who.link}/view", "/static/participant.js", "/nothing", office, f"{office}/overview"]
        for path in paths:
            headers = client.get(path).headers
            policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
            assert policy["default-src"] == policy["form-action"] == policy["frame-ancestors"] == "'none'", path
            assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'", path
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer", "a link away tells nobody the token"
            assert headers["cache-control"] == "no-store"
        assert client.get(who.link, headers={"host": "evil.example"}).headers["x-frame-options"] == "DENY"


def test_only_the_token_lets_in(tmp_path: Path) -> None:
    with in_process(study_site.study(tmp_path)) as (client, opened, _):
        who, other = person(client, opened), opened.tokens["p002"]
        token = opened.tokens["p001"]
        for wrong in ("p001", token[:-1], token + "x", token.swapcase(), opened.researcher, "%00", "*"):
            assert client.get(f"/p/{wrong}").status_code == 404, wrong
            assert client.get(f"/p/{wrong}/view").status_code == 404, wrong
        assert client.get(f"/p/{other}/view").status_code == 403, "another's link needs another's cookie"
        assert client.get(f"/r/{token}").status_code == client.get(f"/r/{token}/overview").status_code == 404
        assert client.post(f"/r/{token}/act", json={"do": "stop"}, headers=ACT).status_code == 404
        for path in ("/static/participant.html", "/static/../server.py", "/static/%2e%2e/server.py", "/", "/docs"):
            assert client.get(path).status_code == 404, path
        office = researcher(client, opened)
        for name in ("key.parquet", "study.sqlite", "..%2fkey.parquet", ".study.lock"):
            assert client.get(f"{office}/files/{name}").status_code == 404, name
        assert who.view()["stage"] == "consent"


# ---- What never leaves


def _session(folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> tuple[str, str, Opened]:
    """All traffic of two participants and the researcher, byte for byte, with a clock and tokens that repeat."""
    random = itertools.count()
    asked: list[Any] = []
    with monkeypatch.context() as patch:
        patch.setattr(database.secrets, "token_urlsafe", lambda size: f"token-{next(random)}")
        patch.setattr(time, "time", lambda: 1e9)
        with in_process(study_site.study(folder, assistant=Recording(asked), **changes)) as (client, opened, _):
            traffic = []
            for number in (1, 2):
                who = person(client, opened, number)
                who.begin()
                who.answer_all(choice=number, confidence=0.25 + number / 10)
                traffic += [each for each in who.traffic if '"writing":{' not in each]  # how far a reply is when
            office = researcher(client, opened)
            exported = client.post(f"{office}/act", json={"do": "export"}, headers=ACT)
            traffic += [exported.text, client.get(f"{office}/overview").text]
            traffic += [client.get(f"{office}/files/{name}").content.hex() for name in exported.json()["files"]]
    return "\n".join(traffic).replace(str(folder), ""), repr(asked), opened


def test_the_key_never_leaves_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is right, every byte to participants, researcher and assistant is the same."""
    found = []
    for shift in range(4):
        folder = tmp_path / str(shift)
        folder.mkdir()
        study_site.write_questions(folder / "questions.jsonl", shift=shift)
        conditions = {"chat": Chat(), "debate": Debate(rounds=1)}
        found.append(_session(folder, monkeypatch, conditions=conditions, questions=2))
    keys = [opened.key for _, _, opened in found]
    assert all(a[question] != b[question] for a, b in itertools.combinations(keys, 2) for question in a)
    assert len({asked for _, asked, _ in found}) == 1, "the assistant is told something else"
    first, *others = [traffic.splitlines() for traffic, _, _ in found]
    assert len(first) > 50
    assert all(other == first for other in others)


def test_the_key_is_in_one_file_that_nobody_else_may_read(tmp_path: Path) -> None:
    made = study_site.study(tmp_path)
    with in_process(made) as (client, opened, _):
        who = person(client, opened)
        who.begin()
        who.answer_all()
        office = researcher(client, opened)
        client.post(f"{office}/act", json={"do": "export"}, headers=ACT)
    assert stat.S_IMODE((made.folder / "key.parquet").stat().st_mode) == 0o600
    import pyarrow.parquet as pq

    assert dict(zip(*pq.read_table(made.folder / "key.parquet").to_pydict().values(), strict=True)) == opened.key
    for name in ("answers.parquet", "messages.parquet", "timeline.parquet"):
        assert not {"label", "right", "key"} & set(pq.read_schema(made.folder / name).names)


def test_nobody_sees_what_others_say(tmp_path: Path) -> None:
    made = study_site.study(
        tmp_path, assistant=Scripted(("You wrote {message}, echo-echo",)), conditions={"chat": Chat()}
    )
    with in_process(made) as (client, opened, _):
        one = person(client, opened, 1)
        one.begin()
        one.act("start")
        assert "canary-of-one, echo-echo" in one.say("canary-of-one")["messages"][1]["text"]
        one.act("answer", choice=3, confidence=0.83)
        two = person(client, opened, 2)
        two.begin()
        two.act("start")
        two.say("canary-of-two")
        two.act("answer", choice=0, confidence=0.5)
        seen = "".join(two.traffic)
        assert "canary-of-two" in seen
        for other in ("canary-of-one", "0.83", opened.tokens["p001"], opened.researcher, "p001"):
            assert other not in seen


def test_texts_are_data_wherever_they_come_from(tmp_path: Path) -> None:
    study_site.write_questions(tmp_path / "questions.jsonl", more=HOSTILE)
    made = study_site.study(
        tmp_path, assistant=Scripted((HOSTILE,)), conditions={"chat": Chat()}, title=HOSTILE, consent=HOSTILE
    )
    with in_process(made) as (client, opened, _):
        who = person(client, opened)
        page = client.get(who.link)
        assert HOSTILE not in page.text, "pages are the same for everybody"
        assert re.findall(r"<script[^>]*>", page.text) == re.findall(r'<script src="/static/\w+\.js" defer>', page.text)
        who.begin()
        who.act("start")
        view = who.say(HOSTILE)
        assert [each["text"] for each in view["messages"]] == [HOSTILE, HOSTILE]
        assert HOSTILE in view["question"]["passage"]
        answer = client.get(f"{who.link}/view")
        assert answer.headers["content-type"] == "application/json"
        assert client.get(f"{researcher(client, opened)}/overview").headers["content-type"] == "application/json"
    for script in Path(live.__file__).with_name("static").glob("*.js"):
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", script.read_text()
        )


# ---- The assistant


def test_an_assistant_that_is_gone_and_comes_back(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    asked: list[Any] = []
    made = study_site.study(tmp_path, conditions={"chat": Chat()}, assistant=Recording(asked, fails=2), practice=None)
    with in_process(made) as (client, opened, _):
        who = person(client, opened)
        who.begin()
        who.act("start")
        for _ in range(2):
            view = who.say("Hello?") if not asked else who.settled(who.act("retry"))
            assert "does not answer at the moment" in view["notice"]
            assert view["writing"] is None
            assert view["may_write"] is False
            assert "secret-host" not in "".join(who.traffic), "why is the researcher's business"
            assert [each["text"] for each in view["messages"]] == ["Hello?"]
        overview = client.get(f"{researcher(client, opened)}/overview").json()
        assert "secret-host:9" in overview["people"][0]["notice"]
        view = who.settled(who.act("retry"))
        assert (view["notice"], view["messages"][1]["text"]) == ("", study_site.REPLY)
        assert who.say("And now?")["messages"][3]["text"] == study_site.REPLY
    assert "is gone: secret-host:9 refuses connections" in capfd.readouterr().err


def test_one_can_answer_without_an_assistant_that_is_gone(tmp_path: Path) -> None:
    made = study_site.study(tmp_path, conditions={"chat": Chat()}, assistant=Recording([], fails=99))
    with in_process(made) as (client, opened, _):
        who = person(client, opened)
        who.begin()
        who.act("start")
        assert who.say("Hello?")["notice"]
        assert who.act("answer", choice=0, confidence=0.25)["stage"] == "ready"
        assert who.answer_all()["stage"] == "end"


def test_an_assistant_that_does_not_end_is_ended(tmp_path: Path) -> None:
    made = study_site.study(tmp_path, conditions={"chat": Chat()}, assistant=Recording([], reply="x" * 300_000))
    with in_process(made) as (client, opened, _):
        who = person(client, opened)
        who.begin()
        who.act("start")
        view = who.say("Hello?")
        assert view["messages"][1]["text"] == "x" * pieces.LONGEST
        assert (view["may_write"], view["notice"]) == (True, "")


@dataclasses.dataclass(frozen=True)
class _Broken(Recording):
    how: str = "raises"

    def open(self) -> Any:
        how = self.how

        class Voice:
            async def reply(self, messages: Any, *, tokens: int, seed: int) -> Any:
                import asyncio

                if how == "raises":
                    raise ZeroDivisionError("a fault of the assistant's own")
                if how == "hangs":
                    await asyncio.sleep(60)
                yield "  "

            async def close(self) -> None:
                pass

        return Voice()


@pytest.mark.parametrize("how", ["raises", "hangs", "says nothing"])
def test_an_assistant_that_fails_in_any_way_is_gone(tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PATIENCE", 0.2)
    made = study_site.study(tmp_path, conditions={"chat": Chat()}, assistant=_Broken([], how=how))
    with in_process(made) as (client, opened, _):
        who = person(client, opened)
        who.begin()
        who.act("start")
        assert who.say("Hello?")["notice"]
        assert who.act("answer", choice=0, confidence=0.25)["stage"] == "ready"


def test_a_full_disk_is_said_and_survived(tmp_path: Path) -> None:
    with in_process(study_site.study(tmp_path, conditions={"chat": Chat()}, practice=None)) as (client, opened, _):
        who = person(client, opened)
        who.begin()
        who.act("start")
        disk = opened.database._connection
        pages = disk.execute("PRAGMA page_count").fetchone()[0]
        disk.execute(f"PRAGMA max_page_count = {pages}")
        full = [who.post("say", text="x" * 4000) for _ in range(9)][-1]
        assert (full.status_code, full.json()["error"]) == (503, "This could not be saved. Please try again.")
        assert who.view()["messages"] == [], "what is not on disk is not shown as if it were"
        disk.execute(f"PRAGMA max_page_count = {pages + 1000}")
        assert [each["text"] for each in who.say("Again")["messages"]] == ["Again", study_site.REPLY]


def test_the_researcher_is_told_of_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with in_process(study_site.study(tmp_path)) as (client, opened, running):
        office = researcher(client, opened)
        disk = opened.database._connection
        disk.execute("PRAGMA query_only = 1")
        stopped = client.post(f"{office}/act", json={"do": "stop"}, headers=ACT)
        assert (stopped.status_code, running.stopped) == (503, False)
        assert "could not be saved: attempt to write a readonly database" in stopped.json()["error"]
        disk.execute("PRAGMA query_only = 0")
        with monkeypatch.context() as patch:
            patch.setattr(export, "write_answers", _full)
            exported = client.post(f"{office}/act", json={"do": "export"}, headers=ACT)
        assert (exported.status_code, exported.json()["error"]) == (503, "This could not be saved: the disk is full")
        assert client.post(f"{office}/act", json={"do": "stop"}, headers=ACT).json()["stopped"] is True


def _full(*_: Any) -> None:
    raise UserError("the disk is full")


def test_half_a_character_harms_nobody(tmp_path: Path) -> None:
    made = study_site.study(tmp_path, conditions={"chat": Chat()}, assistant=Recording([], reply="It is \ud83e, I say"))
    with in_process(made) as (client, opened, _):
        who = person(client, opened)
        who.begin()
        who.act("start")
        assert who.say("What?")["messages"][1]["text"] == "It is ?, I say"
        half = {"content": b'{"do": "say", "text": "\\ud83e"}', "headers": {**ACT, "content-type": "application/json"}}
        assert client.post(f"{who.link}/act", **half).status_code == 400


def test_replies_stream_and_are_cut_when_the_answer_is_given(tmp_path: Path) -> None:
    words = " ".join(f"word{n}" for n in range(400))
    made = study_site.study(tmp_path, conditions={"chat": Chat()}, assistant=Scripted((words,), delay=0.01), tokens=400)
    with in_process(made) as (client, opened, running):
        who = person(client, opened)
        who.begin()
        who.act("start")
        who.act("say", text="Go on")
        pieces: list[dict[str, Any]] = []
        while len(pieces) < 5:
            time.sleep(0.05)
            writing = who.view()["writing"]
            assert writing["from"] == "Assistant"
            pieces.append(writing)
        texts = [each["text"] for each in pieces]
        assert texts == sorted(texts, key=len)
        assert len(set(texts)) > 2, "it grows"
        assert all(words.startswith(text) for text in texts)
        who.act("answer", choice=0, confidence=0.5)
        (reply,) = [event.body for event in running.events if event.kind == "replied"]
        assert reply["cut"] is True
        assert words.startswith(reply["text"])
        assert len(reply["text"]) >= len(texts[-1].strip()), "what was shown is kept"


# ---- Time


class Clock:
    """The server's clock, which a test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000_000.0
        monkeypatch.setattr(time, "time", lambda: self.now)


def test_time_runs_out_by_the_servers_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    with in_process(study_site.study(tmp_path, seconds=100, practice=None)) as (client, opened, running):
        who = person(client, opened)
        who.begin()
        who.act("start")
        clock.now += 60
        assert who.view()["seconds_left"] == pytest.approx(40)
        who.act("choose", choice=2, confidence=0.6)
        clock.now += 39.9
        who.act("choose", choice=1, confidence=None)
        clock.now += 0.2
        late = who.post("answer", position=0, choice=3, confidence=1)
        assert late.status_code == 409, "too late, whatever the page says"
        view = late.json()["view"]
        assert (view["stage"], view["position"]) == ("ready", 1)
        assert "before you had chosen" in view["before"], "a choice without a confidence is no answer"
        who.act("start")
        who.act("choose", choice=2, confidence=0.6)
        clock.now += 500
        view = who.post("pause").json()
        assert view["stage"] == "paused", "the question is over, so a break can begin"
        assert "counts as your answer" in who.act("resume")["before"]
        over = [event for event in running.events if event.kind == "expired"]
        assert [(event.body["choice"], event.body["confidence"]) for event in over] == [(-1, None), (2, 0.6)]
        assert over[1].at - over[0].at == pytest.approx(100, abs=0.2), (
            "it ended when it ended, not when somebody looked"
        )


def test_a_clock_that_is_set_back_gives_nobody_more_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, made = Clock(monkeypatch), study_site.study(tmp_path, seconds=100, practice=None)
    with in_process(made) as (client, opened, _):
        who = person(client, opened)
        who.begin()
        who.act("start")
        clock.now -= 3600
        assert who.view()["seconds_left"] == pytest.approx(100)
        clock.now += 30
        assert who.view()["seconds_left"] == pytest.approx(70)
        who.act("answer", choice=1, confidence=0.5)
    (answer,) = tables.read_answers(made.folder)
    assert answer.seconds == pytest.approx(30)


def test_time_runs_out_by_itself(tmp_path: Path) -> None:
    made = study_site.study(tmp_path, seconds=1, practice=None, assistant=Scripted(("a " * 100,), delay=0.05))
    with in_process(dataclasses.replace(made, conditions={"chat": Chat()})) as (client, opened, running):
        who = person(client, opened)
        who.begin()
        who.act("start")
        view = who.act("say", text="Tell me everything")
        while view["stage"] == "question":
            view = who.view(after=view["version"], wait=5)
        kinds = [event.kind for event in running.events if event.participant]
        assert kinds[-2:] == ["replied", "expired"]
        assert [event.body["cut"] for event in running.events if event.kind == "replied"] == [True]
        assert view["stage"] == "ready"


def test_time_goes_on_while_the_server_is_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, made = Clock(monkeypatch), study_site.study(tmp_path, seconds=100, practice=None)
    with in_process(made) as (client, opened, _):
        who = person(client, opened)
        who.begin()
        who.act("start")
        who.act("choose", choice=1, confidence=0.5)
    clock.now += 30
    with in_process(made) as (client, opened, _):
        view = person(client, opened).view()
        assert (view["stage"], view["choice"], view["seconds_left"]) == ("question", 1, pytest.approx(70))
    clock.now += 71
    with in_process(made) as (client, opened, running):
        view = person(client, opened).view()
        assert (view["stage"], view["position"]) == ("ready", 1)
        (over,) = [event for event in running.events if event.kind == "expired"]
        assert (over.body["choice"], over.body["confidence"]) == (1, 0.5)
        assert over.at == pytest.approx(1_000_100)


def test_a_reply_that_a_restart_cut_off_is_written_again(tmp_path: Path) -> None:
    slow = study_site.study(tmp_path, conditions={"chat": Chat()}, assistant=Scripted(("one two three",), delay=0.5))
    with in_process(slow) as (client, opened, _):
        who = person(client, opened)
        who.begin()
        who.act("start")
        who.act("say", text="Hello?")
    fast = dataclasses.replace(slow, assistant=Scripted(("one two three",)))
    with in_process(fast) as (client, opened, running):
        who = person(client, opened)
        assert [each["text"] for each in who.settled(who.view())["messages"]] == ["Hello?", "one two three"]
        assert [event.kind for event in running.events].count("replied") == 1


# ---- The researcher


def test_the_researcher_sees_where_everybody_is(tmp_path: Path) -> None:
    with in_process(study_site.study(tmp_path)) as (client, opened, _):
        who = person(client, opened, 2)
        who.begin()
        view = who.act("start")
        who.act("answer", choice=1, confidence=0.5)
        found = client.get(f"{researcher(client, opened)}/overview").json()
        assert [each["participant"] for each in found["people"]] == ["p001", "p002", "p003", "p004"]
        mine = found["people"][1]
        assert (mine["stage"], mine["position"], mine["answered"], mine["simulated"]) == ("ready", 1, 1, "a test")
        assert found["people"][0]["stage"] == "consent"
        (latest,) = found["latest"]
        assert (latest["participant"], latest["choice"], latest["confidence"]) == ("p002", 1, 0.5)
        so_far = {each["condition"]: each for each in found["table"]}
        here = so_far.pop(view["condition"]["name"])
        assert (here["answers"], here["confidence"]) == (1, 0.5)
        assert [each["answers"] for each in so_far.values()] == [0]
        assert not any(token in json.dumps(found) for token in opened.tokens.values())


def test_stopping_stops_everybodys_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, made = Clock(monkeypatch), study_site.study(tmp_path, seconds=100, practice=None)
    with in_process(made) as (client, opened, _):
        who = person(client, opened)
        who.begin()
        who.act("start")
        clock.now += 40
        office = researcher(client, opened)
        assert client.post(f"{office}/act", json={"do": "stop"}, headers=ACT).json()["stopped"] is True
        assert client.post(f"{office}/act", json={"do": "stop"}, headers=ACT).json()["stopped"] is True
        view = who.view()
        assert view["stage"] == "stopped"
        assert "question" not in view
        assert who.post("answer", choice=1, confidence=0.5).status_code == 409
        clock.now += 1000
        assert who.view()["stage"] == "stopped", "nothing expires"
    with in_process(made) as (client, opened, running):
        who, office = person(client, opened), researcher(client, opened)
        assert who.view()["stage"] == "stopped", "it stays so when the server starts again"
        clock.now += 10
        client.post(f"{office}/act", json={"do": "resume"}, headers=ACT)
        assert who.view()["seconds_left"] == pytest.approx(60)
        clock.now += 20
        who.act("answer", choice=1, confidence=0.5)
        (answer,) = export.answers(room.progress for room in running.rooms.values())
        assert answer.seconds == pytest.approx(60), "without what it was stopped"
        assert client.post(f"{office}/act", json={"do": "fly"}, headers=ACT).status_code == 400
        assert client.post(f"{office}/act", json={"do": "stop"}).status_code == 403


# ---- Going on


def test_a_restart_changes_nothing(tmp_path: Path) -> None:
    made, views = study_site.study(tmp_path), []
    with in_process(made) as (client, opened, _):
        who = person(client, opened)
        who.begin()
        who.act("start")
        who.act("choose", choice=2, confidence=0.5)
        views.append(who.view())
        tokens = opened.tokens
    for more in ({}, {"participants": 6}, {"consent": "another text"}):
        with in_process(dataclasses.replace(made, **more)) as (client, opened, _):
            views.append(person(client, opened).view())
            assert {name: opened.tokens[name] for name in tokens} == tokens
    for view in views:
        view.pop("seconds_left")
        view.pop("version")
    assert all(view == views[0] for view in views)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seconds": 50}, "seconds"),
        ({"seed": 1}, "seed"),
        ({"questions": 2}, "questions"),
        ({"conditions": {"chat": Chat()}}, "conditions"),
        ({"assistant": Scripted(("Another",))}, "assistant"),
    ],
)
def test_another_study_in_the_same_folder_is_refused(tmp_path: Path, changes: dict[str, Any], named: str) -> None:
    made = study_site.study(tmp_path)
    opening.open_study(made).close()
    with pytest.raises(UserError, match=f"holds a study with another {named}"):
        opening.open_study(dataclasses.replace(made, **changes))
    opening.open_study(made).close()


def test_two_servers_of_one_study_are_refused(tmp_path: Path) -> None:
    made: Study = study_site.study(tmp_path)
    with contextlib.closing(opening.open_study(made)), pytest.raises(UserError, match="is served by another process"):
        opening.open_study(made)


def test_answers_are_never_overwritten_by_a_study_that_lost_them(tmp_path: Path) -> None:
    made = study_site.study(tmp_path)
    with in_process(made) as (client, opened, _):
        person(client, opened, 2).begin()
        person(client, opened, 2).answer_all()
    with pytest.raises(UserError, match=r"p002 of .* has begun, but the study has 1 participants"):
        opening.open_study(dataclasses.replace(made, participants=1))
    for path in made.folder.glob("study.sqlite*"):
        path.unlink()
    with pytest.raises(UserError, match=r"holds answers\.parquet, but not the study\.sqlite that it is from"):
        opening.open_study(made)
    assert len(tables.read_answers(made.folder)) == 6
