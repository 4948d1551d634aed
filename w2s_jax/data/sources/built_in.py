"""Records that a function makes."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from w2s_jax.data.records import Record
from w2s_jax.data.sources.base import Source


@dataclass(frozen=True)
class BuiltIn(Source):
    """Records that a function makes."""

    kind = "built in"

    make: Callable[[], Iterable[Record]]
    origin: str

    def records(self) -> Iterator[Record]:
        return iter(self.make())

    def describe(self) -> str:
        return self.origin
