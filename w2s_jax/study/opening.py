"""A study made ready: its questions are drawn, its folder and links are there, and it goes on where it was."""

import contextlib
import dataclasses
from pathlib import Path
from typing import NamedTuple

import filelock

from w2s_jax.data.answers import ANSWERS, KEY, write_key
from w2s_jax.data.example import Example
from w2s_jax.runtime import files
from w2s_jax.runtime.errors import UserError
from w2s_jax.study import assignment, questions
from w2s_jax.study.assignment import Session
from w2s_jax.study.config import Study
from w2s_jax.study.database import FILE, Database
from w2s_jax.study.design import write_design
from w2s_jax.study.entrance import Links
from w2s_jax.study.questions import Key, Question

LOCK = ".study.lock"  # dies with the process that holds it
# Fields that may change while a study goes on, and those that are compared by what they stand for.
MAY_CHANGE = (
    "participants",
    "out",
    "title",
    "consent",
    "instructions",
    "farewell",
    "task",
    "assistant",
    "practice",
    "expert",
    "source",
)


class Opened(NamedTuple):
    """A study that is ready to be served.

    Attributes:
      sessions: of all participants.
      tokens: of each participant, by name.
      researcher: the researcher's token.
      secret: of the cookies.
      key: of the questions that are asked.
      lock: released when the study is closed.
    """

    study: Study
    sessions: tuple[Session, ...]
    database: Database
    tokens: dict[str, str]
    researcher: str
    secret: str
    key: Key
    lock: filelock.FileLock

    @property
    def links(self) -> Links:
        """Who may come in."""
        return Links({token: who for who, token in self.tokens.items()}, self.researcher, self.secret)

    def close(self) -> None:
        """Closes the database, for another process to go on."""
        self.database.close()
        self.lock.release()


def open_study(study: Study) -> Opened:
    """Draws the questions, writes the key apart, and opens the database of `<out>/<name>/`.

    Raises:
      UserError: the task cannot be read or has too few questions, another process serves the study, or the folder
        holds a study of another config, more participants who have begun, or answers without their database.
    """
    every, labels = questions.read(study.task, study.options)
    blocks = assignment.draw_blocks(study, every)
    folder = study.folder
    with contextlib.ExitStack() as undone:
        lock = _locked(folder)
        undone.callback(lock.release)
        if not (folder / FILE).exists() and (folder / ANSWERS).exists():
            raise UserError(
                f"{folder} holds {ANSWERS}, but not the {FILE} that it is from: put that back, move the folder "
                "away, or give the study another name or --out"
            )
        database = Database(folder / FILE)
        undone.callback(database.close)
        _check(study, blocks, database, folder)
        _check_participants(study, database, folder)
        key = {question.id: labels[question.id] for block in blocks for question in block}
        write_key(folder / KEY, [Example(question, "", label, "") for question, label in key.items()])
        (folder / KEY).chmod(0o600)
        write_design(folder, study.design)
        sessions = tuple(assignment.session(study, blocks, number) for number in range(study.participants))
        tokens = {each.participant: database.token(each.participant) for each in sessions}
        secrets = database.secret("researcher"), database.secret("cookies")
        undone.pop_all()
    return Opened(study, sessions, database, tokens, *secrets, key, lock)


def _locked(folder: Path) -> filelock.FileLock:
    with files.disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / LOCK)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout as error:
            raise UserError(
                f"{folder} is served by another process; stop that one first, or name another --out"
            ) from error
    return lock


def _check(study: Study, blocks: list[list[Question]], database: Database, folder: Path) -> None:
    """Refuses a config that differs from that of the study that is in the folder already."""
    fields = [field.name for field in dataclasses.fields(study) if field.name not in MAY_CHANGE]
    parts = {name: repr(getattr(study, name)) for name in fields}
    parts["assistant"] = "" if study.assistant is None else files.canonical(study.assistant.identity())
    parts["task"] = files.sha256_text(files.canonical([[list(each) for each in block] for block in blocks]))
    parts["practice"] = "" if study.practice is None else files.canonical(list(study.practice))
    for name, value in parts.items():
        if database.fact(f"config {name}", value) != value:
            raise UserError(
                f"{folder} holds a study with another {name}: put that back, or give the study another name or --out"
            )


def _check_participants(study: Study, database: Database, folder: Path) -> None:
    """Refuses to leave out participants who have begun: their answers would be gone from the tables."""
    begun = {event.participant for event in database.events()} - {""}
    missing = begun - {assignment.name(number) for number in range(study.participants)}
    if missing:
        raise UserError(
            f"{max(missing)} of {folder} has begun, but the study has {study.participants} participants: have at least "
            "as many as before"
        )
