"""How the tensors of a checkpoint hold our parameters: one row a tensor, read and written by the same table.

A family of models (`families/`) builds its table from `linear`, `fused_qkv` and `norm`. In a tensor's name `{i}` is the
layer and `{e}` the expert; ours lie stacked along first axes, layers before experts.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple, TypeVar

import numpy as np

from w2s_jax.models.config import ModelConfig, NormKind

Axis = TypeVar("Axis")


class TensorLayout(NamedTuple):
    """How one tensor of a checkpoint holds one parameter of ours, or several.

    Our side is flat: tables [rows, dimensions], matrices [inputs, outputs] and vectors. What is written is whole; what
    is read may be a piece, and is of one parameter.

    Attributes:
      ours: the numbers of a piece as we keep them, still where they lie in theirs.
      theirs: their tensor, from all its parameters.
      transposed: their rows are our columns.
      block: how many of their rows can only be converted together.
      turns: where several parameters take turns along an axis of theirs: the axis, and how many numbers each has then.
      rows: where several follow one another along the first axis of theirs: how many rows each has.
    """

    ours: Callable[[np.ndarray, ModelConfig], np.ndarray]
    theirs: Callable[[Sequence[np.ndarray], ModelConfig], np.ndarray]
    transposed: bool = False
    block: Callable[[ModelConfig], int] = lambda _: 1
    turns: tuple[Literal[0, -1], Callable[[ModelConfig], int]] | None = None
    rows: Callable[[ModelConfig], Sequence[int]] | None = None


class TensorRow(NamedTuple):
    """One tensor of a checkpoint.

    Attributes:
      paths: of the parameters that it holds.
      name: its plain name, without a family's prefix.
      first: the first layer that has one. What ours hold for those before it is a norm's scale of 1, and is not used.
    """

    paths: tuple[str, ...]
    name: str
    layout: TensorLayout
    first: int = 0

    @property
    def stacked(self) -> int:
        """How many first axes of ours are of tensors of their own: 1 where each layer has one, 2 where each of its
        experts has."""
        return ("{i}" in self.name) + ("{e}" in self.name)

    def places(self, config: ModelConfig) -> Iterator[tuple[int, ...]]:
        """Where each tensor lies along those axes."""
        experts = 1 if config.experts is None else config.experts.count
        return itertools.product(*[range(self.first, config.n_layers), range(experts)][: self.stacked])

    def at(self, place: tuple[int, ...]) -> str:
        """The name of the tensor there."""
        return self.name.format(**dict(zip("ie", place, strict=False)))


def flat_shape(path: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a parameter, of one layer, on the flat side of a layout."""
    return tuple(math.prod(sizes) for sizes in _flat(path, shape))


def flat_spans(path: str, spans: Sequence[range], shape: tuple[int, ...]) -> list[range]:
    """A piece of a parameter on the flat side; `spans` are along the axes of `shape`, and heads are not cut."""
    found = []
    for span, (_, *heads) in zip(_flat(path, spans), _flat(path, shape), strict=True):
        width = math.prod(heads)
        found.append(range(span[0].start * width, span[0].stop * width))
    return found


def their_spans(row: TensorRow, part: int, spans: Sequence[range], config: ModelConfig) -> list[list[range]]:
    """Where a piece of one of a tensor's parameters lies in it: along each axis of theirs, one range or several."""
    layout = row.layout
    found = [[span] for span in (reversed(spans) if layout.transposed else spans)]
    if layout.turns is not None:
        axis, width = layout.turns[0], layout.turns[1](config)
        (span,) = found[axis]
        cuts = [span.start, *range((span.start // width + 1) * width, span.stop, width), span.stop]
        shifts = [(cut // width * (len(row.paths) - 1) + part) * width for cut in cuts]
        found[axis] = [range(a + by, b + by) for a, b, by in zip(cuts, cuts[1:], shifts, strict=False)]
    if layout.rows is not None:
        before = sum(layout.rows(config)[:part])
        found[0] = [range(span.start + before, span.stop + before) for span in found[0]]
    return found


def _flat(path: str, axes: Sequence[Axis]) -> list[Sequence[Axis]]:
    """The axes of a parameter, by those of its flat side."""
    if path.endswith("/kernel"):
        inputs = 2 if path.endswith("attention/output/kernel") else 1
        return [axes[:inputs], axes[inputs:]]
    return [axes[:1], axes[1:]] if path.endswith("/embedding") else [axes]


def _join_heads(parts: Sequence[np.ndarray], config: ModelConfig) -> np.ndarray:
    heads = [part.T.reshape(config.n_heads, config.head_dim, *part.T.shape[1:]) for part in parts]
    return np.stack(heads, axis=1).reshape(-1, *parts[0].T.shape[1:])


def _same(array: np.ndarray, _: ModelConfig) -> np.ndarray:
    return array


def _one_by_one(rows: Callable[[ModelConfig], Sequence[int]]) -> TensorLayout:
    return TensorLayout(
        _same,
        lambda parts, _: np.concatenate([part.T for part in parts], axis=0),
        transposed=True,
        rows=rows,
    )


def _heads(config: ModelConfig) -> list[int]:
    """How many numbers query, key and value have."""
    return [count * config.head_dim for count in (config.n_heads, config.n_kv_heads, config.n_kv_heads)]


def _swapped(array: np.ndarray, *pairs: int) -> np.ndarray:
    return array.reshape(-1, *pairs, *array.shape[1:]).swapaxes(1, 2).reshape(array.shape)


SAME = TensorLayout(_same, lambda parts, _: parts[0])
# A torch linear layer keeps [outputs, inputs].
TRANSPOSED = TensorLayout(_same, lambda parts, _: parts[0].T, transposed=True)
# Gemma keeps a norm's scale minus one.
MINUS_ONE = TensorLayout(lambda array, _: array + 1, lambda parts, _: parts[0] - 1)
# GPT-2 keeps query, key and value side by side along the last axis.
SIDE_BY_SIDE = TensorLayout(
    _same,
    lambda parts, _: np.concatenate(list(parts), axis=-1),
    turns=(-1, lambda config: config.n_heads * config.head_dim),
)
# GPT-NeoX keeps query, key and value of one head after the other.
HEAD_BY_HEAD = TensorLayout(_same, _join_heads, transposed=True, turns=(0, lambda config: config.head_dim))
# GGUF, ModernBERT and Phi-3 keep query, key and value one after the other along the first axis.
ONE_BY_ONE = _one_by_one(_heads)
# The gate of ModernBERT and Phi-3 is before what it gates.
GATE_AND_UP = _one_by_one(lambda config: [config.mlp_size] * 2)
# Llama's GGUF keeps the rotary pairs of a head side by side; ours are half a head apart, as in Hugging Face's.
PAIRED = TensorLayout(
    lambda array, config: _swapped(array, config.head_dim // 2, 2),
    lambda parts, config: _swapped(parts[0].T, 2, config.head_dim // 2),
    transposed=True,
    block=lambda config: config.head_dim,
)


def linear(path: str, name: str, bias: bool, layout: TensorLayout = TRANSPOSED) -> list[TensorRow]:
    """The kernel of a linear map, and its bias if it has one."""
    found = [TensorRow((f"{path}/kernel",), f"{name}.weight", layout)]
    return found + ([TensorRow((f"{path}/bias",), f"{name}.bias", SAME)] if bias else [])


def fused_qkv(path: str, name: str, bias: bool, layout: TensorLayout) -> list[TensorRow]:
    """Query, key and value in one tensor."""
    kinds = [("kernel", "weight"), ("bias", "bias")][: 1 + bias]
    parts = ("query", "key", "value")
    return [
        TensorRow(tuple(f"{path}/{part}/{ours}" for part in parts), f"{name}.{theirs}", layout)
        for ours, theirs in kinds
    ]


def norm(path: str, name: str, kind: NormKind, layout: TensorLayout = SAME) -> list[TensorRow]:
    """The scale of a norm, and the bias of a layer norm."""
    found = [TensorRow((f"{path}/scale",), f"{name}.weight", layout)]
    return found + ([TensorRow((f"{path}/bias",), f"{name}.bias", SAME)] if kind == "layer" else [])
