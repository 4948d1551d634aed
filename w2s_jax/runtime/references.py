"""References to a user's own Python: `file.py:name` -> the object, and the hash of the very bytes that defined it.

A file runs once for each version of its content, and what is hashed is what ran: the file, and whatever it imports,
directly or not, from its own folder. An edited file runs again, so a notebook never mixes old code with a new hash.
An object is its code and what it holds.
"""

import ast
import builtins
import contextlib
import dataclasses
import functools
import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import inspect
import operator
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

from w2s_jax.runtime import files
from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.registry import Registry

_FINGERPRINT = "__w2s_fingerprint__"
_ORIGIN = "__w2s_origin__"
_CODE = "@"  # no field has this name
_PACKAGE = __name__.partition(".")[0]


class Found(NamedTuple):
    """What a reference stands for.

    Attributes:
      value: the object.
      identity: the name of what this package registers; of a user's object `name@<SHA-256 of the code that made it>`.
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
        return Found(reference, identity(reference))
    parts = split(reference)
    if parts is None:
        value = registry.find(reference)
        return Found(value, reference if is_own(value) else identity(value))
    loaded = _load(parts[0])
    return Found(_attribute(parts[0], loaded.module, parts[1]), f"{parts[1]}@{loaded.fingerprint}")


def function(reference: Any, registry: Registry[Any]) -> Found:
    """The function that a reference stands for.

    Raises:
      UserError: as `find`, or it is no function.
    """
    found = find(reference, registry)
    if not callable(found.value):
        raise UserError(f"{reference} is a {type(found.value).__name__}, not a function")
    return found


def named(path: str, name: str, kind: type | None = None) -> Any:
    """The object `name` of a Python file.

    Raises:
      UserError: no such file, no such name, or it is not of that kind.
    """
    found = _attribute(path, _load(path).module, name)
    if kind is not None and not isinstance(found, kind):
        raise UserError(f"{name!r} in {path} must be a {kind.__name__}, not a {type(found).__name__}")
    return found


def identity(item: Any) -> str:
    """`name@SHA-256` of the code that an object is made of and of what it holds.

    Raises:
      UserError: either cannot be hashed.
    """
    found = content(item)
    if not isinstance(found, dict) or _CODE not in found:
        raise UserError(f"{item!r} is no name, and no function, class or object of one")
    code = str(found.pop(_CODE))
    return f"{code.partition('@')[0]}@{files.sha256_text(files.canonical([code, found]))}" if found else code


def content(value: Any, known: Callable[[Any], Any] = lambda value: None, within: tuple[int, ...] = ()) -> Any:
    """A value as JSON that decides what it is; of an object what it holds, and under "@" the hash of its code.

    Args:
      known: gives what stands for a value; None where nothing special does.
      within: ids of the values around it.

    Raises:
      UserError: it is, or holds, what cannot be hashed: all but text, numbers, arrays, functions and objects of them.
    """
    special = known(value)
    if special is not None:
        return special
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if id(value) in within:
        return {_CODE: "itself"}
    inner = functools.partial(content, known=known, within=(*within, id(value)))
    if isinstance(value, Mapping):
        return {str(key): inner(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [inner(each) for each in value]
    if hasattr(value, "tobytes") and hasattr(value, "dtype"):
        return {"array": [str(value.dtype), list(value.shape), _sha256(value.tobytes())]}
    kind = value if isinstance(value, type | FunctionType) else type(value)
    held = {name: inner(each) for name, each in _held(value).items()}
    return {_CODE: f"{_name_of(kind)}@{fingerprint(kind)}", **held}


def _held(value: Any) -> Mapping[str, Any]:
    """What an object holds, by name; of a function what was given to it when it was defined within another.

    Raises:
      UserError: there is no telling.
    """
    if isinstance(value, type):
        return {}
    if isinstance(value, FunctionType):
        return _enclosed(value) if is_enclosed(value) else {}
    if isinstance(value, functools.partial):
        return {"function": value.func, "arguments": value.args, "keywords": value.keywords}
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if not hasattr(value, "__dict__"):
        raise UserError(f"{value!r} cannot be hashed: it is no text, number, array, function or dataclass")
    return vars(value)


def is_enclosed(function: FunctionType) -> bool:
    """Whether a function is a lambda or was defined within another one, whatever it is called (`functools.wraps`)."""
    if is_own(function):
        return "<" in function.__qualname__
    return "<" in function.__code__.co_qualname or bool(function.__closure__)


def _enclosed(function: FunctionType) -> Mapping[str, Any]:
    """What decides a function or lambda within other code: where it stands, its defaults and its closure."""
    places = [place for place in function.__code__.co_positions() if None not in place]
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    return {
        "place": [function.__code__.co_firstlineno, *max((place[1::2] for place in places), default=())],
        "defaults": [function.__defaults__, function.__kwdefaults__],
        "closure": {name: cell.cell_contents for name, cell in cells},
    }


def is_own(item: Any) -> bool:
    """Whether a function, a class, or the class of an object is defined in this package."""
    what = item if isinstance(item, type | FunctionType) else type(item)
    return str(what.__module__).partition(".")[0] == _PACKAGE


def fingerprint(item: Any) -> str:
    """SHA-256 of the code that defines an object's function or class.

    Of this package's own, and of Python's, it is the qualified name.

    Raises:
      UserError: its source cannot be found, as of what was typed into a plain Python prompt.
    """
    what = item if isinstance(item, type | FunctionType) else type(item)
    if is_own(what) or what.__module__ in sys.stdlib_module_names:
        return f"{what.__module__}.{what.__qualname__}"
    known = _globals(what).get(_FINGERPRINT)
    if known is not None:
        return str(known)
    try:
        return hashlib.sha256(inspect.getsource(what).encode()).hexdigest()
    except (OSError, TypeError) as error:
        raise UserError(f"the code of {_name_of(item)} cannot be found to be hashed; define it in a file") from error


def address(what: Any) -> str | None:
    """`file.py:Name` of a class or function that was defined in a user's file; None of any other."""
    path = _globals(what).get(_ORIGIN)
    return None if path is None else f"{path}:{what.__qualname__}"


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
    try:
        return operator.attrgetter(name)(module)
    except AttributeError as error:
        public = ", ".join(sorted(key for key in vars(module) if not key.startswith("_"))) or "nothing"
        raise UserError(f"{path} has no {name!r}; it defines: {public}") from error


def _load(path: str) -> _Loaded:
    """The module of a file, as its content is now.

    Raises:
      UserError: no such file, or it cannot be imported.
    """
    file = Path(path).resolve()
    if not file.is_file():
        raise UserError(f"{path} does not exist")
    try:
        return _current(file, file.parent)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error


def _current(file: Path, root: Path) -> _Loaded:
    """A file's module, which runs if it, or what it imports from the folder `root`, is not as it was."""
    sources = _sources(file, root)
    hashes = sorted((str(path.relative_to(root)), _sha256(content)) for path, content in sources.items())
    digest = hashes[0][1] if len(hashes) == 1 else _sha256(repr(hashes).encode())
    known = _LOADED.get(file)
    if known is None or known.fingerprint != digest:
        known = _LOADED[file] = _Loaded(_execute(file, root, sources[file], digest), digest)
    return known


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _sources(file: Path, root: Path) -> dict[Path, bytes]:
    """The contents of the file and of the modules in the folder `root` that it imports, directly or not."""
    found: dict[Path, bytes] = {}
    queue = [file]
    while queue:
        path = queue.pop()
        if path not in found:
            found[path] = path.read_bytes()
            queue += [each for name in _imported(found[path], path, root) for each in _siblings(root, name)]
    return found


def _imported(content: bytes, path: Path, root: Path) -> set[str]:
    """Names of modules that this code imports, wherever in it."""
    package = _package(path, root)
    names: set[str] = set()
    for node in ast.walk(ast.parse(content, str(path))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level <= len(package):
            around = package[: len(package) + 1 - node.level] if node.level else ()
            module = ".".join((*around, *filter(None, [node.module])))
            names |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return names


def _package(file: Path, root: Path) -> tuple[str, ...]:
    """The names of the packages that a file of the folder is in."""
    return file.parent.relative_to(root).parts


def _siblings(root: Path, name: str) -> Iterator[Path]:
    """The files of the folder that importing this name runs; an installed module of that name goes first."""
    parts = name.split(".")
    if next(_files(root, parts[0]), None) is None or _elsewhere(root, parts[0]):
        return
    for length in range(1, len(parts) + 1):
        yield from _files(root, *parts[:length])


def _files(root: Path, *parts: str) -> Iterator[Path]:
    stem = root.joinpath(*parts)
    yield from (path for path in (stem / "__init__.py", stem.with_name(f"{stem.name}.py")) if path.is_file())


def _elsewhere(root: Path, top: str) -> bool:
    """Whether Python finds a module of this name elsewhere; the folder comes last, or where it is on the path."""
    if top in sys.builtin_module_names or top == _PACKAGE:
        return True
    spec = importlib.machinery.PathFinder.find_spec(top, [*sys.path, str(root)])
    return spec is not None and spec.origin is not None and root not in Path(spec.origin).resolve().parents


class _Folder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the modules of a user's folder. Each file is one module, however many import it or refer to it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.found: dict[str, ModuleType | None] = {}  # names that were imported, and what they stood for before

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        file = next(_files(self._root, *fullname.split(".")), None)
        if file is None or _elsewhere(self._root, fullname.partition(".")[0]):
            return None
        self.found.setdefault(fullname, None)
        return importlib.util.spec_from_loader(fullname, self, origin=str(file), is_package=file.stem == "__init__")

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        file = Path(str(spec.origin))
        running = _RUNNING.get(file)
        return _current(file, self._root).module if running is None else running

    def exec_module(self, module: ModuleType) -> None:
        """It ran when it was found."""


_RUNNING: dict[Path, ModuleType] = {}  # for files that import each other


def _execute(file: Path, root: Path, content: bytes, digest: str) -> ModuleType:
    """Runs a file under a name of its own, by which it stays known: classes are looked up in their module later on."""
    name = f"_w2s_user_{file.stem}_{_sha256(str(file).encode())[:8]}"
    module = ModuleType(name)
    module.__file__ = str(file)
    if file.stem == "__init__":
        module.__path__ = [str(file.parent)]
    module.__package__ = ".".join(_package(file, root))
    importing = {**vars(builtins), "__import__": functools.partial(_import, root)}
    vars(module).update({"__builtins__": importing, _FINGERPRINT: digest, _ORIGIN: str(file)})
    before = sys.modules.get(name)
    sys.modules[name] = _RUNNING[file] = module
    try:
        exec(compile(content, str(file), "exec"), vars(module))
    except BaseException:
        _restore({name: before})
        raise
    finally:
        del _RUNNING[file]
    return module


def _import(
    root: Path,
    name: str,
    globals: Mapping[str, Any] | None = None,
    locals: Mapping[str, Any] | None = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> Any:
    """What an import statement in a user's file does, whenever it runs."""
    if not level and next(_files(root, name.partition(".")[0]), None) is None:
        return builtins.__import__(name, globals, locals, fromlist or (), level)
    with _importable(root):
        return builtins.__import__(name, globals, locals, fromlist or (), level)


@contextlib.contextmanager
def _importable(root: Path) -> Iterator[None]:
    """Within it the folder's modules can be imported by their names; afterwards no other file meets them."""
    known = {path.stem if path.is_file() else path.name for path in root.iterdir()}
    hidden = {name: sys.modules[name] for name in list(sys.modules) if _hides(name, known, root)}
    for name in hidden:
        del sys.modules[name]
    finder = _Folder(root)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        _restore({**finder.found, **hidden})


def _hides(name: str, known: set[str], root: Path) -> bool:
    """Whether a module that was imported before hides one of the folder that has its name."""
    top = name.partition(".")[0]
    return top in known and next(_files(root, top), None) is not None and not _elsewhere(root, top)


def _restore(modules: Mapping[str, ModuleType | None]) -> None:
    for name, module in modules.items():
        if module is None:
            sys.modules.pop(name, None)
        else:
            sys.modules[name] = module
