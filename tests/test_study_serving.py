"""A study in a process of its own: killed between acknowledged actions, started again, and used by many at once."""

import concurrent.futures
import itertools
import random
import sqlite3
import statistics
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import study_site
from tests.study_site import Person, served
from w2s_jax import cli
from w2s_jax.cli.base import INTERRUPTED
from w2s_jax.study.database import Database


def steady(view: dict[str, Any]) -> dict[str, Any]:
    """What a view says, but for time and the number of events."""
    return {name: value for name, value in view.items() if name not in ("seconds_left", "version")}


@pytest.mark.slow
def test_kill_at_any_moment_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """The server is killed after every few actions, between them and within replies, and everybody goes on in place."""
    with served(tmp_path, "participants=2, questions=2") as site:
        links = dict(site.links)
        draw = random.Random(0)
        people = [site.person("p001"), site.person("p002")]
        said: list[list[str]] = [[], []]
        kills = 0
        while True:
            moved = False
            for number, who in enumerate(people):
                view = who.view()
                stage, acted = view["stage"], []
                if stage == "end":
                    continue
                moved = True
                if stage == "consent":
                    view = who.act("consent", agree=True)
                elif stage == "instructions":
                    view = who.act("begin")
                elif stage == "ready":
                    view = who.act("start")
                elif view["may_write"] and len(view["messages"]) < 2:
                    text = f"message {number} {len(said[number])}"
                    view = who.act("say", text=text)
                    said[number].append(text)
                elif view["choice"] is None:
                    view = who.act("choose", choice=2, confidence=0.5)
                elif not view["writing"]:
                    view = who.act("answer", choice=2, confidence=0.5)
                acted.append(view)
                if draw.random() < 0.35:
                    site.kill()
                    kills += 1
                    site.start()
                    assert site.links == links, "everybody's link stays"
                    now = who.view()
                    if not acted[-1].get("writing"):
                        assert steady(now) == steady(acted[-1])
            if not moved:
                break
        assert kills >= 5
        for who in people:
            who.client.close()
        site.interrupt()
    events = sqlite3.connect(tmp_path / "out" / "tiny" / "study.sqlite")
    rows = events.execute(
        "SELECT participant, json_extract(body, '$.text') FROM events WHERE kind = 'said' ORDER BY number"
    )
    kept = [text for _, text in rows]
    assert sorted(kept) == sorted(itertools.chain(*said)), "every message once"
    answers = events.execute("SELECT participant, COUNT(*) FROM events WHERE kind = 'answered' GROUP BY participant")
    assert answers.fetchall() == [("p001", 5), ("p002", 5)], "four questions and the practice, each answered once"
    events.close()


def test_it_says_what_to_do_and_stops_cleanly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with served(tmp_path, "participants=3") as site:
        assert sorted(site.links) == ["p001", "p002", "p003", "researcher"]
        assert len({link.rpartition("/")[2] for link in site.links.values()}) == 4
        with httpx.Client(base_url=f"http://127.0.0.1:{site.port}") as client:
            who = Person(client, site.link("p001"))
            with client.stream("GET", f"{who.link}/stream") as stream:
                lines = stream.iter_lines()
                assert next(lines) == "retry: 1000"
                while not next(lines).startswith("data: "):
                    pass
                assert cli.main(["study", "serve", str(site.config)]) == cli.BAD_INPUT
                assert "is served by another process" in capsys.readouterr().err
                before = time.monotonic()
                said = site.interrupt()
                assert time.monotonic() - before < 5, "an open page does not keep it"
        assert said == "interrupted; the same command resumes\n"
        assert site.process.returncode == INTERRUPTED
        assert {path.name for path in (tmp_path / "out" / "tiny").iterdir()} >= {
            "study.sqlite",
            "key.parquet",
            "answers.parquet",
            "messages.parquet",
            "timeline.parquet",
        }


def test_a_study_that_cannot_be_started_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config.py"
    config.write_text(study_site.CONFIG.format(folder=str(tmp_path), changes=""))

    async def full(*_: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(Database, "append", full)
    assert cli.main(["study", "serve", str(config), "--port", "0"]) == cli.BAD_INPUT
    assert "the study could not be started; is the disk of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing.py"], "nothing.py does not exist"),
        (["quickstart"], "has no 'study'"),
        (["study.py", "--port", "99999"], "--port 99999: want 1 to 65535"),
        (["study.py", "--host", "0.0.0.0"], "--host 0.0.0.0: say with --url"),
        (["study.py", "--url", "study.example.org"], "--url study.example.org: want http://NAME:PORT"),
        (["study.py", "--url", "https://example.org/deep"], "want http://NAME:PORT"),
        (["study.py", "--url", "https://two words"], "want http://NAME:PORT"),
        (["study.py", "--url", "https://example.org?deep"], "want http://NAME:PORT"),
        (["study.py", "--url", "https://me@example.org"], "want http://NAME:PORT"),
    ],
)
def test_bad_arguments(
    tmp_path: Path,
    arguments: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    config = study_site.CONFIG.format(folder=str(tmp_path), changes="")
    (tmp_path / "study.py").write_text(config)
    assert cli.main(["study", "serve", *arguments]) == cli.BAD_INPUT
    assert said in capsys.readouterr().err


@pytest.mark.slow
def test_fifty_at_once(tmp_path: Path) -> None:
    """Fifty people talk and click at once, each reading a stream: 95 of 100 clicks are answered within 200 ms.

    In one of three studies: other tests use the same cores.
    """
    found: list[float] = []
    while len(found) < 3 and not any(each < 0.2 for each in found):
        clicks = clicks_of_fifty(tmp_path / str(len(found)))
        assert len(clicks) > 50 * 25
        found.append(statistics.quantiles(clicks, n=20)[-1])
        print(f"p95 of {len(clicks)} clicks: {1000 * found[-1]:.0f} ms")
    assert min(found) < 0.2, f"p95 of {len(clicks)} clicks is {[round(1000 * each) for each in found]} ms"


def clicks_of_fifty(folder: Path) -> list[float]:
    """The seconds of every click of a study of fifty people."""
    folder.mkdir()
    changes = "participants=50, questions=2, assistant=Scripted((study_site.REPLY * 4,), delay=0.02)"
    with served(folder, changes) as site:
        clicks: list[float] = []

        def take_part(number: int) -> dict[str, Any]:
            draw = random.Random(number)
            limits = httpx.Limits(max_connections=4)
            with httpx.Client(base_url=f"http://127.0.0.1:{site.port}", timeout=30, limits=limits) as client:
                who = Person(client, site.link(f"p{number:03d}"))

                def click(do: str, **more: Any) -> dict[str, Any]:
                    time.sleep(draw.uniform(0.2, 0.8))  # people read; fifty still click about a hundred times a second
                    before = time.perf_counter()
                    view = who.act(do, **more)
                    clicks.append(time.perf_counter() - before)
                    return view

                with client.stream("GET", f"{who.link}/stream"):
                    click("consent", agree=True)
                    view = click("begin")
                    while view["stage"] == "ready":
                        view = click("start")
                        if view["may_write"]:
                            click("say", text="What do you think?")
                        for choice in draw.sample(range(4), 3):
                            click("choose", choice=choice, confidence=0.5)
                        view = click("answer", choice=draw.randrange(4), confidence=0.75)
                return view

        with concurrent.futures.ThreadPoolExecutor(50) as pool:
            views = list(pool.map(take_part, range(1, 51)))
        assert {view["stage"] for view in views} == {"end"}
    return clicks
