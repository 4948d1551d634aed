"""What stands before every request: headers that keep a page to itself, and checks that no other site can pass."""

import hashlib
import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from starlette.requests import Request

HEADER = "x-w2s-study"  # of every action; a form or a link of another site cannot send it
COOKIE = "w2s-study"
LARGEST = 64 * 1024  # bytes of an action
# Nothing is fetched from elsewhere, no text can become a script, and no other page can show this one.
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}

_Message = MutableMapping[str, Any]
_Send = Callable[[_Message], Awaitable[None]]
_Receive = Callable[[], Awaitable[_Message]]
_App = Callable[[_Message, _Receive, _Send], Awaitable[None]]


class Headers:
    """An ASGI application whose responses all have `HEADERS`."""

    def __init__(self, app: _App) -> None:
        self._app = app

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        async def with_headers(message: _Message) -> None:
            if message["type"] == "http.response.start":
                ours = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", ()), *ours]}
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)


def cookie_of(secret: str, token: str) -> str:
    """The value of the cookie that a page of this token is given."""
    return hmac.new(secret.encode(), token.encode(), hashlib.sha256).hexdigest()


def has_cookie(request: "Request", secret: str, token: str) -> bool:
    """Whether a request comes from a browser or client that was given the page of this token."""
    try:
        found = SimpleCookie(request.headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return False
    return found is not None and hmac.compare_digest(found.value.encode(), cookie_of(secret, token).encode())


def is_foreign(request: "Request", address: str) -> bool:
    """Whether a browser says that another site's page makes this request.

    Args:
      address: what links begin with: a server in front of this one may not tell by which name it was reached.
    """
    if request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return True
    origin = request.headers.get("origin")
    return origin not in (None, address) and urlsplit(str(origin)).netloc != request.headers.get("host")


def why_no_action(request: "Request") -> str:
    """Why a request that is let in may change nothing; empty if it may."""
    if HEADER not in request.headers:
        return f"the header {HEADER} is missing"
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        return "an action is application/json"
    return ""
