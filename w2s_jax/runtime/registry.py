"""Named things of one kind: losses, tasks, metrics, commands. What is built in and what a user adds register alike."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from w2s_jax.runtime import errors
from w2s_jax.runtime.errors import UserError

T = TypeVar("T")


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

    def register(self, item: T, name: str | None = None) -> T:
        """Adds a thing under its own name, and returns it, so that it also works as a decorator.

        Defining a thing anew, as a notebook does when a cell runs again, replaces it.

        Args:
          name: by default the thing's `name`, or its `__name__`.

        Raises:
          UserError: another thing has this name.
        """
        name = name or getattr(item, "name", None) or getattr(item, "__name__", None)
        if not isinstance(name, str):
            raise UserError(f"a {self.kind} needs a name to be registered under; {item!r} has none")
        known = self._items.get(name)
        if known is not None and _origin(known) != _origin(item):
            raise UserError(f"there is a {self.kind} {name!r} already; choose another name")
        self._items[name] = item
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


def _origin(item: Any) -> tuple[str, str]:
    """Where a thing was defined: the same for two versions of one definition."""
    what: Callable[..., Any] | type = item if callable(item) and hasattr(item, "__qualname__") else type(item)
    return what.__module__, what.__qualname__
