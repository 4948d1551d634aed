"""Whether a machine does anything but what is measured on it (Linux)."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ALLOWED = 0.05  # of the machine's CPU time


def others_until(seconds: float = 2.0) -> float:
    """The share of the machine's CPU time that others than this process use, for so long from now."""
    before = _used()
    time.sleep(seconds)
    return _share(before, _used())


def refuse_if_busy(anyway: bool) -> None:
    """Ends the program where others load the machine, unless it is to run anyway."""
    share = others_until()
    if share > ALLOWED:
        text = f"others use {share:.0%} of this machine's CPU time (load {os.getloadavg()[0]:.1f})"
        if not anyway:
            sys.exit(f"{text}: figures would not repeat; --busy measures anyway")
        print(f"NOT IDLE: {text}; these figures do not repeat")


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Says at the end what share of the machine's CPU time others used meanwhile."""
    before = _used()
    yield
    share = _share(before, _used())
    print(f"{'NOT IDLE' if share > ALLOWED else 'idle'}: others used {share:.1%} of the CPU time during this run")


def _share(before: tuple[float, float, float], after: tuple[float, float, float]) -> float:
    busy, own, at = (late - early for early, late in zip(before, after, strict=True))
    return max(busy - own, 0.0) / (at * (os.cpu_count() or 1))


def _used() -> tuple[float, float, float]:
    """Seconds of CPU time that the machine spent on anything, and this process with its children, and the clock."""
    user, nice, system, _, _, irq, soft, steal, *_ = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:])
    busy = (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")
    return busy, sum(os.times()[:4]), time.monotonic()
