"""The page, served on this machine alone, while runs go on."""

import contextlib
import functools
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from w2s_jax.report import figures, html_page
from w2s_jax.report.figures import drawing
from w2s_jax.runtime.errors import UserError
from w2s_jax.view import page, writing
from w2s_jax.view.content import Content

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request

KEPT = 32  # parts
HOSTS = ["localhost", "127.0.0.1", "[::1]"]  # a page of another name that leads here is refused


def application(folders: Sequence[Path]) -> "Starlette":
    """The page over these runs as an ASGI application.

    Raises:
      UserError: a folder is of no run, or its results cannot be read.
    """
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.responses import HTMLResponse, Response
    from starlette.routing import Route

    served = _Served(folders)
    kinds = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".csv": "text/csv"}
    kinds |= {".png": "image/png", ".pdf": "application/pdf"}

    def answer(content: bytes | None, suffix: str) -> Response:
        if content is None:
            return Response("there is no such part of the page", 404, media_type="text/plain")
        headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
        return Response(content, media_type=kinds[suffix], headers=headers)

    def index(request: "Request") -> Response:
        try:
            return HTMLResponse(served.index(), headers={"Cache-Control": "no-store"})
        except UserError as error:  # a file is half written, or was moved: the next reload may find it
            return Response(f"{error}\n", 500, media_type="text/plain")

    def static(request: "Request") -> Response:
        name = request.path_params["name"]
        return answer(page.static().get(name), Path(name).suffix)

    def part(request: "Request") -> Response:
        return answer(served.part(request.path_params["name"], request.query_params.get("v")), ".js")

    def figure(request: "Request") -> Response:
        name = Path(request.path_params["name"])
        return answer(served.figure(name.stem, name.suffix), name.suffix)

    routes = [
        Route("/", index),
        Route("/data/{name}.js", part),
        Route(f"/{html_page.FIGURES}/{{name}}", figure),
        Route("/{name}", static),
    ]
    return Starlette(routes=routes, middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS)])


def serve(folders: Sequence[Path], port: int) -> None:
    """Serves the page until it is interrupted.

    Args:
      port: 0 is any that is free.

    Raises:
      UserError: starlette or uvicorn is not installed; a folder is of no run; the port is taken, or is none.
    """
    if not 0 <= port < 65536:
        raise UserError(f"--port {port}: want 1 to 65535, or 0 for any that is free")
    try:
        import uvicorn

        app = application(folders)
    except ModuleNotFoundError as error:
        raise UserError(
            f"{error.name} is not installed: `pip install 'w2s-jax[view]'`, or write files with --bundle DIR"
        ) from error
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning")
    try:
        socket = config.bind_socket()
    except SystemExit as error:
        raise UserError(f"port {port} is taken; --port 0 finds one that is free") from error
    print(f"http://127.0.0.1:{socket.getsockname()[1]}/  (Ctrl+C stops)", flush=True)
    uvicorn.Server(config).run(sockets=[socket])


class _Served:
    """Parts and figures, each made once while results stay as they are."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._content = Content(folders)
        self._lock = threading.Lock()  # matplotlib's figures and the tasks are not for several threads
        self._made: dict[str, bytes] = {}

    def index(self) -> str:
        with self._lock:
            self._refresh()
            return page.index(self._content, self._drawn, live=True)

    def part(self, name: str, version: str | None) -> bytes | None:
        """A part of the page; None where there is none.

        Args:
          version: of the page that asks: parts are numbered by its results, not by those that have come since.
        """
        with self._lock:
            with contextlib.suppress(UserError):  # results that are half written: those before are still there
                self._refresh()
            if name.startswith("stages-"):
                return self._written(name)[0]
            if version is not None and version != self._content.version:
                return writing.changed(name).encode()
            if name in self._made:
                return self._made[name]
            found, whole = self._written(name)
            if found is not None and whole:
                if len(self._made) >= KEPT:
                    del self._made[next(iter(self._made))]
                self._made[name] = found
            return found

    def figure(self, stem: str, suffix: str) -> bytes | None:
        with self._lock:
            figure = self._drawn.by_stem.get(stem)
            return None if figure is None or suffix not in drawing.SUFFIXES else drawing.rendered(figure, suffix)

    @functools.cached_property
    def _drawn(self) -> figures.Drawn:
        return figures.draw(self._content.finished)

    def _written(self, name: str) -> tuple[bytes | None, bool]:
        """A part, and whether it is one rather than the reason why there is none."""
        try:
            script, problem = writing.as_script(self._content, name)
        except KeyError:
            return None, False
        return script.encode(), problem is None

    def _refresh(self) -> None:
        """Reads what has changed."""
        if self._content.refresh():
            self.__dict__.pop("_drawn", None)
            self._made.clear()
