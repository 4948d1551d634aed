"""A tiny decoder that knows letters as tokens, and what it gives each of them after a text, all of it read at once."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from scipy.special import log_softmax, softmax

from tests import tiny
from w2s_jax import models

LETTERS = "ABCD"
KNOWN = [*tiny.WORDS, *LETTERS, ".", ":", "Question", "Answer", "User", "Assistant", "You", "What", "melts", "story"]


def letters(folder: Path, seed: int = 3) -> str:
    """A Llama folder of random weights."""
    from tokenizers import Tokenizer, pre_tokenizers
    from tokenizers import models as kinds

    tiny.llama(folder, vocabulary=len(KNOWN) + 1, seed=seed)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 512}))
    inner = Tokenizer(kinds.WordLevel({word: place for place, word in enumerate(["[UNK]", *KNOWN])}, "[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.save(str(folder / "tokenizer.json"))
    return str(folder)


def oracle(model: str, *, tokens: bool = False) -> Callable[..., Any]:
    """A function of a text: the probabilities of the four letters after it, among these.

    Args:
      tokens: it is of a text and a word instead: the word's log-probability after the text.
    """
    module, params = models.build_language_model(models.load(model), rng=jax.random.key(0))
    words = models.outline(model)[1]
    run = jax.jit(lambda ids, length: module.apply({"params": params}, ids, length, method="last"))
    places = [words.encode([letter])[0][0] for letter in LETTERS]

    def logits(text: str) -> np.ndarray:
        (ids,) = words.encode([text])
        padded = np.zeros((1, 512), np.int32)
        padded[0, : len(ids)] = ids
        return np.asarray(run(padded, np.array([len(ids)], np.int32)))[0]

    if tokens:
        return lambda text, word: log_softmax(logits(text))[words.encode([word])[0][0]]
    return lambda text: softmax(logits(text)[places])
