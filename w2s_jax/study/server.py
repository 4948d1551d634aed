"""The study's server: a page for each participant, one for the researcher, and the JSON that both are made of.

**A participant** has a link, `/p/TOKEN`. Whoever opens it (GET) gets the page and a cookie, which every request below
must bring along; a client in place of a browser opens the link first and keeps the cookie (`httpx.Client` does).

`GET /p/TOKEN/view` is where the participant is:

  version      grows with everything that happens
  title        of the study
  stage        consent, declined, instructions, ready (a question is next), paused, question (one is open), revealed,
               stopped (by the researcher), end
  text         to be read at this stage, if any; an empty line begins a paragraph
  position     of the question that is next or open, from 0; -1 is the practice question
  total        number of questions
  seconds      for each
  condition    {name, title, text (how it works), new (it differs from the question before), practice}; from `ready` on
  before       says that time ran out on the question before; empty if it did not

  and while a question is open or revealed:

  question     {passage, question, choices: [text, ...], least: 1 / number of choices}
  choice, confidence      as they are now; null if there is none
  seconds_left            by the server's clock
  speakers     names of who talks: [] alone, ["Assistant"], ["Consultant"], ["Debater 1", "Debater 2", ...]
  messages     [{from, mine, text}, ...]
  writing      {from, text}: the reply that is being written, as far as it is; null if none is
  may_write    whether `say` is possible now; `turns_left` says how often it still is
  writes       whether it ever is under this condition
  notice       the assistant is gone: `retry`, or answer without it; empty if it is there
  right        the right choice, where the study reveals it, at stage revealed

`GET /p/TOKEN/view?after=VERSION&wait=SECONDS` answers as soon as the version is another one, or after at most 30
seconds: to wait for a reply, ask with the version at hand until `writing` is null and `may_write`, `notice` or another
message is there. `GET /p/TOKEN/stream` is the same as server-sent events: {version} whenever it grows, and
{piece, from, length} for every piece of a reply, `length` being the number of characters before it.

`POST /p/TOKEN/act` does something, and answers with the new view once it is on disk. It is JSON, and needs the header
`X-W2S-Study: 1`:

  {do: "consent", agree: true, simulated: ""}   `simulated` names what plays the participant; empty for people
  {do: "begin"}                                 the instructions are read
  {do: "start", position}                       opens the next question; its time begins
  {do: "choose", position, choice, confidence}  a choice before the answer; each may be null
  {do: "say", position, text, said}             writes to the speakers; `said`: the messages so far, may be left out
  {do: "retry", position}                       asks an assistant again that was gone
  {do: "answer", position, choice, confidence}  choice from 0; confidence a probability from 1 / choices to 1
  {do: "next", position}                        goes on after what was right was revealed
  {do: "pause"}, {do: "resume"}                 between questions
  {do: "away", position}, {do: "back", position}    the page is hidden, and shown again

`position` may be left out; with it, an action that comes too late is refused. What is refused is answered with {error},
status 400 (it means nothing), 403 (cookie or header is missing, or another site asks), 404 (no such link), 409 (not
now; {error, view}) or 503 (it could not be saved; try again).

**The researcher** has `/r/TOKEN`, with `GET overview`, `POST act` ({do: "stop" | "resume" | "export"}) and
`GET files/NAME` below it.

Its tables, for `w2s study report`, are written every half a minute, when it stops, and when the researcher asks.

The key of the questions is not in the server unless the study reveals it, and then only for a question answered.
"""

import asyncio
import json
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from w2s_jax.runtime.errors import UserError
from w2s_jax.study import export, guard, researcher
from w2s_jax.study.actions import Refused
from w2s_jax.study.entrance import Entrance, Links, error, no_action, read
from w2s_jax.study.live import STREAMS, Live

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

LONGEST_WAIT = 30.0  # seconds
EXPORT_EVERY = 30.0  # seconds


def application(live: Live, links: Links, hosts: list[str], folder: Path, address: str = "") -> "Starlette":
    """The study as an ASGI application.

    Args:
      hosts: names under which it is reached; others are refused, so that no other name can be made to lead here.
      folder: the study's, for its exports.
      address: what links begin with, where a server in front may hide it.
    """
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.routing import Route

    entrance = Entrance(links, address)
    served = _Served(live, entrance, folder)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await live.start()
        exporting = asyncio.create_task(served.keep_exporting())
        yield
        exporting.cancel()
        await live.close()
        await served.try_to_export()

    routes = [
        Route("/static/{name}", entrance.static),
        Route("/p/{token}", served.participant_page),
        Route("/p/{token}/view", served.view),
        Route("/p/{token}/stream", served.stream),
        Route("/p/{token}/act", served.act, methods=["POST"]),
        Route("/r/{token}", served.researcher_page),
        Route("/r/{token}/overview", served.overview),
        Route("/r/{token}/act", served.direct, methods=["POST"]),
        Route("/r/{token}/files/{name}", served.file),
    ]
    middleware = [Middleware(guard.Headers), Middleware(TrustedHostMiddleware, allowed_hosts=hosts)]
    return Starlette(routes=routes, middleware=middleware, lifespan=lifespan)


class _Served:
    """The routes."""

    def __init__(self, live: Live, entrance: Entrance, folder: Path) -> None:
        self._live, self._entrance, self._folder = live, entrance, folder

    # ---- A participant's

    async def participant_page(self, request: "Request") -> "Response":
        known = request.path_params["token"] in self._entrance.links.participants
        return self._entrance.page(request, "participant.html", known)

    async def view(self, request: "Request") -> "Response":
        from starlette.responses import JSONResponse

        participant, refused = self._participant(request)
        if refused is not None:
            return refused
        try:
            after, wait = int(request.query_params.get("after", -1)), float(request.query_params.get("wait", 0))
        except ValueError:
            return error(400, "'after' and 'wait' are numbers")
        if after < 0 or not wait > 0:
            return JSONResponse(self._live.view(participant))
        return JSONResponse(await self._live.view_after(participant, after, min(wait, LONGEST_WAIT)))

    async def stream(self, request: "Request") -> "Response":
        from starlette.responses import StreamingResponse

        participant, refused = self._participant(request)
        if refused is not None:
            return refused
        if len(self._live.rooms[participant].streams) >= STREAMS:
            return error(429, "this link is open in too many pages")

        async def lines() -> AsyncIterator[str]:
            yield "retry: 1000\n\n"
            async for message in self._live.stream(participant):
                yield ": still here\n\n" if message is None else f"data: {json.dumps(message)}\n\n"

        return StreamingResponse(lines(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})

    async def act(self, request: "Request") -> "Response":
        from starlette.responses import JSONResponse

        participant, refused = self._participant(request)
        refused = refused or no_action(request)
        if refused is not None:
            return refused
        try:
            await self._live.act(participant, await read(request))
        except Refused as why:
            view = {"view": self._live.view(participant)} if why.status == 409 else {}
            return JSONResponse({"error": str(why), **view}, why.status)
        except sqlite3.Error as why:
            print(f"an action of {participant} could not be saved: {why}", file=sys.stderr, flush=True)
            return error(503, "This could not be saved. Please try again.")
        return JSONResponse(self._live.view(participant))

    def _participant(self, request: "Request") -> "tuple[str, Response | None]":
        """Whose link it is, and why the request is refused, if it is."""
        token = request.path_params["token"]
        participant = self._entrance.links.participants.get(token, "")
        return participant, self._entrance.refused(request, bool(participant))

    # ---- The researcher's

    async def researcher_page(self, request: "Request") -> "Response":
        return self._entrance.page(request, "researcher.html", self._is_researcher(request))

    async def overview(self, request: "Request") -> "Response":
        from starlette.responses import JSONResponse

        refused = self._researcher(request)
        return refused or JSONResponse(researcher.overview(self._live, self._folder))

    async def direct(self, request: "Request") -> "Response":
        from starlette.responses import JSONResponse

        refused = self._researcher(request) or no_action(request)
        if refused is not None:
            return refused
        try:
            do = (await read(request)).get("do")
            if do not in ("stop", "resume", "export"):
                raise Refused("'do' is one of: stop, resume, export")
        except Refused as why:
            return error(why.status, str(why))
        try:
            if do == "export":
                await self.export()
            else:
                await self._live.stop(do == "stop")
        except (OSError, UserError, sqlite3.Error) as why:
            return error(503, f"This could not be saved: {why}")
        return JSONResponse(researcher.overview(self._live, self._folder))

    async def file(self, request: "Request") -> "Response":
        from starlette.responses import Response

        refused = self._researcher(request)
        if refused is not None:
            return refused
        name = request.path_params["name"]
        if name not in export.FILES or not (self._folder / name).is_file():
            return error(404, "there is no such file; export first")
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response((self._folder / name).read_bytes(), media_type="application/octet-stream", headers=headers)

    async def export(self) -> None:
        """Writes the tables of what has happened by now."""
        live, events = self._live, list(self._live.events)
        await asyncio.to_thread(lambda: export.write(export.tables(live.study, live.sessions, events), self._folder))

    async def keep_exporting(self) -> None:
        """Writes the tables now and then, if something has happened: whoever reads them needs no server."""
        exported = 0
        while True:
            if len(self._live.events) > exported:
                exported = len(self._live.events)
                await self.try_to_export()
            await asyncio.sleep(EXPORT_EVERY)

    async def try_to_export(self) -> None:
        """Writes the tables, or says why not: the events are safe, and the tables can be written later."""
        try:
            await self.export()
        except (OSError, UserError) as why:
            print(f"the tables could not be written: {why}", file=sys.stderr, flush=True)

    def _researcher(self, request: "Request") -> "Response | None":
        return self._entrance.refused(request, self._is_researcher(request))

    def _is_researcher(self, request: "Request") -> bool:
        return bool(request.path_params["token"] == self._entrance.links.researcher)
