"""Named things of one kind: losses, tasks, metrics, commands. What is built in and what a user adds register alike."""

import importlib
import pkgutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Generic, TypeVar

from w2s_jax.runtime import errors
from w2s_jax.runtime.errors import UserError

_PACKAGE = __name__.partition(".")[0] + "."
_added: set[str] = set()

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
        self._modules: dict[str, str] = {}  # which module registered each

    def register(self, item: Item, name: str | None = None) -> Item:
        """Adds a thing under its own name, and returns it, so that it also works as a decorator.

        A user's module may register a thing anew, as it does when an edited file or a notebook's cell runs again.

        Args:
          name: by default the thing's `name`, or its `__name__`.

        Raises:
          UserError: another thing has this name.
        """
        name = name or getattr(item, "name", None) or getattr(item, "__name__", None)
        if not isinstance(name, str):
            raise UserError(f"a {self.kind} needs a name to be registered under; {item!r} has none")
        module = _module_that_runs()
        if name in self._items and (self._modules[name] != module or module.startswith(_PACKAGE)):
            raise UserError(f"there is a {self.kind} {name!r} already; choose another name")
        if not module.startswith(_PACKAGE):
            _added.add(self.kind)
        self._items[name] = item  # type: ignore[assignment]
        self._modules[name] = module
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


def added() -> frozenset[str]:
    """The kinds of thing of which this process has some that are not this package's."""
    return frozenset(_added)


def _module_that_runs() -> str:
    """The name of the module whose top level is being executed, directly or through functions that it calls."""
    frame = sys._getframe(1)
    while frame.f_code.co_name != "<module>" and frame.f_back is not None:
        frame = frame.f_back
    return str(frame.f_globals.get("__name__", ""))


def discover(package: str, paths: Sequence[str]) -> None:
    """Imports every module of a package's folder, so that what they register is known; `_private` ones stay unread.

    Args:
      package, paths: the package's `__name__` and `__path__`.
    """
    for module in sorted(pkgutil.iter_modules(paths), key=lambda module: module.name):
        if not module.name.startswith("_"):
            importlib.import_module(f"{package}.{module.name}")
