"""The same bits on the same machine: alone, beside busy processes, with other timing of threads, killed and resumed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BUSY = "while True: pass"


def start(folder: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    environment.pop("XLA_FLAGS", None)  # as users run it: one device, all threads
    command = [sys.executable, "-m", "tests.determinism", str(folder)]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def bits(running: subprocess.Popen[str]) -> dict[str, str]:
    printed, _ = running.communicate(timeout=900)
    assert running.returncode == 0
    return json.loads(printed.splitlines()[-1])


@pytest.mark.slow
def test_load_and_timing_and_kills_change_no_bit(tmp_path):
    """All weights (packed; with dropout and microbatches), LoRA and probes."""
    alone = bits(start(tmp_path / "alone"))
    assert len(alone) >= 8
    busy = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        beside = bits(start(tmp_path / "beside"))
        killed = 0
        for seconds in (20, 35, 50):
            running = start(tmp_path / "killed")
            time.sleep(seconds)
            killed += running.poll() is None
            running.send_signal(signal.SIGKILL)
            running.wait()
        resumed = bits(start(tmp_path / "killed"))
    finally:
        for each in busy:
            each.kill()
    assert killed
    assert beside == alone
    assert resumed == alone
