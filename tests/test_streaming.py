"""Texts that are written side by side: each is what the Writer writes of its prompt, whoever else writes meanwhile."""

import numpy as np
import pytest

from tests import tiny as make
from w2s_jax import models
from w2s_jax.runtime import files
from w2s_jax.runtime.errors import UserError
from w2s_jax.train import streaming, writing
from w2s_jax.train.learner import Learner
from w2s_jax.train.streaming import Streaming
from w2s_jax.train.writing import Writer

PROMPTS = ["the film was good", "a plot", "very bad film not good the", "awful", "was", "a film the plot was not bad"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(make.llama(tmp_path_factory.mktemp("streaming"), seed=3))


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch):
    """So that the prompts here are several."""
    monkeypatch.setattr(streaming, "CHUNK", 4)


def opened(model, stops=(), **options):
    return Streaming(Learner(model), **{"rows": 2, "stops": np.isin(np.arange(15), stops), **options})


def draw(prompt):
    return int(files.sha256_text(prompt)[:8], 16)


def written(rows, prompts, tokens, seed=0):
    """All prompts' texts; each begins as soon as a row is free."""
    words, waiting, busy, found = models.outline(rows._learner.model)[1], list(prompts), {}, {}
    while waiting or busy:
        while waiting and rows.free:
            prompt = waiting.pop(0)
            busy[rows.begin(words.encode([prompt])[0], draw=draw(prompt), seed=seed, tokens=tokens)] = prompt
        for place, (ids, ended) in rows.advance().items():
            found.setdefault(busy[place], []).extend(ids)
            if ended:
                del busy[place]
    return [words.decode(found[prompt]) for prompt in prompts]


@pytest.mark.parametrize("tokens", [1, 4, 9])
def test_greedily_what_the_writer_writes(model, tokens):
    expected = Writer(Learner(model))(PROMPTS, tokens=tokens)
    assert len(set(expected)) > 3
    rows = opened(model)
    assert written(rows, PROMPTS, tokens) == expected
    assert rows.free == [0, 1]
    assert [written(rows, [prompt], tokens)[0] for prompt in PROMPTS] == expected


def test_a_stop_ends_a_row_and_the_others_go_on(model):
    writer = Writer(Learner(model))
    words = models.outline(model)[1]
    stop = words.encode([writer(PROMPTS[:1], tokens=9)[0]])[0][5]
    writer._stops = np.arange(15) == stop
    expected = writer(PROMPTS, tokens=9)
    assert len({len(text.split()) for text in expected}) > 1
    assert written(opened(model, [stop]), PROMPTS, 9) == expected


def test_samples_are_the_writers_and_depend_on_seed_and_prompt_alone(model):
    expected = Writer(Learner(model))(PROMPTS, tokens=7, temperature=1.5, seed=5)
    rows = opened(model, temperature=1.5)
    assert written(rows, PROMPTS, 7, seed=5) == expected
    assert written(rows, PROMPTS[::-1], 7, seed=5) == expected[::-1]
    assert written(rows, PROMPTS, 7, seed=6) != expected


def test_what_a_row_has_read_before_is_not_read_again(model):
    long = "the film was good a plot not bad very good the"
    rows = opened(model, rows=1)
    words = models.outline(model)[1]
    (expected,) = Writer(Learner(model))([f"{long} plot was"], tokens=3)

    def calls(prompt):
        """How often it must be called before something is written, and what."""
        rows.begin(words.encode([prompt])[0], draw=0, seed=0, tokens=3)
        for count in range(9):
            found = rows.advance()
            if found:
                return count, words.decode(found[0].ids)
        return None

    assert calls(f"{long} plot was") == (3, expected), "13 tokens are four chunks, and writing begins with the last"
    assert calls(f"{long} plot was") == (0, expected), "three chunks are known"
    assert calls("a plot")[0] == 0
    assert calls(f"{long} plot was") == (3, expected), "another text was in between"


def test_a_row_that_is_left_is_free_and_others_do_not_notice(model):
    (expected,) = Writer(Learner(model))([PROMPTS[0]], tokens=9)
    rows, words = opened(model), models.outline(model)[1]
    gone = rows.begin(words.encode([PROMPTS[2]])[0], draw=0, seed=0, tokens=9)
    stays = rows.begin(words.encode([PROMPTS[0]])[0], draw=0, seed=0, tokens=9)
    ids = rows.advance().get(stays, ([],))[0]
    rows.leave(gone)
    assert rows.free == [gone]
    while rows.free == [gone]:
        ids += rows.advance()[stays].ids
    assert words.decode(ids) == expected


def test_what_cannot_be_written(model):
    rows = opened(model)
    with pytest.raises(ValueError, match="a prompt of 60 tokens and 5 more, of 64"):
        rows.begin([1] * 60, draw=0, seed=0, tokens=5)
    with pytest.raises(UserError, match="has embeddings of 15 tokens"):
        rows.begin([15], draw=0, seed=0, tokens=5)
    assert writing.stops(models.outline(model)[1], 17, lines=False).tolist() == [False] * 15 + [True] * 2
