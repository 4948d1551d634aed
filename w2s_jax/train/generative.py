"""Generative finetuning: a backbone learns the next tokens of texts, without labels (Burns et al. 2023, 5.2.2)."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float

from w2s_jax import losses, models
from w2s_jax.data.batching import TrainBatches
from w2s_jax.data.tokens import Text, flatten
from w2s_jax.models import Pretrained
from w2s_jax.models import params as parameter_sets
from w2s_jax.models.layers import Lora
from w2s_jax.models.packing import Packing
from w2s_jax.runtime import sharding
from w2s_jax.runtime.errors import UserError
from w2s_jax.train.finetune import tokenize
from w2s_jax.train.learner import Generative, Learner
from w2s_jax.train.loop import LoopSettings, Progress, fit
from w2s_jax.train.optimizer import OptimizerConfig, make_optimizer
from w2s_jax.train.state import create, state_shardings
from w2s_jax.train.step import Step, make_train_step

NOTHING = np.ones((1, 2), np.float32)  # there is no validation: the last parameters are kept


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
) -> tuple[dict[str, Any], list[float]]:
    """Finetunes the backbone of `pretrained` on the texts, as `learner.generative` says.

    Every candidate of a comparison is a text of its own. With `parameters="lora"` adapters are trained and merged.
    Arrays of `pretrained` on devices are consumed.

    Returns:
      The parameters `{"backbone": ...}`, on the devices that trained them, and the mean loss over tokens of every step,
      in nats.

    Raises:
      UserError: the model is no decoder, or is not read at its top.
    """
    settings = learner.generative
    if settings is None:
        raise UserError("generative finetuning needs the learner's `generative`")
    tokens = tokenize(learner, flatten(texts))
    batches = TrainBatches(
        tokens,
        settings.batch_size,
        seed=seed,
        epochs=settings.epochs,
        ways=sharding.batch_ways(mesh),
        microbatches=learner.microbatches,
    )
    key_model, key_state = jax.random.split(jax.random.key(seed))
    lora = Lora(learner.lora_rank) if learner.parameters == "lora" else None
    module, params = models.build_language_model(
        pretrained,
        rng=key_model,
        dropout=learner.dropout,
        remat=learner.remat,
        dtype=learner.dtype,
        lora=lora,
        mesh=mesh,
    )
    trainable, frozen = parameter_sets.partition(params, parameter_sets.label(params, rules(learner)))
    del params
    state = create(trainable, optimizer(settings, len(batches)), key_state, donate=True)
    frozen = jax.tree.map(jnp.asarray, frozen)
    del trainable
    placed: tuple[Any, Any] = (None, None)
    if mesh is not None:
        leaves, structure = jax.tree.flatten(state_shardings(state))
        placed = (tuple(leaves), structure)
    trained = fit(
        state,
        frozen,
        step=compiled_step(module, settings, learner.microbatches, len(batches), *placed),
        batches=batches,
        targets=np.ones((len(tokens), 2), np.float32),
        evaluate=lambda params: NOTHING,
        validation_targets=NOTHING,
        settings=LoopSettings(evaluations=1, select="final", checkpoint_seconds=learner.loop.checkpoint_seconds),
        folder=folder,
        profile=profile,
        progress=progress,
    )
    whole = parameter_sets.combine(trained.params, frozen)
    backbone = parameter_sets.fold_lora(whole["backbone"], lora.scale) if lora else whole["backbone"]
    return {"backbone": backbone}, trained.history.losses


def rules(learner: Learner) -> list[tuple[str, str]]:
    """Which parameters train, as `models.params.label` reads it."""
    found = [(r"/lora_[ab]$", "train"), (r"", "frozen")] if learner.parameters == "lora" else [(r"", "train")]
    if learner.preference is not None:  # it goes on under the pretrained head, so that must not move here
        found = [(r"^unembed/", "frozen"), *found]
    return found


def optimizer(settings: Generative, total_steps: int) -> optax.GradientTransformation:
    return make_optimizer(OptimizerConfig(learning_rate=settings.learning_rate), total_steps)


@functools.lru_cache(maxsize=4)
def compiled_step(
    module: nn.Module,
    settings: Generative,
    microbatches: int,
    total_steps: int,
    leaves: tuple[Any, ...] | None,
    structure: Any,
) -> Step:
    """The jitted step; seeds and tasks share it, so it compiles once. Shardings come flattened."""

    def apply(
        trainable: Any,
        frozen: Any,
        tokens: jax.Array,
        lengths: jax.Array,
        rng: jax.Array | None,
        packing: Packing | None = None,
    ) -> jax.Array:
        params = parameter_sets.combine(trainable, frozen)
        rngs = None if rng is None else {"dropout": rng}
        start = jnp.zeros_like(lengths)
        how: dict[str, Any] = {"deterministic": rng is None, "rngs": rngs, "packing": packing, "method": "score"}
        scores: Any = module.apply({"params": params}, tokens, lengths, start, **how)
        return scores

    return make_train_step(
        apply,
        losses.bind(next_token),
        optimizer(settings, total_steps),
        total_steps=total_steps,
        microbatches=microbatches,
        packed=True,
        shardings=None if leaves is None else jax.tree.unflatten(structure, leaves),
    )
