"""Classification by asking: what a language model gives each answer after a prompt, with examples or without."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from w2s_jax import models
from w2s_jax.data.batching import EvalBatches
from w2s_jax.data.tokens import Text, Tokens
from w2s_jax.errors import UserError
from w2s_jax.train.finetune import softmax
from w2s_jax.train.learner import Learner
from w2s_jax.train.loop import Progress

TEMPLATE = "{text}\nAnswer:"
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
    config, tokenizer = models.outline(learner.model)
    longest = min(learner.max_tokens, config.max_positions)
    asked = tokenizer.encode(list(prompts))
    whole = [tokenizer.encode([prompt + answer for prompt in prompts]) for answer in answers]
    following = [{tuple(row[len(start) :]) for start, row in zip(asked, rows, strict=True)} for rows in whole]
    one_token = all(len(ids) == 1 and len(next(iter(ids))) == 1 for ids in following) and all(
        row[: len(start)] == start for rows in whole for start, row in zip(asked, rows, strict=True)
    )
    params, last, score = _compiled(learner.model, learner.dtype)
    scores = np.zeros((len(prompts), len(answers)), np.float32)
    if one_token:
        ids = [next(iter(found))[0] for found in following]
        tokens = _cut(asked, longest, learner)
        for batch in _batches(tokens, progress):
            real = batch.rows >= 0
            scores[batch.rows[real]] = np.asarray(last(params, batch.tokens, batch.lengths, jnp.array(ids)))[real]
        return scores
    for answer, rows in enumerate(whole):
        starts = np.array([_common(start, row) for start, row in zip(asked, rows, strict=True)])
        cut = np.maximum(np.array([len(row) for row in rows]) - longest, 0)
        for batch in _batches(_cut(rows, longest, learner), progress):
            real = batch.rows >= 0
            start = np.where(real, (starts - cut)[batch.rows], 0).astype(np.int32)
            scores[batch.rows[real], answer] = np.asarray(score(params, batch.tokens, batch.lengths, start))[real]
    return scores


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens both begin with."""
    return next(
        (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )


def _cut(rows: Sequence[Sequence[int]], longest: int, learner: Learner) -> Tokens:
    most = max(map(len, rows))
    if most > longest and learner.too_long == "error":
        raise UserError(
            f"a prompt has {most} tokens, more than {longest}; show fewer examples, raise max_tokens, or set "
            "too_long='truncate' to drop its beginning"
        )
    kept = [list(row)[-longest:] or [0] for row in rows]
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in kept])]).astype(np.int64)
    return Tokens(np.array([token for row in kept for token in row], np.int32), offsets)


def _batches(tokens: Tokens, progress: Progress | None) -> Any:
    done = 0
    for batch in EvalBatches(tokens, ROWS):
        yield batch
        done += int((batch.rows >= 0).sum())
        if progress is not None:
            progress(done, len(tokens), float("nan"))


@functools.lru_cache(maxsize=2)
def _compiled(model: str, dtype: str) -> tuple[Any, Callable[..., Any], Callable[..., Any]]:
    """The parameters on the device, and the jitted scores of one-token answers and of any."""
    module, params = models.language_model(models.load(model), rng=jax.random.key(0), dtype=dtype)

    @jax.jit
    def last(params: Any, tokens: jax.Array, lengths: jax.Array, ids: jax.Array) -> jax.Array:
        logits: Any = module.apply({"params": params}, tokens, lengths, method="last")
        return jax.nn.log_softmax(logits)[:, ids]

    @jax.jit
    def score(params: Any, tokens: jax.Array, lengths: jax.Array, start: jax.Array) -> jax.Array:
        scores: Any = module.apply({"params": params}, tokens, lengths, start, method="score")
        return scores[:, 0]

    return jax.tree.map(jnp.asarray, params), last, score
