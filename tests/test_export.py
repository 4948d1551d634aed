"""An exported folder is the model: transformers loads and scores it alike, and reading it gives the same bits."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pyarrow.parquet
import pytest

from tests import tiny as make
from tests.fake_hub import GRANTED, FakeHub
from tests.test_models_parity import FAMILIES, LENGTHS, OTHER_SHAPES, SHAPES, assert_close, saved, tokens
from w2s_jax import api, cli, metrics, models
from w2s_jax.config import Method
from w2s_jax.evaluation import storage
from w2s_jax.models import assembly, export, tensor_table
from w2s_jax.models.config import ModelConfig
from w2s_jax.models.weights import Tensors
from w2s_jax.pipeline.store import Store
from w2s_jax.runtime.errors import UserError
from w2s_jax.train.learner import Generative

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

DECODERS = [name for name in FAMILIES if name != "bert"]


@pytest.fixture
def source(tmp_path):
    """Makes a tiny model of a family; a decoder with a language-model head."""

    def make(name):
        family, settings = SHAPES[name]
        folder = tmp_path / "source"
        saved(folder, family, {**settings, "pad_token_id": 0}, head=family != "bert")
        return models.load(str(folder))

    return make


def trained(pretrained, seed=0):
    """Other parameters than those that were read, of ordinary sizes."""
    rng = np.random.default_rng(seed)
    moved = jax.tree.map(
        lambda leaf: (leaf + 0.1 * rng.normal(size=leaf.shape)).astype(np.float32), dict(pretrained.params)
    )
    return dataclasses.replace(pretrained, params=moved)


def theirs(kind, folder, ids, lengths):
    """Logits of a model as transformers loads it, which must find every tensor there and no other."""
    model, report = getattr(transformers, kind).from_pretrained(folder, output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "mismatched_keys", "error_msgs"))
    mask = torch.arange(ids.shape[1])[None] < torch.tensor(lengths)[:, None]
    with torch.no_grad():
        return model.eval()(torch.tensor(ids).long(), attention_mask=mask.long()), report


def real_tokens(lengths):
    """Id 0 pads, as transformers' classifiers find the last token by it."""
    ids = 1 + tokens(49, lengths)
    return np.where(np.arange(ids.shape[1]) < lengths[:, None], ids, 0).astype(np.int32)


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_exported_is_read_back_bit_for_bit(source, tmp_path, name):
    pretrained = source(name)
    model = pretrained if name.startswith("gemma") else trained(pretrained)
    export.write(model, tmp_path / "out")
    back = models.load(str(tmp_path / "out"))
    assert back.config == pretrained.config
    assert jax.tree.structure(dict(back.params)) == jax.tree.structure(dict(model.params))
    jax.tree.map(np.testing.assert_array_equal, dict(back.params), dict(model.params))
    assert back.tokenizer.fingerprint == pretrained.tokenizer.fingerprint
    if not pretrained.config.tied_embeddings:
        np.testing.assert_array_equal(
            models.unembedding(str(tmp_path / "out")), models.unembedding(str(tmp_path / "source"))
        )


@pytest.mark.parametrize("name", [*DECODERS, *OTHER_SHAPES])
def test_transformers_scores_next_tokens_alike(source, tmp_path, name):
    model = trained(source(name))
    export.write(model, tmp_path / "out")
    ids = real_tokens(LENGTHS)
    module, params = models.build_language_model(model, rng=jax.random.key(0))
    ours = np.asarray(make.applied(module)({"params": params}, ids, LENGTHS))
    found, report = theirs("AutoModelForCausalLM", tmp_path / "out", ids, LENGTHS)
    assert not report["unexpected_keys"]
    for row, length in enumerate(LENGTHS):
        assert_close(ours[row, :length], found.logits.numpy()[row, :length])


@pytest.mark.parametrize("name", DECODERS)
def test_transformers_classifies_alike(source, tmp_path, name):
    model = trained(source(name))
    head = np.random.default_rng(1).normal(size=(32, 3)).astype(np.float32)
    assert export.write(model, tmp_path / "out", head=head)
    ids = real_tokens(LENGTHS)
    module, params = models.build_classifier(model, 3, rng=jax.random.key(0))
    ours = make.applied(module)({"params": {**params, "head": {"kernel": head}}}, ids, LENGTHS)
    found, report = theirs("AutoModelForSequenceClassification", tmp_path / "out", ids, LENGTHS)
    assert set(report["unexpected_keys"]) <= {"lm_head.weight", "embed_out.weight"}
    assert_close(np.asarray(ours), found.logits.numpy())
    again, _ = theirs("AutoModelForCausalLM", tmp_path / "out", ids, LENGTHS)
    assert again.logits.shape == (4, 7, 50)


def test_an_encoder_is_exported_without_its_head(source, tmp_path):
    model = trained(source("bert"))
    head = np.ones((32, 2), np.float32)
    assert not export.write(model, tmp_path / "out", head=head)
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "head.npy"), head)
    twin = transformers.BertModel.from_pretrained(tmp_path / "out", add_pooling_layer=False).eval()
    ids = real_tokens(LENGTHS)
    mask = torch.tensor(ids != 0).long()
    with torch.no_grad():
        states = twin(torch.tensor(ids).long(), attention_mask=mask).last_hidden_state.numpy()
    module, params = models.build_classifier(model, 2, rng=jax.random.key(0), pooling="cls")
    ours = module.apply({"params": params}, ids, LENGTHS, (3,), method="hidden_states")
    assert_close(np.asarray(ours)[:, 0], states[:, 0])


@pytest.mark.parametrize(("how", "head"), [("mean", "mean"), ("cls", "cls"), ("last", None)])
def test_a_head_that_transformers_would_compute_otherwise_stays_apart(source, tmp_path, how, head):
    kernel = np.ones((32, 2), np.float32)
    assert export.write(source("gpt2"), tmp_path / "out", head=kernel, pooling=how) == (head is None)
    assert (tmp_path / "out" / "head.npy").exists() == (head is not None)
    (architecture,) = json.loads((tmp_path / "out" / "config.json").read_text())["architectures"]
    assert architecture == ("GPT2ForSequenceClassification" if head is None else "GPT2LMHeadModel")


def test_every_layout_is_undone_by_its_inverse():
    sizes = {"family": "llama", "vocab_size": 7, "hidden_size": 12, "n_layers": 1, "n_heads": 4, "n_kv_heads": 2}
    config = ModelConfig(**sizes, head_dim=6, mlp_size=9, max_positions=5)
    shapes = {  # theirs, and the widths of ours
        tensor_table.SAME: ((12, 12), [12]),
        tensor_table.TRANSPOSED: ((12, 12), [12]),
        tensor_table.MINUS_ONE: ((12, 12), [12]),
        tensor_table.SIDE_BY_SIDE: ((12, 72), [24] * 3),
        tensor_table.HEAD_BY_HEAD: ((72, 12), [24] * 3),
        tensor_table.ONE_BY_ONE: ((48, 12), [24, 12, 12]),
        tensor_table.GATE_AND_UP: ((18, 12), [9, 9]),
        tensor_table.PAIRED: ((24, 12), [24]),
    }
    for layout, (shape, widths) in shapes.items():
        array = np.random.default_rng(0).integers(-9, 9, shape).astype(np.float32)
        tensors = Tensors({"x": shape}, lambda _, *index, array=array: array[index])
        row = tensor_table.TensorRow(tuple(map(str, range(len(widths)))), "x", layout)
        parts = [np.empty((12, width), np.float32) for width in widths]
        for part, made in enumerate(parts):
            assembly._fill(made, tensors, row, part, [range(size) for size in made.shape], config, "x")
        np.testing.assert_array_equal(layout.theirs(parts, config), array)


def test_nothing_is_written_over_and_a_cut_model_has_no_folder(source, tmp_path):
    pretrained = source("llama")
    with pytest.raises(UserError, match="source is not empty; give a new folder"):
        export.write(pretrained, tmp_path / "source")
    cut = models.load(pretrained.name, read_layer=2)
    with pytest.raises(UserError, match="cut to its first layers"):
        export.write(cut, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder, config and results of a run with every kind of finetuning."""
    folder = tmp_path_factory.mktemp("run")
    plan = make.experiment(folder, methods={"naive": Method()})
    full = plan.students["strong"]
    students = {
        "full": full,
        "head": dataclasses.replace(full, parameters="head"),
        "after text": dataclasses.replace(
            full, parameters="lora", generative=Generative(batch_size=8, learning_rate=1e-2)
        ),
        "probe": dataclasses.replace(full, parameters="probe"),
    }
    plan = dataclasses.replace(plan, students=students)
    found = make.run(plan)
    storage.save(found, folder / "runs" / plan.name)
    return folder / "runs", plan, found


@pytest.mark.slow
def test_a_run_is_exported_and_transformers_labels_its_texts_alike(run, tmp_path, capsys):
    (runs, plan, found), out = run, tmp_path / "out"
    assert cli.main(["export", str(runs / plan.name), "--out", str(out)]) == cli.OK
    said = capsys.readouterr()
    stages = {name for cell in found.cells for name in cell.stages.values()}
    probes = {name for cell in found.cells if cell.student == "probe" for name in cell.stages.values()} & {
        line.partition(":")[2].partition(":")[0].strip() for line in said.err.splitlines()
    }
    assert len(probes) == 2
    assert {path.name for path in out.iterdir()} == stages - probes
    assert len(said.out.splitlines()) == 7
    test = make.stages(plan)[0].splits.test
    for folder in out.iterdir():
        expected = Store(runs / "stages").read(folder.name).predictions
        rows = [i for i, split in enumerate(expected.splits) if split == "test"]
        assert [expected.ids[i] for i in rows] == list(test.ids)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
        with torch.no_grad():
            logits = [model(**tokenizer(text, return_tensors="pt")).logits[0].numpy() for text in test.texts]
        np.testing.assert_allclose(logits, expected.logits[rows], atol=1e-4)


@pytest.mark.slow
def test_a_stage_is_exported_by_itself(run, tmp_path, capsys):
    runs, plan, found = run
    stage = str(runs / "stages" / found.cells[0].stages["student"])
    assert cli.main(["export", stage, "--out", str(tmp_path / "out")]) == cli.BAD_INPUT
    assert "was made from a model that is none of" in capsys.readouterr().err
    model = ["--model", plan.students["full"].model]
    assert cli.main(["export", stage, "--out", str(tmp_path / "out"), *model]) == cli.OK
    assert (tmp_path / "out" / "model.safetensors").exists()
    probe = next(cell for cell in found.cells if cell.student == "probe").stages["student"]
    assert cli.main(["export", stage.replace(found.cells[0].stages["student"], probe), "--out", "x", *model]) == 2
    assert "is a probe on a published model" in capsys.readouterr().err


def test_a_language_model_head_that_was_trained_is_exported(tmp_path):
    saved(tmp_path / "source", "llama", {**FAMILIES["llama"][1], "tie_word_embeddings": False}, head=True)
    table = np.random.default_rng(0).normal(size=(50, 32)).astype(np.float32)
    export.write(dataclasses.replace(models.load(str(tmp_path / "source")), unembedding=table), tmp_path / "out")
    np.testing.assert_array_equal(models.unembedding(str(tmp_path / "out")), table)


PUSH = """
import sys
from w2s_jax import cli
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_models_and_labels_are_exported_with_cards_and_pushed(tmp_path):
    plan = make.experiment(tmp_path, name="pushed", methods={"naive": Method()})
    lora = dataclasses.replace(plan.students["strong"], parameters="lora", lora_rank=2)
    plan = dataclasses.replace(plan, students={"strong": lora})
    found = make.run(plan)
    runs = storage.save(found, Path(plan.out) / plan.name).parent.parent
    student = found.cells[0].stages["student"]
    with FakeHub() as hub:

        def push(*arguments, token=GRANTED):
            environment = {**os.environ, **hub.environment(tmp_path / "home", token), "PYTHONPATH": os.getcwd()}
            program = [sys.executable, "-c", PUSH, "export", *arguments]
            return subprocess.run(program, env=environment, capture_output=True, text=True, timeout=300, check=False)

        refused = push(str(runs / plan.name), "--out", str(tmp_path / "refused"), "--push", "org/refused", token="")
        assert refused.returncode == cli.BAD_INPUT
        assert refused.stderr.splitlines()[-1].startswith("error: org/refused-")
        assert (tmp_path / "refused" / student / "README.md").exists(), "what was written stays"
        out = tmp_path / "adapters"
        done = push(str(runs / plan.name), "--out", str(out), "--adapters", "--push", "org/toy")
        assert done.returncode == cli.OK, done.stderr
        name = f"org/toy-{student}"
        files = hub.content("models", name)
        assert name in hub.private
        assert files == {path.name: path.read_bytes() for path in (out / student).iterdir()}
        assert {"adapter_config.json", "adapter_model.safetensors", "README.md"} <= files.keys()
        text = files["README.md"].decode()
        summary, cell = found.summaries[0], found.cells[0]
        assert "library_name: peft" in text
        assert "base_model" not in text, "a folder is no model of the Hub"
        assert f"made with w2s_jax from {Path(lora.model).name}." in text
        assert str(tmp_path) not in text
        figures = [f"{cell.scores['accuracy'][role]:.3f}" for role in ("supervisor", "student", "ceiling")]
        pgr = summary.pgr["accuracy"]
        said = metrics.in_words(pgr) if pgr.reason is None else f"undefined: {pgr.reason}"
        assert f"| weak | naive | {' | '.join(figures)} | {said} |" in text
        assert f"labels of {cell.stages['supervisor']} (SHA-256)" in text
        data = push(
            str(runs / plan.name), "--out", str(tmp_path / "data"), "--predictions", "--push", "org/data", "--public"
        )
        assert data.returncode == cli.OK, data.stderr
        assert "org/data" not in hub.private
        assert hub.content("datasets", "org/data").keys() == {"README.md", "predictions.parquet", "weak_labels.parquet"}
    labels = pyarrow.parquet.read_table(tmp_path / "data" / "weak_labels.parquet").to_pylist()
    split = api.Planned([plan]).tasks[plan.tasks[0]].splits(0).transfer
    assert [row["id"] for row in labels] == list(split.ids)
    expected = Store(runs / "stages").read(found.cells[0].stages["supervisor"]).predictions
    np.testing.assert_array_equal([row["probs"] for row in labels], expected.for_split("transfer", split.ids))
    rows = pyarrow.parquet.read_table(tmp_path / "data" / "predictions.parquet")
    assert rows.num_rows == found.tasks[0].sizes["test"]
    run_folder, nowhere = str(runs / plan.name), tmp_path / "x"
    assert cli.main(["export", run_folder, "--out", str(nowhere), "--push", "no name"]) == cli.BAD_INPUT
    assert cli.main(["export", run_folder, "--out", str(nowhere), "--push", "../x"]) == cli.BAD_INPUT
    assert cli.main(["export", run_folder, "--out", str(nowhere), "--adapters", "--predictions"]) == cli.BAD_INPUT
    assert not nowhere.exists()
    assert str(tmp_path) not in (tmp_path / "data" / "README.md").read_text()
