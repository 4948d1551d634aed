"""A small Hugging Face Hub on this machine: what huggingface_hub asks of the real one, answered as that answers.

    with FakeHub() as hub:
        hub.add("datasets", "org/name", {"data/train.parquet": content})
        subprocess.run(command, env={**os.environ, **hub.environment(tmp_path)})
    assert hub.downloads == ["data/train.parquet"]

huggingface_hub reads its environment when it is imported, so it must run in a process of its own. As on the real Hub,
large and binary files lie in Git LFS, and are fetched from another address: a second server plays it.
"""

import base64
import functools
import hashlib
import json
import re
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

LFS_SUFFIXES = (".parquet", ".gz", ".tgz", ".zip", ".bin", ".pth", ".safetensors", ".gguf", ".onnx", ".model")
LFS_SIZE = 10_000_000  # bytes from which any other file lies in Git LFS, too
GRANTED = "hf_granted"  # the token of somebody who may read everything
DATE = "2026-01-01T00:00:00.000Z"

_API = re.compile(r"/api/(models|datasets)/([^/]+/[^/]+)(?:/(revision|tree|refs)(?:/([^/]+))?(?:/(.+))?)?")
_RESOLVE = re.compile(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
_CONTENT = re.compile(r"/(?:models|datasets)/[^/]+/[^/]+/([0-9a-f]{64})/(.+)")


class Request(NamedTuple):
    """A request that was answered.

    Attributes:
      path: as asked, with the query.
      file: the path in its repository of the file that is asked for; empty where it is not a file.
      range: the Range header; None without one.
      token: whether a token was sent.
      status: of the answer; a file in Git LFS is a redirection here, and then a request of its own.
    """

    method: str
    path: str
    file: str
    range: str | None
    token: bool
    status: int


@dataclass(frozen=True)
class HubFile:
    """A file of a commit, and what git and Git LFS call its content."""

    content: bytes
    lfs: bool

    @functools.cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @functools.cached_property
    def pointer(self) -> bytes:
        """What git holds in place of a file in Git LFS."""
        lines = ("version https://git-lfs.github.com/spec/v1", f"oid sha256:{self.sha256}", f"size {self.size}\n")
        return "\n".join(lines).encode()

    @functools.cached_property
    def oid(self) -> str:
        """Of git's own blob, which is the pointer where the content lies in Git LFS."""
        blob = self.pointer if self.lfs else self.content
        return hashlib.sha1(b"blob %d\0" % len(blob) + blob).hexdigest()

    @property
    def size(self) -> int:
        return len(self.content)

    @property
    def etag(self) -> str:
        return f'"{self.sha256 if self.lfs else self.oid}"'

    def listed(self, path: str) -> dict[str, Any]:
        """As in a tree."""
        lfs = {"oid": self.sha256, "size": self.size, "pointerSize": len(self.pointer)}
        return {"type": "file", "oid": self.oid, "size": self.size, "path": path} | ({"lfs": lfs} if self.lfs else {})

    def sibling(self, path: str) -> dict[str, Any]:
        """As in the description of a repository, where files' sizes are asked for."""
        lfs = {"sha256": self.sha256, "size": self.size, "pointerSize": len(self.pointer)}
        return {"rfilename": path, "size": self.size, "blobId": self.oid} | ({"lfs": lfs} if self.lfs else {})


Tree = Mapping[str, HubFile]


@dataclass
class _Repository:
    refs: dict[str, str] = field(default_factory=dict)  # refs/heads/main, refs/convert/parquet -> commit
    commits: dict[str, Tree] = field(default_factory=dict)

    def find(self, revision: str) -> str | None:
        """The commit of a branch, a tag, a whole reference, or a commit's own name, which may be shortened."""
        for ref in (_ref(revision), f"refs/tags/{revision}"):
            if ref in self.refs:
                return self.refs[ref]
        alike = [commit for commit in self.commits if commit.startswith(revision)]
        return alike[0] if len(alike) == 1 and re.fullmatch("[0-9a-f]{7,40}", revision) else None


@dataclass
class _Answer:
    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    file: str = ""
    cut: int | None = None  # bytes of the body after which the connection is closed


class _RefusedError(Exception):
    def __init__(self, status: int, code: str, message: str, commit: str | None = None) -> None:
        super().__init__(message)
        self.answer = _json({"error": message}, status)
        self.answer.headers |= {"X-Error-Code": code, "X-Error-Message": message}
        if commit is not None:
            self.answer.headers["X-Repo-Commit"] = commit


class FakeHub:
    """A Hub of a few repositories; it answers from its construction until it is closed.

    Attributes:
      endpoint: its address, as in `HF_ENDPOINT`.
      page_size: entries of a page of a tree; the real Hub has 1,000.
      requests: what was asked and answered, in order; a test may clear it.
    """

    def __init__(self, page_size: int = 25) -> None:
        self.page_size = page_size
        self.requests: list[Request] = []
        self._repositories: dict[tuple[str, str], _Repository] = {}
        self._contents: dict[str, HubFile] = {}
        self._uploaded: dict[str, bytes] = {}  # of Git LFS, before their commit
        self._gated: set[str] = set()
        self._hidden: set[str] = set()
        self._cuts: dict[str, int] = {}
        self._spoiled: set[str] = set()
        self.private: set[str] = set()  # repositories that were made so
        self._servers = [_Server(self, self._answer), _Server(self, self._answer_content)]
        self.endpoint, self._content_endpoint = (server.url for server in self._servers)

    def __enter__(self) -> "FakeHub":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends it: nothing answers at its address any more."""
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def add(self, kind: str, name: str, files: Mapping[str, bytes], revision: str = "main") -> str:
        """Makes a commit of these files, and moves a branch to it; earlier commits stay.

        Args:
          kind: `models` or `datasets`.
          name: as `org/name`.
          files: all that the commit holds, by path.
          revision: a branch, or a whole reference: `refs/convert/parquet`, `refs/pr/1`, `refs/tags/v1`.

        Returns:
          The commit's name: 40 hex digits, the same for the same content.
        """
        tree = {path: HubFile(content, _in_lfs(path, content)) for path, content in sorted(files.items())}
        parts = [kind, name, *(f"{path} {file.oid}" for path, file in tree.items())]
        commit = hashlib.sha1("\n".join(parts).encode()).hexdigest()
        repository = self._repositories.setdefault((kind, name), _Repository())
        repository.commits[commit] = tree
        repository.refs[_ref(revision)] = commit
        self._contents |= {file.sha256: file for file in tree.values() if file.lfs}
        return commit

    def remove(self, kind: str, name: str, revision: str | None = None) -> None:
        """Removes a branch or a reference, or the whole repository."""
        if revision is None:
            del self._repositories[kind, name]
        else:
            del self._repositories[kind, name].refs[_ref(revision)]

    def commit(self, kind: str, name: str, revision: str = "main") -> str:
        """The commit that a revision points to."""
        found = self._repositories[kind, name].find(revision)
        assert found is not None, f"no revision {revision!r} of {name}"
        return found

    def gate(self, name: str) -> None:
        """Anybody may see this repository and list its files; only `GRANTED` may read them."""
        self._gated.add(name)

    def hide(self, name: str) -> None:
        """The repository is private: to anybody but `GRANTED` it is as if it did not exist."""
        self._hidden.add(name)

    def cut(self, path: str, after: int) -> None:
        """The next download of this file breaks after so many bytes: the server closes the connection, once."""
        self._cuts[path] = after

    def spoil(self, path: str) -> None:
        """The next download of this file arrives with another last byte, once."""
        self._spoiled.add(path)

    @property
    def downloads(self) -> list[str]:
        """The paths of the files whose content was sent, in order, one for each request."""
        return [asked.file for asked in self.requests if asked.method == "GET" and asked.file and asked.status < 300]

    def environment(self, home: Path, token: str = "") -> dict[str, str]:
        """The variables with which another process uses this Hub, a cache under `home`, and nothing of the user's."""
        return {
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(home),
            "HF_HUB_CACHE": str(home / "hub"),
            "HF_TOKEN": token,
            "HUGGING_FACE_HUB_TOKEN": "",
            "HF_TOKEN_PATH": str(home / "token"),
            "HF_HUB_DISABLE_IMPLICIT_TOKEN": "" if token else "1",
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    def _answer(self, asked: BaseHTTPRequestHandler) -> _Answer:
        url = urlsplit(asked.path)
        token = asked.headers.get("Authorization", "").removeprefix("Bearer ")
        if asked.command == "POST":
            return self._pushed(url.path, token, asked.rfile.read(int(asked.headers.get("Content-Length", 0))))
        if match := _API.fullmatch(url.path):
            kind, name, what, revision, under = (unquote(part or "") for part in match.groups())
            repository = self._repository(kind, name, token)
            if what == "refs":
                return _json(_listed_refs(repository.refs))
            commit = _find(repository, revision or "main")
            query = {key: values[0] for key, values in parse_qs(url.query).items()}
            if what == "tree":
                return self._tree(commit, repository.commits[commit], under, url.path, query)
            return self._described(name, commit, repository.commits[commit], sizes="blobs" in query)
        if match := _RESOLVE.fullmatch(url.path):
            prefix, name, revision, path = (unquote(part or "") for part in match.groups())
            return self._resolve(prefix.rstrip("/") or "models", name, revision, path, token, asked)
        raise _RefusedError(404, "NotFound", "Sorry, we can't find the page you are looking for.")

    def _pushed(self, path: str, token: str, body: bytes) -> _Answer:
        """What an upload asks: a repository, which files go to Git LFS, where to, and then a commit."""
        if token != GRANTED:
            raise _RefusedError(401, "Unauthorized", "Invalid username or password.")
        if path == "/api/repos/create":
            asked = json.loads(body)
            kind, name = f"{asked.get('type', 'model')}s", f"{asked['organization']}/{asked['name']}"
            if (kind, name) in self._repositories:
                raise _RefusedError(409, "Conflict", "You already created this repo")
            self.private |= {name} if asked.get("private") or asked.get("visibility") == "private" else set()
            self.add(kind, name, {})
            return _json({"url": f"{self.endpoint}/{name}", "id": name, "name": name})
        if match := re.fullmatch(r"/api/(models|datasets)/([^/]+/[^/]+)/preupload/main", path):
            content = json.loads(body)["files"]
            large = [each["size"] >= LFS_SIZE or each["path"].endswith(LFS_SUFFIXES) for each in content]
            told = [
                {"path": each["path"], "uploadMode": "lfs" if lfs else "regular", "shouldIgnore": False, "oid": None}
                for each, lfs in zip(content, large, strict=True)
            ]
            return _json({"files": told})
        if path == "/api/validate-yaml":
            front = json.loads(body)["content"].split("---")[1]
            bases = re.findall(r'^base_model: "?([^"\n]*)"?$', front, re.MULTILINE)
            wrong = [base for base in bases if not re.fullmatch(r"[\w.-]+/[\w.-]+", base)]
            errors = [{"message": f"base_model {each!r} is no model's id"} for each in wrong]
            return _json({"errors": errors, "warnings": []})
        if match := re.fullmatch(r"/(?:datasets/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch", path):
            objects = [
                {**each, "actions": {"upload": {"href": f"{self._content_endpoint}/put/{each['oid']}"}}}
                for each in json.loads(body)["objects"]
            ]
            return _json({"objects": objects, "transfer": "basic"})
        if match := re.fullmatch(r"/api/(models|datasets)/([^/]+/[^/]+)/commit/main", path):
            kind, name = match.groups()
            tree = dict(self._repositories[kind, name].commits[self.commit(kind, name)])
            found = {path: file.content for path, file in tree.items()}
            for line in map(json.loads, body.decode().splitlines()):
                if line["key"] == "file":
                    found[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                elif line["key"] == "lfsFile":
                    found[line["value"]["path"]] = self._uploaded[line["value"]["oid"]]
            commit = self.add(kind, name, found)
            told = {"commitOid": commit, "commitUrl": f"{self.endpoint}/{name}/commit/{commit}"}
            return _json({"success": True, **told, "hookOutput": "", "pullRequestUrl": ""})
        raise _RefusedError(404, "NotFound", f"nothing is pushed to {path}")

    def content(self, kind: str, name: str) -> dict[str, bytes]:
        """The files of a repository's main branch."""
        tree = self._repositories[kind, name].commits[self.commit(kind, name)]
        return {path: file.content for path, file in tree.items()}

    def _repository(self, kind: str, name: str, token: str) -> _Repository:
        repository = self._repositories.get((kind, name))
        if repository is not None and (name not in self._hidden or token == GRANTED):
            return repository
        if token:
            raise _RefusedError(404, "RepoNotFound", "Repository not found")
        raise _RefusedError(401, "RepoNotFound", "Invalid username or password.")

    def _described(self, name: str, commit: str, tree: Tree, sizes: bool) -> _Answer:
        return _json(
            {
                "_id": commit[:24],
                "id": name,
                "author": name.split("/")[0],
                "sha": commit,
                "createdAt": DATE,
                "lastModified": DATE,
                "private": name in self._hidden,
                "gated": "manual" if name in self._gated else False,
                "disabled": False,
                "downloads": 0,
                "likes": 0,
                "tags": [],
                "cardData": {},
                "usedStorage": sum(file.size for file in tree.values()),
                "siblings": [file.sibling(path) if sizes else {"rfilename": path} for path, file in tree.items()],
            }
        )

    def _tree(self, commit: str, tree: Tree, under: str, path: str, query: dict[str, str]) -> _Answer:
        entries = _entries(tree, f"{under}/" if under else "", recursive=query.get("recursive") == "true")
        if under and not entries:
            raise _RefusedError(404, "EntryNotFound", f"{under} does not exist on {commit!r}", commit)
        start = int(query.get("cursor", 0))
        answer = _json(entries[start : start + self.page_size])
        if start + self.page_size < len(entries):
            following = urlencode(query | {"cursor": str(start + self.page_size)})
            answer.headers["Link"] = f'<{self.endpoint}{path}?{following}>; rel="next"'
        return answer

    def _resolve(
        self, kind: str, name: str, revision: str, path: str, token: str, asked: BaseHTTPRequestHandler
    ) -> _Answer:
        repository = self._repository(kind, name, token)
        commit = _find(repository, revision)
        if name in self._gated and token != GRANTED:
            message = f"Access to {kind.rstrip('s')} {name} is restricted"
            raise _RefusedError(403 if token else 401, "GatedRepo", message, commit)
        if path not in repository.commits[commit]:
            raise _RefusedError(404, "EntryNotFound", "Entry not found", commit)
        file = repository.commits[commit][path]
        if file.lfs:
            location = f"{self._content_endpoint}/{kind}/{name}/{file.sha256}/{quote(path)}"
            headers = {"Location": location, "X-Linked-Etag": file.etag, "X-Linked-Size": str(file.size)}
            answer = _Answer(302, headers=headers, file=path)
        else:
            answer = self._content(file, path, asked)
        answer.headers |= {"X-Repo-Commit": commit, "ETag": file.etag}
        return answer

    def _answer_content(self, asked: BaseHTTPRequestHandler) -> _Answer:
        if asked.command == "PUT":
            content = asked.rfile.read(int(asked.headers["Content-Length"]))
            assert hashlib.sha256(content).hexdigest() == asked.path.rsplit("/", 1)[-1]
            self._uploaded[hashlib.sha256(content).hexdigest()] = content
            return _Answer(200)
        match = _CONTENT.fullmatch(urlsplit(asked.path).path)
        if match is None or match[1] not in self._contents:
            raise _RefusedError(404, "NotFound", "no such content")
        if "Authorization" in asked.headers:  # a token is not for the servers behind the Hub
            raise _RefusedError(400, "BadRequest", "Only one auth mechanism allowed")
        return self._content(self._contents[match[1]], unquote(match[2]), asked)

    def _content(self, file: HubFile, path: str, asked: BaseHTTPRequestHandler) -> _Answer:
        headers = {"Accept-Ranges": "bytes", "ETag": file.etag, "Content-Type": "application/octet-stream"}
        answer = _Answer(200, file.content, headers, path)
        if part := re.fullmatch(r"bytes=(\d+)-(\d*)", asked.headers.get("Range", "")):
            start, end = int(part[1]), min(int(part[2] or file.size), file.size - 1)
            if start > end:
                return _Answer(416, b"", {"Content-Range": f"bytes */{file.size}"}, path)
            answer.status, answer.body = 206, file.content[start : end + 1]
            answer.headers["Content-Range"] = f"bytes {start}-{end}/{file.size}"
        if asked.command == "GET":
            answer.cut = self._cuts.pop(path, None)
            if path in self._spoiled:
                self._spoiled.remove(path)
                answer.body = answer.body[:-1] + bytes([answer.body[-1] ^ 1])
        return answer


class _Server(ThreadingHTTPServer):
    """One of the Hub's two servers, on a free port, in a thread of its own."""

    daemon_threads = True

    def __init__(self, hub: FakeHub, answer: Callable[[BaseHTTPRequestHandler], _Answer]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub, self.answer = hub, answer
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def handle_error(self, *about: Any) -> None:
        """A client that has gone is no error."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(*about)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        try:
            answer = self.server.answer(self)
        except _RefusedError as refused:
            answer = refused.answer
        asked = Request(
            self.command,
            self.path,
            answer.file,
            self.headers.get("Range"),
            "Authorization" in self.headers,
            answer.status,
        )
        self.server.hub.requests.append(asked)
        self.send_response(answer.status)
        for name, value in (answer.headers | {"Content-Length": str(len(answer.body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body[: answer.cut])
            self.close_connection |= answer.cut is not None

    do_HEAD = do_POST = do_PUT = do_GET

    def log_message(self, *_: object) -> None:
        pass


def _ref(revision: str) -> str:
    return revision if revision.startswith("refs/") else f"refs/heads/{revision}"


def _in_lfs(path: str, content: bytes) -> bool:
    return path.endswith(LFS_SUFFIXES) or len(content) >= LFS_SIZE


def _find(repository: _Repository, revision: str) -> str:
    commit = repository.find(revision)
    if commit is None:
        raise _RefusedError(404, "RevisionNotFound", f"Invalid rev id: {revision}")
    return commit


def _json(content: object, status: int = 200) -> _Answer:
    return _Answer(status, json.dumps(content).encode(), {"Content-Type": "application/json; charset=utf-8"})


def _listed_refs(refs: Mapping[str, str]) -> dict[str, Any]:
    def of(prefix: str) -> list[dict[str, str]]:
        found = [(ref, commit) for ref, commit in sorted(refs.items()) if ref.startswith(prefix)]
        return [{"name": ref.removeprefix(prefix), "ref": ref, "targetCommit": commit} for ref, commit in found]

    prefixes = {"branches": "heads", "converts": "convert", "tags": "tags", "pullRequests": "pr"}
    return {name: of(f"refs/{prefix}/") for name, prefix in prefixes.items()}


def _entries(tree: Tree, prefix: str, recursive: bool) -> list[dict[str, Any]]:
    """The files below a prefix, and the folders that hold them; only the topmost unless recursive."""
    entries: dict[str, dict[str, Any]] = {}
    for path, file in tree.items():
        if path.startswith(prefix):
            *folders, _ = path.removeprefix(prefix).split("/")
            for depth in range(1, len(folders) + 1):
                folder = prefix + "/".join(folders[:depth])
                oid = hashlib.sha1(f"tree {folder}".encode()).hexdigest()
                entries.setdefault(folder, {"type": "directory", "oid": oid, "size": 0, "path": folder})
            entries[path] = file.listed(path)
    return [entry for path, entry in entries.items() if recursive or "/" not in path.removeprefix(prefix)]
