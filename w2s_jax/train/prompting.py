"""Classification by asking: what a language model gives each answer after a prompt, with examples or without."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from jax.sharding import Mesh
from jaxtyping import Float

from w2s_jax import models, sharding
from w2s_jax.data.batching import EvalBatches
from w2s_jax.data.tokens import Text, Tokens
from w2s_jax.errors import UserError
from w2s_jax.train.finetune import softmax
from w2s_jax.train.learner import Learner
from w2s_jax.train.loop import Progress
from w2s_jax.train.step import Predict, make_predict

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
    mesh: Mesh | None = None,
    progress: Progress | None = None,
) -> Float[np.ndarray, "n c"]:
    """Log-probabilities of each answer after each text: zero-shot, or after `shots` (Burns et al. 2023, figure 9).

    Args:
      shots: texts and classes that are shown, answered, before every text.
      answers: by class, as they follow the template: usually with a space in front.
      template: holds `{text}`.
      calibrate: less those after a text without content, so that no answer is ahead before the text is read
        (contextual calibration, Zhao et al. 2021).
      mesh: the devices to cut parameters and batches over; None is one device.
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
    scores = _answer_scores(learner, asked, answers, mesh, progress)
    return scores[:-1] - scores[-1] if calibrate else scores


def views(
    learner: Learner, texts: Sequence[Text], answers: Sequence[str], *, mesh: Mesh | None = None
) -> Float[np.ndarray, "v n c"]:
    """Zero-shot probabilities of the answers under several templates, calibrated."""
    spaced = [f" {answer}" for answer in answers]
    ask = functools.partial(prompt_logits, learner, texts, [], spaced, calibrate=True, mesh=mesh)
    return np.stack([softmax(ask(template=each)) for each in VIEWS])


def forget() -> None:
    """Frees the devices of the model that was asked last."""
    _model.cache_clear()


def _fill(template: str, text: Text) -> str:
    return template.replace("{text}", str(text))


def _answer_scores(
    learner: Learner, prompts: Sequence[str], answers: Sequence[str], mesh: Mesh | None, progress: Progress | None
) -> Float[np.ndarray, "n c"]:
    config, tokenizer = models.outline(learner.model)
    longest = min(learner.max_tokens, config.max_positions)
    asked = tokenizer.encode(list(prompts))
    whole = [tokenizer.encode([prompt + answer for prompt in prompts]) for answer in answers]
    following = [{tuple(row[len(start) :]) for start, row in zip(asked, rows, strict=True)} for rows in whole]
    one_token = all(len(ids) == 1 and len(next(iter(ids))) == 1 for ids in following) and all(
        row[: len(start)] == start for rows in whole for start, row in zip(asked, rows, strict=True)
    )
    module, params = _model(learner.model, learner.dtype, mesh)
    last, score = _compiled(module, mesh)
    batch_rows = ROWS if mesh is None else ROWS * sharding.batch_ways(mesh)
    scores = np.zeros((len(prompts), len(answers)), np.float32)
    if one_token:
        ids = np.array([next(iter(found))[0] for found in following], np.int32)
        tokens = _cut(asked, longest, learner)
        for batch in _batches(tokens, batch_rows, progress):
            real = batch.rows >= 0
            scores[batch.rows[real]] = np.asarray(last(params, ids, batch.tokens, batch.lengths))[real]
        return scores
    for answer, rows in enumerate(whole):
        starts = np.array([_common(start, row) for start, row in zip(asked, rows, strict=True)])
        cut = np.maximum(np.array([len(row) for row in rows]) - longest, 0)
        for batch in _batches(_cut(rows, longest, learner), batch_rows, progress):
            real = batch.rows >= 0
            start = np.where(real, (starts - cut)[batch.rows], 0).astype(np.int32)
            found = np.asarray(score(params, {}, batch.tokens, batch.lengths, start))
            scores[batch.rows[real], answer] = found[real, 0]
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


def _batches(tokens: Tokens, rows: int, progress: Progress | None) -> Any:
    done = 0
    for batch in EvalBatches(tokens, rows):
        yield batch
        done += int((batch.rows >= 0).sum())
        if progress is not None:
            progress(done, len(tokens), float("nan"))


@functools.lru_cache(maxsize=1)  # every answer and split of a stage, and every view, asks the same one
def _model(model: str, dtype: str, mesh: Mesh | None) -> tuple[nn.Module, Any]:
    """The language model, and its parameters on the devices."""
    pretrained = models.load_sharded(model, mesh)
    return models.language_model(pretrained, rng=jax.random.key(0), dtype=dtype, mesh=mesh)


@functools.lru_cache(maxsize=8)
def _compiled(module: nn.Module, mesh: Mesh | None) -> tuple[Predict, Predict]:
    """The jitted scores of one-token answers, whose ids stand where frozen parameters do, and of any answer."""

    def last(params: Any, ids: jax.Array, tokens: jax.Array, lengths: jax.Array, _: None) -> jax.Array:
        logits: Any = module.apply({"params": params}, tokens, lengths, method="last")
        return jax.nn.log_softmax(logits)[:, ids]

    def score(params: Any, _: Any, tokens: jax.Array, lengths: jax.Array, start: jax.Array, __: None) -> jax.Array:
        scores: Any = module.apply({"params": params}, tokens, lengths, start, method="score")
        return scores

    return make_predict(last, mesh), make_predict(score, mesh)
