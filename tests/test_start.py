"""What a command that trains nothing does not do; and that it still sees whatever has changed."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from w2s_jax import cli
from w2s_jax.runtime import facts, files, registry

ROOT = Path(__file__).parent.parent
CONFIG = "from pathlib import Path\nfrom tests import tiny\nexperiment = tiny.experiment(Path(__file__).parent)\n"
LOOK = """
import sys, w2s_jax.cli
code = w2s_jax.cli.main(sys.argv[1:])
from jax._src import xla_bridge
assert not xla_bridge._backends, "a device was asked for"
heavy = "transformers", "tokenizers", "gguf", "torch", "scipy", "matplotlib", "orbax.checkpoint"
print("imported:", *(name for name in heavy if name in sys.modules))
sys.exit(code)
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with a finished run of `config.py`."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "config.py").write_text(CONFIG)
    run(folder, "-m", "w2s_jax.cli", "run", "config.py")
    return folder


@pytest.fixture(autouse=True)
def nothing_added(monkeypatch):
    """Whatever other tests of this process registered is forgotten."""
    monkeypatch.setattr(registry, "_added", set())


def run(folder, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "W2S_CACHE": str(folder / "cache")}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_finished_run_reads_its_results_and_does_nothing_else(finished):
    results = next(finished.rglob("results.json"))
    before = {path: path.read_bytes() for path in results.parent.iterdir() if path.name != "log.jsonl"}
    shown = run(finished, "-c", LOOK, "run", "config.py")
    assert "imported:\n" in shown
    assert "PGR" in shown
    assert "unchanged: " in shown
    assert "wrote" not in shown
    assert {path: path.read_bytes() for path in results.parent.iterdir() if path.name != "log.jsonl"} == before


def test_a_dry_run_of_a_finished_run_asks_for_no_device(finished):
    shown = run(finished, "-c", LOOK, "run", "config.py", "--dry-run")
    assert "imported:\n" in shown
    assert "0 to do" in shown


def test_what_is_measured_for_an_estimate_is_measured_once(finished):
    """A model's tokenizer is not read again."""
    for _ in range(2):
        shown = run(
            finished,
            "-c",
            LOOK.replace("assert not", "assert True or not"),
            "run",
            "config.py",
            "--dry-run",
            "--out",
            "o",
        )
    assert "imported:\n" in shown


@pytest.fixture
def again(finished, monkeypatch, capsys):
    """Runs the finished experiment once more, with other arguments or after a change; gives its code and output."""
    monkeypatch.chdir(finished)
    cli.main(["run", "config.py"])  # in this process code is read from other files' times
    capsys.readouterr()

    def once_more(*arguments):
        code = cli.main(["run", "config.py", *arguments])
        return code, capsys.readouterr()

    return once_more


def test_an_edited_report_or_result_is_made_again(finished, again):
    results = next(finished.rglob("results.json"))
    before = results.read_bytes()
    assert "unchanged" in again()[1].out
    for path in (results, results.parent / "report.md"):
        content = path.read_bytes()
        path.write_text("{}")
        assert "wrote" in again()[1].out
        assert len(path.read_bytes()) > 2, path
        path.unlink()
        assert "wrote" in again()[1].out
        assert len(path.read_bytes()) > len(content) / 2, "whole but for what made it: the command, devices, time"
    assert json.loads(results.read_bytes())["summaries"] == json.loads(before)["summaries"]


def test_an_edited_prediction_is_noticed(finished, again):
    path = next(finished.rglob("student*/predictions.parquet"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    code, shown = again()
    assert code == cli.BAD_INPUT
    assert "was truncated or edited" in shown.err
    path.write_bytes(whole)
    assert again()[0] == cli.OK


def test_another_seed_method_or_split_is_another_run(again):
    assert "unchanged" in again()[1].out
    assert "wrote" in again("--method", "product")[1].out
    assert "wrote" in again()[1].out  # results of the same folder are now those of other cells


def test_a_metric_of_ones_own_is_measured_every_time(again, monkeypatch):
    assert "unchanged" in again()[1].out
    monkeypatch.setattr(registry, "_added", {"metric"})
    assert "wrote" in again()[1].out
    assert "wrote" in again()[1].out


def test_a_large_file_is_hashed_again_only_when_it_has_changed(tmp_path, monkeypatch):
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(facts, "LARGE", 4)
    monkeypatch.setattr(facts, "SETTLED_SECONDS", 0.05)
    hashed = []
    monkeypatch.setattr(
        facts.files, "sha256_file", lambda path, real=files.sha256_file: hashed.append(path) or real(path)
    )
    path = tmp_path / "weights"
    path.write_bytes(b"12345")
    facts.sha256(path)
    facts.sha256(path)
    assert len(hashed) == 2, "it could change within a tick of the clock"
    time.sleep(0.1)
    first = facts.sha256(path)
    assert facts.sha256(path) == first
    assert len(hashed) == 3
    times = path.stat()
    path.write_bytes(b"54321")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # as who hides an edit would have it
    time.sleep(0.1)
    assert facts.sha256(path) != first


def test_cities_are_found_once_and_the_same_ones_again(tmp_path, monkeypatch):
    from w2s_jax.data.tasks import cities

    monkeypatch.setenv("W2S_CACHE", str(tmp_path))
    first = cities.city_records.__wrapped__()
    monkeypatch.setattr(cities, "_city_records", lambda: pytest.fail("read again"))
    assert cities.city_records.__wrapped__() == first
    assert len(first) == cities.CITIES
    monkeypatch.setattr(cities.importlib.metadata, "version", lambda package: "another")
    with pytest.raises(pytest.fail.Exception):
        cities.city_records.__wrapped__()


def test_a_cache_that_cannot_be_written_is_none(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "file"))
    assert facts.known("kind", [1], lambda: 5) == 5
