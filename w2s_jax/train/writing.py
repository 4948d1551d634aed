"""Text that a language model writes after prompts: greedily, or sampled."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int, UInt32

from w2s_jax import models
from w2s_jax.models import Pretrained
from w2s_jax.models.cache import Cache
from w2s_jax.models.params import Params
from w2s_jax.models.tokenizer import TextTokenizer
from w2s_jax.runtime import files, sharding
from w2s_jax.train import inference, reading
from w2s_jax.train.inference import Programs
from w2s_jax.train.learner import Learner
from w2s_jax.train.loop import Progress

ROWS = 32
NONE = -1  # after a row's end


class Writer:
    """A language model on its devices.

    Args:
      pretrained: what a stage trained; None is the published model.

    Raises:
      UserError: the model is not a decoder.
    """

    def __init__(self, learner: Learner, mesh: Mesh | None = None, pretrained: Pretrained | None = None) -> None:
        self._learner = learner
        config, self._tokenizer = models.outline(learner.model)
        start = models.load_sharded(learner.model, mesh) if pretrained is None else pretrained
        self._model = inference.language_model(start, learner.dtype, mesh, _compiled)
        self._stops = stops(self._tokenizer, config.vocab_size)

    def __call__(
        self,
        prompts: Sequence[str],
        *,
        tokens: int,
        temperature: float = 0.0,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> list[str]:
        """How each prompt continues: up to its line's end, the text's end, or so many tokens.

        Args:
          temperature: what the logits are divided by; 0 takes the most probable token.
          seed: of sampling; what a prompt draws depends on this and on the prompt alone.
          progress: called with (rows done, rows, ()).

        Raises:
          UserError: a prompt is longer than model and learner allow, and may not be truncated. (Where it may, its
            beginning goes.)
        """
        asked = reading.encode_prompts(self._learner, prompts, tokens)
        draws = np.array([int(files.sha256_text(prompt)[:8], 16) for prompt in prompts], np.uint32)
        written = [""] * len(prompts)
        for batch in self._model.batches(asked, ROWS, progress):
            given = (batch.tokens, batch.lengths, np.where(batch.rows >= 0, draws[batch.rows], 0).astype(np.uint32))
            found = self._model.run("write", given, self._stops, seed, temperature, tokens, temperature > 0)
            for row, ids in zip(batch.rows.tolist(), np.asarray(found).tolist(), strict=True):
                if row >= 0:
                    written[row] = self._tokenizer.decode([each for each in ids if each != NONE]).strip()
        return written


def stops(tokenizer: TextTokenizer, vocabulary: int, *, lines: bool = True) -> Bool[np.ndarray, " v"]:
    """Which tokens end a text: special ones, ids that the tokenizer does not know, and, if it is one line, newlines."""
    known = min(tokenizer.vocab_size, vocabulary)
    found = np.ones(vocabulary, bool)
    found[:known] = False
    if lines:
        found[:known] = ["\n" in piece for piece in tokenizer.inner.decode_batch([[id] for id in range(known)])]
    special = [id for id, token in tokenizer.inner.get_added_tokens_decoder().items() if token.special]
    found[[id for id in special if id < vocabulary]] = True
    return found


@functools.lru_cache(maxsize=4)
def _compiled(module: nn.Module, mesh: Mesh | None) -> Programs:
    def read(params: Params, tokens: Array, lengths: Array, past: Sequence[Cache] = ()) -> tuple[Array, Cache]:
        found: Any = module.apply({"params": params}, tokens, lengths, past=past, method="read")
        return found

    def write(
        params: Params,
        batch: tuple[Int[Array, "b t"], Int[Array, " b"], UInt32[Array, " b"]],
        stops: Bool[Array, " v"],
        seed: Int[Array, ""] | int,
        temperature: Float[Array, ""] | float,
        count: int,
        sampled: bool,
    ) -> Int[Array, "b n"]:
        tokens, lengths, draws = batch
        keys = jax.vmap(functools.partial(jax.random.fold_in, jax.random.key(seed)))(draws)
        logits, past = read(params, tokens, lengths)

        def choose(logits: Array, place: Array) -> Array:
            if not sampled:
                return jnp.argmax(logits, axis=-1)
            drawn = jax.vmap(jax.random.fold_in, (0, None))(keys, place)
            return jax.vmap(jax.random.categorical)(drawn, logits / temperature)

        def goes_on(carry: Any) -> Array:
            place, _, ended, *_ = carry
            return (place < count) & ~jnp.all(ended)

        def one_more(carry: Any) -> Any:
            place, logits, ended, written, ids = carry
            chosen = choose(logits, place).astype(jnp.int32)
            ended = ended | stops[chosen]
            ids = ids.at[:, place].set(jnp.where(ended, NONE, chosen))
            logits, one = read(params, chosen[:, None], jnp.ones_like(lengths), (past, written))
            return place + 1, logits, ended, written.write(one, place), ids

        ids = jnp.full((len(tokens), count), NONE, jnp.int32)
        return jax.lax.while_loop(goes_on, one_more, (0, logits, lengths == 0, past.room(count), ids))[-1]

    where = None if mesh is None else sharding.replicated(mesh)
    return {"write": jax.jit(write, static_argnums=(5, 6), out_shardings=where)}
