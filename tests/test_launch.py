"""The launch scripts, as far as no cluster is needed."""

import subprocess
from pathlib import Path

LAUNCH = Path(__file__).parent.parent / "launch"


def launch(script, *arguments):
    return subprocess.run([LAUNCH / script, *arguments], capture_output=True, text=True, check=False, timeout=60)


def test_local_starts_so_many_processes_and_waits_for_all(tmp_path):
    done = launch("local.sh", "3", "bash", "-c", f"echo made >> {tmp_path}/log")
    assert done.returncode == 0
    assert (tmp_path / "log").read_text().splitlines() == ["made"] * 3


def test_local_fails_if_one_process_fails(tmp_path):
    assert launch("local.sh", "2", "bash", "-c", f"mkdir {tmp_path}/once").returncode != 0


def test_dry_runs_start_nothing(tmp_path):
    done = launch("local.sh", "--dry-run", "2", "touch", f"{tmp_path}/x")
    assert done.stdout.splitlines() == [f"process {i}: touch {tmp_path}/x" for i in (0, 1)]
    script = launch("slurm.sh", "--dry-run", "4", "w2s", "run", "my config.py").stdout
    assert "#SBATCH --array=0-3" in script
    assert script.rstrip().endswith(r"exec w2s run my\ config.py")
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0
    assert not list(tmp_path.iterdir())


def test_usage_is_shown_for_what_is_no_command():
    for script in ("local.sh", "slurm.sh"):
        done = launch(script, "many", "w2s")
        assert done.returncode == 2
        assert f"launch/{script} " in done.stderr
