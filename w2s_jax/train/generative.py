"""Generative finetuning: a backbone learns the next tokens of texts, without labels (Burns et al. 2023, 5.2.2)."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float

from w2s_jax import losses, models
from w2s_jax.data.tokens import Text
from w2s_jax.losses.base import BoundLoss
from w2s_jax.models import Pretrained
from w2s_jax.models import params as parameter_sets
from w2s_jax.models.params import Params
from w2s_jax.runtime.errors import UserError
from w2s_jax.train import outputs, prepare, together
from w2s_jax.train.learner import Learner
from w2s_jax.train.loop import History, Job, LoopSettings, Progress, fit
from w2s_jax.train.optimizer import OptimizerConfig
from w2s_jax.train.outputs import NextTokenOutput

NOTHING = np.ones((1, 2), np.float32)  # there is no validation: the last parameters are kept


class Adapted(NamedTuple):
    """What generative finetuning gives.

    Attributes:
      params: `{"backbone": ...}`, adapters merged, on the devices that trained them; and `"unembed"` if the
        language-model head has parameters of its own and they trained.
      losses: of every step, the mean over tokens, in nats.
    """

    params: Params
    losses: list[float]


class Objective(NamedTuple):
    """What generative finetuning trains, and how, as any training takes it."""

    learner: Learner
    output: NextTokenOutput
    loss: BoundLoss


def next_token(
    scores: Float[Array, "b 2"], targets: Float[Array, "b c"], *, where: Bool[Array, " b"]
) -> Float[Array, " b"]:
    """Minus the log-probability of a text's tokens, scaled so that the mean over rows is that over tokens.

    Args:
      scores: from `LanguageModel.score`: sums of log-probabilities, and how many tokens they are of.
      targets: not looked at.
    """
    tokens = jnp.sum(scores[:, 1], where=where)
    return -scores[:, 0] * jnp.sum(where) / jnp.maximum(tokens, 1)


NEXT_TOKEN = losses.bind(next_token)


def objective(learner: Learner) -> Objective:
    """The learner with the settings of its `generative`: adapters train if it trains adapters, otherwise everything.

    The language-model head does not train where the learner has a preference: its scores are those of the published
    head.

    Raises:
      UserError: it has none; its batch is not a multiple of the learner's microbatches.
    """
    settings = learner.generative
    if settings is None:
        raise UserError("generative finetuning needs the learner's `generative`")
    trained = dataclasses.replace(
        learner,
        parameters="lora" if learner.parameters == "lora" else "full",
        read_layer=None,
        pooling=None,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        optimizer=OptimizerConfig(learning_rate=settings.learning_rate),
        loop=LoopSettings(evaluations=1, select="final", checkpoint_seconds=learner.loop.checkpoint_seconds),
    )
    return Objective(trained, NextTokenOutput(trains_unembedding=learner.preference is None), NEXT_TOKEN)


def adapt(
    learner: Learner,
    pretrained: Pretrained,
    texts: Sequence[Text],
    *,
    seed: int,
    mesh: Mesh | None = None,
    folder: Path | None = None,
    profile: Path | None = None,
    progress: Progress | None = None,
) -> Adapted:
    """Finetunes `pretrained` on the texts, as `learner.generative` says.

    Every candidate of a comparison is a text of its own. With `parameters="lora"` adapters are trained and merged.
    Arrays of `pretrained` on devices are consumed.

    Raises:
      UserError: the model is not a decoder, or is not read at its top; the loss is not finite.
    """
    how: dict[str, Any] = {"mesh": mesh, "folder": folder, "profile": profile, "progress": progress}
    (found,) = adapt_together(learner, lambda: pretrained, [texts], seeds=[seed], **how)
    if isinstance(found, UserError):
        raise found
    return found


def adapt_together(
    learner: Learner,
    start: Callable[[], Pretrained],
    texts: Sequence[Sequence[Text]],
    *,
    seeds: Sequence[int],
    mesh: Mesh | None = None,
    folder: Path | None = None,
    profile: Path | None = None,
    progress: Progress | None = None,
) -> list[Adapted | UserError]:
    """`adapt` on several lists of texts, of which each gets what it would get alone, but for rounding.

    Args:
      texts, seeds: of each. There are as many training steps for each.
      mesh: of `runtime.sharding.job_mesh`, if several train.

    Raises:
      UserError: as `adapt`, but for the loss: there the error stands in the place of what was adapted.
    """
    learner, output, loss = objective(learner)
    split = [output.tokens(learner, each) for each in texts]
    batches = [prepare.batches(learner, tokens, seed, mesh) for tokens, seed in zip(split, seeds, strict=True)]
    count = len(texts)
    prepared = prepare.from_pretrained(
        [learner] * count,
        output,
        [start],
        [loss] * count,
        n_classes=2,
        candidates=1,
        total_steps=len(batches[0]),
        seeds=seeds,
        mesh=mesh,
    )
    trained = fit(
        prepared.state,
        prepared.frozen,
        step=prepared.learn,
        jobs=[Job(each, np.ones((len(each.tokens), 2), np.float32), NOTHING) for each in batches],
        evaluate=lambda params: [NOTHING] * count,
        settings=learner.loop,
        folder=folder,
        profile=profile,
        progress=progress,
    )
    frozen, lora = prepared.frozen, outputs.adapters(learner)
    if lora is not None:
        frozen = {"backbone": models.plain(frozen["backbone"], prepared.module.config)}

    def adapted(place: int, history: History | UserError) -> Adapted | UserError:
        if isinstance(history, UserError):
            return history
        mine = trained.params if prepared.jobs is None else together.take(trained.params, place)
        params = parameter_sets.combine(mine, frozen if place == count - 1 else jax.tree.map(jnp.copy, frozen))
        found = {"backbone": parameter_sets.fold_lora(params["backbone"], lora.scale) if lora else params["backbone"]}
        if "unembed" in mine:
            found["unembed"] = mine["unembed"]
        return Adapted(found, history.losses)

    return [adapted(place, history) for place, history in enumerate(trained.histories)]
