"""The configs that ship with the package: `configs/` in a clone, `w2s_jax/configs/` where a wheel was installed."""

import ast
from pathlib import Path

from w2s_jax.runtime import errors
from w2s_jax.runtime.errors import UserError

_PACKAGE = Path(__file__).resolve().parent.parent


def configs() -> dict[str, Path]:
    """Every packaged config's file by its name: `quickstart`, `burns2023/nlp`."""
    folder = _folder()
    files = sorted(folder.rglob("*.py"), key=lambda path: (len(path.relative_to(folder).parts), path))
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in files}


def _folder() -> Path:
    installed = _PACKAGE / "configs"
    return installed if installed.is_dir() else _PACKAGE.parent / "configs"


def experiments() -> dict[str, Path]:
    """Those of them that name an `experiment`; the files are not executed."""
    return {name: path for name, path in configs().items() if _names(path, "experiment")}


def _names(config: Path, name: str) -> bool:
    """Whether a config's top level gives something this name."""
    assigned = (node for node in ast.parse(config.read_text(encoding="utf-8")).body if isinstance(node, ast.Assign))
    return any(isinstance(each, ast.Name) and each.id == name for node in assigned for each in node.targets)


def find(reference: str) -> Path:
    """The file of a config: a path that ends in `.py`, or a packaged config's name.

    Raises:
      UserError: there is no such file or name.
    """
    if not reference.endswith(".py"):
        known = configs()
        if reference not in known:
            raise errors.unknown("config", reference, known)
        return known[reference]
    if not Path(reference).is_file():
        name = reference.removeprefix("configs/").removesuffix(".py")
        hint = f"; the config of that name that ships with the package is {name!r}" if name in configs() else ""
        raise UserError(f"{reference} does not exist{hint}")
    return Path(reference)


def summary(config: Path) -> str:
    """The first line of a config's docstring; the file is not executed."""
    docstring = ast.get_docstring(ast.parse(config.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0]
