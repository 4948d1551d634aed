"""An assistant that is a decoder of this package: batched over those who ask at the same time, in a thread of its own.

The thread alone touches the model. A reply's pieces go from it to the event loop that asked, which never waits for a
computation; a participant who leaves frees the row in which the reply was written.
"""

import asyncio
import contextlib
import queue
import threading
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from scipy.special import softmax

from w2s_jax import models
from w2s_jax.models import chat
from w2s_jax.models.tokenizer import TextTokenizer
from w2s_jax.runtime import files
from w2s_jax.runtime.checks import check_count, check_range
from w2s_jax.runtime.errors import UserError
from w2s_jax.study.assistants import dialogue
from w2s_jax.study.assistants.base import Assistant, AssistantGone, Message, Weighing
from w2s_jax.study.assistants.dialogue import Form
from w2s_jax.train import streaming, writing
from w2s_jax.train.learner import Learner
from w2s_jax.train.streaming import Streaming

HOTTEST = 10.0
UNFINISHED = "\N{REPLACEMENT CHARACTER}"  # what the bytes of half a character decode to
DRAWS = 2**32


@dataclass(frozen=True)
class Local(Assistant):
    """A decoder: a name from `w2s models`, a folder or .gguf file, or a Hub id, such as a student that was exported.

    A reply depends on the dialogue and the seed alone, not on who else asks at the same time. Where a dialogue is
    longer than `max_tokens` allows, its oldest turns are left out; the passage and the question stay.

    Attributes:
      model: what writes.
      chat: in the model's chat template; None is where it has one. Otherwise it continues a plain text of named turns,
        and a newline ends its reply.
      max_tokens: the most that a dialogue and the reply may have; the cache has that many places for each row.
      temperature: of sampling; 0 takes the most probable token.
      rows: replies that are written at the same time; more wait.
      dtype: of the computation.

    Raises:
      UserError: a number is out of range.
    """

    model: str = "smollm2-135m"
    chat: bool | None = None
    max_tokens: int = 1024
    temperature: float = 0.7
    rows: int = 8
    dtype: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        check_count("max_tokens", self.max_tokens, 2)
        check_count("rows", self.rows)
        check_range("temperature", self.temperature, 0, HOTTEST)
        if self.dtype not in ("float32", "bfloat16"):
            raise UserError(f"dtype must be float32 or bfloat16, not {self.dtype!r}")

    def describe(self) -> str:
        return f"{self.model}, on this machine"

    def identity(self) -> dict[str, Any]:
        as_chat = not dialogue.form(self.model, self.chat).one_line
        return {
            "kind": "local",
            "model": models.fingerprint(self.model),
            "template": chat.fingerprint(self.model) if as_chat else None,
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "dtype": self.dtype,
        }

    def open(self) -> "Speaking":
        """Loads and compiles it, which takes some seconds."""
        learner = Learner(self.model, max_tokens=self.max_tokens, dtype=self.dtype)
        streaming.check(learner)
        form = dialogue.form(self.model, self.chat)
        config, tokenizer = models.outline(self.model)
        stops = writing.stops(tokenizer, config.vocab_size, lines=form.one_line)
        rows = Streaming(learner, rows=self.rows, stops=stops, temperature=self.temperature)
        rows.begin([0], draw=0, seed=0, tokens=1)
        rows.advance()
        rows.clear()
        return Speaking(rows, form, tokenizer)


@dataclass(eq=False)
class _Request:
    """A reply that somebody waits for. `pieces` gets text, and last None, or why there is none.

    Attributes:
      answers: where no reply is wanted, but how probable each of these is: `pieces` gets their log-probabilities.
    """

    messages: Sequence[Message]
    tokens: int
    seed: int
    loop: asyncio.AbstractEventLoop
    answers: Sequence[str] = ()
    pieces: asyncio.Queue[Any] = field(default_factory=asyncio.Queue)
    following: list[int] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    sent: str = ""
    left: bool = False

    def tell(self, piece: str | Sequence[float] | AssistantGone | None) -> None:
        """From the thread to the loop; one that is closed hears nothing."""
        try:
            self.loop.call_soon_threadsafe(self.pieces.put_nowait, piece)
        except RuntimeError:
            self.left = True

    def more(self, ids: Sequence[int], tokenizer: TextTokenizer) -> None:
        """Tells what these tokens add to the text, but for white space, which more text must follow."""
        self.ids += ids
        text = tokenizer.decode(self.ids).rstrip(UNFINISHED).strip()
        if len(text) > len(self.sent) and text.startswith(self.sent):
            self.tell(text[len(self.sent) :])
            self.sent = text


class Speaking(Weighing):
    """A decoder that is ready: it replies, and says how probable answers are."""

    def __init__(self, rows: Streaming, form: Form, tokenizer: TextTokenizer) -> None:
        self._rows, self._form, self._tokenizer = rows, form, tokenizer
        self._inbox: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._waiting: deque[_Request] = deque()
        self._writing: dict[int, _Request] = {}
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._work, name="assistant", daemon=True)
        self._thread.start()

    async def reply(self, messages: Sequence[Message], *, tokens: int, seed: int) -> AsyncIterator[str]:
        async for piece in self._told(_Request(list(messages), tokens, seed, asyncio.get_running_loop())):
            yield piece

    async def probabilities(self, messages: Sequence[Message], answers: Sequence[str]) -> list[float]:
        asked = _Request(list(messages), 0, 0, asyncio.get_running_loop(), answers=tuple(answers))
        (found,) = [each async for each in self._told(asked)]
        return [float(each) for each in softmax(np.array(found))]

    async def _told(self, request: _Request) -> AsyncIterator[Any]:
        if self._closed.is_set():
            raise AssistantGone("the assistant was closed")
        self._inbox.put(request)
        try:
            while (piece := await request.pieces.get()) is not None:
                if isinstance(piece, AssistantGone):
                    raise piece
                yield piece
        finally:
            request.left = True

    async def close(self) -> None:
        if not self._closed.is_set():
            self._closed.set()
            self._inbox.put(None)
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        """The thread: takes requests, gives them rows, and lets all rows go on by a stride, until it is closed."""
        while not self._closed.is_set():
            self._take()
            self._part()
            try:
                self._admit()
                written = self._rows.advance()
            except Exception as error:  # whatever it is, whoever waits must hear of it, and the next ones may ask
                self._fail(f"the model failed: {type(error).__name__}")
                self._rows.clear()
                continue
            for place, (ids, ended) in written.items():
                request = self._writing[place]
                request.more(ids, self._tokenizer)
                if ended:
                    if request.answers:
                        request.tell(self._rows.logits(place)[request.following].tolist())
                    request.tell(None)
                    del self._writing[place]
        self._take()
        self._fail("the assistant was closed")

    def _take(self) -> None:
        """All requests that there are; if nothing is to be done, it waits for one."""
        idle = not (self._waiting or self._writing or self._closed.is_set())
        with contextlib.suppress(queue.Empty):
            while True:
                request = self._inbox.get(block=idle)
                if request is not None:
                    self._waiting.append(request)
                idle = False

    def _part(self) -> None:
        """From those who have left."""
        self._waiting = deque(request for request in self._waiting if not request.left)
        for place in [place for place, request in self._writing.items() if request.left]:
            self._rows.leave(place)
            del self._writing[place]

    def _admit(self) -> None:
        """Whoever waits longest gets the next free row."""
        while self._waiting and self._rows.free:
            request = self._waiting.popleft()
            room = self._rows.longest - request.tokens
            try:
                prompt = dialogue.fitting(self._form, request.messages, room)
                request.following = [self._form.following(prompt, answer) for answer in request.answers]
            except UserError as error:
                request.tell(AssistantGone(str(error)))
                continue
            draw = int(files.sha256_text(prompt.text)[:8], 16)
            given = {"draw": draw, "seed": request.seed % DRAWS, "tokens": request.tokens}
            self._writing[self._rows.begin(prompt.ids, **given)] = request

    def _fail(self, why: str) -> None:
        for request in (*self._waiting, *self._writing.values()):
            request.tell(AssistantGone(why))
        self._waiting.clear()
        self._writing.clear()
