"""An assistant behind an OpenAI-compatible server: vLLM, llama.cpp, or somebody's own service.

Where it is comes from the environment, and is never written down: `W2S_ASSISTANT_URL`, as http://localhost:8000/v1,
and, where the server wants one, `W2S_ASSISTANT_KEY`.
"""

import asyncio
import importlib
import json
import math
import os
import random
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import urlsplit

from w2s_jax.runtime import errors
from w2s_jax.runtime.checks import check_count, check_range
from w2s_jax.runtime.errors import UserError
from w2s_jax.study.assistants.base import Assistant, AssistantGone, Message, NoneOfThem, Weighing
from w2s_jax.study.assistants.dialogue import joined

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")
URL, KEY = "W2S_ASSISTANT_URL", "W2S_ASSISTANT_KEY"
PASSING = {408, 409, 425, 429, 500, 502, 503, 504}  # answers after which it is asked again
LONGEST_WAIT = 60.0  # seconds, whatever the server asks for
PROBABLE = 20  # first tokens whose probabilities a server is asked for: as many as all allow
LIMITS = ("max_tokens", "max_completion_tokens")
REASONS = {
    400: "it does not take the request; the dialogue may be too long for the model",
    401: f"it refuses the key: set {KEY}",
    403: f"it refuses the key: set {KEY}",
    404: f"it has no such model, or {URL} does not end as it should, usually in /v1",
}


@dataclass(frozen=True)
class Endpoint(Assistant):
    """A model that an OpenAI-compatible server serves, asked by `POST {url}/chat/completions`, streaming.

    It is asked again, after a wait that doubles, where it is busy (429), fails (5xx) or cannot be reached, as long as
    no piece of the reply has come.

    Attributes:
      model: as the server calls it.
      temperature: of sampling. The seed is sent too; whether a server heeds it is its own affair.
      attempts: how often it is asked before it is gone.
      wait: seconds before it is asked for the second time.
      timeout: the longest time without a sign of it, in seconds.
      limit: what the server calls the most tokens of a reply.

    Raises:
      UserError: a number is out of range, or the model has no name.
    """

    model: str
    temperature: float = 0.7
    attempts: int = 4
    wait: float = 0.5
    timeout: float = 60.0
    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"

    def __post_init__(self) -> None:
        if not isinstance(self.model, str) or not self.model.strip():
            raise UserError(f"model is what the server calls it, not {self.model!r}")
        check_range("temperature", self.temperature, 0, 10)
        check_count("attempts", self.attempts)
        check_range("wait", self.wait, 0, LONGEST_WAIT)
        check_range("timeout", self.timeout, 0.001, 3600)
        if self.limit not in LIMITS:
            raise errors.unknown("limit", self.limit, LIMITS)

    def describe(self) -> str:
        return f"{self.model}, at an OpenAI-compatible server"

    def identity(self) -> dict[str, Any]:
        return {"kind": "endpoint", "model": self.model, "temperature": self.temperature}

    def open(self) -> Weighing:
        """Asks the server for its models, to see that it is there and takes the key."""
        url, key = _address()
        httpx = _httpx()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            found = httpx.get(f"{url}/models", headers=headers, timeout=self.timeout)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise UserError(f"no assistant can be reached at {URL}: {type(error).__name__}") from None
        if found.status_code in (401, 403):
            raise UserError(f"the server at {URL} refuses the key: set {KEY}")
        return _Asking(self, url, headers)


def _address() -> tuple[str, str]:
    """The base URL and the key, as the environment has them.

    Raises:
      UserError: there is no URL, or the key is in it, where it would be logged.
    """
    url = os.environ.get(URL, "").strip().rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError(f"set {URL} to the server's address, as http://localhost:8000/v1, and {KEY} if it wants a key")
    if parts.username is not None or parts.query or parts.fragment:
        raise UserError(f"{URL} must be an address alone; a key belongs in {KEY}")
    return url, os.environ.get(KEY, "").strip()


def _httpx() -> Any:
    try:
        return importlib.import_module("httpx")
    except ModuleNotFoundError as error:
        raise UserError("an assistant at a server needs httpx: `pip install 'w2s-jax[study]'`") from error


class _Passing(Exception):
    """It failed before any piece came, and may not the next time. `after`: seconds that it asks for."""

    def __init__(self, why: str, after: float = 0.0) -> None:
        super().__init__(why)
        self.after = after


class _Asking(Weighing):
    def __init__(self, kind: Endpoint, url: str, headers: dict[str, str]) -> None:
        self._kind, self._url, self._headers = kind, url, headers
        self._httpx = _httpx()
        self._client: httpx.AsyncClient | None = None  # of the event loop that first asks
        self._closed = False

    async def reply(self, messages: Sequence[Message], *, tokens: int, seed: int) -> AsyncIterator[str]:
        asked = {**self._asked(messages, tokens), "temperature": self._kind.temperature, "seed": seed, "stream": True}
        async for piece in self._told(asked, _events):
            yield piece

    async def probabilities(self, messages: Sequence[Message], answers: Sequence[str]) -> list[float]:
        """Those of the most probable first tokens that are an answer, but for white space; others count as 0.

        Args:
          answers: such as letters; a token is one of them, or counts for none.

        Raises:
          AssistantGone: as of `reply`, or the server does not tell `top_logprobs`; `NoneOfThem`, no such token is one.
        """
        asked = {**self._asked(messages, 1), "temperature": 1.0, "logprobs": True, "top_logprobs": PROBABLE}
        (probable,) = [found async for found in self._told(asked, _first_token)]
        masses = [
            math.fsum(math.exp(logprob) for token, logprob in probable if token.strip() == answer) for answer in answers
        ]
        total = math.fsum(masses)
        if not total > 0:
            first = ", ".join(repr(token) for token, _ in probable[:3])
            raise NoneOfThem(f"of {', '.join(answers)} none is among the most probable first tokens ({first}, ...)")
        return [mass / total for mass in masses]

    def _asked(self, messages: Sequence[Message], tokens: int) -> dict[str, Any]:
        said = [{"role": role, "content": content} for role, content in joined(messages)]
        return {"model": self._kind.model, "messages": said, self._kind.limit: tokens}

    async def _told(
        self, asked: dict[str, Any], read: Callable[[AsyncIterator[str]], AsyncIterator[T]]
    ) -> AsyncIterator[T]:
        """What is read from the lines of an answer; of another one, after a wait, where it fails before any piece."""
        kind = self._kind
        for attempt in range(1, kind.attempts + 1):
            if self._closed:
                raise AssistantGone("the assistant was closed")
            try:
                async for piece in self._pieces(asked, read):
                    yield piece
                return
            except _Passing as error:
                if attempt == kind.attempts:
                    times = "once" if attempt == 1 else f"{attempt} times"
                    raise AssistantGone(f"the assistant was asked {times}: {error}") from None
                backoff = kind.wait * 2 ** (attempt - 1) * random.uniform(1.0, 1.5)
                await asyncio.sleep(min(max(backoff, error.after), LONGEST_WAIT))

    async def close(self) -> None:
        self._closed = True
        if self._client is not None:
            await self._client.aclose()

    async def _pieces(
        self, asked: dict[str, Any], read: Callable[[AsyncIterator[str]], AsyncIterator[T]]
    ) -> AsyncIterator[T]:
        """Raises `_Passing` if it may be asked again, and `AssistantGone` if not."""
        if self._client is None:
            self._client = self._httpx.AsyncClient(timeout=self._kind.timeout, headers=self._headers)
        begun = False
        try:
            async with self._client.stream("POST", f"{self._url}/chat/completions", json=asked) as response:
                _check(response.status_code, response.headers.get("retry-after", ""))
                async for piece in read(response.aiter_lines()):
                    begun = True
                    yield piece
        except self._httpx.TimeoutException:
            raise _broken(f"no sign of it for {self._kind.timeout:g} s", begun) from None
        except (self._httpx.HTTPError, RuntimeError) as error:  # RuntimeError: the client was closed
            raise _broken(f"the connection failed ({type(error).__name__})", begun) from None
        except _Broken as error:
            raise _broken(str(error), begun) from None


class _Broken(Exception):
    """The stream of a reply is not what it should be."""


def _broken(why: str, begun: bool) -> Exception:
    """What a failure is: a reply that has begun cannot be begun again."""
    return AssistantGone(f"the assistant broke off: {why}") if begun else _Passing(why)


def _check(status: int, after: str) -> None:
    if status in PASSING:
        busy = "it is busy" if status == 429 else "it failed"
        raise _Passing(f"{busy} ({status})", float(after) if after.isdigit() else 0.0)
    if status != 200:
        raise AssistantGone(f"the assistant does not answer: {REASONS.get(status, 'it refuses')} ({status})")


async def _events(lines: AsyncIterator[str]) -> AsyncIterator[str]:
    """The text of a stream's events: `data: {"choices": [{"delta": {"content": TEXT}}]}`, at last `data: [DONE]`.

    Raises:
      _Broken: it ends before that, without a reason to have finished, or is something else.
    """
    finished = False
    async for line in lines:
        if not line.startswith("data:"):
            continue  # comments, and other fields of server-sent events
        data = line.removeprefix("data:").strip()
        if data == "[DONE]":
            return
        try:
            event = json.loads(data)
            if "error" in event:
                raise _Broken("it says that it failed")
            for choice in event["choices"]:
                piece = choice.get("delta", {}).get("content")
                finished = finished or choice.get("finish_reason") is not None
                if piece:
                    yield str(piece)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise _Broken("its answer is not an OpenAI-compatible stream") from None
    if not finished:
        raise _Broken("its answer ended in the middle")


async def _first_token(lines: AsyncIterator[str]) -> AsyncIterator[list[tuple[str, float]]]:
    """The most probable first tokens of a reply with their log-probabilities, from `choices[0].logprobs`.

    Raises:
      AssistantGone: the server does not tell them.
      _Broken: the answer is no reply.
    """
    try:
        (choice, *_) = json.loads("".join([line async for line in lines]))["choices"]
        content = (choice.get("logprobs") or {}).get("content") or []
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _Broken("its answer is not an OpenAI-compatible reply") from None
    try:
        found = [(str(each["token"]), float(each["logprob"])) for each in content[0]["top_logprobs"]]
    except (IndexError, ValueError, KeyError, TypeError):
        found = []
    if not found:
        raise AssistantGone("the server does not tell how probable tokens are: it must heed logprobs and top_logprobs")
    yield found
