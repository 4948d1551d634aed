"""A language model that writes several texts at once, of which each begins and ends by itself, a few tokens at a time.

All shapes are fixed when it is made: a cache of so many rows and places, prompts that are read in chunks, and a stride
of tokens that all rows write together. So nothing compiles while somebody waits, a long prompt holds up the others by
one chunk at a time, and what a row writes does not depend on what is in the others.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int, UInt32

from w2s_jax import models
from w2s_jax.models.cache import Cache
from w2s_jax.models.config import ModelConfig
from w2s_jax.models.params import Params
from w2s_jax.runtime.errors import UserError
from w2s_jax.train import inference, reading
from w2s_jax.train.inference import Programs
from w2s_jax.train.learner import Learner
from w2s_jax.train.writing import NONE

CHUNK = 128  # tokens of a prompt that are read at once
STRIDE = 4  # tokens that are written at once


class State(flax.struct.PyTreeNode):
    """What is on the devices between two calls, of R rows.

    Attributes:
      cache: of what each row has read and written.
      logits: of each row's next token.
      length: how many tokens each row has read and written.
      written: how many of these it wrote.
      ended: the row writes no more.
    """

    cache: Cache
    logits: Float[Array, "r v"]
    length: Int[Array, " r"]
    written: Int[Array, " r"]
    ended: Bool[Array, " r"]


class Written(NamedTuple):
    """What a row wrote in a call: token ids, and whether it has ended."""

    ids: list[int]
    ended: bool


class _Row(NamedTuple):
    """A text that is being written.

    Attributes:
      prompt: its token ids; `read` of them are in the cache.
      draw, seed: decide what is drawn.
      tokens: the most that are written.
    """

    prompt: tuple[int, ...]
    read: int
    draw: int
    seed: int
    tokens: int


class Streaming:
    """Rows in which texts are written. It is used by one thread.

    Args:
      learner: model, type of the computation, and `max_tokens`: the most that a prompt and what is written after it
        may have, as far as the model allows.
      rows: how many are written at once.
      stops: the tokens that end a text.
      temperature: what the logits are divided by; 0 takes the most probable token.

    Raises:
      UserError: the model is not a decoder.
    """

    def __init__(self, learner: Learner, *, rows: int, stops: Bool[np.ndarray, " v"], temperature: float = 0.0) -> None:
        pretrained = models.load_sharded(learner.model, None)
        self._model = inference.language_model(pretrained, learner.dtype, None, _compiled)
        self._learner, self._stops, self._temperature = learner, stops, float(temperature)
        self.longest = longest(learner)
        self._rows: list[_Row | None] = [None] * rows
        self._kept: list[tuple[int, ...]] = [()] * rows  # the prompts whose chunks are still in the cache
        self._blank = functools.partial(_blank, pretrained.config, learner.dtype, rows, self.longest)
        self._state = self._blank()

    @property
    def free(self) -> list[int]:
        """The rows that may begin a text."""
        return [place for place, row in enumerate(self._rows) if row is None]

    def begin(self, prompt: Sequence[int], *, draw: int, seed: int, tokens: int) -> int:
        """A free row begins to read a prompt: the one that has read most of it before. Returns its number.

        Args:
          prompt: token ids; with `tokens` more no longer than `longest`.
          draw: 32 bits of the prompt; they and the seed decide what is drawn.
          tokens: the most that are written; with 0 the prompt is read, for what `logits` then gives.

        Raises:
          UserError: the model has no such token.
        """
        if not prompt or len(prompt) + tokens > self.longest:
            raise ValueError(f"a prompt of {len(prompt)} tokens and {tokens} more, of {self.longest}")
        reading.check_known(self._learner.model, np.array(prompt))
        ids = tuple(prompt)
        known = {place: _chunks_alike(self._kept[place], ids) for place in self.free}
        place = max(known, key=lambda place: known[place])
        self._rows[place] = _Row(ids, known[place] * CHUNK, draw, seed, tokens)
        self._kept[place] = ids[: known[place] * CHUNK]
        return place

    def logits(self, place: int) -> Float[np.ndarray, " v"]:
        """Of the next token, after a row has ended."""
        return np.asarray(self._state.logits[place])

    def leave(self, place: int) -> None:
        """The row's text is not wanted any more."""
        self._rows[place] = None

    def clear(self) -> None:
        """Forgets all texts, after a call that failed."""
        self._rows = [None] * len(self._rows)
        self._kept = [()] * len(self._rows)
        self._state = self._blank()

    def advance(self) -> dict[int, Written]:
        """Every row reads one more chunk of its prompt, or, where it has read all, writes up to `STRIDE` tokens.

        Returns:
          By row: what those that write have written. A row that has ended is free.
        """
        for place, row in enumerate(self._rows):
            if row is not None and row.read < len(row.prompt):
                self._read(place, row)
        writing = np.array([row is not None and row.read == len(row.prompt) for row in self._rows])
        if not writing.any():
            return {}
        draws, seeds, limits = (
            np.array([0 if row is None else getattr(row, name) for row in self._rows], np.uint32)
            for name in ("draw", "seed", "tokens")
        )
        given = (writing, draws, seeds, limits.astype(np.int32))
        self._state, ids = self._model.run(
            "write", given, self._state, self._stops, self._temperature, self._temperature > 0
        )
        rows, ended = np.asarray(ids).tolist(), np.asarray(self._state.ended)
        found = {
            place: Written([each for each in rows[place] if each != NONE], bool(ended[place]))
            for place in np.flatnonzero(writing).tolist()
        }
        for place, each in found.items():
            if each.ended:
                self.leave(place)
        return found

    def _read(self, place: int, row: _Row) -> None:
        part = row.prompt[row.read : row.read + CHUNK]
        padded = np.zeros((1, CHUNK), np.int32)
        padded[0, : len(part)] = part
        given = (padded, np.array([len(part)], np.int32))
        self._state = self._model.run("read", given, self._state, place, row.read)
        read = row.read + len(part)
        self._rows[place] = row._replace(read=read)
        self._kept[place] = row.prompt[: read // CHUNK * CHUNK]


def longest(learner: Learner) -> int:
    """Tokens that a prompt and what is written after it may have.

    Where rotary positions depend on a text's length, texts stay below the length from which on they do: what has been
    read could not be changed any more.
    """
    switch = models.outline(learner.model)[0].switch_length
    return min(reading.longest(learner), switch or learner.max_tokens)


def check(learner: Learner) -> None:
    """That a model can write.

    Raises:
      UserError: it is an encoder.
    """
    if models.outline(learner.model)[0].is_encoder:
        raise UserError(f"{learner.model} is an encoder, which writes nothing: choose a decoder")


def _chunks_alike(kept: Sequence[int], prompt: Sequence[int]) -> int:
    """How many whole chunks of a prompt a row has read before; its last token is always read, for what follows it."""
    most = min(len(kept), len(prompt) - 1) // CHUNK
    same = [kept[i * CHUNK : (i + 1) * CHUNK] == prompt[i * CHUNK : (i + 1) * CHUNK] for i in range(most)]
    return same.index(False) if False in same else most


def _blank(config: ModelConfig, dtype: str, rows: int, places: int) -> State:
    """Room for whole chunks, so that a prompt's last one, padded, fits, and for a stride beyond the last token."""
    room = -(-(places + STRIDE) // CHUNK) * CHUNK
    empty = jnp.zeros((config.n_layers, rows, room, config.n_kv_heads, config.head_dim), dtype)
    cache = Cache(empty, jnp.copy(empty), jnp.full((rows, room), -1, jnp.int32))  # donated, so no array is there twice
    nothing = jnp.zeros(rows, jnp.int32)
    logits = jnp.zeros((rows, config.vocab_size), jnp.float32)
    return State(cache, logits, nothing, jnp.copy(nothing), jnp.zeros(rows, bool))


def _row_of(cache: Cache, row: Array | int) -> Cache:
    return Cache(
        jax.lax.dynamic_slice_in_dim(cache.keys, row, 1, axis=1),
        jax.lax.dynamic_slice_in_dim(cache.values, row, 1, axis=1),
        jax.lax.dynamic_slice_in_dim(cache.positions, row, 1, axis=0),
    )


def _with_tokens(cache: Cache, new: Cache, row: Array | int, place: Array | int) -> Cache:
    """The cache with the tokens of another one, of one row, in a row from a place on."""
    return Cache(
        jax.lax.dynamic_update_slice(cache.keys, new.keys, (0, row, place, 0, 0)),
        jax.lax.dynamic_update_slice(cache.values, new.values, (0, row, place, 0, 0)),
        jax.lax.dynamic_update_slice(cache.positions, new.positions, (row, place)),
    )


@functools.lru_cache(maxsize=4)
def _compiled(module: nn.Module, mesh: Mesh | None) -> Programs:
    """`read` a chunk of one row's prompt, `write` a stride of all rows that do."""

    def apply(params: Params, tokens: Array, lengths: Array, *past: Cache) -> tuple[Array, Cache]:
        found: Any = module.apply({"params": params}, tokens, lengths, past=past, method="read")
        return found

    def read(
        params: Params,
        batch: tuple[Int[Array, "1 t"], Int[Array, " 1"]],
        state: State,
        row: Int[Array, ""] | int,
        start: Int[Array, ""] | int,
    ) -> State:
        tokens, lengths = batch
        mine = _row_of(state.cache, row)
        places = jnp.arange(mine.positions.shape[1])
        mine = mine.replace(positions=jnp.where(places < start, mine.positions, -1))
        logits, new = apply(params, tokens, lengths, mine)
        cache = state.cache.replace(
            positions=jax.lax.dynamic_update_slice(state.cache.positions, mine.positions, (row, 0))
        )
        return State(
            _with_tokens(cache, new, row, start),
            state.logits.at[row].set(logits[0]),
            state.length.at[row].set(start + lengths[0]),
            state.written.at[row].set(0),
            state.ended.at[row].set(False),
        )

    def write(
        params: Params,
        batch: tuple[Bool[Array, " r"], UInt32[Array, " r"], UInt32[Array, " r"], Int[Array, " r"]],
        state: State,
        stops: Bool[Array, " v"],
        temperature: Float[Array, ""] | float,
        sampled: bool,
    ) -> tuple[State, Int[Array, "r n"]]:
        writing, draws, seeds, limits = batch
        keys = jax.vmap(lambda seed, draw: jax.random.fold_in(jax.random.key(seed), draw))(seeds, draws)

        def choose(logits: Array, written: Array) -> Array:
            if not sampled:
                return jnp.argmax(logits, axis=-1)
            drawn = jax.vmap(jax.random.fold_in)(keys, written)
            return jax.vmap(jax.random.categorical)(drawn, logits / temperature)

        def one_more(carry: tuple[State, Cache], place: Array) -> tuple[tuple[State, Cache], Array]:
            state, new = carry
            chosen = choose(state.logits, state.written).astype(jnp.int32)
            ended = state.ended | (writing & (stops[chosen] | (state.written >= limits)))
            goes_on = writing & ~ended
            more = goes_on.astype(jnp.int32)
            logits, one = apply(params, chosen[:, None], more, state.cache, new)
            kept = jnp.where(goes_on[:, None], logits, state.logits)
            after = State(state.cache, kept, state.length + more, state.written + more, ended)
            return (after, new.write(one, place)), jnp.where(goes_on, chosen, NONE)

        lengths, start = state.length, (state, state.cache.room(STRIDE))
        (state, new), ids = jax.lax.scan(one_more, start, jnp.arange(STRIDE))
        cache = state.cache
        for row in range(len(draws)):  # one that does not write gets nothing, beyond its last token
            cache = _with_tokens(cache, _row_of(new, row), row, lengths[row])
        # A row that has written all it may is known to have ended without another call.
        ended = state.ended | (writing & (state.written >= limits))
        return state.replace(cache=cache, ended=ended), ids.T

    return {
        "read": jax.jit(read, donate_argnums=2),
        "write": jax.jit(write, donate_argnums=2, static_argnums=5),
    }
