"""Classes as answers that a language model writes: what is learned, how it is decoded, and all a learner promises."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests import tiny as make
from tests.test_language_model import read_whole
from tests.tiny import untied
from w2s_jax import losses, models
from w2s_jax.config import Experiment, Method
from w2s_jax.data.task_config import TaskConfig
from w2s_jax.data.tokens import ragged
from w2s_jax.runtime.errors import Interrupted, UserError
from w2s_jax.runtime.sharding import make_mesh
from w2s_jax.students import Train
from w2s_jax.train import answering
from w2s_jax.train.answering import Answers
from w2s_jax.train.finetune import finetune, softmax
from w2s_jax.train.learner import Learner
from w2s_jax.train.loop import LoopSettings
from w2s_jax.train.optimizer import OptimizerConfig

TEXTS = ["good film", "a very bad plot", "the film was awful", "great", "not fine", "poor plot", "was good", "is bad"]
ONE = ("bad", "good")
FEW = ("very bad", "good", "not very good")
MANY = tuple(f"{first} {second}" for first in make.WORDS[:5] for second in make.WORDS[5:9])
FAST = OptimizerConfig(learning_rate=3e-2)
LOSS = losses.bind(losses.cross_entropy)


def learner(folder, **changes):
    fields = {"output": "text", "template": "{text} is", "batch_size": 4, "epochs": 3, "max_tokens": 24}
    fields |= {"optimizer": OptimizerConfig(learning_rate=1e-2), "loop": LoopSettings(evaluations=2)}
    return Learner(str(folder), **{**fields, **changes})


def labels(count, n_classes, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(n_classes), count).astype(np.float32)


def trained(student, names, texts=TEXTS, loss=LOSS, **options):
    targets = labels(len(texts), len(names))
    splits = {"train": (texts, targets), "validation": (texts[:4], targets[:4]), "predict": {"test": texts}}
    return finetune(student, models.load(student.model), loss, seed=0, answers=names, **splits, **options)


@pytest.fixture
def folder(tmp_path):
    return make.llama(tmp_path / "m")


def by_hand(folder, names):
    """Log-probabilities of answers after the texts, each read whole."""
    score, tokenizer = read_whole(folder), models.outline(str(folder))[1]
    found = []
    for text in TEXTS:
        asked = tokenizer.encode([f"{text} is"])[0]
        found.append([score(tokenizer.encode([f"{text} is {name}"])[0], len(asked)) for name in names])
    return np.array(found)


def table(folder, names, scheme, texts=TEXTS, width=12):
    student = learner(folder)
    spoken = answering.answers(student, names)
    module, params = models.build_language_model(models.load(student.model), rng=jax.random.key(0))
    tokens = answering.prompts(student, spoken, texts)
    padded = np.zeros((len(tokens), width), np.int32)
    for row in range(len(tokens)):
        padded[row, : tokens.lengths[row]] = tokens[row]
    run = functools.partial(module.apply, {"params": params})
    return np.asarray(jax.jit(lambda *rows: scheme(run, spoken, *rows))(padded, tokens.lengths.astype(np.int32)))


def test_few_answers_have_their_own_probabilities(folder):
    np.testing.assert_allclose(table(folder, FEW, answering.scored), by_hand(folder, FEW), atol=1e-4)


def test_greedy_decoding_takes_the_best_token_that_begins_an_answer(folder):
    """Compared with a search that reads every beginning anew; two words lead to each of 20 answers; one is longer."""
    names = (*MANY, "film plot the a")
    found, score, tokenizer = (
        table(folder, names, answering.decoded),
        read_whole(folder),
        models.outline(str(folder))[1],
    )
    spoken = answering.answers(learner(folder), names)
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1, atol=1e-5)
    for text, row in zip(TEXTS, found, strict=True):
        prompt, begun, total = tokenizer.encode([f"{text} is"])[0], (), 0.0
        while begun not in spoken.ids:
            open_ = sorted({ids[len(begun)] for ids in spoken.ids if ids[: len(begun)] == begun})
            values = [score([*prompt, *begun, token], len(prompt) + len(begun)) for token in open_]
            total += max(values) - float(jax.nn.logsumexp(np.array(values)))
            begun += (open_[int(np.argmax(values))],)
        assert row.argmax() == spoken.ids.index(begun)
        np.testing.assert_allclose(row.max(), max(total, np.log(2 / (len(names) + 1))), atol=1e-4)


def test_an_answer_that_begins_another_ends_with_a_newline(folder):
    """In bytes, as real tokenizers have it; where newlines have no token, it is one line."""
    from tokenizers import Tokenizer, pre_tokenizers
    from tokenizers.models import BPE

    with pytest.raises(UserError, match="'good' and 'good film' cannot be told apart"):
        answering.answers(learner(folder), ("bad", "good", "good film"))
    alphabet = {letter: index for index, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    inner = Tokenizer(BPE(vocab=alphabet, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.save(str(folder / "tokenizer.json"))
    models.outline.cache_clear()
    newline = inner.encode("\n").ids
    promotions = answering.answers(learner(folder), ("a7a8", "a7a8q"))
    assert promotions.ids == tuple(tuple(inner.encode(f" {name}").ids + newline) for name in ("a7a8", "a7a8q"))
    assert answering.answers(learner(folder), ("a", "b")).longest == 2
    models.outline.cache_clear()


def test_loss_of_several_tokens_is_their_mean_over_the_batch():
    """By hand, over ragged answers and padding; and with it any loss of single examples."""
    rng, spoken = np.random.default_rng(0), Answers(((1, 2, 3), (4, 5)))
    targets = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]], np.float32)
    tokens, wanted = answering.lessons(ragged([[7, 7], [8], [9, 9, 9]]), spoken, targets)
    assert [list(tokens[row]) for row in range(3)] == [[7, 7, 1, 2], [8, 4], [9, 9, 9, 4]]
    np.testing.assert_array_equal(wanted, [[1, 2, 3], [-1, 4, 5], [-1, 4, 5]])
    logits, where = rng.normal(size=(3, 3, 11)).astype(np.float32), np.array([True, True, False])
    for name in ("cross_entropy", "label_smoothing"):
        loss = answering.by_token(losses.bind(losses.get(name)), spoken)
        values = loss(jnp.array(logits), jnp.array(wanted), step=0, total_steps=1, where=jnp.array(where))
        pairs = [(0, 0, 1), (0, 1, 2), (0, 2, 3), (1, 1, 4), (1, 2, 5)]
        rows, ids = jnp.array([logits[b, a] for b, a, _ in pairs]), jnp.array([token for *_, token in pairs])
        plain = losses.bind(losses.get(name))
        each = plain(rows, jax.nn.one_hot(ids, 11), step=0, total_steps=1, where=jnp.ones(5, bool))
        np.testing.assert_allclose(values.sum() / where.sum(), each.mean(), rtol=1e-5)
        if name == "cross_entropy":
            expected = optax.softmax_cross_entropy_with_integer_labels(rows, ids).mean()
            np.testing.assert_allclose(each.mean(), expected, rtol=1e-5)


def test_one_token_answers_learn_soft_labels_among_themselves(folder):
    """The first step's loss is the cross entropy of the soft labels with the answers' two logits."""
    outcome = trained(learner(folder, batch_size=8, epochs=20), ONE)
    targets, before = labels(8, 2), jax.nn.log_softmax(by_hand(folder, ONE))
    np.testing.assert_allclose(outcome.history.losses[0], -(targets * before).sum(axis=1).mean(), atol=1e-4)
    errors = [np.abs(softmax(values) - targets).mean() for values in (by_hand(folder, ONE), outcome.logits["test"])]
    assert errors[1] < 0.5 * errors[0]


@pytest.mark.parametrize(("parameters", "names"), [("full", FEW), ("lora", MANY)])
def test_answers_are_learned(tmp_path, names, parameters):
    """Under an untied head. No constant answer is right for more than half of the texts."""
    many = learner(untied(tmp_path / "m"), epochs=100, parameters=parameters, optimizer=FAST)
    right = labels(8, len(names)).argmax(axis=1)
    assert np.bincount(right).max() <= 4
    found = trained(many, names)
    assert np.mean(found.logits["test"].argmax(axis=1) == right) >= 0.875
    assert ("unembed" in found.params) == (parameters == "full"), "a whole language model trains its head too"


def test_padding_and_microbatches_change_no_answer(folder):
    """Examples of one batch or of several, with shorter ones or alone."""
    whole = trained(learner(folder, batch_size=8), FEW)
    pieces = trained(learner(folder, batch_size=8, microbatches=4), FEW)
    np.testing.assert_allclose(whole.history.losses[0], pieces.history.losses[0], atol=1e-6)
    # Adam's first steps are as long for gradients that are mere rounding as for large ones.
    np.testing.assert_allclose(whole.history.losses, pieces.history.losses, rtol=3e-5)
    np.testing.assert_allclose(whole.logits["test"], pieces.logits["test"], atol=1e-3)
    for names, scheme in ((FEW, answering.scored), (MANY, answering.decoded)):
        together = table(folder, names, scheme)
        for row in (0, 7):
            alone = table(folder, names, scheme, TEXTS[row : row + 1], width=5)
            np.testing.assert_allclose(alone[0], together[row], atol=1e-4)


@pytest.mark.slow
def test_on_a_mesh_it_learns_and_answers_the_same(folder):
    student = learner(folder, batch_size=8, epochs=2)
    whole, cut = trained(student, MANY), trained(student, MANY, mesh=make_mesh(data=2, fsdp=2, tensor=2))
    np.testing.assert_allclose(cut.history.losses, whole.history.losses, atol=1e-4)
    np.testing.assert_allclose(cut.logits["test"], whole.logits["test"], atol=1e-2)


def test_killed_and_started_again_it_ends_with_the_same_bits(folder, tmp_path):
    student = learner(folder, loop=LoopSettings(evaluations=2, checkpoint_seconds=0))

    def kill(step, total, loss):
        if step == 4:
            raise Interrupted("killed")

    with pytest.raises(Interrupted):
        trained(student, MANY, folder=tmp_path / "half", progress=kill)
    again, whole = trained(student, MANY, folder=tmp_path / "half"), trained(student, MANY)
    np.testing.assert_array_equal(again.logits["test"], whole.logits["test"])
    assert again.history.losses == whole.history.losses


def test_a_long_prompt_is_refused_or_loses_its_beginning(folder):
    spoken = answering.answers(learner(folder), FEW)
    with pytest.raises(UserError, match="longer than max_tokens=5"):
        answering.prompts(learner(folder, max_tokens=8), spoken, ["a a a a a a"])
    (ids,) = models.outline(str(folder))[1].encode(["very bad film is"])
    cut = answering.prompts(learner(folder, max_tokens=7, too_long="truncate"), spoken, ["the very bad film"])
    assert list(cut[0]) == ids
    with pytest.raises(UserError, match="no room for a prompt"):
        answering.prompts(learner(folder, max_tokens=3), spoken, ["a"])
    with pytest.raises(UserError, match="comparison"):
        answering.prompts(learner(folder), spoken, [("a", "b")])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"parameters": "probe"}, "no head that could train"),
        ({"parameters": "head"}, "no head that could train"),
        ({"read_layer": 1}, "no read_layer, no pooling"),
        ({"pooling": "mean"}, "no read_layer, no pooling"),
        ({"template": "Well?"}, "must hold"),
    ],
)
def test_what_has_no_meaning_for_text_is_one_line(folder, changes, says):
    with pytest.raises(UserError, match=says):
        learner(folder, **changes)


TASK = """
from w2s_jax.data import sources, tasks
named = tasks.Task("named", "reviews", sources.Local({path!r}), tasks.labelled_text, answers={names!r})
"""


def plan(tmp_path, names, **changes) -> Experiment:
    """The tiny experiment with answers in words, from all of its learners."""
    tiny = make.experiment(tmp_path, **changes)
    path = tmp_path / f"{tiny.name}.py"
    path.write_text(TASK.format(path=tiny.tasks[0].name, names=names))
    how = {"output": "text", "template": "{text} is"}
    return dataclasses.replace(
        tiny,
        tasks=(TaskConfig(f"{path}:named", supervisor=32, transfer=32, validation=16, test=40),),
        supervisors={name: dataclasses.replace(each, **how) for name, each in tiny.supervisors.items()},
        students={name: dataclasses.replace(each, **how) for name, each in tiny.students.items()},
    )


@pytest.mark.slow
def test_a_whole_experiment(tmp_path):
    """Label tokens with the confidence loss and a probe of what was finetuned; answers of two words, and a chain."""
    confidence = Train("confidence")
    methods = {"confidence": Method(confidence), "probe": Method(confidence, readout="truth_probe")}
    assert len(make.run(plan(tmp_path, ("bad", "good"), methods=methods)).cells) == 2
    two = plan(tmp_path, ("very bad", "very good"), methods={"chain": Method(through=("strong",))}, name="two")
    with pytest.raises(UserError, match="'confidence' compares the examples"):
        make.attempt(dataclasses.replace(two, methods=methods))
    make.run(two)
    stage = make.students(two)[0]
    assert stage.identity["asking"] is not None
    assert (stage.answers, stage.templates) == (stage.task.answers, stage.task.definition.templates)
    assert make.students(make.experiment(tmp_path))[0].identity["asking"] is None
