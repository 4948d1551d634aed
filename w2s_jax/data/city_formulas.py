"""Formulas over statements about cities: a task whose parts are easier than the whole, with exact truth for both.

Each asks whether at least two of three statements hold, one of which may be negated. So shapes tell nothing of a label
(each is true as often as false), and neither do three labels that are independent of each other and right by chance:
statements that are true half of the time, independently, make such a formula true half of the time. Of conjunctions
and disjunctions only one of the two can hold.
"""

import itertools
from collections.abc import Iterator

import numpy as np

from w2s_jax.data.cities import city_records
from w2s_jax.data.example import digest
from w2s_jax.data.formulas import AtLeast, Atom, Not, Tree, atoms, truth, write

BLOCK = 4  # cities that share formulas: those of a block stay in one split, so no city is in two
FORMULAS = 6  # of each block; fewer than its statements, so that there are as many atoms as rows, and more
A, B, C = (Atom(name) for name in "ABC")
SHAPES = tuple(AtLeast(2, parts) for parts in ((A, B, C), (Not(A), B, C), (A, Not(B), C), (A, B, Not(C))))


def statement(city: str, country: str) -> str:
    """As the texts of `cities` are."""
    return f"The city of {city} is in {country}."


def formula_records() -> Iterator[dict[str, str | int]]:
    """Every block's formulas: `text`, `label` and the block as `group`."""
    cities = sorted(city_records(), key=lambda record: digest("block", record["city"]))
    rng = np.random.default_rng(0)
    for block in range(len(cities) // BLOCK):
        mine = cities[block * BLOCK : (block + 1) * BLOCK]
        for number in range(block * FORMULAS, (block + 1) * FORMULAS):
            shape, label = SHAPES[number % len(SHAPES)], number // len(SHAPES) % 2
            names = atoms(shape)
            assignments = [
                values
                for values in itertools.product((False, True), repeat=len(names))
                if truth(shape, dict(zip(names, values, strict=True))) == bool(label)
            ]
            values = assignments[rng.integers(len(assignments))]
            chosen = [mine[place] for place in rng.permutation(BLOCK)[: len(names)]]
            filled = {
                name: statement(record["city"], record["country"] if value else record["other"])
                for name, value, record in zip(names, values, chosen, strict=True)
            }
            yield {"text": write(_with(shape, filled)), "label": label, "group": f"block {block}"}


def _with(shape: Tree, statements: dict[str, str]) -> Tree:
    match shape:
        case Atom(name):
            return Atom(statements[name])
        case Not(of):
            return Not(_with(of, statements))
    return AtLeast(shape.count, tuple(_with(part, statements) for part in shape.parts))
