"""What a traced program holds at most, computes and moves, on one device, without a compiler.

The program is read as a compiler would run it: what works on each element by itself, or only moves elements, becomes
part of whatever reads it, and is never in memory; results of products, reductions, loops and gathers are, from where
they are made to where they are last needed, and so is what a product reads. What a loop hands to the backward pass,
which the remat policy decides, is held for all layers at once.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal
from jax.interpreters.partial_eval import dce_jaxpr

FLASH, FLASH_BACK = "w2s_flash", "w2s_flash_back"  # attention kernels of a target that is not here
# These read arrays, and nothing that is computed on the way.
_READERS = {"dot_general", "ragged_dot", "ragged_dot_general", "conv_general_dilated", "ffi_call", "pallas_call"}
_READERS |= {"scan", "while", "cond", "sort", "top_k"}
# Their results are in memory; so are those of reductions and scatters.
_MAKERS = {*_READERS, "gather", "cumsum", "dynamic_update_slice", "argmax", "argmin"}
_VIEWS = {"reshape", "transpose", "squeeze", "expand_dims", "sharding_constraint", "copy", "optimization_barrier"}
# Not computed twice, so that what several steps read of them is in memory.
_COSTLY = {"exp", "exp2", "log", "log1p", "tanh", "logistic", "erf", "sqrt", "rsqrt", "pow", "div", "sin", "cos"}
_CALLED = ("jaxpr", "call_jaxpr", "fun_jaxpr")
_LOOPS = ("scan", "while", "cond")


class Account(NamedTuple):
    """Bytes that are held, besides what the program is given and gives back, when they are most; and what it costs.

    Attributes:
      gradients: of the parameters that train.
      activations: what loops over layers hand to the backward pass.
      logits: whatever has the vocabulary as its last axis.
      workspace: all else.
      flops: of matrix products.
      bytes: read and written.
    """

    gradients: int
    activations: int
    logits: int
    workspace: int
    flops: float
    bytes: float

    @property
    def held(self) -> int:
        return sum(getattr(self, part) for part in PARTS)


PARTS = ("gradients", "activations", "logits", "workspace")
Kind = tuple[tuple[int, ...], str]  # an array's shape and type
Sizes = np.ndarray  # bytes of each of the parts
_NOTHING = np.zeros(len(PARTS))


def account(program: ClosedJaxpr, shares: Mapping[Kind, float], vocabulary: int, *, widens: bool = False) -> Account:
    """The account of a traced step, whose results take the places of what it is given.

    Args:
      shares: of each kind of array that gradients are, what this device holds.
      vocabulary: how many tokens the model knows.
      widens: a product that is only read as float32 is written as that.
    """
    reader = _Reader(shares, vocabulary, widens)
    used, _ = dce_jaxpr(program.jaxpr, [True] * len(program.jaxpr.outvars), instantiate=True)  # as a compiler drops it
    peak = reader.peak(used, 1)
    gradients, activations, logits, workspace = (round(each) for each in peak)
    return Account(gradients, activations, logits, workspace, reader.flops, reader.bytes)


@dataclass(frozen=True, eq=False)
class _Value:
    """What one equation gives."""

    shape: tuple[int, ...]
    dtype: str
    bytes: int

    @classmethod
    def of(cls, var: Any) -> "_Value":
        shape, dtype = getattr(var.aval, "shape", ()), getattr(var.aval, "dtype", None)
        return cls(shape, str(dtype), math.prod(shape) * getattr(dtype, "itemsize", 4))


@dataclass(frozen=True)
class _Step:
    """An equation that is no call."""

    kind: str
    given: tuple[_Value, ...]
    made: tuple[_Value, ...]
    params: Mapping[str, Any] = field(repr=False)

    @property
    def makes(self) -> bool:
        return self.kind in _MAKERS or self.kind.startswith(("reduce_", "scatter"))

    @property
    def carried(self) -> tuple[_Value, ...]:
        """What a loop updates where it lies."""
        if self.kind == "scan":
            first = self.params["num_consts"]
            return self.given[first : first + self.params["num_carry"]]
        return self.given if self.kind == "while" else ()

    @property
    def stacks(self) -> tuple[_Value, ...]:
        """What a loop gives of every trip."""
        return self.made[self.params["num_carry"] :] if self.kind == "scan" else ()


def _steps(jaxpr: Jaxpr, scope: dict[Any, _Value]) -> Iterator[_Step]:
    """The equations, those of calls in the calls' places.

    Args:
      scope: the values of the variables; grows.
    """
    for each in jaxpr.eqns:
        given = tuple(scope[atom] for atom in each.invars if not isinstance(atom, Literal))
        kind = each.primitive.name
        called = next((each.params[name] for name in _CALLED if name in each.params), None)
        if kind in _MAKERS or called is None:
            scope.update((var, _Value.of(var)) for var in each.outvars)
            yield _Step(kind, given, tuple(scope[var] for var in each.outvars), each.params)
            continue
        called = getattr(called, "jaxpr", called)
        inner = {var: _Value.of(var) for var in called.constvars}
        for mine, theirs in zip(called.invars, each.invars, strict=True):
            inner[mine] = _Value.of(mine) if isinstance(theirs, Literal) else scope[theirs]
        yield from _steps(called, inner)
        for mine, theirs in zip(each.outvars, called.outvars, strict=True):
            scope[mine] = _Value.of(mine) if isinstance(theirs, Literal) else inner[theirs]


class _Reader:
    """Reads programs within programs, and sums up their costs."""

    def __init__(self, shares: Mapping[Kind, float], vocabulary: int, widens: bool) -> None:
        self.flops, self.bytes = 0.0, 0.0
        self._shares, self._vocabulary, self._widens = shares, vocabulary, widens

    def peak(self, jaxpr: Jaxpr, times: float) -> Sizes:
        """The most that is held while the program runs, which it does so many times."""
        scope = {var: _Value.of(var) for var in (*jaxpr.constvars, *jaxpr.invars)}
        given = list(scope.values())
        steps = list(_steps(jaxpr, scope))
        wide = _widened(steps) if self._widens else {}
        results = {scope[var] for var in jaxpr.outvars if not isinstance(var, Literal)}
        arrays = _Arrays(steps, given, results)
        live: dict[_Value, Sizes] = {}
        held = most = _NOTHING
        for place, step in enumerate(steps):
            for value in arrays.sources(step.carried):
                if arrays.last[value] == place:
                    held = held - live.pop(value, _NOTHING)
            for value in arrays.born_at.get(place, ()):
                if value not in results:
                    live[value] = self._parts(value, value in step.stacks) * wide.get(value, 1)
                    held = held + live[value]
            within = held + self._inside(step, times)
            most = within if within.sum() > most.sum() else most
            for value in [value for value in live if arrays.last[value] <= place]:
                held = held - live.pop(value)
            self.flops += times * _flops(step)
        self.bytes += times * arrays.moved(steps, results, self._held)
        return most

    def _held(self, value: _Value) -> float:
        """Bytes of it on this device."""
        return value.bytes * self._shares.get((value.shape, value.dtype), 1.0)

    def _parts(self, value: _Value, is_stack: bool) -> Sizes:
        share, parts = self._shares.get((value.shape, value.dtype)), _NOTHING.copy()
        logits = value.shape[-1:] == (self._vocabulary,)
        part = "gradients" if share else "activations" if is_stack else "logits" if logits else "workspace"
        parts[PARTS.index(part)] = self._held(value)
        return parts

    def _inside(self, step: _Step, times: float) -> Sizes:
        """The most that one trip of a loop, or a branch, holds."""
        if step.kind == "scan":
            return self.peak(step.params["jaxpr"].jaxpr, times * step.params["length"])
        if step.kind == "while":
            return self.peak(step.params["body_jaxpr"].jaxpr, times)
        if step.kind == "cond":
            branches = step.params["branches"]
            return max(
                (self.peak(each.jaxpr, times / len(branches)) for each in branches), key=lambda parts: parts.sum()
            )
        return _NOTHING


class _Arrays:
    """Which values of a program are arrays in memory, from where to where.

    Attributes:
      born_at: the arrays by the place of the step that makes them, or that first reads them.
      last: the place where each is needed for the last time; what results need, after the last step.
    """

    def __init__(self, steps: Sequence[_Step], given: Sequence[_Value], results: Iterable[_Value]) -> None:
        self._sources = {value: frozenset([value]) for value in given}
        self.born_at: dict[int, list[_Value]] = {}
        self.last: dict[_Value, int] = dict.fromkeys(given, len(steps))
        self._made: set[_Value] = set()
        read = _first_reads(steps)
        readers = Counter(value for step in steps for value in set(step.given))
        for place, step in enumerate(steps):
            sources = self.sources(step.given)
            until = place
            for value in step.made:
                computed = value in read and sources and step.kind not in _VIEWS
                costly = step.kind in _COSTLY and readers[value] > 1 and sources
                if step.makes or computed or costly:
                    born = read[value] if computed and not step.makes and not costly else place
                    until = max(until, born)
                    self._made.add(value)
                    self.born_at.setdefault(born, []).append(value)
                    self._sources[value], self.last[value] = frozenset([value]), born
                else:
                    self._sources[value] = frozenset(sources)
            for value in sources:
                self.last[value] = max(self.last[value], until)
        for value in self.sources(results):
            self.last[value] = len(steps)

    def sources(self, values: Iterable[_Value]) -> set[_Value]:
        """The arrays that values are computed from."""
        return set().union(*(self._sources.get(value, frozenset()) for value in values))

    def moved(self, steps: Sequence[_Step], results: set[_Value], size_of: Callable[[_Value], float]) -> float:
        """Bytes that are read and written if every array is written once and read by each step that needs it."""
        moved = 0.0
        for step in steps:
            made = [value for value in step.made if value in self._made]
            if made and step.kind not in _LOOPS:
                size = sum(map(size_of, made))
                picks = step.kind in ("gather", "scatter-add")
                sizes = map(size_of, self.sources(step.given))
                moved += size + sum(min(each, size) if picks else each for each in sizes)
        computed = results - self._made
        return moved + sum(map(size_of, computed | self.sources(computed)))


def _first_reads(steps: Sequence[_Step]) -> dict[_Value, int]:
    """Where a step first reads a value as an array, or a view of it."""
    by = {value: step for step in steps for value in step.made}
    found: dict[_Value, int] = {}
    for place, step in enumerate(steps):
        for value in step.given if step.kind in _READERS else ():
            while value in by and by[value].kind in _VIEWS:
                value = by[value].given[0]
            found.setdefault(value, place)
    return found


def _widened(steps: Sequence[_Step]) -> dict[_Value, int]:
    """The products that are only read by a conversion to a wider type, and how many times as wide that is."""
    products = {value for step in steps if step.kind == "dot_general" for value in step.made}
    found: dict[_Value, int] = {}
    for step in steps:
        for value in products.intersection(step.given):
            widens = step.kind == "convert_element_type" and step.made[0].bytes > value.bytes
            found[value] = step.made[0].bytes // value.bytes if widens and found.get(value, 2) > 1 else 1
    return found


def _flops(step: _Step) -> float:
    size = 2.0 * sum(math.prod(value.shape) for value in step.made)
    if step.kind == "dot_general":
        (contracted, _), _ = step.params["dimension_numbers"]
        return size * math.prod(step.given[0].shape[dim] for dim in contracted)
    if step.kind.startswith("ragged_dot"):
        return size * step.given[0].shape[-1]
    if step.kind == "ffi_call" and step.params["target_name"] in (FLASH, FLASH_BACK):
        rows, _, heads, width = step.given[0].shape
        said = {name: getattr(value, "value", value) for name, value in step.params["attributes"]}
        return 2.0 * float(said["products"]) * float(said["pairs"]) * rows * heads * width
    return 0.0
