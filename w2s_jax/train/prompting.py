"""Classification by asking: what a language model gives each answer after a prompt, with examples or without."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from jax.sharding import Mesh
from jaxtyping import Float

from w2s_jax import models
from w2s_jax.data.batching import bucket, pad
from w2s_jax.data.tokens import Text, ragged
from w2s_jax.models import Pretrained
from w2s_jax.models.cache import Cache, Past
from w2s_jax.models.params import Params
from w2s_jax.runtime import sharding
from w2s_jax.runtime.errors import UserError
from w2s_jax.train import inference, reading
from w2s_jax.train.finetune import softmax
from w2s_jax.train.inference import Inference, Programs
from w2s_jax.train.learner import Learner
from w2s_jax.train.loop import Progress

ROWS = 16


class Asking:
    """A language model that is asked which class texts are of. It holds its devices' memory as long as it lives.

    Args:
      learner: which tokenizer, and how long a prompt may be.
      pretrained: the parameters that are asked; they are on the devices of `mesh`.
      mesh: the devices to shard parameters and batches over; None is one device.
      progress: told (texts done, texts, ()).

    Raises:
      UserError: the model is not a decoder.
    """

    def __init__(
        self,
        learner: Learner,
        pretrained: Pretrained,
        *,
        mesh: Mesh | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._learner, self._progress = learner, progress
        self._model = inference.language_model(pretrained, learner.dtype, mesh, _compiled)

    def logits(
        self,
        texts: Sequence[Text],
        shots: Sequence[tuple[Text, int]],
        answers: Sequence[str],
        *,
        template: str,
        calibrate: bool = False,
    ) -> Float[np.ndarray, "n c"]:
        """Log-probabilities of each answer after each text: zero-shot, or after `shots` (Burns et al. 2023, figure 9).

        Args:
          shots: texts and classes that are shown, answered, before every text.
          answers: by class, as they follow the template: usually with a space in front.
          template: holds `{text}`.
          calibrate: minus the logarithm of each answer's mean probability over `texts`, so that no answer is ahead of
            the texts (batch calibration, Zhou et al. 2023, arXiv 2309.17249, eq. 5). It reads no labels, and takes the
            classes to be about equally frequent.

        Raises:
          UserError: a text is a comparison, the template lacks `{text}`, or a prompt is longer than the model or the
            learner allows and may not be truncated. (Where it may, its beginning goes.)
        """
        if "{text}" not in template:
            raise UserError(f"the template must hold {{text}}; it is {template!r}")
        _check_texts([*texts, *(text for text, _ in shots)])
        before = "".join(f"{_fill(template, text)}{answers[label]}\n\n" for text, label in shots)
        prompts = [before + _fill(template, text) for text in texts]
        scores = _answer_scores(self._learner, self._model, prompts, answers, self._progress)
        return scores - np.log(softmax(scores).mean(axis=0)) if calibrate else scores


def views(
    learner: Learner,
    pretrained: Pretrained,
    texts: Sequence[Text],
    answers: Sequence[str],
    templates: Sequence[str],
    *,
    mesh: Mesh | None = None,
) -> Float[np.ndarray, "v n c"]:
    """Zero-shot probabilities of the answers after each of the templates, calibrated."""
    asking = Asking(learner, pretrained, mesh=mesh)
    spaced = [f" {answer}" for answer in answers]
    return np.stack([softmax(asking.logits(texts, [], spaced, template=each, calibrate=True)) for each in templates])


def check(learner: Learner, texts: Sequence[Text]) -> None:
    """That a model can be asked about these texts.

    Raises:
      UserError: it is an encoder, or a text is a comparison.
    """
    _check_texts(texts)
    if models.outline(learner.model)[0].is_encoder:
        raise UserError(f"{learner.model} is an encoder, which answers no prompt: choose a decoder")


def _check_texts(texts: Sequence[Text]) -> None:
    if not all(isinstance(text, str) for text in texts):
        raise UserError("a comparison of two texts cannot be asked as a prompt; use a task of one text an example")


def _fill(template: str, text: Text) -> str:
    return template.replace("{text}", str(text))


def _answer_scores(
    learner: Learner, model: Inference, prompts: Sequence[str], answers: Sequence[str], progress: Progress | None
) -> Float[np.ndarray, "n c"]:
    """What all prompts begin with is read once, and what all answers of one prompt follow is read once a prompt; not
    where the model's positions depend on the length of what follows."""
    config, tokenizer = models.outline(learner.model)[0], reading.tokenizer_of(learner.model, learner.chat)
    alone = config.switch_length or np.inf  # longer texts are read whole
    longest = reading.longest(learner)
    asked = tokenizer.encode(list(prompts))
    whole = [tokenizer.encode(list(prompts), then=answer) for answer in answers]
    following = [{tuple(row[len(start) :]) for start, row in zip(asked, rows, strict=True)} for rows in whole]
    one_token = all(len(ids) == 1 and len(next(iter(ids))) == 1 for ids in following) and all(
        row[: len(start)] == start for rows in whole for start, row in zip(asked, rows, strict=True)
    )
    scores = np.zeros((len(prompts), len(answers)), np.float32)
    if one_token:
        ids = np.array([next(iter(found))[0] for found in following], np.int32)
        rows = _cut(asked, longest, learner)
        shared = _shared(rows, [len(row) - 1 if len(row) <= alone else 0 for row in rows])
        past = _prefix(model, rows[0][:shared])
        for batch in model.batches(ragged([row[shared:] for row in rows]), ROWS, progress):
            real = batch.rows >= 0
            scores[batch.rows[real]] = np.asarray(model.run("last", batch[:2], past, ids))[real]
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
    own = np.where([max(map(len, rows)) > alone for rows in zip(*kept, strict=True)], 0, own)
    shared = _shared(alike, own)
    prefix = _prefix(model, alike[0][:shared])
    between = ragged([row[shared:end] for row, end in zip(alike, own, strict=True)])
    for batch in model.batches(between, ROWS, progress):
        real = batch.rows >= 0
        past = (*prefix, model.run("read", batch[:2], prefix))
        for answer, rows in enumerate(kept):
            rest = pad(ragged([row[end:] for row, end in zip(rows, own, strict=True)]), batch.rows[real], len(real))
            start = np.where(real, (starts[answer] - own)[batch.rows], 0).astype(np.int32)
            found = model.run("score", (rest.tokens, rest.lengths, start), past)
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
    tokenizer = reading.tokenizer_of(learner.model, learner.chat)
    return [tokenizer.cut(list(row), longest, "last") or [0] for row in rows]


def _prefix(model: Inference, tokens: Sequence[int]) -> tuple[Cache, ...]:
    """The past of all rows that begin with these tokens."""
    if not tokens:
        return ()
    padded = np.zeros((1, bucket(len(tokens))), np.int32)
    padded[0, : len(tokens)] = tokens
    return (model.run("read", (padded, np.array([len(tokens)], np.int32)), ()),)


@functools.lru_cache(maxsize=8)
def _compiled(module: nn.Module, mesh: Mesh | None) -> Programs:
    """`read` gives a cache, `last` the log-probabilities of some next tokens, `score` those of a row's tokens."""

    def run(method: str, params: Params, batch: Any, past: Past) -> Any:
        return module.apply({"params": params}, *batch, past=past, method=method)

    def read(params: Params, batch: Any, past: Past) -> Cache:
        return run("read", params, batch, past)[1]

    def last(params: Params, batch: Any, past: Past, ids: jax.Array) -> jax.Array:
        return jax.nn.log_softmax(run("last", params, batch, past))[:, ids]

    def score(params: Params, batch: Any, past: Past) -> jax.Array:
        return run("score", params, batch, past)[:, 0]

    where = None if mesh is None else sharding.replicated(mesh)
    return {function.__name__: jax.jit(function, out_shardings=where) for function in (read, last, score)}
