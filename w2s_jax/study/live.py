"""A study while it goes on: participants' actions become events, replies are written, and time runs out."""

import asyncio
import contextlib
import sqlite3
import sys
import traceback
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from w2s_jax.data.answers import NO_CHOICE
from w2s_jax.study import actions
from w2s_jax.study.assignment import Session
from w2s_jax.study.assistants.base import AssistantGone, Voice
from w2s_jax.study.config import Study
from w2s_jax.study.database import Database
from w2s_jax.study.events import Event
from w2s_jax.study.pieces import checked
from w2s_jax.study.progress import Progress, concerned
from w2s_jax.study.questions import Key
from w2s_jax.study.views import Speaking, view

STREAMS = 8  # pages that one participant may have open at a time
KEEP_ALIVE = 15.0  # seconds


@dataclass(eq=False)
class Room:
    """One participant.

    Attributes:
      lock: held while an action is checked and recorded.
      speaking: the reply that is being written; its text is what was shown.
      speech: the task that writes it.
      timer: at which the open question expires; `ringing` is what it then does.
      streams: of the pages that are open.
    """

    progress: Progress
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    speaking: Speaking | None = None
    speech: asyncio.Task[None] | None = None
    timer: asyncio.TimerHandle | None = None
    ringing: asyncio.Task[None] | None = None
    streams: set[asyncio.Queue[dict[str, Any] | None]] = field(default_factory=set)

    def tell(self, message: dict[str, Any]) -> None:
        for stream in self.streams:
            stream.put_nowait(message)


class Live:
    """All participants of a study.

    Args:
      sessions: of all participants.
      database: whose events are taken up.
      voice: of the assistant; None where no condition has one.
      key: kept only where the study reveals what was right: a study that does not knows no key.
    """

    def __init__(
        self, study: Study, sessions: Sequence[Session], database: Database, voice: Voice | None, key: Key | None
    ) -> None:
        self.study, self._database, self._voice = study, database, voice
        self._key = key if study.reveal else None
        self.events = database.events()
        self.sessions = tuple(sessions)
        self.rooms = {each.participant: Room(Progress(study, each)) for each in sessions}
        for event in self.events:
            self._take(event)

    async def start(self) -> None:
        """Goes on where the events end: what is over by now expires, and replies that were cut off begin again."""
        self._take_new(await self._database.append("", "opened", {}))
        for room in self.rooms.values():
            await self._settle_alone(room)

    async def close(self) -> None:
        """Ends replies and streams; nothing that was recorded changes."""
        self.end_streams()
        speeches = [room.speech for room in self.rooms.values() if room.speech is not None]
        for room in self.rooms.values():
            if room.timer is not None:
                room.timer.cancel()
        for speech in speeches:
            speech.cancel()
        await asyncio.gather(*speeches, return_exceptions=True)
        if self._voice is not None:
            await self._voice.close()

    def end_streams(self) -> None:
        """Ends the streams of all pages, which then connect again."""
        for room in self.rooms.values():
            for stream in room.streams:
                stream.put_nowait(None)

    def now(self) -> float:
        """The study's time, in seconds since 1970."""
        return self._database.now()

    # ---- For a participant

    async def act(self, participant: str, action: Mapping[str, Any]) -> None:
        """Does what a participant asks for; it is on disk when this returns.

        Raises:
          Refused: it cannot be done.
        """
        room = self.rooms[participant]
        async with room.lock:
            await self._expire(room)
            made = actions.event_of(room.progress, action)
            if made.kind == "answered":
                await self._cut(room)
            await self._record(room, made.kind, made.body)
            await self._settle(room)

    def view(self, participant: str) -> dict[str, Any]:
        """What the participant sees now."""
        room = self.rooms[participant]
        return view(room.progress, self.now(), room.speaking, self._key)

    async def view_after(self, participant: str, version: int, wait: float) -> dict[str, Any]:
        """What the participant sees as soon as it is another version, or after so many seconds."""
        room = self.rooms[participant]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                while room.progress.version == version:
                    await room.changed.wait()
        return self.view(participant)

    async def stream(self, participant: str) -> AsyncIterator[dict[str, Any] | None]:
        """Versions as they come, and pieces of replies; None now and then, to keep the connection alive."""
        room = self.rooms[participant]
        mine: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        room.streams.add(mine)
        try:
            yield {"version": room.progress.version}
            while True:
                try:
                    async with asyncio.timeout(KEEP_ALIVE):
                        message = await mine.get()
                except TimeoutError:
                    yield None
                    continue
                if message is None:
                    return
                yield message
        finally:
            room.streams.discard(mine)

    # ---- For the researcher

    @property
    def stopped(self) -> bool:
        """Whether the researcher has stopped the study."""
        return any(room.progress.halted is not None for room in self.rooms.values())

    async def stop(self, stopped: bool) -> None:
        """Stops the study, and all participants' time with it, or lets it go on."""
        if stopped == self.stopped:
            return
        if stopped:  # what is over by now is over
            for room in self.rooms.values():
                async with room.lock:
                    await self._expire(room)
        self._take_new(await self._database.append("", "stopped" if stopped else "resumed", {}))
        for room in self.rooms.values():
            await self._settle_alone(room)

    # ---- Events

    def _take(self, event: Event) -> None:
        """An event of the database's into the state of whom it concerns."""
        for room in concerned(self.rooms, event):
            room.progress.apply(event)

    def _take_new(self, event: Event) -> None:
        self.events.append(event)
        self._take(event)
        for room in concerned(self.rooms, event):
            room.tell({"version": room.progress.version})
            room.changed.set()
            room.changed = asyncio.Event()

    async def _record(self, room: Room, kind: str, body: Mapping[str, Any], at: float | None = None) -> None:
        """Writes an event to disk, then takes it into the state. The room's lock is held."""
        self._take_new(await self._database.append(room.progress.session.participant, kind, body, at))

    # ---- Time and replies; the room's lock is held

    async def _settle(self, room: Room) -> None:
        """Expires what is over, and starts or stops the clock and the reply as the state has it."""
        await self._expire(room)
        if room.timer is not None:
            room.timer.cancel()
            room.timer = None
        deadline = room.progress.deadline()
        if deadline is not None:
            seconds = max(deadline - self.now(), 0.0) + 0.01
            room.timer = asyncio.get_running_loop().call_later(seconds, self._ring, room)
        speaker = room.progress.due()
        if speaker is not None and room.speech is None and room.progress.halted is None and self._voice is not None:
            names = room.progress.speakers(room.progress.position)
            room.speaking = Speaking(names[speaker], "")
            room.tell({"piece": "", "from": names[speaker], "length": 0})
            room.speech = asyncio.create_task(self._speak(room, self._voice, speaker))

    def _ring(self, room: Room) -> None:
        room.ringing = asyncio.create_task(self._settle_alone(room))

    async def _settle_alone(self, room: Room) -> None:
        async with room.lock:
            await self._settle(room)

    async def _expire(self, room: Room) -> None:
        deadline, asked = room.progress.deadline(), room.progress.open
        if deadline is None or asked is None or self.now() < deadline:
            return
        await self._cut(room)
        answer = {"choice": asked.choice, "confidence": asked.confidence}
        if None in answer.values():
            answer = {"choice": NO_CHOICE, "confidence": None}
        await self._record(room, "expired", {"position": room.progress.position, **answer}, deadline)

    async def _cut(self, room: Room) -> None:
        """Ends the reply that is being written, and keeps of it what was shown."""
        speech, speaking = room.speech, room.speaking
        room.speech = room.speaking = None
        if speech is None or speaking is None:
            return
        speech.cancel()
        if speaking.text.strip():
            await self._reply(room, speaking.name, speaking.text, cut=True)

    async def _reply(self, room: Room, name: str, text: str, *, cut: bool) -> None:
        position = room.progress.position
        speaker = room.progress.speakers(position).index(name)
        body = {"position": position, "speaker": speaker, "text": text.strip(), "cut": cut}
        await self._record(room, "replied", body)

    async def _speak(self, room: Room, voice: Voice, speaker: int) -> None:
        """Has the speaker's reply written, piece by piece, and records it; or that the assistant is gone."""
        progress, position = room.progress, room.progress.position
        item, asked = progress.item(position), progress.asked[position]
        messages = progress.protocol(position).messages(
            item.question, item.sides, asked.lines, speaker, passage=self.study.passage != "participant"
        )
        me, why = asyncio.current_task(), ""
        try:
            replies = voice.reply(messages, tokens=self.study.tokens, seed=(item.seed + len(asked.lines)) % 2**31)
            async with contextlib.aclosing(checked(replies)) as shown:
                async for piece in shown:
                    if room.speech is not me or room.speaking is None:  # it was cut, and the assistant did not notice
                        return
                    before = room.speaking
                    room.speaking = before._replace(text=before.text + piece)
                    room.tell({"piece": piece, "from": before.name, "length": len(before.text)})
        except AssistantGone as error:
            why = str(error) or "it is gone"
        except Exception as error:  # of an assistant: the study goes on
            traceback.print_exc(file=sys.stderr)
            why = f"{type(error).__name__}: {error}"
        async with room.lock:
            said = room.speaking
            if room.speech is not me or said is None:
                return
            if not why and not said.text.strip():
                why = "it wrote nothing"
            who = progress.session.participant
            try:
                if why:
                    print(f"the assistant of {who} is gone: {why}", file=sys.stderr, flush=True)
                    await self._record(room, "gone", {"position": position, "speaker": speaker, "why": why})
                else:
                    await self._reply(room, said.name, said.text, cut=False)
            except sqlite3.Error as error:  # it is written again after the next action
                print(f"a reply to {who} could not be saved: {error}", file=sys.stderr, flush=True)
                return
            finally:
                room.speech = room.speaking = None  # only now: else nobody seems to write for a moment
            await self._settle(room)
