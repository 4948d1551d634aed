"""The same bits on the same machine and cores: alone, and beside a busy process, so with other timing of threads."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BUSY = "while True: pass"


def start(folder: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    environment |= {
        "JAX_COMPILATION_CACHE_DIR": str(folder.parent / "xla"),  # compiled once
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    environment.pop("XLA_FLAGS", None)  # as users run it: one device, all threads
    command = [sys.executable, "-m", "tests.determinism", str(folder)]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def bits(running: subprocess.Popen[str]) -> dict[str, str]:
    printed, _ = running.communicate(timeout=1500)
    assert running.returncode == 0
    return json.loads(printed.splitlines()[-1])


@pytest.mark.slow
def test_load_and_the_timing_of_threads_change_no_bit(tmp_path):
    """All weights (packed; with dropout and microbatches), LoRA and probes."""
    alone = bits(start(tmp_path / "alone"))
    assert len(alone) == 7
    busy = subprocess.Popen([sys.executable, "-c", BUSY])
    try:
        assert bits(start(tmp_path / "beside")) == alone
    finally:
        busy.kill()
