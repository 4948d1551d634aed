"""A pretrained decoder under its language-model head."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float, Int

from w2s_jax.models.cache import Cache, Past, positions_after
from w2s_jax.models.config import ModelConfig
from w2s_jax.models.decoder import Decoder
from w2s_jax.models.layers import Embedding, Lora, Settings
from w2s_jax.models.packing import Packing, layout, pack, spread
from w2s_jax.models.pooling import pool
from w2s_jax.models.quantized import Base

CHUNK = 128  # positions whose logits over the vocabulary exist at once

Tokens = Int[Array | np.ndarray, "b t"]
Lengths = Int[Array | np.ndarray, " b"]


class LanguageModel(nn.Module):
    """Next tokens: `logits = hidden @ table.T`, the table being the embeddings or, where not tied, one of its own.

    Its parameters are `{"backbone": ...}`, those of a classifier's backbone, and `{"unembed": ...}` where not tied.

    Attributes:
      config: of a decoder.
      dropout, scan, remat, dtype, lora, base: as in `Classifier`.
    """

    config: ModelConfig
    dropout: float = 0.0
    scan: bool = True
    remat: str = "none"
    dtype: str = "float32"
    lora: Lora | None = None
    base: Base = "float32"

    def setup(self) -> None:
        settings = Settings(jnp.dtype(self.dtype), self.dropout, lora=self.lora, base=self.base)
        self.backbone = Decoder(self.config, settings, self.scan, self.remat)
        if not self.config.tied_embeddings:
            self.unembed = Embedding(self.config.vocab_size, self.config.hidden_size, settings)

    def __call__(self, tokens: Tokens, lengths: Lengths, *, deterministic: bool = True) -> Float[Array, "b t v"]:
        """Logits at every position, float32: all of them exist at once."""
        return self._logits(self._hidden(tokens, lengths, deterministic))

    def last(self, tokens: Tokens, lengths: Lengths, past: Past = ()) -> Float[Array, "b v"]:
        """Logits of what follows each row's last real token, float32. The rows continue `past`, if there is one."""
        return self.read(tokens, lengths, past)[0]

    def read(self, tokens: Tokens, lengths: Lengths, past: Past = ()) -> tuple[Float[Array, "b v"], Cache]:
        """What `last` gives, and the cache of these tokens, without those of the past."""
        tokens, lengths = jnp.asarray(tokens), jnp.asarray(lengths)
        hidden, (keys, values) = self.backbone(tokens, lengths, emit="cache", past=past)
        logits = self._logits(pool(hidden, lengths, "last"))
        return logits, Cache(keys, values, positions_after(past, lengths, tokens.shape[1]))

    def ends(
        self,
        tokens: Tokens,
        lengths: Lengths,
        count: int,
        *,
        deterministic: bool = True,
        packing: Packing | None = None,
    ) -> Float[Array, "b c v"]:
        """Logits of what follows each of a row's last `count` real tokens, float32.

        Where a row has fewer tokens, the places before its start hold nothing of use.

        Args:
          packing: room for the real tokens alone, as in `Classifier`.
        """
        hidden: Array = self.backbone(tokens, lengths, deterministic=deterministic, packing=packing)[0]
        places = jnp.maximum(jnp.asarray(lengths)[:, None] - count + jnp.arange(count), 0)
        return self._logits(jnp.take_along_axis(hidden, places[..., None], axis=1))

    def score(
        self,
        tokens: Tokens,
        lengths: Lengths,
        start: Int[Array | np.ndarray, " b"],
        *,
        deterministic: bool = True,
        packing: Packing | None = None,
        past: Past = (),
    ) -> Float[Array, "b 2"]:
        """Of each row from its token `start` on: the sum of log-probabilities, and how many tokens they are of.

        A token's probability is given those before it, so the first of a row has none. The backward pass computes
        the logits again, so that memory holds those of `CHUNK` positions.

        Args:
          packing: room for the real tokens alone, as in `Classifier`.
          past: what the rows continue; it excludes `packing`.
        """
        tokens, lengths = jnp.asarray(tokens), jnp.asarray(lengths)
        hidden: Array = self.backbone(tokens, lengths, deterministic=deterministic, packing=packing, past=past)[0]
        place = jnp.arange(1, tokens.shape[1] + 1)
        counts = (place < lengths[:, None]) & (place >= jnp.asarray(start)[:, None])
        following = jnp.pad(tokens[:, 1:], ((0, 0), (0, 1)))
        packed = None if packing is None else layout(lengths, tokens.shape[1], packing)
        if packed is not None:
            hidden, following = pack(hidden, packed), pack(following, packed)
        values = self._log_probs(hidden, following)
        if packed is not None:
            values = spread(values, packed)
        return jnp.stack([jnp.sum(values, axis=1, where=counts), jnp.sum(counts, axis=1)], axis=1)

    def _log_probs(self, hidden: Float[Array, "g n d"], following: Int[Array, "g n"]) -> Float[Array, "g n"]:
        """Of each following token."""
        shape, following = following.shape, following.reshape(-1)
        flat = hidden.reshape(-1, hidden.shape[-1])
        spare = -len(flat) % CHUNK
        flat, following = jnp.pad(flat, ((0, spare), (0, 0))), jnp.pad(following, (0, spare))
        table = self._table()

        @jax.checkpoint
        def of_chunk(chunk: Any) -> Array:
            states, wanted = chunk
            logits = _logits(states, table, self.config.logits_softcap)
            picked = jnp.take_along_axis(logits, wanted[:, None], axis=1)[:, 0]
            return picked - jax.nn.logsumexp(logits, axis=-1)

        chunks = flat.reshape(-1, CHUNK, flat.shape[-1]), following.reshape(-1, CHUNK)
        return jax.lax.map(of_chunk, chunks).reshape(-1)[: shape[0] * shape[1]].reshape(shape)

    def _hidden(self, tokens: Tokens, lengths: Lengths, deterministic: bool) -> Float[Array, "b t d"]:
        return self.backbone(tokens, lengths, deterministic=deterministic)[0]

    def _logits(self, hidden: Float[Array, "*n d"]) -> Float[Array, "*n v"]:
        return _logits(hidden, self._table(), self.config.logits_softcap)

    def _table(self) -> Float[Array, "v d"]:
        tied = self.config.tied_embeddings
        table = self.backbone.variables["params"]["embed"]["embedding"] if tied else self.unembed.embedding
        return jnp.asarray(nn.unbox(table))


def _logits(hidden: Float[Array, "*n d"], table: Float[Array, "v d"], softcap: float | None) -> Float[Array, "*n v"]:
    logits = (hidden @ table.astype(hidden.dtype).T).astype(jnp.float32)
    return logits if softcap is None else softcap * jnp.tanh(logits / softcap)
