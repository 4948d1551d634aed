"""Trackers of other programs, read back by their own readers: each step once, also when a run resumes."""

import dataclasses
import json
import math
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import tiny as make
from w2s_jax import api, serialize
from w2s_jax.config import Experiment
from w2s_jax.runtime import files, trackers
from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.progress import Reporter
from w2s_jax.train.optimizer import learning_rate_at


def stopped(
    plan: Experiment, track: str, monkeypatch: pytest.MonkeyPatch, end_process: Callable[[], Any] = lambda: None
) -> Path:
    """Stops a run in the middle of its second stage, resumes it, and returns its folder.

    Args:
      end_process: called between the two runs: stops what a tracker runs in the background, as the end of the process
        does between two runs of a person.
    """
    step, titles = Reporter.step, []

    def stop(self: Reporter, at: int, total: int, losses: Any = ()) -> None:
        step(self, at, total, losses)
        titles.append(self._stage)
        if at == 3 and self._stage.startswith("[2/"):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Reporter, "step", stop)
        with pytest.raises(KeyboardInterrupt):
            api.run(plan, track=[track], quiet=True)
    assert any(title.startswith("[2/") for title in titles)
    end_process()
    api.run(plan, track=[track], quiet=True)
    return Path(plan.out) / plan.name


@pytest.fixture
def plan(tmp_path: Path) -> Experiment:
    return make.experiment(tmp_path, checkpoint_seconds=0)


def histories(plan: Experiment) -> dict[str, list[float]]:
    """The losses of every stage, as its folder keeps them."""
    store = api.open_store(plan)
    return {stage.name: store.read(stage.name).history.losses for stage in api.Planned([plan]).stages}


def test_each_step_is_logged_once_with_all_that_is_known(plan: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = stopped(plan, "jsonl", monkeypatch)
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    steps: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        if line["event"] == "log":
            steps.setdefault(line["stage"], []).append(line)
    expected = histories(plan)
    assert steps.keys() == expected.keys()
    optimizer = plan.students["strong"].optimizer
    for name, found in steps.items():
        assert [line["step"] for line in found] == list(range(1, len(expected[name]) + 1)), name
        assert [line["loss"] for line in found] == expected[name]
        rates = np.asarray(learning_rate_at(optimizer, len(found))(np.arange(len(found))))
        assert [line["learning_rate"] for line in found] == pytest.approx(rates.tolist())
        assert {line["steps"] for line in found} == {len(found)}
        store = api.open_store(plan)
        history = store.read(name).history
        scores = {line["step"]: line["validation_accuracy"] for line in found if "validation_accuracy" in line}
        assert scores == dict(zip(history.evaluated, history.scores, strict=True))
        assert not {key for line in found for key in line if "truth" in key}
    whole = [line for found in steps.values() for line in found if "gradient_norm" in line]
    assert len(whole) >= sum(map(len, expected.values())) - 3, "steps before a kill may lack it"
    assert all(math.isfinite(line["gradient_norm"]) and line["gradient_norm"] > 0 for line in whole)
    assert all(0 <= line["padding_share"] < 1 and line["tokens_per_second"] > 0 for line in whole)


@pytest.mark.slow
def test_mfu_is_known_where_the_chip_is(plan: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    from w2s_jax.runtime import chips
    from w2s_jax.stages import cost

    monkeypatch.setattr(chips, "peak", lambda kind: 1e9)
    api.run(plan, quiet=True)
    lines = map(json.loads, (Path(plan.out) / plan.name / "log.jsonl").read_text().splitlines())
    found = [line for line in lines if line["event"] == "log"]
    learner = plan.supervisors["weak"]
    weak = [line for line in found if line["stage"].startswith("supervisor")]
    devices = weak[0]["mfu"] / (6 * cost.parameters(learner) * weak[0]["tokens_per_second"] / 1e9)
    assert 1 / devices == pytest.approx(round(1 / devices))
    assert all(line["mfu"] > 0 for line in found)
    assert chips.CHIPS["h100"].kind == "NVIDIA H100 80GB HBM3"


@pytest.mark.slow
def test_tensorboard_reads_every_curve(plan: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboardX")
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    folder = stopped(plan, "tensorboard", monkeypatch)
    for name, losses in histories(plan).items():
        events = reading.EventAccumulator(str(folder / "tensorboard" / name), size_guidance={"scalars": 0})
        events.Reload()
        found = events.Scalars("loss")
        assert [event.step for event in found] == list(range(1, len(losses) + 1))
        assert [event.value for event in found] == pytest.approx(losses)
        assert {"learning_rate", "gradient_norm", "validation_accuracy"} <= set(events.Tags()["scalars"])
    events = reading.EventAccumulator(str(folder / "tensorboard" / "run"), size_guidance={"tensors": 0, "images": 0})
    events.Reload()
    assert any(tag.startswith("results/") for tag in events.Tags()["tensors"])
    assert "config/text_summary" in events.Tags()["tensors"]


def records(content: bytes) -> Iterator[bytes]:
    """Those of a W&B file: LevelDB's log, in blocks of 32 KiB, after a header of 7 bytes."""
    at, parts = 7, b""
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        length, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        parts += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last of several
            yield parts
            parts = b""


@pytest.mark.slow
def test_wandb_offline_continues_one_run(
    plan: Experiment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wandb = pytest.importorskip("wandb")
    from wandb.proto import wandb_internal_pb2

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    # Two runs of one name in one process share W&B's service, where the end of the first can meet the second.
    folder = stopped(plan, "wandb", monkeypatch, end_process=wandb.teardown)
    wandb.teardown()
    assert "dropped" not in capsys.readouterr().err
    identity = (folder / ".wandb_id").read_text()
    steps: dict[str, list[tuple[int, float]]] = {}
    parts = sorted(folder.glob("wandb/offline-run-*/run-*.wandb"))
    assert len(parts) == 2
    for path in parts:
        assert path.name == f"run-{identity}.wandb"
        for data in records(path.read_bytes()):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            values = {"/".join(item.nested_key) or item.key: item.value_json for item in record.history.item}
            for key, value in values.items():
                if key.endswith("/loss"):
                    stage = key.removesuffix("/loss")
                    steps.setdefault(stage, []).append((int(json.loads(values[f"{stage}/step"])), json.loads(value)))
    for name, losses in histories(plan).items():
        assert [step for step, _ in steps[name]] == list(range(1, len(losses) + 1))
        assert [loss for _, loss in steps[name]] == pytest.approx(losses)


@pytest.mark.slow
def test_trackio_has_every_step_in_its_database(
    plan: Experiment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    pytest.importorskip("trackio")
    stopped(plan, "trackio", monkeypatch)
    (database,) = (tmp_path / "trackio").glob("*.db")
    with sqlite3.connect(database) as connection:
        rows = connection.execute("select run_name, step, metrics from metrics order by id").fetchall()
    assert {run for run, *_ in rows} == {plan.name}
    (table,) = (json.loads(text)["results"] for *_, text in rows if "results" in json.loads(text))
    assert [row["method"] for row in table["_value"]] == list(plan.methods)
    for name, losses in histories(plan).items():
        key = f"{name}/loss"
        found = [(step, json.loads(text)[key]) for _, step, text in rows if key in json.loads(text)]
        assert [step for step, _ in found] == list(range(1, len(losses) + 1))
        assert [loss for _, loss in found] == pytest.approx(losses)


def test_a_tracker_whose_package_is_missing_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(UserError, match=r"needs tensorboardX: `pip install 'w2s-jax\[tensorboard\]'`"):
        trackers.find("tensorboard")


@pytest.mark.slow
def test_a_log_file_holds_all_progress_and_quiet_shows_none(
    plan: Experiment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from w2s_jax import cli

    def write(experiment: Experiment) -> Path:
        path, fields = (tmp_path / f"{experiment.name}{end}" for end in (".py", ".json"))
        fields.write_text(json.dumps(serialize.to_json(experiment)))
        lines = ("import json", "from w2s_jax import serialize", "from pathlib import Path")
        read = f"experiment = serialize.from_json(json.loads(Path({str(fields)!r}).read_text()))"
        path.write_text("\n".join((*lines, read, "")))
        return path

    path = write(plan)
    log = tmp_path / "logs" / "run.log"
    assert cli.main(["run", str(path), "--quiet", "--log-file", str(log)]) == cli.OK
    shown = capsys.readouterr()
    assert "[1/" not in shown.err
    lines = log.read_text().splitlines()
    assert any("4/4]" in line and "done in" in line for line in lines)
    assert all(line[:4].isdigit() for line in lines)
    again = dataclasses.replace(plan, name="again", seeds=(1,))
    assert cli.main(["run", str(write(again)), "--verbose"]) == cli.OK
    assert "step 2/" in capsys.readouterr().err
    assert files.read_json(Path(plan.out) / "again" / "results.json")
    assert cli.main(["run", str(path), "--log-file", str(tmp_path)]) == cli.BAD_INPUT
    assert "cannot be written: Is a directory" in capsys.readouterr().err
