"""A study whose participants are all simulated: the server in this process, and a client of it for each of them."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from w2s_jax.runtime.errors import UserError
from w2s_jax.study import export, server
from w2s_jax.study.config import Study
from w2s_jax.study.live import Live
from w2s_jax.study.opening import Opened, open_study
from w2s_jax.study.participants import Mind, Participant
from w2s_jax.study.participants.client import Client
from w2s_jax.study.serving import OPTIONS

if TYPE_CHECKING:
    import uvicorn

HOST = "127.0.0.1"
PATIENCE = 120.0  # seconds for an answer of the server
STARTING = 30.0  # seconds


class Simulated(NamedTuple):
    """What a simulation has left: files, answers in all, and how many of these time ran out on."""

    written: list[Path]
    answers: int
    timeouts: int


@dataclass(frozen=True)
class _Served:
    opened: Opened
    live: Live
    address: str


def simulate(study: Study, participant: Participant, *, at_once: int = 8) -> Simulated:
    """Has all participants of a study played, and exports it. The same call goes on where it was interrupted.

    Args:
      at_once: participants that take part at the same time: more share one processor, and the server's time limits
        are the same for them as for people.

    Raises:
      UserError: the study, its assistant or the participant cannot be opened, or a person, or something else, has
        begun to take part in it; starlette, uvicorn or httpx is not installed.
    """
    with _served(study) as served:
        _check(served.live, participant)
        mind = participant.open()
        asyncio.run(_play(served, mind, participant.describe(), at_once))
        tables = export.tables(study, served.opened.sessions, list(served.live.events))
    timeouts = sum(not answer.is_given for answer in tables.answers)
    return Simulated(export.write(tables, study.folder), len(tables.answers), timeouts)


async def _play(served: _Served, mind: Mind, name: str, at_once: int) -> None:
    import httpx

    room = asyncio.Semaphore(at_once)
    # A slow mind may use a connection again in the very moment in which the server closes it for being idle.
    limits = httpx.Limits(max_keepalive_connections=0)
    finished = 0

    async def one(token: str) -> None:
        nonlocal finished
        http = httpx.AsyncClient(base_url=served.address, timeout=PATIENCE, limits=limits, trust_env=False)
        async with room, http:
            await Client(http, f"/p/{token}", mind, name).play()
        finished += 1
        print(f"{finished} of {len(served.opened.tokens)} participants have finished", flush=True)

    try:
        async with asyncio.TaskGroup() as group:
            for token in served.opened.tokens.values():
                group.create_task(one(token))
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    finally:
        await mind.close()


def _check(live: Live, participant: Participant) -> None:
    """Nobody else may have begun: who plays a participant is marked once, and holds for all that it answers."""
    for name, room in live.rooms.items():
        progress = room.progress
        if progress.stage != "consent" and progress.simulated != participant.describe():
            who = progress.simulated or "a person"
            raise UserError(f"{name} of this study is {who}: give the study another name or --out to simulate it")


@contextlib.contextmanager
def _served(study: Study) -> Iterator[_Served]:
    """The study at a free port of this machine, in a thread."""
    try:
        import httpx  # noqa: F401
        import uvicorn
    except ModuleNotFoundError as error:
        raise UserError(f"{error.name} is not installed: `pip install 'w2s-jax[study]'`") from error
    opened = open_study(study)
    try:
        voice = None if study.assistant is None else study.assistant.open()
        live = Live(study, opened.sessions, opened.database, voice, opened.key)
        app = server.application(live, opened.links, [HOST], study.folder)
        serving = uvicorn.Server(uvicorn.Config(app, **OPTIONS))
        with socket.create_server((HOST, 0)) as bound, _running(serving, bound):
            yield _Served(opened, live, f"http://{HOST}:{bound.getsockname()[1]}")
    finally:
        opened.close()


@contextlib.contextmanager
def _running(serving: "uvicorn.Server", bound: socket.socket) -> Iterator[None]:
    thread = threading.Thread(target=serving.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    try:
        until = time.monotonic() + STARTING
        while not serving.started:
            if not thread.is_alive() or time.monotonic() > until:
                raise UserError("the study's server does not start")
            time.sleep(0.01)
        yield
    finally:
        serving.should_exit = True
        thread.join()
