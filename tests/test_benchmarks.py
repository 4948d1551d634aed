"""Benchmarks that need devices which are not here run the same code on tiny shapes."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_the_benchmark_of_gpus(tmp_path):
    command = [
        sys.executable,
        "benchmarks/gpu.py",
        "--dry-run",
        "--steps",
        "2",
        "--out",
        str(tmp_path / "gpu.json"),
    ]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "TOO FAR" not in done.stdout
    ours = [row for row in json.loads((tmp_path / "gpu.json").read_text()) if row["side"] == "jax"]
    assert [row["parameters"] for row in ours] == ["full", "lora", "lora"]
    if importlib.util.find_spec("torch"):
        theirs = [row for row in json.loads((tmp_path / "gpu.json").read_text()) if row["side"] == "torch"]
        assert theirs[0]["seconds"] > 0, theirs
    assert all(row["seconds"] > 0 and row["model_flops"] > 0 and row["mfu"] is None for row in ours), ours
    # 3 passes to train all, 2 to train adapters
    assert ours[0]["model_flops"] == 1.5 * ours[1]["model_flops"]
