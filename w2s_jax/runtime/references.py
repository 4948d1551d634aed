"""References to a user's own Python: `file.py:name` -> the object, and the hash of the very bytes that defined it.

A file runs once for each version of its content, and what is hashed is what ran: the file, and whatever it imports,
directly or not, from its own folder. An edited file runs again, so a notebook never mixes old code with a new hash.
"""

import ast
import contextlib
import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.registry import Registry

_FINGERPRINT = "__w2s_fingerprint__"
_ORIGIN = "__w2s_origin__"
_PACKAGE = __name__.partition(".")[0]


class Found(NamedTuple):
    """What a reference stands for.

    Attributes:
      value: the object.
      identity: a registered name as it is; of a user's object `name@<SHA-256 of the code that made it>`.
    """

    value: Any
    identity: str


class _Loaded(NamedTuple):
    module: ModuleType
    fingerprint: str


_LOADED: dict[Path, _Loaded] = {}  # the version of each file that ran last


def split(reference: str) -> tuple[str, str] | None:
    """`("file.py", "name")` of `file.py:name`; None for a plain name."""
    path, colon, name = reference.rpartition(":")
    return (path, name) if colon and path.endswith(".py") else None


def find(reference: Any, registry: Registry[Any]) -> Found:
    """What a reference stands for: a registered name, `file.py:name`, or an object itself.

    Raises:
      UserError: no such name or file, or the code of the object cannot be found.
    """
    if not isinstance(reference, str):
        return Found(reference, f"{_name_of(reference)}@{fingerprint(reference)}")
    parts = split(reference)
    if parts is None:
        return Found(registry.find(reference), reference)
    loaded = _load(parts[0])
    return Found(_attribute(parts[0], loaded.module, parts[1]), f"{parts[1]}@{loaded.fingerprint}")


def named(path: str, name: str, kind: type | None = None) -> Any:
    """The object `name` of a Python file.

    Raises:
      UserError: no such file, no such name, or it is not of that kind.
    """
    found = _attribute(path, _load(path).module, name)
    if kind is not None and not isinstance(found, kind):
        raise UserError(f"{name!r} in {path} must be a {kind.__name__}, not a {type(found).__name__}")
    return found


def fingerprint(item: Any) -> str:
    """SHA-256 of the code that defines an object's function or class; for this package's own, its qualified name.

    Raises:
      UserError: its source cannot be found, as of what was typed into a plain Python prompt.
    """
    what = item if isinstance(item, type | FunctionType) else type(item)
    if what.__module__.partition(".")[0] == _PACKAGE:
        return f"{what.__module__}.{what.__qualname__}"
    known = _globals(what).get(_FINGERPRINT)
    if known is not None:
        return str(known)
    try:
        return hashlib.sha256(inspect.getsource(what).encode()).hexdigest()
    except (OSError, TypeError) as error:
        raise UserError(f"the code of {_name_of(item)} cannot be found to be hashed; define it in a file") from error


def address(kind: type) -> str | None:
    """`file.py:Name` of a class that was defined in a user's file; None of any other."""
    path = _globals(kind).get(_ORIGIN)
    return None if path is None else f"{path}:{kind.__qualname__}"


def _globals(what: Any) -> Mapping[str, Any]:
    """The names of the module in which a function or class was defined, also where that module is gone."""
    members = [what, *vars(what).values()] if isinstance(what, type) else [what]
    for member in members:
        if isinstance(member, FunctionType) and member.__module__ == what.__module__:
            return member.__globals__
    module = sys.modules.get(what.__module__)
    return {} if module is None else vars(module)


def _name_of(item: Any) -> str:
    return getattr(item, "__qualname__", None) or type(item).__qualname__


def _attribute(path: str, module: ModuleType, name: str) -> Any:
    if not hasattr(module, name):
        public = ", ".join(sorted(key for key in vars(module) if not key.startswith("_"))) or "nothing"
        raise UserError(f"{path} has no {name!r}; it defines: {public}")
    return getattr(module, name)


def _load(path: str) -> _Loaded:
    """The module of a file, as its content is now.

    Raises:
      UserError: no such file, or it cannot be imported.
    """
    file = Path(path).resolve()
    if not file.is_file():
        raise UserError(f"{path} does not exist")
    try:
        sources = _sources(file)
    except SyntaxError as error:
        raise UserError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    hashes = [(name, hashlib.sha256(source.content).hexdigest()) for name, source in sorted(sources.items())]
    digest = hashes[0][1] if len(hashes) == 1 else hashlib.sha256(repr(hashes).encode()).hexdigest()
    known = _LOADED.get(file)
    if known is None or known.fingerprint != digest:
        known = _LOADED[file] = _Loaded(_execute(path, file, sources, digest), digest)
    return known


class _Source(NamedTuple):
    path: Path
    content: bytes


def _sources(file: Path) -> dict[str, _Source]:
    """The file, under the name "", and the modules of its folder that it imports, directly or not."""
    found: dict[str, _Source] = {}
    queue = [("", file)]
    while queue:
        name, path = queue.pop()
        if name in found or (name and path == file):
            continue
        found[name] = _Source(path, path.read_bytes())
        for wanted in _imported(found[name].content, path):
            queue += _siblings(file.parent, wanted)
    return found


def _imported(content: bytes, path: Path) -> set[str]:
    """Names of modules that this code imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(content, str(path))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def _siblings(folder: Path, name: str) -> Iterator[tuple[str, Path]]:
    """The modules of the folder that importing this name runs; an installed module of that name goes first."""
    top = name.partition(".")[0]
    if not ((folder / f"{top}.py").is_file() or (folder / top / "__init__.py").is_file()) or _elsewhere(folder, top):
        return
    parts = name.split(".")
    for length in range(1, len(parts) + 1):
        stem = folder.joinpath(*parts[:length])
        for path in (stem.with_name(stem.name + ".py"), stem / "__init__.py"):
            if path.is_file():
                yield ".".join(parts[:length]), path


def _elsewhere(folder: Path, top: str) -> bool:
    """Whether a module of this name is to be had outside the folder."""
    if top in sys.builtin_module_names:
        return True
    paths = [path for path in sys.path if Path(path or ".").resolve() != folder]
    return importlib.machinery.PathFinder.find_spec(top, paths) is not None


class _Folder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the modules of a user's folder, and runs the bytes that were hashed."""

    def __init__(self, sources: Mapping[str, _Source], digest: str) -> None:
        self._sources, self._digest = sources, digest

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if not fullname or fullname not in self._sources:
            return None
        package = self._sources[fullname].path.name == "__init__.py"
        return importlib.util.spec_from_loader(fullname, self, is_package=package)

    def exec_module(self, module: ModuleType) -> None:
        _run(module, self._sources[module.__name__], self._digest)


def _run(module: ModuleType, source: _Source, digest: str) -> None:
    module.__file__ = str(source.path)
    vars(module).update({_FINGERPRINT: digest, _ORIGIN: str(source.path)})
    exec(compile(source.content, str(source.path), "exec"), vars(module))


def _execute(path: str, file: Path, sources: Mapping[str, _Source], digest: str) -> ModuleType:
    name = f"_w2s_user_{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"
    module = ModuleType(name)
    before = sys.modules.get(name)
    with _importable(sources, digest):
        sys.modules[name] = module
        try:
            _run(module, sources[""], digest)
        except BaseException as error:
            _restore({name: before})
            if isinstance(error, UserError) or not isinstance(error, Exception):
                raise
            raise UserError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    return module


@contextlib.contextmanager
def _importable(sources: Mapping[str, _Source], digest: str) -> Iterator[None]:
    """Within it the folder's modules can be imported; afterwards no other file meets them."""
    names = [name for name in sources if name]
    before = {name: sys.modules.pop(name, None) for name in names}
    finder = _Folder(sources, digest)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        _restore(before)


def _restore(modules: Mapping[str, ModuleType | None]) -> None:
    for name, module in modules.items():
        if module is None:
            sys.modules.pop(name, None)
        else:
            sys.modules[name] = module
