"""Going on from a cache gives what reading everything gives, in every family, and what PyTorch gives."""

import functools

import jax
import numpy as np
import pytest

from tests.test_models_parity import FAMILIES, saved, torch
from w2s_jax import models
from w2s_jax.data.batching import bucket
from w2s_jax.models.cache import Cache

DECODERS = [name for name in FAMILIES if name != "bert"]
# In how they place tokens, attend and feed forward.
DIFFERENT = ("llama", "qwen3", "qwen3_moe", "gemma2", "gemma3_text", "gpt_neox", "gpt2", "smollm3")
SHARED, OWN, NEXT = 9, np.array([5, 1, 8, 3], np.int32), np.array([2, 4, 1, 3], np.int32)
WHOLE = SHARED + OWN + NEXT


def ragged(rows):
    """Right-padded with a real id."""
    longest = max(map(len, rows))
    tokens = np.array([np.pad(row, (0, longest - len(row)), constant_values=7) for row in rows], np.int32)
    return tokens, np.array([len(row) for row in rows], np.int32)


def texts(seed=0):
    """Rows that begin alike."""
    rng = np.random.default_rng(seed)
    first = rng.integers(0, 50, SHARED)
    return [np.concatenate([first, rng.integers(0, 50, length - SHARED)]) for length in WHOLE]


def opened(folder, name, **options):
    family, settings = FAMILIES[name]
    twin = saved(folder, family, settings, head=True)
    module, params = models.build_language_model(models.load(str(folder)), rng=jax.random.key(0), **options)

    @functools.partial(jax.jit, static_argnames="method")
    def run(*arguments, method, past=()):
        return module.apply({"params": params}, *arguments, method=method, past=past)

    return twin, run


@pytest.mark.parametrize(
    ("name", "scan"),
    [
        *[pytest.param(name, True, marks=() if name in DIFFERENT else pytest.mark.slow) for name in DECODERS],
        *[pytest.param(name, False, marks=pytest.mark.slow) for name in DIFFERENT],
    ],
)
def test_what_follows_a_cache_is_what_follows_the_text(tmp_path, name, scan):
    """Windows of 3 reach from the new tokens into both caches."""
    twin, run = opened(tmp_path, name, scan=scan)
    rows = texts()
    first = np.pad(rows[0][:SHARED], (0, bucket(SHARED) - SHARED))[None].astype(np.int32)
    shared = run(first, np.array([SHARED], np.int32), method="read")[1]
    own = ragged([row[SHARED : SHARED + length] for row, length in zip(rows, OWN, strict=True)])
    logits, middle = run(*own, past=(shared,), method="read")
    assert shared.keys.shape[1] == 1
    assert middle.keys.shape[1] == len(rows)
    rest = ragged([row[SHARED + length :] for row, length in zip(rows, OWN, strict=True)])
    last = run(*rest, past=(shared, middle), method="last")
    for row, (tokens, length) in enumerate(zip(rows, SHARED + OWN, strict=True)):
        with torch.no_grad():
            theirs = twin(torch.tensor(tokens)[None].long()).logits[0].numpy()
        np.testing.assert_allclose(logits[row], theirs[length - 1], atol=1e-4)
        np.testing.assert_allclose(last[row], theirs[-1], atol=1e-4)
    np.testing.assert_allclose(last, run(*ragged(rows), method="last"), atol=1e-4)
    score = run(*rest, np.zeros(len(rows), np.int32), past=(middle, shared), method="score")
    start = SHARED + OWN + 1
    np.testing.assert_allclose(score, run(*ragged(rows), start, method="score"), atol=1e-4)


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma3_text"])
def test_token_by_token_into_a_cache_with_room(tmp_path, name):
    """As greedy decoding does it: rows of different lengths, one more token each at a time."""
    _, run = opened(tmp_path, name)
    rows = texts(1)
    start = ragged([row[: SHARED + length] for row, length in zip(rows, OWN, strict=True)])
    _, past = run(*start, method="read")
    blank = np.zeros((*past.keys.shape[:2], 3, *past.keys.shape[3:]), np.float32)
    grown = Cache(jax.numpy.asarray(blank), jax.numpy.asarray(blank), jax.numpy.full((len(rows), 3), -1))
    texts_so_far = [list(row[: SHARED + length]) for row, length in zip(rows, OWN, strict=True)]
    for step in range(3):
        new = np.random.default_rng(step).integers(0, 50, (len(rows), 1)).astype(np.int32)
        logits, one = run(new, np.ones(len(rows), np.int32), past=(past, grown), method="read")
        grown = grown.write(one, step)
        texts_so_far = [[*text, int(token)] for text, token in zip(texts_so_far, new[:, 0], strict=True)]
        np.testing.assert_allclose(logits, run(*ragged(texts_so_far), method="last"), atol=1e-4)


def test_a_padding_row_and_an_empty_past_do_no_harm(tmp_path):
    _, run = opened(tmp_path, "mistral")
    rows = [*texts()[:2], np.zeros(0, np.int32)]
    logits, past = run(*ragged(rows), method="read")
    assert np.isfinite(logits).all()
    after, _ = run(*ragged([[1, 2], [3], []]), past=(past,), method="read")
    assert np.isfinite(after).all()
    whole = run(*ragged([[*rows[0], 1, 2], [*rows[1], 3]]), method="last")
    np.testing.assert_allclose(after[:2], whole, atol=1e-4)
    fresh = run(*ragged([[1], [2], [3, 4]]), past=(past,), method="last")
    np.testing.assert_allclose(fresh[2], run(*ragged([[3, 4]]), method="last")[0], atol=1e-4)
