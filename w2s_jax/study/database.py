"""Events of a study on disk: append-only, in SQLite's write-ahead log, and acknowledged only when they are on disk."""

import asyncio
import contextlib
import json
import os
import queue
import secrets
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

from w2s_jax.runtime import files
from w2s_jax.runtime.errors import UserError
from w2s_jax.study.clock import Clock
from w2s_jax.study.events import Event

FILE = "study.sqlite"
_TABLES = """
CREATE TABLE IF NOT EXISTS events (
  number INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, participant TEXT NOT NULL, kind TEXT NOT NULL,
  body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS people (participant TEXT PRIMARY KEY, token TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TRIGGER IF NOT EXISTS unchanged BEFORE UPDATE ON events
  BEGIN SELECT RAISE(ABORT, 'events are never changed'); END;
CREATE TRIGGER IF NOT EXISTS undeleted BEFORE DELETE ON events
  BEGIN SELECT RAISE(ABORT, 'events are never deleted'); END;
"""
_OF_THE_DISK = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY)
_INSERT = "INSERT INTO events (at, participant, kind, body) VALUES (?, ?, ?, ?)"


class _Entry(NamedTuple):
    """An event that waits to be written, and who waits for it."""

    at: float
    participant: str
    kind: str
    body: Mapping[str, Any]
    json: str
    written: "Future[Event]"


class Database:
    """The events, and the random tokens of participants and researcher.

    One thread writes: what arrives while it waits for the disk is committed together the next time, so that many
    participants do not queue for one disk. Nobody but the owner of the file may read it.

    Args:
      path: of the file; it is made where there is none.

    Raises:
      UserError: it cannot be written, or is no database.
    """

    def __init__(self, path: Path) -> None:
        with files.disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._path = path
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        try:
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.executescript(_TABLES)
            (last,) = self._connection.execute("SELECT MAX(at) FROM events").fetchone()
        except sqlite3.Error as error:
            self._connection.close()
            raise self._broken(error) from error
        self._clock = Clock(last or 0.0)
        self._entries: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="study database", daemon=True)
        self._writer.start()

    # ---- Tokens and facts, before the study is served

    def token(self, participant: str) -> str:
        """The participant's token, made at the first call: 192 random bits."""
        self._connection.execute("INSERT OR IGNORE INTO people VALUES (?, ?)", (participant, secrets.token_urlsafe(24)))
        return str(self._one("SELECT token FROM people WHERE participant = ?", participant))

    def fact(self, name: str, value: str) -> str:
        """What was first stored under a name: this value, or that of an earlier call."""
        self._connection.execute("INSERT OR IGNORE INTO facts VALUES (?, ?)", (name, value))
        return str(self._one("SELECT value FROM facts WHERE name = ?", name))

    def secret(self, name: str) -> str:
        """192 random bits, made at the first call."""
        return self.fact(name, secrets.token_urlsafe(24))

    def _broken(self, error: Exception) -> UserError:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _OF_THE_DISK:
            return UserError(f"{self._path} cannot be written: {error}; free some of its disk, or name another --out")
        return UserError(f"{self._path} is not the database of a study, or is damaged: {error}")

    def _one(self, query: str, value: str) -> Any:
        return self._connection.execute(query, (value,)).fetchone()[0]

    # ---- Events

    def now(self) -> float:
        """The study's time, in seconds since 1970: never before that of an event."""
        return self._clock.now()

    def events(self) -> list[Event]:
        """All of them, in order.

        Raises:
          UserError: the file is damaged.
        """
        try:
            rows = self._connection.execute("SELECT number, at, participant, kind, body FROM events ORDER BY number")
            return [Event(number, at, who, kind, json.loads(body)) for number, at, who, kind, body in rows]
        except (sqlite3.Error, ValueError) as error:
            raise self._broken(error) from error

    async def append(self, participant: str, kind: str, body: Mapping[str, Any], at: float | None = None) -> Event:
        """Records an event and returns it once it is on disk.

        Args:
          at: by default now.

        Raises:
          sqlite3.Error: it could not be written.
          ValueError: the body is no JSON, or holds text that is no Unicode.
        """
        return await asyncio.wrap_future(self._enter(participant, kind, body, at))

    def append_now(self, participant: str, kind: str, body: Mapping[str, Any], at: float | None = None) -> Event:
        """As `append`, for who has no event loop."""
        return self._enter(participant, kind, body, at).result()

    def _enter(self, participant: str, kind: str, body: Mapping[str, Any], at: float | None) -> "Future[Event]":
        as_json = json.dumps(body, ensure_ascii=False, allow_nan=False)
        as_json.encode()  # what cannot be written fails here, and not those who are written along with it
        written: Future[Event] = Future()
        self._entries.put(_Entry(self.now() if at is None else at, participant, kind, dict(body), as_json, written))
        return written

    def close(self) -> None:
        """Writes what waits, and closes the file."""
        self._entries.put(None)
        self._writer.join()
        self._connection.close()

    def _write(self) -> None:
        going = True
        while going:
            batch = [self._entries.get()]
            with contextlib.suppress(queue.Empty):
                while True:
                    batch.append(self._entries.get_nowait())
            going = None not in batch
            self._commit([entry for entry in batch if entry is not None])

    def _commit(self, entries: Sequence[_Entry]) -> None:
        """Writes the entries in one transaction; if it fails, none is written, and all who wait are told."""
        waiting = [entry for entry in entries if entry.written.set_running_or_notify_cancel()]
        if not waiting:
            return
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            numbers = [
                self._connection.execute(_INSERT, (each.at, each.participant, each.kind, each.json)).lastrowid
                for each in waiting
            ]
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            for each in waiting:
                each.written.set_exception(error)
            return
        for number, each in zip(numbers, waiting, strict=True):
            assert number is not None
            each.written.set_result(Event(number, each.at, each.participant, each.kind, each.body))
