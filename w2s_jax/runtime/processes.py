"""Several processes that train one model: who leads, what they agree on, and how all of them end.

Every process walks the same code in the same order. What they agree on goes through the key-value store of JAX's
coordination service, which needs no device, so that a process can be told of an end while another waits for devices.
With one process, all of this does nothing.
"""

import atexit
import contextlib
import itertools
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import jax

from w2s_jax.runtime.errors import UserError

T = TypeVar("T")

PATIENCE_SECONDS = 20.0  # for the others, once one has failed: they may be about to fail with it
WATCH_SECONDS = 1.0
_END, _GONE = "w2s/end", "w2s/gone"
_rounds = itertools.count()
_ending = threading.Lock()


class AgreedError(UserError):
    """An error that every process has been told of, and raises."""


class LostError(Exception):
    """One process failed, and another did not come to hear of it."""


def initialize() -> None:
    """Joins the processes of one job, before any device is used.

    JAX finds Slurm, Open MPI, Cloud TPU and GKE by itself. Elsewhere JAX_COORDINATOR_ADDRESS (host:port of process 0),
    JAX_NUM_PROCESSES and JAX_PROCESS_ID say it. From here on SIGTERM is what Ctrl-C is.

    Raises:
      UserError: neither says it, or the coordinator does not answer.
    """
    try:
        jax.distributed.initialize(num_processes=_number("JAX_NUM_PROCESSES"), process_id=_number("JAX_PROCESS_ID"))
    except (ValueError, RuntimeError) as error:
        raise UserError(
            "--distributed found no cluster (Slurm, Open MPI, TPU); set JAX_COORDINATOR_ADDRESS=host:port, "
            f"JAX_NUM_PROCESSES and JAX_PROCESS_ID in every process ({str(error).splitlines()[0]})"
        ) from error
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # after JAX, which has a handler of its own
    if several():
        done = threading.Event()
        watcher = threading.Thread(target=_watch, args=(done,), daemon=True)
        watcher.start()
        atexit.register(watcher.join)
        atexit.register(done.set)  # the last registered is the first called


def several() -> bool:
    """Whether this is one of several processes."""
    return jax.distributed.is_initialized() and jax.process_count() > 1


def is_leader() -> bool:
    """Whether this process is the one that writes and prints; alone it is."""
    return not several() or jax.process_index() == 0


def gather(value: T) -> list[T]:
    """The JSON value of every process, in order; each waits for all.

    Raises:
      UserError: another process came here, or to the end of its `together`, with an error.
    """
    return _exchange(value, None) if several() else [value]


def lead(work: Callable[[], T]) -> T:
    """What `work`, done by process 0 alone, returns there: a JSON value, for all. Its UserError is raised in all."""
    if not several():
        return work()
    with together():
        return gather(work() if is_leader() else None)[0]  # type: ignore[return-value]


@contextlib.contextmanager
def together() -> Iterator[None]:
    """All processes leave the body well, or all leave it with the UserError of the first that has one.

    Raises:
      UserError: of one process.
      LostError: this process has an error, and another, perhaps waiting for its devices, did not come here in time.
    """
    if not several():
        yield
        return
    try:
        yield
    except AgreedError:
        raise
    except UserError as error:
        _exchange(None, str(error))
        raise
    _exchange(None, None)


def end(code: int, line: str) -> int:
    """Ends this process with an error that the others need not share, and with it all others.

    The first process to end prints its line, and its code is that of all. JAX's own way to end waits for every
    process; one that waits for a device would keep all others for minutes.

    Returns:
      `code`, if there are no others.
    """
    if not several():
        print(line, file=sys.stderr)
        return code
    client = _client()
    with _ending:
        try:
            client.key_value_set(_END, str(code))
            print(line, file=sys.stderr)
        except jax.errors.JaxRuntimeError:  # another was first
            code = int(client.blocking_key_value_get(_END, 1000))
        _leave(code)
    return code


def _leave(code: int) -> None:
    client = _client()
    with contextlib.suppress(jax.errors.JaxRuntimeError):
        client.key_value_set(f"{_GONE}/{jax.process_index()}", "", allow_overwrite=True)
        if jax.process_index() == 0:  # it holds the store, from which the others read that all end
            for index in range(jax.process_count()):
                client.blocking_key_value_get(f"{_GONE}/{index}", int(1000 * PATIENCE_SECONDS))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _watch(done: threading.Event) -> None:
    """Ends this process once another has ended, even while it waits for devices."""
    client = _client()
    while not done.wait(WATCH_SECONDS):
        with contextlib.suppress(jax.errors.JaxRuntimeError):
            code = int(client.key_value_try_get(_END))
            with _ending:
                _leave(code)


def _exchange(value: Any, failed: str | None) -> list[Any]:
    """Process 0 collects what all others have set, and sets the whole: each process waits for two keys at most."""
    client, number = _client(), next(_rounds)
    key = f"w2s/round/{number}"
    client.key_value_set(f"{key}/{jax.process_index()}", json.dumps([value, failed]))
    seconds = None if failed is None else PATIENCE_SECONDS
    if is_leader():
        told = [_wait(f"{key}/{index}", seconds, failed) for index in range(jax.process_count())]
        client.key_value_set(f"{key}/all", f"[{','.join(told)}]")
        client.key_value_delete(f"w2s/round/{number - 1}")  # whoever told this round has read the one before
    everyone = json.loads(_wait(f"{key}/all", seconds, failed))
    error = next((error for _, error in everyone if error is not None), None)
    if error is not None:
        raise AgreedError(error)
    return [value for value, _ in everyone]


def _wait(key: str, seconds: float | None, failed: str | None) -> str:
    """A key's value, once it has one. Waits in short pieces, between which Python sees signals."""
    until = None if seconds is None else time.monotonic() + seconds
    while until is None or time.monotonic() < until:
        try:
            return _client().blocking_key_value_get(key, int(1000 * WATCH_SECONDS))
        except jax.errors.JaxRuntimeError as error:
            if "DEADLINE_EXCEEDED" not in str(error):
                raise
    raise LostError(failed)


def _number(variable: str) -> int | None:
    text = os.environ.get(variable)
    if text is not None and not text.isdigit():
        raise UserError(f"{variable} must be a whole number, not {text!r}")
    return None if text is None else int(text)


def _client() -> Any:
    from jax._src import distributed  # JAX has no public name for the coordination service's client

    return distributed.global_state.client
