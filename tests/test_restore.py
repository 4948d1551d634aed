"""What a stage trained is what the next one starts from, whatever its model gives for an example."""

import dataclasses

import jax
import numpy as np
import pytest

from tests import tiny as make
from tests.test_answering import plan as text_plan
from tests.test_language_model import TEXTS
from tests.tiny import untied
from w2s_jax import api, losses, models
from w2s_jax.config import Method
from w2s_jax.models import params as parameter_sets
from w2s_jax.models.layers import Lora
from w2s_jax.models.preference import Preference
from w2s_jax.runtime import checkpoint, sharding
from w2s_jax.train import generative
from w2s_jax.train.finetune import finetune
from w2s_jax.train.learner import Generative, Learner
from w2s_jax.train.memory import advice_for
from w2s_jax.train.optimizer import OptimizerConfig
from w2s_jax.train.restore import restore

LABELS = np.random.default_rng(0).dirichlet(np.ones(2), len(TEXTS)).astype(np.float32)
DPO = Preference("dpo", 0.1)
PAIRS = [(f"the {text} good", f"the {text} bad") for text in TEXTS]


def learner(folder, **changes):
    fields = {"batch_size": 8, "epochs": 1, "template": "{text} is", "optimizer": OptimizerConfig(learning_rate=1e-2)}
    fields["generative"] = Generative(batch_size=8, learning_rate=1e-2)
    return Learner(str(folder), **{**fields, **changes})


def adapted(student):
    return generative.adapt(student, models.load(student.model), TEXTS, seed=0).params


def trained(student, start):
    texts = TEXTS if student.preference is None else PAIRS
    labelled, loss = (texts, LABELS), losses.bind(losses.cross_entropy)
    data = {"train": labelled, "validation": labelled, "predict": {"test": texts}}
    return finetune(student, start, loss, seed=0, answers=("bad", "good"), **data)


def reader(folder, params):
    """Of a checkpoint of these parameters, as a stage's folder holds one."""
    checkpoint.save(folder, {"params": params}, {})
    return lambda shardings: checkpoint.load_sharded(folder, "params", shardings)


def never():
    raise AssertionError("nothing else is needed")


def assert_same(tree, other):
    jax.tree.map(np.testing.assert_array_equal, dict(tree), dict(other))


@pytest.mark.parametrize("ways", [None, (2, 2, 2)])
def test_an_untied_head_that_generative_finetuning_trained_is_where_a_text_student_starts(tmp_path, ways):
    student = learner(untied(tmp_path / "m"), output="text")
    params, mesh = adapted(student), ways and sharding.make_mesh(*ways)
    assert np.abs(params["unembed"]["embedding"] - models.unembedding(student.model)).max() > 1e-3
    found = restore(student, reader(tmp_path / "saved", params), never, mesh, adapted=True)
    assert_same(found.params, params["backbone"])
    np.testing.assert_array_equal(found.unembedding, params["unembed"]["embedding"])
    _, whole = models.build_language_model(found, rng=jax.random.key(0), mesh=mesh)
    np.testing.assert_array_equal(whole["unembed"]["embedding"], params["unembed"]["embedding"])
    if mesh is None:
        old = trained(student, dataclasses.replace(found, params=jax.device_get(found.params), unembedding=None))
        assert abs(trained(student, found).history.losses[0] - old.history.losses[0]) > 1e-4


@pytest.mark.slow
def test_the_head_stays_as_it_was_for_a_preference_for_adapters_and_where_it_is_tied(tmp_path):
    folder = untied(tmp_path / "m")
    for student in (
        learner(folder, preference=DPO),
        learner(folder, parameters="lora"),
        learner(make.llama(tmp_path / "tied"), output="text"),
    ):
        params = adapted(student)
        assert params.keys() == {"backbone"}
        saved = reader(tmp_path / "saved", params)
        assert restore(student, saved, never, adapted=True).unembedding is None


@pytest.mark.parametrize("changes", [{"output": "text"}, {"preference": DPO}, {}, {"read_layer": 1}], ids=str)
def test_a_finetuned_backbone_is_read_back_whatever_the_model_gives(tmp_path, changes):
    """On an untied model, of which a language model has one parameter more."""
    student = learner(untied(tmp_path / "m"), **changes)
    params = trained(student, models.load(student.model, read_layer=student.read_layer)).params
    found = restore(student, reader(tmp_path / "saved", params), never)
    assert_same(found.params, params["backbone"])
    assert found.config.n_layers == (student.read_layer or 2)
    assert (found.unembedding is not None) == ("unembed" in params)


@pytest.mark.parametrize("output", ["head", "text"])
def test_adapters_are_merged_into_what_they_were_trained_on(tmp_path, output):
    student = learner(untied(tmp_path / "m"), parameters="lora", output=output)
    body = adapted(dataclasses.replace(student, parameters="full"))

    def start():
        return restore(student, reader(tmp_path / "body", body), never, adapted=True)

    params = trained(student, start()).params
    found = restore(student, reader(tmp_path / "saved", params), start)
    whole = parameter_sets.combine(body["backbone"], params["backbone"])
    merged = parameter_sets.merge_lora(whole, Lora(student.lora_rank).scale)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found.params, merged)
    np.testing.assert_array_equal(found.unembedding, body["unembed"]["embedding"])


def test_a_new_head_on_a_frozen_backbone_leaves_the_backbone(tmp_path):
    student = learner(untied(tmp_path / "m"), parameters="head")
    start = models.load(student.model)
    saved = reader(tmp_path / "saved", trained(student, start).params)
    assert restore(student, saved, lambda: start) is start


@pytest.mark.slow
def test_text_students_that_begin_with_generative_finetuning_and_are_probed(tmp_path):
    plan = text_plan(tmp_path, ("bad", "good"), methods={"naive": Method(), "probe": Method(readout="truth_probe")})
    untied(tmp_path / "strong")
    adapting = Generative(batch_size=8, learning_rate=1e-2)
    strong = dataclasses.replace(plan.students["strong"], generative=adapting)
    plan = dataclasses.replace(plan, students={"strong": strong})
    assert len(make.run(plan).cells) == 2
    (body,) = make.stages(plan, "adapted")
    table = api.open_store(plan).params(body.name)["unembed"]["embedding"]
    assert np.abs(table - models.unembedding(strong.model)).max() > 1e-3


def test_out_of_memory_says_what_helps():
    error = jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 123 bytes.")
    for each in (error, MemoryError()):
        advice = advice_for(each)
        for name in ("microbatches", "remat", "dtype", "batch_size", "max_tokens", "mesh.fsdp"):
            assert name in advice
    outer = RuntimeError("a stage failed")
    outer.__cause__ = error
    assert advice_for(outer) is not None
    assert advice_for(ValueError("shapes differ")) is None
