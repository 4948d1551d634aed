"""What a decoder writes: with a cache what it writes without, the same alone and in company, greedily or sampled."""

import jax
import numpy as np
import pytest

from tests import tiny as make
from w2s_jax import models
from w2s_jax.models import tokenizer
from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.sharding import make_mesh
from w2s_jax.train import writing
from w2s_jax.train.learner import Learner
from w2s_jax.train.writing import Writer

PROMPTS = ["the film was good", "a plot", "very bad film not good the", "awful", "was"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(make.llama(tmp_path_factory.mktemp("writer"), seed=3))


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
