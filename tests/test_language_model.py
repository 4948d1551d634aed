"""The language-model path: logits and scores against PyTorch, prompting, and finetuning on text alone."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from tests import tiny as make
from tests.tiny import untied
from w2s_jax import models
from w2s_jax.models import params as parameter_sets
from w2s_jax.models.layers import Lora
from w2s_jax.runtime.errors import UserError
from w2s_jax.train import generative, prompting
from w2s_jax.train.learner import Generative, Learner

TOKENS = np.array([[3, 1, 4, 1, 5, 9], [2, 6, 5, 0, 0, 0]], np.int32)
LENGTHS = np.array([6, 3], np.int32)


def language_model(folder, **options):
    module, params = models.build_language_model(models.load(str(folder)), rng=jax.random.key(0), **options)
    return module, params


@pytest.mark.parametrize("kind", ["tied", "untied"])
def test_logits_are_those_of_transformers(tmp_path, kind):
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM

    folder = make.llama(tmp_path / "m") if kind == "tied" else untied(tmp_path / "m")
    module, params = language_model(folder)
    assert ("unembed" in params) == (kind == "untied")
    ours = make.applied(module)({"params": params}, TOKENS, LENGTHS)
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        logits = theirs(torch.tensor(TOKENS, dtype=torch.long)).logits.numpy()
    np.testing.assert_allclose(ours[0], logits[0], atol=1e-4)
    np.testing.assert_allclose(ours[1, :3], logits[1, :3], atol=1e-4)
    last = make.applied(module)({"params": params}, TOKENS, LENGTHS, method="last")
    np.testing.assert_allclose(last, [logits[0, 5], logits[1, 2]], atol=1e-4)


def test_scores_are_sums_of_log_softmax(tmp_path):
    module, params = language_model(make.llama(tmp_path / "m"))
    log_probs = jax.nn.log_softmax(make.applied(module)({"params": params}, TOKENS, LENGTHS))
    for start in ((0, 0), (2, 1), (5, 3)):
        found = make.applied(module)({"params": params}, TOKENS, LENGTHS, np.array(start, np.int32), method="score")
        for row in range(2):
            places = [t for t in range(1, LENGTHS[row]) if t >= start[row]]
            expected = sum(float(log_probs[row, t - 1, TOKENS[row, t]]) for t in places)
            np.testing.assert_allclose(found[row], [expected, len(places)], atol=1e-4)


def test_scores_do_not_depend_on_chunks(tmp_path, monkeypatch):
    module, params = language_model(make.llama(tmp_path / "m"))
    arguments = ({"params": params}, TOKENS, LENGTHS, np.zeros(2, np.int32))
    whole, pieces = (jax.jit(functools.partial(module.apply, method="score")) for _ in range(2))
    expected = whole(*arguments)
    monkeypatch.setattr("w2s_jax.models.language_model.CHUNK", 3)
    np.testing.assert_allclose(pieces(*arguments), expected, atol=1e-5)


@functools.cache
def asking(student):
    """The model that is asked."""
    return prompting.Asking(student, models.load_sharded(student.model, None))


def prompt_logits(student, texts, shots, answers, **options):
    return asking(student).logits(texts, shots, answers, **options)


def learner(folder, **changes):
    return Learner(str(make.llama(folder)), **{"batch_size": 8, **changes})


TEXTS = ["good film", "a very bad plot", "the film was awful", "great", "not fine", "poor plot", "was good", "is bad"]


def test_prompts_of_one_token_and_of_any_give_the_same(tmp_path, monkeypatch):
    """The two ways of scoring an answer, and the sum of log-probabilities by hand."""
    student = learner(tmp_path / "m")
    fast = prompt_logits(student, TEXTS, [], (" bad", " good"), template="{text} is")
    module, params = language_model(tmp_path / "m")
    tokenizer = models.outline(student.model)[1]
    for text, row in zip(TEXTS, fast, strict=True):
        ids = np.array(tokenizer.encode([text + " is"]), np.int32)
        last = make.applied(module)({"params": params}, ids, np.array([ids.shape[1]]), method="last")
        log_probs = jax.nn.log_softmax(last)
        answers = [tokenizer.encode([word])[0][0] for word in ("bad", "good")]
        np.testing.assert_allclose(row, log_probs[0, answers], atol=1e-4)
    two = prompt_logits(student, TEXTS, [], (" bad film", " good film"), template="{text} is")
    for text, row in zip(TEXTS, two, strict=True):
        for answer, score in zip((" bad film", " good film"), row, strict=True):
            ids = np.array(tokenizer.encode([text + " is" + answer]), np.int32)
            start = ids.shape[1] - 2
            arguments = {"params": params}, ids, np.array([ids.shape[1]]), np.array([start])
            found = make.applied(module)(*arguments, method="score")
            np.testing.assert_allclose(score, found[0, 0], atol=1e-4)


def test_shots_come_before_the_text_and_calibration_takes_the_bias_away(tmp_path):
    student = learner(tmp_path / "m")
    plain = prompt_logits(student, TEXTS, [], (" bad", " good"), template="{text} is")
    shown = prompt_logits(student, TEXTS, [("great film", 1)], (" bad", " good"), template="{text} is")
    assert np.abs(plain - shown).max() > 1e-3
    first = TEXTS[0]
    by_hand = prompt_logits(student, ["great film is good\n\n" + first], [], (" bad", " good"), template="{text} is")
    np.testing.assert_allclose(shown[0], by_hand[0], atol=1e-5)
    calibrated = prompt_logits(student, TEXTS, [], (" bad", " good"), template="{text} is", calibrate=True)
    mean = scipy.special.softmax(plain, axis=1).mean(axis=0)
    np.testing.assert_allclose(calibrated, plain - np.log(mean), atol=1e-5)


def test_a_prompt_that_is_too_long_is_refused_or_loses_its_beginning(tmp_path):
    shots = [("good film", 1)] * 30
    with pytest.raises(UserError, match="show fewer examples"):
        prompt_logits(learner(tmp_path / "m"), TEXTS, shots, (" bad", " good"), template="{text} is")
    cut = learner(tmp_path / "m", too_long="truncate", max_tokens=4)
    short = prompt_logits(cut, ["a a a a a a the film was bad"], [], (" bad", " good"), template="{text} is")
    same = prompt_logits(cut, ["film was bad"], [], (" bad", " good"), template="{text} is")
    np.testing.assert_allclose(short, same, atol=1e-5)


def adapted(folder, texts=TEXTS * 8, **changes):
    student = learner(folder, generative=Generative(epochs=6, learning_rate=3e-3, batch_size=8), **changes)
    return generative.adapt(student, models.load(student.model), texts, seed=0)


@pytest.mark.parametrize("parameters", ["full", *make.slow("lora")])
def test_generative_finetuning_learns_the_texts(tmp_path, parameters):
    params, losses = adapted(tmp_path / "m", parameters=parameters)
    assert np.mean(losses[-8:]) < np.mean(losses[:8]) - (0.5 if parameters == "full" else 0.1)
    pretrained = models.load(str(tmp_path / "m"))
    assert jax.tree.structure(params["backbone"]) == jax.tree.structure(dict(pretrained.params))
    before, after = (
        float(language_score(tmp_path / "m", dataclasses.replace(pretrained, params=tree)))
        for tree in (pretrained.params, params["backbone"])
    )
    assert after > before


def language_score(folder, pretrained):
    module, params = models.build_language_model(pretrained, rng=jax.random.key(0))
    tokenizer = models.outline(str(folder))[1]
    ids = np.array(tokenizer.encode(["the film was awful"]), np.int32)
    run = make.applied(module)
    return run({"params": params}, ids, np.array([ids.shape[1]]), np.array([0]), method="score")[0, 0]


def test_generative_finetuning_is_the_same_in_microbatches(tmp_path):
    whole, losses = adapted(tmp_path / "m", TEXTS)
    pieces, same = adapted(tmp_path / "m", TEXTS, microbatches=4)
    np.testing.assert_allclose(losses, same, atol=1e-5)
    for first, second in zip(jax.tree.leaves(whole), jax.tree.leaves(pieces), strict=True):
        np.testing.assert_allclose(first, second, atol=1e-4)


def test_merged_adapters_are_the_same_function(tmp_path):
    module, params = language_model(make.llama(tmp_path / "m"), lora=Lora(2))
    params = jax.tree_util.tree_map_with_path(
        lambda path, leaf: leaf + 0.1 if str(path[-1].key) == "lora_b" else leaf, params
    )
    plain, _ = language_model(tmp_path / "m")
    merged = parameter_sets.merge_lora(params, Lora(2).scale)
    with_adapters = make.applied(module)({"params": params}, TOKENS, LENGTHS)
    run = make.applied(plain)
    np.testing.assert_allclose(run({"params": merged}, TOKENS, LENGTHS), with_adapters, atol=1e-4)
    without = run({"params": language_model(tmp_path / "m")[1]}, TOKENS, LENGTHS)
    assert np.abs(np.asarray(with_adapters) - np.asarray(without)).max() > 1e-3


def test_encoders_and_cut_models_cannot_be_asked(tmp_path):
    student = learner(tmp_path / "m")
    with pytest.raises(UserError, match="read at its top"):
        models.build_language_model(models.load(student.model, read_layer=1), rng=jax.random.key(0))
    with pytest.raises(UserError, match=r"must hold \{text\}"):
        prompt_logits(student, TEXTS, [], (" a", " b"), template="nothing")
    with pytest.raises(UserError, match="comparison"):
        prompt_logits(student, [("a", "b")], [], (" a", " b"), template="{text} is")


def test_padding_changes_no_score(tmp_path):
    module, params = language_model(make.llama(tmp_path / "m"))
    wide = jnp.pad(jnp.array(TOKENS), ((0, 0), (0, 5)), constant_values=11)
    narrow = make.applied(module)({"params": params}, TOKENS, LENGTHS, np.zeros(2, np.int32), method="score")
    np.testing.assert_allclose(
        make.applied(module)({"params": params}, wide, LENGTHS, np.zeros(2, np.int32), method="score"),
        narrow,
        atol=1e-5,
    )


def windowed(folder):
    """The tiny Llama as a Mistral whose tokens see four tokens back."""
    make.llama(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "mistral", "sliding_window": 4}))
    return folder


def read_whole(folder):
    """The sum of log-probabilities of a text's tokens from a place on, read from its first token to its last."""
    module, params = language_model(folder)
    logits = jax.jit(module.apply)

    def score(ids, start):
        padded = np.zeros((1, 64), np.int32)
        padded[0, : len(ids)] = ids
        log_probs = jax.nn.log_softmax(logits({"params": params}, padded, np.array([len(ids)], np.int32))[0])
        places = np.arange(max(start, 1), len(ids))
        return float(np.asarray(log_probs)[places - 1, np.array(ids)[places]].sum())

    return score


@pytest.mark.parametrize("kind", [make.llama, windowed])
def test_a_shared_beginning_that_is_read_once_changes_no_answer(tmp_path, kind):
    folder = kind(tmp_path / "m")
    student, score = Learner(str(folder)), read_whole(folder)
    shots = [("good film", 1), ("a very bad plot", 0), ("great", 1)]
    tokenizer = models.outline(student.model)[1]
    for answers in ((" bad", " good"), (" bad film", " good", " bad the film"), ("", " good")):
        for shown, texts in ((shots, TEXTS * 3), ([], TEXTS), ([], TEXTS[:1])):
            found = prompt_logits(student, texts, shown, answers, template="{text} is")
            before = "".join(f"{text} is{answers[label]}\n\n" for text, label in shown)
            for text, row in zip(texts, found, strict=True):
                for answer, value in zip(answers, row, strict=True):
                    ids, asked = tokenizer.encode([before + text + " is" + answer, before + text + " is"])
                    np.testing.assert_allclose(value, score(ids, len(asked)), atol=1e-4)


def test_prompts_that_lose_their_beginnings_share_what_is_left(tmp_path):
    """Rows are cut at different places for each answer, so that they begin with nothing in common."""
    student = learner(tmp_path / "m", too_long="truncate", max_tokens=7)
    score, tokenizer = read_whole(tmp_path / "m"), models.outline(student.model)[1]
    answers, prompts = (" bad", " good film", " a a a a a a a a"), [f"the film is bad\n\n{text} is" for text in TEXTS]
    found = prompt_logits(student, TEXTS, [("the film", 0)], answers, template="{text} is")
    for prompt, row in zip(prompts, found, strict=True):
        for answer, value in zip(answers, row, strict=True):
            ids, asked = tokenizer.encode([prompt + answer, prompt])
            cut = max(len(ids) - 7, 0)
            np.testing.assert_allclose(value, score(ids[cut:], len(asked) - cut), atol=1e-4)
