"""Events are on disk when they are acknowledged, are never changed, and survive whatever ends the process."""

import asyncio
import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from w2s_jax.runtime.errors import UserError
from w2s_jax.study.database import Database

# Appends from three threads of tasks, and prints each number as soon as it is acknowledged.
WRITER = """
import asyncio, sys
from pathlib import Path
from w2s_jax.study.database import Database

async def write(database, who):
    for turn in range(10_000):
        event = await database.append(who, "said", {"turn": turn})
        sys.stdout.write(f"{event.number} {who} {turn}\\n")
        sys.stdout.flush()

async def main():
    database = Database(Path(sys.argv[1]))
    await asyncio.gather(*(write(database, f"p{n}") for n in range(3)))

asyncio.run(main())
"""


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "study.sqlite"
    database = Database(path)
    body = {"text": "é <script> \u2028 'quoted'", "choice": None, "confidence": 1 / 3}
    first = database.append_now("p001", "said", body, at=12.5)
    second = database.append_now("", "stopped", {})
    assert (first.number, second.number) == (1, 2)
    database.close()
    again = Database(path)
    assert again.events() == [first, second]
    assert again.events()[0].body == body
    again.close()


def test_many_at_once_are_numbered_in_order(tmp_path: Path) -> None:
    async def write() -> list[int]:
        found = await asyncio.gather(*(database.append(f"p{n}", "said", {"n": n}) for n in range(500)))
        return [event.number for event in found]

    database = Database(tmp_path / "study.sqlite")
    assert asyncio.run(write()) == list(range(1, 501))
    assert [event.body["n"] for event in database.events()] == list(range(500))
    database.close()


def test_events_cannot_be_changed_or_deleted(tmp_path: Path) -> None:
    database = Database(tmp_path / "study.sqlite")
    database.append_now("p001", "said", {"text": "one"})
    database.close()
    other = sqlite3.connect(tmp_path / "study.sqlite")
    for statement in ("UPDATE events SET body = '{}'", "DELETE FROM events"):
        with pytest.raises(sqlite3.IntegrityError, match="events are never"):
            other.execute(statement)
    other.close()


def test_it_waits_for_the_disk(tmp_path: Path) -> None:
    database = Database(tmp_path / "study.sqlite")
    assert database._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert database._connection.execute("PRAGMA synchronous").fetchone() == (2,), "FULL"
    database.close()
    assert stat.S_IMODE((tmp_path / "study.sqlite").stat().st_mode) == 0o600, "tokens and answers are nobody else's"


def test_kill_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "study.sqlite"
    for number in (40, 200, 333):
        before = 0
        if path.exists():
            database = Database(path)
            before = len(database.events())
            database.close()
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WRITER), str(path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(number)]
        os.kill(process.pid, signal.SIGKILL)
        said += process.stdout.readlines()
        process.wait()
        database = Database(path)
        events = {event.number: event for event in database.events()}
        database.close()
        assert sorted(events) == list(range(1, len(events) + 1)), "no number is missing or there twice"
        for line in (line for line in said if line.endswith("\n")):
            place, who, turn = line.split()
            found = events[int(place)]
            assert (found.participant, found.body["turn"]) == (who, int(turn))
        assert len(events) >= before + number


def test_a_full_disk_fails_those_who_wait_and_nobody_else(tmp_path: Path) -> None:
    database = Database(tmp_path / "study.sqlite")
    database.append_now("p001", "said", {"text": "one"})
    pages = database._connection.execute("PRAGMA page_count").fetchone()[0]
    database._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        database.append_now("p001", "said", {"text": "x" * 100_000})
    database._connection.execute(f"PRAGMA max_page_count = {pages + 100}")
    assert database.append_now("p001", "said", {"text": "two"}).body == {"text": "two"}
    assert [event.body["text"] for event in database.events()] == ["one", "two"]
    database.close()


def test_what_cannot_be_written_fails_alone(tmp_path: Path) -> None:
    async def write() -> list[object]:
        bodies = [{"text": "one"}, {"text": "\ud800"}, {"text": float("nan")}, {"text": "two"}]
        every = (database.append("p001", "said", body) for body in bodies)
        return list(await asyncio.gather(*every, return_exceptions=True))

    database = Database(tmp_path / "study.sqlite")
    assert [isinstance(each, ValueError) for each in asyncio.run(write())] == [False, True, True, False]
    assert [event.body["text"] for event in database.events()] == ["one", "two"]
    database.close()


def test_tokens_are_random_and_stay(tmp_path: Path) -> None:
    database = Database(tmp_path / "study.sqlite")
    tokens = [database.token(f"p{n:03d}") for n in range(100)]
    assert len(set(tokens)) == 100
    assert min(map(len, tokens)) == 32, "192 bits in base64"
    researcher = database.secret("researcher")
    database.close()
    again = Database(tmp_path / "study.sqlite")
    assert [again.token(f"p{n:03d}") for n in range(100)] == tokens
    assert again.secret("researcher") == researcher
    assert researcher not in tokens
    again.close()
    other = Database(tmp_path / "other.sqlite")
    assert other.token("p000") not in tokens
    other.close()


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "study.sqlite").write_text(json.dumps({"not": "a database"}) * 100)
    with pytest.raises(UserError, match="is not the database of a study"):
        Database(tmp_path / "study.sqlite")


def test_a_database_of_something_else_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "study.sqlite"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE events (x)")
    other.close()
    with pytest.raises(UserError, match="is not the database of a study, or is damaged: no such column"):
        Database(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(UserError, match="Is a directory"):
        Database(path)
    full = Database(tmp_path / "full.sqlite")
    full._connection.execute("PRAGMA max_page_count = 1")
    with pytest.raises(sqlite3.OperationalError) as error:
        full.append_now("p001", "said", {"text": "x" * 100_000})
    assert "full; free some of its disk" in str(full._broken(error.value)), "it is no damage"
    full.close()
    damaged = Database(tmp_path / "damaged.sqlite")
    damaged._connection.execute("INSERT INTO events (at, participant, kind, body) VALUES (1, 'p001', 'said', '{')")
    with pytest.raises(UserError, match="or is damaged"):
        damaged.events()
    damaged.close()


def test_time_never_runs_backwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = [1000.0]
    monkeypatch.setattr(time, "time", lambda: machine[0])
    database = Database(tmp_path / "study.sqlite")
    times = []
    for machine[0] in (1000.0, 1010.0, 400.0, 405.0, 2000.0):
        times.append(database.append_now("p001", "said", {}).at)
    assert times == [1000, 1010, 1010, 1015, 2610], "from where it was, and on as the machine's goes"
    database.close()
    machine[0] = 50.0
    again = Database(tmp_path / "study.sqlite")
    assert again.now() == 2610, "nor over a restart"
    again.close()
