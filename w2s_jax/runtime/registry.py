"""Named things of one kind: losses, tasks, metrics, commands. What is built in and what a user adds register alike."""

from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar

from w2s_jax.runtime import errors
from w2s_jax.runtime.errors import UserError

T = TypeVar("T")
Item = TypeVar("Item")


class Registry(Mapping[str, T], Generic[T]):
    """A mapping from names to things of one kind.

    >>> losses = Registry[Any]("loss")
    >>> @losses.register
    ... def squared(logits, targets): ...
    >>> list(losses)
    ['squared']

    Args:
      kind: what one of them is called in messages: `loss`.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._items: dict[str, T] = {}

    def register(self, item: Item, name: str | None = None, *, replace: bool = False) -> Item:
        """Adds a thing under its own name, and returns it, so that it also works as a decorator.

        Defining a function or a class anew, as a notebook does when a cell runs again, replaces it.

        Args:
          name: by default the thing's `name`, or its `__name__`.
          replace: whether it replaces another thing of this name.

        Raises:
          UserError: another thing has this name.
        """
        name = name or getattr(item, "name", None) or getattr(item, "__name__", None)
        if not isinstance(name, str):
            raise UserError(f"a {self.kind} needs a name to be registered under; {item!r} has none")
        known = self._items.get(name)
        if known is not None and not replace and not _same(known, item):
            raise UserError(f"there is a {self.kind} {name!r} already; choose another name")
        self._items[name] = item  # type: ignore[assignment]
        return item

    def find(self, name: str) -> T:
        """The thing of this name.

        Raises:
          UserError: there is none; it names the nearest.
        """
        if name not in self._items:
            raise errors.unknown(self.kind, name, self._items)
        return self._items[name]

    def __getitem__(self, name: str) -> T:
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)


def _same(known: Any, item: Any) -> bool:
    """Whether two things are versions of one definition, or equal."""
    origins = [
        (each.__module__, each.__qualname__) if hasattr(each, "__qualname__") else None for each in (known, item)
    ]
    return known == item or (origins[0] is not None and origins[0] == origins[1])
