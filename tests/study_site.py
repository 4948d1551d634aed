"""Small studies for tests, in this process or in one of their own."""

import dataclasses
import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from w2s_jax.data.task_config import TaskConfig
from w2s_jax.study import server
from w2s_jax.study.assistants import Assistant, AssistantGone, Message, Scripted, Voice
from w2s_jax.study.config import Study
from w2s_jax.study.live import Live
from w2s_jax.study.opening import Opened, open_study
from w2s_jax.study.protocols import Alone, Chat

ACT = {"X-W2S-Study": "1"}
ADDRESS = "https://study.example.org"
REPLY = "I think the answer is (B), but I may be wrong."


def write_questions(path: Path, count: int = 24, *, shift: int = 0, more: str = "") -> Path:
    """A table of questions with four choices each; the right ones move with `shift`, and nothing else does."""
    rows = [
        {
            "passage": f"Passage {place}: substances melt when they are warm enough. {more}",
            "question": f"What melts first in story {place}? {more}",
            "choices": [f"{name} {place} {more}".strip() for name in ("ice", "lead", "salt", "wax")],
            "answer": (place + shift) % 4,
        }
        for place in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def study(folder: Path, **changes: Any) -> Study:
    """A study of two conditions whose questions are in the folder, with 3 questions in each."""
    table = folder / "questions.jsonl"
    if not table.exists():
        write_questions(table)
    made = Study(
        "tiny",
        TaskConfig(str(table)),
        {"alone": Alone(), "chat": Chat()},
        Scripted((REPLY,)),
        questions=3,
        participants=4,
        out=str(folder / "out"),
    )
    return dataclasses.replace(made, **changes)


@dataclass(frozen=True)
class Recording(Assistant):
    """An assistant that keeps what it was asked, and is gone as often as `fails` says before it replies."""

    asked: list[Sequence[Message]]
    fails: int = 0
    reply: str = REPLY

    def describe(self) -> str:
        return "records"

    def identity(self) -> dict[str, Any]:
        return {"kind": "recording"}

    def open(self) -> Voice:
        return _Recorder(self)


class _Recorder(Voice):
    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    async def reply(self, messages: Sequence[Message], *, tokens: int, seed: int) -> AsyncIterator[str]:
        self._recording.asked.append(list(messages))
        if len(self._recording.asked) <= self._recording.fails:
            yield "I"
            raise AssistantGone("secret-host:9 refuses connections")
        for word in re.findall(r"\S+\s*", self._recording.reply):
            yield word

    async def close(self) -> None:
        pass


@contextmanager
def in_process(made: Study) -> Iterator[tuple[Any, Opened, Live]]:
    """A client of the study's application, without a network."""
    from starlette.testclient import TestClient

    opened = open_study(made)
    try:
        voice = None if made.assistant is None else made.assistant.open()
        live = Live(made, opened.sessions, opened.database, voice, opened.key)
        app = server.application(live, opened.links, ["testserver"], made.folder, ADDRESS)
        with TestClient(app, base_url="https://testserver", raise_server_exceptions=True) as client:
            yield client, opened, live
    finally:
        opened.close()


class Person:
    """A participant that uses the JSON that the page is made of. `traffic` is all that came back."""

    def __init__(self, client: Any, link: str) -> None:
        self.client, self.link = client, link
        self.traffic: list[str] = []
        assert self._kept(client.get(link)).status_code == 200

    def _kept(self, answer: Any) -> Any:
        self.traffic.append(f"{answer.status_code} {answer.headers} {answer.text}")
        return answer

    def view(self, **query: Any) -> dict[str, Any]:
        found = self._kept(self.client.get(f"{self.link}/view", params=query))
        assert found.status_code == 200, found.text
        return found.json()

    def post(self, do: str, **more: Any) -> Any:
        return self._kept(self.client.post(f"{self.link}/act", json={"do": do, **more}, headers=ACT))

    def act(self, do: str, **more: Any) -> dict[str, Any]:
        found = self.post(do, **more)
        assert found.status_code == 200, found.text
        return found.json()

    def begin(self, *, practice: bool = True) -> dict[str, Any]:
        """Agrees, reads, and does the practice question."""
        self.act("consent", agree=True, simulated="a test")
        view = self.act("begin")
        if practice and view["position"] < 0:
            self.act("start")
            view = self.act("answer", choice=2, confidence=1.0)
        return view

    def say(self, text: str) -> dict[str, Any]:
        """Writes, and waits until nobody writes any more."""
        return self.settled(self.act("say", text=text))

    def settled(self, view: dict[str, Any]) -> dict[str, Any]:
        for _ in range(100):
            if not view.get("writing"):
                return view
            view = self.view(after=view["version"], wait=5)
        raise AssertionError("the reply does not end")

    def answer_all(self, choice: int = 1, confidence: float = 0.5) -> dict[str, Any]:
        """Every question that is left, after a message where one can be written."""
        view = self.view()
        while view["stage"] != "end":
            view = self.settled(self.act("start"))
            if view["may_write"]:
                self.say(f"What about {view['question']['choices'][0]}?")
            view = self.act("answer", choice=choice, confidence=confidence)
        return view


CONFIG = """
from tests import study_site
from w2s_jax.study.assistants import Scripted
from w2s_jax.study.protocols import *
from pathlib import Path

study = study_site.study(Path({folder!r}), {changes})
"""


class Served:
    """`w2s study serve` in a process of its own, which can be killed and started again at the same port."""

    def __init__(self, folder: Path, changes: str = "") -> None:
        self.folder = folder
        self.config = folder / "config.py"
        self.config.write_text(textwrap.dedent(CONFIG).format(folder=str(folder), changes=changes))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.links: dict[str, str] = {}
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "w2s_jax.cli", "study", "serve", str(self.config), "--port", str(self.port)]
        root = Path(__file__).parent.parent
        environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            command, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self.process.stdout is not None
        said = ""
        for line in self.process.stdout:
            said += line
            found = re.match(r"(\S+) +(http://\S+)$", line)
            if found:
                self.links[found[1]] = found[2]
            if "Ctrl+C" in line:
                break
        assert self.links, said
        for _ in range(300):
            try:
                httpx.get(f"http://127.0.0.1:{self.port}/", timeout=2)
                return
            except httpx.TransportError:
                time.sleep(0.05)
        raise AssertionError("the server does not answer")

    def kill(self) -> None:
        """As a power failure would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def interrupt(self) -> str:
        """As Ctrl+C would; returns what it said."""
        self.process.send_signal(signal.SIGINT)
        said, _ = self.process.communicate(timeout=20)
        return said

    def person(self, name: str) -> Person:
        return Person(httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=20), self.link(name))

    def link(self, name: str) -> str:
        return "/" + self.links[name].split("/", 3)[3]


@contextmanager
def served(folder: Path, changes: str = "") -> Iterator[Served]:
    """A study that is served in a process of its own."""
    found = Served(folder, changes)
    try:
        yield found
    finally:
        if found.process.poll() is None:
            found.kill()
