"""Classification by asking: what a language model gives each answer after a prompt, with examples or without."""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from w2s_jax import models
from w2s_jax.data.batching import Batch, EvalBatches, bucket, pad
from w2s_jax.data.tokens import Text, Tokens, ragged
from w2s_jax.errors import UserError
from w2s_jax.models.cache import Cache, Past
from w2s_jax.train.finetune import softmax
from w2s_jax.train.learner import TEMPLATE, Learner
from w2s_jax.train.loop import Progress

VIEWS = (TEMPLATE, "{text}\nIs this right?", "Question: {text}\nThe answer is")
CONTENT_FREE = "N/A"
ROWS = 16


def prompt_logits(
    learner: Learner,
    texts: Sequence[Text],
    shots: Sequence[tuple[Text, int]],
    answers: Sequence[str],
    *,
    template: str = TEMPLATE,
    calibrate: bool = False,
    progress: Progress | None = None,
) -> Float[np.ndarray, "n c"]:
    """Log-probabilities of each answer after each text: zero-shot, or after `shots` (Burns et al. 2023, figure 9).

    Args:
      shots: texts and classes that are shown, answered, before every text.
      answers: by class, as they follow the template: usually with a space in front.
      template: holds `{text}`.
      calibrate: less those after a text without content, so that no answer is ahead before the text is read
        (contextual calibration, Zhao et al. 2021).
      progress: told (rows done, rows, NaN).

    Raises:
      UserError: the model is no decoder, a text is a comparison, the template lacks `{text}`, or a prompt is longer
        than the model or the learner allows and may not be cut. (Where it may, its beginning goes.)
    """
    if "{text}" not in template:
        raise UserError(f"the template must hold {{text}}; it is {template!r}")
    if not all(isinstance(text, str) for text in [*texts, *(text for text, _ in shots)]):
        raise UserError("a comparison of two texts cannot be asked as a prompt; use a task of one text a row, like hh")
    before = "".join(f"{_fill(template, text)}{answers[label]}\n\n" for text, label in shots)
    asked = [before + _fill(template, text) for text in [*texts, *([CONTENT_FREE] if calibrate else [])]]
    scores = _answer_scores(learner, asked, answers, progress)
    return scores[:-1] - scores[-1] if calibrate else scores


def views(learner: Learner, texts: Sequence[Text], answers: Sequence[str]) -> Float[np.ndarray, "v n c"]:
    """Zero-shot probabilities of the answers under several templates, calibrated."""
    spaced = [f" {answer}" for answer in answers]
    return np.stack(
        [softmax(prompt_logits(learner, texts, [], spaced, template=each, calibrate=True)) for each in VIEWS]
    )


def _fill(template: str, text: Text) -> str:
    return template.replace("{text}", str(text))


def _answer_scores(
    learner: Learner, prompts: Sequence[str], answers: Sequence[str], progress: Progress | None
) -> Float[np.ndarray, "n c"]:
    """What all prompts begin with is read once, and what all answers of one prompt follow is read once a prompt."""
    config, tokenizer = models.outline(learner.model)
    longest = min(learner.max_tokens, config.max_positions)
    asked = tokenizer.encode(list(prompts))
    whole = [tokenizer.encode([prompt + answer for prompt in prompts]) for answer in answers]
    following = [{tuple(row[len(start) :]) for start, row in zip(asked, rows, strict=True)} for rows in whole]
    one_token = all(len(ids) == 1 and len(next(iter(ids))) == 1 for ids in following) and all(
        row[: len(start)] == start for rows in whole for start, row in zip(asked, rows, strict=True)
    )
    run = _compiled(learner.model, learner.dtype)
    scores = np.zeros((len(prompts), len(answers)), np.float32)
    if one_token:
        ids = jnp.array([next(iter(found))[0] for found in following])
        rows = _cut(asked, longest, learner)
        shared = _shared(rows, [len(row) - 1 for row in rows])
        past = run.prefix(rows[0][:shared])
        for batch in _batches(ragged([row[shared:] for row in rows]), progress):
            real = batch.rows >= 0
            scores[batch.rows[real]] = np.asarray(run.last(run.params, batch.tokens, batch.lengths, past, ids))[real]
        return scores
    kept = [_cut(rows, longest, learner) for rows in whole]
    # Where each answer's own tokens begin; the token before them is read with each answer, to give what follows it.
    starts = np.array(
        [
            [_common(start, row) - len(row) + len(left) for start, row, left in zip(asked, rows, cut, strict=True)]
            for rows, cut in zip(whole, kept, strict=True)
        ]
    )
    alike = [
        functools.reduce(lambda first, row: first[: _common(first, row)], rows) for rows in zip(*kept, strict=True)
    ]
    own = np.maximum(np.minimum(starts.min(axis=0), [len(row) for row in alike]) - 1, 0)
    shared = _shared(alike, own)
    prefix = run.prefix(alike[0][:shared])
    for batch in _batches(ragged([row[shared:end] for row, end in zip(alike, own, strict=True)]), progress):
        real = batch.rows >= 0
        past = (*prefix, run.read(run.params, batch.tokens, batch.lengths, prefix))
        for answer, rows in enumerate(kept):
            rest = pad(ragged([row[end:] for row, end in zip(rows, own, strict=True)]), batch.rows[real], ROWS)
            start = np.where(real, (starts[answer] - own)[batch.rows], 0).astype(np.int32)
            found = run.score(run.params, rest.tokens, rest.lengths, start, past)
            scores[batch.rows[real], answer] = np.asarray(found)[real]
    return scores


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens both begin with."""
    return next(
        (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )


def _shared(rows: Sequence[Sequence[int]], most: Sequence[int] | np.ndarray) -> int:
    """How many tokens all rows begin with, and no more than any of `most`."""
    return min(*(_common(rows[0], row) for row in rows), *(int(each) for each in most))


def _cut(rows: Sequence[Sequence[int]], longest: int, learner: Learner) -> list[list[int]]:
    """The last `longest` tokens of each row, where the learner allows that; a row without any has token 0."""
    most = max(map(len, rows))
    if most > longest and learner.too_long == "error":
        raise UserError(
            f"a prompt has {most} tokens, more than {longest}; show fewer examples, raise max_tokens, or set "
            "too_long='truncate' to drop its beginning"
        )
    return [list(row)[-longest:] or [0] for row in rows]


def _batches(tokens: Tokens, progress: Progress | None) -> Iterator[Batch]:
    done = 0
    for batch in EvalBatches(tokens, ROWS):
        yield batch
        done += int((batch.rows >= 0).sum())
        if progress is not None:
            progress(done, len(tokens), float("nan"))


class _Compiled(NamedTuple):
    """The parameters on the device, and what is run on them: `read` gives a cache, `last` the log-probabilities of some
    next tokens, `score` those of a row's tokens."""

    params: Any
    read: Callable[..., Cache]
    last: Callable[..., jax.Array]
    score: Callable[..., jax.Array]

    def prefix(self, tokens: Sequence[int]) -> tuple[Cache, ...]:
        """The past of all rows that begin with these tokens."""
        if not tokens:
            return ()
        padded = np.zeros((1, bucket(len(tokens))), np.int32)
        padded[0, : len(tokens)] = tokens
        return (self.read(self.params, padded, np.array([len(tokens)], np.int32), ()),)


@functools.lru_cache(maxsize=2)
def _compiled(model: str, dtype: str) -> _Compiled:
    module, params = models.language_model(models.load(model), rng=jax.random.key(0), dtype=dtype)

    def run(method: str, params: Any, *arguments: Any, past: Past) -> Any:
        return module.apply({"params": params}, *arguments, past=past, method=method)

    @jax.jit
    def read(params: Any, tokens: jax.Array, lengths: jax.Array, past: Past) -> Cache:
        return run("read", params, tokens, lengths, past=past)[1]

    @jax.jit
    def last(params: Any, tokens: jax.Array, lengths: jax.Array, past: Past, ids: jax.Array) -> jax.Array:
        return jax.nn.log_softmax(run("last", params, tokens, lengths, past=past))[:, ids]

    @jax.jit
    def score(params: Any, tokens: jax.Array, lengths: jax.Array, start: jax.Array, past: Past) -> jax.Array:
        return run("score", params, tokens, lengths, start, past=past)[:, 0]

    return _Compiled(jax.tree.map(jnp.asarray, params), read, last, score)
