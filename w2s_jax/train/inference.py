"""A language model on its devices that reads prompts and trains nothing."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import linen as nn
from jax.sharding import Mesh

from w2s_jax import models
from w2s_jax.data.batching import Batch, EvalBatches
from w2s_jax.data.tokens import Tokens
from w2s_jax.models import Pretrained
from w2s_jax.models.shapes import Params
from w2s_jax.runtime import sharding
from w2s_jax.train.loop import Progress

Programs = Mapping[str, Callable[..., Any]]


class Inference(NamedTuple):
    """Parameters where they are, and what runs on them.

    Attributes:
      programs: compiled functions of parameters, a batch, and what else each takes.
    """

    params: Params
    mesh: Mesh | None
    programs: Programs

    def run(self, program: str, batch: tuple[np.ndarray, ...], *given: Any) -> Any:
        """On a batch that is sharded over the devices, or, where they do not divide it, replicated."""
        if self.mesh is not None:
            whole = len(batch[0]) % sharding.batch_ways(self.mesh) > 0
            place = sharding.replicated(self.mesh) if whole else sharding.batch_sharding(self.mesh)
            batch = sharding.place(batch, place)
        with sharding.activate(self.mesh):
            return self.programs[program](self.params, batch, *given)

    def batches(self, tokens: Tokens, rows: int, progress: Progress | None) -> Iterator[Batch]:
        """Of so many rows for each device at most; `progress` is called with (rows done, rows, ())."""
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
      pretrained: its parameters are on the devices of `mesh`.
      compiled: gives the programs of a module.

    Raises:
      UserError: the model is not a decoder.
    """
    module, params = models.build_language_model(pretrained, rng=jax.random.key(0), dtype=dtype, mesh=mesh)
    return Inference(params, mesh, compiled(module, mesh))
