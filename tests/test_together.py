"""Jobs that train together get what each gets alone: any learner, loss, rate and length, on one device and on many."""

import dataclasses
import re

import jax
import numpy as np
import pytest

from tests import family_models
from tests import tiny as make
from tests.test_preference import DPO, REPLIES, SIMPO
from tests.tiny import untied
from w2s_jax import losses, models
from w2s_jax.runtime import checkpoint, sharding
from w2s_jax.runtime.errors import Interrupted, UserError
from w2s_jax.train import generative, outputs, prepare, step
from w2s_jax.train import together as together_
from w2s_jax.train.finetune import Problem, finetune, finetune_together
from w2s_jax.train.learner import Generative, Learner
from w2s_jax.train.loop import LoopSettings
from w2s_jax.train.optimizer import OptimizerConfig

TOLERANCE = {"rtol": 2e-3, "atol": 3e-4}
TEXTS = ["good film", "a very bad plot", "the film was awful", "great", "not fine", "poor plot", "was good", "is bad"]
LONG = [f"{text} was the film not a very good plot" for text in TEXTS]
RATES = (1e-2, 3e-3, 2e-2)
SEEDS = (0, 3, 4)
LOSSES = (
    losses.bind(losses.cross_entropy),
    losses.bind(losses.confidence, warmup_fraction=0.5),
    losses.bind(losses.cross_entropy),
)
FIELDS = {"batch_size": 4, "epochs": 3, "max_tokens": 24, "loop": LoopSettings(evaluations=3)}
WRITES = {"output": "text", "template": "{text} is"}


def learners(folder, **changes):
    """Three that differ in their rates alone."""
    rates = (OptimizerConfig(learning_rate=rate, weight_decay=rate) for rate in RATES)
    return [Learner(str(folder), **{**FIELDS, "optimizer": rate, **changes}) for rate in rates]


def problems(texts, count=8):
    """As many examples to train on, of other lengths and other numbers of examples to label."""
    found = []
    for place, seed in enumerate(SEEDS):
        labels = np.random.default_rng(seed).dirichlet(np.ones(2), count).astype(np.float32)
        mine = texts[place % len(texts)]
        predict = {"test": mine[: 3 + place], **({"transfer": mine[:2]} if place == 1 else {})}
        found.append(Problem((mine, labels), (mine[: 4 + place], labels[: 4 + place]), predict, seed))
    return found


def both(students, given, mesh, answers=("bad", "good"), **options):
    """(together, alone), three outcomes each."""
    jobs = sharding.job_mesh(mesh, 3)
    starts = [lambda: models.load_sharded(students[0].model, jobs, base=students[0].lora_base)]
    together = finetune_together(students, starts, LOSSES, given, mesh=jobs, answers=answers, **options)
    alone = [
        finetune(
            student,
            models.load_sharded(student.model, None, base=student.lora_base),
            loss,
            answers=answers,
            **problem._asdict(),
        )
        for student, loss, problem in zip(students, LOSSES, given, strict=True)
    ]
    return together, alone


def assert_same(together, alone):
    for ours, theirs in zip(together, alone, strict=True):
        assert not isinstance(ours, UserError), ours
        assert ours.logits.keys() == theirs.logits.keys()
        for name in theirs.logits:
            np.testing.assert_allclose(ours.logits[name], theirs.logits[name], **TOLERANCE)
        np.testing.assert_allclose(ours.history.losses, theirs.history.losses, **TOLERANCE)
        np.testing.assert_allclose(ours.history.probs, theirs.history.probs, **TOLERANCE)
        assert ours.history.evaluated == theirs.history.evaluated
        assert ours.history.best == theirs.history.best
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **TOLERANCE), ours.params, dict(theirs.params))


KINDS = {
    "full": {},
    "lora": {"parameters": "lora", "lora_rank": 2},
    "head": {"parameters": "head"},
    "microbatches": {"microbatches": 2},
    "remat": {"remat": "dots", "loop": LoopSettings(evaluations=3, select="loss")},
    "final": {"loop": LoopSettings(evaluations=2, select="final")},
    "adafactor": {"optimizer": OptimizerConfig("adafactor", learning_rate=1e-2)},
    "int8": {"parameters": "lora", "lora_base": "int8"},
}


@pytest.fixture
def batched(monkeypatch):
    """Jobs of one device are computed at the same time, as on GPUs."""
    prepare.compiled_steps.cache_clear()
    monkeypatch.setattr(together_, "BATCHED", ("cpu",))
    yield
    prepare.compiled_steps.cache_clear()


@pytest.mark.parametrize("kind", ["full", *make.slow(*(kind for kind in KINDS if kind != "full"))])
@pytest.mark.slow
def test_one_after_another(tmp_path, kind):
    students = learners(make.llama(tmp_path / "m"), **KINDS[kind])
    assert_same(*both(students, problems([TEXTS, LONG]), None))


@pytest.mark.parametrize("kind", ["lora", *make.slow(*(kind for kind in KINDS if kind != "lora"))])
def test_at_the_same_time(tmp_path, batched, kind):
    students = learners(make.llama(tmp_path / "m"), **KINDS[kind])
    assert_same(*both(students, problems([TEXTS, LONG]), None))


@pytest.mark.parametrize("sizes", [(8, 1, 1), *make.slow((4, 2, 1), (4, 1, 2))], ids=str)
@pytest.mark.parametrize("kind", ["lora", *make.slow("full", "microbatches", "int8")])
@pytest.mark.slow
def test_on_a_mesh(tmp_path, batched, kind, sizes):
    students = learners(make.llama(tmp_path / "m"), **{"batch_size": 8, **KINDS[kind]})
    assert_same(*both(students, problems([TEXTS, LONG]), sharding.make_mesh(*sizes)))


@pytest.mark.parametrize(
    "answers", [*make.slow(("bad", "good")), ("very bad", "not very good")], ids=["one token", "more"]
)
@pytest.mark.slow
def test_written_answers(tmp_path, answers):
    students = learners(make.llama(tmp_path / "m"), **WRITES)
    assert_same(*both(students, problems([TEXTS, LONG]), None, answers))


@pytest.mark.parametrize("preference", make.slow(DPO, SIMPO), ids=str)
def test_preferences(tmp_path, preference):
    students = learners(untied(tmp_path / "m"), preference=preference, batch_size=8)
    assert_same(*both(students, problems([REPLIES]), None))


@pytest.mark.slow
def test_random_numbers_are_each_jobs_own(tmp_path):
    pytest.importorskip("torch")
    model = family_models.saved(tmp_path / "m", family_models.twin("gpt2"))
    make.tokenizer(tmp_path / "m" / "tokenizer.json")
    students = learners(model, dropout=0.3)
    together, alone = both(students, problems([TEXTS]), None)
    assert_same(together, alone)
    assert not np.allclose(together[0].history.losses, together[1].history.losses)


@pytest.mark.slow
def test_one_that_runs_out_of_patience_keeps_its_best_and_the_others_go_on(tmp_path):
    patient = {"epochs": 6, "loop": LoopSettings(evaluations=6, patience=1, select="loss")}
    students = learners(make.llama(tmp_path / "m"), **patient)
    students[2] = dataclasses.replace(students[2], optimizer=OptimizerConfig(learning_rate=2.0, weight_decay=1e-2))
    together, alone = both(students, problems([TEXTS]), None)
    assert len({len(each.history.scores) for each in alone}) > 1, "they stop at different times"
    for ours, theirs in zip(together[:2], alone[:2], strict=True):  # a rate of 2 makes noise of rounding
        assert_same([ours], [theirs])
    assert len(together[2].history.scores) == len(alone[2].history.scores)


@pytest.mark.slow
def test_one_whose_loss_is_not_finite_fails_alone(tmp_path):
    students, given = learners(make.llama(tmp_path / "m")), problems([TEXTS])
    labels = given[1].train[1].copy()
    labels[3] = np.nan
    given[1] = given[1]._replace(train=(given[1].train[0], labels))
    starts = [lambda: models.load_sharded(students[0].model, None)]
    found = finetune_together(students, starts, LOSSES, given)
    assert isinstance(found[1], UserError)
    assert re.match("the loss is not finite at step [12] ", str(found[1]))
    alone = [
        finetune(students[place], models.load(students[place].model), LOSSES[place], **given[place]._asdict())
        for place in (0, 2)
    ]
    assert_same([found[0], found[2]], alone)


@pytest.mark.slow
def test_they_may_start_from_different_parameters(tmp_path):
    students, given = learners(make.llama(tmp_path / "m0"), parameters="lora"), problems([TEXTS])
    folders = [make.llama(tmp_path / f"m{seed}", seed=seed) for seed in range(3)]
    starts = [lambda folder=folder: models.load_sharded(str(folder), None) for folder in folders]
    found = finetune_together(students, starts, LOSSES, given)
    alone = [
        finetune(student, models.load(str(folder)), loss, **problem._asdict())
        for student, folder, loss, problem in zip(students, folders, LOSSES, given, strict=True)
    ]
    assert_same(found, alone)


@pytest.mark.parametrize("parameters", ["full", *make.slow("lora")])
@pytest.mark.slow
def test_generative_finetuning(tmp_path, parameters):
    settings = Generative(epochs=2, learning_rate=3e-3, batch_size=4)
    (student, *_) = learners(untied(tmp_path / "m"), parameters=parameters, generative=settings)
    texts = [TEXTS, LONG, TEXTS[::-1]]
    found = generative.adapt_together(student, lambda: models.load_sharded(student.model, None), texts, seeds=SEEDS)
    for ours, mine, seed in zip(found, texts, SEEDS, strict=True):
        theirs = generative.adapt(student, models.load(student.model), mine, seed=seed)
        np.testing.assert_allclose(ours.losses, theirs.losses, **TOLERANCE)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **TOLERANCE), ours.params, theirs.params)


@pytest.mark.parametrize("select", ["loss", "final"])
@pytest.mark.parametrize("mesh", [None, *make.slow((8, 1, 1))], ids=str)
@pytest.mark.slow
def test_killed_together_they_end_with_the_same_bits(tmp_path, select, mesh):
    settings = {"loop": LoopSettings(evaluations=3, select=select, patience=2, checkpoint_seconds=0)}
    students = learners(make.llama(tmp_path / "m"), parameters="lora", **settings)
    jobs = sharding.job_mesh(None if mesh is None else sharding.make_mesh(*mesh), 3)

    def run(**options):
        starts = [lambda: models.load_sharded(students[0].model, jobs)]
        return finetune_together(students, starts, LOSSES, problems([TEXTS, LONG]), mesh=jobs, **options)

    def stop(step, total, losses):
        if step == 4:
            raise Interrupted("killed")

    expected = run()
    with pytest.raises(Interrupted):
        run(folder=tmp_path / "p", progress=stop)
    assert checkpoint.exists(tmp_path / "p")
    steps = []
    for ours, theirs in zip(
        run(folder=tmp_path / "p", progress=lambda at, *_: steps.append(at)), expected, strict=True
    ):
        jax.tree.map(np.testing.assert_array_equal, ours, theirs)
    assert steps[0] == 4


def test_no_device_sends_anything_to_another_jobs_device(tmp_path):
    students = learners(make.llama(tmp_path / "m"), parameters="lora")
    eight, mesh = [students[0]] * 8, sharding.job_mesh(sharding.make_mesh(8), 8)
    prepared = prepare.from_pretrained(
        eight,
        outputs.HeadOutput(),
        [lambda: models.load_sharded(students[0].model, mesh)],
        LOSSES[:2] * 4,
        n_classes=2,
        candidates=1,
        total_steps=9,
        seeds=range(8),
        mesh=mesh,
    )
    tokens, lengths = np.ones((8, 4, 8), np.int32), np.full((8, 4), 6, np.int32)
    targets, where, which = np.ones((8, 4, 2), np.float32), np.ones((8, 4), bool), np.zeros(8, np.int32)
    batch = sharding.place((tokens, lengths, targets, where, which), sharding.replicated(mesh))
    program = step.trace(prepared.step, prepared.state, prepared.frozen, batch[0], lengths, *batch[2:])
    text = program.lower().compile().as_text()
    assert " fusion(" in text
    assert re.findall(r"(all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)", text) == []


@pytest.mark.slow
def test_mixtures_of_experts_at_the_same_time(tmp_path, batched):
    pytest.importorskip("torch")
    students = learners(family_models.saved(tmp_path / "m", family_models.twin("qwen3_moe")), parameters="lora")
    assert_same(*both(students, problems([TEXTS]), None))
