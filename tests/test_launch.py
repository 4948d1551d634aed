"""The launch scripts: run for real where that needs one machine, else with stand-ins for the cluster's commands."""

import importlib.metadata
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

LAUNCH = Path(__file__).parent.parent / "launch"
SCRIPTS = {
    "local.sh": ["2"],
    "slurm.sh": ["2"],
    "tpu.sh": ["my-tpu", "us-west4-a", "v5litepod-16"],
    "gke.sh": ["my-job", "region-docker.pkg.dev/p/r/w2s:1", "tpu-v5-lite-podslice", "4x4", "4", "my-claim"],
}
COMMAND = ["w2s", "run", 'my "best" config\'s.py', "--distributed", "--out", "a\\b $(date) $HOME $$ `x`\nc*"]
SAY = (
    "import json, os; os.write(1, (json.dumps([os.environ['JAX_' + name] for name in"
    " ('COORDINATOR_ADDRESS', 'NUM_PROCESSES', 'PROCESS_ID', 'LOCAL_DEVICE_IDS')]) + chr(10)).encode())"
)
LAST = (  # os.write: lines of two processes do not mix
    "import os, signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: (os.write(1, b'last\\n'), sys.exit(130)))"
)


def launch(script, *arguments, path=LAUNCH, **environment):
    environment = {name: text for name, text in os.environ.items() if not name.startswith("W2S_")} | environment
    return subprocess.run(
        [path / script, *arguments], capture_output=True, text=True, check=False, timeout=60, env=environment
    )


def stand_in(folder, name, body=""):
    """A command that writes its arguments down, a line of JSON for each call, and does no more than `body`."""
    folder.mkdir(exist_ok=True)
    write = f"import json, sys; print(json.dumps(sys.argv[1:]), file=open({str(folder / name) + '.calls'!r}, 'a'))"
    (folder / name).write_text(f'#!/bin/bash\n{sys.executable} -c {json.dumps(write)} "$@"\n{body}\n')
    (folder / name).chmod(0o755)


def calls(folder, name):
    return [json.loads(line) for line in (folder / f"{name}.calls").read_text().splitlines()]


def shell(script, **environment):
    return subprocess.run(
        ["bash", "-c", script], env=os.environ | environment, capture_output=True, text=True, check=False, timeout=60
    )


def with_stand_ins(folder):
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


SEES = "import os; os.write(1, (os.environ.get('CUDA_VISIBLE_DEVICES', 'unset') + chr(10)).encode())"


@pytest.mark.parametrize(
    ("visible", "expected"),
    [(None, ["0", "1", "2"]), ("5,3", ["3", "5", "5"]), ("GPU-ab", ["GPU-ab"] * 3), ("", ["", "", ""])],
)
def test_each_process_sees_one_gpu(tmp_path, visible, expected):
    card = "echo 'GPU {0}: NVIDIA H100 (UUID: GPU-{0})'"
    stand_in(tmp_path, "nvidia-smi", "\n".join(card.format(number) for number in range(4)))
    environment = with_stand_ins(tmp_path) | ({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})
    done = launch("local.sh", "3", sys.executable, "-c", SEES, **environment)
    assert sorted(done.stdout.splitlines()) == expected


def test_each_process_sees_one_tpu_chip_and_without_accelerators_nothing_is_set(tmp_path):
    stand_in(tmp_path, "nvidia-smi", "exit 9")
    for number in range(2):
        (tmp_path / f"accel{number}").touch()
    environment = with_stand_ins(tmp_path) | {"W2S_DEVICES": str(tmp_path)}
    printed = launch("local.sh", "--dry-run", "3", "w2s", "run", "a.py", **environment).stdout.splitlines()
    bounds = "TPU_CHIPS_PER_PROCESS_BOUNDS=1,1,1 TPU_PROCESS_BOUNDS=1,1,1 w2s run a.py"
    assert [line.rstrip() for line in printed] == [f"env TPU_VISIBLE_CHIPS={chip} {bounds}" for chip in (0, 1, 0)]
    none = launch("local.sh", "--dry-run", "1", "w2s", "run", "a.py", **environment | {"W2S_DEVICES": "/nowhere"})
    assert none.stdout.split() == ["w2s", "run", "a.py"]


def test_local_starts_so_many_processes_and_waits_for_all(tmp_path):
    done = launch("local.sh", "3", "bash", "-c", f"echo made >> {tmp_path}/log")
    assert done.returncode == 0
    assert (tmp_path / "log").read_text().splitlines() == ["made"] * 3


def test_local_fails_if_one_process_fails_and_lets_the_others_end(tmp_path):
    done = launch("local.sh", "2", "bash", "-c", f"mkdir {tmp_path}/once || exit 7; sleep 0.5; touch {tmp_path}/made")
    assert done.returncode == 7
    assert (tmp_path / "made").exists()


def test_local_tells_the_processes_of_one_model_of_each_other():
    done = launch("local.sh", "3", sys.executable, "-c", SAY, "--distributed")
    assert done.returncode == 0, done.stderr
    said = sorted(json.loads(line) for line in done.stdout.splitlines())
    host, port = said[0][0].split(":")
    assert host == "127.0.0.1"
    assert 20000 <= int(port) < 32000
    assert said == [[f"{host}:{port}", "3", str(i), str(i)] for i in range(3)]


def test_local_stops_the_others_of_one_model_when_one_fails():
    program = f"import os, sys; os.environ['JAX_PROCESS_ID'] == '1' and sys.exit(7); {LAST}; time.sleep(50)"
    before = time.monotonic()
    done = launch("local.sh", "3", sys.executable, "-c", program, "--distributed")
    assert done.returncode == 7
    assert time.monotonic() - before < 30


@pytest.mark.parametrize("together", [(), ("--distributed",)])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_local_passes_signals_on_once_and_keeps_the_code(together, number):
    program = LAST + r"; os.write(1, b'ready\n'); time.sleep(50)"
    with subprocess.Popen(
        [LAUNCH / "local.sh", "2", sys.executable, "-c", program, *together], stdout=subprocess.PIPE, text=True
    ) as running:
        assert [running.stdout.readline() for _ in range(2)] == ["ready\n"] * 2
        running.send_signal(number)
        assert running.wait(timeout=30) == 130
        assert running.stdout.read() == "last\n" * 2


def test_local_ends_although_its_processes_were_killed():
    assert launch("local.sh", "2", "bash", "-c", "kill -KILL $PPID").returncode == 1


def test_dry_run_of_local_prints_what_it_would_run(tmp_path):
    stand_in(tmp_path / "bin", "w2s", f"{sys.executable} -c {json.dumps(SAY)}")
    printed = launch("local.sh", "--dry-run", "2", *COMMAND)
    assert printed.returncode == 0
    assert not (tmp_path / "bin" / "w2s.calls").exists()
    said = [json.loads(line) for line in shell(printed.stdout, **with_stand_ins(tmp_path / "bin")).stdout.splitlines()]
    assert [ids[1:] for ids in said] == [["2", "0", "0"], ["2", "1", "1"]]
    assert calls(tmp_path / "bin", "w2s") == [COMMAND[1:]] * 2
    alone = launch("local.sh", "--dry-run", "2", "w2s", "run", "my config.py").stdout
    assert [line.strip() for line in alone.splitlines()] == [r"w2s run my\ config.py"] * 2


def submitted(tmp_path, *arguments, **environment):
    stand_in(tmp_path / "bin", "sbatch", f"cat > {tmp_path}/script")
    done = launch("slurm.sh", *arguments, **with_stand_ins(tmp_path / "bin"), **environment)
    assert done.returncode == 0, done.stderr
    assert calls(tmp_path / "bin", "sbatch") == [[]]
    script = (tmp_path / "script").read_text()
    assert launch("slurm.sh", "--dry-run", *arguments, **environment).stdout == script
    return script, [line for line in script.splitlines() if line.startswith("#SBATCH")]


def test_slurm_array(tmp_path):
    script, options = submitted(tmp_path, "4", "w2s", "run", "my config.py")
    assert {"#SBATCH --array=0-3", "#SBATCH --gpus=1", "#SBATCH --requeue"} < set(options)
    assert "#SBATCH --signal=B:TERM@120" in options  # the command becomes the batch script: it is no step
    stand_in(tmp_path / "bin", "w2s")
    assert shell(script, **with_stand_ins(tmp_path / "bin")).returncode == 0
    assert calls(tmp_path / "bin", "w2s") == [["run", "my config.py"]]


def test_slurm_nodes_that_train_one_model(tmp_path):
    script, options = submitted(tmp_path, "4", *COMMAND, W2S_GPUS="h100:8", W2S_CPUS="16", W2S_TIME="1:00:00")
    assert not any("--array" in option for option in options)
    for option in ("nodes=4", "ntasks-per-node=1", "gpus-per-node=h100:8", "signal=TERM@120", "requeue"):
        assert f"#SBATCH --{option}" in options
    assert {"#SBATCH --cpus-per-task=16", "#SBATCH --time=1:00:00"} < set(options)
    stand_in(tmp_path / "bin", "srun", f"echo -n $JAX_LOCAL_DEVICE_IDS > {tmp_path}/devices")
    assert shell(script, **with_stand_ins(tmp_path / "bin")).returncode == 0
    assert calls(tmp_path / "bin", "srun") == [["--cpus-per-task=16", *COMMAND]]
    assert (tmp_path / "devices").read_text() == "0,1,2,3,4,5,6,7"


def test_slurm_would_give_each_task_one_gpu_if_it_were_not_told(monkeypatch):
    """Why the script exports JAX_LOCAL_DEVICE_IDS."""
    from jax._src.clusters.slurm_cluster import SlurmCluster

    monkeypatch.setenv("SLURM_LOCALID", "0")
    assert SlurmCluster.get_local_process_id() == 0  # not None: JAX then sees this device alone


HOST = """
case "$4" in
  describe) cat {folder}/state ;;
  create) echo READY > {folder}/state ;;
  delete) rm {folder}/state ;;
  scp) cp "$5" {folder}/host/w2s.tar.gz ;;
  ssh)
    for word in "$@"; do case $word in --command=*) command=${{word#--command=}} ;; esac; done
    cd {folder}/host && HOME={folder}/host bash -c "$command" ;;
esac
"""


@pytest.fixture
def cloud(tmp_path):
    """A project to copy, and a folder that stands for all hosts of a TPU slice."""
    (tmp_path / "host" / ".local" / "bin").mkdir(parents=True)
    (tmp_path / "my project" / "launch").mkdir(parents=True)
    (tmp_path / "my project" / "runs").mkdir()
    (tmp_path / "my project" / "pyproject.toml").touch()
    shutil.copy(LAUNCH / "tpu.sh", tmp_path / "my project" / "launch")
    stand_in(tmp_path / "bin", "gcloud", HOST.format(folder=tmp_path))
    for name in ("python3", "sudo"):
        stand_in(tmp_path / "bin", name)
    stand_in(tmp_path / "bin", "mountpoint", "false")
    stand_in(tmp_path / "host" / ".local" / "bin", "uv")
    stand_in(tmp_path / "host" / "venv" if (tmp_path / "host" / "venv").mkdir() else tmp_path / "bin", "gcsfuse")
    stand_in(tmp_path / "host" / "venv" / "bin", "w2s", f"pwd > {tmp_path}/where")
    return tmp_path


def test_tpu_slice(cloud):
    for _ in range(2):
        done = launch("tpu.sh", *SCRIPTS["tpu.sh"], *COMMAND, path=cloud / "my project" / "launch", **at(cloud))
        assert done.returncode == 0, done.stderr
    made = calls(cloud / "bin", "gcloud")
    assert [call[3] for call in made] == ["describe", "create", "scp", "ssh", "ssh", "describe", "scp", "ssh", "ssh"]
    assert all(call[:3] == ["compute", "tpus", "tpu-vm"] and "--zone=us-west4-a" in call for call in made)
    assert made[1][4:] == [
        "my-tpu",
        "--zone=us-west4-a",
        "--accelerator-type=v5litepod-16",
        "--version=v2-alpha-tpuv5-lite",
    ]
    assert all("--worker=all" in call for call in made if call[3] in ("scp", "ssh"))
    assert {path.name for path in (cloud / "host" / "w2s").iterdir()} == {"launch", "pyproject.toml"}
    assert calls(cloud / "host" / ".local" / "bin", "uv")[0][-3:] == ["-e", "./w2s[plot]", "jax[tpu]"]
    assert calls(cloud / "host" / "venv" / "bin", "w2s") == [COMMAND[1:]] * 2
    assert (cloud / "where").read_text().strip() == str(cloud / "host" / "w2s")
    assert "gcloud compute tpus tpu-vm delete my-tpu --zone=us-west4-a" in done.stderr


@pytest.mark.parametrize("state", ["PREEMPTED", "TERMINATED"])
def test_a_tpu_slice_that_was_taken_away_is_made_anew(cloud, state):
    (cloud / "state").write_text(f"{state}\n")
    path = cloud / "my project" / "launch"
    done = launch("tpu.sh", *SCRIPTS["tpu.sh"], *COMMAND, path=path, **at(cloud), W2S_SPOT="1")
    assert done.returncode == 0, done.stderr
    made = calls(cloud / "bin", "gcloud")
    assert [call[3] for call in made] == ["describe", "delete", "create", "scp", "ssh", "ssh"]
    assert made[2][-1] == "--spot"


def at(cloud):
    return with_stand_ins(cloud / "bin")


def test_dry_run_of_tpu_prints_what_it_would_run(cloud):
    path = cloud / "my project" / "launch"
    printed = launch("tpu.sh", "--dry-run", *SCRIPTS["tpu.sh"], *COMMAND, path=path, **at(cloud))
    assert printed.returncode == 0
    assert not (cloud / "bin" / "gcloud.calls").exists()
    assert shell(printed.stdout, **at(cloud)).returncode == 0
    assert calls(cloud / "host" / "venv" / "bin", "w2s") == [COMMAND[1:]]


@pytest.mark.parametrize(
    ("source", "name", "call"),
    [
        ("10.0.0.2:/my share", "sudo", ["mount", "-t", "nfs", "10.0.0.2:/my share", "/mnt/w2s"]),
        ("gs://bucket/", "gcsfuse", ["--implicit-dirs", "--rename-dir-limit=100000", "bucket", "/mnt/w2s"]),
    ],
)
def test_tpu_hosts_mount_what_they_are_told(cloud, source, name, call):
    path = cloud / "my project" / "launch"
    assert launch("tpu.sh", *SCRIPTS["tpu.sh"], *COMMAND, path=path, **at(cloud), W2S_MOUNT=source).returncode == 0
    assert call in calls(cloud / "bin", name)


@pytest.mark.parametrize("install", [True, False])
def test_tpu_stops_where_a_host_fails(cloud, install):
    failing = cloud / "host" / (".local/bin" if install else "venv/bin")
    stand_in(failing, "uv" if install else "w2s", "exit 130")
    path = cloud / "my project" / "launch"
    assert launch("tpu.sh", *SCRIPTS["tpu.sh"], *COMMAND, path=path, **at(cloud)).returncode == 130
    assert (cloud / "host" / "venv" / "bin" / "w2s.calls").exists() == (not install)


@pytest.mark.parametrize(
    ("kind", "version"),
    [("v5p-128", "v2-alpha-tpuv5"), ("v6e-16", "v2-alpha-tpuv6e"), ("v4-32", "tpu-ubuntu2204-base")],
)
def test_tpu_runtime_follows_from_the_kind(kind, version):
    arguments = ["--dry-run", "my-tpu", "us-west4-a", kind, *COMMAND]
    assert f"--version={version}\n" in launch("tpu.sh", *arguments).stdout
    assert "--version=other\n" in launch("tpu.sh", *arguments, W2S_TPU_VERSION="other").stdout


def as_kubernetes_reads(text):
    """Kubernetes reads $$ as $, and $(NAME) as a variable."""
    assert "$(" not in text.replace("$$", "")
    return text.replace("$$", "$")


def test_gke_manifest(tmp_path):
    yaml = pytest.importorskip("yaml")
    stand_in(tmp_path / "bin", "kubectl", f"cat > {tmp_path}/manifest")
    done = launch("gke.sh", *SCRIPTS["gke.sh"], *COMMAND, **with_stand_ins(tmp_path / "bin"))
    assert done.returncode == 0, done.stderr
    assert calls(tmp_path / "bin", "kubectl") == [["apply", "-f", "-"]]
    text = (tmp_path / "manifest").read_text()
    assert launch("gke.sh", "--dry-run", *SCRIPTS["gke.sh"], *COMMAND).stdout == text
    manifest = yaml.safe_load(text)
    assert (manifest["apiVersion"], manifest["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    assert manifest["metadata"]["name"] == "my-job"
    policy = manifest["spec"]["failurePolicy"]
    assert policy["maxRestarts"] == 3
    assert policy["rules"] == [{"action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]}]
    (slices,) = manifest["spec"]["replicatedJobs"]
    job = slices["template"]["spec"]
    assert (slices["replicas"], job["completionMode"], job["backoffLimit"]) == (1, "Indexed", 0)
    assert job["completions"] == job["parallelism"] == 4
    bad_input = {"containerName": "w2s", "operator": "In", "values": [2]}
    assert job["podFailurePolicy"]["rules"] == [{"action": "FailJob", "onExitCodes": bad_input}]
    pod = job["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    assert pod["terminationGracePeriodSeconds"] == 120
    assert pod["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice",
        "cloud.google.com/gke-tpu-topology": "4x4",
    }
    (container,) = pod["containers"]
    assert [as_kubernetes_reads(word) for word in container["command"]] == COMMAND
    assert container["image"] == SCRIPTS["gke.sh"][1]
    assert container["resources"] == {"requests": {"google.com/tpu": 4}, "limits": {"google.com/tpu": 4}}
    assert container["volumeMounts"] == [{"name": "out", "mountPath": "/out"}]
    assert pod["volumes"] == [{"name": "out", "persistentVolumeClaim": {"claimName": "my-claim"}}]
    assert "kubectl delete jobset my-job" in done.stderr


@pytest.mark.parametrize("script", SCRIPTS)
def test_usage_is_shown_for_what_is_no_command(script):
    arguments = SCRIPTS[script]
    wrong = [[], arguments, [*arguments[:-1], "Many!", "w2s"], ["many of", *arguments[1:], "w2s"]]
    for bad in wrong:
        done = launch(script, "--dry-run", *bad)
        assert done.returncode == 2, bad
        assert done.stdout == ""
        assert f"launch/{script} " in done.stderr
        assert not any(line.startswith(("set ", "dry=", "usage")) for line in done.stderr.splitlines())


@pytest.mark.parametrize(
    ("script", "arguments", "environment"),
    [
        ("slurm.sh", ["2", "w2s"], {"W2S_GPUS": "all"}),
        ("slurm.sh", ["2", "w2s"], {"W2S_CPUS": "0"}),
        ("tpu.sh", [*SCRIPTS["tpu.sh"], "w2s"], {"W2S_MOUNT": "bucket"}),
        ("gke.sh", ["my-job", "image", "tpu-v5p-slice", "2x2x2", "3", "claim", "w2s"], {}),  # 8 chips, 3 hosts
        ("gke.sh", ["my-job", "image", "tpu-v5p-slice", "2x", "2", "claim", "w2s"], {}),
        ("gke.sh", [*SCRIPTS["gke.sh"], "w2s"], {"W2S_RESTARTS": "-1"}),
    ],
)
def test_usage_is_shown_for_settings_that_cannot_be(script, arguments, environment):
    done = launch(script, "--dry-run", *arguments, **environment)
    assert done.returncode == 2
    assert done.stdout == ""


@pytest.mark.parametrize("script", sorted(path.name for path in LAUNCH.glob("*.sh")))
def test_scripts_are_bash(script):
    assert script in SCRIPTS
    assert subprocess.run(["bash", "-n", LAUNCH / script], check=False).returncode == 0


@pytest.mark.parametrize("kind", ["gpu", "tpu"])
def test_what_an_image_installs_exists(kind):
    """The pip step of each image: its extras are ours, and jax's; the rest is Docker's own."""
    text = (LAUNCH / f"{kind}.Dockerfile").read_text()
    (line,) = (line for line in text.splitlines() if line.startswith("RUN "))
    words = shlex.split(line)
    assert words[:4] == ["RUN", "pip", "install", "--no-cache-dir"]
    assert words[4] == {"gpu": "jax[cuda13]", "tpu": "jax[tpu]"}[kind]
    declared = set(importlib.metadata.metadata("jax").get_all("Provides-Extra") or ())
    assert words[4].partition("[")[2].rstrip("]") in declared
    ours = (LAUNCH.parent / "setup.py").read_text()
    assert words[5:] == ["/src[plot]"]
    assert '"plot": [' in ours
    assert 'CMD ["w2s", "--help"]' in text
