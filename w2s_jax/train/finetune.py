"""Finetunes a pretrained model on labelled text, and labels other text with it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float

from w2s_jax.data.batching import EvalBatches
from w2s_jax.data.tokens import Text, Tokens
from w2s_jax.losses.base import BoundLoss
from w2s_jax.models import Pretrained
from w2s_jax.models.params import Params
from w2s_jax.runtime import sharding
from w2s_jax.train import answering, outputs, prepare
from w2s_jax.train.learner import Learner
from w2s_jax.train.loop import History, Progress, fit

EVAL_BATCH = 64


class Outcome(NamedTuple):
    """A trained stage.

    Attributes:
      logits: of every split it was asked to label.
      padding_share: the fraction of the places of an epoch's batches that held no token; None where there are none.
    """

    logits: dict[str, Float[np.ndarray, "n c"]]
    history: History
    params: Params
    padding_share: float | None = None


def finetune(
    learner: Learner,
    pretrained: Pretrained,
    loss: BoundLoss,
    *,
    train: tuple[Sequence[Text], Float[np.ndarray, "n c"]],
    validation: tuple[Sequence[Text], Float[np.ndarray, "m c"]],
    predict: Mapping[str, Sequence[Text]],
    seed: int,
    mesh: Mesh | None = None,
    folder: Path | None = None,
    profile: Path | None = None,
    progress: Progress | None = None,
    answers: Sequence[str] = (),
) -> Outcome:
    """Trains `learner` on (texts, class probabilities) and labels the texts of `predict`; with `epochs=0` only labels.

    Where an example is not one text but candidates, one scalar head scores each, and the scores are the example's
    logits: with two, `P(second is better) = sigmoid(score of the second - score of the first)`, a reward model. With
    `learner.preference` the language model scores them itself.

    Args:
      pretrained: arrays on devices are consumed; so no device holds what trains twice.
      loss: from `losses.bind`.
      seed: of the batch order, the head's initial values and dropout.
      mesh: the devices that parameters and batches are sharded over; None is one device.
      folder: where unfinished work is checkpointed.
      profile: where a trace of a few steps is written.
      answers: what the classes are called, for a learner that writes them (`output="text"`).

    Raises:
      UserError: a text is too long and the learner does not truncate; the model, or the task, has no such output.
    """
    n_classes, ways = train[1].shape[-1], sharding.batch_ways(mesh)
    output = outputs.choose(learner, lambda: answering.answers(learner, answers))
    tokens = {name: output.tokens(learner, texts) for name, texts in predict.items()}
    train_tokens, validation_tokens = output.tokens(learner, train[0]), output.tokens(learner, validation[0])
    train_tokens, targets = output.lessons(train_tokens, train[1])
    batches = prepare.batches(learner, train_tokens, seed, mesh)
    prepared = prepare.from_pretrained(
        learner,
        output,
        pretrained,
        loss,
        n_classes=n_classes,
        candidates=train_tokens.candidates,
        total_steps=len(batches),
        seed=seed,
        mesh=mesh,
    )

    def label(params: Params, tokens: Tokens) -> Float[np.ndarray, "n c"]:
        logits = np.zeros((len(tokens), n_classes), np.float32)
        for batch in EvalBatches(tokens, EVAL_BATCH, ways):
            real = batch.rows >= 0
            found = prepared.predict(params, prepared.frozen, batch.tokens, batch.lengths)
            logits[batch.rows[real]] = np.asarray(found)[real]
        return logits

    trained = fit(
        prepared.state,
        prepared.frozen,
        step=prepared.step,
        batches=batches,
        targets=targets,
        evaluate=lambda params: softmax(label(params, validation_tokens)),
        validation_targets=validation[1],
        settings=learner.loop,
        folder=folder,
        profile=profile,
        progress=progress,
    )
    logits = {name: label(trained.params, split_tokens) for name, split_tokens in tokens.items()}
    return Outcome(logits, trained.history, trained.params, batches.padding_share() if len(batches) else None)


def softmax(logits: Float[np.ndarray, "*n c"]) -> Float[np.ndarray, "*n c"]:
    """Class probabilities, float32."""
    return np.asarray(jax.nn.softmax(jnp.asarray(logits, jnp.float32), axis=-1))
