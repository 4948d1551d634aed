"""Who comes in: links, pages with their cookies, and what every request is checked for before it is answered."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from w2s_jax.study import guard
from w2s_jax.study.actions import Refused

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

STATIC = Path(__file__).with_name("static")
A_YEAR = 31_536_000  # seconds, for which a page's cookie is kept
_KINDS = {".js": "text/javascript", ".css": "text/css"}


class Links(NamedTuple):
    """Who may come in.

    Attributes:
      participants: token -> participant.
      researcher: token.
      secret: of the cookies.
    """

    participants: Mapping[str, str]
    researcher: str
    secret: str


class Entrance:
    """Gives pages with their cookies, and lets in who has them.

    Args:
      address: what links begin with; where that is https, cookies go over nothing else.
    """

    def __init__(self, links: Links, address: str) -> None:
        self.links, self._address = links, address
        self._secure = address.startswith("https://")
        self._static = {path.name: path.read_bytes() for path in STATIC.iterdir()}

    async def static(self, request: "Request") -> "Response":
        """A script or the styles."""
        from starlette.responses import Response

        name = request.path_params["name"]
        if name not in self._static or Path(name).suffix not in _KINDS:
            return error(404, "there is no such file")
        return Response(self._static[name], media_type=_KINDS[Path(name).suffix])

    def page(self, request: "Request", name: str, known: bool) -> "Response":
        """A page, with the cookie that its requests need; it is the same for everybody."""
        from starlette.responses import HTMLResponse

        if not known:
            return HTMLResponse("<!DOCTYPE html><title>No such link</title><p>There is no such link.</p>", 404)
        response = HTMLResponse(self._static[name])
        value = guard.cookie_of(self.links.secret, request.path_params["token"])
        response.set_cookie(
            guard.COOKIE,
            value,
            path=request.url.path,
            max_age=A_YEAR,
            httponly=True,
            samesite="strict",
            secure=self._secure,
        )
        return response

    def refused(self, request: "Request", known: bool) -> "Response | None":
        """The answer to a request that is not let in; None if it is."""
        if not known:
            return error(404, "there is no such link")
        if guard.is_foreign(request, self._address):
            return error(403, "this comes from another site")
        if not guard.has_cookie(request, self.links.secret, request.path_params["token"]):
            return error(403, "open the link first, in this browser")
        return None


def no_action(request: "Request") -> "Response | None":
    """The answer to a request that may change nothing; None if it may."""
    why = guard.why_no_action(request)
    return error(403, why) if why else None


def error(status: int, why: str) -> "Response":
    """An answer that says why there is no other."""
    from starlette.responses import JSONResponse

    return JSONResponse({"error": why}, status)


async def read(request: "Request") -> Mapping[str, Any]:
    """The JSON object of a request.

    Raises:
      Refused: it is too long, or none.
    """
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > guard.LARGEST:
            raise Refused(f"an action has at most {guard.LARGEST:,} bytes")
    try:
        found = json.loads(content)
        json.dumps(found, ensure_ascii=False).encode()  # refuses halves of characters
    except (ValueError, RecursionError) as problem:
        raise Refused("an action is a JSON object") from problem
    if not isinstance(found, dict):
        raise Refused("an action is a JSON object")
    return found
