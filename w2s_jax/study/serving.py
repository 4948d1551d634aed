"""A study served until it is interrupted: prints the links, and loads the assistant."""

import contextlib
import re
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from w2s_jax.runtime.errors import UserError
from w2s_jax.study import server
from w2s_jax.study.config import Study
from w2s_jax.study.live import Live
from w2s_jax.study.opening import Opened, open_study

if TYPE_CHECKING:
    import uvicorn

HERE = ("localhost", "127.0.0.1", "[::1]")
EVERYWHERE = ("0.0.0.0", "::", "")
# Of uvicorn. Its logs hold links: warnings alone go to standard error, and other handlers of this process stay as they
# are.
OPTIONS: Mapping[str, Any] = {
    "timeout_graceful_shutdown": 3,
    "log_config": None,
    "log_level": "warning",
    "access_log": False,
}


def serve(study: Study, host: str, port: int, url: str = "") -> None:
    """Serves the study until it is interrupted; the same call goes on where it was.

    Args:
      host: the address to listen at; 127.0.0.1 is this machine alone.
      port: 0 is any that is free.
      url: what participants' links begin with, where that is not `http://HOST:PORT`.

    Raises:
      UserError: the study or its assistant cannot be opened; starlette or uvicorn is not installed; the port is taken;
        or nobody could know the address.
    """
    hosts = _names(host, port, url)
    try:
        import starlette  # noqa: F401
        import uvicorn
    except ModuleNotFoundError as error:
        raise UserError(f"{error.name} is not installed: `pip install 'w2s-jax[study]'`") from error
    config = uvicorn.Config("w2s_jax", host=host, port=port, **OPTIONS)
    with contextlib.closing(_bound(config, port)) as bound, contextlib.closing(open_study(study)) as opened:
        voice = None
        if study.assistant is not None:
            print(f"The assistant: {study.assistant.describe()}; getting it ready ...", flush=True)
            voice = study.assistant.open()
        live = Live(study, opened.sessions, opened.database, voice, opened.key)
        address = url.rstrip("/") or f"http://{_in_links(host)}:{bound.getsockname()[1]}"
        config.app = server.application(live, opened.links, hosts, study.folder, address)
        config.loaded = False
        _print_links(opened, address)
        served = _ending_streams(uvicorn.Server(config), live)
        with contextlib.suppress(SystemExit):  # uvicorn's, if it cannot start; standard error has the reason
            served.run(sockets=[bound])
        if not served.started:
            raise UserError(f"the study could not be started; is the disk of {study.folder} full?")


def _names(host: str, port: int, url: str) -> list[str]:
    """The names under which the server is reached."""
    if not 0 <= port < 65536:
        raise UserError(f"--port {port}: want 1 to 65535, or 0 for any that is free")
    parts = urlsplit(url)
    if url and not re.fullmatch(r"https?://([\w.-]+|\[[\da-fA-F:.]+\])(:\d{1,5})?/*", url):
        raise UserError(f"--url {url}: want http://NAME:PORT or https://NAME, what participants' links begin with")
    if host in EVERYWHERE and not url:
        raise UserError(f"--host {host}: say with --url http://NAME:PORT what participants' links begin with")
    named = [] if host in EVERYWHERE else [_in_links(host)]
    return list(dict.fromkeys([*HERE, *named, *([parts.hostname] if parts.hostname else [])]))


def _in_links(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _bound(config: "uvicorn.Config", port: int) -> socket.socket:
    try:
        return config.bind_socket()
    except SystemExit as error:
        raise UserError(f"port {port} is taken, or --host is no address of this machine") from error


def _print_links(opened: Opened, address: str) -> None:
    print(f"{opened.study.title}: {len(opened.tokens)} participants, {len(opened.sessions[0].items)} questions each")
    for participant, token in opened.tokens.items():
        print(f"{participant}        {address}/p/{token}")
    print(f"researcher  {address}/r/{opened.researcher}")
    print("Give each participant one link, and nobody the researcher's. (Ctrl+C stops)", flush=True)


def _ending_streams(served: "uvicorn.Server", live: Live) -> "uvicorn.Server":
    """The server, which when it is to exit first ends the streams of open pages: they never end by themselves."""
    handle = served.handle_exit

    def handle_exit(sig: int, frame: Any) -> None:
        live.end_streams()
        handle(sig, frame)

    served.handle_exit = handle_exit  # type: ignore[method-assign]
    return served
