"""A classifier's trained head: where a learner starts from it, where it labels as it is, and where it is left out."""

import dataclasses
import json
import logging

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests import tiny as make
from tests.test_models_encoders import ENCODERS
from tests.test_models_parity import FAMILIES as OTHERS
from tests.test_models_parity import LENGTHS, assert_close, tokens, words_tokenizer
from w2s_jax import api, cli, losses, models
from w2s_jax.config import Method
from w2s_jax.models import export, heads, hub_files
from w2s_jax.pipeline.store import Store
from w2s_jax.plan.architectures import architecture
from w2s_jax.runtime import sharding
from w2s_jax.runtime.errors import UserError
from w2s_jax.stages.base import learner_identity
from w2s_jax.train.finetune import finetune
from w2s_jax.train.learner import Generative, Learner
from w2s_jax.train.optimizer import OptimizerConfig

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

FAMILIES = {
    **OTHERS,
    **ENCODERS,
    "deberta, its own pooler": ("deberta-v2", {**ENCODERS["deberta"][1], "pooler_hidden_act": "relu"}),
    "modernbert, its own head": (
        "modernbert",
        {
            **ENCODERS["modernbert"][1],
            "classifier_pooling": "mean",
            "classifier_bias": True,
            "classifier_activation": "silu",
            "norm_eps": 1e-3,
        },
    ),
}
DECODERS = ["llama", "llama, biases", "mistral", "qwen2", "qwen3", "gemma2", "gemma3_text", "gpt_neox", "gpt2", "opt"]
READ_BY_CLASSES = ["bert", "roberta", "xlm-roberta", "distilbert", "deberta", "modernbert"]
NAMES = [*DECODERS, *READ_BY_CLASSES, "deberta, its own pooler", "modernbert, its own head"]
VOCABULARY = len(make.WORDS) + 1


@pytest.fixture(autouse=True)
def said(caplog):
    hub_files.say.cache_clear()
    caplog.set_level(logging.WARNING)
    return lambda: [each.getMessage() for each in caplog.records if each.name.startswith("w2s_jax")]


def classifier(folder, name, labels=3, kind="AutoModelForSequenceClassification", **settings):
    """A tiny classifier with a trained head, saved by transformers itself, and its torch twin."""
    torch.manual_seed(1)
    family, given = FAMILIES[name]
    config = transformers.AutoConfig.for_model(family, **{**given, "pad_token_id": 0, "num_labels": labels, **settings})
    twin = getattr(transformers, kind).from_config(config).eval()
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    twin.save_pretrained(folder)
    if "vocab_size" in settings:
        make.tokenizer(folder / "tokenizer.json")
    else:
        words_tokenizer(folder / "tokenizer.json")
    return twin


def their_logits(twin, ids, lengths):
    mask = torch.arange(ids.shape[1])[None] < torch.tensor(lengths)[:, None]
    with torch.no_grad():
        return twin(torch.tensor(ids).long(), attention_mask=mask.long()).logits.numpy()


def real_ids():
    """Id 0 pads: transformers finds the last token by it."""
    ids = 1 + tokens(49, LENGTHS)
    return np.where(np.arange(ids.shape[1]) < LENGTHS[:, None], ids, 0).astype(np.int32)


LIKE_LLAMA = ["llama, biases", "mistral", "qwen2", "qwen3", "gemma2"]


@pytest.mark.parametrize("name", [*(name for name in NAMES if name not in LIKE_LLAMA), *make.slow(*LIKE_LLAMA)])
def test_with_its_head_a_classifier_scores_as_transformers_does(tmp_path, said, name):
    """And what is exported of it does, too, in transformers and here."""
    twin = classifier(tmp_path / "m", name)
    ids = real_ids()
    expected = their_logits(twin, ids, LENGTHS)
    start = models.load(str(tmp_path / "m"))
    module, params = models.build_classifier(start, 3, rng=jax.random.key(0), head="pretrained")
    assert_close(np.asarray(make.applied(module)({"params": params}, ids, LENGTHS)), expected)
    assert not said()
    assert models.classes(str(tmp_path / "m")) == 3

    assert export.write(start, tmp_path / "out", head=params["head"])
    kind = transformers.AutoModelForSequenceClassification
    again, report = kind.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "mismatched_keys", "error_msgs"))
    assert_close(their_logits(again.eval(), ids, LENGTHS), expected)
    back = models.load(str(tmp_path / "out"))
    assert models.head_form(back.name, back.config) == module.form
    jax.tree.map(np.testing.assert_array_equal, heads.read(back.name), params["head"])


@pytest.mark.parametrize("name", ["mistral", "modernbert", *make.slow("roberta", "deberta")])
def test_a_head_of_one_output_is_a_score(tmp_path, name):
    twin = classifier(tmp_path, name, 1)
    module, params = models.build_classifier(models.load(str(tmp_path)), 1, rng=jax.random.key(0), head="pretrained")
    ids = real_ids()
    ours = np.asarray(make.applied(module)({"params": params}, ids, LENGTHS))
    assert ours.shape == (len(LENGTHS), 1)
    np.testing.assert_allclose(ours, their_logits(twin, ids, LENGTHS), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "setting", "said"),
    [
        ("modernbert", {"classifier_pooling": "max"}, "classifier_pooling='max' is not implemented for modernbert"),
        ("modernbert", {"classifier_activation": "mish"}, "activation 'mish' is not implemented"),
        ("deberta", {"pooler_hidden_act": "tanh"}, "activation 'tanh' is not implemented"),
    ],
)
def test_a_setting_of_a_head_that_is_not_implemented_is_named_where_the_head_is_read(tmp_path, name, setting, said):
    classifier(tmp_path, name)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | setting))
    pretrained = models.load(str(tmp_path))
    models.build_classifier(pretrained, 3, rng=jax.random.key(0))
    with pytest.raises(UserError, match=said):
        models.build_classifier(pretrained, 3, rng=jax.random.key(0), head="pretrained")


def test_a_plan_needs_no_weights_to_know_the_head(tmp_path):
    """Nor anything but a name, where a family has one form."""
    name, given = FAMILIES["modernbert, its own head"]
    transformers.AutoConfig.for_model(name, **given).save_pretrained(tmp_path)
    config = architecture(str(tmp_path))
    assert models.head_form(str(tmp_path), config).pooling == "mean"
    assert models.head_form("openai-community/gpt2-xl", architecture("openai-community/gpt2-xl")).output == "score"


@pytest.mark.parametrize("name", ["llama", "modernbert, its own head"])
def test_on_a_mesh_it_is_the_same(tmp_path, name):
    twin = classifier(tmp_path, name)
    mesh, ids = sharding.make_mesh(2, 2, 2), real_ids()
    start = models.load_sharded(str(tmp_path), mesh)
    module, params = models.build_classifier(start, 3, rng=jax.random.key(0), head="pretrained", mesh=mesh)
    with sharding.activate(mesh):
        ours = make.applied(module)({"params": params}, ids, LENGTHS)
    assert_close(np.asarray(ours), their_logits(twin, ids, LENGTHS))


@pytest.mark.parametrize("name", ["gpt2", "bert", "roberta"])
def test_a_head_that_is_left_out_is_said_once(tmp_path, said, name):
    classifier(tmp_path, name)
    for _ in range(2):
        _, params = models.build_classifier(models.load(str(tmp_path)), 3, rng=jax.random.key(0))
    assert not np.asarray(params["head"]["kernel"]).any()
    head = {"gpt2": "score.weight", "bert": "classifier.weight", "roberta": "classifier.out_proj.weight"}[name]
    left = f"{tmp_path}: its trained head ({head}, 3 classes) is left out, and "
    wanted = [left + "a new one starts from zero; head='pretrained' starts from it"]
    if name == "gpt2":
        models.build_language_model(models.load(str(tmp_path)), rng=jax.random.key(0))
        wanted.append(left + "its language-model head is read")
    assert said() == wanted


def test_a_model_without_one_says_nothing_and_cannot_start_from_one(tmp_path, said):
    make.llama(tmp_path / "m")
    pretrained = models.load(str(tmp_path / "m"))
    models.build_classifier(pretrained, 2, rng=jax.random.key(0))
    assert not said()
    assert models.classes(str(tmp_path / "m")) is None
    with pytest.raises(UserError, match=r"has no trained head: no score\.weight"):
        models.build_classifier(pretrained, 2, rng=jax.random.key(0), head="pretrained")


def test_berts_pooler_without_a_classifier_is_no_head(tmp_path, said):
    config = transformers.AutoConfig.for_model("bert", **FAMILIES["bert"][1])
    transformers.BertModel(config).save_pretrained(tmp_path)
    words_tokenizer(tmp_path / "tokenizer.json")
    models.build_classifier(models.load(str(tmp_path)), 2, rng=jax.random.key(0))
    assert models.classes(str(tmp_path)) is None
    assert not said()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("AutoModelForTokenClassification", "BertForTokenClassification"),
        ("AutoModelForMultipleChoice", "BertForMultipleChoice"),
    ],
)
def test_a_head_of_another_kind_is_refused(tmp_path, kind, said):
    classifier(tmp_path, "bert", 3, kind)
    pretrained = models.load(str(tmp_path))
    with pytest.raises(UserError, match=f"its head is that of a {said}, not of a classifier of texts"):
        models.build_classifier(pretrained, 3, rng=jax.random.key(0), head="pretrained")


def test_heads_of_answers_and_values_are_left_out_with_a_word(tmp_path, said):
    """Extractive question answering, and TRL's value head."""
    classifier(tmp_path / "qa", "bert", 2, "AutoModelForQuestionAnswering")
    models.load(str(tmp_path / "qa"))
    make.llama(tmp_path / "trl")
    tensors = load_file(tmp_path / "trl" / "model.safetensors")
    values = {"v_head.summary.weight": np.ones((1, 16), np.float32), "v_head.summary.bias": np.ones(1, np.float32)}
    save_file({**tensors, **values}, tmp_path / "trl" / "model.safetensors")
    models.load(str(tmp_path / "trl"))
    assert [line.partition(": ")[2] for line in said()] == [
        "qa_outputs.bias and qa_outputs.weight are left out: nothing here computes with them",
        "v_head.summary.bias and v_head.summary.weight are left out: nothing here computes with them",
    ]


def test_several_labels_at_once_are_refused(tmp_path):
    classifier(tmp_path, "llama", problem_type="multi_label_classification")
    with pytest.raises(UserError, match="problem_type 'multi_label_classification' is not implemented"):
        models.build_classifier(models.load(str(tmp_path)), 3, rng=jax.random.key(0), head="pretrained")


def learner(folder, **changes):
    fields = {"head": "pretrained", "batch_size": 8, "epochs": 1, "optimizer": OptimizerConfig(learning_rate=1e-3)}
    return Learner(str(folder), **{**fields, **changes})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"parameters": "probe"}, "a probe fits a head of its own"),
        ({"pooling": "mean"}, "reads what it was trained on"),
        ({"read_layer": 1}, "reads what it was trained on"),
        ({"output": "text"}, "has no head over classes"),
        ({"epochs": 0}, "parameters='head'"),
        ({"epochs": 0, "parameters": "head", "head": "new"}, "head='pretrained'"),
        ({"epochs": 0, "parameters": "head", "generative": Generative()}, "trains nothing"),
        ({"head": "old"}, "head"),
        ({"epochs": -1}, "epochs"),
    ],
    ids=str,
)
def test_what_does_not_go_together_is_refused(changes, said):
    with pytest.raises(UserError, match=said):
        learner("m", **changes)


def test_a_learner_with_a_new_head_is_known_by_the_same_name_as_before(tmp_path):
    folder = make.llama(tmp_path / "m")
    assert "head" not in learner_identity(Learner(str(folder)))
    classifier(tmp_path / "c", "llama")
    assert learner_identity(learner(tmp_path / "c"))["head"] == "pretrained"


TEXTS = ["good film", "the bad plot", "a great film is fine", "awful", "poor plot", "very good"]
LABELS = np.random.default_rng(0).dirichlet(np.ones(3), len(TEXTS)).astype(np.float32)


def run(student, **changes):
    data = {"train": (TEXTS, LABELS), "validation": (TEXTS, LABELS), "predict": {"test": TEXTS}}
    start = models.load(student.model)
    return finetune(student, start, losses.bind(losses.cross_entropy), seed=0, **data, **changes)


def texts_logits(folder, twin, texts=TEXTS):
    _, tokenizer = models.outline(str(folder))
    rows = tokenizer.encode(list(texts))
    with torch.no_grad():
        return np.concatenate([twin(torch.tensor([row])).logits.numpy() for row in rows])


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("llama", "lora"),
        ("bert", "full"),
        pytest.param("modernbert", "head", marks=pytest.mark.slow),
        pytest.param("llama", "full", marks=pytest.mark.slow),
        pytest.param("bert", "lora", marks=pytest.mark.slow),
    ],
)
def test_training_starts_from_the_head(tmp_path, name, parameters):
    twin = classifier(tmp_path, name, vocab_size=VOCABULARY)
    student = learner(tmp_path, parameters=parameters, optimizer=OptimizerConfig(learning_rate=1e-12))
    found = run(student)
    assert_close(found.logits["test"], texts_logits(tmp_path, twin))
    moved = run(dataclasses.replace(student, optimizer=OptimizerConfig(learning_rate=1e-2)))
    assert np.abs(moved.logits["test"] - found.logits["test"]).max() > 1e-3
    more = {"llama": set(), "bert": {"bias", "dense"}, "modernbert": {"bias", "dense", "norm"}}[name]
    assert moved.params["head"].keys() == {"kernel"} | more


@pytest.mark.parametrize("name", ["gpt2", "bert"])
def test_untrained_it_labels_as_it_is(tmp_path, name):
    twin = classifier(tmp_path, name, vocab_size=VOCABULARY)
    found = run(learner(tmp_path, parameters="head", epochs=0))
    assert_close(found.logits["test"], texts_logits(tmp_path, twin))
    assert (found.history.losses, found.history.evaluated, found.history.best) == ([], [0], 0)
    assert found.padding_share is None


@pytest.mark.parametrize("classes", [2, 4])
def test_other_classes_than_the_tasks_are_refused(tmp_path, classes):
    classifier(tmp_path / "m", "llama", classes, vocab_size=VOCABULARY)
    with pytest.raises(UserError, match=f"its trained head has {classes} outputs, and 3 are needed"):
        run(learner(tmp_path / "m"))


def supervised(folder, **labels):
    """The tiny experiment under a classifier that somebody else trained."""
    plan = make.experiment(folder, methods={"naive": Method()})
    twin = classifier(folder / "ready", "bert", 2, vocab_size=VOCABULARY, **labels)
    ready = learner(folder / "ready", parameters="head", epochs=0)
    return dataclasses.replace(plan, supervisors={"ready": ready}), twin


def test_a_ready_made_classifier_supervises(tmp_path):
    plan, twin = supervised(tmp_path)
    assert len(make.run(plan).cells) == 1
    (stage,) = make.stages(plan, "supervisor")
    table = api.open_store(plan).read(stage.name).predictions
    for split in ("transfer", "test"):
        examples = getattr(stage.splits, split)
        logits = texts_logits(tmp_path / "ready", twin, examples.texts)
        expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        np.testing.assert_allclose(table.for_split(split, examples.ids), expected, atol=1e-5)


def test_before_anything_runs_its_classes_are_compared_with_the_tasks(tmp_path):
    plan, _ = supervised(tmp_path)
    classifier(tmp_path / "ready", "bert", 5, vocab_size=VOCABULARY)
    models.outline.cache_clear()
    (stage,) = make.stages(plan, "supervisor")
    with pytest.raises(UserError, match="its trained head has 5 outputs, and 2 are needed"):
        stage.check(None)


def test_classes_in_another_order_are_refused(tmp_path):
    names = {"id2label": {0: "yes", 1: "no"}, "label2id": {"yes": 0, "no": 1}}
    plan, _ = supervised(tmp_path, **names)
    (stage,) = make.stages(plan, "supervisor")
    said = "calls its classes 'yes', 'no', and the task 'No', 'Yes': the same in another order"
    with pytest.raises(UserError, match=said):
        stage.check(None)


def test_a_reward_model_scores_candidates(tmp_path):
    """As TRL saves one: a classifier of one class."""
    twin = classifier(tmp_path / "m", "llama", 1, vocab_size=VOCABULARY)
    pairs = [(f"the {text} good", f"a {text} bad plot") for text in TEXTS]
    labels = np.tile(np.float32([0.25, 0.75]), (len(pairs), 1))
    data = {"train": (pairs, labels), "validation": (pairs, labels), "predict": {"test": pairs}}
    start = models.load(str(tmp_path / "m"))
    student = learner(tmp_path / "m", parameters="head", epochs=0)
    found = finetune(student, start, losses.bind(losses.cross_entropy), seed=0, **data)
    flat = texts_logits(tmp_path / "m", twin, [text for pair in pairs for text in pair])
    np.testing.assert_allclose(found.logits["test"], flat.reshape(-1, 2), atol=1e-4)


@pytest.mark.slow
def test_what_was_trained_from_a_head_is_exported_with_it(tmp_path):
    plan = make.experiment(tmp_path, methods={"naive": Method()})
    classifier(tmp_path / "bert", "bert", 2, vocab_size=VOCABULARY)
    student = learner(tmp_path / "bert", optimizer=OptimizerConfig(learning_rate=1e-3))
    plan = dataclasses.replace(
        plan, students={"bert": student, "lora": dataclasses.replace(student, parameters="lora")}
    )
    found = make.run(plan)
    for cell in found.cells:
        stage = tmp_path / "runs" / "stages" / cell.stages["student"]
        out = tmp_path / "out" / cell.student
        assert cli.main(["export", str(stage), "--out", str(out), "--model", student.model]) == cli.OK
        twin = transformers.AutoModelForSequenceClassification.from_pretrained(out).eval()
        table = Store(stage.parent).read(stage.name).predictions
        test = make.stages(plan)[0].splits.test
        rows = [row for row, split in enumerate(table.splits) if split == "test"]
        np.testing.assert_allclose(texts_logits(out, twin, test.texts), table.logits[rows], atol=1e-4)
