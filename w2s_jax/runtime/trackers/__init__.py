"""Trackers that other programs read: one file each, registered in `TRACKERS`. Each needs an extra of its name."""

from typing import Any

from w2s_jax.runtime import references
from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.registry import discover
from w2s_jax.runtime.tracking import TRACKERS, Tracker

discover(__name__, __path__)


def find(reference: str | Tracker) -> Tracker:
    """The tracker of a registered name or of `file.py:Class`, or one that is there already.

    Raises:
      UserError: there is none, it cannot be made without arguments, or it lacks a method.
    """
    tracker = _made(reference) if isinstance(reference, str) else reference
    missing = [name for name in ("start", "log", "finish") if not callable(getattr(tracker, name, None))]
    if missing:
        raise UserError(f"tracker {reference} lacks {', '.join(missing)}; see w2s_jax.runtime.tracking.Tracker")
    return tracker


def _made(reference: str) -> Any:
    make = references.find(reference, TRACKERS).value
    try:
        return make()
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"tracker {reference} cannot be made: {type(error).__name__}: {error}") from error
