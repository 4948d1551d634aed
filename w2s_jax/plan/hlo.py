"""A compiled program's HLO text, as computations of instructions."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

_BYTES = {"pred": 1, "bf16": 2, "f16": 2, "f32": 4, "f64": 8, "c64": 8, "c128": 16, "token": 0}


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
class HloModule:
    """All computations, and the one that is run."""

    computations: dict[str, Computation]
    entry: str


def parse(text: str) -> HloModule:
    """HLO text as computations."""
    computations: dict[str, Computation] = {}
    entry, current = "", None
    text = re.sub(r"(kernel_metadata=\{)\n(.*)\n", r"\1\2", text)  # the only attribute that is several lines
    for line in text.splitlines():
        header = re.match(r"(ENTRY )?%?([\w.\-]+) \(.*\{$", line)
        if header and not line.startswith(" "):
            current = computations[header.group(2)] = Computation(header.group(2))
            entry = header.group(2) if header.group(1) else entry
        elif current is not None and (found := _instruction(line)):
            current.instructions[found.name] = found
    return HloModule(computations, entry)


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
