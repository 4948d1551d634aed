"""How often each instruction of a compiled program runs.

A model with scanned layers is a loop over them, and a product whose operand is gathered from other devices may be a
loop over these. Where XLA does not say how often a loop runs, its counter is followed until the condition fails.
"""

import operator
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from w2s_jax.plan.hlo import Computation, HloModule, Instruction

LONGEST = 10_000  # trips that are followed
# What an integer or a tuple of them is, as far as constants tell.
Value = int | tuple["Value", ...] | None
_ALIKE = ("copy", "bitcast", "convert", "copy-start", "copy-done")
_OPERATORS: dict[str, Callable[[int, int], int]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "LT": operator.lt,
    "LE": operator.le,
    "GT": operator.gt,
    "GE": operator.ge,
    "EQ": operator.eq,
    "NE": operator.ne,
}


class Executed(NamedTuple):
    """An instruction, how often it runs, and the computation outside any fusion that it is part of."""

    instruction: Instruction
    computation: Computation
    times: int
    owner: str
    fused: bool


def executed(program: HloModule) -> Iterator[Executed]:
    """Every instruction that runs; of a condition, those of each branch.

    Raises:
      ValueError: a loop whose number of trips depends on data.
    """
    return _walk(program, program.entry, (), 1, program.entry, False)


def _walk(
    program: HloModule, name: str, given: Sequence[Value], times: int, owner: str, fused: bool
) -> Iterator[Executed]:
    """Of a computation that is called with values of which `given` are known."""
    computation = program.computations[name]
    for each in computation.instructions.values():
        yield Executed(each, computation, times, owner, fused)
        if each.opcode == "while":
            body = _called(each, "body")
            trips, constant = _trips(program, computation, each, given)
            yield from _walk(program, body, (constant,), times * trips, body, fused)
        elif each.opcode == "fusion":
            yield from _walk(program, _called(each, "calls"), (), times, owner, True)
        elif each.opcode in ("call", "async-start"):
            inner = each.called("to_apply") or _called(each, "calls")
            known = [_value(program, computation, operand, given) for operand in each.operands]
            yield from _walk(program, inner, known, times, owner, fused)
        elif each.opcode == "conditional":
            branches = re.search(r"branch_computations=\{([^}]*)\}", each.text)
            names = re.findall(r"%([\w.\-]+)", branches.group(1)) if branches else [_called(each, "true_computation")]
            for branch in names:
                yield from _walk(program, branch, (), times, owner, fused)


def _trips(
    program: HloModule, computation: Computation, loop: Instruction, given: Sequence[Value]
) -> tuple[int, Value]:
    """How often a loop runs, and what of its state is known and the same in every trip."""
    known = re.search(r'known_trip_count":\{"n":"(\d+)"', loop.text)
    if known:
        return int(known.group(1)), None
    condition, body = (program.computations[_called(loop, name)] for name in ("condition", "body"))
    state = constant = _value(program, computation, loop.operands[0], given)
    for trips in range(LONGEST):
        goes_on = _value(program, condition, condition.root.name, (state,))
        if goes_on is None:
            break
        if not goes_on:
            return trips, constant
        state = _value(program, body, body.root.name, (state,))
        if isinstance(state, tuple) and isinstance(constant, tuple):
            constant = tuple(old if old == new else None for old, new in zip(constant, state, strict=True))
    raise ValueError(f"cannot tell how often the loop {loop.name} of {computation.name} runs")


def _value(program: HloModule, computation: Computation, name: str, given: Sequence[Value]) -> Value:
    """An instruction's result, as far as it follows from constants and `given`. Arrays are not followed."""
    each = computation.instructions[name]
    if each.opcode not in ("tuple", "parameter") and any(shape.dims for shape in each.shapes):
        return None

    def operand(index: int) -> Value:
        return _value(program, computation, each.operands[index], given)

    if each.opcode == "parameter":
        number = computation.parameters.index(each)
        return given[number] if number < len(given) else None
    if each.opcode == "constant":
        found = re.match(r"constant\((-?\d+|true|false)\)", each.text)
        return None if found is None else int(found[1] == "true") if found[1].isalpha() else int(found[1])
    if each.opcode == "tuple":
        return tuple(operand(index) for index in range(len(each.operands)))
    if each.opcode == "get-tuple-element":
        index = int(each.text.split("index=")[1].split(",")[0])
        source = computation.instructions[each.operands[0]]
        if source.opcode == "tuple":
            return _value(program, computation, source.operands[index], given)
        whole = operand(0)
        return whole[index] if isinstance(whole, tuple) else None
    if each.opcode in _ALIKE:
        return operand(0)
    if each.opcode in ("fusion", "call"):
        inner = program.computations[each.called("calls") or _called(each, "to_apply")]
        return _value(program, inner, inner.root.name, [operand(index) for index in range(len(each.operands))])
    direction = re.search(r"direction=(\w+)", each.text)
    compute = _OPERATORS.get(direction[1] if direction else each.opcode)
    if compute is None or len(each.operands) != 2:
        return None
    left, right = operand(0), operand(1)
    return int(compute(left, right)) if isinstance(left, int) and isinstance(right, int) else None


def _called(instruction: Instruction, attribute: str) -> str:
    name = instruction.called(attribute)
    assert name is not None
    return name
