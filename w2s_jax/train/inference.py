"""A language model on its devices that reads prompts and trains nothing."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import linen as nn
from jax.sharding import Mesh

from w2s_jax import models
from w2s_jax.data.batching import Batch, EvalBatches
from w2s_jax.data.tokens import Tokens, encode
from w2s_jax.models import Pretrained
from w2s_jax.runtime import sharding
from w2s_jax.runtime.errors import UserError
from w2s_jax.train.learner import Learner
from w2s_jax.train.loop import Progress

Programs = Mapping[str, Callable[..., Any]]


class Inference(NamedTuple):
    """Parameters where they are, and what runs on them.

    Attributes:
      programs: compiled functions of parameters, a batch, and what else each takes.
    """

    params: Any
    mesh: Mesh | None
    programs: Programs

    def run(self, program: str, batch: tuple[np.ndarray, ...], *given: Any) -> Any:
        """On a batch that is cut over the devices, or, where they do not divide it, held by each."""
        if self.mesh is not None:
            whole = len(batch[0]) % sharding.batch_ways(self.mesh) > 0
            place = sharding.replicated(self.mesh) if whole else sharding.batch_sharding(self.mesh)
            batch = sharding.place(batch, place)
        with sharding.activate(self.mesh):
            return self.programs[program](self.params, batch, *given)

    def batches(self, tokens: Tokens, rows: int, progress: Progress | None) -> Iterator[Batch]:
        """Of so many rows for each device at most; `progress` is told (rows done, rows, ())."""
        done = 0
        for batch in EvalBatches(tokens, rows, sharding.batch_ways(self.mesh)):
            yield batch
            done += int((batch.rows >= 0).sum())
            if progress is not None:
                progress(done, len(tokens), ())


def language_model(
    pretrained: Pretrained, dtype: str, mesh: Mesh | None, compiled: Callable[[nn.Module, Mesh | None], Programs]
) -> Inference:
    """A pretrained model under its language-model head.

    Args:
      pretrained: its parameters lie on the devices of `mesh`.
      compiled: gives the programs of a module.

    Raises:
      UserError: the model is no decoder.
    """
    module, params = models.build_language_model(pretrained, rng=jax.random.key(0), dtype=dtype, mesh=mesh)
    return Inference(params, mesh, compiled(module, mesh))


def encode_prompts(learner: Learner, prompts: Sequence[str], room: int) -> Tokens:
    """Prompts as tokens, short enough that `room` more fit after each.

    Raises:
      UserError: one is longer and the learner does not truncate. (Where it does, the beginning goes.)
    """
    _, tokenizer = models.outline(learner.model)
    left = longest(learner) - room
    if left < 1:
        raise UserError(f"{room} tokens to write leave no room for a prompt; raise max_tokens")
    return encode(tokenizer, prompts, max_tokens=left, too_long=learner.too_long, keep="last")


def longest(learner: Learner) -> int:
    """Tokens that a prompt and what follows it may have."""
    return min(learner.max_tokens, models.outline(learner.model)[0].max_positions)
