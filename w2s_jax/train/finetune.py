"""Finetunes a pretrained model on labelled text, and labels other text with it."""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from einops import rearrange
from flax import linen as nn
from jax.sharding import Mesh
from jaxtyping import Float

from w2s_jax import models
from w2s_jax.data.batching import EvalBatches, TrainBatches
from w2s_jax.data.tokens import Text, Tokens, encode
from w2s_jax.models import Pretrained
from w2s_jax.models import params as parameter_sets
from w2s_jax.models.layers import Lora
from w2s_jax.models.packing import Packing
from w2s_jax.runtime import sharding
from w2s_jax.train import answering
from w2s_jax.train.answering import Answers, prompts
from w2s_jax.train.learner import Learner
from w2s_jax.train.loop import History, Progress, fit
from w2s_jax.train.optimizer import make_optimizer
from w2s_jax.train.state import create, state_shardings
from w2s_jax.train.step import Predict, Step, make_predict, make_train_step

EVAL_BATCH = 64


class Outcome(NamedTuple):
    """A trained stage.

    Attributes:
      logits: of every split it was asked to label.
      padding_share: the fraction of the places of an epoch's batches that held no token; None where there are none.
    """

    logits: dict[str, Float[np.ndarray, "n c"]]
    history: History
    params: Any
    padding_share: float | None = None


def tokenize(learner: Learner, texts: Sequence[Text]) -> Tokens:
    """Texts as token ids, within the learner's and the model's longest.

    Raises:
      UserError: a text is longer, and the learner does not truncate.
    """
    config, tokenizer = models.outline(learner.model)
    longest = min(learner.max_tokens, config.max_positions)
    return encode(tokenizer, texts, max_tokens=longest, too_long=learner.too_long)


def finetune(
    learner: Learner,
    pretrained: Pretrained,
    loss: Callable[..., Any],
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
    """Trains `learner` on (texts, class probabilities) and labels the texts of `predict`.

    Where a row is not one text but candidates, one scalar head scores each, and the scores are the row's logits: with
    two, `P(second is better) = sigmoid(score of the second - score of the first)`, a reward model. With
    `learner.preference` the language model scores them itself.

    Args:
      pretrained: arrays on devices are consumed; so no device holds what trains twice.
      loss: from `losses.bind`.
      seed: of the batch order, the head's initial values and dropout.
      mesh: the devices to cut parameters and batches over; None is one device.
      folder: where unfinished work is checkpointed.
      profile: where a trace of a few steps is written.
      answers: what the classes are called, for a learner that writes them (`output="text"`).
    """
    n_classes, targets = train[1].shape[-1], train[1]
    spoken = answering.answers(learner, answers) if learner.output == "text" else None
    read = functools.partial(tokenize, learner) if spoken is None else functools.partial(prompts, learner, spoken)
    tokens = {name: read(texts) for name, texts in predict.items()}
    train_tokens, validation_tokens = read(train[0]), read(validation[0])
    if spoken is not None:
        train_tokens, targets = answering.lessons(train_tokens, spoken, targets)
    ways = sharding.batch_ways(mesh)
    batches = TrainBatches(
        train_tokens,
        learner.batch_size,
        seed=seed,
        epochs=learner.epochs,
        ways=ways,
        microbatches=learner.microbatches,
    )

    key_head, key_state = jax.random.split(jax.random.key(seed))
    how: dict[str, Any] = {"dropout": learner.dropout, "remat": learner.remat, "dtype": learner.dtype, "mesh": mesh}
    how["lora"] = Lora(learner.lora_rank) if learner.parameters == "lora" else None
    outputs = n_classes if train_tokens.candidates == 1 else 1
    module: nn.Module
    if learner.preference is not None:
        judged = learner.preference, train_tokens.candidates
        module, params = models.build_preference_model(pretrained, *judged, rng=key_head, **how)
    elif spoken is not None:
        module, params = models.build_language_model(pretrained, rng=key_head, **how)
    else:
        module, params = models.build_classifier(pretrained, outputs, rng=key_head, pooling=learner.pooling, **how)
    labels = parameter_sets.label(params, parameter_sets.TRAINABLE[learner.parameters])
    trainable, frozen = parameter_sets.partition(params, labels)
    del params
    state = create(trainable, optimizer(learner, len(batches)), key_state, donate=True)
    frozen = jax.tree.map(jnp.asarray, frozen)
    del trainable
    leaves, structure = (None, None) if mesh is None else jax.tree.flatten(state_shardings(state))
    step, predict_step = compiled_steps(
        learner, module, loss, len(batches), mesh, None if leaves is None else tuple(leaves), structure, spoken
    )

    def label(params: Any, tokens: Tokens) -> Float[np.ndarray, "n c"]:
        logits = np.zeros((len(tokens), n_classes), np.float32)
        for batch in EvalBatches(tokens, EVAL_BATCH, ways):
            real = batch.rows >= 0
            logits[batch.rows[real]] = np.asarray(predict_step(params, frozen, batch.tokens, batch.lengths))[real]
        return logits

    trained = fit(
        state,
        frozen,
        step=step,
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
    return Outcome(logits, trained.history, trained.params, batches.padding_share())


def softmax(logits: Float[np.ndarray, "*n c"]) -> Float[np.ndarray, "*n c"]:
    """Class probabilities, float32."""
    return np.asarray(jax.nn.softmax(jnp.asarray(logits, jnp.float32), axis=-1))


def optimizer(learner: Learner, total_steps: int) -> optax.GradientTransformation:
    return make_optimizer(learner.optimizer, total_steps, head_mask=parameter_sets.head_mask)


@functools.lru_cache(maxsize=8)
def compiled_steps(
    learner: Learner,
    module: nn.Module,
    loss: Callable[..., Any],
    total_steps: int,
    mesh: Mesh | None,
    leaves: tuple[Any, ...] | None,
    structure: Any,
    answers: Answers | None = None,
) -> tuple[Step, Predict]:
    """The jitted steps of one kind of stage; seeds and splits share them, so each compiles once.

    `leaves` and `structure` are the state's shardings on the mesh, flattened. With `answers` the module is a language
    model that writes them.
    """

    def apply(
        trainable: Any,
        frozen: Any,
        tokens: jax.Array,
        lengths: jax.Array,
        rng: jax.Array | None,
        packing: Packing | None = None,
    ) -> jax.Array:
        params = parameter_sets.combine(trainable, frozen)
        if answers is not None:
            return answering.train_logits(module, answers, params, tokens, lengths, rng, packing)
        rngs = None if rng is None else {"dropout": rng}
        flat = rearrange(tokens, "b ... t -> (b ...) t"), lengths.reshape(-1)
        logits: Any = module.apply({"params": params}, *flat, deterministic=rng is None, rngs=rngs, packing=packing)
        return logits.reshape(len(tokens), -1)

    def label(trainable: Any, frozen: Any, tokens: jax.Array, lengths: jax.Array, rng: None) -> jax.Array:
        assert answers is not None
        return answering.label_logits(module, answers, parameter_sets.combine(trainable, frozen), tokens, lengths)

    step = make_train_step(
        apply,
        loss if answers is None else answering.by_token(loss, answers),
        optimizer(learner, total_steps),
        total_steps=total_steps,
        microbatches=learner.microbatches,
        packed=True,
        shardings=None if leaves is None else jax.tree.unflatten(structure, leaves),
    )
    return step, make_predict(apply if answers is None else label, mesh)
