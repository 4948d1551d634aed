"""What a compiled program computes, moves and sends, on each device.

XLA's own cost analysis counts the body of a loop once, however often it runs, and a kernel not at all. Here every
instruction counts as often as it is executed, and attention kernels by the blocks that they compute.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from w2s_jax.plan import kernels
from w2s_jax.plan.execution import executed
from w2s_jax.plan.hlo import Computation, HloModule, Instruction, Shape, parse

COLLECTIVES = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
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
      flops: of matrix products, those of attention kernels included; one multiplication and one addition are two.
      bytes: read from and written to the device's main memory, if every fusion reads and writes once.
    """

    flops: float
    bytes: float
    collectives: tuple[Collective, ...]


def costs(text: str, devices: int) -> Costs:
    """Costs of the program `jax.stages.Compiled.as_text` gives, on each of so many devices."""
    program = parse(text)
    flops, moved = 0.0, 0.0
    sent: dict[tuple[str, ...], tuple[str, int, float]] = {}
    for each in executed(program):
        of_kernel = kernels.flops(each.instruction, each.computation)
        flops += each.times * (of_kernel or matrix_flops(each.instruction, each.computation))
        if not each.fused:
            moved += each.times * memory_bytes(each.instruction, each.computation, program)
        kind = each.instruction.opcode.removesuffix("-start")
        if kind in COLLECTIVES:
            if "all-reduce-scatter" in each.computation.name:
                kind = "reduce-scatter"
            channel = re.search(r"channel_id=(\d+)", each.instruction.text)
            # One collective that is spread over several fusions stands in each of them, under one channel; if it is
            # one of a chain, in fusions of a loop too: it happens once while all of these run.
            owner = "" if "chain_id=" in each.instruction.text else each.owner
            # Those of a shard_map all have one channel, and their own line of the program instead.
            line = re.search(r'op_name="([^"]*/shard_map/[^"]*)" stack_frame_id=\d+', each.instruction.text)
            mine = (line.group(0), *map(str, each.instruction.shapes)) if line else ()
            key = owner, channel.group(1) if channel else each.instruction.name, *mine
            received = _received(each.instruction, each.computation, kind, devices)
            sent[key] = kind, min(each.times, sent[key][1]) if key in sent else each.times, received
    return Costs(flops, moved, _by_kind(list(sent.values())))


def _by_kind(sent: list[tuple[str, int, float]]) -> tuple[Collective, ...]:
    rows = []
    for kind in COLLECTIVES:
        mine = [(times, size) for name, times, size in sent if name == kind and size]
        if mine:
            rows.append(Collective(kind, sum(times for times, _ in mine), round(sum(t * size for t, size in mine))))
    return tuple(rows)


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


def memory_bytes(instruction: Instruction, computation: Computation, program: HloModule) -> int:
    """What one instruction outside any fusion reads from and writes to HBM."""
    opcode = instruction.opcode.removesuffix("-start")
    if {opcode, instruction.opcode} & _FREE or opcode.endswith("-done"):
        return 0
    if opcode == "custom-call" and re.search(f'custom_call_target="({"|".join(_FREE_CALLS)})', instruction.text):
        return 0
    operands = computation.shapes(instruction.operands)
    if opcode in _SLICES:
        alone = opcode == instruction.opcode
        source, piece = (operands[0], instruction.shapes[-1]) if alone else instruction.shapes[:2]
        return piece.bytes * (not source.fast) + piece.bytes * (not piece.fast)
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


def _read(value: Instruction, fusion: Computation, program: HloModule) -> int:
    """The part of a fusion's parameter that it reads."""
    whole = sum(shape.bytes for shape in value.shapes)
    read = 0
    for user in fusion.users[value.name]:
        if user.opcode == "tuple" or _carries_on(user, fusion):
            continue
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
        if shape.fast or root.opcode == "parameter" or _carries_on(root, inner):
            continue
        update = inner.shapes(root.operands[1:2]) if root.opcode == "dynamic-update-slice" else [shape]
        written += sum(each.bytes for each in update)
    return written


def _carries_on(instruction: Instruction, fusion: Computation) -> bool:
    """Whether it is a later part of a collective that goes on during several fusions; the first counts for all."""
    begins = "AsyncCollectiveStart" in fusion.root.text
    return not begins and ("chain_id=" in instruction.text or "AsyncCollectiveDone" in instruction.text)


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
