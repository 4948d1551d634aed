"""Commands, the configs that ship with the package, and trackers: built in, and added from outside."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from w2s_jax import cli, config
from w2s_jax.cli import dispatch, experiments, study
from w2s_jax.runtime import packaged, references, trackers, tracking
from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.progress import Reporter
from w2s_jax.view import page

ROOT = Path(__file__).parent.parent
SMALL = "from pathlib import Path\nfrom tests import tiny\nexperiment = tiny.experiment(Path(__file__).parent"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder with a tiny config, which is where the command runs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.py").write_text(f"{SMALL})\n")
    return tmp_path


HELLO = """
from w2s_jax.cli import COMMANDS, OK, Command

@COMMANDS.register
class Hello(Command):
    name = "hello"
    help = "greet somebody"

    def add_arguments(self, parser):
        parser.add_argument("who")

    def run(self, options, overrides):
        print(f"Hello, {options.who}!")
        return OK
"""


def test_a_command_from_outside_runs(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(cli.COMMANDS, "_items", dict(cli.COMMANDS))  # other tests do not meet it
    (tmp_path / "hello.py").write_text(HELLO)
    references.named(str(tmp_path / "hello.py"), "Hello")
    assert cli.main(["hello", "Ada"]) == cli.OK
    assert capsys.readouterr().out == "Hello, Ada!\n"
    with pytest.raises(SystemExit) as stop:
        cli.main(["hello", "Ada", "--seeds", "1"])
    assert stop.value.code == cli.BAD_INPUT


def test_commands_of_installed_packages(tmp_path):
    """As pip leaves them: a module, and a folder of metadata that names its entry points; one of them is broken."""
    (tmp_path / "greeting.py").write_text(HELLO)
    (tmp_path / "greeting-1.0.dist-info").mkdir()
    (tmp_path / "greeting-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n"
    )
    entries = f"[{dispatch.ENTRY_POINTS}]\nhello = greeting:Hello\nlost = nowhere:Lost\n"
    (tmp_path / "greeting-1.0.dist-info" / "entry_points.txt").write_text(entries)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    command = [sys.executable, "-m", "w2s_jax.cli"]
    done = subprocess.run([*command, "hello", "Ada"], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "Hello, Ada!\n"
    assert "'lost' of nowhere:Lost cannot be loaded" in done.stderr
    assert (
        "greet somebody"
        in subprocess.run([*command, "--help"], capture_output=True, text=True, check=True, env=environment).stdout
    )


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["configs"], ["init", "new.py"]])
def test_what_needs_no_jax_imports_none(tmp_path, arguments):
    program = (
        "import sys, w2s_jax.cli\ntry:\n w2s_jax.cli.main(sys.argv[1:])\nfinally:\n assert 'jax' not in sys.modules"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(
        [sys.executable, "-c", program, *arguments], check=True, cwd=tmp_path, env=environment, stdout=subprocess.PIPE
    )


def test_every_command_has_its_help_and_its_module():
    assert tuple(cli.COMMANDS)[: len(dispatch.FIRST)] == dispatch.FIRST
    files = {path.stem for path in (ROOT / "w2s_jax" / "cli").glob("*.py")}
    shared = {"__init__", "__main__", "base", "dispatch", "experiments"}
    verbs = {f"study_{name}" for name in study.VERBS}
    assert {name for name in files - shared if not name.startswith("_")} <= {*cli.COMMANDS, *verbs}


def test_packaged_configs_are_those_of_the_repository(capsys):
    names = set(packaged.configs())
    assert names == {
        path.relative_to(ROOT / "configs").with_suffix("").as_posix() for path in (ROOT / "configs").rglob("*.py")
    }
    assert {"quickstart", "burns2023/nlp"} < names
    assert cli.main(["configs"]) == cli.OK
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in names)
    assert all(packaged.summary(path).endswith((".", ")")) for path in packaged.configs().values())


@pytest.mark.real
def test_the_stages_of_a_packaged_config(folder, capsys):
    assert cli.main(["run", "quickstart", "--dry-run", "--out", "elsewhere"]) == cli.OK
    assert "student smollm2-135m, confidence on cities, seed 2" in capsys.readouterr().out


def test_a_packaged_config_by_its_name(folder, capsys):
    assert experiments.load("quickstart").name == "quickstart"
    assert cli.main(["run", "quickstrat", "--dry-run"]) == cli.BAD_INPUT
    assert "did you mean 'quickstart'" in capsys.readouterr().err
    assert cli.main(["sweep", "configs/ladder.py"]) == cli.BAD_INPUT
    assert "ships with the package is 'ladder'" in capsys.readouterr().err


def test_init_writes_what_runs_and_overwrites_nothing(folder, capsys):
    assert cli.main(["init", "my first.py"]) == cli.OK
    before = Path("my first.py").read_text()
    assert config.load("my first.py").name == "my_first"
    assert cli.main(["run", "my first.py", "--dry-run"]) == cli.OK
    assert "15 stages" in capsys.readouterr().out
    assert cli.main(["init", "my first.py"]) == cli.BAD_INPUT
    assert "my first.py exists" in capsys.readouterr().err
    assert Path("my first.py").read_text() == before
    assert cli.main(["init", "mine"]) == cli.BAD_INPUT
    assert cli.main(["init", "mine.py", "--like", "nothing"]) == cli.BAD_INPUT
    assert not Path("mine.py").exists()
    assert cli.main(["init", "mine.py", "--like", "openai/sweep"]) == cli.OK
    assert Path("mine.py").read_bytes() == packaged.find("openai/sweep").read_bytes()


@pytest.mark.slow
def test_a_wheel_brings_the_configs(tmp_path):
    """Built and installed into an empty folder, it lists and reads them far from any clone."""
    source, target = tmp_path / "source", tmp_path / "target"
    for name in ("w2s_jax", "configs"):
        shutil.copytree(ROOT / name, source / name)
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path, source], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("w2s_jax/configs/")}
    assert packed == {f"w2s_jax/configs/{name}.py" for name in packaged.configs()}
    static = {name for name in zipfile.ZipFile(wheel).namelist() if "/static/" in name}
    mine = {f"w2s_jax/study/static/{path.name}" for path in (ROOT / "w2s_jax" / "study" / "static").iterdir()}
    assert static == {f"w2s_jax/view/static/{name}" for name in page.static()} | mine
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--target", target, wheel], check=True)
    shutil.rmtree(source)

    def installed(*arguments):
        environment = {**os.environ, "PYTHONPATH": str(target)}
        return subprocess.check_output([sys.executable, *arguments], cwd=tmp_path, env=environment, text=True)

    assert installed("-c", "import w2s_jax; print(w2s_jax.__file__)").startswith(str(target))
    assert " burns2023/nlp " in installed("-m", "w2s_jax.cli", "configs")
    assert "12 stages" in installed("-m", "w2s_jax.cli", "run", "quickstart", "--dry-run")
    installed("-m", "w2s_jax.cli", "init", "mine.py")
    assert "15 stages" in installed("-m", "w2s_jax.cli", "run", "mine.py", "--dry-run")


TRACKER = """
import json

class Mine:
    def start(self, run, config, folder):
        self.file = open("seen.jsonl", "a")
        self.write("start", run, sorted(config), str(folder))

    def log(self, stage, step, values):
        self.write("log", stage, step, values)

    def finish(self, results, written):
        self.write("finish", results, [path.name for path in written])

    def write(self, *values):
        print(json.dumps(values), file=self.file, flush=True)
"""


def trained(runs):
    """The losses of every stage that was trained step by step, as its folder keeps them."""
    found = [json.loads(path.read_text())["losses"] for path in sorted(runs.glob("stages/*/history.json"))]
    return sorted(losses for losses in found if losses)


def by_stage(lines):
    """The losses of each stage in a log, whose steps count from 1 without a gap."""
    losses: dict[str, list[float]] = {}
    for stage, step, loss in lines:
        losses.setdefault(stage, []).append(loss)
        assert step == len(losses[stage])
    return sorted(losses.values())


def logged(path):
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return by_stage([(line["stage"], line["step"], line["loss"]) for line in lines if line["event"] == "log"])


def test_a_tracker_from_outside_gets_every_steps_loss(folder):
    (folder / "mine.py").write_text(TRACKER)
    assert cli.main(["run", "config.py", "--track", "mine.py:Mine"]) == cli.OK
    seen = [json.loads(line) for line in (folder / "seen.jsonl").read_text().splitlines()]
    runs = folder / "runs"
    assert seen[0][:2] == ["start", "tiny"]
    assert {"name", "students", "seeds"} < set(seen[0][2])
    assert seen[0][3] == str(runs / "tiny")
    assert len(trained(runs)) == 4
    assert by_stage([(stage, step, values["loss"]) for _, stage, step, values in seen[1:-1]]) == trained(runs)
    assert seen[-1][1] == json.loads((runs / "tiny" / "results.json").read_text())
    assert {"results.json", "report.md"} < set(seen[-1][2])
    assert logged(runs / "tiny" / "log.jsonl") == trained(runs)


@pytest.mark.slow
def test_a_log_resumes_with_its_run(folder, monkeypatch):
    """A stop in the middle of a stage, then a kill in the middle of a line: each step is logged once."""
    (folder / "config.py").write_text(f"{SMALL}, checkpoint_seconds=0)\n")
    step = Reporter.step

    def stopped(self, at, total, losses=()):
        step(self, at, total, losses)
        if at == 3 and self._stage.startswith("[2/"):
            raise KeyboardInterrupt

    monkeypatch.setattr(Reporter, "step", stopped)
    assert cli.main(["run", "config.py"]) == cli.INTERRUPTED
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    log = folder / "runs" / "tiny" / "log.jsonl"
    assert json.loads(log.read_text().splitlines()[-1])["event"] == "finish"
    log.write_text(log.read_text() + '{"event": "log", "sta')
    assert cli.main(["run", "config.py"]) == cli.OK
    assert logged(log) == trained(folder / "runs")


@pytest.mark.slow
def test_a_sweep_is_tracked_as_one_run(folder):
    (folder / "other.py").write_text(f"{SMALL}, name='other', seeds=(1,))\n")
    assert cli.main(["sweep", "config.py", "other.py"]) == cli.OK
    log = folder / "runs" / "log.jsonl"
    assert logged(log) == trained(folder / "runs")
    first, *_, last = [json.loads(line) for line in log.read_text().splitlines()]
    assert (first["run"], list(first["config"])) == ("tiny+other", ["tiny", "other"])
    assert {Path(path).name for path in last["written"]} >= {"results.json", "report.md"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("command", ["tasks", "configs"])
def test_output_that_cannot_be_written_is_one_line(command):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "w2s_jax.cli", command], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == cli.BAD_INPUT
    assert done.stderr == "error: the disk is full, or what standard output goes to\n"


@pytest.mark.parametrize("method", ["log", "finish"])
def test_a_tracker_that_fails_is_dropped(tmp_path, method):
    told, notes = [], []

    class Fails:
        def start(self, run, config, folder):
            told.append("start")

        def log(self, stage, step, values):
            told.append("log")
            assert method != "log"

        def finish(self, results, written):
            told.append("finish")
            assert method != "finish"

    told_to = tracking.Trackers([Fails()], notes.append)
    with told_to.run("a", {}, tmp_path):
        told_to.log("s", [(1, {"loss": 1.0})])
        told_to.log("s", [(1, {"loss": 1.0}), (2, {"loss": 0.5})])
    assert told == (["start", "log"] if method == "log" else ["start", "log", "log", "finish"])
    assert len(notes) == 1
    assert "Fails failed and is dropped" in notes[0]


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("class Mine: pass", "lacks start, log, finish"),
        ("def Mine():\n    raise RuntimeError('no key')", "cannot be made: RuntimeError: no key"),
        (TRACKER.replace('open("seen.jsonl", "a")', "undefined"), "cannot start: NameError"),
    ],
)
def test_a_tracker_that_is_none_stops_the_run_before_it_trains(folder, capsys, source, says):
    (folder / "mine.py").write_text(source)
    assert cli.main(["run", "config.py", "--track", "mine.py:Mine"]) == cli.BAD_INPUT
    assert says in capsys.readouterr().err
    assert not list(folder.glob("runs/stages/*/manifest.json"))
    with pytest.raises(UserError, match="did you mean 'jsonl'"):
        trackers.find("json")
