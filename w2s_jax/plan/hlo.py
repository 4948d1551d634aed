"""What a compiled program computes, moves and sends, read from its HLO text.

XLA's own cost analysis counts the body of a loop once, however often it runs. A model with scanned layers is one loop
over them, so here every instruction counts as often as it is executed.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

COLLECTIVES = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
_BYTES = {"pred": 1, "bf16": 2, "f16": 2, "f32": 4, "f64": 8, "c64": 8, "c128": 16, "token": 0}
_FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "conditional", "call", "iota"}
_FREE |= {"after-all", "partition-id", "replica-id", "opt-barrier", "async-start", "async-update"}
_FREE_CALLS = ("AllocateBuffer", "ConcatBitcast", "AsyncCollective", "Sharding", "AssumeGatherIndicesInBound")
_SLICES = ("dynamic-slice", "slice", "gather")


@dataclass(frozen=True)
class Collective:
    """One kind of communication, in one step.

    Attributes:
      times: how often each device takes part.
      received: bytes that each device receives, in a ring of the devices that take part.
    """

    kind: str
    times: int
    received: int


@dataclass(frozen=True)
class Costs:
    """Of one execution, on one device.

    Attributes:
      flops: of matrix products; one multiplication and one addition are two.
      bytes: read from and written to the device's main memory, if every fusion reads and writes once.
    """

    flops: float
    bytes: float
    collectives: tuple[Collective, ...]


class Shape(NamedTuple):
    """An array. `fast` if it lies in the core's own memory, not in HBM."""

    dtype: str
    dims: tuple[int, ...]
    fast: bool

    @property
    def bytes(self) -> int:
        digits = re.search(r"\d+", self.dtype)
        width = _BYTES[self.dtype] if self.dtype in _BYTES else int(digits.group()) / 8 if digits else 4
        return math.ceil(math.prod(self.dims) * width)


@dataclass(frozen=True)
class Instruction:
    """`name = shapes opcode(operands), attributes`."""

    name: str
    opcode: str
    shapes: tuple[Shape, ...]
    operands: tuple[str, ...]
    text: str
    is_root: bool

    def called(self, attribute: str) -> str | None:
        found = re.search(rf"\b{attribute}=%?([\w.\-]+)", self.text)
        return found and found.group(1)


@dataclass(frozen=True)
class Computation:
    """A function of the program."""

    name: str
    instructions: dict[str, Instruction] = field(default_factory=dict)

    @cached_property
    def users(self) -> dict[str, list[Instruction]]:
        found: dict[str, list[Instruction]] = {name: [] for name in self.instructions}
        for instruction in self.instructions.values():
            for operand in set(instruction.operands):
                found[operand].append(instruction)
        return found

    @cached_property
    def parameters(self) -> list[Instruction]:
        """In the order of the call's operands."""
        found = [instruction for instruction in self.instructions.values() if instruction.opcode == "parameter"]
        return sorted(found, key=lambda each: int(each.text.split("parameter(")[1].split(")")[0]))

    @property
    def root(self) -> Instruction:
        return next(each for each in self.instructions.values() if each.is_root)

    def shapes(self, names: Sequence[str]) -> list[Shape]:
        return [shape for name in names for shape in self.instructions[name].shapes]


@dataclass(frozen=True)
class Program:
    """All computations, and the one that is run."""

    computations: dict[str, Computation]
    entry: str


class _Executed(NamedTuple):
    """An instruction, how often it runs, and the computation outside any fusion that it is part of."""

    instruction: Instruction
    computation: Computation
    times: int
    owner: str
    fused: bool


def costs(text: str, devices: int) -> Costs:
    """Costs of the program `jax.stages.Compiled.as_text` gives, on each of so many devices."""
    program = parse(text)
    flops, moved = 0.0, 0.0
    sent: dict[tuple[str, str], tuple[str, int, float]] = {}
    for each in _executed(program, program.entry, 1, program.entry, fused=False):
        flops += each.times * matrix_flops(each.instruction, each.computation)
        if not each.fused:
            moved += each.times * memory_bytes(each.instruction, each.computation, program)
        kind = each.instruction.opcode.removesuffix("-start")
        if kind in COLLECTIVES:
            if "all-reduce-scatter" in each.computation.name:
                kind = "reduce-scatter"
            channel = re.search(r"channel_id=(\d+)", each.instruction.text)
            key = each.owner, channel.group(1) if channel else each.instruction.name
            # One collective that is spread over several fusions stands in each of them, under one channel.
            sent.setdefault(key, (kind, each.times, _received(each.instruction, each.computation, kind, devices)))
    return Costs(flops, moved, _by_kind(list(sent.values())))


def _by_kind(sent: list[tuple[str, int, float]]) -> tuple[Collective, ...]:
    rows = []
    for kind in COLLECTIVES:
        mine = [(times, size) for name, times, size in sent if name == kind and size]
        if mine:
            rows.append(Collective(kind, sum(times for times, _ in mine), round(sum(t * size for t, size in mine))))
    return tuple(rows)


def parse(text: str) -> Program:
    """HLO text as computations."""
    computations: dict[str, Computation] = {}
    entry, current = "", None
    for line in text.splitlines():
        header = re.match(r"(ENTRY )?%?([\w.\-]+) \(.*\{$", line)
        if header and not line.startswith(" "):
            current = computations[header.group(2)] = Computation(header.group(2))
            entry = header.group(2) if header.group(1) else entry
        elif current is not None and (found := _instruction(line)):
            current.instructions[found.name] = found
    return Program(computations, entry)


def _instruction(line: str) -> Instruction | None:
    found = re.match(r"\s+(ROOT )?%?([\w.\-]+) = (.*)$", line)
    if not found:
        return None
    rest = found.group(3)
    end = _closing(rest, 0) + 1 if rest.startswith("(") else rest.index(" ")
    shapes, call = rest[:end], rest[end:].lstrip()
    opening = call.index("(")
    operands = re.findall(r"%([\w.\-]+)", call[opening : _closing(call, opening)])
    return Instruction(found.group(2), call[:opening], _shapes(shapes), tuple(operands), call, bool(found.group(1)))


def _closing(text: str, opening: int) -> int:
    """Where the bracket that opens there is closed."""
    depth = 0
    for place in range(opening, len(text)):
        depth += {"(": 1, ")": -1}.get(text[place], 0)
        if depth == 0:
            return place
    return len(text)


def _shapes(text: str) -> tuple[Shape, ...]:
    found = re.findall(r"(\w+)\[([\d,]*)\](\{[^}]*\})?", text)
    return tuple(
        Shape(dtype, tuple(int(size) for size in dims.split(",") if size), bool(re.search(r"S\([1-9]", layout)))
        for dtype, dims, layout in found
    )


def _executed(program: Program, name: str, times: int, owner: str, fused: bool) -> Iterator[_Executed]:
    computation = program.computations[name]
    for each in computation.instructions.values():
        yield _Executed(each, computation, times, owner, fused)
        if each.opcode == "while":
            body = each.called("body")
            assert body is not None
            yield from _executed(program, body, times * _trips(program, computation, each), body, fused)
        elif each.opcode == "fusion":
            inner = each.called("calls")
            assert inner is not None
            yield from _executed(program, inner, times, owner, True)
        elif each.opcode in ("call", "async-start"):
            inner = each.called("to_apply") or each.called("calls")
            assert inner is not None
            yield from _executed(program, inner, times, owner, fused)
        elif each.opcode == "conditional":
            branches = re.search(r"branch_computations=\{([^}]*)\}", each.text)
            names = re.findall(r"%([\w.\-]+)", branches.group(1)) if branches else [each.called("true_computation")]
            for branch in names:
                yield from _executed(program, str(branch), times, owner, fused)


def _trips(program: Program, computation: Computation, loop: Instruction) -> int:
    """How often a loop runs: as XLA knows it, or by the constant its counter, from zero, is compared with."""
    known = re.search(r'known_trip_count":\{"n":"(\d+)"', loop.text)
    if known:
        return int(known.group(1))
    name = loop.called("condition")
    assert name is not None
    bounds = [
        int(value)
        for each in program.computations[name].instructions.values()
        for value in re.findall(r"^constant\((\d+)\)", each.text)
    ]
    if len(bounds) != 1:
        raise ValueError(f"cannot tell how often the loop {loop.name} of {computation.name} runs")
    return bounds[0]


def matrix_flops(instruction: Instruction, computation: Computation) -> float:
    """Floating-point operations of a matrix product, and 0 of anything else.

    A convolution, which is what a product is to a TPU, counts only where its window lies on the input: batched
    products are convolutions whose windows lie on one row each.
    """
    text = instruction.text
    contracting = re.search(r"lhs_contracting_dim(?:s=\{|ensions\":\[)([\d,\"]*)", text)
    if contracting:  # a dot, or a library's product in a custom call
        left = computation.instructions[instruction.operands[0]].shapes[0]
        sizes = [left.dims[int(dim)] for dim in re.findall(r"\d+", contracting.group(1))]
        return 2.0 * math.prod(instruction.shapes[0].dims) * math.prod(sizes)
    if instruction.opcode != "convolution":
        return 0.0
    labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", text)
    assert labels is not None
    arrays = *computation.shapes(instruction.operands), instruction.shapes[0]
    sizes_in, sizes_window, sizes_out = (
        dict(zip(names, array.dims, strict=True)) for names, array in zip(labels.groups(), arrays, strict=True)
    )
    groups = re.search(r"batch_group_count=(\d+)", text)
    count = sizes_in["b"] // (int(groups.group(1)) if groups else 1) * sizes_window["i"] * sizes_out["f"]
    for dim in (name for name in sizes_out if name.isdigit()):
        window = {key: _window(text, key, int(dim)) for key in ("stride", "lhs_dilate", "rhs_dilate", "pad")}
        count *= _positions(sizes_in[dim], sizes_window[dim], sizes_out[dim], **window)
    return 2.0 * count


def _window(text: str, key: str, dim: int) -> int:
    """One number of a convolution's window; of padding, that before the first element."""
    found = re.search(rf"window=\{{[^}}]*\b{key}=([\dx_\-]+)", text)
    return int(found.group(1).split("x")[dim].split("_")[0]) if found else int(key != "pad")


def _positions(size: int, window: int, out: int, *, stride: int, lhs_dilate: int, rhs_dilate: int, pad: int) -> int:
    """Pairs of an output and a window element that meet an element of the input."""
    place = np.arange(out)[:, None] * stride - pad + np.arange(window)[None, :] * rhs_dilate
    inside = (place >= 0) & (place <= (size - 1) * lhs_dilate) & (place % lhs_dilate == 0)
    return int(inside.sum())


def memory_bytes(instruction: Instruction, computation: Computation, program: Program) -> int:
    """What one instruction outside any fusion reads from and writes to HBM."""
    opcode = instruction.opcode.removesuffix("-start")
    if opcode in _FREE or opcode.endswith("-done"):
        return 0
    if opcode == "custom-call" and re.search(f'custom_call_target="({"|".join(_FREE_CALLS)})', instruction.text):
        return 0
    operands = computation.shapes(instruction.operands)
    if opcode in _SLICES:
        return 2 * _in_hbm(instruction.shapes[-1:]) if opcode == instruction.opcode else _sliced(instruction)
    if opcode == "dynamic-update-slice":
        return 2 * _in_hbm(computation.shapes(instruction.operands[1:2]))
    if opcode == "fusion":
        inner = program.computations[str(instruction.called("calls"))]
        read = sum(
            _read(parameter, inner, program)
            for parameter, name in zip(inner.parameters, instruction.operands, strict=True)
            if _in_hbm(computation.shapes([name]))
        )
        return read + _written(instruction, inner)
    if instruction.opcode.endswith("-start"):
        return _in_hbm(operands) + _in_hbm(instruction.shapes[:1])
    return _in_hbm(operands) + _in_hbm(instruction.shapes)


def _in_hbm(shapes: Sequence[Shape]) -> int:
    return sum(shape.bytes for shape in shapes if not shape.fast)


def _sliced(start: Instruction) -> int:
    """An asynchronous slice: its result is (source, slice, ...)."""
    source, piece = start.shapes[:2]
    return piece.bytes * (not source.fast) + piece.bytes * (not piece.fast)


def _read(value: Instruction, fusion: Computation, program: Program) -> int:
    """The part of a fusion's parameter that it reads."""
    whole = sum(shape.bytes for shape in value.shapes)
    read = 0
    for user in fusion.users[value.name]:
        if user.opcode in _SLICES and user.operands[0] == value.name:
            read += sum(shape.bytes for shape in user.shapes)
        elif user.opcode == "bitcast":
            read += _read(user, fusion, program)
        elif user.opcode == "fusion":
            inner = program.computations[str(user.called("calls"))]
            read += _read(inner.parameters[user.operands.index(value.name)], inner, program)
        elif user.opcode != "dynamic-update-slice" or user.operands[0] != value.name:
            return whole
    return min(read, whole)


def _written(fusion: Instruction, inner: Computation) -> int:
    """An array that is updated in place is written only where it is updated."""
    roots = [inner.instructions[name] for name in inner.root.operands] if inner.root.opcode == "tuple" else [inner.root]
    if len(roots) != len(fusion.shapes):
        return _in_hbm(fusion.shapes)
    written = 0
    for root, shape in zip(roots, fusion.shapes, strict=True):
        while root.opcode == "bitcast":
            root = inner.instructions[root.operands[0]]
        update = inner.shapes(root.operands[1:2]) if root.opcode == "dynamic-update-slice" else [shape]
        written += 0 if shape.fast else sum(each.bytes for each in update)
    return written


def _received(instruction: Instruction, computation: Computation, kind: str, devices: int) -> float:
    """Bytes that each device receives, by the ring algorithm (Patarasuk & Yuan 2009)."""
    size = sum(shape.bytes for shape in computation.shapes(instruction.operands))
    members = _members(instruction.text, devices)
    if members == 1:
        return 0.0
    match kind:
        case "all-gather":
            return float(size * (members - 1))
        case "all-reduce":
            return 2 * size * (members - 1) / members
        case "collective-permute":
            return float(size)
    return size * (members - 1) / members


def _members(text: str, devices: int) -> int:
    """How many devices take part in one collective, in any of the forms in which HLO says it."""
    if listed := re.search(r"replica_groups=\{\{([\d,]+)\}", text):
        return len(listed.group(1).split(","))
    if counted := re.search(r"replica_groups=\[\d+,(\d+)\]", text):
        return int(counted.group(1))
    if named := re.search(r"replica_groups=\w*mesh\[([^\]]*)\] ?\{([^}]*)\}", text):
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", named.group(1)))
        return math.prod(int(sizes[axis]) for axis in re.findall(r"'(\w+)'", named.group(2)))
    return devices
