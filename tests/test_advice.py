"""Judges with an advisor: what a model writes, how it is kept, and who reads it (Lang et al. 2501.13124)."""

import contextlib
import dataclasses
import json

import jax
import numpy as np
import pytest

from tests import tiny as make
from w2s_jax import models
from w2s_jax.config import Advised, Ensemble, Method
from w2s_jax.models import tokenizer
from w2s_jax.pipeline import estimate, experiment, inputs, materials, runner
from w2s_jax.runtime import files
from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.progress import Reporter
from w2s_jax.runtime.sharding import make_mesh
from w2s_jax.supervisors import advice
from w2s_jax.train import writing
from w2s_jax.train.learner import Learner
from w2s_jax.train.writing import Writer

PROMPTS = ["the film was good", "a plot", "very bad film not good the", "awful", "was"]
ANSWERS = ("No", "Yes")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(make.llama(tmp_path_factory.mktemp("advisor"), seed=3))


@pytest.fixture(scope="module")
def recomputed(model):
    """The logits after a row of ids, all of it read again."""
    module, params = models.build_language_model(models.load(model), rng=jax.random.key(0))
    run = jax.jit(lambda ids, length: module.apply({"params": params}, ids, length, method="last"))

    def after(ids):
        padded = np.zeros((1, 32), np.int32)
        padded[0, : len(ids)] = ids
        return np.asarray(run(padded, np.array([len(ids)], np.int32)))[0]

    return after


def greedy(after, ids, count, stop=()):
    written = []
    for _ in range(count):
        chosen = int(after([*ids, *written]).argmax())
        if chosen in stop:
            break
        written.append(chosen)
    return written


def test_what_is_written_with_a_cache_is_what_is_written_without(model, recomputed):
    words = models.outline(model)[1]
    expected = [greedy(recomputed, ids, 9) for ids in words.encode(PROMPTS)]
    assert len({tuple(each) for each in expected}) == len(PROMPTS)
    writer = Writer(Learner(model))
    assert writer(PROMPTS, tokens=9) == [words.decode(ids) for ids in expected]
    stop = expected[0][4]
    writer._stops = np.arange(15) == stop
    ended = [greedy(recomputed, ids, 9, {stop}) for ids in words.encode(PROMPTS)]
    assert ended != expected
    assert writer(PROMPTS, tokens=9) == [words.decode(ids) for ids in ended]


def test_on_a_mesh_the_same_is_written(model):
    assert Writer(Learner(model), make_mesh(data=2, fsdp=4))(PROMPTS, tokens=6) == Writer(Learner(model))(
        PROMPTS, tokens=6
    )


def test_samples_follow_the_softmax_and_depend_on_seed_and_prompt_alone(model, recomputed):
    writer, words = Writer(Learner(model)), models.outline(model)[1]
    logits = recomputed(words.encode(["a plot"])[0])
    expected = np.exp(logits / 2 - np.logaddexp.reduce(logits / 2))
    drawn = [writer(["a plot"], tokens=1, temperature=2.0, seed=seed)[0] for seed in range(300)]
    counts = np.bincount([words.encode([word])[0][0] for word in drawn], minlength=15)
    assert np.abs(counts / 300 - expected).sum() / 2 < 0.15
    assert np.abs(np.eye(15)[expected.argmax()] - expected).sum() / 2 > 0.3, "greedy would fail"
    together = writer(PROMPTS, tokens=6, temperature=1.0, seed=5)
    assert together == [writer([prompt], tokens=6, temperature=1.0, seed=5)[0] for prompt in PROMPTS]
    assert together != writer(PROMPTS, tokens=6, temperature=1.0, seed=6)


def test_a_line_ends_at_a_newline_a_special_token_or_an_id_without_text():
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

    inner = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1, "\n": 2, "b\n\n": 3, "c": 4}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.add_special_tokens([AddedToken("<end>", special=True)])
    inner.add_tokens([AddedToken("d", special=False)])
    found = writing.stops(tokenizer.TextTokenizer(inner, ""), 9)
    assert found.tolist() == [False, False, True, True, False, True, False, True, True]


@pytest.mark.parametrize(("too_long", "most"), [("error", 12), ("truncate", 6)])
def test_a_prompt_that_is_too_long(model, too_long, most):
    writer = Writer(Learner(model, max_tokens=most, too_long=too_long))
    if too_long == "error":
        with pytest.raises(UserError, match="longer than max_tokens=3"):
            writer(PROMPTS, tokens=9)
        return
    assert writer(["very bad film not good the"], tokens=3) == writer(["not good the"], tokens=3)
    with pytest.raises(UserError, match="6 tokens to write leave no room"):
        writer(PROMPTS, tokens=6)


def advised(model, **options):
    return Advised(Learner(model), Learner(model), **{"tokens": 4, **options})


def written(maker, texts, root):
    return advice.transcripts(maker, texts, ANSWERS, root, lambda *_: None)


def test_a_debate_argues_both_ways_and_a_hash_says_who_begins(model, tmp_path):
    texts = [f"{first} {second}" for first in make.WORDS for second in make.WORDS]
    said = written(advised(model, turns=2), texts, tmp_path)
    firsts = [said[text][0].answer for text in texts]
    assert all(
        [each.answer for each in said[text]] == [first, 1 - first] * 2
        for text, first in zip(texts, firsts, strict=True)
    )
    assert 0.4 < np.mean(firsts) < 0.6
    opening = texts[0] + f"\nThe answer is {ANSWERS[firsts[0]]} because"
    assert said[texts[0]][0].argument == Writer(Learner(model))([opening], tokens=4)[0]
    reply = f"{opening} {said[texts[0]][0].argument}\nThe answer is {ANSWERS[1 - firsts[0]]} because"
    assert said[texts[0]][1].argument == Writer(Learner(model))([reply], tokens=4)[0]
    shown = advice.with_transcripts(advised(model), texts[:1], said, ANSWERS)[0]
    assert shown.startswith(f"{reply} {said[texts[0]][1].argument}")


def test_a_consultant_is_right_half_of_the_time_whatever_is_true():
    """Its class is a function of the text; of the true statements of any task about half are defended."""
    from w2s_jax.data import tasks

    examples = tasks.load("cities")
    right = np.array([advice.consulted(each.text) == each.label for each in examples])
    labels = np.array([each.label for each in examples])
    for label in (0, 1):
        assert abs(right[labels == label].mean() - 0.5) < 4 * 0.5 / np.sqrt((labels == label).sum())


def test_transcripts_are_written_once_and_an_edited_file_is_refused(model, tmp_path, monkeypatch):
    monkeypatch.setattr(advice, "PART", 2)
    maker = advised(model, protocol="consultancy")
    first = written(maker, PROMPTS[:3], tmp_path)
    more = written(dataclasses.replace(maker, shuffled=True), PROMPTS, tmp_path)
    assert {text: more[text] for text in PROMPTS[:3]} == first
    lines = [json.loads(line) for file in tmp_path.glob("*/*.jsonl") for line in file.read_text().splitlines()]
    assert sorted(line["text"] for line in lines) == sorted(PROMPTS)

    def refuse(*_):
        raise AssertionError("nothing is missing")

    monkeypatch.setattr(advice, "Writer", refuse)
    other = Learner(model, parameters="probe", epochs=9)
    assert written(Advised(other, other, "consultancy", tokens=4), PROMPTS, tmp_path) == more
    with pytest.raises(AssertionError):
        written(dataclasses.replace(maker, seed=1), PROMPTS, tmp_path)
    file = next(tmp_path.glob("*/*.jsonl"))
    file.chmod(0o644)
    file.write_text(file.read_text()[:-10])
    with pytest.raises(UserError, match="truncated or edited"):
        written(maker, PROMPTS, tmp_path)


def test_shuffled_rows_read_each_others_transcripts(model, tmp_path):
    maker = advised(model, shuffled=True)
    said = written(maker, PROMPTS, tmp_path)
    own = advice.with_transcripts(dataclasses.replace(maker, shuffled=False), PROMPTS, said, ANSWERS)
    shown = advice.with_transcripts(maker, PROMPTS, said, ANSWERS)
    parts = [[row.removeprefix(text) for text, row in zip(PROMPTS, rows, strict=True)] for rows in (own, shown)]
    assert all(each.startswith("\nThe answer is") for each in parts[1])
    assert sorted(parts[0]) == sorted(parts[1])
    assert all(mine != theirs for mine, theirs in zip(*parts, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("parameters", ["probe", "full"])
def test_an_experiment_with_advised_judges(tmp_path, parameters):
    plan = make.experiment(tmp_path)
    judge = dataclasses.replace(plan.supervisors["weak"], parameters=parameters)
    advisor = plan.students["strong"]
    debate = Advised(judge, advisor, tokens=3)
    supervisors = {
        "alone": judge,
        "debate": debate,
        "consultancy": dataclasses.replace(debate, protocol="consultancy"),
        "shuffled": dataclasses.replace(debate, shuffled=True),
        "two debates": Ensemble((debate, dataclasses.replace(debate, seed=1, temperature=1.0))),
    }
    plan = dataclasses.replace(plan, supervisors=supervisors, methods={"naive": Method()})
    results, failures = runner.run(plan, Reporter(quiet=True))
    assert failures == []
    assert len(results.cells) == 5
    stages = {cell.supervisor: cell.stages for cell in experiment.cells(plan)}
    assert len({each["supervisor"].key for each in stages.values()}) == 5
    assert len({each["ceiling"].key for each in stages.values()}) == 1
    store = runner.open_store(plan)

    def read(stage):
        return store.read(stage.folder).predictions

    said = {name: read(each["supervisor"]).probs for name, each in stages.items()}
    assert all(not np.array_equal(said["alone"], other) for name, other in said.items() if name != "alone")
    assert not np.array_equal(said["debate"], said["shuffled"])
    member = read(stages["two debates"]["supervisor"].members[1]).probs
    np.testing.assert_allclose(said["two debates"], (said["debate"] + member) / 2, atol=1e-6)
    student = inputs.stage_inputs(stages["debate"]["student"], read)
    split = materials.splits(plan.tasks[0], 0).transfer
    assert student.train.split.texts == split.texts, "students read no transcript"
    np.testing.assert_array_equal(
        student.train.targets, read(stages["debate"]["supervisor"]).for_split("transfer", split.ids)
    )
    assert "by " in runner.describe(stages["shuffled"]["supervisor"])


def test_the_estimate_counts_what_is_written_once(tmp_path, monkeypatch):
    monkeypatch.setattr(estimate, "_speed", lambda: 1.0)
    plan = make.experiment(tmp_path)
    judge = dataclasses.replace(plan.supervisors["weak"], parameters="probe")
    maker = Advised(judge, plan.students["strong"], turns=2, tokens=3)

    def seconds(supervisors):
        changed = dataclasses.replace(plan, supervisors=supervisors, methods={"naive": Method()})
        stages = [stage for stage in experiment.stages(changed) if stage.role == "supervisor"]
        return estimate.estimate(stages, runner.open_store(plan)).seconds

    texts, model = materials.texts(plan.tasks[0]), maker.advisor.model
    length = np.mean([len(ids) for ids in models.outline(model)[1].encode(list(texts))])
    tokens = 4 * length + 3 * (1 + 2 + 3 + 4)  # each argument and all before it
    written = 2 * len(texts) * tokens * models.size(model, embeddings=True)
    twice = {"debate": maker, "shuffled": dataclasses.replace(maker, shuffled=True)}
    features = seconds({"alone": judge}) - estimate.PROBE_SECONDS
    features += 2 * len(texts) * 4 * 3 * models.size(judge.model, embeddings=False)  # of the transcripts
    assert seconds(twice) == pytest.approx(2 * (features + estimate.PROBE_SECONDS) + written)


def test_what_the_advisor_is_not_used_for_does_not_count(model):
    maker = advised(model)

    def key(maker):
        return files.canonical(materials.maker_identity(maker))

    assert key(maker) == key(dataclasses.replace(maker, advisor=Learner(model, epochs=9, parameters="lora")))
    for change in ({"turns": 2}, {"seed": 1}, {"shuffled": True}, {"protocol": "consultancy"}, {"temperature": 0.5}):
        assert key(maker) != key(dataclasses.replace(maker, **change))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"turns": 0}, "1 turn or more"),
        ({"temperature": -1.0}, "temperature of 0 or more"),
        ({"heading": "Why?"}, "must hold {answer}"),
    ],
)
def test_advice_that_makes_no_sense_is_refused(model, options, message):
    with pytest.raises(UserError, match=message):
        advised(model, **options)
    with pytest.raises(UserError, match="is an average"):
        Ensemble((advised(model),) * 2, "bagging")


def test_an_encoder_and_a_task_of_three_classes_are_refused_before_anything_is_made(model):
    with pytest.raises(UserError, match="two classes"):
        advice.check(advised(model), ["a"], ("A", "B", "C"))
    with pytest.raises(UserError, match="two classes"):
        advice.check(advised(model), [("a", "b")], ANSWERS)
    short = advised(model, turns=2, tokens=4)
    need = 1 + 4 * 5 + 4 * 4  # the text, four headings, and all that is written
    for most in (need, need - 1):
        less = dataclasses.replace(short, advisor=Learner(model, max_tokens=most))
        with contextlib.nullcontext() if most == need else pytest.raises(UserError, match="longer than max_tokens"):
            advice.check(less, ["good"], ANSWERS)


def test_an_advisor_that_writes_nothing_is_refused(model, tmp_path, monkeypatch):
    monkeypatch.setattr(Writer, "__call__", lambda _, prompts, **options: [""] * len(prompts))
    texts = [f"{first} {second}" for first in make.WORDS for second in make.WORDS]
    with pytest.raises(UserError, match="try another `heading`"):
        written(advised(model), texts, tmp_path)
    assert not list(tmp_path.glob("*/*.jsonl"))
