"""Classes as answers that a language model writes after a prompt: no new head (Burns et al. 2023, App. A.2, chess).

Training is by token: each token of the right answer is one row of logits over the vocabulary. Where every answer is one
token, a row's logits are those of the answers' tokens alone, and its targets the classes' own, soft or hard: then
every loss means what it means on a head. Answers of several tokens are learned hard, by the most probable class.

Labelling is constrained to the answers, so that it always gives a class; what a model would write beyond them, freely
decoded, would count as wrong, but a model that was finetuned to write one of them hardly does. Of few answers all are
scored, and the table holds their real probabilities. Of many one is decoded greedily: at each place the most probable
token that still begins an answer. The table then holds that answer's probability, and an equal share of the rest for
every other.
"""

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from w2s_jax import models
from w2s_jax.data.tokens import Text, Tokens, ragged
from w2s_jax.losses.base import BoundLoss
from w2s_jax.models.packing import Packing
from w2s_jax.models.params import Params
from w2s_jax.models.shapes import Model
from w2s_jax.runtime.errors import UserError
from w2s_jax.train import reading
from w2s_jax.train.learner import Learner

FEW = 16  # answers of which each is scored
BEFORE = "Answer:"  # what answers follow while their tokens are looked up
NONE = -1  # where there is no token


@dataclass(frozen=True)
class Answers:
    """Each class's answer as token ids, none of which begins another."""

    ids: tuple[tuple[int, ...], ...]

    @property
    def longest(self) -> int:
        return max(map(len, self.ids))


class Trie(NamedTuple):
    """Which tokens may come next. Node 0 is before the first.

    Attributes:
      tokens: the K different ones.
      next: the node after each of them; -1 where no answer continues that way.
      classes: the answer that ends at a node; -1 where none does.
    """

    tokens: Int[np.ndarray, " k"]
    next: Int[np.ndarray, "m k"]
    classes: Int[np.ndarray, " m"]


def answers(learner: Learner, names: Sequence[str]) -> Answers:
    """What the classes are called as tokens after a prompt, a space first; a newline ends them where they need an end.

    Raises:
      UserError: the model's tokenizer cannot tell two of them apart, or joins them with what is before; or the model
        is an encoder, which writes nothing.
    """
    config, tokenizer = models.outline(learner.model)[0], reading.tokenizer_of(learner.model, learner.chat)
    if config.is_encoder:
        raise UserError(f"{learner.model} is an encoder, which writes no text: choose a decoder, or output='head'")
    (before,) = tokenizer.encode([BEFORE])
    found: list[tuple[int, ...]] = []
    for end in ("", "\n"):
        rows = [tokenizer.encode([BEFORE], then=f" {name}{end}")[0] for name in names]
        found = [tuple(row[len(before) :]) for row in rows]
        for name, row, ids in zip(names, rows, found, strict=True):
            if row[: len(before)] != before or not ids:
                raise UserError(f"{learner.model}: answer {name!r} has no tokens of its own after {BEFORE!r}")
        begun = {ids[:length] for ids in found for length in range(1, len(ids))}
        if len(set(found)) == len(found) and not begun & set(found):
            return Answers(tuple(found))
    first, second = next(
        (a, b) for a, b in itertools.permutations(range(len(found)), 2) if found[a] == found[b][: len(found[a])]
    )
    raise UserError(
        f"{learner.model}: the answers {names[first]!r} and {names[second]!r} cannot be told apart as tokens; "
        "give the task other answers, or the learner output='head'"
    )


def stand_ins(n_classes: int) -> Answers:
    """Answers for where no tokenizer need be: the classes' numbers, digit by digit, in base 16."""
    digits = max(1, math.ceil(math.log(n_classes, 16)))
    return Answers(tuple(tuple(label // 16**place % 16 for place in range(digits)) for label in range(n_classes)))


def prompts(learner: Learner, answers: Answers, texts: Sequence[Text]) -> Tokens:
    """The texts in the learner's template as tokens, short enough that an answer fits after them.

    Raises:
      UserError: one is longer and the learner does not truncate (where it does, the beginning goes), or a text is a
        comparison.
    """
    if not all(isinstance(text, str) for text in texts):
        raise UserError("a comparison of two texts has no answer in words: give the learner output='head'")
    filled = [learner.template.replace("{text}", str(text)) for text in texts]
    return reading.encode_prompts(learner, filled, answers.longest)


def lessons(
    prompts: Tokens, answers: Answers, targets: Float[np.ndarray, "n c"]
) -> tuple[Tokens, Float[np.ndarray, "n a"]]:
    """What a model reads to learn these class probabilities, and what is to follow.

    Returns:
      Where answers are one token, both as they are. Otherwise each prompt with the most probable class's answer, whose
      last token nothing follows, and the answer's token ids, on the right of `longest` places; -1 fills the left.
    """
    if answers.longest == 1:
        return prompts, targets
    chosen = [answers.ids[label] for label in targets.argmax(axis=1)]
    wanted = np.full((len(chosen), answers.longest), float(NONE), np.float32)
    for row, ids in enumerate(chosen):
        wanted[row, answers.longest - len(ids) :] = ids
    return ragged([[*prompts[row].tolist(), *ids[:-1]] for row, ids in enumerate(chosen)]), wanted


def by_token(loss: BoundLoss, answers: Answers) -> BoundLoss:
    """The loss of a row as that of its answer's tokens, scaled so that the mean over rows is the mean over tokens.

    The result takes logits [B, A, V] and the token ids of `lessons`.
    """
    if answers.longest == 1:
        return loss

    def of_rows(
        logits: Float[Array, "b a v"],
        targets: Float[Array, "b a"],
        *,
        step: Any,
        total_steps: int,
        where: Bool[Array, " b"],
    ) -> Float[Array, " b"]:
        ids = targets.reshape(-1).astype(jnp.int32)
        real = (ids >= 0) & jnp.repeat(where, targets.shape[1])
        wanted = jax.nn.one_hot(ids, logits.shape[-1])
        flat = logits.reshape(-1, logits.shape[-1])
        values = loss(flat, wanted, step=step, total_steps=total_steps, where=real)
        return jnp.sum(values.reshape(targets.shape), axis=1) * jnp.sum(where) / jnp.maximum(jnp.sum(real), 1)

    return of_rows


def train_logits(
    module: Model,
    answers: Answers,
    params: Params,
    tokens: Array,
    lengths: Array,
    rng: Array | None,
    packing: Packing | None = None,
) -> Float[Array, "b *a v"]:
    """Of every answer [B, C] where answers are one token; otherwise of the tokens at the rows' ends [B, A, V]."""
    how: dict[str, Any] = {"deterministic": rng is None, "rngs": None if rng is None else {"dropout": rng}}
    logits: Any = module.apply(
        {"params": params}, tokens, lengths, answers.longest, **how, packing=packing, method="ends"
    )
    return logits[:, 0, np.array(answers.ids)[:, 0]] if answers.longest == 1 else logits


def label_logits(module: Model, answers: Answers, params: Params, tokens: Array, lengths: Array) -> Float[Array, "b c"]:
    """The table's logits after prompts."""
    if answers.longest == 1:
        return train_logits(module, answers, params, tokens, lengths, None)
    scheme = scored if len(answers.ids) <= FEW else decoded
    return scheme(functools.partial(module.apply, {"params": params}), answers, tokens, lengths)


def scored(run: Callable[..., Any], answers: Answers, tokens: Array, lengths: Array) -> Float[Array, "b c"]:
    """The log-probability of each answer after each prompt: the sum of its tokens'. The prompt is read once.

    Args:
      run: `LanguageModel.apply` with its parameters.
    """
    logits, past = run(tokens, lengths, method="read")
    first = jax.nn.log_softmax(logits)
    sizes = np.array([len(ids) for ids in answers.ids], np.int32)
    padded = np.array([ids + (0,) * (answers.longest - len(ids)) for ids in answers.ids], np.int32)
    nothing = jnp.zeros_like(lengths)

    def of(answer: tuple[Array, Array]) -> Array:
        ids, size = answer
        rows = jnp.broadcast_to(ids, (len(tokens), len(ids)))
        rest = run(rows, jnp.broadcast_to(size, lengths.shape), nothing, past=(past,), method="score")
        return first[:, ids[0]] + rest[:, 0]

    return jax.lax.map(of, (jnp.asarray(padded), jnp.asarray(sizes))).T


def decoded(run: Callable[..., Any], answers: Answers, tokens: Array, lengths: Array) -> Float[Array, "b c"]:
    """The greedily decoded answer's log-probability among those that could be, and an equal share of what is left.

    Greedy decoding need not find the most probable answer. So that it is the table's, its probability counts as that of
    two others at least.
    """
    trie = jax.tree.map(jnp.asarray, _trie(answers))
    count = len(answers.ids)

    def choose(logits: Array, node: Array, total: Array) -> tuple[Array, Array, Array]:
        after, open_ = trie.next[node], trie.classes[node] < 0
        allowed = jnp.where(after >= 0, logits[:, trie.tokens], jnp.finfo(jnp.float32).min)
        best = jnp.argmax(allowed, axis=1)[:, None]
        gained = jnp.take_along_axis(jax.nn.log_softmax(allowed), best, axis=1)[:, 0]
        moved = jnp.take_along_axis(after, best, axis=1)[:, 0]
        return trie.tokens[best], jnp.where(open_, moved, node), total + jnp.where(open_, gained, 0.0)

    def write(carry: Any, place: Array) -> tuple[Any, None]:
        logits, node, total, written = carry
        token, node, total = choose(logits, node, total)
        logits, read = run(token, jnp.ones_like(lengths), (past, written), method="read")
        return (logits, node, total, written.write(read, place)), None

    logits, past = run(tokens, lengths, method="read")
    room = answers.longest - 1
    start = logits, jnp.zeros_like(lengths), jnp.zeros(len(tokens)), past.room(room)
    (logits, node, total, _), _ = jax.lax.scan(write, start, jnp.arange(room))
    _, node, total = choose(logits, node, total)
    chosen = jnp.clip(jnp.exp(total), 2 / (count + 1), 1 - 1e-6)[:, None]
    own = jnp.arange(count) == trie.classes[node][:, None]
    return jnp.log(jnp.where(own, chosen, (1 - chosen) / (count - 1)))


@functools.lru_cache(maxsize=8)
def _trie(answers: Answers) -> Trie:
    tokens = sorted({token for ids in answers.ids for token in ids})
    place = {token: index for index, token in enumerate(tokens)}
    nodes: dict[tuple[int, ...], int] = {(): 0}
    for ids in answers.ids:
        for length in range(1, len(ids) + 1):
            nodes.setdefault(ids[:length], len(nodes))
    following = np.full((len(nodes), len(tokens)), NONE, np.int32)
    for path, node in nodes.items():
        if path:
            following[nodes[path[:-1]], place[path[-1]]] = node
    classes = np.full(len(nodes), NONE, np.int32)
    for label, ids in enumerate(answers.ids):
        classes[nodes[ids]] = label
    return Trie(np.array(tokens, np.int32), following, classes)
